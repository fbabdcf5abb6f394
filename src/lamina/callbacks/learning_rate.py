"""Callbacks that change the learning rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.callbacks.base import Callback
from lamina.callbacks.monitor import Monitor
from lamina.errors import ArgumentError
from lamina.serialization.registry import builtin


@builtin("callbacks")
class ReduceLROnPlateau(Monitor):
    """Lowers the learning rate when a monitored value has stopped improving.

    The logs of each epoch receive the ``learning_rate`` that it was trained with.

    Args:
        monitor: The log to watch.
        factor: What the learning rate is multiplied by, below 1.
        patience: How many epochs may pass without an improvement.
        verbose: 1 to tell what is done.
        mode: ``"min"``, ``"max"``, or ``"auto"``: decided by the name.
        min_delta: How much better a value must be to count as an improvement.
        cooldown: How many epochs to wait after a reduction before counting again.
        min_lr: The learning rate is not reduced below this.

    Raises:
        ArgumentError: A factor of 1 or more; a name that does not say what is better, with
            ``mode="auto"``.
        UnknownNameError: No log of that name.
    """

    _state = ("best", "cooldown_counter", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 0.0001,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if factor >= 1:
            raise ArgumentError(
                f"ReduceLROnPlateau: `factor` is below 1, so that the learning rate falls. "
                f"Received: {factor!r}."
            )
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.cooldown_counter = self.wait = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        value = self.current(logs)
        if logs is not None:
            logs.setdefault("learning_rate", rate)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and rate > np.float32(self.min_lr):
                new = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = new
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    self._say(f"Epoch {epoch + 1}: learning rate reduced to {new:.6g}.")


@builtin("callbacks")
class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    The logs of each epoch receive the ``learning_rate`` that it was trained with.

    Args:
        schedule: ``schedule(epoch, learning_rate)`` or ``schedule(epoch)``, epochs from 0; returns
            the learning rate of that epoch.
        verbose: 1 to tell what is set.

    Raises:
        ArgumentError: When an epoch begins, if the schedule returns something else than a number.

    >>> halve = LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        super().__init__()
        self.schedule, self.verbose = schedule, verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        rate = float(optimizer.learning_rate)
        new = self.schedule(epoch, rate) if self._takes_rate else self.schedule(epoch)
        try:
            optimizer.learning_rate = float(new)
        except TypeError:
            raise ArgumentError(
                f"LearningRateScheduler: the schedule returns a number. It returned {new!r} for "
                f"epoch {epoch}."
            ) from None
        if self.verbose:
            self._say(f"Epoch {epoch + 1}: learning rate is {float(new):.6g}.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.setdefault("learning_rate", float(self.model.optimizer.learning_rate))


def _takes_two(fn: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fn).bind(0, 0.0)
    except TypeError:
        return False
    return True
