"""Whether the machine is quiet enough to measure on, before a run and in each measurement.

A measurement is disturbed when the hypervisor took processor time away (``steal`` in
``/proc/stat``), or when processes other than the one that is measured used processor time; the
other contestants, which should be idle then, are among them.
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
STOLEN = 0.02  # allowed share of all cores' time that the hypervisor takes away
OTHERS = 0.05  # allowed share of one core that other processes use
SLACK = 0.02  # seconds: the kernel counts in steps of 0.01
TRIES = 6  # of one measurement, until the run is given up
DISTURBED = 0.25  # largest share of disturbed measurements in a run that may be recorded
_FEW = 3  # as many may be disturbed in any run
_ENOUGH = 40  # measurements, after which a run that is too much disturbed need not go on

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
        others: Processor time used so far by each of the processes that are not measured.
        names: Of those processes.
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
        start, _, rest = text.rpartition(")")  # a process's name may hold anything
        fields = rest.split()
        seconds = sum(map(int, fields[11:15])) * _TICK
        found[int(name)] = Entry(start.partition("(")[2], int(fields[1]), seconds)
    return found


def others(table: dict[int, Entry], measured: int | None, us: int) -> dict[int, float]:
    """Seconds used by each but the measured process, its descendants, and this program itself.

    Args:
        table: The processes.
        measured: The process that is measured; None: none of them.
        us: This program, which waits meanwhile. Its children count as others.
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
    """What disturbed the time between two samples, in words; None: nothing that matters."""
    seconds = after.clock - before.clock
    stolen = after.stolen - before.stolen
    # Sums: who ends meanwhile is counted on as part of its parent.
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
    """Whether a run with so many disturbed measurements must not be recorded."""
    return disturbed > max(_FEW, DISTURBED * measurements)


class Watch:
    """Judges the measurements of a run and counts them.

    Args:
        keep: Count disturbed measurements and keep them, instead of throwing them away.
        take: Reads the counters.
        sleep: Waits.

    Attributes:
        measurements: How many there were, disturbed ones among them.
        disturbed: How many were disturbed.
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
        """Measure, again and again until a measurement is not disturbed.

        Args:
            run: Measures.
            measured: The process that ``run`` measures; None: one that it starts and ends.
            patience: Seconds to wait, in all, between the attempts.

        Raises:
            NoisyError: All attempts were disturbed, or too much of the run was.
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
        limit: Seconds after which it is given up.
        load: Tells the load average.
        sleep: Waits.

    Returns:
        The load average then.

    Raises:
        NoisyError: The time is over.
    """
    waited = 0.0
    while (now := load()) >= QUIET_LOAD:
        if waited >= limit:
            raise NoisyError(
                f"The load average is still {now:.2f} after {limit:.0f} s; below {QUIET_LOAD} is "
                "expected. End what else runs here and start again, wait longer (--patience), or "
                "look at figures that are not recorded (--noisy)."
            )
        if waited % 30 == 0:
            print(
                f"Waiting for a load average below {QUIET_LOAD}; it is {now:.2f} "
                f"({limit - waited:.0f} s left).", file=sys.stderr,
            )  # fmt: skip
        sleep(5.0)
        waited += 5.0
    return now
