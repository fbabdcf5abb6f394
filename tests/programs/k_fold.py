"""Cross-validation: a new model for each fold, and the state cleared between them."""

import keras
import numpy as np
from keras import layers, regularizers

rng = np.random.default_rng(32)
x = rng.normal(size=(60, 7))
y = x @ rng.normal(size=7) + 0.1 * rng.normal(size=60)


def make():
    keras.backend.clear_session()
    model = keras.Sequential(
        [
            keras.Input((7,)),
            layers.Dense(8, activation="relu", kernel_regularizer=regularizers.l2(1e-3)),
            layers.Dense(8, activation="relu", kernel_regularizer=regularizers.L1L2(1e-4, 1e-4)),
            layers.Dense(1),
        ]
    )
    drawn = np.random.default_rng(33)
    model.set_weights([drawn.normal(0, 0.4, w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.RMSprop(0.01), "mse", metrics=["mae"])
    return model


scores, histories = [], []
for fold in range(3):
    held = slice(20 * fold, 20 * fold + 20)
    train = np.r_[0 : held.start, held.stop : 60]
    mean, deviation = x[train].mean(0), x[train].std(0)
    model = make()
    history = model.fit(
        (x[train] - mean) / deviation, y[train], epochs=3, batch_size=10, shuffle=False, verbose=0,
        validation_data=((x[held] - mean) / deviation, y[held]),
    )  # fmt: skip
    histories.append(history.history["val_mae"])
    scores.append(model.evaluate((x[held] - mean) / deviation, y[held], verbose=0))
    print(fold, [layer.name for layer in model.layers], [float(v) for v in scores[-1]])
print(np.mean(scores, axis=0), np.mean(histories, axis=0))
