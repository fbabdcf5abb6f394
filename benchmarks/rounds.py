"""Runs the measurements: one process per peer and model, alive until its model is done, all peers
taking turns, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import ENVIRONMENTS, PEERS, ROOT, SetupError, python_of
from benchmarks.workloads import WORKLOADS

TIMEOUT = 300.0  # seconds for one answer; torch.compile needs minutes for the largest
_KEEPS_WEIGHTS_AS_KERAS = {"with_keras", "with_jax"}


class PeerError(Exception):
    """A peer cannot be measured; the message is the reason."""


class Process:
    """A worker and its two pipes.

    Args:
        peer: a name in ``PEERS``.
        model: a name in ``WORKLOADS``.
        log: the file for what its libraries print.
        home: where it may keep what it compiles; None: it compiles anew.
    """

    def __init__(self, peer: str, model: str, log: Path, home: Path | None = None) -> None:
        setup = PEERS[peer]
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        fixed = {
            "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore",
            "JAX_ENABLE_COMPILATION_CACHE": "false" if home is None else "true",
        }  # fmt: skip
        if home is not None:
            fixed |= dict.fromkeys(("HOME", "LAMINA_HOME", "XDG_CACHE_HOME", "TMPDIR"), str(home))
        self.log = log.open("a")
        self.process = subprocess.Popen(
            [python_of(setup), "-m", "benchmarks.worker", peer, model],
            cwd=ROOT, env={**inherited, **fixed, **setup.variables},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise PeerError("no pipes")
        try:
            stdin.write(json.dumps(command).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"its process ended before {command['do']!r}") from None
        ready, _, _ = select.select([stdout], [], [], TIMEOUT)
        if not ready:
            raise PeerError(f"no answer to {command['do']!r} in {TIMEOUT:.0f} s")
        line = stdout.readline()
        if not line:
            code = self.process.wait()
            raise PeerError(f"its process ended with code {code} in {command['do']!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{command['do']}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.log.close()


class Results:
    """Everything found: for each model and peer the values of each measure, round by round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.failures: dict[str, dict[str, str]] = {}
        self.versions: dict[str, dict[str, str]] = {}

    def add(self, model: str, peer: str, answer: dict[str, Any]) -> None:
        """Note an answer's values."""
        self.versions.setdefault(peer, {}).update(answer.pop("versions", {}))
        own = self.values.setdefault(model, {}).setdefault(peer, {})
        for name, value in answer.items():
            own.setdefault(name, []).append(value)

    def fail(self, model: str, peer: str, reason: str) -> None:
        """Note why a peer has no (further) values."""
        self.failures.setdefault(model, {})[peer] = reason
        print(f"  {PEERS[peer].title}: {reason}", file=sys.stderr)


def measure(model: str, peers: list[str], rounds: int, seconds: float, results: Results) -> None:
    """All measurements of one model.

    Args:
        model: a name in ``WORKLOADS``.
        peers: names in ``PEERS``.
        rounds: how often each measurement is repeated.
        seconds: how long one of them takes about.
        results: where the values go.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        alive = _start(model, peers, stack, results)

        def turn(first: int = 0, **command: Any) -> None:
            """Each peer once, starting with another one each time."""
            names = list(alive)
            for name in names[first % max(1, len(names)) :] + names[: first % max(1, len(names))]:
                try:
                    results.add(model, name, alive[name].ask(**command))
                except PeerError as e:
                    results.fail(model, name, str(e))
                    alive.pop(name).close()

        kind = WORKLOADS[model].kind
        if kind == "train":
            _first_steps(model, list(alive), folder, results)
        turn(do="load")
        if kind == "files":
            for i in range(rounds + 1):
                turn(i, do="files")
            for found in results.values[model].values():
                for name in ("build_s", "save_s", "load_s"):
                    found[name] = found.get(name, [])[1:]  # the first time compiles
            return
        turn(do="build")
        if kind == "train":
            turn(do="first", seconds=seconds)
            for i in range(rounds):
                turn(i, do="train")
            turn(do="memory")
        _compare(model, alive, folder / "reference.npz", results)
        turn(do="warm")
        for i in range(rounds):
            turn(i, do="predict", seconds=seconds / 4)


def _first_steps(model: str, peers: list[str], folder: Path, results: Results) -> None:
    """The first steps of processes of their own, and of a second one where that is faster."""
    for again in (False, True):
        for peer in peers:
            if again and not PEERS[peer].keeps:
                continue
            home = folder / peer
            home.mkdir(exist_ok=True)
            try:
                process = Process(peer, model, ENVIRONMENTS / "workers.log", home)
                with contextlib.closing(process):
                    process.ask(do="load")
                    found = process.ask(do="step")
            except PeerError as e:
                results.fail(model, peer, str(e))
                continue
            results.add(
                model, peer, {"second_process_s": found["first_step_s"]} if again else found
            )


def _start(
    model: str, peers: list[str], stack: contextlib.ExitStack, results: Results
) -> dict[str, Process]:
    ENVIRONMENTS.mkdir(exist_ok=True)
    alive = {}
    for peer in peers:
        try:
            alive[peer] = Process(peer, model, ENVIRONMENTS / "workers.log")
        except (SetupError, OSError) as e:
            results.fail(model, peer, str(e))
            continue
        stack.callback(alive[peer].close)
    return alive


def _compare(model: str, alive: dict[str, Process], path: Path, results: Results) -> None:
    """Hold that all peers compute the same function; one that does not is out."""
    sources = [n for n in alive if PEERS[n].family in _KEEPS_WEIGHTS_AS_KERAS]
    for peer in sources[:1] + [n for n in alive if n not in sources[:1]] if sources else ():
        try:
            alive[peer].ask(do="compare", reference=str(path), write=peer == sources[0])
        except PeerError as e:
            results.fail(model, peer, str(e))
            results.values[model].pop(peer, None)
            alive.pop(peer).close()


def machine() -> Iterator[tuple[str, str]]:
    """What the figures depend on."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), "unknown processor",
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield "processor", f"{model}, {len(os.sched_getaffinity(0))} cores"
    yield "memory", f"{memory:.0f} GiB"
    yield "system", " ".join(os.uname()[i] for i in (0, 2, 4))
    yield "python", sys.version.split()[0]
