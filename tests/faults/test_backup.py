"""A training that was interrupted goes on by itself, to the same bits."""

import functools

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.callbacks import BackupAndRestore, Callback
from lamina.errors import ArgumentError, CorruptFileError, NotBuiltError, TrainingWarning

X = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 50)


class PowerCut(Callback):
    """Ends the training after a batch (counted from 0) of an epoch."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.at, self.now = epoch, batch, None
        if batch is not None:
            self.on_train_batch_end = self.after_batch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        if epoch == self.epoch and self.at is None:
            raise KeyboardInterrupt

    def after_batch(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.at):
            raise KeyboardInterrupt


def make():
    model = keras.Sequential(
        [keras.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return X[12 * i : 12 * i + 12], Y[12 * i : 12 * i + 12]


class Stream:
    def __iter__(self):
        return map(Batches().__getitem__, range(4))


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 12},
    "dataset": lambda: {"x": Batches()},
    "stream": lambda: {"x": Stream()},
}


def run(data, *callbacks, seed=1, epochs=4):
    keras.utils.set_random_seed(seed)
    model = make()
    options = {"epochs": epochs, "verbose": 0, "validation_data": (X[:9], Y[:9])}
    try:
        history = model.fit(**DATA[data](), **options, callbacks=list(callbacks))
    except KeyboardInterrupt:
        return model, None
    return model, history


@functools.cache
def uninterrupted(data):
    return run(data)


@pytest.mark.parametrize(
    ("data", "freq", "cut"),
    [
        ("arrays", "epoch", (2,)), ("arrays", 3, (1, 3)), ("dataset", 2, (2, 1)),
        ("stream", 4, (1, 3)),
    ],
)  # fmt: skip
def test_the_rest_is_what_it_would_have_been(data, freq, cut, tmp_path):
    whole, history = uninterrupted(data)
    folder = tmp_path / "backup"
    assert run(data, BackupAndRestore(folder, freq), PowerCut(*cut))[1] is None
    again, rest = run(data, BackupAndRestore(folder, freq), seed=99)  # as in another process
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first = rest.epoch[0]
    assert rest.epoch == list(range(first, 4))
    assert first == (2 if freq == "epoch" or cut[0] == 2 else 1)
    assert rest.history == {name: values[first:] for name, values in history.history.items()}
    assert int(again.optimizer.iterations) == int(whole.optimizer.iterations)
    assert not folder.exists()


def test_loops_of_many_steps_go_on_within_an_epoch_too(tmp_path):
    whole, _ = uninterrupted("arrays")
    run("arrays", BackupAndRestore(tmp_path, 3), PowerCut(1, 3))
    backup = BackupAndRestore(tmp_path, "epoch", delete_checkpoint=False)
    again, _ = run("arrays", backup)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["latest.h5"]
    history = make().fit(X, Y, epochs=4, verbose=0, callbacks=[backup])
    assert history.epoch == []  # it has been to its end


def test_the_previous_state_serves_where_the_last_one_is_damaged(tmp_path):
    backup = BackupAndRestore(tmp_path, double_checkpoint=True)
    run("arrays", backup, PowerCut(3))
    latest = tmp_path / "latest.h5"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.h5", "previous.h5"]
    latest.write_bytes(latest.read_bytes()[:500])
    with pytest.warns(TrainingWarning, match="previous state"):
        _, history = run("arrays", backup)
    assert history.epoch == [2, 3]


def test_what_cannot_be_restored_is_an_error(tmp_path):
    backup = BackupAndRestore(tmp_path)
    run("arrays", backup, PowerCut(2))
    unbuilt = keras.Sequential([layers.Dense(3)])
    unbuilt.compile("sgd", "mse")
    with pytest.raises(NotBuiltError, match="before training"):
        unbuilt.fit(X, X, verbose=0, callbacks=[backup])
    other = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    other.compile("sgd", "mse")
    with pytest.raises(CorruptFileError, match="start anew"):
        other.fit(X, X[:, :5], verbose=0, callbacks=[backup])
    other.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "other.weights.h5").replace(tmp_path / "latest.h5")
    with pytest.raises(CorruptFileError, match="not a file that a training was saved in"):
        other.fit(X, X[:, :5], verbose=0, callbacks=[backup])


@pytest.mark.parametrize(
    "options", [{"backup_dir": ""}, {"save_freq": 0}, {"save_freq": "batch"}, {"save_freq": True}]
)
def test_wrong_arguments_are_refused(options):
    with pytest.raises(ArgumentError, match="BackupAndRestore"):
        BackupAndRestore(**{"backup_dir": "folder", **options})
