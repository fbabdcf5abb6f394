"""Callbacks that end the training: when it no longer helps, or when it went wrong."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lamina.callbacks.base import Callback
from lamina.callbacks.monitor import Monitor
from lamina.serialization.registry import builtin


@builtin("callbacks")
class EarlyStopping(Monitor):
    """Ends the training when a monitored value has stopped improving.

    The best value belongs to the weights at the end of its epoch. A ``val_`` value was measured
    on just those weights; a training value is an average over the steps of the epoch.

    Args:
        monitor: The log to watch.
        min_delta: How much better a value must be to count as an improvement.
        patience: How many epochs may pass without one.
        verbose: 1 to tell what is done.
        mode: ``"min"``, ``"max"``, or ``"auto"``: decided by the name.
        baseline: While no value beats it, improvements do not extend the patience.
        restore_best_weights: End with the weights of the best epoch, however training ends.
        start_from_epoch: Epochs before this one are not looked at.

    Raises:
        ArgumentError: A name that does not say what is better, with ``mode="auto"``.
        UnknownNameError: No log of that name.

    Attributes:
        best: The best value so far.
        best_epoch: Its epoch, from 0.
        stopped_epoch: The epoch after which training was ended, 0 if it was not.
    """

    _state = ("best", "best_epoch", "best_weights", "stopped_epoch", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch = self.stopped_epoch = self.wait = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = self.current(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            self._say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                self._say(
                    f"Restored the weights of the best epoch, {self.best_epoch + 1} "
                    f"({self.monitor}: {self.best:.5g})."
                )


@builtin("callbacks")
class TerminateOnNaN(Callback):
    """Ends the training when the loss is no longer a finite number."""

    every_batch: ClassVar[bool] = False  # the average over the epoch stays NaN

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs, f"Batch {batch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs, f"Epoch {epoch + 1}")

    def _check(self, logs: dict[str, Any] | None, when: str) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss) and not self.model.stop_training:
            self._say(f"{when}: invalid loss {loss}, ending the training.")
            self.model.stop_training = True
