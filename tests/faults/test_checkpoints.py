"""A training that was interrupted continues to the same bits and the same history."""

import builtins
import contextlib
import datetime as dt
import errno
import functools
import hashlib
import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    SwapEMAWeights,
)
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    SavingWarning,
    StateError,
    StructureError,
    TrainingWarning,
)
from lamina.saving.checkpoint import Checkpoint, CheckpointFolder

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 48)


class Cut(BaseException):
    """What a test ends a training with, as a crash would."""


class PowerCut(Callback):
    """Ends the training after a step (counted from 0) of an epoch, or before an epoch."""

    every_batch = False

    def __init__(self, epoch, batch=None, what=None):
        super().__init__()
        self.epoch, self.at, self.now = epoch, batch, None
        self.what = what or self.cut

    def cut(self):
        raise Cut

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        if epoch == self.epoch and self.at is None:
            self.what()

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and self.at is not None and batch >= self.at:
            self.at = None
            self.what()


class EveryBatch(Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class Batches(keras.utils.PyDataset):
    """Shuffles itself too, as many data sets do."""

    def __init__(self, **options):
        super().__init__(**options)
        self.rng, self.order = np.random.default_rng(5), np.arange(48)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        rows = self.order[12 * i : 12 * i + 12]
        return X[rows], Y[rows]

    def on_epoch_end(self):
        self.order = self.rng.permutation(48)


class Endless(Batches):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, i):
        return super().__getitem__(i % 4)


class Stream:
    def __iter__(self):
        return map(Batches().__getitem__, range(4))


class Positioned:
    """Its iterator has a position, like those of grain; it counts what it makes."""

    made = 0

    def __iter__(self):
        return PositionedIterator()


class PositionedIterator:
    def __init__(self):
        self.at = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at == 4:
            raise StopIteration
        self.at += 1
        Positioned.made += 1
        return Batches()[self.at - 1]

    def get_state(self):
        return {"at": self.at, "text": b"\x00"}

    def set_state(self, state):
        assert state["text"] == b"\x00"
        self.at = state["at"]


def generator():
    while True:
        yield from Stream()


ARRAYS = {"x": X, "y": Y, "batch_size": 12}
DATA = {
    "loops over arrays": lambda: ARRAYS,
    "steps over arrays": lambda: {**ARRAYS, "batch_size": 13},
    "passes over arrays that are no epochs": lambda: {**ARRAYS, "steps_per_epoch": 3},
    "rows of a sparse matrix": lambda: {**ARRAYS, "x": keras_sparse(X)},
    "a data set": lambda: {"x": Batches()},
    "a data set with workers": lambda: {"x": Batches(workers=2), "steps_per_epoch": 3},
    "a data set without end": lambda: {"x": Endless(), "steps_per_epoch": 4},
    "an iterable": lambda: {"x": Stream()},
    "an iterable, in passes that are no epochs": lambda: {"x": Stream(), "steps_per_epoch": 3},
    "a generator": lambda: {"x": generator(), "steps_per_epoch": 4},
    "an iterator with a position": lambda: {"x": Positioned(), "steps_per_epoch": 3},
}
LONG = ("steps over arrays", "a data set", "a data set without end", "an iterable",
        "an iterable, in passes that are no epochs", "rows of a sparse matrix",
        "passes over arrays that are no epochs", "an iterator with a position")  # fmt: skip
SKIPS = ("an iterable", "an iterable, in passes that are no epochs", "a generator")


def keras_sparse(x):
    sparse = pytest.importorskip("scipy.sparse")
    return sparse.csr_matrix(x)


def make(optimizer=None, cls=keras.Sequential, seed=1, plain=False):
    keras.utils.clear_session(free_memory=False)  # names as in a new process
    keras.utils.set_random_seed(seed)
    inside = [] if plain else [layers.BatchNormalization(), Drawing(0.3)]
    model = cls([keras.Input((6,)), *inside, layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


class Drawing(layers.Layer):
    """Draws in evaluations too, from a generator of its own and from the step's key."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.generator = rate, keras.random.SeedGenerator(3)

    def call(self, x):
        noise = keras.random.normal(keras.ops.shape(x), seed=self.generator)
        return keras.random.dropout(x, self.rate) + 0.1 * noise


def fit(model, data, callbacks=(), **options):
    given = DATA[data]()
    callbacks = [*callbacks] if data == "loops over arrays" else [EveryBatch(), *callbacks]
    options = {"epochs": 4, "verbose": 0, "validation_data": (X[:9], Y[:9]), **options}
    return model.fit(**given, callbacks=callbacks, **options)


@functools.cache
def uninterrupted(data):
    model = make()
    return model, fit(model, data)


def assert_equal(model, history, other, again):
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert again.epoch == history.epoch
    assert again.history == history.history


@pytest.mark.parametrize(
    "data", [pytest.param(d, marks=pytest.mark.long if d in LONG else ()) for d in DATA]
)
def test_any_data_continues_where_it_was(data, tmp_path):
    """After two interruptions, at the last step of an epoch too; saved after each step."""
    cuts = ((1, 2), (1, 3)) if data == "loops over arrays" else ((1, 2), (2, None))
    model, history = uninterrupted(data)
    warnings = 0
    for i, cut in enumerate((*cuts, None)):
        again = make(seed=90 + i if i else 1)
        options = {"resume": tmp_path / "run", "checkpoint_every": 1}
        with pytest.warns() if data in SKIPS and i else contextlib.nullcontext() as told:
            if cut is None:
                rest = fit(again, data, **options)
            else:
                with pytest.raises(Cut):
                    fit(again, data, [PowerCut(*cut)], **options)
        warnings += len(told or ())
    assert_equal(model, history, again, rest)
    assert warnings == (len(cuts) if data in SKIPS else 0)


@pytest.mark.parametrize("steps", [None, 2])
def test_validation_on_a_generator_continues(steps, tmp_path):
    """Kept batches are made anew; those of passes of some steps are skipped to."""

    def train(callbacks, **options):
        count = 4 if steps is None else 99
        held = (Batches()[i % 4] for i in range(count))
        model = make(plain=True)
        options |= {"validation_data": held, "validation_steps": steps, "epochs": 4}
        return model, fit(model, "loops over arrays", callbacks, **options)

    model, history = train([])
    with pytest.raises(Cut):
        train([PowerCut(2)], resume=tmp_path)
    with pytest.warns(TrainingWarning) if steps else contextlib.nullcontext():
        again = train([], resume=tmp_path)
    assert_equal(model, history, *again)


def test_an_iterator_with_a_position_makes_no_batch_twice(tmp_path):
    options = {"resume": tmp_path, "checkpoint_every": 1}
    with pytest.raises(Cut):
        fit(make(), "an iterator with a position", [PowerCut(2, 2)], **options)
    Positioned.made = 0
    fit(make(), "an iterator with a position", **options)
    assert Positioned.made <= 1 + 3 + 1  # of 12: the last used one, three, and one ahead


class OwnStep(keras.Sequential):
    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        logs, state = super().train_step((trainable, non_trainable, optimizer, metrics), data)
        return {**logs, "first": keras.ops.sum(data[0])}, state


OPTIMIZERS = {
    "accumulation, momentum": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, gradient_accumulation_steps=3, global_clipnorm=0.5
    ),
    "averages": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=5),
    "schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(0.1, 20), amsgrad=True
    ),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer("adam", dynamic_growth_steps=3),
    "several": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.1), {".*kernel": keras.optimizers.RMSprop()}
        )
    ),
    "schedule-free": lambda: keras.optimizers.ScheduleFreeAdamW(0.01),
    "own step": None,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_continues(name, tmp_path):
    def train(callbacks, **options):
        optimizer = (OPTIMIZERS[name] or (lambda: "nadam"))()
        cls = OwnStep if name == "own step" else keras.Sequential
        model = make(optimizer, cls, plain=True)
        options = {"epochs": 3, "validation_data": None, **options}
        return model, fit(model, "loops over arrays", callbacks, **options)

    model, history = train([])
    with pytest.raises(Cut):
        train([PowerCut(2, 1)], resume=tmp_path, checkpoint_every=4)  # at an epoch's last step
    assert_equal(model, history, *train([], resume=tmp_path, checkpoint_every=4))


class Counts(Callback):
    """A user's own, with state."""

    def __init__(self):
        super().__init__()
        self.seen = np.zeros(2, "int64")

    def on_epoch_end(self, epoch, logs=None):
        self.seen = self.seen + np.array([1, epoch])
        logs["seen"] = np.float32(self.seen[1])

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = state["seen"]


def callbacks_of(folder):
    return [
        Counts(),
        EarlyStopping("loss", patience=2, restore_best_weights=True, min_delta=0.05),
        ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.5, cooldown=1),
        LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "best.safetensors", "loss", save_best_only=True,
                        save_weights_only=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cut", [(3, None), *(pytest.param(c, marks=pytest.mark.long) for c in ((1, 1), (4, 3)))]
)
def test_callbacks_continue(cut, tmp_path):
    """Patience, best weights, plateaus, rows of a file; rows after the checkpoint are dropped."""

    def train(folder, *more, **options):
        folder.mkdir(exist_ok=True)
        model = make()
        callbacks = callbacks_of(folder)
        history = fit(model, "loops over arrays", [*callbacks, *more], epochs=9, **options)
        return model, history, callbacks

    model, history, callbacks = train(tmp_path / "whole")
    assert 4 < len(history.epoch) < 9
    folder, run = tmp_path / "cut", {"resume": tmp_path / "run", "checkpoint_every": 3}
    with pytest.raises(Cut):
        train(folder, PowerCut(*cut), **run)
    again, rest, others = train(folder, **run)
    assert_equal(model, history, again, rest)
    for name in ("log.csv", "best.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for a, b in zip(callbacks, others, strict=True):
        np.testing.assert_equal(b.get_state(), a.get_state())
    again, rest, _ = train(folder, **run)  # it has ended; what ends it is done once more
    assert_equal(model, history, again, rest)


def test_averages_that_took_the_place_of_weights(tmp_path):
    def train(callbacks, **options):
        model = make(keras.optimizers.Adam(0.01, use_ema=True), plain=True)
        swap = SwapEMAWeights(swap_on_epoch=True)
        return model, fit(model, "loops over arrays", [swap, *callbacks], **options)

    model, history = train([])
    with pytest.raises(Cut):
        train([PowerCut(2)], resume=tmp_path)
    assert_equal(model, history, *train([], resume=tmp_path))


def test_slots_of_frozen_weights_are_kept(tmp_path):
    def train(callbacks, **options):
        model = make(keras.optimizers.SGD(0.1, momentum=0.9))
        fit(model, "loops over arrays", epochs=1)
        model.layers[-1].trainable = False
        return model, fit(model, "loops over arrays", callbacks, **options)

    model, history = train([])
    with pytest.raises(Cut):
        train([PowerCut(2)], resume=tmp_path)
    again = make(keras.optimizers.SGD(0.1, momentum=0.9))
    again.layers[-1].trainable = False
    rest = fit(again, "loops over arrays", resume=tmp_path)
    assert_equal(model, history, again, rest)
    assert len(again.optimizer.variables) == 2 + 4


def test_a_model_without_weights_gets_them_from_the_data(tmp_path):
    def train(callbacks, seed=1, **options):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        return model, fit(model, "loops over arrays", callbacks, **options)

    model, history = train([])
    with pytest.raises(Cut):
        train([PowerCut(2, 2)], resume=tmp_path, checkpoint_every=2)
    assert_equal(model, history, *train([], 7, resume=tmp_path, checkpoint_every=2))


# ---- signals -------------------------------------------------------------------------------------


class InValidation(Callback):
    def __init__(self, epoch, what):
        super().__init__()
        self.epoch, self.what, self.now = epoch, what, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_test_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            self.what()


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGTERM, "step"), (signal.SIGTERM, "validation"), (signal.SIGTERM, "epoch"),
        (signal.SIGTERM, "end"), (signal.SIGINT, "step"),
    ],
)  # fmt: skip
def test_a_signal_saves_a_checkpoint_and_stops(number, where, tmp_path, capsys):
    before = signal.getsignal(number)
    model, history = uninterrupted("loops over arrays")
    ask = functools.partial(signal.raise_signal, number)
    callback = {
        "step": lambda: PowerCut(1, 1, ask), "validation": lambda: InValidation(1, ask),
        "epoch": lambda: OnEpochEnd(1, ask), "end": lambda: OnEpochEnd(3, ask),
    }[where]()  # fmt: skip
    expected = SystemExit if number == signal.SIGTERM else KeyboardInterrupt
    day = dt.timedelta(days=1)
    with pytest.raises(expected) as raised:
        fit(make(), "loops over arrays", [callback], resume=tmp_path, checkpoint_every=day)
    if number == signal.SIGTERM:
        assert raised.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(number) is before
    steps = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
    lowest = {"step": 6, "validation": 8, "epoch": 8, "end": 16}[where]
    assert steps[0] >= lowest
    assert steps[0] == lowest or where == "step"
    assert (where == "end") != ("after step" in capsys.readouterr().out)
    again = make(seed=4)
    assert_equal(model, history, again, fit(again, "loops over arrays", resume=tmp_path))


class OnEpochEnd(Callback):
    def __init__(self, epoch, what):
        super().__init__()
        self.epoch, self.what = epoch, what

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.what()


def test_a_handler_of_the_users_own_is_called(tmp_path):
    called = []
    before = signal.signal(signal.SIGTERM, lambda *_: called.append(len(list(tmp_path.iterdir()))))
    try:
        ask = functools.partial(signal.raise_signal, signal.SIGTERM)
        with pytest.raises(SystemExit):
            fit(make(), "loops over arrays", [OnEpochEnd(1, ask)], resume=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called == [3]  # the lock, the first epoch, the second: all is safe by then


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(make(), "loops over arrays", [PowerCut(0, 1, twice)], resume=tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.name.isdigit()]


def test_outside_of_the_main_thread_it_is_told(tmp_path):
    told = []

    def train():
        with pytest.warns(TrainingWarning, match="main thread") as found:
            fit(make(), "loops over arrays", epochs=1, resume=tmp_path)
        told.extend(found)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert len(told) == 1


# ---- the folder ----------------------------------------------------------------------------------


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def test_the_layout_is_as_documented(tmp_path):
    model = make()
    fit(model, "loops over arrays", resume=tmp_path, checkpoint_every=3)
    assert names(tmp_path) == ["00000015", "00000016"]
    newest = tmp_path / "00000016"
    assert names(newest) == [
        "data.json", "host.json", "manifest.json", "training.safetensors", "weights.safetensors",
    ]  # fmt: skip
    manifest = json.loads((newest / "manifest.json").read_text())
    assert manifest["step"] == 16
    kernel = manifest["arrays"]["weights"]["dense/kernel"]
    assert (kernel["shape"], kernel["dtype"], len(kernel["sha256"])) == ([6, 3], "float32", 64)
    other = make(seed=3)
    other.load_weights(newest / "weights.safetensors")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, ["00000016"]), ({"double_checkpoint": True}, ["00000012", "00000016"]),
        ({"keep_best": 2, "monitor": "made"}, ["00000004", "00000012", "00000016"]),
        ({"keep_best": 1, "monitor": "made", "mode": "max"}, ["00000008", "00000016"]),
        ({"delete_checkpoint": True}, None),
    ],
)  # fmt: skip
def test_the_last_and_the_best_are_kept(options, kept, tmp_path):
    class Made(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["made"] = [0.2, 0.9, 0.1, 0.5][epoch]

    options = {"delete_checkpoint": False, "mode": "min", **options}
    backup = BackupAndRestore(tmp_path / "run", **options)
    fit(make(), "loops over arrays", [Made(), backup])
    assert (names(tmp_path / "run") == kept) if kept else not (tmp_path / "run").exists()


def test_one_training_at_a_time_writes_into_a_folder(tmp_path):
    class Inner(Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(StateError, match="another training of this process"):
                fit(make(), "loops over arrays", resume=tmp_path / "run" / "..")

    fit(make(), "loops over arrays", [Inner()], epochs=1, resume=tmp_path)
    fit(make(), "loops over arrays", epochs=1, resume=tmp_path)


def damaged(folder, name, how):
    path = folder / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "a link":
        path.symlink_to(path.rename(folder.parent / name))
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        at = len(content) * 3 // 4
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@functools.cache
def cut_at_epoch_2():
    import tempfile

    folder = Path(tempfile.mkdtemp())
    with pytest.raises(Cut):
        fit(make(), "loops over arrays", [PowerCut(2)], resume=folder)
    return folder


FILES = ("weights.safetensors", "training.safetensors", "host.json", "data.json", "manifest.json")


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "altered", "a link", "a pipe"])
@pytest.mark.parametrize("name", FILES)
def test_the_previous_checkpoint_serves_where_the_last_one_is_damaged(name, how, tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "copy")  # a copied folder is as good
    damaged(tmp_path / "copy" / "00000008", name, how)
    folder = CheckpointFolder(tmp_path / "copy")
    try:
        with pytest.warns(SavingWarning, match="00000008"):
            assert folder.newest().step == 4
        assert {"00000004", "00000008.damaged"} == {*names(tmp_path / "copy")} - {name}
    finally:
        folder.close()


@pytest.mark.parametrize(
    ("file", "value", "path"),
    [
        ("host", -1, ["epoch"]), ("host", [{}], ["optimized"]), ("host", [None], ["logs"]),
        ("host", {"array": "x"}, ["logs"]), ("host", ["a"], ["callbacks"]),
        ("host", {"dict": [["epoch", [0]]]}, ["callbacks", 0, 1]),
        ("host", "0.5", ["callbacks", 0, 1, "dict", 0, 1]), ("data", [], ["training"]),
        ("host", {"dict": [["epoch", [0]], ["history", 3.5]]}, ["callbacks", 0, 1]),
        ("data", "2", ["training", "dict", 0, 1]),
    ],
)  # fmt: skip
def test_what_is_no_state_of_a_training_is_refused(file, value, path, tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "run")
    folder = tmp_path / "run" / "00000008"
    content = json.loads((folder / f"{file}.json").read_text())
    box = content
    for key in path[:-1]:
        box = box[key]
    box[path[-1]] = value
    replace_text(folder, file, content)
    with pytest.raises(LaminaError):
        fit(make(), "loops over arrays", resume=tmp_path / "run")


def test_a_text_that_is_no_object_is_no_checkpoint(tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "run")
    replace_text(tmp_path / "run" / "00000008", "data", 5)
    with pytest.raises(LaminaError):
        fit(make(), "loops over arrays", resume=tmp_path / "run")
    replace_text(tmp_path / "run" / "00000008", "host", 5)
    folder = CheckpointFolder(tmp_path / "run")
    try:
        with pytest.warns(SavingWarning, match="00000008"):
            assert folder.newest().step == 4
    finally:
        folder.close()


def replace_text(folder, file, content):
    """Write other content to a file of a checkpoint, with its digest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    text = json.dumps(content)
    (folder / f"{file}.json").write_text(text)
    manifest["files"][file] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def copy(source, target):
    import shutil

    shutil.copytree(source, target)


def test_training_continues_from_the_previous_checkpoint(tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "run")
    damaged(tmp_path / "run" / "00000008", "manifest.json", "truncated")
    model, history = uninterrupted("loops over arrays")
    again = make(seed=5)
    with pytest.warns(SavingWarning):
        rest = fit(again, "loops over arrays", resume=tmp_path / "run")
    assert_equal(model, history, again, rest)
    assert names(tmp_path / "run") == ["00000008.damaged", "00000012", "00000016"]


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_that_cannot_be_read_now_is_not_a_damaged_one(name, tmp_path, monkeypatch):
    """An error of the disk or of the network is none of the file."""
    copy(cut_at_epoch_2(), tmp_path / "run")
    real = os.open, io.open

    def failing(opener):
        def opened(file, *args, **kwargs):
            if str(file).endswith(f"00000008/{name}"):
                raise OSError(errno.EIO, "Input/output error", str(file))
            return opener(file, *args, **kwargs)

        return opened

    for module, opener in ((os, "open"), (io, "open"), (builtins, "open")):
        monkeypatch.setattr(module, opener, failing(real[module is not os]))
    with pytest.raises(OSError, match="Input/output error") as caught:
        fit(make(seed=5), "loops over arrays", resume=tmp_path / "run")
    assert "00000008' may be complete nevertheless" in str(caught.value.__notes__)
    monkeypatch.undo()
    assert names(tmp_path / "run") == ["00000004", "00000008"]
    model, history = uninterrupted("loops over arrays")
    again = make(seed=5)
    assert_equal(model, history, again, fit(again, "loops over arrays", resume=tmp_path / "run"))


def test_no_undamaged_checkpoint_is_an_error(tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "run")
    for step in ("00000004", "00000008"):
        damaged(tmp_path / "run" / step, "manifest.json", "missing")
    with pytest.warns(SavingWarning), pytest.raises(CorruptFileError, match="00000004"):
        fit(make(), "loops over arrays", resume=tmp_path / "run")


def test_what_a_killed_process_left_is_removed_or_completed(tmp_path):
    run = tmp_path / "run"
    copy(cut_at_epoch_2(), run)
    copy(run / "00000008", run / "00000012.tmp")
    (run / "00000008").rename(run / "00000008.old")
    copy(run / "00000004", run / "00000004.old")
    (run / "notes.txt").write_text("mine")
    model, history = uninterrupted("loops over arrays")
    again = make(seed=5)
    assert_equal(model, history, again, fit(again, "loops over arrays", resume=run))
    assert names(run) == ["00000012", "00000016", "notes.txt"]


def test_another_model_or_other_data_is_an_error(tmp_path):
    copy(cut_at_epoch_2(), tmp_path / "run")
    other = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="wide")])
    other.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = other.get_weights()
    with pytest.raises(StructureError, match=r"(?s)wide/kernel.*dense/bias"):
        fit(other, "loops over arrays", resume=tmp_path / "run")
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    with pytest.raises(Cut):
        fit(make(), "loops over arrays", [PowerCut(2, 2)], resume=tmp_path / "b",
            checkpoint_every=1)  # fmt: skip
    for changed in ({"batch_size": 16}, {"x": X[:40], "y": Y[:40]}):
        with pytest.raises(ArgumentError, match="data differs"):
            make().fit(**{**ARRAYS, **changed}, epochs=4, verbose=0, resume=tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backup_dir": ""}, "empty"), ({"save_freq": 0}, "positive number of steps"),
        ({"save_freq": "batch"}, "'epoch'"), ({"save_freq": True}, "True"),
        ({"save_freq": dt.timedelta(0)}, "timedelta"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        BackupAndRestore(**{"backup_dir": "folder", **options})


def test_wrong_arguments_of_fit_are_refused(tmp_path):
    for options, message in (
        ({"checkpoint_every": 3}, "resume='folder'"),
        ({"checkpoint_every": -3, "resume": tmp_path}, "`checkpoint_every`"),
        ({"resume": tmp_path, "callbacks": [BackupAndRestore(tmp_path)]}, "one folder"),
    ):
        with pytest.raises(ArgumentError, match=message):
            make().fit(X, Y, verbose=0, **options)
    with pytest.raises(StateError, match="loop of your own"):
        BackupAndRestore(tmp_path).on_train_begin()


def test_a_state_that_cannot_be_saved_is_told_by_name(tmp_path):
    class Odd(Callback):
        def get_state(self):
            return {"model": object()}

    with pytest.raises(ArgumentError, match="callbacks/0/Odd/model"):
        fit(make(), "loops over arrays", [Odd()], resume=tmp_path)


def test_a_callback_that_is_gone_is_told(tmp_path):
    with pytest.raises(Cut):
        fit(make(), "loops over arrays", [EarlyStopping("loss"), PowerCut(2)], resume=tmp_path)
    with pytest.warns(TrainingWarning, match="EarlyStopping"):
        fit(make(), "loops over arrays", resume=tmp_path)


# ---- the disk and the clock ----------------------------------------------------------------------


def test_a_full_disk_stops_training_at_the_next_step(tmp_path):
    """The previous checkpoint is unchanged, and training continues from it with more room."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))

    model, history = uninterrupted("loops over arrays")
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            fit(make(), "loops over arrays", [PowerCut(1, 3, fill)], resume=tmp_path,
                checkpoint_every=1)  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Earlier ones are unchanged" in raised.value.__notes__[0]
    left = names(tmp_path)
    assert all(name.isdigit() for name in left)
    again = make(seed=5)
    assert_equal(model, history, again, fit(again, "loops over arrays", resume=tmp_path))


def refusing(name):
    """Instead of ``Path.mkdir``: the disk is full when a folder of that name is made."""
    mkdir = Path.mkdir

    def refuse(path, *args, **options):
        if path.name == name:
            raise OSError(28, "No space left on device", str(path))
        mkdir(path, *args, **options)

    return refuse


def test_checkpoints_are_kept_if_the_last_one_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing("00000016.tmp"))
    backup = BackupAndRestore(tmp_path / "run")  # which removes them when training has ended
    with pytest.raises(OSError, match="No space"):
        fit(make(), "loops over arrays", [backup])
    assert names(tmp_path / "run") == ["00000012"]


def test_an_error_of_training_is_not_hidden_by_one_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing("00000008.tmp"))
    with pytest.raises(Cut) as raised:
        fit(make(), "loops over arrays", [PowerCut(2)], resume=tmp_path)
    assert "No space left" in raised.value.__notes__[0]


def test_a_checkpoint_of_the_same_step_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    first = Checkpoint(3, {}, {"n": 1}, {})
    rename = Path.rename

    def refuse(path, target):
        if path.suffix == ".tmp" and target.suffix == "":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    folder.save(first)
    folder.wait()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        folder.save(Checkpoint(3, {}, {"n": 2}, {}))
        with pytest.raises(OSError, match="Input/output"):
            folder.wait()
    assert folder.newest().host == {"n": 1}
    folder.close()


def test_removing_checkpoints_may_be_interrupted(tmp_path, monkeypatch):
    """What is left of them is no checkpoint, and not in the way of the next training."""
    import shutil

    def cut(path, **_):
        (path / "manifest.json").unlink()
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda p, **o: None if o else cut(p))
        with pytest.raises(Cut):
            fit(make(), "loops over arrays", [BackupAndRestore(tmp_path / "run")], epochs=1)
    model, history = uninterrupted("loops over arrays")
    again = make()
    rest = fit(again, "loops over arrays", resume=tmp_path / "run")
    assert_equal(model, history, again, rest)


def test_a_process_that_looks_late_sees_that_a_checkpoint_is_complete(tmp_path, monkeypatch):
    """Though another one of the same step has been begun: each process is a thread here."""
    monkeypatch.setattr("lamina.saving.checkpoint._SECONDS_BETWEEN_LOOKS", 0.1)
    other = threading.Thread(target=lambda: write(folders[1]))
    numbers = {"number": lambda: int(threading.current_thread() is other), "count": lambda: 2,
               "is_first": lambda: threading.current_thread() is not other,
               "are_several": lambda: True}  # fmt: skip
    folders = [CheckpointFolder(tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr("lamina.runtime.processes.is_first", lambda: False)
        folders.append(CheckpointFolder(tmp_path))
    for name, function in numbers.items():
        monkeypatch.setattr(f"lamina.runtime.processes.{name}", function)
    done = []

    def write(folder):
        folder._patience_ends = time.monotonic() + 10
        for n in range(3):
            folder._commit(Checkpoint(3, {}, {"n": n}, {}))
        done.append(folder)

    other.start()
    write(folders[0])
    other.join()
    assert len(done) == 2
    monkeypatch.undo()
    assert folders[0].newest().host == {"n": 2}
    for folder in folders:
        folder.close()


def test_a_folder_that_is_read_only_is_an_error_before_training(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(30, "Read-only file system", str(path))

    steps = PowerCut(0, 0)
    with monkeypatch.context() as patched:
        patched.setattr("lamina.runtime.locks.os.open", refuse)
        with pytest.raises(OSError, match="Read-only"):
            fit(make(), "loops over arrays", [steps], resume=tmp_path)
    assert os.listdir(tmp_path) == []
    fit(make(), "loops over arrays", epochs=1, resume=tmp_path)  # nothing is locked


def test_a_folder_that_is_full_stops_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing("00000008.tmp"))
    with pytest.raises(OSError, match="No space"):
        fit(make(), "loops over arrays", resume=tmp_path)
    assert names(tmp_path) == ["00000004"]


def test_a_clock_that_goes_back_changes_nothing(tmp_path, monkeypatch):
    import itertools
    import os
    import time

    now = itertools.count(1e9, -1000)
    monkeypatch.setattr(time, "time", lambda: next(now))
    with pytest.raises(Cut):
        fit(make(), "loops over arrays", [PowerCut(3)], resume=tmp_path)
    for age, name in enumerate(names(tmp_path)):
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    model, history = uninterrupted("loops over arrays")
    again = make(seed=5)
    rest = fit(again, "loops over arrays", resume=tmp_path,
               checkpoint_every=dt.timedelta(microseconds=1))  # fmt: skip
    assert_equal(model, history, again, rest)


def test_a_folder_that_processes_do_not_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.runtime.processes.differing", lambda _: [1, 3])
    with pytest.raises(StateError, match=r"not the same folder for all processes: \[1, 3\]"):
        fit(make(), "loops over arrays", resume=tmp_path)
    monkeypatch.undo()
    fit(make(), "loops over arrays", epochs=1, resume=tmp_path)  # nothing is locked
