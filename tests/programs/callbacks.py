"""Callbacks: the ready ones, and one of one's own that hears every event."""

import csv
import os
import tempfile

import keras
import numpy as np

rng = np.random.default_rng(9)
x, y = rng.normal(size=(40, 5)).astype("float32"), rng.normal(size=(40, 1)).astype("float32")


def make():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, name="d")])
    model.set_weights([np.ones((5, 1)) * 0.3, np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    return model


class Events(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_begin(self, logs=None):
        self.seen.append(("train begins", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, sorted(logs)))

    def on_test_end(self, logs=None):
        self.seen.append(("test ends", sorted(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, {k: round(float(v), 4) for k, v in sorted(logs.items())}))

    def on_train_end(self, logs=None):
        self.seen.append(("train ends", sorted(logs)))


class StopAtMinimum(keras.callbacks.Callback):
    """Stops when the loss has not fallen for some epochs, and puts the best weights back."""

    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience

    def on_train_begin(self, logs=None):
        self.wait, self.best, self.best_weights = 0, np.inf, None

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.best:
            self.best, self.wait = logs["val_loss"], 0
            self.best_weights = self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.model.stop_training = True
                self.model.set_weights(self.best_weights)


model, events = make(), Events()
model.fit(
    x,
    y,
    batch_size=20,
    epochs=2,
    validation_data=(x[:8], y[:8]),
    shuffle=False,
    verbose=0,
    callbacks=[events],
)
for event in events.seen:
    print(event)

model = make()
history = model.fit(
    x,
    y,
    epochs=30,
    shuffle=False,
    verbose=0,
    validation_data=(x[:9], y[:9]),
    callbacks=[StopAtMinimum(2)],
)
print(len(history.epoch), np.ravel(model.get_weights()[0]))

with tempfile.TemporaryDirectory() as folder:
    best = os.path.join(folder, "best.keras")
    log = os.path.join(folder, "log.csv")
    model = make()
    rates = []
    history = model.fit(
        x, y, epochs=8, shuffle=False, verbose=0, validation_split=0.2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True),
            keras.callbacks.CSVLogger(log),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.3),
            keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: rates.append(float(logs["learning_rate"]))
            ),
        ],
    )  # fmt: skip
    print([round(r, 6) for r in rates], len(history.epoch))
    with open(log) as file:
        rows = list(csv.reader(file))
    print(rows[0], len(rows))
    loaded = keras.models.load_model(best)
    print(min(history.history["val_loss"]), loaded.evaluate(x[32:], y[32:], verbose=0)[0])
