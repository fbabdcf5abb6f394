"""Going on with a training that was interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lamina.callbacks.base import Callback
from lamina.core.boundary import warn
from lamina.errors import ArgumentError, CorruptFileError, TrainingWarning
from lamina.saving.checkpoint import Position, load_training, save_training
from lamina.serialization.registry import builtin


@builtin("callbacks")
class BackupAndRestore(Callback):
    """Saves the state of a training, and goes on from there when the same ``fit`` runs again.

    Weights, the optimizer's state, the numbers of epoch and step, the seed of the random draws and,
    within an epoch, the metrics are in one file, which is written whole or not at all. The
    next ``fit`` with a callback of the same folder, in a new process too, goes on after the last
    batch that was saved: it trains to the same weights, bit by bit, as without an interruption,
    if its data is the same. (Keras trains on an epoch from its beginning.) The history has the
    remaining epochs. Data that cannot be iterated twice must be at the beginning of the epoch.

    Args:
        backup_dir: Folder of the file, for this training alone.
        save_freq: ``"epoch"``, or a number of steps after each of which to save.
        double_checkpoint: Whether to keep the previous file too, for the case that the last
            one was damaged.
        delete_checkpoint: Whether to remove the files when the training has ended.

    Raises:
        ArgumentError: A wrong ``save_freq``, or no folder.
        NotBuiltError: In ``fit``, a state to restore, and a model without weights.
        CorruptFileError: In ``fit``, a file that is damaged or of another model.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> class PowerCut(Callback):
    ...     def on_epoch_begin(self, epoch, logs=None):
    ...         if epoch == 2:
    ...             raise KeyboardInterrupt
    >>> try:
    ...     backup = BackupAndRestore("backup")
    ...     model.fit([[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=[backup, PowerCut()])
    ... except KeyboardInterrupt:
    ...     pass
    >>> history = model.fit([[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=[backup])
    >>> history.epoch
    [2, 3, 4]
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ArgumentError("BackupAndRestore: `backup_dir` is empty. Pass a folder.")
        self.backup_dir, self.save_freq = Path(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        if save_freq != "epoch":
            if isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1:
                raise ArgumentError(
                    "BackupAndRestore: `save_freq` must be 'epoch' or a positive number of steps. "
                    f"Received: {save_freq!r}."
                )
            # Set on the object: a batch hook of the class would slow down all its objects.
            self.on_train_batch_end = self._after_step
        self._epoch = self._steps_since_save = 0

    @property
    def _latest(self) -> Path:
        return self.backup_dir / "latest.h5"

    @property
    def _previous(self) -> Path:
        return self.backup_dir / "previous.h5"

    def restore(self, model: Any) -> Position | None:
        """Give ``model`` the state that was saved; ``fit`` calls it before anything else.

        Returns:
            How far the training had come, or None where nothing was saved.
        """
        files = [path for path in (self._latest, self._previous) if path.is_file()]
        for path in files:
            try:
                return load_training(model, path)
            except CorruptFileError as e:
                if path is files[-1]:
                    raise
                warn(
                    f"BackupAndRestore goes on from the previous state, because the last one "
                    f"cannot be read: {e}",
                    TrainingWarning,
                )
        return None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        self._steps_since_save = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def _after_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps_since_save += 1
        if self._steps_since_save >= self.save_freq:
            self._steps_since_save = 0
            self._save(self._epoch, batch + 1)

    def _save(self, epoch: int, batch: int) -> None:
        if self.double_checkpoint and self._latest.exists():
            os.replace(self._latest, self._previous)
        save_training(self.model, self._latest, epoch, batch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.delete_checkpoint:
            for path in (self._latest, self._previous):
                path.unlink(missing_ok=True)
            if not any(self.backup_dir.iterdir()):
                self.backup_dir.rmdir()


def restore(callbacks: Any, model: Any) -> Position | None:
    """Restore what a :class:`BackupAndRestore` among ``callbacks`` has saved."""
    for callback in callbacks:
        if isinstance(callback, BackupAndRestore):
            return callback.restore(model)
    return None
