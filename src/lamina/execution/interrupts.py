"""Signals during training: deferred until a step, to which buffers are donated, is complete."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from lamina.core.boundary import warn
from lamina.errors import TrainingWarning
from lamina.runtime import processes


class Uninterrupted:
    """Context manager that delays ``KeyboardInterrupt`` until its end.

    Otherwise Python could raise it after a call into XLA but before the result is stored; the
    state, whose buffers were donated to that call, would be lost. A user's own signal handler is
    not replaced.
    """

    __slots__ = ("_handler", "_pending")

    def __enter__(self) -> None:
        self._pending = False
        self._handler: Any = None
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._handler = signal.signal(signal.SIGINT, self._wait)

    def _wait(self, number: int, frame: FrameType | None) -> None:
        self._pending = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._pending and error is None:
                raise KeyboardInterrupt


class StopRequests:
    """Context manager that notes SIGTERM and Ctrl-C, for a loop that stops where it is complete.

    The handlers only set :attr:`received`; a second Ctrl-C interrupts at once. Python runs handlers
    in the main thread only, so elsewhere nothing is installed. A user's own handlers are
    called by :meth:`leave`; a signal that is ignored stays ignored.

    Several processes stop together. There, JAX notices SIGTERM, and Ctrl-C is passed on to it.

    Attributes:
        received: Number of the signal that asked to stop, or None.
        installed: Whether signals are noted.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.installed = threading.current_thread() is threading.main_thread()
        self._process = os.getpid()
        self._interrupted = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Self:
        several = processes.are_several()
        if several and callable(signal.getsignal(signal.SIGTERM)):
            warn(
                "A handler of SIGTERM that was installed after `initialize()` takes the place of "
                "JAX's, by which the processes agree to stop: SIGTERM writes no checkpoint.",
                TrainingWarning,
            )
        numbers = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
        for number in numbers if self.installed else ():
            earlier = signal.getsignal(number)
            interrupts = earlier is signal.default_int_handler
            terminates = number == signal.SIGTERM and earlier not in (None, signal.SIG_IGN)
            if interrupts or terminates:
                self._earlier[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that was forked meanwhile
            signal.signal(number, self._earlier[number])
            signal.raise_signal(number)
        elif number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        elif processes.are_several():
            self._interrupted = True
            signal.raise_signal(signal.SIGTERM)
        elif self.received is None:
            self.received, self._interrupted = number, number == signal.SIGINT

    def are_due(self) -> bool:
        """Whether to stop here; several processes, which all call this, agree on it."""
        if processes.are_several() and processes.are_asked_to_leave():
            self.received = signal.SIGINT if self._interrupted else signal.SIGTERM
        return self.received is not None

    def __exit__(self, *_: object) -> None:
        for number, earlier in self._earlier.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, earlier)
        self._earlier = {}

    def leave(self) -> NoReturn:
        """Stop for the signal that was received, when the state is safe.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM; the handler that was there before is called first.
        """
        earlier = self._earlier.get(self.received or 0)
        self.__exit__()
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if callable(earlier):
            signal.raise_signal(signal.SIGTERM)
        raise SystemExit(128 + signal.SIGTERM)
