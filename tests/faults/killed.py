"""A small training in a process that kills itself; see ``test_kill``.

The server imports what a training needs, and forks a process for each command before JAX has begun
to run anything: starting Python and importing JAX for each would take most of the time.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np

import lamina as keras
import lamina.losses
import lamina.optimizers
from lamina import layers
from lamina.callbacks import CSVLogger, EarlyStopping, ReduceLROnPlateau
from lamina.models import Sequential

_RNG = np.random.default_rng(0)
X, Y = _RNG.normal(size=(24, 4)).astype("float32"), _RNG.normal(size=(24, 2)).astype("float32")


def train(folder, seed):
    """Train with checkpoints in ``folder/run``; return what must be equal whatever happens."""
    keras.utils.set_random_seed(seed)
    model = Sequential([keras.Input((4,)), layers.Dropout(0.3), layers.Dense(2)])
    model.compile("adam", "mse")
    callbacks = [
        CSVLogger(folder / "log.csv"), ReduceLROnPlateau("loss", patience=1, min_delta=0.3),
        EarlyStopping("loss", patience=20, restore_best_weights=True),
    ]  # fmt: skip
    history = model.fit(
        X, Y, batch_size=4, epochs=4, verbose=0, callbacks=callbacks,
        resume=folder / "run", checkpoint_every=2,
    )  # fmt: skip
    arrays = [*model.get_weights(), *model.optimizer.variables]
    return {
        "arrays": [np.asarray(a).tolist() for a in arrays], "epochs": history.epoch,
        "history": history.history, "log": (folder / "log.csv").read_text(),
    }  # fmt: skip


class Countdown:
    """Kills the process after a number of lines of the code that trains and saves."""

    _OWN = str(Path(keras.__file__).parent)
    _PARTS = ("saving/checkpoint.py", "saving/safetensors.py", "runtime/files.py",
              "runtime/locks.py", "training/resuming.py", "training/loop.py", "training/runner.py",
              "callbacks/reporting.py")  # fmt: skip

    def __init__(self, lines):
        self.left = self.lines = lines
        self.files = {f"{self._OWN}/{part}" for part in self._PARTS}
        threading.settrace(self.enter)
        sys.settrace(self.enter)

    def enter(self, frame, event, arg):
        return self.line if frame.f_code.co_filename in self.files else None

    def line(self, frame, event, arg):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def attempt(command):
    """Train in this process, until it is killed if the command says so."""
    countdown = Countdown(command["lines"] or -1)
    result = train(Path(command["folder"]), command["seed"])
    sys.settrace(None)
    Path(command["folder"], "result.json").write_text(
        json.dumps({**result, "lines": countdown.lines - countdown.left})
    )


def serve():
    """Read commands, run each in a process of its own, and answer how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                attempt(json.loads(line))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - the process ends here
                import traceback

                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
