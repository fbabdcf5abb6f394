"""Predictions: in blocks, with a rest, of several outputs; and of a single sample."""

import numpy as np
import pytest

import lamina as keras
from lamina import layers

RNG = np.random.default_rng(0)


def two_outputs():
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    x = layers.concatenate([layers.Dense(5, activation="tanh")(a), b])
    return keras.Model({"a": a, "b": b}, {"z": layers.Dense(2)(x), "y": layers.Dense(1)(b)})


@pytest.mark.parametrize("count", [1, 31, 32, 1024, 1100, 3000])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_blocks_and_a_rest_give_what_a_call_gives(count, batch_size, monkeypatch):
    monkeypatch.setattr("lamina.training.data.samples._BLOCK_BYTES", 40_000)  # several blocks
    model = two_outputs()
    data = {"b": RNG.normal(size=(count, 3)), "a": RNG.normal(size=(count, 6))}
    found = model.predict(data, batch_size=batch_size, verbose=0)
    expected = model(data)
    assert list(found) == ["z", "y"]
    for name, values in expected.items():
        assert isinstance(found[name], np.ndarray)
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_hooks_see_every_batch():
    seen = []
    hook = keras.callbacks.LambdaCallback()
    hook.on_predict_batch_end = lambda batch, logs: seen.append(logs["outputs"]["z"].shape)
    two_outputs().predict(
        {"a": np.ones((1000, 6)), "b": np.ones((1000, 3))}, verbose=0, callbacks=[hook]
    )
    assert seen == [(32, 2)] * 31 + [(8, 2)]


def test_a_call_follows_what_is_changed_in_a_layer():
    inputs = keras.Input((4,))
    layer = layers.Dense(3)
    model = keras.Model(inputs, layer(inputs))
    x = RNG.normal(size=(5, 4)).astype("float32")
    before = model(x)
    layer.activation = keras.activations.relu
    np.testing.assert_array_equal(model(x), np.maximum(before, 0))
    np.testing.assert_array_equal(model.predict(x, verbose=0), np.maximum(before, 0))
    layer.kernel.assign(np.zeros((4, 3)))
    np.testing.assert_array_equal(model(x), np.zeros((5, 3)))


def test_a_call_of_a_graph_with_a_layer_of_ones_own_runs_it_every_time():
    calls = []

    class Counting(layers.Layer):
        def call(self, x):
            calls.append(1)
            return x

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Counting()(inputs))
    before = len(calls)
    model(np.ones((1, 4)))
    model(np.ones((1, 4)))
    assert len(calls) == before + 2


def test_a_mask_travels_through_a_called_model():
    inputs = keras.Input((None,))
    model = keras.Model(inputs, layers.Embedding(5, 3, mask_zero=True)(inputs))
    ids = np.array([[1, 2, 0]])
    pooled = layers.GlobalAveragePooling1D()(model(ids))
    np.testing.assert_allclose(pooled, np.asarray(model(ids))[:, :2].mean(1), rtol=1e-6)


@pytest.mark.parametrize("eager", [False, True])
def test_predictions_may_be_changed_in_place(eager):
    """As in Q-learning, where outputs with the values of some actions are the targets."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    model.compile("sgd", "mse", run_eagerly=eager)
    states = RNG.normal(size=(3, 4)).astype("float32")
    for predict in (model.predict_on_batch, lambda x: model.predict(x, verbose=0)):
        targets = predict(states)
        targets[np.arange(3), [0, 1, 0]] = 5.0
        model.train_on_batch(states, targets)
