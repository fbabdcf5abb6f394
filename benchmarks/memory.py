"""The memory that saving and loading need: ``python -m benchmarks.memory [GiB]`` records it.

A process of its own saves or loads a model of that size, 2 GiB by default, in each format. Reported
is the peak of its resident memory above what it had before, without the weights that loading makes,
relative to the size of the weights. Linux only, since no other system can reset the peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lamina
from lamina import layers

UNITS = 2048  # of each layer: 16 MiB
NAMES = {
    "`.keras`": "model.keras", "a folder": "folder", "`.h5`": "model.h5",
    "`.weights.h5`": "only.weights.h5", "`.safetensors`": "only.safetensors",
    "`.weights.json`, 0.25 GiB a file": "only.weights.json",
}  # fmt: skip
TARGET = Path(__file__).parent / "MEMORY.md"


def build(gib: float) -> lamina.Model:
    """A stack of layers with weights of that size, whose values do not exist yet."""
    count = round(gib * 2**30 / (4 * UNITS**2))
    dense: list[Any] = [layers.Dense(UNITS, use_bias=False) for _ in range(count)]
    dense.insert(0, lamina.Input((UNITS,)))
    return lamina.Sequential(dense)


def resident(name: str) -> int:
    """A line of the process's status in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith(f"{name}:"))


def measure(verb: str, path: Path, gib: float) -> None:
    """Print how much memory an operation needs, relative to the weights."""
    model = build(gib)
    size = 4 * model.count_params()
    is_model = path.name in ("model.keras", "folder", "model.h5")
    options: dict[str, Any] = {"zipped": False} if path.name == "folder" else {}
    if path.suffix == ".json":
        options = {"max_shard_size": 0.25}
    for variable in model.weights if verb == "save" else ():
        variable.value.block_until_ready()
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the peak is what there is now
    before = resident("VmRSS")
    if verb == "save":
        (model.save if is_model else model.save_weights)(path, **options)
        made = 0
    else:
        lamina.saving.load_model(path) if is_model else model.load_weights(path)
        made = size
    print(json.dumps((resident("VmHWM") - before - made) / size))


def main(gib: float) -> None:
    """Measure all formats and write the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in NAMES.items():
            found = []
            for verb in ("save", "load"):
                command = [sys.executable, "-m", __spec__.name, verb, f"{folder}/{name}", str(gib)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(100 * json.loads(done.stdout.splitlines()[-1]))
            rows.append("| {} | {:.1f} % | {:.1f} % |".format(kind, *found))
            print(rows[-1], flush=True)
            for path in Path(folder).glob("*.*"):
                path.unlink()
    TARGET.write_text(
        "# The memory that files need\n\n"
        f"Written by `python -m benchmarks.memory {gib:g}`: the peak of the resident memory above "
        f"the weights of\na model of {gib:g} GiB ({UNITS} x {UNITS} kernels), relative to them.\n\n"
        "| format | saving | loading |\n|---|---|---|\n" + "\n".join(rows) + "\n", "utf-8",
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] in (["save"], ["load"]):
        measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main(float(sys.argv[1]) if sys.argv[1:] else 2.0)
