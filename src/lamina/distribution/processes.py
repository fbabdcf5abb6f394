"""The processes and devices that take part in a program."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.errors import ArgumentError, StateError
from lamina.runtime import stalls

# Names of environment variables of Keras.
_VARIABLES = "KERAS_DISTRIBUTION_"
# A process that has died is noticed after this many seconds; JAX's default is 100.
HEARTBEAT_SECONDS = 20
# Together with the time above, the others end within a minute.
STALL_SECONDS = 40.0


def list_devices(device_type: str | None = None) -> list[str]:
    """The devices of all processes.

    Args:
        device_type: ``"cpu"``, ``"gpu"`` or ``"tpu"``; when None, the type that JAX computes on by
            default.

    Returns:
        Their names, ``"<type>:<id>"``, which :class:`DeviceMesh` takes.

    Raises:
        ArgumentError: There are no devices of that type.

    >>> list_devices("cpu")[0]
    'cpu:0'
    """
    return [f"{d.platform}:{d.id}" for d in devices_of(device_type)]


def get_device_count(device_type: str | None = None) -> int:
    """The number of devices of all processes.

    Args:
        device_type: See :func:`list_devices`.

    >>> get_device_count() == len(list_devices())
    True
    """
    return len(devices_of(device_type))


def devices_of(device_type: str | None) -> list[Any]:
    """The JAX devices of a type."""
    try:
        return jax.devices(device_type.lower() if device_type else None)
    except RuntimeError:
        raise ArgumentError(
            f"There are no devices of type {device_type!r}.",
            received=f"devices of type {jax.default_backend()!r}: {jax.devices()}",
        ) from None


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    stall_seconds: float | None = STALL_SECONDS,
) -> None:
    """Connect this process with the others that run the same program.

    Call it before anything else, in every process. Then devices of all processes form one mesh, the
    random seed of the process 0 is used by all, and only process 0 writes files and progress.
    Without arguments, JAX finds the other processes where a cluster manager has started them
    (SLURM, Open MPI, Kubernetes, Cloud TPU); elsewhere, set the arguments, or the environment
    variables ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``KERAS_DISTRIBUTION_NUM_PROCESSES`` and
    ``KERAS_DISTRIBUTION_PROCESS_ID``, as ``python -m lamina launch`` does.

    When a process has died, JAX ends the others within 20 seconds. A process that is stuck, in a
    callback or in making a batch of the data, shows where and ends itself; one with an error that
    nothing catches ends without waiting for the others, too.

    Args:
        job_addresses: ``"host:port"`` of process 0, optionally followed by those of the others,
            separated by commas.
        num_processes: Number of processes.
        process_id: Number of this process, from 0.
        stall_seconds: How long a hook of the callbacks, or making a batch of the data, may take in
            `fit`, `evaluate` and `predict` of several processes; None for any time.

    Raises:
        ArgumentError: The arguments contradict each other.
        StateError: JAX has already been used in this process, or the process is already connected.

    >>> import os
    >>> if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
    ...     initialize()
    """
    given = {
        name: os.environ.get(_VARIABLES + name.upper()) if value is None else value
        for name, value in (
            ("job_addresses", job_addresses), ("num_processes", num_processes),
            ("process_id", process_id),
        )
    }  # fmt: skip
    count = _whole(given, "num_processes")
    number = _whole(given, "process_id")
    addresses = str(given["job_addresses"] or "").split(",")
    if count is not None and len(addresses) > 1 and len(addresses) != count:
        raise ArgumentError(
            "initialize() received the addresses of another number of processes.",
            expected=f"1 or {count} addresses", received=addresses,
        )  # fmt: skip
    if jax.distributed.is_initialized():
        raise StateError("initialize() was already called in this process.")
    try:
        jax.distributed.initialize(
            addresses[0] or None, count, number, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except (RuntimeError, ValueError) as e:
        raise StateError(
            f"This process cannot be connected with the others: {e}",
            cure="Call `lamina.distribution.initialize()` first, before JAX computes anything; and "
            "outside of a cluster manager that JAX knows, pass all three arguments.",
        ) from e
    with _yielding_threads():  # JAX starts them when it is asked for the devices
        number, count = jax.process_index(), jax.process_count()
    if count > 1:
        _end_after_errors()
        stalls.set_limit(stall_seconds, f"Process {number} of {count}")
        from jax.experimental import multihost_utils

        digits = np.frombuffer(settings.global_seed().to_bytes(16, "little"), np.uint8)
        seed = np.asarray(multihost_utils.broadcast_one_to_all(digits), np.uint8).tobytes()
        settings.set_global_seed(int.from_bytes(seed, "little"))


@contextmanager
def _yielding_threads() -> Iterator[None]:
    """Context in which started threads do not preempt others when they wake up.

    Gloo, through which JAX communicates on CPUs, polls for messages in a thread while a computing
    thread holds the connection. If it has preempted that thread on the core that they share,
    neither continues until its time slice ends, which took half of the time of a step.
    """
    normal = sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER
    if normal:
        with suppress(OSError):  # some containers forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        if normal:
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _end_after_errors() -> None:
    """Let an uncaught error end this process at once; JAX would wait for the other processes."""
    show, failed = sys.excepthook, []

    def noted(*error: Any) -> None:
        failed.append(error)
        show(*error)

    def leave() -> None:
        if failed:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    sys.excepthook = noted
    atexit.register(leave)


def _whole(given: dict[str, Any], name: str) -> int | None:
    value = given[name]
    try:
        return None if value is None else int(value)
    except ValueError:
        raise ArgumentError(f"`{name}` is an integer. Received: {value!r}.") from None
