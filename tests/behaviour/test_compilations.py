"""A step is compiled once for each structure and shape of batches, whatever comes in between."""

import collections
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers


def _classifier(convolutional):
    inputs = keras.Input((None, 6))
    x = layers.Conv1D(4, 3, padding="same")(inputs) if convolutional else inputs
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(use_ema=True), loss, metrics=["accuracy"])
    return model


def _data(size, length):
    rng = np.random.default_rng(length)
    return rng.random((size, length, 6), "float32"), rng.integers(3, size=size)


def _steps(compiled):
    names = (name.removeprefix("jit(").rstrip(")") for name in compiled)
    return dict(collections.Counter(n for n in names if n.endswith(("_step", "_steps"))))


@pytest.mark.parametrize("convolutional", [False, True])
def test_fit_compiles_each_kind_of_batch_once(compilations, convolutional):
    model = _classifier(convolutional)
    x, y = _data(24, 5)
    weights = np.ones(24)

    def batches():
        yield from ((x[i : i + 8], y[i : i + 8]) for i in (0, 8, 16))

    with compilations() as compiled:
        model.fit(batches(), verbose=0, validation_data=(x, y), validation_batch_size=8)
    assert _steps(compiled)["train_step"] == 1
    with compilations() as compiled:
        model.fit(x, y, batch_size=8, verbose=0, sample_weight=weights)
    assert sum(_steps(compiled).values()) == 1
    model.evaluate(x, y, batch_size=8, sample_weight=weights, verbose=0)
    model.train_on_batch(x[:8], y[:8])
    model.test_on_batch(x[:8], y[:8])
    model.predict(x, batch_size=8, verbose=0)
    with compilations() as compiled:
        for _ in range(2):
            model.fit(batches(), verbose=0, validation_data=(x, y), validation_batch_size=8)
            model.fit(x, y, batch_size=8, verbose=0, sample_weight=weights)
            model.evaluate(x, y, batch_size=8, sample_weight=weights, verbose=0)
            model.train_on_batch(x[:8], y[:8])
            model.test_on_batch(x[:8], y[:8])
            model.predict(x, batch_size=8, verbose=0)
    assert compiled == []


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_batches_of_several_lengths_are_compiled_once_each(compilations, method):
    model = _classifier(False)
    batches = [_data(8, length) for length in (5, 7)]

    def run():
        for x, y in batches:
            getattr(model, method)(*((x,) if method.startswith("predict") else (x, y)))

    with compilations() as compiled:
        run()
    assert list(_steps(compiled).values()) == [2]
    with compilations() as compiled:
        run()
        run()
    assert compiled == []


class _Told(keras.Model):
    """Its step reports the mean weight of samples where there are weights."""

    def train_step(self, state, data):
        logs, state = super().train_step(state, data)
        return (logs | {"weight": data[2].mean()} if len(data) > 2 else logs), state


def test_the_reports_are_those_of_the_batches_at_hand():
    inputs = keras.Input((3,))
    model = _Told(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    for weights in (None, np.full(8, 0.5), None, np.full(8, 0.5)):
        history = model.fit(x, y, batch_size=4, sample_weight=weights, verbose=0).history
        expected = ["loss"] if weights is None else ["loss", "weight"]
        assert list(history) == expected
    reduced = model.fit(x, y, batch_size=2, verbose=0).history  # compiled after those with weights
    assert list(reduced) == ["loss"]


_FIRST_MODEL = """
import lamina as keras
x = keras.Input((8,))
y = keras.layers.Dense(2)(keras.layers.Dropout(0.5)(keras.layers.Dense(4, activation="relu")(x)))
keras.Model(x, y).compile("adam", "mse")
"""


def test_the_first_model_of_a_process_is_built_without_compilations():
    environment = {**os.environ, "JAX_LOG_COMPILES": "1"}
    command = [sys.executable, "-c", _FIRST_MODEL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [x for x in done.stderr.splitlines() if "Finished XLA compilation" in x] == []


def _functional():
    inputs = keras.Input((5, 3))
    return keras.Model(inputs, layers.Dense(2)(layers.Dropout(0.5)(inputs)))


def _with_input():
    return keras.Sequential([keras.Input((5, 3)), layers.Dropout(0.5), layers.Dense(2)])


def _by_data():
    return keras.Sequential([layers.Dropout(0.5), layers.Dense(2)])


@pytest.mark.parametrize("make", [_functional, _with_input, _by_data])
def test_calls_of_built_in_models_run_one_compiled_program(monkeypatch, make):
    model, called = make(), []
    x, longer = np.ones((2, 5, 3), "float32"), np.ones((2, 7, 3), "float32")
    model(x)
    call = layers.Dense.__call__
    monkeypatch.setattr(layers.Dense, "__call__", lambda *a: called.append(1) or call(*a))
    first = model(x)
    called.clear()
    np.testing.assert_array_equal(model(x), first)
    assert not called
    assert not np.allclose(model(x, training=True), first)
    assert called
    if make is _by_data:  # the graph is widened by other data
        np.testing.assert_allclose(model(longer)[:, :5], first, rtol=1e-6)
        np.testing.assert_allclose(model(x), first, rtol=1e-6)


def test_calls_of_a_graph_that_draws_in_inference_draw_anew():
    x = keras.Input((64,))
    model = keras.Model(x, layers.Dropout(0.5)(x, training=True))
    ones = np.ones((1, 64), "float32")
    assert len({np.asarray(model(ones)).tobytes() for _ in range(4)}) == 4
    twice = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        twice.append([np.asarray(model(ones)) for _ in range(2)])
    np.testing.assert_array_equal(*twice)


def test_settings_that_change_between_calls_of_a_graph_count():
    x = keras.Input((3,))
    inner = layers.Dense(2)
    model = keras.Model(x, inner(x))
    model.compile("sgd", "mse")
    ones = np.ones((1, 3), "float32")
    linear = np.asarray(model(ones))

    seen = []

    def spy(x):
        seen.append(isinstance(x, jax.core.Tracer))
        return keras.ops.exp(x)

    inner.activation = keras.activations.exponential
    np.testing.assert_allclose(model(ones), np.exp(linear), rtol=1e-5)
    inner.activation = spy
    np.testing.assert_allclose(model(ones), np.exp(linear), rtol=1e-5)
    model.run_eagerly, seen[:] = True, []
    model(ones)
    assert seen == [False]
    model.run_eagerly, model.jit_compile, seen[:] = False, False, []
    model(ones)
    assert seen == [False]
    model.jit_compile = True
    np.testing.assert_allclose(model(ones), np.exp(linear), rtol=1e-5)


def _pop(inner):
    inner.pop()


def _add(inner):
    inner.add(layers.Rescaling(2.0))


def _override(inner):
    inner.layers[0].call = lambda x: x * 0 - 1


def _quicken(inner):
    inner.layers[0].dtype = "mixed_bfloat16"


@pytest.mark.parametrize("change", [_pop, _add, _override, _quicken])
def test_changes_of_a_model_inside_count(change):
    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3), layers.ReLU()])
    model = keras.Model(x, inner(x))
    data = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    before = np.asarray(model(data), "float32")
    change(inner)
    expected = np.asarray(inner(data), "float32")
    assert not np.array_equal(before, expected)
    np.testing.assert_allclose(np.asarray(model(data), "float32"), expected, rtol=1e-2)
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-2)


def test_an_override_that_is_removed_counts():
    x = keras.Input((3,))
    inner = layers.Dense(2)
    model = keras.Model(x, inner(x))
    ones = np.ones((1, 3), "float32")
    before = np.asarray(model(ones))
    inner.call = lambda x: x[:, :2] * 0
    assert not np.asarray(model(ones)).any()
    del inner.call
    np.testing.assert_array_equal(model(ones), before)
    np.testing.assert_array_equal(model.predict(ones, verbose=0), before)


def test_settings_between_calls_count():
    x = keras.Input((3,))
    model = keras.Model(x, keras.ops.rms_normalization(x))
    ones = np.ones((1, 3), "float32")
    former = keras.config.epsilon()
    try:
        for epsilon in (1e-7, 3.0, 1e-7):
            keras.config.set_epsilon(epsilon)
            expected = np.full((1, 3), (1 + epsilon) ** -0.5)
            np.testing.assert_allclose(model(ones), expected, rtol=1e-5)
            np.testing.assert_allclose(model.predict(ones, verbose=0), expected, rtol=1e-5)
    finally:
        keras.config.set_epsilon(former)


class _DrawsForSome(layers.Layer):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.dropout = kind, layers.Dropout(0.5)

    def call(self, x):
        if self.kind == "shape" and x.shape[0] < 4:
            return x
        if self.kind == "data" and float(x[0, 0]) < 1:
            return x
        if self.kind == "scope":
            with keras.StatelessScope():
                return self.dropout(x, training=True)
        return x + keras.random.normal(x.shape)


class _Subclassed(keras.Model):
    def __init__(self, kind):
        super().__init__()
        self.inner = _DrawsForSome(kind)

    def call(self, x):
        return self.inner(x)


@pytest.mark.parametrize("kind", ["shape", "data", "scope"])
@pytest.mark.parametrize("method", ["predict", "predict_on_batch"])
def test_predictions_that_draw_for_some_batches_depend_on_the_seed(kind, method):
    seen = []
    for seed in (1, 2, 1):
        keras.utils.set_random_seed(seed)
        model = _Subclassed(kind)
        model.compile(run_eagerly=kind == "data")
        call = getattr(model, method)
        call(np.zeros((2, 64), "float32"))
        seen += [call(np.ones((8, 64), "float32")).tobytes() for _ in range(2)]
    assert len(set(seen)) == 4
    assert seen[:2] == seen[4:]
