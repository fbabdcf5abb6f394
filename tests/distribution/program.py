"""A program that several processes run; each writes what it has seen to a folder."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import lamina as keras
from lamina import distribution as dist
from lamina import layers

ROWS = (40, 28)  # of each process, in batches of 8


def rows(n, start=0):
    x = np.random.default_rng(7).normal(size=(200, 16)).astype("float32")[start : start + n]
    return x, (x[:, :4].argmax(-1)).astype("int32")


def build():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    x = keras.Input((16,))
    y = layers.Dense(64, activation="relu")(x)
    return keras.Model(x, layers.Dense(4)(layers.Dropout(0.2)(layers.BatchNormalization()(y))))


class Numbered(keras.utils.PyDataset):
    """Batches of 8 rows; the last one is smaller."""

    def __init__(self, n, start=0):
        super().__init__()
        self.x, self.y = rows(n, start)

    def __len__(self):
        return (len(self.x) + 7) // 8

    def __getitem__(self, i):
        return self.x[8 * i : 8 * i + 8], self.y[8 * i : 8 * i + 8]


def compiled(by):
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], distribution=by)
    return model


def train(by, x, y=None, **options):
    model = compiled(by)
    history = model.fit(x, y, 16, epochs=2, verbose=0, validation_data=rows(20), **options)
    return model, history.history


def fsdp(**options):
    import jax

    mesh = dist.DeviceMesh((len(jax.devices()),), ["batch"])
    return dist.Sharded(mesh, fsdp_axis="batch", min_size=32, **options)


class Leave(keras.callbacks.Callback):
    """Only process 1 wants to stop, after the second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        import jax

        self.model.stop_training = epoch == 1 and jax.process_index() == 1


def main(folder):
    import jax

    dist.initialize()
    folder, number = Path(folder), jax.process_index()
    found = {"processes": jax.process_count(), "devices": len(jax.devices())}
    for name, by in (("data", "data"), ("fsdp", fsdp())):
        model, history = train(by, *rows(60))
        found[name] = {
            "history": history,
            "evaluate": model.evaluate(*rows(20), verbose=0),
            "predict": model.predict(rows(21)[0], verbose=0).tolist(),
            "weights": [float(np.abs(w).sum()) for w in model.get_weights()],
        }
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    found["loaded"] = [float(np.abs(w).sum()) for w in loaded.get_weights()]
    found["dataset"] = train("data", Numbered(60), shuffle=False)[1]
    own = sum(ROWS[:number])
    joined = dist.DataParallel(auto_shard_dataset=False)
    found["joined"] = train(joined, Numbered(ROWS[number], own), shuffle=False)[1]
    logger = keras.callbacks.CSVLogger(folder / f"log{number}.csv")
    model = compiled("data")
    history = model.fit(*rows(60), epochs=5, verbose=2, callbacks=[Leave(), logger])
    found["epochs"] = history.epoch
    (folder / f"{number}.json").write_text(json.dumps(found))


def fail(folder):
    """Process 1 dies in the first attempt; in the second one, all end."""
    mark = Path(folder) / "mark"
    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
    again = mark.exists()
    dist.initialize()
    if number == 1 and not again:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    print("trained" if again else "waiting", flush=True)
    if not again:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pause()


if __name__ == "__main__":
    {"main": main, "fail": fail}[sys.argv[1]](sys.argv[2])
