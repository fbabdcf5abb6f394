"""Models that begin with text: every kind of data, every verb, files."""

import base64
import functools
import json

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import CorruptFileError, DTypeError, GraphError
from lamina.utils import Dataset, PyDataset
from tests.host_layers.table import COLUMN, RECORD, TEXTS

GOOD = ["good and great", "great fun", "so good", "fun and good fun"]
BAD = ["bad and sad", "sad film", "so bad", "a sad bad film"]
X = np.array([*GOOD, *BAD] * 8, object)
Y = np.array(([1.0] * 4 + [0.0] * 4) * 8)[:, None]


class Batches(PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[16 * index : 16 * index + 16], Y[16 * index : 16 * index + 16]


def vectorization(**options):
    layer = layers.TextVectorization(**{"output_sequence_length": 4, **options}, name="words")
    layer.adapt(X)
    return layer


def classifier(shape=(1,)):
    lamina.utils.set_random_seed(0)
    text = lamina.Input(shape, dtype="string", name="text")
    h = layers.Embedding(20, 4)(vectorization()(text))
    h = layers.GlobalAveragePooling1D()(h)
    model = lamina.Model(text, layers.Dense(1, activation="sigmoid")(h))
    model.compile(lamina.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    return model


FORMS = {
    "objects": X, "unicode": X.astype(str), "bytes": np.char.encode(X.astype(str)),
    "list": X.tolist(), "column": X[:, None], "strings": X.astype(np.dtypes.StringDType()),
}  # fmt: skip


@functools.cache
def trained():
    """A model after one epoch on arrays, for several tests."""
    model = classifier()
    model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_text_is_the_same(form):
    model, x = trained(), FORMS[form]
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(X, verbose=0))
    np.testing.assert_array_equal(model(x), model(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_data_frames(library):
    module = pytest.importorskip(library)
    column = module.Series(X.tolist())
    model = trained()
    np.testing.assert_array_equal(model.predict(column, verbose=0), model.predict(X, verbose=0))


STREAMS = {
    "dataset": lambda: Dataset((X, Y)).batch(16),
    "pydataset": Batches,
    "generator": lambda: ((X[i : i + 16], Y[i : i + 16]) for i in range(0, 64, 16)),
    "lists": lambda: ((X[i : i + 16].tolist(), Y[i : i + 16]) for i in range(0, 64, 16)),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_train_as_arrays_do(stream):
    model = classifier()
    model.fit(STREAMS[stream](), verbose=0, shuffle=False)
    for a, b in zip(model.get_weights(), trained().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_verb():
    model = classifier(())
    model.fit(X, Y, batch_size=16, epochs=6, verbose=0, validation_split=0.25)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"] == 1
    probabilities = model.predict(X, batch_size=10, verbose=0)
    np.testing.assert_allclose(model(X), probabilities, rtol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(X[:3]), probabilities[:3], rtol=1e-6)
    np.testing.assert_allclose(model(np.array(["good fun"])), model(["good fun"]), rtol=1e-6)
    assert model.test_on_batch(X, Y)[1] == 1
    before = model.evaluate(X, Y, verbose=0)[0]
    for _ in range(3):
        model.train_on_batch(X, Y)
    assert model.evaluate(X, Y, verbose=0)[0] < before
    assert model.check(X, Y).batch_size == 32
    assert "words" in str(lamina.visualization.summarize(model))


def test_text_of_one_length_compiles_once(compilations):
    model = classifier()
    model.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    with compilations() as compiled:
        model.fit(X[::-1].copy(), Y[::-1].copy(), batch_size=16, epochs=2, verbose=0)
    assert not [name for name in compiled if "train" in str(name)]


def test_only_numbers_reach_the_compiled_step():
    model = trained()
    prepared = model.layer_graph.host.prepare(X[:2])
    assert [a.dtype.name for a in jax.tree.leaves(prepared)] == ["int32"]
    assert [type(s.operation).__name__ for s in model.layer_graph.host.rest.steps] == [
        "Embedding", "GlobalAveragePooling1D", "Dense",
    ]  # fmt: skip


def test_text_and_numbers_in_one_model_by_name():
    text = lamina.Input((1,), dtype="string", name="text")
    age = lamina.Input((1,), name="age")
    code = lamina.Input((1,), dtype="int64", name="code")
    codes = layers.IntegerLookup(vocabulary=[5, 2**40])
    merged = layers.Concatenate()([
        vectorization(output_mode="tf_idf", output_sequence_length=None)(text), age,
        layers.Flatten()(layers.Embedding(3, 2)(codes(code))),
        layers.Rescaling(0.5)(layers.Hashing(8, output_mode="one_hot")(text)),
    ])  # fmt: skip
    model = lamina.Model({"text": text, "age": age, "code": code}, layers.Dense(1)(merged))
    model.compile("adam", "mse")
    data = {"code": np.array([5, 2**40] * 32)[:, None], "text": X, "age": np.ones(64)}
    model.fit(data, Y, epochs=1, verbose=0)
    model.fit(Dataset((data, Y)).shuffle(seed=1).batch(16), epochs=1, verbose=0)
    first = model.predict(data, verbose=0)
    data["code"] = data["code"][::-1].copy()
    assert not np.array_equal(model.predict(data, verbose=0), first)  # 2**40 is not 0


def test_a_stack_and_a_model_inside_another():
    inner = lamina.Sequential([lamina.Input((1,), dtype="string"), vectorization(),
                               layers.Embedding(20, 2, name="table")])  # fmt: skip
    text = lamina.Input((1,), dtype="string")
    outer = lamina.Model(text, layers.Dense(1)(layers.Flatten()(inner(text))))
    outer.compile("sgd", "mse")
    before = inner.get_layer("table").get_weights()[0].copy()
    outer.fit(X, Y, verbose=0)
    assert not np.array_equal(inner.get_layer("table").get_weights()[0], before)
    assert outer.predict(X, verbose=0).shape == (64, 1)


def test_layers_before_a_layer_of_the_host_run_there_too():
    number = lamina.Input((1,))
    bins = layers.Discretization([0.0, 1.0])(number)
    crossed = layers.HashedCrossing(7, output_mode="one_hot")([bins, bins])
    model = lamina.Model(number, layers.Dense(1)(crossed))
    x = np.array([[-1.0], [0.5], [3.0]], "float32")
    assert model.predict(x, verbose=0).shape == (3, 1)
    assert len(model.layer_graph.host.rest.steps) == 1


def test_text_in_a_pipeline():
    layer = vectorization()
    (x, _), *_ = Dataset((X, Y)).batch(8).map(lambda x, y: (layer(x), y))
    np.testing.assert_array_equal(x, layer(X[:8]))


# ---- adapting ------------------------------------------------------------------------------------

SOURCES = {
    "list": X.tolist(), "column": X[:, None], "dataset": Dataset(X).batch(7),
    "pairs": Dataset((X, Y)).batch(7), "batches": [X[:20], X[20:]],
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_adapt_takes_every_form(source):
    layer, expected = layers.TextVectorization(output_mode="tf_idf"), vectorization(
        output_mode="tf_idf", output_sequence_length=None
    )  # fmt: skip
    layer.adapt(SOURCES[source])
    assert layer.get_vocabulary() == expected.get_vocabulary()
    np.testing.assert_allclose(layer(X[:3]), expected(X[:3]))


def test_adapt_again_and_in_steps():
    layer = layers.TextVectorization()
    layer.adapt(["a b"])
    layer.adapt(x for x in (["c c d"], ["d e"], ["f"]))
    assert layer.get_vocabulary() == ["", "[UNK]", "d", "c", "f", "e"]
    layer.adapt(iter([["x"], ["y"]]), steps=1)
    assert layer.get_vocabulary(include_special_tokens=False) == ["x"]


def test_a_batch_is_one_document_but_an_array_of_tokens_are_many():
    many, one = (layers.StringLookup(output_mode="tf_idf") for _ in range(2))
    many.adapt(np.array(["a", "b", "a"]))
    one.adapt([np.array(["a", "b", "a"])])
    assert not np.allclose(many([["b"]]), one([["b"]]))


def test_functions_of_the_user():
    layer = layers.TextVectorization(
        standardize=lambda x: np.strings.replace(x, "-", " "),
        split=lambda x: [t.split("+") for t in x.tolist()],
        output_sequence_length=3,
    )
    layer.adapt(["a-b+c", "c+c"])
    assert layer.get_vocabulary()[2:] == ["c", "a b"]
    assert layer(["c+a-b+z"]).tolist() == [[2, 3, 1]]


# ---- vocabularies and files ----------------------------------------------------------------------

ODD = ["a\u2028b", "x\ny", " ", "\r", "é\x0b", "\x1c", "tab\t", "a,b", '"', "\ufeff", "e\u0301"]


@pytest.mark.parametrize("how", ["adapted", "given"])
def test_any_string_survives_a_file(tmp_path, how):
    layer = layers.StringLookup(vocabulary=ODD if how == "given" else None)
    if how == "adapted":
        layer.adapt([[w] for w in ODD])
    text = lamina.Input((1,), dtype="string")
    model = lamina.Model(text, layer(text))
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    assert again.layers[1].get_vocabulary() == layer.get_vocabulary()
    assert again(np.array(ODD)[:, None]).tolist() == model(np.array(ODD)[:, None]).tolist()


@pytest.mark.parametrize("tokens", [["[UNK]", "a", ""], ["[UNK]", "a"]])
def test_the_last_token_may_be_empty_in_archives_of_keras(tmp_path, tokens):
    (tmp_path / "vocabulary.txt").write_text("[UNK]\na\n")  # Keras joins tokens by line breaks
    layer = layers.StringLookup.from_config({"vocabulary_size": len(tokens)})
    layer.load_assets(tmp_path)
    assert layer.get_vocabulary() == tokens


def test_vocabulary_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("the\nünï\u2028x\n".encode())
    layer = layers.StringLookup(vocabulary=str(path))
    assert layer.get_vocabulary() == ["[UNK]", "the", "ünï\u2028x"]
    assert layer.get_config()["vocabulary"] is None
    numbers = layers.IntegerLookup()
    (tmp_path / "numbers.txt").write_text("7\n-3\n")
    numbers.set_vocabulary(tmp_path / "numbers.txt")
    assert numbers([-3, 7, 9]).tolist() == [2, 1, 0]


def test_a_trained_model_survives_a_file(tmp_path):
    model = trained()
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_file_of_keras(tmp_path):
    entry = json.loads(RECORD.read_text())["file"]
    path = tmp_path / "model.keras"
    path.write_bytes(base64.b64decode(entry["content"]))
    model = lamina.saving.load_model(path)
    data = [np.array(TEXTS), np.array(COLUMN[:7]), np.array([[5], [7], [1], [5], [2], [7], [7]])]
    np.testing.assert_allclose(model(data), entry["output"], atol=1e-6)
    model.save(tmp_path / "again.keras")
    np.testing.assert_array_equal(lamina.saving.load_model(tmp_path / "again.keras")(data),
                                  model(data))  # fmt: skip


def test_a_model_without_a_vocabulary_can_be_saved(tmp_path):
    text = lamina.Input((1,), dtype="string")
    model = lamina.Model(text, layers.StringLookup(name="kinds")(text))
    model.save(tmp_path / "model.keras")
    lamina.saving.load_model(tmp_path / "model.keras").get_layer("kinds").adapt(["a"])


def test_weights_of_another_vocabulary_are_refused():
    layer = layers.StringLookup(output_mode="tf_idf")
    layer.adapt(["a", "b"])
    other = layers.StringLookup.from_config(layer.get_config())
    with pytest.raises(CorruptFileError, match="3 numbers"):
        other.load_own_variables({"idf_weights": np.ones(2)})


def test_two_models_may_share_a_layer_of_text():
    layer = vectorization()
    models = []
    for units in (1, 2):
        text = lamina.Input((1,), dtype="string")
        models.append(lamina.Model(text, layers.Dense(units)(layers.Rescaling(0.1)(layer(text)))))
    assert [m.predict(X, verbose=0).shape for m in models] == [(64, 1), (64, 2)]
    with pytest.raises(GraphError):
        lamina.Model(lamina.Input((1,), dtype="string"), models[0].output)


@pytest.mark.parametrize("form", [X.tolist(), X, X.astype(str), tuple(X)])
def test_text_is_converted_to_what_models_take(form):
    found = lamina.ops.convert_to_tensor(form)
    assert (found.dtype, found.tolist()) == (np.dtype(object), X.tolist())
    assert lamina.ops.convert_to_tensor(found, "string").shape == X.shape


@pytest.mark.parametrize(("value", "dtype"), [(["1"], "int32"), ([1], "string")])
def test_conversion_does_not_turn_text_into_numbers(value, dtype):
    with pytest.raises(DTypeError, match="numbers to numbers, and text to text"):
        lamina.ops.convert_to_tensor(value, dtype)


def test_inputs_of_64_bits_take_integers_without_a_warning():
    indices = lamina.Input((None,), dtype="int64")
    model = lamina.Model(indices, layers.Embedding(5, 2)(indices))
    x = np.ones((2, 3), "int64")
    np.testing.assert_array_equal(model(x), model.predict(x.astype("int32"), verbose=0))


def test_a_sequential_model_that_begins_with_text_needs_no_input(tmp_path):
    def made(words):
        return lamina.Sequential(
            [words, layers.Embedding(20, 2), layers.GlobalAveragePooling1D(), layers.Dense(1)]
        )

    model = made(vectorization())
    model.compile("adam", "mse")
    model.fit(Dataset((X, Y)).batch(16), verbose=0)
    found = model.predict(X[:3], verbose=0)
    assert made(vectorization())(X[:3].tolist()).shape == (3, 1)
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X[:3]), found, rtol=1e-5)
    later = made(layers.TextVectorization(name="words"))
    later.layers[0].adapt(X)
    text = lamina.Input((), dtype="string")
    assert lamina.Model(text, later(text)).predict(X[:2], verbose=0).shape == (2, 1)


def test_models_of_numbers_tell_how_text_is_read():
    model = lamina.Sequential([layers.Dense(1)])
    with pytest.raises(DTypeError, match="TextVectorization"):
        model.predict(X, verbose=0)
