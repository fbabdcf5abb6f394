"""Text in models with their own `call`, and ops on text in functional models."""

import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.errors import ArgumentError, DTypeError, ShapeError
from lamina.utils import Dataset

X = np.array(["good fun", "bad film", "so good", "a sad film"] * 8, object)
Y = np.array([1.0, 0.0, 1.0, 0.0] * 8)[:, None]
PAIRS = np.array([["a", "b"], ["b", "q"]], object)


class Encoder(layers.Layer):
    """A layer of the user's, around one that runs on the host."""

    def __init__(self):
        super().__init__()
        self.words = layers.TextVectorization(output_sequence_length=3, name="words")
        self.words.adapt(X)

    def call(self, text):
        return self.words(text)


@lamina.saving.register_serializable("tests")
class Classifier(lamina.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = Encoder()
        self.codes = layers.IntegerLookup(vocabulary=[5, 2**40], output_mode="one_hot")
        self.kinds = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
        self.counts = lamina.Sequential(
            [layers.TextVectorization(vocabulary=["good", "bad"], output_mode="count"),
             layers.Dense(2)]
        )  # fmt: skip
        self.table = layers.Embedding(20, 4)
        self.out = layers.Dense(1, activation="sigmoid")

    def call(self, inputs, training=False):
        words = self.table(self.encoder(inputs["text"]))
        parts = [
            ops.mean(words, 1),
            self.counts(inputs["text"]),
            inputs["age"][:, None],
            self.codes(inputs["code"]),
            self.kinds(ops.squeeze(inputs["kind"][:, 1:], -1)),
        ]
        return self.out(ops.concatenate(parts, -1))


DATA = {
    "text": X, "age": np.linspace(0, 1, 32), "code": np.array([5, 2**40] * 16),
    "kind": np.array([["q", "a"], ["a", "b"]] * 16),
}  # fmt: skip


def compiled(**options):
    lamina.utils.set_random_seed(0)
    model = Classifier()
    model.compile(
        lamina.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"], **options
    )
    return model


def test_a_model_with_its_own_call_is_trained_on_text(tmp_path):
    model = compiled()
    model.fit(DATA, Y, epochs=5, batch_size=8, verbose=0, validation_split=0.25)
    assert model.evaluate(DATA, Y, verbose=0)[1] == 1
    found = model.predict(DATA, batch_size=10, verbose=0)
    np.testing.assert_allclose(model(DATA), found, rtol=1e-5)  # 2**40 too
    np.testing.assert_allclose(model.predict_on_batch(DATA), found, rtol=1e-5)
    assert not np.array_equal(model.predict({**DATA, "code": DATA["code"][::-1].copy()}), found)
    assert model.check(DATA, Y).batch_size == 32
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(DATA, batch_size=10, verbose=0), found)


def test_streams_and_layer_by_layer_training_are_the_same():
    stream, models = Dataset((DATA, Y)).batch(8), []
    for data, options in [((DATA, Y), {}), ((stream,), {}), ((stream,), {"run_eagerly": True})]:
        models.append(compiled(**options))
        models[-1].fit(*data, batch_size=8, shuffle=False, verbose=0)
    for other in models[1:]:
        for a, b in zip(other.get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_step_of_the_user_calls_the_model_on_what_was_prepared():
    class Own(Classifier):
        def train_step(self, state, data):
            return super().train_step(state, data)

    lamina.utils.set_random_seed(0)
    model = Own()
    model.compile("adam", "mse")
    assert np.isfinite(model.fit(DATA, Y, verbose=0).history["loss"][0])


class Simple(lamina.Model):
    def __init__(self, then):
        super().__init__()
        self.then, self.kinds = then, layers.StringLookup(vocabulary=["a", "b"], name="kinds")
        self.table = layers.Embedding(4, 2)

    def call(self, inputs):
        return self.then(self, inputs)


def test_one_compilation_for_text_of_one_length(compilations):
    model = Simple(lambda m, x: m.table(m.kinds(x)))
    first = model.predict(PAIRS, verbose=0)
    with compilations() as compiled:
        second = model.predict(PAIRS[::-1].copy(), verbose=0)
    assert not [name for name in compiled if "predict" in str(name)]
    np.testing.assert_array_equal(second, first[::-1])


outside = layers.StringLookup(vocabulary=["a", "b"], name="outside")


@pytest.mark.parametrize(
    ("then", "error", "message"),
    [
        (lambda m, x: m.table(x), DTypeError, r"'embedding.*' .* takes numbers"),
        (lambda m, x: ops.add(x, 1), DTypeError, "Text reached a computation with numbers"),
        (lambda m, x: m.kinds(m.table(m.kinds(x))), ArgumentError, r"dataset\.map"),
    ],
)
def test_mistakes_with_text(then, error, message):
    with pytest.raises(error, match=message):
        Simple(then).predict(PAIRS, verbose=0)


def test_a_layer_that_belongs_to_no_model():
    class Plain(lamina.Model):
        def call(self, inputs):
            return outside(inputs)

    with pytest.raises(DTypeError, match=r"attribute of the model\) .* `dataset.map\(lambda x, y"):
        Plain().predict(PAIRS, verbose=0)


OPS = [
    lambda x: x[:, 0], lambda x: x[:, 1:], lambda x: x[..., None], lambda x: ops.expand_dims(x, 0),
    lambda x: ops.reshape(x, (-1, 1, 2)), lambda x: ops.squeeze(x[:, :1], axis=-1),
    lambda x: ops.concatenate([x, x], axis=-1), lambda x: ops.stack([x, x], axis=1),
    ops.transpose, lambda x: ops.take(x, 1, axis=1), lambda x: ops.tile(x, (1, 2)),
    lambda x: ops.flip(x, axis=1), lambda x: ops.repeat(x, 2, axis=1), ops.ravel,
    lambda x: ops.broadcast_to(x[:1], (3, 2)), lambda x: ops.moveaxis(x, 0, 1),
    lambda x: ops.swapaxes(x, 0, 1), lambda x: ops.vstack([x, x]), lambda x: ops.hstack([x, x]),
]  # fmt: skip


@pytest.mark.parametrize("op", OPS, ids=range(len(OPS)))
def test_ops_that_only_move_text(op):
    """They give of text what they give of the indices of the text."""
    numbers = layers.StringLookup(vocabulary=["a", "b"])
    expected = np.asarray(op(numbers(PAIRS)))
    text = lamina.Input((2,), dtype="string", batch_size=2)
    moved = op(text)
    assert moved.dtype == "string"
    assert moved.shape == expected.shape
    model = lamina.Model(text, numbers(moved))
    np.testing.assert_array_equal(model(PAIRS), expected)
    np.testing.assert_array_equal(numbers(op(PAIRS)), expected)
    class_of = Simple(lambda m, x: m.kinds(op(x)))
    np.testing.assert_array_equal(class_of(PAIRS), expected)


def test_ops_on_text_survive_a_file(tmp_path):
    text = lamina.Input((2,), dtype="string")
    moved = ops.reshape(ops.concatenate([text[:, :1], text], axis=1), (-1, 3))
    model = lamina.Model(text, layers.StringLookup(vocabulary=["a", "b"])(moved))
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(PAIRS), [[1, 1, 2], [2, 2, 0]])


@pytest.mark.parametrize(
    ("compute", "error", "message"),
    [
        (lambda: ops.add(lamina.Input((2,), dtype="string"), 1), DTypeError, "cannot take text"),
        (lambda: ops.reshape(PAIRS, (3,)), ShapeError, "cannot take this text"),
        (lambda: layers.Dense(1)(PAIRS), DTypeError, "takes numbers"),
    ],
)
def test_ops_that_compute_refuse_text(compute, error, message):
    with pytest.raises(error, match=message):
        compute()
