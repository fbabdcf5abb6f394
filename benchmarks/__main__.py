"""Runs every measurement of every library, interleaved, and prints medians and ratios."""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

TASKS = [
    ("import",), ("build",), ("fit", "mlp"), ("fit", "toy_resnet"), ("fit", "deep_dense"),
    ("predict",), ("dispatch",),
]  # fmt: skip
ONLY_LAMINA = {"dispatch"}


def measure(library, task):
    command = [sys.executable, "-m", "benchmarks.worker", library, *task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{library} {task} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="run the tasks whose name contains this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    options = parser.parse_args()
    tasks = [t for t in TASKS if not options.only or options.only in " ".join(t)]
    found = {}
    for _ in range(options.rounds):
        for task in tasks:
            for library in ("lamina", "keras"):
                if library == "keras" and task[0] in ONLY_LAMINA:
                    continue
                for key, value in measure(library, task).items():
                    found.setdefault((" ".join(task), key), {}).setdefault(library, []).append(
                        value
                    )
    report = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {n: importlib.metadata.version(n) for n in ("jax", "keras", "numpy")},
        "rounds": options.rounds,
        "medians": {
            f"{task}: {key}": {lib: statistics.median(v) for lib, v in libs.items()}
            for (task, key), libs in found.items()
        },
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    table = Table("measurement", "lamina", "keras on jax", "lamina / keras")
    for name, libs in report["medians"].items():
        ours, theirs = libs.get("lamina"), libs.get("keras")
        ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
        table.add_row(name, *(f"{v:.4g}" if v else "" for v in (ours, theirs)), ratio)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
