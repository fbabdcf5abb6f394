"""Callbacks that change the learning rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lamina.callbacks.base import NUMBER, OPTIONAL_NUMBER, Callback
from lamina.callbacks.monitoring import MonitorCallback
from lamina.errors import ArgumentError
from lamina.serialization.registry import builtin


@builtin("callbacks")
class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a monitored value has stopped improving.

    The logs of each epoch receive the ``learning_rate`` that it was trained with.

    Args:
        monitor: Name of the log to monitor. If there is no log of that name, the callback has no
            effect, with a warning.
        factor: Factor by which the learning rate is multiplied, below 1.
        patience: Number of epochs without an improvement after which the learning rate is reduced.
        verbose: 1 to print each reduction.
        mode: ``"min"``, ``"max"`` or ``"auto"``: see
            :class:`~lamina.callbacks.monitoring.MonitorCallback`.
        min_delta: Smallest difference that counts as an improvement.
        cooldown: Number of epochs after a reduction in which none are counted.
        min_lr: Lower bound of the learning rate.

    Raises:
        ArgumentError: A factor of 1 or more, or a wrong ``mode``.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile(lamina.optimizers.SGD(0.5), "mse")
    >>> reduce = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=3, verbose=0, callbacks=[reduce])
    >>> history.history["learning_rate"]
    [0.5, 0.5, 0.25]
    """

    _state: ClassVar = {"best": OPTIONAL_NUMBER, "cooldown_counter": NUMBER, "wait": NUMBER}

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
                "ReduceLROnPlateau: `factor` must be below 1, so that the learning rate falls. "
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

    def in_cooldown(self) -> bool:
        """Whether the last reduction was no more than ``cooldown`` epochs ago."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        value = self.current(logs)
        if logs is not None:
            logs.setdefault("learning_rate", rate)
        if value is None:
            return
        if self.in_cooldown():
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
                    self._print(f"Epoch {epoch + 1}: learning rate reduced to {new:.6g}.")


@builtin("callbacks")
class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    The logs of each epoch receive the ``learning_rate`` that it was trained with.

    Args:
        schedule: Function ``schedule(epoch, learning_rate)`` or ``schedule(epoch)`` that returns
            the learning rate of the epoch; epochs count from 0.
        verbose: 1 to print the learning rate of each epoch.

    Raises:
        ArgumentError: In training, a schedule that does not return a number.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile(lamina.optimizers.SGD(0.5), "mse")
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=2, verbose=0, callbacks=[halve])
    >>> history.history["learning_rate"]
    [0.25, 0.125]
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise ArgumentError(
                "LearningRateScheduler: `schedule` expects a function of the epoch that returns a "
                f"learning rate. Received: {schedule!r}."
            )
        self.schedule, self.verbose = schedule, verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        rate = float(optimizer.learning_rate)
        new = self.schedule(epoch, rate) if self._takes_rate else self.schedule(epoch)
        try:
            optimizer.learning_rate = float(new)
        except (TypeError, ValueError):
            raise ArgumentError(
                "LearningRateScheduler: the schedule must return a number. It returned "
                f"{new!r} for epoch {epoch}."
            ) from None
        if self.verbose:
            self._print(f"Epoch {epoch + 1}: learning rate is {float(new):.6g}.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.setdefault("learning_rate", float(self.model.optimizer.learning_rate))


def _takes_two(fn: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fn).bind(0, 0.0)
    except TypeError:
        return False
    return True
