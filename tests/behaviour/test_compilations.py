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
