"""The cost of a checkpoint every 50 steps: ``python -m benchmarks.checkpoints`` records it.

Trainings with and without checkpoints take turns; the medians of the ratios of neighbors are
reported, with the load of the machine before and after, since other processes disturb both. The
processor time of a checkpoint, in the thread that trains and in the one that writes, is reported
too: it hardly depends on what else runs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import lamina
from benchmarks.families import with_keras
from benchmarks.workloads import WORKLOADS
from lamina.saving.checkpoint import CheckpointFolder
from lamina.training.resuming import Checkpoints

MODELS = {"conv1d": 300, "transformer": 160, "resnet": 100}
EVERY, ROUNDS = 50, 3
CPU: dict[str, list[float]] = {"_save": [], "_commit": []}
TARGET = Path(__file__).parent / "CHECKPOINTS.md"


def note_processor_time(cls: type, name: str) -> None:
    """Collect the processor time of a method, in its own thread, in ``CPU``."""
    method = vars(cls)[name]

    def noted(*args: Any, **options: Any) -> None:
        began = time.thread_time()
        method(*args, **options)
        CPU[name].append(1000 * (time.thread_time() - began))

    setattr(cls, name, noted)


def seconds(model: Any, x: Any, y: Any, batch: int, epochs: int, every: int | None) -> float:
    """The time of a training, until its last checkpoint is on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        options = {} if every is None else {"resume": folder, "checkpoint_every": every}
        began = time.perf_counter()
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, **options)
        return time.perf_counter() - began


def row(name: str, steps: int) -> str:
    """Measure one model."""
    workload = WORKLOADS[name]
    model = getattr(with_keras, name)(lamina)
    x, y = workload.data()
    x, y = x if len(x) > 1 else x[0], y if len(y) > 1 else y[0]
    epochs = max(1, steps // workload.steps)
    seconds(model, x, y, workload.batch, 1, EVERY)
    for times in CPU.values():
        times.clear()
    plain, saved = [], []
    for _ in range(ROUNDS):
        plain.append(seconds(model, x, y, workload.batch, epochs, None))
        saved.append(seconds(model, x, y, workload.batch, epochs, EVERY))
    costs = [100 * (b / a - 1) for a, b in zip(plain, saved, strict=True)]
    size = sum(np.asarray(v).nbytes for v in [*model.variables, *model.optimizer.variables])
    rate = epochs * workload.steps / statistics.median(plain)
    trains, writes = (statistics.median(times) for times in CPU.values())
    return (
        f"| {workload.title} | {size / 1e6:.1f} | {rate:.1f} | {statistics.median(costs):+.1f} % "
        f"({min(costs):+.1f} to {max(costs):+.1f}) | {trains:.1f} | {writes:.1f} |"
    )


def main() -> None:
    """Measure the models, or those that are named, and write the table."""
    note_processor_time(Checkpoints, "_save")
    note_processor_time(CheckpointFolder, "_commit")
    before = os.getloadavg()[0]
    rows = [row(name, MODELS[name]) for name in sys.argv[1:] or MODELS]
    text = (
        "# The cost of checkpoints\n\n"
        "Written by `python -m benchmarks.checkpoints`: the time of `fit(resume=..., "
        f"checkpoint_every={EVERY})`\ncompared with `fit` without; medians of {ROUNDS} pairs, with "
        f"the smallest and the largest. The load average\nwas {before:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores: above 1, other processes "
        "disturbed the times, but not\nthe processor time of a checkpoint.\n\n"
        "| model | state, MB | steps/s | time | CPU ms, training | CPU ms, writing |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    TARGET.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
