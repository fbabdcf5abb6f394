"""One layer, metric, loss, optimizer or callback in two models, in turns: numbers as in Keras."""

import keras as reference
import numpy as np
import pytest

import lamina

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype("float32")
Y = RNG.normal(size=(16, 1)).astype("float32")


def dense(k, units, seed):
    rng = np.random.default_rng(seed)

    def draw(shape, dtype=None):
        return rng.normal(size=shape).astype("float32")

    return k.layers.Dense(units, kernel_initializer=draw)


def model(k, shared=None):
    inputs = k.Input((4,))
    hidden = (shared or dense(k, 3, 1))(inputs)
    return k.Model(inputs, dense(k, 1, 2)(hidden))


def fitted(m, **kwargs):
    return m.fit(X, Y, shuffle=False, verbose=0, **kwargs).history


def layers(k):
    shared = dense(k, 3, 5)
    pair = [model(k, shared), model(k, shared)]
    for m in pair:
        m.compile(k.optimizers.SGD(0.1), "mse")
    losses = [m.train_on_batch(X, Y) for m in pair * 2]
    return [*losses, *np.ravel(shared.get_weights()[0])]


def metrics(k):
    shared = k.metrics.MeanAbsoluteError(name="shared")
    pair = [model(k), model(k)]
    for m in pair:
        m.compile(k.optimizers.SGD(0.1), "mse", metrics=[shared])
    found = []
    for m in pair * 2:
        found += fitted(m)["shared"]
        found.append(float(shared.result()))
    return found


def losses(k):
    shared = k.losses.Huber()
    pair = [model(k), model(k)]
    for m in pair:
        m.compile(k.optimizers.SGD(0.1), shared)
    return [fitted(m)["loss"][0] for m in (*pair, pair[0])]


def optimizers(k):
    optimizer, shared = k.optimizers.Adam(0.1), dense(k, 3, 7)
    pair = [model(k, shared), model(k, shared)]
    for m in pair:
        m.compile(optimizer, "mse")
    found = [fitted(m)["loss"][0] for m in (*pair, pair[0])]
    return [*found, int(optimizer.iterations)]


def optimizers_of_two_models(k):
    optimizer, pair = k.optimizers.SGD(0.1), [model(k), model(k)]
    for m in pair:
        m.compile(optimizer, "mse")
    found = [fitted(m)["loss"][0] for m in (*pair, pair[0])]
    return [*found, int(optimizer.iterations)]


def callbacks(k):
    class Epochs(k.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(epoch)

    epochs, stopping = Epochs(), k.callbacks.EarlyStopping("loss", patience=0, baseline=-1)
    history = k.callbacks.History()
    pair = [model(k), model(k)]
    for m in pair:
        m.compile("sgd", "mse")
    lengths = [len(fitted(m, epochs=4, callbacks=[epochs, stopping])["loss"])
               for m in (*pair, pair[0])]  # fmt: skip
    fitted(pair[0], callbacks=[history])
    fitted(pair[1], epochs=2, callbacks=[history])
    return [*lengths, *epochs.seen, len(history.history["loss"]), *history.epoch]


@pytest.mark.parametrize(
    "of", [layers, metrics, losses, optimizers, optimizers_of_two_models, callbacks]
)
def test_sharing(of):
    np.testing.assert_allclose(of(lamina), of(reference), rtol=1e-4, atol=1e-5)
