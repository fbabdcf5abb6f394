"""PyDataset: order, hooks, threads and processes, and what happens when they fail."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import ArgumentError, DataError
from tests.training import worker_datasets as w

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    for _ in range(50):  # a thread that was making a batch may take a moment
        left = [t for t in threading.enumerate() if t.name.startswith("lamina-data")]
        left += multiprocessing.active_children()
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {left}")


def numbers(x):
    """The numbers of the batches that predictions were made from."""
    return list(np.asarray(x)[::4, 0])


@pytest.fixture(scope="module")
def identity():
    inputs = keras.Input((2,))
    return keras.Model(inputs, inputs * 1.0)


def test_batches_come_in_order(identity):
    assert numbers(identity.predict(w.Batches(), verbose=0)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("processes", [False, True])
def test_workers_keep_the_order(identity, processes):
    data = w.Uneven(8, workers=3, use_multiprocessing=processes, max_queue_size=4)
    assert numbers(identity.predict(data, verbose=0)) == list(range(8))


def test_hooks_surround_each_pass(model):
    data = w.Batches(2)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.log == ["begin", 0, 1, "end"] * 2


def test_validation_data_has_its_own_passes(model):
    data = w.Batches(2)
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, validation_data=data, verbose=0)
    assert data.log == ["begin", 0, 1, "end"] * 2
    assert len(history.history["val_loss"]) == 2


def test_shuffling_draws_an_order_of_batches_for_each_pass(model):
    data = w.Batches(20)
    model.fit(data, epochs=2, verbose=0)
    first, second = data.log[1:21], data.log[23:43]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != sorted(first)


def test_the_order_continues_after_a_save(tmp_path):
    def orders(model, epochs):
        data = w.Batches(20)
        model.fit(data, epochs=epochs, verbose=0)
        return [i for i in data.log if isinstance(i, int)]

    inputs = keras.Input((2,))
    made = keras.Model(inputs, layers.Dense(1)(inputs))
    made.compile("sgd", "mse")
    made.save(tmp_path / "model.keras")
    whole = orders(made, 2)
    half = keras.saving.load_model(tmp_path / "model.keras")
    first = orders(half, 1)
    half.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    assert first + orders(again, 1) == whole


def test_steps_per_epoch_goes_on_through_the_data(model):
    data = w.Batches(5)
    model.fit(data, epochs=4, steps_per_epoch=3, shuffle=False, verbose=0)
    assert [i for i in data.log if isinstance(i, int)] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_steps_of_an_evaluation_begin_at_the_beginning(identity):
    data = w.Batches(5)
    for _ in range(2):
        assert numbers(identity.predict(data, steps=2, verbose=0)) == [0, 1]


def test_a_data_set_without_end_needs_steps(model):
    data = w.Endless()
    model.fit(data, epochs=2, steps_per_epoch=3, verbose=0)
    assert [i for i in data.log if isinstance(i, int)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ArgumentError, match="steps_per_epoch"):
        model.fit(w.Endless(), verbose=0)


def test_the_constructor_need_not_be_called(identity):
    class Plain(keras.utils.PyDataset):
        def __init__(self):
            pass

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.full((4, 2), index)

    assert numbers(identity.predict(Plain(), verbose=0)) == [0, 1, 2]


def test_a_data_set_must_say_its_length(model):
    class Lengthless(keras.utils.PyDataset):
        def __getitem__(self, index):
            return np.zeros((4, 2))

    with pytest.raises(DataError, match=r"Lengthless .*__len__.*num_batches"):
        model.predict(Lengthless(), verbose=0)


@pytest.mark.parametrize("arguments", [{"workers": -1}, {"max_queue_size": 0}, {"workers": 1.5}])
def test_arguments_are_checked(arguments):
    with pytest.raises(ArgumentError, match="is an integer >= "):
        w.Batches(**arguments)


@pytest.mark.parametrize("processes", [False, True])
def test_without_workers_batches_are_made_in_place(identity, processes):
    data = w.Batches(3, workers=0, use_multiprocessing=processes)
    assert numbers(identity.predict(data, verbose=0)) == [0, 1, 2]


def test_max_queue_size_bounds_what_is_made_ahead(identity):
    data = w.Batches(20, workers=2, max_queue_size=3)
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            time.sleep(0.02)
            seen.append(len(data.log) - 1 - batch)  # "begin" is not a batch

    identity.predict(data, callbacks=[Watch()], verbose=0)
    # The one in use, two of the prefetching thread, and those of the workers.
    assert max(seen) <= 1 + 2 + 3


# ---- processes -----------------------------------------------------------------------------------


def test_worker_processes_know_no_jax(identity):
    data = w.WithoutJax(os.getpid(), workers=2, use_multiprocessing=True)
    assert numbers(identity.predict(data, verbose=0)) == [0, 1, 2, 3, 4]
    assert data.log == ["begin", "end"]  # nothing was fetched here


MAIN = """
import sys
import os
import lamina as keras
from lamina import layers
from tests.training.worker_datasets import WithoutJax

assert "jax" in sys.modules
inputs = keras.Input((2,))
model = keras.Model(inputs, layers.Dense(1)(inputs))
model.compile("sgd", "mse")
model.fit(WithoutJax(os.getpid(), workers=2, use_multiprocessing=True), verbose=0)
print("trained")
"""


def test_a_script_needs_no_guard_when_the_class_is_in_a_module(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    done = subprocess.run(
        [sys.executable, script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "trained\n", done.stderr


def test_processes_see_what_a_pass_changed():
    data = w.Changing(2, workers=2, use_multiprocessing=True)
    inputs = keras.Input((2,))
    still = keras.Model(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    still.compile(keras.optimizers.SGD(0.0), "mse")  # the loss is the mean square of the targets
    history = still.fit(data, epochs=3, shuffle=False, verbose=0).history["loss"]
    expected = [np.mean([(100 * e + i) ** 2 for i in range(2)]) for e in range(3)]
    np.testing.assert_allclose(history, expected, rtol=1e-6)


@pytest.mark.parametrize(("workers", "processes"), [(1, False), (2, False), (2, True)])
def test_an_error_arrives_with_its_traceback(model, workers, processes):
    data = w.Failing(workers=workers, use_multiprocessing=processes)
    with pytest.raises(FileNotFoundError, match="third file") as caught:
        model.fit(data, shuffle=False, verbose=0)
    text = "".join(traceback.format_exception(caught.value))
    assert "in open_file" in text
    assert "worker_datasets.py" in text


def test_an_error_that_cannot_be_pickled_is_told(model):
    with pytest.raises(DataError, match="Picky: 1 and 2") as caught:
        model.fit(w.FailingPickily(workers=2, use_multiprocessing=True), verbose=0)
    assert "in open_file" in caught.value.__notes__[0]


def test_a_worker_that_dies_is_an_error(model):
    with pytest.raises(DataError, match="exit code 7"):
        model.fit(w.Dying(workers=2, use_multiprocessing=True), shuffle=False, verbose=0)


def test_a_data_set_that_cannot_be_pickled_is_an_error(model):
    with pytest.raises(DataError, match=r"Unpicklable cannot be sent to worker processes: .*lock"):
        model.fit(w.Unpicklable(use_multiprocessing=True), verbose=0)


def test_a_class_that_a_worker_cannot_find_is_an_error(model, monkeypatch):
    main = sys.modules["__main__"]
    Here = type("Here", (w.Batches,), {"__module__": "__main__"})
    monkeypatch.setattr(main, "Here", Here, raising=False)
    monkeypatch.setattr(main, "__spec__", None)  # as in a notebook: there is nothing to import
    monkeypatch.delattr(main, "__file__", raising=False)
    with pytest.raises(DataError, match=r"(?s)cannot load Here: .*module of its own"):
        model.fit(Here(use_multiprocessing=True), verbose=0)


def test_an_error_in_a_step_ends_the_workers(identity, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            raise RuntimeError("enough")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="enough") as caught:
        identity.predict(
            w.Slow(str(tmp_path), workers=2, use_multiprocessing=True, max_queue_size=2),
            callbacks=[Stop()], verbose=0,
        )  # fmt: skip
    assert time.monotonic() - began < 30  # a batch takes a minute
    assert caught.traceback  # the frames are alive, and yet (see `nothing_left`) no process is


SLOW = """
import signal, sys
from lamina.training.data.pydataset import Workers
from tests.training.worker_datasets import Slow
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    workers = Workers(Slow(sys.argv[1], workers=2, use_multiprocessing=True))
    try:
        list(workers.run(range(1, 5)))
    finally:
        workers.close()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_training(tmp_path, how):
    script, pids = tmp_path / "slow.py", tmp_path / "pids"
    script.write_text(SLOW)
    pids.mkdir()
    training = subprocess.Popen(
        [sys.executable, script, pids], env=ENVIRONMENT, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    workers = _eventually(lambda: (found := [int(p.name) for p in pids.iterdir()])[1:] and found)
    if how == signal.SIGINT:
        os.killpg(training.pid, how)  # as a terminal does: all processes receive it
    else:
        training.send_signal(how)
    training.wait(timeout=20)
    _eventually(lambda: not any(_alive(pid) for pid in workers))


def _eventually(check):
    for _ in range(400):
        if result := check():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not happen within 20 seconds")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as f:  # one that its new parent has not collected is dead too
        return f.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_iteration_of_ones_own_does_not_shorten_an_epoch(workers):
    class Broken(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index == 2:
                raise StopIteration
            return np.ones((2, 4)), np.ones((2, 1))

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="StopIteration"):
        model.fit(Broken(workers=workers), verbose=0)
