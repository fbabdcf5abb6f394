"""What is shown while a model trains: one line that is redrawn, or one line an epoch.

On a terminal and in a notebook the line moves; in a file or pipe, where a moving line would leave
thousands of copies, each epoch leaves exactly one line without control characters.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import numpy as np

from lamina.errors import ArgumentError
from lamina.runtime import messages

Logs = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_INTERVAL = 0.25  # seconds between two drawings of the moving line
_WORTH_TELLING = 1.0  # seconds of compiling that deserve a word
_BAR, _SMALLEST_BAR = 20, 5
_NOTEBOOK = 120  # characters; a cell of a notebook breaks longer lines by itself


class Progress:
    """Reports how far a loop over epochs and steps has come.

    Logs may be functions that return them: they are called only when a line is drawn, so that
    values on a device are fetched at most four times a second.

    Args:
        verbose: 0 for silence, 1 or ``"auto"`` for a moving line where that is possible, 2 for one
            line an epoch.
        epochs: How many there are; with one, lines do not count epochs.
        steps: Steps of an epoch; None where nobody knows yet.
        stream: Where to write; the standard output (or the log) when None.
        unit: What a step is called in ``3ms/step``.
        clock: Returns seconds.
        bar: The widest bar, in characters.
        interval: Seconds between two drawings of the moving line.

    Raises:
        ArgumentError: Another ``verbose``.

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
            raise ArgumentError(f"`verbose` is 0, 1, 2 or 'auto'. Received: {verbose!r}.")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs, self.steps, self.unit = epochs, steps, unit
        self._stream = messages.stream() if stream is None else stream
        self._clock = clock
        self._bar, self._interval = bar, interval
        self._notebook = self._stream is sys.stdout and _in_notebook()
        self._moves = self.verbose == 1 and (self._notebook or _is_terminal(self._stream))
        self._full, self._empty = _bar_characters(self._stream)
        self._shown = 0  # width of the moving line as it stands
        self.train_begin()
        self._restart(0)

    def train_begin(self) -> None:
        """Make the next drawing due at once."""
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
        """Say that steps are being compiled; the next :meth:`update` ends it.

        The time goes into no step's time and no estimate: it is told apart.
        """
        self._compiling_since = self._clock()
        self._due = -math.inf
        if self._moves:
            self._draw("compiling...")

    def update(self, step: int, logs: Logs) -> None:
        """Say that ``step`` steps of the epoch are done.

        Nearly free unless a drawing is due: call it after every step.

        Args:
            step: How many are done.
            logs: Names and numbers, or a function that returns them.
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
        """Say that ``step`` steps of the validation that ends the epoch are done.

        Called with 0 when the validation begins, it keeps that time out of the training steps'.
        """
        now = self._clock()
        self._trained = now if self._trained is None else self._trained
        if now >= self._due and self._moves:
            self._due = now + self._interval
            self._draw(f"validating {step}" + (f"/{steps}" if steps else ""))

    def epoch_end(self, logs: Logs, step: int | None = None) -> None:
        """Leave the epoch's line, complete.

        Args:
            logs: Names and numbers, or a function that returns them.
            step: How many steps are done, where the last :meth:`update` does not say it.
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
        if self._compiled >= _WORTH_TELLING:
            parts.append(f"compiled in {_duration(self._compiled)}")
        self._write(" - ".join([*parts, *_metrics(_read(logs))]) + "\n")

    def close(self) -> None:
        """Leave the moving line, if one is open: what is written next starts on its own line."""
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
        if self._moves and spent >= _WORTH_TELLING:
            self._draw(f"compiled in {_duration(spent)}")
            self.close()

    # ---- the line --------------------------------------------------------------------------------

    @property
    def _title(self) -> str:
        return f"Epoch {self._epoch + 1}/{self.epochs}"

    def _times(self, now: float, done: int, remaining: int | None = None) -> list[str]:
        """Time spent (or left, with ``remaining`` steps) and time of a step, as far as known."""
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
        """The line, within the terminal's width: what matters least gives way first.

        The bar shrinks and goes, then the time of a step, then the dashes between metrics. What
        still does not fit goes to lines of its own at the end of an epoch, and is left out, with
        a sign, while the line is moving.
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


def _read(logs: Logs) -> Mapping[str, Any]:
    return logs() if callable(logs) else logs


def _metrics(logs: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {_number(value)}" for name, value in logs.items()]


def _number(value: Any) -> str:
    """Four decimals, or powers of ten where those would show nothing or too much.

    >>> _number(0.90351), _number(0.00002), _number(0)
    ('0.9035', '2.0000e-05', '0.0000')
    """
    if np.ndim(value):
        return f"[{', '.join(map(_number, value))}]"
    value = float(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e10 else f"{value:.4e}"


def _duration(seconds: float) -> str:
    """Whole seconds, minutes and hours.

    >>> _duration(3.2), _duration(65), _duration(3723)
    ('3s', '1:05', '1:02:03')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}" if m else f"{s}s"


def _short(seconds: float) -> str:
    """A step's time in the unit that suits it.

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
    """Whether an IPython kernel runs this; IPython itself is not loaded to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _bar_characters(stream: Any) -> tuple[str, str]:
    try:
        "━─".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "=", "."
    return "━", "─"
