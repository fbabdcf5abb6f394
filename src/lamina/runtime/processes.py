"""The processes of one program: which of them writes, and what they agree on."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from lamina.errors import StateError
from lamina.runtime import stalls

_polls = itertools.count(1)


def is_first() -> bool:
    """Whether this process writes files and progress: the only one, or number 0 of several.

    >>> is_first()
    True
    """
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def are_several() -> bool:
    """Whether the program runs in more than one process."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def number() -> int:
    """The number of this process, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def count() -> int:
    """The number of processes."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def any_of(value: bool) -> bool:
    """Whether ``value`` is true in any process; all of them must call this together.

    >>> any_of(False)
    False
    """
    return bool(gather(np.asarray(value)).any()) if are_several() else value


def gather(value: np.ndarray) -> np.ndarray:
    """The arrays of all processes, which have one shape, along a new first axis."""
    from jax.experimental import multihost_utils

    with stalls.waiting():
        return np.asarray(multihost_utils.process_allgather(value, tiled=False))


def differing(value: bytes) -> list[int]:
    """The numbers of the processes whose value is not that of process 0."""
    if not are_several():
        return []
    sums = gather(np.asarray(zlib.crc32(value), np.uint32))
    return np.flatnonzero(sums != sums[0]).tolist()


@contextmanager
def together(what: str) -> Iterator[None]:
    """Context that all processes leave normally, or all of them with an error.

    Args:
        what: What they do in it, each by itself, for the message of an error.

    Raises:
        StateError: Another process had an error; this one raises its own.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as e:  # noqa: BLE001 - raised below, when the others know
        error = e
    failed = gather(np.asarray(error is not None)) if are_several() else np.asarray([False])
    if error is not None:
        raise error
    if failed.any():
        raise StateError(
            f"{what} failed in process {int(failed.argmax())}, whose message says why."
        )


def are_asked_to_leave() -> bool:
    """Whether all processes leave here, because SIGTERM has asked one of them to.

    All of them must call this equally often: they agree on a call that none has made yet. JAX,
    which notices the signal, needs no communication between devices for that.
    """
    from jax.experimental import multihost_utils

    return bool(multihost_utils.reached_preemption_sync_point(next(_polls)))


def wait_for_all(what: str) -> None:
    """Return when every process has come here.

    Args:
        what: What they have done, for the message of an error.
    """
    if are_several():
        from jax.experimental import multihost_utils

        with stalls.waiting():
            multihost_utils.sync_global_devices(what)


def local(arrays: Any) -> Any:
    """Arrays of which every device has a copy, fetched by this process alone."""
    if not are_several():
        return arrays
    with stalls.waiting():
        return jax.device_get(arrays)
