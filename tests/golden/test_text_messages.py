"""Messages about text and categories, word for word; LAMINA_UPDATE_GOLDEN=1 writes the record."""

import os
import pathlib
import tempfile
import zipfile

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import LaminaError
from lamina.utils import FeatureSpace

RECORD = pathlib.Path(__file__).with_name("text_messages.txt")
V = {"vocabulary": ["a", "b"]}


def altered(folder):
    """A file whose vocabulary has another size."""
    text = lamina.Input((1,), dtype="string")
    layer = layers.StringLookup(name="kinds")
    layer.adapt(["a", "b"])
    path, other = pathlib.Path(folder, "model.keras"), pathlib.Path(folder, "other.keras")
    lamina.Model(text, layer(text)).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            end = b"\nc" if name.endswith(".txt") else b""
            target.writestr(name, source.read(name) + end)
    return lamina.saving.load_model(other)


def text_input():
    return lamina.Input((1,), dtype="string", name="review")


def reader():
    text = text_input()
    return lamina.Model(text, layers.StringLookup(name="kinds", **V)(text), name="reader")


def speaker():
    index = lamina.Input((1,), dtype="int32")
    words = layers.StringLookup(name="words", invert=True, **V)(index)
    return lamina.Model(index, words, name="speaker")


def scores():
    return lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])


CASES = {
    "adapt_forgotten": lambda _: layers.TextVectorization(name="words")(["a"]),
    "adapt_forgotten_in_graph": lambda _: layers.TextVectorization(
        name="words", output_mode="count"
    )(text_input()),
    "unknown_token": lambda _: layers.StringLookup(name="kinds", num_oov_indices=0, **V)(
        [["a", "x"], ["y", "x"]]
    ),
    "text_into_dense": lambda _: layers.Dense(3, name="dense")(text_input()),
    "numbers_into_text": lambda _: layers.TextVectorization(name="words", **V)(np.ones((2, 1))),
    "missing_value": lambda _: layers.StringLookup(name="kinds", **V)(
        np.array(["a", None], object)
    ),
    "floats_as_integers": lambda _: layers.IntegerLookup(name="codes", vocabulary=[1])(
        np.array([1.5])
    ),
    "repeated_token": lambda _: layers.StringLookup(name="kinds", vocabulary=["a", "b", "a"]),
    "too_many_tokens": lambda _: layers.StringLookup(name="kinds", max_tokens=2, **V),
    "weights_missing": lambda _: layers.StringLookup(name="kinds", output_mode="tf_idf", **V),
    "adapt_beside_vocabulary": lambda _: layers.StringLookup(name="kinds", **V).adapt(["a"]),
    "nothing_to_adapt_to": lambda _: layers.TextVectorization(name="words").adapt(["", "!"]),
    "two_texts": lambda _: layers.TextVectorization(name="words", **V)([["a", "b"]]),
    "numbers_for_a_text_input": lambda _: reader().predict(np.ones((2, 1)), verbose=0),
    "text_for_a_number_input": lambda _: scores().predict(np.array([["a"]]), verbose=0),
    "text_outputs": lambda _: speaker().predict(np.ones((2, 1), "int32"), verbose=0),
    "altered_vocabulary": altered,
    "vocabulary_elsewhere": lambda _: layers.StringLookup.from_config(
        {"vocabulary": "/etc/passwd"}
    ),
    "one_feature": lambda _: layers.HashedCrossing(3, name="cross")([["a"]]),
    "floats_crossed": lambda _: layers.HashedCrossing(3, name="cross")([np.ones(2), np.ones(2)]),
    "sparse": lambda _: layers.Hashing(3, sparse=True),
    "count_weights": lambda _: layers.CategoryEncoding(3, name="code")(
        np.ones((2, 2)), count_weights=np.ones((2, 2))
    ),
    "space_not_adapted": lambda _: FeatureSpace(
        {"age": "float_normalized", "city": "string_categorical"}, name="space"
    )({"age": [1.0], "city": ["x"]}),
    "space_of_unknown_kind": lambda _: FeatureSpace({"age": "float_normalised"}),
    "space_without_column": lambda _: FeatureSpace({"age": "float_normalized"}, name="space").adapt(
        {"size": [1.0]}
    ),
}


def told(use):
    with tempfile.TemporaryDirectory() as folder:
        try:
            use(folder)
        except LaminaError as e:
            text = f"{type(e).__name__}: {e}".replace(folder, "FOLDER")
            return "\n".join(x for x in text.splitlines() if not x.startswith("  called at"))
    return "no error"


def recorded():
    blocks = RECORD.read_text().split("\n\n")
    return {name: text for name, _, text in (b.strip().partition("\n") for b in blocks)}


if os.environ.get("LAMINA_UPDATE_GOLDEN"):
    RECORD.write_text("\n\n".join(f"{n}\n{told(use)}" for n, use in CASES.items()) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_messages(name):
    assert told(CASES[name]) == recorded()[name]
