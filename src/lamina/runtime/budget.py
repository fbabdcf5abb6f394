"""What loading an untrusted file may use, and the one family of errors that loading raises."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lamina.errors import LaminaError, SerializationError, UnsafeFileError

_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """What loading one file may use. Real models stay far below the default values.

    A file that needs more is refused with an :class:`~lamina.errors.UnsafeFileError` that names
    what ran out; for a file that you trust, pass a larger budget to the loading function.

    Args:
        bytes_read: Bytes read from the file, repeated reads included; when None, 64 MiB and four
            times the size of the file.
        bytes_allocated: Bytes of decompressed data and of arrays; when None, 512 MiB and twice
            the size of the file.
        nodes: Values in JSON texts, and objects in HDF5 files.
        depth: Levels of nesting in JSON texts and configs.
        seconds: Processor time; when None, 15 seconds, one for each 16 KiB of JSON, and one for
            each 16 MiB of the file.
        probe_operations: Arithmetic operations to check a probe (see
            :func:`lamina.saving.save_model`), which is not checked if it needs more; 0 skips it.

    >>> from lamina.saving import Budget
    >>> Budget(seconds=600, depth=200).nodes
    2000000
    """

    bytes_read: int | None = None
    bytes_allocated: int | None = None
    nodes: int = 2_000_000
    depth: int = 128
    seconds: float | None = None
    probe_operations: float = 1e11


class _Spending:
    """What one load has used so far, and what it may use.

    Args:
        where: The file, in messages.
        budget: The limits.
        size: Size of the file in bytes.
    """

    def __init__(self, where: str, budget: Budget, size: int) -> None:
        self.where = where
        self.used: dict[str, int] = {"bytes_read": 0, "bytes_allocated": 0, "nodes": 0}
        self.limits: dict[str, float] = {
            "bytes_read": _or(budget.bytes_read, 64 * _MIB + 4 * size),
            "bytes_allocated": _or(budget.bytes_allocated, 512 * _MIB + 2 * size),
            "nodes": budget.nodes,
            "depth": budget.depth,
            "seconds": _or(budget.seconds, 15 + size / (16 * _MIB)),
            "probe_operations": budget.probe_operations,
        }
        self.sets_time = budget.seconds is None
        self.thread, self.was_stopped = threading.get_ident(), False
        self.start = _clock(self.thread)

    def refuse(self, what: str, used: float) -> UnsafeFileError:
        limit = self.limits[what]
        shown = f"{what.replace('_', ' ')}" if what != "depth" else "levels of nesting"
        return UnsafeFileError(
            f"{self.where} needs more than loading a file may use, so it was not loaded.",
            expected=f"at most {limit:,.10g} {shown}",
            received=f"{used:,.3g} or more" if what == "seconds" else f"{used:,} or more",
            cure="If you trust the file, pass a larger budget when you load it: "
            f"`budget=lamina.saving.Budget({what}={math.ceil(max(2 * limit, used))})`.",
        )

    def elapsed(self) -> float:
        """Seconds that the load has taken so far, as seen from any thread."""
        return _clock(self.thread) - self.start


def _clock(thread: int) -> float:
    """Processor time of a thread in seconds, where the system tells it; else the time."""
    if sys.platform == "linux":  # so that a busy machine or a debugger does not count
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    return time.monotonic()


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


_active: ContextVar[_Spending | None] = ContextVar("lamina_loading", default=None)


def charge(*, read: int = 0, allocated: int = 0, nodes: int = 0, json: int = 0) -> None:
    """Count what the load in progress is about to use; outside a load nothing is counted.

    Args:
        read: Bytes read from the file.
        allocated: Bytes allocated.
        nodes: Values or objects.
        json: Bytes of JSON text, which extend the time.

    Raises:
        UnsafeFileError: It is more than the budget.
    """
    spending = _active.get()
    if spending is None:
        return
    extend(json / 2**14)
    for what, count in (("bytes_read", read), ("bytes_allocated", allocated), ("nodes", nodes)):
        if count:
            spending.used[what] += count
            if spending.used[what] > spending.limits[what]:
                raise spending.refuse(what, spending.used[what])
    if spending.thread == threading.get_ident() and spending.elapsed() > spending.limits["seconds"]:
        raise spending.refuse("seconds", spending.elapsed())


def extend(seconds: float) -> None:
    """Give the load in progress more time, unless its budget says how much it has."""
    spending = _active.get()
    if spending is not None and spending.sets_time:
        spending.limits["seconds"] += seconds


def allows(what: str, amount: float) -> bool:
    """Whether the load in progress may use that much of what a field of :class:`Budget` limits."""
    spending = _active.get()
    return spending is not None and amount <= spending.limits[what]


def check_depth(depth: int) -> None:
    """Raise an error if data of that many levels is nested too deeply for the load in progress."""
    spending = _active.get()
    limit = Budget.depth if spending is None else spending.limits["depth"]
    if depth > limit:
        raise (spending or _Spending("The config", Budget(), 0)).refuse("depth", depth)


@contextmanager
def loading(where: str, budget: Budget | None = None, size: int = 0) -> Iterator[None]:
    """Context in which untrusted data is read: within a budget, and with one family of errors.

    Loads inside a load share its budget.

    Args:
        where: The file or the function, in messages.
        budget: The limits; the default ones when None.
        size: Size of the data in bytes.

    Raises:
        UnsafeFileError: The data needs more than the budget.
        SerializationError: Any error that is not one of Lamina's, a warning, or one of the system
            (``OSError``); it is the cause.
    """
    outer = _active.get()
    if outer is not None and budget is None:  # whose handler knows more, or converts errors too
        yield
        return
    spending = _Spending(where, budget or Budget(), size)
    token = _active.set(spending)
    try:
        with one_family(where), _watcher.watching(spending):
            yield
    except _OutOfTimeError:
        raise spending.refuse("seconds", spending.limits["seconds"]) from None
    finally:
        _active.reset(token)


@contextmanager
def one_family(where: str) -> Iterator[None]:
    """Context in which errors are converted as in :func:`loading`, without a budget."""
    try:
        yield
    except (LaminaError, OSError, Warning):
        raise
    except MemoryError as e:
        raise UnsafeFileError(f"{where} needs more memory than this machine has.") from e
    except Exception as e:
        reason = "it is nested too deeply" if isinstance(e, RecursionError) else f"{e}"
        raise SerializationError(f"{where} cannot be loaded: {type(e).__name__}: {reason}") from e


# ---- the limit on time ---------------------------------------------------------------------------


class _OutOfTimeError(BaseException):
    """Raised in a thread whose load takes too long; not an Exception, so that no loop goes on."""


class _Watcher:
    """One thread that ends loads of other threads that take too long.

    Loading checks the time itself between the parts of a file. This is for single calls that a
    file makes long, such as a recurrent layer that is unrolled for a million steps. Python drops
    an exception that arrives in a finalizer or in a hook of the garbage collector, so it is raised
    again each second until the load has ended.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watched: dict[int, _Spending] = {}
        self.process = 0  # in which the thread runs

    @contextmanager
    def watching(self, spending: _Spending) -> Iterator[None]:
        with self.lock:
            self.watched[id(spending)] = spending
            if self.process != os.getpid():
                self.process = os.getpid()
                threading.Thread(target=self._run, daemon=True, name="lamina-loading").start()
        try:
            yield
        finally:
            while id(spending) in self.watched:
                try:
                    with self.lock:
                        del self.watched[id(spending)]
                except _OutOfTimeError:  # it arrived here: the load has ended by itself
                    continue
            if spending.was_stopped:  # it may be about to be raised
                _raise_in(spending.thread, None)

    def _run(self) -> None:
        idle = 0
        while idle < 60:
            time.sleep(1)
            with self.lock:
                idle = 0 if self.watched else idle + 1
                for spending in self.watched.values():
                    if spending.elapsed() > spending.limits["seconds"] + 1:
                        spending.was_stopped = True
                        _raise_in(spending.thread, _OutOfTimeError)
                if idle == 60:
                    self.process = 0


_watcher = _Watcher()


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    """Raise an exception in a thread, at its next bytecode; None cancels one."""
    raised: Any = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def is_loading() -> bool:
    """Whether a load is in progress."""
    return _active.get() is not None
