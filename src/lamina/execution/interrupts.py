"""Delay of Ctrl-C until the end of a step, to which the buffers of the state are donated."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


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
