"""Runs the measurements: one process per contestant and model, which take turns, so that other load
on the machine affects all of them equally.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.families.pipelines import write_files
from benchmarks.peers import Peer, SetupError
from benchmarks.processes import PeerError, Process
from benchmarks.quiet import Watch
from benchmarks.workloads import WORKLOADS

_KEEPS_WEIGHTS_AS_KERAS = {"with_keras", "with_jax"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a benchmark run.

    Attributes:
        rounds: Number of measurements of each contestant.
        processes: Number of processes of each contestant among which the rounds are divided. (Two
            processes of the same program differ by some percent, for as long as they run.)
        cold: Number of new processes that import, build and take a first step.
        seconds: Approximate duration of one training measurement.
        share: Maximum fraction of it for the fixed cost of a training call.
    """

    rounds: int
    processes: int
    cold: int
    seconds: float
    share: float


class Results:
    """All results: for each model and contestant the values of each measure, by round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.failures: dict[str, dict[str, str]] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.fixed_share = 0.0  # the maximum over all training measurements

    def add(self, model: str, name: str, answer: dict[str, Any]) -> None:
        """Add the values of an answer."""
        self.versions.setdefault(name, {}).update(answer.pop("versions", {}))
        own = self.values.setdefault(model, {}).setdefault(name, {})
        for measure, value in answer.items():
            own.setdefault(measure, []).append(value)

    def fail(self, model: str, name: str, reason: str) -> None:
        """Record why a contestant has failed."""
        self.failures.setdefault(model, {})[name] = reason
        print(f"  {name}: {reason}", file=sys.stderr)


class Bench:
    """Measures contestants.

    Args:
        contestants: The peers to measure, by their names in the results.
        settings: The settings.
        watch: Checks each measurement; disturbed ones are repeated.
        alike: Whether a measurement of training has the same number of samples and steps for all
            of them; otherwise it has about the same duration.
    """

    def __init__(
        self, contestants: dict[str, Peer], settings: Settings, watch: Watch, alike: bool = False
    ) -> None:
        self.contestants, self.settings, self.watch = contestants, settings, watch
        self.alike = alike
        self.plan: dict[str, Any] = {}  # of the current model, if they are alike
        self.results = Results()

    def measure(self, model: str) -> None:
        """Run all measurements of one model.

        Raises:
            NoisyError: The machine is too noisy.
        """
        workload = WORKLOADS[model]
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            names = [
                n for n, p in self.contestants.items()
                if (p.calls or workload.kind != "calls") and workload.family in (None, p.family)
                and (p.source or workload.kind != "devices")
            ]  # fmt: skip
            if workload.kind in ("train", "infer"):
                names = self._cold_starts(model, names, folder)
            if self.alike and names and workload.kind == "train":
                try:
                    self.plan = self._plan(model, names[0])
                except (PeerError, SetupError, OSError) as e:
                    self.results.fail(model, names[0], str(e))
                    return
            count = min(self.settings.processes, self.settings.rounds)
            for i in range(count):
                rounds = len(range(i, self.settings.rounds, count))
                with contextlib.closing(_Turns(self, model, _from(names, i), rounds)) as turns:
                    getattr(self, f"_{workload.kind}")(turns, folder)
                    names = [n for n in names if n in turns.alive]

    def _plan(self, model: str, name: str) -> dict[str, Any]:
        """The numbers of steps and epochs to measure, as chosen in a process that then ends."""
        with contextlib.closing(Process(self.contestants[name], model)) as process:
            process.load()
            process.ask(do="build")
            return self._choose(process)

    def _choose(self, process: Process) -> dict[str, Any]:
        s = self.settings
        plan = process.ask(do="plan", seconds=s.seconds, share=s.share)
        self.results.fixed_share = max(self.results.fixed_share, plan.pop("fixed_share"))
        return plan

    def _train(self, turns: _Turns, folder: Path) -> None:
        turns.once(do="build")
        turns.each(
            lambda process: process.ask(do="prepare", **(self.plan or self._choose(process)))
        )
        turns.rounds(do="train")
        turns.once(do="memory")
        self._infer(turns, folder)

    def _infer(self, turns: _Turns, folder: Path) -> None:
        if WORKLOADS[turns.model].kind == "infer":
            turns.once(do="build")
        turns.compare(folder / "reference.npz")
        turns.once(do="warm")
        turns.rounds(do="predict", seconds=self.settings.seconds / 4)

    def _files(self, turns: _Turns, folder: Path) -> None:
        turns.once(do="warm_files")
        turns.rounds(do="files")

    def _calls(self, turns: _Turns, folder: Path) -> None:
        turns.once(do="prepare_calls")
        turns.rounds(do="time_calls", seconds=self.settings.seconds / 6)

    def _devices(self, turns: _Turns, folder: Path) -> None:
        turns.rounds(do="time_devices", seconds=self.settings.seconds)

    def _data(self, turns: _Turns, folder: Path) -> None:
        if turns.model == "images":
            write_files(folder)
        turns.once(do="prepare_data", folder=str(folder))
        turns.rounds(do="time_data")

    def _cold_starts(self, model: str, names: list[str], folder: Path) -> list[str]:
        """Measure cold starts in new processes; returns the contestants that succeeded."""

        def start(peer: Peer) -> dict[str, Any]:
            home = Path(tempfile.mkdtemp(dir=folder))
            with contextlib.closing(Process(peer, model, home)) as process:
                found = process.load() | process.ask(do="cold")
            if peer.keeps and "first_step_s" in found:
                with contextlib.closing(Process(peer, model, home)) as process:
                    process.load()
                    found["second_process_s"] = process.ask(do="cold")["first_step_s"]
            return found

        for i in range(self.settings.cold):
            for name in _from(names, i):
                try:
                    run = functools.partial(start, self.contestants[name])
                    self.results.add(model, name, self.watch.undisturbed(run))
                except (PeerError, SetupError, OSError) as e:
                    self.results.fail(model, name, str(e))
                    names = [n for n in names if n != name]
        return names


class _Turns:
    """The live processes of one model.

    Args:
        bench: The benchmark.
        model: A name in ``WORKLOADS``.
        names: The contestants to start.
        rounds: Number of measurements of each.
    """

    def __init__(self, bench: Bench, model: str, names: list[str], rounds: int) -> None:
        self.bench, self.model, self.count = bench, model, rounds
        self.alive: dict[str, Process] = {}
        for name in names:
            with self._failing(name):
                self.alive[name] = Process(bench.contestants[name], model)
        for name in list(self.alive):
            with self._failing(name):
                answer = self.alive[name].load()
                del answer["import_s"]  # all of them started at once
                bench.results.add(model, name, answer)

    @contextlib.contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """Exclude a contestant that fails."""
        try:
            yield
        except (PeerError, SetupError, OSError) as e:
            self.bench.results.fail(self.model, name, str(e))
            if name in self.alive:
                self.alive.pop(name).close()

    def close(self) -> None:
        """End the processes."""
        for process in self.alive.values():
            process.close()

    def each(self, ask: Callable[[Process], dict[str, Any]], first: int = 0) -> None:
        """Ask each of them, in turn, and add the answers to the results."""
        for name in _from(list(self.alive), first):
            with self._failing(name):
                self.bench.results.add(self.model, name, ask(self.alive[name]))

    def once(self, **command: Any) -> None:
        """Send a command to each of them, without a measurement."""
        self.each(lambda process: process.ask(**command))

    def rounds(self, **command: Any) -> None:
        """Measure them in turn, starting with another one in each round."""

        def ask(process: Process) -> dict[str, Any]:
            return self.bench.watch.undisturbed(lambda: process.ask(**command), process.pid)

        for i in range(self.count):
            self.each(ask, i)

    def compare(self, path: Path) -> None:
        """Verify that all compute the same function, and exclude those that do not."""
        families = {n: self.bench.contestants[n].family for n in self.alive}
        source = next((n for n in self.alive if families[n] in _KEEPS_WEIGHTS_AS_KERAS), None)
        if source is None:
            return
        for name in [source, *(n for n in self.alive if n != source)]:
            with self._failing(name):
                self.alive[name].ask(do="compare", reference=str(path), write=name == source)
            if name not in self.alive:
                self.bench.results.values[self.model].pop(name, None)


def _from(names: list[str], first: int) -> list[str]:
    """Rotate the names."""
    start = first % max(1, len(names))
    return names[start:] + names[:start]


def machine() -> dict[str, str]:
    """The properties of the machine."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), "unknown processor",
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB",
        "system": " ".join(os.uname()[i] for i in (0, 2, 4)),
        "python": sys.version.split()[0],
    }
