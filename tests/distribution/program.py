"""A program that several processes run; each writes what it has seen to a folder."""

import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
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


class Parts(keras.utils.PyDataset):
    """The rows of one of several processes: all of them together have batches of 12."""

    def __init__(self, number, count):
        super().__init__()
        self.part = slice(12 * number // count, 12 * (number + 1) // count)

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return tuple(a[12 * i : 12 * i + 12][self.part] for a in rows(60))


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
            "new": [saves(model, folder / f"{name}.weights.h5") for _ in range(2)],
        }
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    found["loaded"] = [float(np.abs(w).sum()) for w in loaded.get_weights()]
    found["dataset"] = train("data", Numbered(60), shuffle=False)[1]
    own = sum(ROWS[:number])
    joined = dist.DataParallel(auto_shard_dataset=False)
    model, found["joined"] = train(joined, Numbered(ROWS[number], own), shuffle=False)
    found["joined evaluate"] = model.evaluate(Numbered(ROWS[number], own), verbose=0)
    found["joined predict"] = model.predict(Numbered(ROWS[number], own), verbose=0).tolist()
    logger = keras.callbacks.CSVLogger(folder / f"log{number}.csv")
    model = compiled("data")
    history = model.fit(*rows(60), epochs=5, verbose=2, callbacks=[Leave(), logger])
    found["epochs"] = history.epoch
    model, history = resumable(fsdp())
    found["resumable"] = {"history": history, "digest": digest(state_of(model))}
    (folder / f"{number}.json").write_text(json.dumps(found))


def saves(model, path):
    """Whether the weights are saved in a new file."""
    try:
        model.save_weights(path, overwrite=False)
    except (FileExistsError, keras.errors.StateError):  # the first process, and the others
        return False
    return True


def state_of(model):
    return [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]


def digest(arrays):
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()


class Interrupt(keras.callbacks.Callback):
    """In one process, sends it a signal (or has it hang) after a step of an epoch."""

    every_batch = False

    def __init__(self, epoch, batch, what):
        super().__init__()
        self.where, self.what = (epoch, batch), what

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) < self.where:
            return
        if self.what is None:
            time.sleep(0.4)  # JAX looks each second whether there was a signal
        elif self.what == "hang":
            signal.pause()
        elif self.what == "full":  # this process can write to no file any more, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            self.what = None
        else:
            os.kill(os.getpid(), getattr(signal, self.what))
            self.what = None


def resumed(spec):
    """Train with checkpoints; ``spec`` says how, and what happens in which attempt."""
    import jax

    spec = json.loads(spec)
    folder = Path(spec["folder"])
    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
    attempts = sorted(folder.glob("attempt*"))
    dist.initialize(stall_seconds=spec.get("stall_seconds", 40))
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("attempts counted")
    if number == 0:
        (folder / f"attempt{len(attempts)}").touch()
        if (folder / "run").exists():
            shutil.copytree(folder / "run", folder / f"copy{len(attempts)}")
    multihost_utils.sync_global_devices("attempt noted")
    events = spec.get("events", [])
    event = events[len(attempts)] if len(attempts) < len(events) else None
    callbacks = [keras.callbacks.EarlyStopping("loss", patience=9)]
    if event is not None and event[0] == number:
        callbacks.append(Interrupt(*event[1:]))
        callbacks[-1].every_batch = spec["layout"] == "own"  # its steps are dispatched one by one
    by, own = fsdp() if spec["layout"] == "fsdp" else spec["layout"], {}
    if by == "own":  # each process has the rows of every so-manieth batch
        by = dist.DataParallel(auto_shard_dataset=False)
        own = {"data": Parts(jax.process_index(), jax.process_count()), "batch_size": None}
    options = {"resume": folder / "run", **own, **spec.get("options", {})}
    model, history = resumable(by, callbacks, **options)
    arrays = state_of(model)
    found = {"history": history, "digest": digest(arrays), "processes": jax.process_count(),
             "weights": [float(np.abs(w).sum()) for w in arrays]}  # fmt: skip
    (folder / f"result{number}.json").write_text(json.dumps(found))


def resumable(by, callbacks=(), epochs=4, batch_size=12, data=None, **options):
    model = compiled(by)
    history = model.fit(
        *(rows(60) if data is None else (data, None)), batch_size, epochs=epochs, verbose=0,
        validation_data=rows(20), callbacks=list(callbacks), **options,
    )  # fmt: skip
    return model, history.history


def orbax(folder):
    """Save with Orbax, each process its parts; restore onto another layout."""
    import jax

    dist.initialize()
    saver = keras.callbacks.OrbaxCheckpoint(Path(folder) / "orbax")
    saved, _ = resumable(fsdp(), [saver], epochs=2)
    found = {"saved": digest(state_of(saved))}
    for name, by in (("fsdp", fsdp()), ("data", "data")):
        model = compiled(by)
        model.evaluate(*rows(20), verbose=0)
        saver.restore(model)
        found[name] = digest(state_of(model))
    Path(folder, f"{jax.process_index()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    {"main": main, "orbax": orbax, "resumed": resumed}[sys.argv[1]](sys.argv[2])
