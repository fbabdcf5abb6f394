"""The processes of one program: which of them writes, and what they agree on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def is_first() -> bool:
    """Whether this process writes files and progress: the only one, or number 0 of several.

    >>> is_first()
    True
    """
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def are_several() -> bool:
    """Whether the program runs in more than one process."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def any_of(value: bool) -> bool:
    """Whether ``value`` is true in any process; all of them must call this together.

    >>> any_of(False)
    False
    """
    return bool(gather(np.asarray(value)).any()) if are_several() else value


def gather(value: np.ndarray) -> np.ndarray:
    """The arrays of all processes, which have one shape, along a new first axis."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(value, tiled=False))


def wait_for_all(what: str) -> None:
    """Return when every process has come here.

    Args:
        what: What they have done, for the message of an error.
    """
    if are_several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def local(arrays: Any) -> Any:
    """Arrays of which every device has a copy, fetched by this process alone."""
    return jax.device_get(arrays) if are_several() else arrays
