"""The base class of callbacks that monitor the best value of a log."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lamina.callbacks.base import Callback
from lamina.core.boundary import warn
from lamina.errors import ArgumentError, TrainingWarning
from lamina.metrics.base import Metric
from lamina.serialization.registry import builtin

# Words in the names of logs that indicate the direction; the last one in a name decides.
_HIGHER = frozenset((
    "acc", "accuracy", "auc", "f1", "fbeta", "io", "iou", "precision", "r2", "recall",
    "sensitivity", "similarity", "specificity",
))  # fmt: skip
_LOWER = frozenset((
    "crossentropy", "deviance", "divergence", "entropy", "error", "hinge", "huber", "logcosh",
    "loss", "mae", "mape", "mse", "msle", "perplexity", "poisson", "rmse",
))  # fmt: skip


@runtime_checkable
class _HasMetrics(Protocol):
    @property
    def metrics(self) -> list[Any]: ...


@builtin("callbacks")
class MonitorCallback(Callback):
    """Base class of callbacks that compare the values of one log.

    With ``mode="auto"``, whether higher or lower values are better is taken from the compiled
    metric of that name, if it declares its ``direction``; otherwise from the name:
    ``"val_accuracy"`` is maximized, ``"loss"`` is minimized. If neither is conclusive, values are
    minimized, with a warning.

    Args:
        monitor: Name of the log, such as ``"val_loss"``.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        min_delta: Smallest difference that counts as an improvement.

    Raises:
        ArgumentError: The mode is not one of these.

    >>> callback = MonitorCallback("val_accuracy", "auto")
    >>> callback.better(0.8, than=0.7)
    True
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                f"{type(self).__name__}: `mode` is 'auto', 'min' or 'max'. Received: {mode!r}."
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self._direction = None if mode == "auto" else mode
        self._seen = self._warned = False

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._direction = None if self.mode == "auto" else self.mode
        self._warned = False

    @property
    def maximize(self) -> bool:
        """Whether higher values are better."""
        if self._direction is None:
            self._direction = self._direction_of_metric() or self._direction_of_name()
        return self._direction == "max"

    @property
    def monitor_op(self) -> Any:
        """The comparison that tells whether a value is better than another, without a minimum."""
        return np.greater if self.maximize else np.less

    def _direction_of_metric(self) -> str | None:
        """The direction that the compiled metric of the monitored name declares."""
        metrics = self.model.metrics if isinstance(self.model, _HasMetrics) else []
        metrics = [x for m in metrics for x in (m.metrics if isinstance(m, _HasMetrics) else [m])]
        log = self.monitor.removeprefix("val_")
        directions = {
            m.direction for m in metrics
            if isinstance(m, Metric) and (log == m.name or log.endswith(f"_{m.name}"))
        }  # fmt: skip
        return directions.pop() if len(directions) == 1 else None

    def _direction_of_name(self) -> str:
        words = re.findall(r"[a-z]+\d*|\d+", self.monitor.lower())
        for word in reversed(words):
            if word in _HIGHER or word in _LOWER:
                return "max" if word in _HIGHER else "min"
        warn(
            f"{type(self).__name__} cannot infer from the name {self.monitor!r} whether higher or "
            "lower values are better, and minimizes it. Pass mode='min' or mode='max'.",
            TrainingWarning,
        )
        return "min"

    def better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` improves on ``than`` by more than ``min_delta``; always if None."""
        if than is None:
            return not math.isnan(value)
        if self.maximize:
            return value - self.min_delta > than
        return value + self.min_delta < than

    def current(self, logs: Mapping[str, Any] | None) -> float | None:
        """The monitored value, or None in an epoch without it, such as one without validation.

        Warns if there is no log of that name and none is expected in a later epoch.
        """
        logs = logs or {}
        if self.monitor in logs:
            self._seen = True
            return float(logs[self.monitor])
        if not self._seen and not self._warned:
            self.expect_logs([*logs, *self.params.get("metrics", ())])
        return None

    @property
    def misses_log(self) -> bool:
        """Whether no epoch will have the log, which has been warned of."""
        return self._warned and not self._seen

    def expect_logs(self, names: Collection[str]) -> None:
        if self.monitor in names:
            return
        self._warned = True
        hint = ""
        if self.monitor.startswith("val_") and not any(n.startswith("val_") for n in names):
            hint = " Names with `val_` need `validation_data` or `validation_split` in fit()."
        warn(
            f"{type(self).__name__} monitors {self.monitor!r}, which is not in the logs, so it "
            f"compares nothing. The logs have: {list(dict.fromkeys(names))}.{hint}",
            TrainingWarning,
        )
