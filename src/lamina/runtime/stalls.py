"""Ends a process that stalls while others wait for it, as they cannot tell which one it is.

A process that has died is missed by JAX's coordination service, which ends the others and names it.
One that is stuck in a data set or a callback still sends heartbeats. So each process watches
itself: in a training of several, nothing of the user's may take longer than a limit. Then it shows
where it is, and ends, which the others are told.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
EXIT_STATUS = 75  # that of a failure that may not happen again (sysexits.h)
_INTERVAL = 1.0


class _Watch:
    """What the watched thread does, and since when."""

    def __init__(self) -> None:
        self.limit: float | None = None
        self.who = ""
        self.what = ""
        self.since: float | None = None  # None while nothing is watched
        self.running = False

    def run(self) -> None:
        while True:
            time.sleep(_INTERVAL)
            since, limit = self.since, self.limit
            if since is not None and limit is not None and time.monotonic() - since > limit:
                self.end(limit)

    def end(self, limit: float) -> None:
        text = (
            f"\n{self.who} has been in {self.what} for more than {limit:g} seconds, while others "
            "wait for it. It ends here, so that they end too. If it needs that time, allow more: "
            "`lamina.distribution.initialize(stall_seconds=...)`. Its threads are at:\n"
        )
        sys.stdout.flush()
        os.write(2, text.encode())
        faulthandler.dump_traceback(file=2)
        os._exit(EXIT_STATUS)


_watch = _Watch()


def set_limit(seconds: float | None, who: str) -> None:
    """Watch from now on what :func:`watched` and :func:`waiting` mark.

    Args:
        seconds: How long anything may take; None for ever.
        who: Name of this process in the message.
    """
    _watch.limit, _watch.who = seconds, who
    if seconds is not None and not _watch.running:
        _watch.running = True
        threading.Thread(target=_watch.run, name="lamina-stalls", daemon=True).start()


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Context of something that may stall, such as a callback.

    Args:
        what: What it is, for the message.
    """
    outer, before = _watch.since is not None, _watch.what
    _watch.what, _watch.since = what, time.monotonic()
    try:
        yield
    finally:
        _watch.since = time.monotonic() if outer else None
        _watch.what = before


@contextmanager
def waiting() -> Iterator[None]:
    """Context in which this process waits for others, which takes as long as they need."""
    outer, _watch.since = _watch.since is not None, None
    try:
        yield
    finally:
        _watch.since = time.monotonic() if outer else None


def each(items: Iterator[T], what: str) -> Iterator[T]:
    """The items; each of them is :func:`watched` while it is made."""
    while True:
        with watched(what):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
