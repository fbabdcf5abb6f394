"""A progress bar for loops of the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.callbacks.progress import Progress
from lamina.errors import ArgumentError


class Progbar:
    """A progress bar for a loop of your own: steps done, time, and metrics.

    On a terminal and in a notebook one line is redrawn; into a file or a pipe one line is written,
    at the end. It is the display that ``fit`` has.

    Metrics are averaged over the steps so far, each value counting for the steps since the update
    before; or, for what is an average already, shown as they come. The values of the last update
    are taken for those of the whole loop, as ``fit`` has them then, and shown as they come.

    Args:
        target: The number of steps; None if it is unknown, and then the last update says so with
            ``finalize=True``.
        width: Of the bar, in characters; a narrow terminal gets a shorter one.
        verbose: 0 for silence, 1 for a moving line, 2 for one line at the end.
        interval: Seconds between two drawings, at least.
        stateful_metrics: Names of metrics to show as they come; the others are averaged.
        stateless_metrics: Names of metrics to average; the others are shown as they come. Give one
            of the two at most.
        unit_name: What a step is called.

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
            if number is not None and number < 0:
                raise ArgumentError(f"`{name}` expects no negative number. Received: {number!r}.")
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
        """Say how many steps are done.

        Args:
            current: Steps done so far, this one included.
            values: Pairs of a metric's name and its value over the steps since the last update;
                of an array the mean counts.
            finalize: Whether this is the last update; None: once ``target`` is reached.
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
        """Say that ``n`` more steps are done; ``values`` as for :meth:`update`."""
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
