"""A series of waves and noise in windows: an LSTM forecasts it, better than the last value does."""

import sys

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()


def series(steps, rng):
    t = np.arange(steps)
    waves = [np.sin(t / 7), 0.7 * np.sin(t / 3 + 1), np.sin(t / 17)]
    mixed = np.stack([waves[0] + waves[1], waves[1] + waves[2], waves[2]], -1)
    return (20 + 5 * mixed + rng.normal(0, 0.3, mixed.shape)).astype("float32")


def windows(values, start, end, **options):
    """Windows of 12 values, two steps apart, and the first column's value after each."""
    length, rate = 12, 2
    return keras.utils.timeseries_dataset_from_array(
        values, values[length * rate :, 0], length, sampling_rate=rate,
        start_index=start, end_index=end, **options,
    )  # fmt: skip


def network(values):
    scale = layers.Normalization(name="scale")
    scale.adapt(values)
    inputs = keras.Input((12, 3))
    h = layers.LSTM(8, name="lstm")(scale(inputs))
    model = keras.Model(inputs, layers.Rescaling(5, 20)(layers.Dense(1, name="forecast")(h)))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model, scale


rng = np.random.default_rng(4)
values = series(400, rng)
train = windows(values[:300], None, None, batch_size=64, sequence_stride=3)
test = windows(values, 300, 390, batch_size=16)
for x, y in test.take(1):
    print(tuple(x.shape), tuple(y.shape), np.asarray(x)[0, :3, 0], np.asarray(y)[:3])
print(len(train), len(test), [tuple(y.shape) for _, y in train])
alone = keras.utils.timeseries_dataset_from_array(values[:20], None, 5, batch_size=None)
print(len(list(alone)), [np.asarray(x).shape for x in alone.take(1)])
shuffled = windows(values[:300], None, None, batch_size=300, shuffle=True, seed=1)
print([round(float(np.sum(np.asarray(y))), 1) for _, y in shuffled])

model, scale = network(values[:300])
print(np.asarray(scale.mean).round(3), np.asarray(scale.variance).round(3))
model.set_weights(
    [w if i < 3 else rng.normal(0, 0.3, w.shape) for i, w in enumerate(model.get_weights())]
)
history = model.fit(train, validation_data=test, epochs=2, verbose=0).history
print({k: [round(float(v), 3) for v in vs] for k, vs in sorted(history.items())})
print(model.predict(test, verbose=0)[:3])

long = series(1500, np.random.default_rng(5)) if SEEDS else None
for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    model, _ = network(long[:1200])
    shuffled = windows(long[:1200], None, None, batch_size=64, shuffle=True, seed=seed)
    model.fit(shuffled, epochs=20, verbose=0)
    error = model.evaluate(windows(long, 1200, 1476, batch_size=64), verbose=0)[1]
    print("accuracy", 1 - error / np.abs(np.diff(long[1200:, 0])).mean())
