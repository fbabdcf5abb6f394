"""Saving the model while it trains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lamina.callbacks.monitor import Monitor
from lamina.errors import ArgumentError, UnknownNameError
from lamina.serialization.registry import builtin


@builtin("callbacks")
class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after each epoch or every so many steps.

    Args:
        filepath: Where to; may name the epoch and logs, as in
            ``"run/{epoch:02d}-{val_loss:.2f}.keras"`` (epochs and batches count from 1 here).
            Ends in ``.weights.h5`` or ``.safetensors`` for weights only, in ``.keras`` otherwise.
        monitor: The log that says what is best.
        verbose: 1 to tell what is saved.
        save_best_only: Save only what is better than all before, over the last one.
        save_weights_only: Save weights instead of the whole model.
        mode: ``"min"``, ``"max"``, or ``"auto"``: decided by the name.
        save_freq: ``"epoch"``, or a number of steps.
        initial_value_threshold: With ``save_best_only``, the value to beat first.

    Raises:
        ArgumentError: A wrong ending, ``save_freq`` or ``mode``.
        UnknownNameError: ``monitor``, or a name in ``filepath``, is not in the logs.

    Attributes:
        best: The best value so far.
    """

    _state = ("best", "batches_since_save")

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        if not save_best_only and mode == "auto":
            mode = "min"  # nothing is compared, so any name will do
        super().__init__(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq = save_freq
        endings = (".weights.h5", ".safetensors") if save_weights_only else (".keras",)
        if not self.filepath.endswith(endings):
            raise ArgumentError(
                f"ModelCheckpoint: with save_weights_only={save_weights_only}, `filepath` ends in "
                f"{' or '.join(map(repr, endings))}. Received: {self.filepath!r}."
            )
        if save_freq != "epoch":
            if isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1:
                raise ArgumentError(
                    "ModelCheckpoint: `save_freq` is 'epoch' or a positive number of steps. "
                    f"Received: {save_freq!r}."
                )
            # Set on the object: a class that listened to steps would slow all its objects down.
            self.on_train_batch_end = self._after_step
        self.best = initial_value_threshold
        self.batches_since_save = 0
        self._epoch = 0

    def _expect_logs(self, names: Any) -> None:
        if self.save_best_only:
            super()._expect_logs(names)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {}, f"Epoch {epoch + 1}", epoch=epoch + 1)

    def _after_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches_since_save += 1
        if self.batches_since_save >= self.save_freq:
            self.batches_since_save = 0
            when = f"Epoch {self._epoch + 1}, batch {batch + 1}"
            self._save(logs or {}, when, epoch=self._epoch + 1, batch=batch + 1)

    def _save(self, logs: dict[str, Any], when: str, **numbers: int) -> None:
        why = ""
        if self.save_best_only:
            value = self.current(logs)
            if value is None:
                return
            if not self.better(value, self.best):
                if self.verbose:
                    self._say(f"{when}: {self.monitor} did not improve from {self.best:.5g}.")
                return
            before = "" if self.best is None else f" from {self.best:.5g}"
            why = f"{self.monitor} improved{before} to {value:.5g}; "
            self.best = value
        path = self._path(logs, numbers)
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            self._say(f"{when}: {why}saved to {path}.")

    def _path(self, logs: dict[str, Any], numbers: dict[str, int]) -> Path:
        names = {**logs, **numbers}
        try:
            return Path(self.filepath.format(**names))
        except KeyError as e:
            raise UnknownNameError(
                f"ModelCheckpoint: `filepath` {self.filepath!r} names {e}, which is not in the "
                f"logs. It can name: {list(names)}."
            ) from None
