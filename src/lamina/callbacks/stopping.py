"""Callbacks that stop training: when it no longer improves the model, or when it diverges."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lamina.callbacks.base import NUMBER, OPTIONAL_NUMBER, Callback
from lamina.callbacks.monitoring import MonitorCallback
from lamina.errors import NonFiniteError
from lamina.serialization.registry import builtin


@builtin("callbacks")
class EarlyStopping(MonitorCallback):
    """Stops training when a monitored value has stopped improving.

    The weights of the best epoch are those at its end. A ``val_`` log was measured with exactly
    these weights; a training log is an average over the steps of the epoch.

    Args:
        monitor: Name of the log to monitor. If there is no log of that name, the callback has no
            effect, with a warning.
        min_delta: Smallest difference that counts as an improvement.
        patience: Number of epochs without an improvement after which training is stopped.
        verbose: 1 to print when training is stopped.
        mode: ``"min"``, ``"max"`` or ``"auto"``: see
            :class:`~lamina.callbacks.monitoring.MonitorCallback`.
        baseline: Value to beat: improvements that do not beat it do not extend the patience.
        restore_best_weights: Whether to restore the weights of the best epoch at the end of
            training, whether or not it was stopped early.
        start_from_epoch: Number of epochs to ignore at the start.

    Raises:
        ArgumentError: A wrong ``mode``.

    Attributes:
        best: The best value so far.
        best_epoch: The epoch of the best value, counted from 0.
        stopped_epoch: The epoch after which training was stopped; 0 if it was not.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> stop = EarlyStopping("loss", min_delta=100.0, patience=2)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=10, verbose=0, callbacks=[stop])
    >>> history.epoch
    [0, 1, 2]
    """

    _state: ClassVar = {
        **dict.fromkeys(("best_epoch", "stopped_epoch", "wait"), NUMBER),
        "best": OPTIONAL_NUMBER, "best_weights": (list, type(None)),
    }  # fmt: skip

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

    def get_monitor_value(self, logs: dict[str, Any] | None) -> float | None:
        """The value to compare after an epoch, or None for none; override it to compute another."""
        return self.current(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = self.get_monitor_value(logs)
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
            self._print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                self._print(
                    f"Restored the weights of the best epoch, {self.best_epoch + 1} "
                    f"({self.monitor}: {self.best:.5g})."
                )


@builtin("callbacks")
class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite.

    Args:
        raise_error: Whether to raise an error instead, which ends a script that would otherwise
            continue with a useless model.

    Raises:
        NonFiniteError: In training, such a loss with ``raise_error``.

    >>> TerminateOnNaN(raise_error=True).raise_error
    True
    """

    every_batch: ClassVar[bool] = False  # the average over the epoch stays NaN

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs, f"Batch {batch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs, f"Epoch {epoch + 1}")

    def _check(self, logs: dict[str, Any] | None, when: str) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss) or self.model.stop_training:
            return
        if self.raise_error:
            raise NonFiniteError(
                f"TerminateOnNaN: the loss is {loss} ({when}). "
                "Lower the learning rate, or pass `clipnorm` to the optimizer."
            )
        self._print(f"{when}: the loss is {loss}, training is stopped.")
        self.model.stop_training = True
