"""Checkpoints of a training, from which it continues after an interruption."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lamina.callbacks.monitoring import MonitorCallback
from lamina.errors import ArgumentError, StateError
from lamina.saving.checkpoint import CheckpointFolder
from lamina.saving.paths import path_text
from lamina.serialization.fields import is_integer
from lamina.serialization.registry import builtin


def check_frequency(value: Any, what: str) -> None:
    """Check when checkpoints are written.

    Args:
        value: ``"epoch"``, a number of steps, or a ``datetime.timedelta``.
        what: Name of the argument, for the message.

    Raises:
        ArgumentError: It is something else, or not positive.
    """
    if isinstance(value, dt.timedelta):
        valid = value > dt.timedelta(0)
    else:
        valid = value == "epoch" or (is_integer(value) and value >= 1)
    if not valid:
        raise ArgumentError(
            f"{what} must be 'epoch', a positive number of steps, or a positive "
            f"`datetime.timedelta`. Received: {value!r}."
        )


@builtin("callbacks")
class BackupAndRestore(MonitorCallback):
    """Saves the state of a training, from which the same ``fit`` continues after an interruption.

    A checkpoint is a folder named after the number of steps. It contains the weights, the
    optimizer's state, the metrics within an epoch, the random state, the position in the data, the
    history, and what other callbacks keep (:meth:`Callback.get_state`). It is complete or absent,
    and written while training goes on. ``fit`` with the same folder, in a new process too,
    continues after the last complete checkpoint, with the same bits and the same history as without
    an interruption, if its data is the same. (Keras repeats the epoch, and its history begins
    there.) SIGTERM and Ctrl-C make ``fit`` write a checkpoint after the current step and stop.

    Several processes write one checkpoint, each the parts of arrays that it has, into a folder that
    all of them share. Any number of processes continues from it: bit for bit if it is the same
    number, else up to rounding. A signal to one of them stops all.

    ``fit(resume="run")`` is short for this callback with ``double_checkpoint=True`` and
    ``delete_checkpoint=False``.

    Args:
        backup_dir: Folder of the checkpoints, for this training alone.
        save_freq: When to save: ``"epoch"`` for after each epoch and its validation; a number of
            steps; or a ``datetime.timedelta``. The end of training is saved in any case.
        double_checkpoint: Whether to keep the previous checkpoint too, in case the last one is
            damaged.
        delete_checkpoint: Whether to remove the checkpoints when training has ended.
        keep_best: Number of checkpoints to keep besides: those after the epochs with the best
            values of ``monitor``.
        monitor: Name of the log that ``keep_best`` compares.
        mode: ``"min"``, ``"max"`` or ``"auto"``: see
            :class:`~lamina.callbacks.monitoring.MonitorCallback`.

    Raises:
        ArgumentError: A wrong ``save_freq``, or no folder; in ``fit``, data that differs from that
            of the interrupted training.
        StateError: Another training writes into the folder, or processes do not share it.
        StructureError: In ``fit``, a checkpoint of another model.
        CorruptFileError: In ``fit``, no checkpoint is undamaged.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> class PowerCut(lamina.callbacks.Callback):
    ...     def on_epoch_begin(self, epoch, logs=None):
    ...         if epoch == 2:
    ...             raise KeyboardInterrupt
    >>> try:
    ...     backup = BackupAndRestore("backup")
    ...     model.fit([[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=[backup, PowerCut()])
    ... except KeyboardInterrupt:
    ...     sorted(path.name for path in Path("backup").iterdir())
    ['.lock', '00000002']
    >>> history = model.fit([[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=[backup])
    >>> history.epoch
    [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        keep_best: int = 0,
        monitor: str = "val_loss",
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode)
        self.backup_dir, self.save_freq = path_text(backup_dir), save_freq
        if not self.backup_dir:
            raise ArgumentError("BackupAndRestore: `backup_dir` is empty. Pass a folder.")
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.keep_best = keep_best
        check_frequency(save_freq, "BackupAndRestore: `save_freq`")
        self._folder: CheckpointFolder | None = None

    def open(self, model: Any) -> CheckpointFolder:
        """The folder, for the training of ``model`` alone; ``fit`` calls it at its beginning."""
        self.set_model(model)
        self._folder = CheckpointFolder(
            Path(self.backup_dir), 1 + self.double_checkpoint, self.keep_best,
            self.maximize if self.keep_best else False,
        )  # fmt: skip
        return self._folder

    def close(self, completed: bool, failed: bool = False) -> None:
        """Complete the last checkpoint; ``fit`` calls it at its end.

        Args:
            completed: Whether training has reached its end.
            failed: Whether it ends by an error.
        """
        if self._folder is not None:
            folder, self._folder = self._folder, None
            folder.close(remove=completed and self.delete_checkpoint, failed=failed)

    def expect_logs(self, names: Collection[str]) -> None:
        if self.keep_best:
            super().expect_logs(names)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._folder is None:
            raise StateError(
                "BackupAndRestore saves and restores the state of `fit`, not of a loop of your "
                "own.",
                cure="In such a loop, use `model.save(path)` and `load_model(path)`, which keep "
                "the optimizer's state and the random state too.",
            )
