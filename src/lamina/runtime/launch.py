"""Starting several processes of one program on this machine."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

_GRACE_SECONDS = 10
_LEAVING_SECONDS = 60  # for the last checkpoint, after a signal
_COUNT_FLAG = "--xla_force_host_platform_device_count"


def launch(
    program: str,
    arguments: Sequence[str] = (),
    processes: int = 2,
    devices_per_process: int | None = None,
    restarts: int = 0,
) -> int:
    """Run a Python program in several processes that find each other on the loopback interface.

    The program calls :func:`lamina.distribution.initialize` first. Each line of output is printed
    with the number of its process. If a process fails, the others are ended. SIGTERM and Ctrl-C are
    passed on, so that a training with ``resume=`` writes a checkpoint. On Linux, the processes do
    not outlive this one, however it ends.

    Args:
        program: Path of the program.
        arguments: Its arguments.
        processes: Number of processes.
        devices_per_process: Number of CPU devices of each process, for trying; one when None.
        restarts: Number of times that all processes are started again after a failure; a program
            that goes on from its last checkpoint then completes.

    Returns:
        0, or the exit status of the process that failed first in the last attempt.
    """
    if threading.current_thread() is not threading.main_thread():
        return _attempts(program, arguments, processes, devices_per_process, restarts)
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        return _attempts(program, arguments, processes, devices_per_process, restarts)
    finally:
        signal.signal(signal.SIGTERM, before)


def _attempts(
    program: str, arguments: Sequence[str], processes: int, devices: int | None, restarts: int
) -> int:
    status = 1
    for attempt in range(restarts + 1):
        number, status = _run(program, arguments, processes, devices)
        if status == 0:
            return 0
        why = f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
        what = f"process {number} of {processes} ended with {why}; the others were ended"
        left = restarts - attempt
        _say(
            f"{what}. " + (f"Starting all again ({left} restarts left)." if left else "Giving up.")
        )
    return status if status > 0 else 128 - status


def _say(text: str) -> None:
    print(f"lamina launch: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its purpose


def _run(
    program: str, arguments: Sequence[str], count: int, devices: int | None
) -> tuple[int, int]:
    """Run all processes once; return the number and status of the first that failed, or zeros."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    running: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []
    grace = _GRACE_SECONDS
    try:
        for i in range(count):
            process = subprocess.Popen(  # noqa: S603 - the user's own program
                [sys.executable, *_bound(), program, *arguments],
                env=_environment(os.environ, address, count, i, devices),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
            running.append(process)
            threads.append(threading.Thread(target=_follow, args=(i, process, ended), daemon=True))
            threads[-1].start()
        for _ in range(count):
            number, status = ended.get()
            if status != 0:
                return number, status
        return 0, 0
    except (KeyboardInterrupt, SystemExit):
        grace = _LEAVING_SECONDS
        raise
    finally:
        _end(running, grace)
        for thread in threads:
            thread.join(timeout=_GRACE_SECONDS)


def _environment(
    outer: Mapping[str, str], address: str, count: int, number: int, devices: int | None
) -> dict[str, str]:
    own = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        "PYTHONUNBUFFERED": "1",
    }
    if devices is not None:
        flags = [f for f in outer.get("XLA_FLAGS", "").split() if not f.startswith(_COUNT_FLAG)]
        own |= {
            "XLA_FLAGS": " ".join([*flags, f"{_COUNT_FLAG}={devices}"]), "JAX_PLATFORMS": "cpu"
        }  # fmt: skip
    return {**outer, **own}


def _follow(number: int, process: Any, ended: queue.SimpleQueue[tuple[int, int]]) -> None:
    """Print the lines of a process as they come, then report its exit status."""
    for line in process.stdout:
        print(f"[{number}] {line}", end="" if line.endswith("\n") else "\n", flush=True)  # noqa: T201
    ended.put((number, process.wait()))


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


# Run by each process first: the kernel will end it together with this one. This is no function that
# is called between fork and exec, which is unsafe in a program with threads.
_BIND = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def _bound() -> list[str]:
    """Arguments of Python by which a program does not outlive this process; none but on Linux."""
    return ["-I", "-S", "-c", _BIND, str(os.getpid())] if sys.platform == "linux" else []


def _end(processes: list[subprocess.Popen[str]], grace: float) -> None:
    """End what still runs: by SIGTERM, and then by SIGKILL."""
    for process in processes:
        process.terminate()
    last = time.monotonic() + grace
    for i, process in enumerate(processes):
        try:
            process.wait(timeout=max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            _say(f"process {i} of {len(processes)} did not end by itself; it is killed.")
            process.kill()
            process.wait()
