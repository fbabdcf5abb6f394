"""What libraries on top of Keras rely on beyond its documented names."""

import functools
import inspect
import random as python_random
import sys
import types

import keras
import numpy as np
import pytest
from keras.src.saving.saving_lib import H5IOStore as KerasStore
from keras.src.trainers.data_adapters import data_adapter_utils

import lamina
from lamina import layers, ops, settings
from lamina.alias import private
from lamina.errors import ShapeError, UnknownNameError

X = np.random.default_rng(0).normal(size=(4, 6, 8)).astype("float32")


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        (
            lambda: ops.while_loop(lambda n: n < 2, lambda n: n + ops.where(n > 5, 0.0, 0.75), 0),
            2.25,
        ),
        (lambda: ops.fori_loop(0, 4, lambda i, x: x + i * 0.5, 0), 3.0),
        (lambda: ops.scan(lambda s, x: (s + x, x), 0, ops.array([0.5, 1.0]))[0], 1.5),
    ],
    ids=["while", "for", "scan"],
)
def test_loops_promote_the_python_numbers_that_they_start_with(loop, expected):
    assert float(loop()) == expected


def test_without_a_seed_python_s_generator_decides(monkeypatch):
    def trained():
        python_random.seed(3)
        model = lamina.Sequential(
            [lamina.Input((8,)), layers.Dense(4), layers.Dropout(0.5), layers.Dense(4)]
        )
        model.compile("sgd", "mse")
        model.fit(X[:, 0], X[:, 0, :4], batch_size=2, verbose=0)
        drawn = lamina.random.normal((2,), seed=lamina.random.SeedGenerator())
        return [*model.get_weights(), drawn, lamina.initializers.GlorotUniform()((2, 2))]

    monkeypatch.setitem(settings._settings, "times_seeded", 0)
    first, second = trained(), trained()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    a, b = (layers.Dense(4) for _ in range(2))
    a.build((None, 8)), b.build((None, 8))
    assert not np.array_equal(a.kernel, b.kernel)


class OwnStep(lamina.Model):
    """A model that is built by hand, whose `call` is not for batches of data."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def build(self, shapes):
        self.dense.build(shapes["a"])

    def call(self, inputs):
        raise AssertionError("`call` was evaluated")

    def train_step(self, state, data):
        trainable, others, optimizer, metrics = state
        with lamina.StatelessScope(zip(self.metrics_variables, metrics, strict=True)) as scope:
            self._loss_tracker.update_state(3.0)
        metrics = [scope.get_current_value(v) for v in self.metrics_variables]
        return {"loss": self._loss_tracker.result()}, (trainable, others, optimizer, metrics)


def test_a_model_that_is_built_is_not_called_to_build_it():
    model = OwnStep()
    model.build({"a": (None, 8)})
    model.compile("sgd")
    model.fit({"a": X[:, 0]}, verbose=0)
    assert float(model.get_metrics_result()["loss"]) == 3.0


class Cached(layers.MultiHeadAttention):
    """Computes its keys and values itself, as with a cache."""

    def call(self, query, value, mask=None):
        q, k, v = self._query_dense(query), self._key_dense(value), self._value_dense(value)
        return self._output_dense(self._compute_attention(q, k, v, mask, training=False)[0])


@pytest.mark.parametrize("mask", [None, np.tril(np.ones((1, 6, 6), bool))], ids=["all", "causal"])
def test_attention_can_be_computed_in_parts(mask):
    cached, whole = Cached(2, 4), layers.MultiHeadAttention(2, 4)
    result = cached(X, X, mask)
    whole.build(X.shape, X.shape)
    whole.set_weights(cached.get_weights())
    np.testing.assert_allclose(result, whole(X, X, attention_mask=mask), rtol=1e-5, atol=1e-6)


class Scored(layers.MultiHeadAttention):
    """Makes its projections as usual, and the products of them by Keras's equations."""

    def build(self, query_shape, value_shape):
        super().build(query_shape, value_shape)
        self._build_attention(len(query_shape) + 1)

    def call(self, query, value, mask=None):
        q, k, v = self._query_dense(query), self._key_dense(value), self._value_dense(value)
        scores = ops.einsum(self._dot_product_equation, k, q) / self._key_dim**0.5
        scores = self._dropout_layer(self._masked_softmax(scores, mask))
        return self._output_dense(ops.einsum(self._combine_equation, scores, v))


@pytest.mark.parametrize("axes", [None, (1,), (2,)])
@pytest.mark.parametrize("masked", [False, True])
def test_scores_of_attention_can_be_computed_by_subclasses(axes, masked):
    x = np.stack([X, X[:, ::-1]], 1)[:, :, :3]
    lengths = [x.shape[a] for a in axes or (1, 2)]
    others = [x.shape[0], *(x.shape[a] for a in (1, 2) if a not in (axes or (1, 2)))]
    sizes = (*others, *lengths, *lengths)
    mask = np.arange(np.prod(sizes)).reshape(sizes) % 3 != 1 if masked else None
    scored, whole = (
        cls(2, 4, attention_axes=axes, kernel_regularizer="l2")
        for cls in (Scored, layers.MultiHeadAttention)
    )
    result = scored(x, x, mask)
    whole.build(x.shape, x.shape)
    whole.set_weights(scored.get_weights())
    np.testing.assert_allclose(result, whole(x, x, attention_mask=mask), rtol=1e-5, atol=1e-6)
    assert scored._kernel_regularizer is scored.kernel_regularizer


class Second(layers.Layer):
    """Declares two outputs, of which the second may be None; takes what another one returned."""

    def call(self, x, other=None):
        return x + 1 if other is None else x + other, None

    def compute_output_shape(self, x_shape):
        return x_shape, x_shape


def test_an_output_that_is_declared_may_be_none():
    x = lamina.Input((6, 8))
    first, second = Second()(x)
    model = lamina.Model(x, Second()(first, second)[0])
    np.testing.assert_allclose(model.predict(X, verbose=0), X + 2, rtol=1e-6)


def _model_with_attributes(library):
    """A subclass that makes its graph after some attributes, and before another one."""

    class Mine(library.Model):
        def __init__(self):
            dense = functools.partial(library.layers.Dense, 4)
            self.normalize = library.layers.LayerNormalization(name="normalize")
            self.blocks = [dense(name="block_0"), dense(name="block_1")]
            x = inputs = library.Input((4,), name="inputs")
            shared = dense(name="shared")
            for block in self.blocks:
                x = shared(block(x))
            super().__init__(inputs, self.normalize(dense(name="last")(x)))
            self.later = dense(name="later")
            self.later.build((None, 4))

    return Mine()


def test_weights_are_in_keras_s_order():
    theirs, ours = map(_model_with_attributes, (keras, lamina))
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    trained = [v.path for v in theirs.trainable_variables]
    assert [v.path for v in ours.trainable_variables] == trained
    assert [x.name for x in ours.layers] == [*(x.name for x in theirs.layers), "later"]
    x = np.ones((2, 4), "float32")
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs(x), rtol=1e-5, atol=1e-6)


def test_low_rank_adapters_do_not_change_the_order_of_weights():
    def adapted(library):
        layer = library.layers.Dense(3)
        layer.build((None, 4))
        layer.enable_lora(2)
        return layer

    theirs, ours = map(adapted, (keras, lamina))
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    ours.trainable = False
    ours.trainable = True  # not the kernel, which the adapters replace
    assert [v.name for v in ours.trainable_weights] == ["bias", "lora_kernel_a", "lora_kernel_b"]


@pytest.mark.parametrize(
    "name",
    [n for n in dir(layers)
     if "compute_mask" in getattr(getattr(keras.layers, n, None), "__dict__", ())],
)  # fmt: skip
def test_masks_are_computed_from_parameters_of_keras_s_names(name):
    theirs, ours = (
        list(inspect.signature(getattr(x, name).compute_mask).parameters.values())[2]
        for x in (keras.layers, layers)
    )
    assert (ours.name, ours.default) == (theirs.name, theirs.default)


def test_names_of_module_objects():
    deserialize = lamina.saving.deserialize_keras_object
    objects = {"one": layers.Dropout, "two": len}
    with pytest.raises(UnknownNameError, match="sampler"):
        deserialize("three", module_objects=objects, printable_module_name="sampler")
    assert deserialize("two", module_objects=objects) is len
    layer = layers.ReLU(name="r")
    config = lamina.saving.serialize_keras_object(layer) | {"class_name": "Mine", "module": None}
    assert deserialize(config, module_objects={"Mine": layers.ReLU}).name == "r"


class Positions(layers.Layer):
    """Adds a part of a table that is as long as the longest sequence."""

    def build(self, input_shape):
        self.table = self.add_weight((6, input_shape[-1]), name="table")

    def call(self, x):
        return x + ops.slice(self.table, (0, 0), (x.shape[1], x.shape[2]))


class Shaped(layers.Layer):
    """Has an inner layer, and says its shapes."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x, other=None):
        return self.layer(x)

    def compute_output_shape(self, x_shape, other_shape=None):
        return x_shape


def test_sequences_may_have_a_maximum_length():
    x = lamina.Input((None, 8))
    model = lamina.Model(x, Positions()(x))
    assert model.output_shape == (None, None, 8)
    assert lamina.Model(x, model(x))(X).shape == X.shape


def test_unknown_dimensions_may_be_those_of_a_constant():
    x, y = lamina.Input((None, 8)), lamina.Input((None, None, 8))
    total = x + np.ones((1, 6, 8), "float32")
    assert total.shape == (None, 6, 8)
    assert (y * np.ones((1, 6, 1, 8))).shape == (None, 6, None, 8)
    np.testing.assert_allclose(lamina.Model(x, total)(X[:, :1]), X[:, :1] + np.ones((1, 6, 8)))
    inner = lamina.Model(
        x, layers.Dense(3)(total)[:, -1]
    )  # the constant's size is not in the result
    assert inner(lamina.Input((None, 8))).shape == (None, 3)
    with pytest.raises(ShapeError):
        lamina.Input(("time", 8)) + np.ones((1, 6, 8))


def test_layers_that_say_their_shapes_build_what_they_contain():
    x, other = lamina.Input((None, 8)), lamina.Input((3,))
    layer = Shaped(layers.Dense(8))
    assert layer(x, other).shape == (None, None, 8)
    assert len(layer.weights) == 2


def test_a_shape_that_is_returned_as_it_came_keeps_unknown_dimensions():
    x = layers.Conv1D(8, 3, strides=2, padding="same")(lamina.Input((None, 8)))
    assert layers.add([x, Shaped(Positions())(x)]).shape == (None, None, 8)


def test_inner_layers_without_the_layer_itself():
    model = lamina.Sequential([lamina.Input((3,)), Shaped(layers.Dense(3))])
    assert model._flatten_layers()[1:] == model._flatten_layers(include_self=False)


def test_stores_of_arrays_are_those_of_keras(tmp_path):
    store = private.H5IOStore(tmp_path / "a.h5", mode="w")
    store.make("lora")["rank"] = 2
    store.make("lora/3")["kernel"] = X
    store.close()
    theirs, ours = (
        cls(str(tmp_path / "a.h5"), mode="r") for cls in (KerasStore, private.H5IOStore)
    )
    for found in (theirs, ours):
        assert int(found.get("lora")["rank"][()]) == 2
        np.testing.assert_array_equal(found.get("lora/3")["kernel"], X)
        found.close()
    assert list(private.H5IOStore(tmp_path / "a.h5").get("lora")) == ["rank"]


@pytest.mark.parametrize("y", [[0, 2, 1], [[0.0], [2.0], [1.0]], [[0, 1], [1, 0], [0, 1]]])
def test_class_weights_of_samples(y):
    weights = {0: 2.0, 1: 0.5}
    expected = data_adapter_utils.class_weight_to_sample_weights(np.array(y), weights)
    made = private.class_weight_to_sample_weights(np.array(y), weights)
    np.testing.assert_array_equal(made, expected)
    assert made.dtype == expected.dtype


def test_code_outside_of_grain_is_told_apart(monkeypatch):
    def caller(name):
        return eval("ask()", {"__name__": name, "ask": private.in_grain_data_pipeline})

    assert not caller("grain._src.python.dataset.dataset")  # it is not even imported
    monkeypatch.setitem(sys.modules, "grain", types.ModuleType("grain"))
    assert caller("grain._src.python.dataset.dataset")
    assert not caller("grain_user")
