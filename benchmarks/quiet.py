"""Checks that the machine is quiet, before a run and during each measurement.

A measurement is disturbed if the hypervisor took processor time away (``steal`` in ``/proc/stat``),
or if processes other than the measured one used processor time, including the other contestants,
which should be idle.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

QUIET_LOAD = 0.3
STOLEN = 0.02  # maximum fraction of the time of all cores that the hypervisor takes away
OTHERS = 0.05  # maximum fraction of one core that other processes use
SLACK = 0.02  # seconds: the kernel counts in steps of 0.01
TRIES = 6  # of one measurement, until the run is aborted
DISTURBED = 0.25  # maximum fraction of disturbed measurements in a run to be recorded
_FEW = 3  # disturbed measurements that are allowed in any run
_ENOUGH = 40  # measurements, after which a run with too many disturbances is aborted

Found = TypeVar("Found")

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class NoisyError(Exception):
    """The machine is too noisy; the message says what was seen."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Counters at one moment, in seconds.

    Attributes:
        clock: The time.
        stolen: Processor time taken away since the machine's start, over all cores.
        others: Processor time used so far by each of the other processes.
        names: Names of those processes.
    """

    clock: float
    stolen: float
    others: dict[int, float]
    names: dict[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A process: its parent, and the seconds used by it and by its children that have ended."""

    name: str
    parent: int
    seconds: float


def processes() -> dict[int, Entry]:
    """All processes of this machine."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            text = Path("/proc", name, "stat").read_text()
        except OSError:  # it has just ended
            continue
        start, _, rest = text.rpartition(")")  # the name of a process may contain any character
        fields = rest.split()
        seconds = sum(map(int, fields[11:15])) * _TICK
        found[int(name)] = Entry(start.partition("(")[2], int(fields[1]), seconds)
    return found


def others(table: dict[int, Entry], measured: int | None, us: int) -> dict[int, float]:
    """Seconds used by each process except the measured one, its descendants, and this program.

    Args:
        table: The processes.
        measured: The measured process; None for no process.
        us: This program, which waits meanwhile. Its children are among the other processes.
    """
    own = {measured}
    grown = True
    while grown:
        new = {pid for pid, entry in table.items() if entry.parent in own} - own
        own |= new
        grown = bool(new)
    return {pid: entry.seconds for pid, entry in table.items() if pid not in own and pid != us}


def sample(measured: int | None = None) -> Sample:
    """The counters now; see :func:`others` for ``measured``."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    stolen = int(first[8]) * _TICK
    table = processes()
    used = others(table, measured, os.getpid())
    return Sample(time.perf_counter(), stolen, used, {pid: table[pid].name for pid in used})


def disturbance(before: Sample, after: Sample, cores: int) -> str | None:
    """A description of what disturbed the time between two samples; None without disturbance."""
    seconds = after.clock - before.clock
    stolen = after.stolen - before.stolen
    # Compare sums: the time of a process that has ended is added to its parent.
    used = sum(after.others.values()) - sum(before.others.values())
    if stolen > STOLEN * seconds * cores + SLACK:
        return f"{stolen:.2f} s were stolen in {seconds:.2f} s"
    if used > OTHERS * seconds + SLACK:
        growth = {p: s - before.others.get(p, 0.0) for p, s in after.others.items()}
        most = max(growth, key=lambda p: growth[p])
        name = f"most of it {after.names.get(most, '?')}, process {most}"
        return f"other processes used {used:.2f} s in {seconds:.2f} s, {name}"
    return None


def too_many(disturbed: int, measurements: int) -> bool:
    """Whether a run has too many disturbed measurements to be recorded."""
    return disturbed > max(_FEW, DISTURBED * measurements)


class Watch:
    """Judges the measurements of a run and counts them.

    Args:
        keep: Whether to keep disturbed measurements instead of repeating them.
        take: Function that reads the counters.
        sleep: Function that waits.

    Attributes:
        measurements: Number of measurements, including disturbed ones.
        disturbed: Number of disturbed measurements.
    """

    def __init__(
        self,
        keep: bool = False,
        take: Callable[[int | None], Sample] = sample,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.keep, self.sample, self.sleep = keep, take, sleep
        self.cores = len(os.sched_getaffinity(0))
        self.measurements, self.disturbed = 0, 0
        self.reasons: list[str] = []

    @property
    def recordable(self) -> bool:
        """Whether figures of this run may be recorded."""
        return not self.keep and not too_many(self.disturbed, self.measurements)

    def undisturbed(
        self, run: Callable[[], Found], measured: int | None = None, patience: float = 60.0
    ) -> Found:
        """Measure repeatedly until a measurement is not disturbed.

        Args:
            run: Function that measures.
            measured: The process that ``run`` measures; None if ``run`` starts and ends it.
            patience: Total number of seconds to wait between attempts.

        Raises:
            NoisyError: All attempts, or too many measurements of the run, were disturbed.
        """
        reason = ""
        for attempt in range(TRIES):
            before = self.sample(measured)
            found = run()
            now = disturbance(before, self.sample(measured), self.cores)
            self.measurements += 1
            if now is None:
                return found
            reason = now
            self.disturbed += 1
            self.reasons.append(reason)
            if self.keep:
                return found
            if self.measurements >= _ENOUGH and too_many(self.disturbed, self.measurements):
                raise NoisyError(self.summary())
            self.sleep(patience * attempt / sum(range(TRIES)))
        raise NoisyError(f"{TRIES} attempts at one measurement were disturbed: {reason}")

    def summary(self) -> str:
        """The counts, in words."""
        text = f"{self.disturbed} of {self.measurements} measurements were disturbed"
        return text + (f"; the last: {self.reasons[-1]}" if self.reasons else "")


def load_average() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def wait(
    limit: float,
    load: Callable[[], float] = load_average,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until the load average of the last minute is low.

    Args:
        limit: Maximum number of seconds to wait.
        load: Function that returns the load average.
        sleep: Function that waits.

    Returns:
        The load average then.

    Raises:
        NoisyError: The load average is still too high.
    """
    waited = 0.0
    while (now := load()) >= QUIET_LOAD:
        if waited >= limit:
            raise NoisyError(
                f"The load average is still {now:.2f} after {limit:.0f} s; below {QUIET_LOAD} is "
                "expected. End other programs and start again, wait longer (--patience), or "
                "measure without recording (--noisy)."
            )
        if waited % 30 == 0:
            print(
                f"Waiting for a load average below {QUIET_LOAD}; it is {now:.2f} "
                f"({limit - waited:.0f} s left).", file=sys.stderr,
            )  # fmt: skip
        sleep(5.0)
        waited += 5.0
    return now
