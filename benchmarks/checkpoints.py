"""The cost of a checkpoint every 50 steps: ``python -m benchmarks.checkpoints`` records it.

Trainings with and without checkpoints take turns; the medians of the ratios of neighbors are
reported, with the load of the machine before and after, since other processes disturb both.
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

MODELS = {"mlp": 20_000, "conv1d": 300, "resnet": 100}
EVERY, ROUNDS = 50, 3
TARGET = Path(__file__).parent / "CHECKPOINTS.md"


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
    steps = epochs * workload.steps
    every = EVERY if name != "mlp" else EVERY * 100
    seconds(model, x, y, workload.batch, 1, every)
    plain, saved = [], []
    for _ in range(ROUNDS):
        plain.append(seconds(model, x, y, workload.batch, epochs, None))
        saved.append(seconds(model, x, y, workload.batch, epochs, every))
    costs = [100 * (b / a - 1) for a, b in zip(plain, saved, strict=True)]
    size = sum(np.asarray(v).nbytes for v in [*model.variables, *model.optimizer.variables])
    per = 1000 * (statistics.median(saved) - statistics.median(plain)) * every / steps
    return (
        f"| {workload.title} | {size / 1e6:.1f} | {steps / statistics.median(plain):.1f} | {every} "
        f"| {statistics.median(costs):+.1f} % ({min(costs):+.1f} to {max(costs):+.1f}) "
        f"| {per:.0f} |"
    )


def main() -> None:
    """Measure the models, or those that are named, and write the table."""
    before = os.getloadavg()[0]
    rows = [row(name, MODELS[name]) for name in sys.argv[1:] or MODELS]
    text = (
        "# The cost of checkpoints\n\n"
        "Written by `python -m benchmarks.checkpoints`. Time of `fit(resume=..., checkpoint_every="
        "n)` compared with\n`fit` without; medians of "
        f"{ROUNDS} pairs, with the smallest and the largest. The load average was {before:.1f}\n"
        f"before and {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores: above 1, others "
        "disturbed the measurement.\n\n"
        "| model | state, MB | steps/s | steps per checkpoint | cost | ms per checkpoint |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    TARGET.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
