"""What callbacks that act on the best value of a log have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from lamina.callbacks.base import Callback
from lamina.errors import ArgumentError, UnknownNameError
from lamina.serialization.registry import builtin

# Words in the names of logs that tell what is better; the last one in a name decides.
_HIGHER = frozenset((
    "acc", "accuracy", "auc", "f1", "fbeta", "io", "iou", "precision", "r2", "recall",
    "sensitivity", "similarity", "specificity",
))  # fmt: skip
_LOWER = frozenset((
    "crossentropy", "deviance", "divergence", "entropy", "error", "hinge", "huber", "logcosh",
    "loss", "mae", "mape", "mse", "msle", "perplexity", "poisson", "rmse",
))  # fmt: skip


@builtin("callbacks")
class Monitor(Callback):
    """Watches one name of the logs and knows which of two values is better.

    Args:
        monitor: The name, such as ``"val_loss"``.
        mode: ``"min"``, ``"max"``, or ``"auto"``: decided by the name.
        min_delta: How much better a value must be to count.

    Raises:
        ArgumentError: Another mode, or a name that does not say what is better.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                f"{type(self).__name__}: `mode` is 'auto', 'min' or 'max'. Received: {mode!r}."
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.maximize = mode == "max" or (mode == "auto" and self._higher_is_better())
        self._seen = False

    def _higher_is_better(self) -> bool:
        words = re.findall(r"[a-z]+\d*|\d+", self.monitor.lower())
        for word in reversed(words):
            if word in _HIGHER or word in _LOWER:
                return word in _HIGHER
        raise ArgumentError(
            f"{type(self).__name__} cannot tell from the name {self.monitor!r} whether higher or "
            "lower values are better. Pass mode='max' or mode='min'."
        )

    def better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` beats ``than`` by more than ``min_delta``; anything beats None."""
        if than is None:
            return not math.isnan(value)
        if self.maximize:
            return value - self.min_delta > than
        return value + self.min_delta < than

    def current(self, logs: Mapping[str, Any] | None) -> float | None:
        """The monitored value; None in an epoch without it, as where no validation was due.

        Raises:
            UnknownNameError: No log of that name, now or before, and none expected.
        """
        logs = logs or {}
        if self.monitor in logs:
            self._seen = True
            return float(logs[self.monitor])
        if not self._seen:
            self._expect_logs([*logs, *self.params.get("metrics", ())])
        return None

    def _expect_logs(self, names: Collection[str]) -> None:
        if self.monitor in names:
            return
        hint = ""
        if self.monitor.startswith("val_") and not any(n.startswith("val_") for n in names):
            hint = " Names with `val_` need `validation_data` or `validation_split` in fit()."
        raise UnknownNameError(
            f"{type(self).__name__} monitors {self.monitor!r}, which is not in the logs. "
            f"The logs have: {list(names)}.{hint}"
        )
