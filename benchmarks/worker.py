"""One peer with one model in its own process, controlled line by line.

Reads one JSON object per line from standard input, ``{"do": NAME, ...}``, and answers each with one
line: the measured values, or ``{"error": ...}``. The output of libraries is redirected to standard
error.
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

RESOLUTION = 0.01  # ms: lower bound of reported differences of times


class Clock:
    """The time for tracing and for compilation, as reported by JAX."""

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
        """The total time, where nested traces count once."""
        total, until = 0.0, 0.0
        for start, end in sorted(self.spans[kind]):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total


class Worker:
    """Runs the session; each public method is a command."""

    def __init__(self, peer: str, model: str) -> None:
        self.peer, self.model = PEERS[peer], model
        self.clock: Clock | None = None

    def load(self) -> dict[str, Any]:
        """Import the library, and then, without timing, its family and the data."""
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
        """Create the model, ready to train."""
        self._build()
        return {}

    def _build(self) -> None:
        self.session.build(self.model, self.workload, self.data)

    def _batches(self, count: int) -> tuple[Any, Any]:
        size = count * self.workload.batch
        return tuple([a[:size] for a in arrays] for arrays in self.data)

    def cold(self) -> dict[str, Any]:
        """Build a model and train it on a single batch, the first step of the process."""
        self.data = self._batches(1)
        found = {"build_s": _seconds(self._build)}
        if self.workload.kind == "train":
            found["first_step_s"] = _seconds(lambda: self.session.train(1))
            if self.clock:
                found |= {f"{kind}_s": self.clock.seconds(kind) for kind in self.clock.spans}
        return found

    def plan(self, seconds: float, share: float) -> dict[str, Any]:
        """Choose the numbers of steps and epochs of a measurement.

        Args:
            seconds: Approximate minimum duration.
            share: Maximum fraction of it for the fixed cost of a training call; measurements are
                extended for that, up to 20 times.
        """
        few = 20 if self._training(1) < 0.05 else 5
        one, more = self._training(1), self._training(few)
        step = max((more - one) / (few - 1), 1e-6)
        fixed = max(0.0, one - step)
        wanted = min(max(seconds, fixed / share), 20 * seconds)
        steps = min(max(4, math.ceil(wanted / step)), self.workload.steps)
        epoch = self._training(steps)
        epochs = max(1, math.ceil(wanted / epoch))
        return {"steps": steps, "epochs": epochs, "fixed_share": fixed / (epochs * epoch)}

    def prepare(self, steps: int, epochs: int) -> dict[str, Any]:
        """Compile for measurements of that many epochs of that many steps."""
        self._training(steps)
        self.epochs, self.steps = epochs, steps * epochs
        return {}

    def _training(self, steps: int) -> float:
        """Seconds for an epoch of that many steps, without compilation."""
        self.session.hold(self._batches(steps))
        return min(_seconds(lambda: self.session.train(1)) for _ in range(3))

    def train(self) -> dict[str, Any]:
        """Steps per second of one training call."""
        seconds = _seconds(lambda: self.session.train(self.epochs))
        return {"steps_per_s": self.steps / seconds}

    def memory(self) -> dict[str, Any]:
        """The peak resident set size so far."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return {"peak_mb": int(line.split()[1]) / 1024}
        return {}

    def compare(self, reference: str, write: bool) -> dict[str, Any]:
        """Check that this peer computes the same outputs as the others for the same weights.

        The first peer saves weights (its own, perturbed) and outputs; the others compare.
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
        """Time predictions for one sample and for many, and calls of the model on one sample."""
        found = {
            "predict_one_ms": 1e3 * _median(lambda: self.session.predict(self.one), seconds),
            "call_one_ms": 1e3 * _median(lambda: self.session.call(self.one), seconds),
        }
        if self.workload.many:
            found["predict_many_s"] = _seconds(lambda: self.session.predict(self.many))
        return found

    def prepare_calls(self) -> dict[str, Any]:
        """Create the models whose calls are timed, and run each call until it is compiled."""
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

    def time_devices(self, seconds: float) -> dict[str, Any]:
        """Measure trainings on several devices, in processes of their own."""
        from benchmarks import devices  # imports NumPy, as the libraries do

        return devices.measure(seconds)

    def prepare_data(self, folder: str) -> dict[str, Any]:
        """Create the pipeline, and run it until everything is compiled."""
        pipelines = importlib.import_module("benchmarks.families.pipelines")
        self.pipeline = getattr(pipelines, self.model)(Path(folder), **self.peer.options)
        return {}

    def time_data(self) -> dict[str, Any]:
        """The measures of the pipeline."""
        return self.pipeline()

    def warm_files(self) -> dict[str, Any]:
        """Build, save and load once, for compilation."""
        self.files()
        return {}

    def files(self) -> dict[str, Any]:
        """Time building, saving and loading."""
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
    """The fixed cost of a call, without its steps.

    Args:
        one: The time of a call with one step.
        many: The time of a call with more.
        steps: The number of additional steps.
    """
    return (steps * one - many) / (steps - 1)


def _median(run: Callable[[], Any], seconds: float, least: int = 3) -> float:
    """The median time of a call, repeated for a duration and a minimum number of times."""
    times = [_seconds(run) for _ in range(least)]
    while sum(times) < seconds:
        times.append(_seconds(run))
    return statistics.median(times)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep the output of libraries out of the answers
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
