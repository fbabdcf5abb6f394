"""A progress bar for custom loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsFloat

import numpy as np

from lamina.callbacks.progress import Progress
from lamina.errors import ArgumentError


class Progbar:
    """A progress bar for a custom loop, with the number of steps, the time, and metrics.

    On a terminal and in a notebook the line is redrawn; in a file or a pipe one line is written at
    the end. It is the progress bar of ``fit``.

    Metrics are averaged over the steps so far, where each value is weighted by the number of steps
    since the previous update; stateful metrics, which are averages already, are shown unchanged.
    The values of the last update are those of the whole loop, as in ``fit``, and are shown
    unchanged too.

    Args:
        target: Number of steps; None if it is unknown, in which case the last update needs
            ``finalize=True``.
        width: Width of the bar in characters; it is shorter on a narrow terminal.
        verbose: 0 for no output, 1 for a progress bar, 2 for one line at the end.
        interval: Minimum number of seconds between updates of the display.
        stateful_metrics: Names of metrics to show unchanged; the others are averaged.
        stateless_metrics: Names of metrics to average; the others are shown unchanged. Give at most
            one of the two arguments.
        unit_name: Name of a step.

    Raises:
        ArgumentError: If both lists of metrics are given, or a number is negative.

    >>> bar = Progbar(3, verbose=2)
    >>> for loss in (3.0, 2.0, 1.0):
    ...     bar.add(1, values=[("loss", loss)])
    3/3 - 0s - .../step - loss: 1.0000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ArgumentError(
                "Progbar() expects `stateful_metrics` (all others are averaged) or "
                "`stateless_metrics` (only these are averaged). Received: both."
            )
        for name, number in (("target", target), ("width", width), ("interval", interval)):
            if number is not None and not (isinstance(number, SupportsFloat) and number >= 0):
                raise ArgumentError(
                    f"Progbar(): `{name}` expects a number >= 0. Received: {number!r}."
                )
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name = interval, unit_name
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._progress = Progress(
            verbose, steps=target, unit=unit_name, bar=width, interval=interval
        )
        self._done = 0
        self._shown: dict[str, Any] = {}
        self._sums: dict[str, tuple[float, int]] = {}

    def update(
        self,
        current: int,
        values: Iterable[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Set the number of completed steps.

        Args:
            current: Number of steps so far, including this one.
            values: Pairs of a metric's name and its value over the steps since the last update;
                arrays are averaged.
            finalize: Whether this is the last update; when None, it is if ``target`` is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        steps = max(current - self._done, 1)
        for name, value in values or ():
            as_it_comes = finalize or self._is_stateful(name)
            self._shown[name] = value if as_it_comes else self._mean(name, value, steps)
        self._done = current
        if finalize:
            self._progress.epoch_end(self._shown, current)
        else:
            self._progress.update(current, self._shown)

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Add ``n`` completed steps; for ``values`` see :meth:`update`."""
        self.update(self._done + n, values)

    def _is_stateful(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name not in self.stateless_metrics
        return name in self.stateful_metrics

    def _mean(self, name: str, value: Any, steps: int) -> float:
        total, count = self._sums.get(name, (0.0, 0))
        total, count = total + float(np.mean(value)) * steps, count + steps
        self._sums[name] = total, count
        return total / count
