"""Layers of one's own, with and without ``get_config``; classes and graphs mixed."""

import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops
from lamina.errors import SerializationError, ShapeError


class Affine(layers.Layer):
    """A Dense layer from scratch, whose constructor takes nothing but ``units``."""

    def __init__(self, units=32):
        super(Affine, self).__init__()  # noqa: UP008 - as many programs have it
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class Described(Affine):
    """The same with a ``get_config`` that returns just the constructor's arguments."""

    def get_config(self):
        return {"units": self.units}


class Remade(Affine):
    """The same with a ``from_config`` of its own."""

    def get_config(self):
        return {"half": self.units // 2}

    @classmethod
    def from_config(cls, config):
        return cls(2 * config["half"])


def model_of(cls):
    inputs = keras.Input((4,))
    return keras.Model(inputs, cls(10)(inputs))


X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def test_a_custom_layer_computes_and_counts():
    model = model_of(Affine)
    assert model.output_shape == (None, 10)
    assert model.count_params() == 50
    w, b = model.get_weights()
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ w + b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Affine, Described, Remade])
def test_a_custom_layer_comes_back_from_config_and_file(cls, tmp_path):
    model = model_of(cls)
    objects = {cls.__name__: cls}
    again = keras.Model.from_config(model.get_config(), custom_objects=objects)
    assert type(again.layers[1]) is cls
    assert again.layers[1].units == 10
    again.set_weights(model.get_weights())
    expected = model.predict(X, verbose=0)
    assert np.array_equal(again.predict(X, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects=objects)
    assert np.array_equal(loaded.predict(X, verbose=0), expected)
    with keras.utils.custom_object_scope(objects):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(X, verbose=0), expected)
    clone = keras.models.clone_model(model)
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    for load in (
        lambda: keras.Model.from_config(model.get_config()),
        lambda: keras.models.load_model(tmp_path / "model.keras"),
    ):
        with pytest.raises(SerializationError, match=rf"'{cls.__name__}'.*custom_objects"):
            load()


# ---- a graph against a class ---------------------------------------------------------------------


class Subclass(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense_1 = layers.Dense(64, activation="relu")
        self.dense_2 = layers.Dense(10)

    def call(self, inputs):
        return self.dense_2(self.dense_1(inputs))


def test_the_same_model_as_graph_and_as_class():
    inputs = keras.Input(shape=(32,))
    x = layers.Dense(64, activation="relu")(inputs)
    graph = keras.Model(inputs, layers.Dense(10)(x))
    subclass = Subclass()
    assert subclass.weights == []
    assert subclass(np.zeros((1, 32), "float32")).shape == (1, 10)
    assert subclass.count_params() == graph.count_params() == 2_762
    subclass.set_weights(graph.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 32)).astype("float32")
    np.testing.assert_allclose(
        subclass.predict(x, verbose=0), graph.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_wrong_connection_is_found_while_building():
    x = layers.Dense(8, name="first")(keras.Input((32,)))
    with pytest.raises(ShapeError, match=r"(?s)second.*first.*test_custom_layers\.py"):
        layers.Conv2D(4, 3, name="second")(x)


# ---- mixed ---------------------------------------------------------------------------------------

UNITS, STEPS, SIZE, BATCH = 32, 10, 5, 16


class Recurrent(layers.Layer):
    """A recurrent network as a loop, with whatever classifier it is given."""

    def __init__(self, classifier=None):
        super().__init__()
        self.units = UNITS
        self.projection_1 = layers.Dense(UNITS, activation="tanh")
        self.projection_2 = layers.Dense(UNITS, activation="tanh")
        self.classifier = layers.Dense(1) if classifier is None else classifier
        self.seen = []

    def call(self, inputs):
        states = [ops.zeros(shape=(inputs.shape[0], self.units))]
        for step in range(inputs.shape[1]):
            states.append(self.projection_1(inputs[:, step, :]) + self.projection_2(states[-1]))
        features = ops.stack(states[1:], axis=1)
        self.seen.append(features.shape)
        return self.classifier(features)


def judge():
    inputs = keras.Input((None, UNITS))
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(inputs)))


def test_a_graph_inside_of_a_class():
    classifier = judge()
    layer = Recurrent(classifier)
    assert layer(ops.zeros((1, STEPS, SIZE))).shape == (1, 1)
    assert layer.seen[-1] == (1, STEPS, UNITS)
    shared = {id(w) for w in layer.weights}
    assert {id(w) for w in classifier.weights} <= shared
    assert layer.count_params() == (SIZE + 1) * UNITS + (UNITS + 1) * UNITS + UNITS + 1


def test_a_class_inside_of_a_graph(tmp_path):
    inputs = keras.Input(batch_shape=(BATCH, STEPS, SIZE))
    x = layers.Conv1D(32, 3)(inputs)
    model = keras.Model(inputs, Recurrent()(x))
    assert inputs.shape == (BATCH, STEPS, SIZE)
    assert model.output_shape == (BATCH, STEPS - 2, 1)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rng = np.random.default_rng(0)
    series = rng.normal(size=(4 * BATCH, STEPS, SIZE)).astype("float32")
    target = series[:, 2:, :1]
    losses = model.fit(series, target, batch_size=BATCH, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Recurrent": Recurrent}
    )
    found, expected = (m.predict(series, batch_size=BATCH, verbose=0) for m in (loaded, model))
    assert np.array_equal(found, expected)
    assert Recurrent()(ops.zeros((1, STEPS, SIZE))).shape == (1, STEPS, 1)


class Plain(layers.Layer):
    def call(self, inputs, factor=2.0, **kwargs):
        return inputs * factor


class Trains(layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, training=None, **kwargs):
        return inputs + (1.0 if training else 0.0)


class Masks(layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, mask=None, **kwargs):
        return inputs if mask is None else inputs * ops.cast(mask, "float32")[..., None]


class Both(layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, training=None, mask=None, **kwargs):
        return Trains()(Masks()(inputs, mask=mask), training=training)


def test_the_four_forms_of_call():
    words, floats = keras.Input((3,), dtype="int32"), keras.Input((3, 2))
    embedding = layers.Embedding(5, 2, mask_zero=True, embeddings_initializer="ones")
    embedded = embedding(words)
    model = keras.Model([words, floats], [
        Plain()(floats, factor=3.0), Trains()(floats), Masks()(embedded), Both()(embedded),
    ])  # fmt: skip
    ones = np.ones((1, 3, 2), "float32")
    masked = ones * np.array([1, 1, 0])[None, :, None]
    for training in (False, True):
        plain, trains, masks, both = model([np.array([[1, 2, 0]]), ones], training=training)
        assert np.array_equal(plain, 3 * ones)
        assert np.array_equal(trains, ones + training)
        assert np.array_equal(masks, masked)
        assert np.array_equal(both, masked + training)


# ---- the built-in layers that the guide names ----------------------------------------------------

BUILT_IN = [
    (layers.Conv1D, (2, 3), (8, 3), (6, 2)),
    (layers.Conv2D, (2, 3), (8, 8, 3), (6, 6, 2)),
    (layers.Conv3D, (2, 3), (4, 4, 4, 3), (2, 2, 2, 2)),
    (layers.Conv2DTranspose, (2, 3), (8, 8, 3), (10, 10, 2)),
    (layers.MaxPooling1D, (2,), (8, 3), (4, 3)),
    (layers.MaxPooling2D, (2,), (8, 8, 3), (4, 4, 3)),
    (layers.MaxPooling3D, (2,), (4, 4, 4, 3), (2, 2, 2, 3)),
    (layers.AveragePooling1D, (2,), (8, 3), (4, 3)),
    (layers.GRU, (4,), (8, 3), (4,)),
    (layers.LSTM, (4,), (8, 3), (4,)),
    (layers.ConvLSTM2D, (2, 3), (3, 6, 6, 1), (4, 4, 2)),
    (layers.BatchNormalization, (), (8,), (8,)),
    (layers.Dropout, (0.5,), (8,), (8,)),
    (layers.Embedding, (10, 4), (8,), (8, 4)),
]


@pytest.mark.parametrize(("cls", "arguments", "shape", "expected"), BUILT_IN)
def test_a_built_in_layer_runs_in_a_graph(cls, arguments, shape, expected):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, cls(*arguments)(inputs))
    assert model.output_shape == (None, *expected)
    assert model(np.ones((2, *shape), "float32")).shape == (2, *expected)
