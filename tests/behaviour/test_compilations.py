"""A step is compiled once for each structure and shape of batches, whatever comes in between."""

import collections

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
