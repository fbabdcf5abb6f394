"""One peer with one model in a process of its own, driven line by line.

Reads one JSON object per line from standard input, ``{"do": NAME, ...}``, and answers each with one
line: the measured values, or ``{"error": ...}``. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS

RESOLUTION = 0.01  # ms: a difference of two times that is smaller, or negative, is given as this


class Clock:
    """What XLA spends on tracing and on compiling, as JAX reports it."""

    def __init__(self) -> None:
        self.spans: dict[str, list[tuple[float, float]]] = {"trace": [], "compile": []}
        import jax.monitoring

        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        name = event.rpartition("/")[2]
        kind = {
            "jaxpr_trace_duration": "trace", "jaxpr_to_mlir_module_duration": "trace",
            "backend_compile_duration": "compile",
        }.get(name)  # fmt: skip
        if kind:
            now = time.perf_counter()
            self.spans[kind].append((now - duration_secs, now))

    def seconds(self, kind: str) -> float:
        """The time covered: a trace inside another counts once."""
        total, until = 0.0, 0.0
        for start, end in sorted(self.spans[kind]):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total


class Worker:
    """Holds the session; each public method is a command."""

    def __init__(self, peer: str, model: str) -> None:
        self.peer, self.model = PEERS[peer], model
        self.clock: Clock | None = None

    def load(self) -> dict[str, Any]:
        """Import the library; then its family and the data, which is not timed."""
        began = time.perf_counter()
        for name in self.peer.imports:
            importlib.import_module(name)
        seconds = time.perf_counter() - began
        from benchmarks.workloads import WORKLOADS  # imports NumPy, as the libraries do

        self.workload = WORKLOADS[self.model]
        family = importlib.import_module(f"benchmarks.families.{self.peer.family}")
        self.session = family.Session(**self.peer.options)
        self.data = self.workload.data()
        versions = {n: importlib.metadata.version(n) for n in self.peer.packages}
        if "jax" in sys.modules:
            self.clock = Clock()
        file = str(sys.modules[self.peer.imports[0]].__file__)
        return {"import_s": seconds, "versions": versions, "file": file}

    def build(self) -> dict[str, Any]:
        """Make the model, ready to train."""
        self._build()
        return {}

    def _build(self) -> None:
        self.session.build(self.model, self.workload, self.data)

    def _batches(self, count: int) -> tuple[Any, Any]:
        size = count * self.workload.batch
        return tuple([a[:size] for a in arrays] for arrays in self.data)

    def cold(self) -> dict[str, Any]:
        """Build a model and train it on a single batch, the first that this process computes."""
        self.data = self._batches(1)
        found = {"build_s": _seconds(self._build)}
        if self.workload.kind == "train":
            found["first_step_s"] = _seconds(lambda: self.session.train(1))
            if self.clock:
                found |= {f"{kind}_s": self.clock.seconds(kind) for kind in self.clock.spans}
        return found

    def prepare(self, seconds: float, share: float) -> dict[str, Any]:
        """Compile, and choose the samples and epochs of a measurement.

        Args:
            seconds: How long it lasts at least, about.
            share: The largest part of it that the fixed cost of a training call may be; a
                measurement is made longer for that, up to 20 times.
        """
        few = 20 if self._training(1) < 0.05 else 5
        one, more = self._training(1), self._training(few)
        step = max((more - one) / (few - 1), 1e-6)
        fixed = max(0.0, one - step)
        wanted = min(max(seconds, fixed / share), 20 * seconds)
        steps = min(max(4, math.ceil(wanted / step)), self.workload.steps)
        epoch = self._training(steps)
        self.epochs = max(1, math.ceil(wanted / epoch))
        self.steps = steps * self.epochs
        return {"fixed_share": fixed / (self.epochs * epoch)}

    def _training(self, steps: int) -> float:
        """Seconds of an epoch of that many steps, once all is compiled."""
        self.session.hold(self._batches(steps))
        return min(_seconds(lambda: self.session.train(1)) for _ in range(3))

    def train(self) -> dict[str, Any]:
        """Steps per second of one training call."""
        seconds = _seconds(lambda: self.session.train(self.epochs))
        return {"steps_per_s": self.steps / seconds}

    def memory(self) -> dict[str, Any]:
        """The largest resident size so far."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return {"peak_mb": int(line.split()[1]) / 1024}
        return {}

    def compare(self, reference: str, write: bool) -> dict[str, Any]:
        """Whether this peer computes what the others do: outputs for the same weights.

        The first peer writes weights (its own, moved a little) and outputs; the others compare.
        """
        import numpy as np

        path = Path(reference)
        one = [a[:1] for a in self.data[0]]
        if write:
            generator = np.random.default_rng(1)
            weights = [
                w + generator.uniform(-0.02, 0.02, w.shape).astype("float32")
                for w in self.session.get_weights()
            ]
            # A vector may be a variance, which is positive.
            weights = [abs(w) if w.ndim == 1 else w for w in weights]
            self.session.set_weights(weights)
            np.savez(path, *weights, **{f"y{i}": y for i, y in enumerate(self.session.call(one))})
            return {}
        with np.load(path) as file:
            names = [n for n in file.files if n.startswith("arr_")]
            self.session.set_weights([file[n] for n in names])
            expected = [file[n] for n in file.files if n not in names]
        outputs = self.session.call(one)
        worst = max(
            float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-6))
            for a, b in zip(outputs, expected, strict=True)
        )
        if not worst < 2e-3:
            return {"error": f"computes another function: its outputs differ by {worst:.1e}"}
        return {"difference": worst}

    def warm(self) -> dict[str, Any]:
        """Compile the predictions."""
        x, _ = self.data
        self.one, self.many = [a[:1] for a in x], [a[: self.workload.many] for a in x]
        self.session.predict(self.one)
        self.session.call(self.one)
        if self.workload.many:
            self.session.predict(self.many)
        return {}

    def predict(self, seconds: float) -> dict[str, Any]:
        """Predictions of one sample and of many, and the model called on one."""
        found = {
            "predict_one_ms": 1e3 * _median(lambda: self.session.predict(self.one), seconds),
            "call_one_ms": 1e3 * _median(lambda: self.session.call(self.one), seconds),
        }
        if self.workload.many:
            found["predict_many_s"] = _seconds(lambda: self.session.predict(self.many))
        return found

    def prepare_calls(self) -> dict[str, Any]:
        """Make the models whose calls are timed, and make each call often enough to compile."""
        family = importlib.import_module(f"benchmarks.families.{self.peer.calls}")
        self.calls = family.calls(self.workload, **self.peer.options)
        for call in self.calls.values():
            for _ in range(3):
                call()
        return {}

    def time_calls(self, seconds: float) -> dict[str, Any]:
        """The median time of each call, in ms, and the fixed cost of a `fit`."""
        found = {n: 1e3 * _median(call, seconds, 5) for n, call in self.calls.items()}
        fixed = fixed_cost(found["fit"], found.pop("fit_long"), self.workload.steps)
        return found | {"fit_fixed": max(fixed, RESOLUTION)}

    def warm_files(self) -> dict[str, Any]:
        """Build, save and load once; the first time compiles."""
        self.files()
        return {}

    def files(self) -> dict[str, Any]:
        """Build, save and load."""
        with tempfile.TemporaryDirectory() as folder:
            return {
                "build_s": _seconds(self._build),
                "save_s": _seconds(lambda: self.session.save(Path(folder))),
                "load_s": _seconds(lambda: self.session.load(Path(folder))),
            }


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def fixed_cost(one: float, many: float, steps: int) -> float:
    """What a call costs besides its steps: all but the steps take as long in both.

    Args:
        one: The time of a call with one step.
        many: The time of a call with more.
        steps: How many more.
    """
    return (steps * one - many) / (steps - 1)


def _median(run: Callable[[], Any], seconds: float, least: int = 3) -> float:
    """The median time of a call, called for that long and at least that often."""
    times = [_seconds(run) for _ in range(least)]
    while sum(times) < seconds:
        times.append(_seconds(run))
    return statistics.median(times)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker(*sys.argv[1:])
    for line in sys.stdin:
        command = json.loads(line)
        try:
            found = getattr(worker, command.pop("do"))(**command)
        except Exception as e:  # noqa: BLE001 - whatever a peer raises is its result
            traceback.print_exc()
            lines = str(e).strip().splitlines() or [""]
            found = {"error": f"{type(e).__name__}: {lines[0][:300]}"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
