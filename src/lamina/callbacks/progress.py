"""The progress display of training: one line that is redrawn, or one line per epoch.

On a terminal and in a notebook the line is redrawn; in a file or pipe, where this would write
thousands of copies, exactly one line without control characters is written per epoch.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TextIO

import numpy as np

from lamina.callbacks.base import Callback
from lamina.errors import ArgumentError
from lamina.runtime import messages
from lamina.serialization.registry import builtin

Logs = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_INTERVAL = 0.25  # seconds between two updates of the line
_REPORTED_COMPILE_TIME = 1.0  # seconds of compilation above which they are reported
_BAR, _SMALLEST_BAR = 20, 5
_NOTEBOOK = 120  # characters; notebooks wrap longer lines


class Progress:
    """Display of the progress of a loop over epochs and steps.

    Logs may be functions that return them, which are only called when a line is drawn, so that
    values are fetched from the device at most four times per second.

    Args:
        verbose: 0 for no output, 1 or ``"auto"`` for a line that is redrawn if that is possible, 2
            for one line per epoch.
        epochs: Number of epochs; if there is only one, it is not shown.
        steps: Number of steps per epoch; None if it is not known yet.
        stream: Output stream; the standard output (or the log) when None.
        unit: Name of a step in ``3ms/step``.
        clock: Function that returns the time in seconds.
        bar: Largest width of the bar, in characters.
        interval: Seconds between two updates of the line.

    Raises:
        ArgumentError: The value of ``verbose`` is not one of these.

    >>> seconds = iter(range(100))
    >>> progress = Progress(2, epochs=3, steps=50, clock=lambda: float(next(seconds)))
    >>> progress.epoch_begin(0)
    >>> progress.epoch_end({"loss": 0.5})
    Epoch 1/3 - 50/50 - 1s - 20ms/step - loss: 0.5000
    """

    def __init__(
        self,
        verbose: int | str = "auto",
        epochs: int = 1,
        steps: int | None = None,
        stream: TextIO | None = None,
        unit: str = "step",
        clock: Callable[[], float] = time.perf_counter,
        bar: int = _BAR,
        interval: float = _INTERVAL,
    ) -> None:
        if verbose not in (0, 1, 2, "auto"):
            raise ArgumentError(f"`verbose` must be 0, 1, 2 or 'auto'. Received: {verbose!r}.")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs, self.steps, self.unit = epochs, steps, unit
        self._stream = messages.stream() if stream is None else stream
        self._clock = clock
        self._bar, self._interval = bar, interval
        self._notebook = self._stream is sys.stdout and _in_notebook()
        self._moves = self.verbose == 1 and (self._notebook or _is_terminal(self._stream))
        self._full, self._empty = _bar_characters(self._stream)
        self._shown = 0  # width of the line that is currently shown
        self.train_begin()
        self._restart(0)

    def train_begin(self) -> None:
        """Draw at the next update."""
        self._due = 0.0 if self._moves else math.inf

    def _restart(self, epoch: int) -> None:
        self._epoch, self._step = epoch, 0
        self._compiling_since: float | None = None
        self._compiled, self._steps_compiled = 0.0, 0
        self._trained: float | None = None  # when the validation began
        self._started = self._clock()

    def epoch_begin(self, epoch: int) -> None:
        """Start an epoch, counted from 0."""
        self._restart(epoch)
        if self._moves and self.epochs > 1:
            self._write(f"{self._title}\n")

    def compiling(self) -> None:
        """Report that steps are being compiled, until the next :meth:`update`.

        The time is reported separately and not included in the time of steps or in estimates.
        """
        self._compiling_since = self._clock()
        self._due = -math.inf
        if self._moves:
            self._draw("compiling...")

    def update(self, step: int, logs: Logs) -> None:
        """Report that ``step`` steps of the epoch are done.

        This is cheap unless the line is due for an update: call it after every step.

        Args:
            step: Number of steps that are done.
            logs: Numbers by name, or a function that returns them.
        """
        self._step = step
        now = self._clock()
        if now < self._due:
            return
        self._end_compiling(now)
        if self._moves:
            self._draw(self._running(now, _read(logs)))
            self._due = self._clock() + self._interval

    def validating(self, step: int, steps: int | None = None) -> None:
        """Report that ``step`` steps of the validation at the end of the epoch are done.

        Call it with 0 at the beginning, so that the time is not included in that of training steps.
        """
        now = self._clock()
        self._trained = now if self._trained is None else self._trained
        if now >= self._due and self._moves:
            self._due = now + self._interval
            self._draw(f"validating {step}" + (f"/{steps}" if steps else ""))

    def epoch_end(self, logs: Logs, step: int | None = None) -> None:
        """Write the final line of the epoch.

        Args:
            logs: Numbers by name, or a function that returns them.
            step: Number of steps that are done, if it differs from the last :meth:`update`.
        """
        if self.verbose == 0:
            return
        self._step = self._step if step is None else step
        now = self._clock()
        self._end_compiling(now)
        done = self._step or self.steps or 0
        count, times = f"{done}/{max(done, self.steps or 0)}", self._times(now, done)
        if self._moves:
            self._draw(self._compose(count, 1.0, times, _read(logs), final=True))
            self.close()
            return
        parts = [self._title] if self.epochs > 1 else []
        parts += [count, *times]
        if self._compiled >= _REPORTED_COMPILE_TIME:
            parts.append(f"compiled in {_duration(self._compiled)}")
        self._write(" - ".join([*parts, *_metrics(_read(logs))]) + "\n")

    def close(self) -> None:
        """End the line that is being redrawn, so that further output starts on a new line."""
        if self._shown:
            self._shown = 0
            self._write("\n")

    def _end_compiling(self, now: float) -> None:
        if self._compiling_since is None:
            return
        spent = now - self._compiling_since
        self._compiling_since = None
        self._compiled += spent
        self._steps_compiled = self._step
        self._due = now if self._moves else math.inf
        if self._moves and spent >= _REPORTED_COMPILE_TIME:
            self._draw(f"compiled in {_duration(spent)}")
            self.close()

    # ---- the line --------------------------------------------------------------------------------

    @property
    def _title(self) -> str:
        return f"Epoch {self._epoch + 1}/{self.epochs}"

    def _times(self, now: float, done: int, remaining: int | None = None) -> list[str]:
        """The elapsed (or, with ``remaining`` steps, estimated) time and the time per step."""
        past = self._started + self._compiled
        timed = done - self._steps_compiled
        pace = ((self._trained or now) - past) / timed if timed > 0 else None
        each = [] if pace is None else [f"{_short(pace)}/{self.unit}"]
        if remaining is None:
            return [_duration(now - past), *each]
        return [] if pace is None else [f"ETA {_duration(pace * remaining)}", *each]

    def _running(self, now: float, logs: Mapping[str, Any]) -> str:
        done, steps = self._step, self.steps
        if steps is None:
            return self._compose(str(done), None, self._times(now, done), logs)
        count = f"{done:>{len(str(steps))}}/{steps}"
        times = self._times(now, done, max(steps - done, 0))
        return self._compose(count, min(done / steps, 1.0), times, logs)

    def _compose(
        self, count: str, share: float | None, times: list[str], logs: Mapping[str, Any],
        final: bool = False,
    ) -> str:  # fmt: skip
        """The line, shortened to the width of the terminal.

        First the bar is shortened and omitted, then the time per step, then the dashes between
        metrics. Metrics that still do not fit are written on separate lines at the end of an epoch,
        and replaced by an ellipsis while the line is being redrawn.
        """
        width = self._width() - 1
        metrics = _metrics(logs)
        line = " - ".join([" ".join([count, *times]), *metrics])
        size = min(self._bar, width - len(line) - 1)
        if share is not None and size >= min(_SMALLEST_BAR, self._bar) > 0:
            full = int(share * size)
            return f"{count} {self._full * full}{self._empty * (size - full)}{line[len(count) :]}"
        brief = " ".join([count, *times[:1]])
        for candidate in (line, " - ".join([brief, *metrics]), " ".join([brief, *metrics])):
            if len(candidate) <= width:
                return candidate
        if not final:
            return f"{line[: width - 4]} ..."
        lines = [" ".join([count, *times])]
        for metric in metrics:
            if len(lines[-1]) + 3 + len(metric) <= width:
                lines[-1] += f" - {metric}"
            else:
                lines.append(f"  {metric}")
        return "\n".join(lines)

    def _width(self) -> int:
        if self._notebook:
            return _NOTEBOOK
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (AttributeError, OSError, ValueError):
            columns = 0
        return columns or shutil.get_terminal_size().columns

    def _draw(self, text: str) -> None:
        first, _, rest = text.partition("\n")
        self._write("\r" + first.ljust(self._shown) + (f"\n{rest}" if rest else ""))
        self._shown = len(first)

    def _write(self, text: str) -> None:
        if self.verbose:
            self._stream.write(text)
            self._stream.flush()


@builtin("callbacks")
class ProgbarLogger(Callback):
    """Shows the progress of a loop, as ``fit``, ``evaluate`` and ``predict`` do by themselves.

    It is for loops of your own, which call a :class:`CallbackList`. In the methods of a model it
    takes the place of their own output, for the same ``verbose``; the validation in ``fit`` is
    not shown then.

    >>> from lamina.callbacks import CallbackList
    >>> hooks = CallbackList(add_progbar=True, epochs=1, steps=1, verbose=0)  # 0: nothing is shown
    >>> hooks.on_train_begin()
    >>> hooks.on_epoch_begin(0)
    >>> hooks.on_train_batch_end(0, {"loss": 0.5})
    >>> hooks.on_epoch_end(0, {"loss": 0.5})
    """

    every_batch: ClassVar[bool] = False  # a line is drawn at most four times a second

    def __init__(self) -> None:
        super().__init__()
        self._fitting = False
        self._progress = Progress(0)

    def _begin(self, epochs: int) -> None:
        verbose = self.params.get("verbose", 1)
        self._progress = Progress(verbose, epochs, self.params.get("steps"))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._fitting = True
        self._begin(self.params.get("epochs", 1))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._fitting = False
        self._progress.close()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.update(batch + 1, logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.epoch_end(logs or {})

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._fitting:
            self._begin(1)
            self._progress.epoch_begin(0)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._fitting:
            self._progress.update(batch + 1, logs or {})

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._fitting:
            self._progress.epoch_end(logs or {})

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin(1)
        self._progress.epoch_begin(0)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.update(batch + 1, {})

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._progress.epoch_end({})


def _read(logs: Logs) -> Mapping[str, Any]:
    return logs() if callable(logs) else logs


def _metrics(logs: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {_number(value)}" for name, value in logs.items()]


def _number(value: Any) -> str:
    """Format with four decimals, or in scientific notation for very small and large numbers.

    >>> _number(0.90351), _number(0.00002), _number(0)
    ('0.9035', '2.0000e-05', '0.0000')
    """
    if np.ndim(value):
        return f"[{', '.join(map(_number, value))}]"
    value = float(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e10 else f"{value:.4e}"


def _duration(seconds: float) -> str:
    """Format as seconds, minutes and hours.

    >>> _duration(3.2), _duration(65), _duration(3723)
    ('3s', '1:05', '1:02:03')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}" if m else f"{s}s"


def _short(seconds: float) -> str:
    """Format the time per step in a suitable unit.

    >>> _short(1.2), _short(0.003), _short(0.0004)
    ('1s', '3ms', '400us')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1e6:.0f}us"


def _is_terminal(stream: Any) -> bool:
    return bool(getattr(stream, "isatty", bool)()) and os.environ.get("TERM") != "dumb"


def _in_notebook() -> bool:
    """Whether this runs in an IPython kernel; the check does not import IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _bar_characters(stream: Any) -> tuple[str, str]:
    try:
        "━─".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "=", "."
    return "━", "─"
