"""What the programs print on Keras, recorded: `python -m tests.programs.record`.

Keras takes most of the time of the comparison, and answers the same each time. A program that
changed, or that is new, is run again; `--all` runs all of them, after an update of Keras. Programs
of `ON_TENSORFLOW`, and what is learned, are recorded only where TensorFlow is installed.
"""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
SEVERAL_DEVICES = FOLDER.parent / "distribution" / "programs"
NO_PROGRAMS = {"__init__", "record", "test_programs", "worker"}
EIGHT = "--xla_force_host_platform_device_count=8"
# Keras reads folders and text by TensorFlow's operations alone.
ON_TENSORFLOW = {
    "fine_tuning", "speech_commands", "table_features", "text_and_numbers", "text_from_folder",
    "timeseries",
}  # fmt: skip
SEEDS = "3"


class Worker:
    """A process that runs programs on one of the two libraries.

    Args:
        library: `"keras"` or `"lamina"`.
        folder: The folder of the programs; those for several devices have eight.
        backend: Keras's backend.
        quick: Whether to compile fast, for programs that run few steps.
    """

    def __init__(self, library, folder=FOLDER, backend="jax", quick=True):
        self._folder = folder
        fast = (
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        )
        devices = EIGHT if folder == SEVERAL_DEVICES else ""
        settings = {
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if backend == "jax":
            flags = (os.environ.get("XLA_FLAGS", ""), fast if quick else "", devices)
            settings["XLA_FLAGS"] = " ".join(f for f in flags if f)  # XLA takes blanks for a file
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings,
        )  # fmt: skip

    def run(self, program, *arguments):
        line = json.dumps([str(self._folder / f"{program}.py"), *arguments])
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.communicate()


def programs(folder=FOLDER):
    return sorted(p.stem for p in folder.glob("*.py") if p.stem not in NO_PROGRAMS)


PROGRAMS = programs()
# Programs that also learn from more data, with as many seeds as their first argument says.
LEARNING = [p for p in PROGRAMS if "SEEDS" in (FOLDER / f"{p}.py").read_text()]
# Those that learn from real data in the folder of their second argument, too.
REAL = [p for p in LEARNING if "REAL" in (FOLDER / f"{p}.py").read_text()]


def digest(program, folder=FOLDER):
    """What tells one text of a program from another; the layout of lines does not."""
    text = ast.unparse(ast.parse((folder / f"{program}.py").read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def accuracies(told):
    """The numbers in the lines of a program's output that begin with "accuracy"."""
    return [float(n) for n in re.findall(r"^accuracy (.*)$", told["printed"], re.MULTILINE)]


def recorded(folder=FOLDER):
    record = folder / "recorded.json"
    return json.loads(record.read_text()) if record.exists() else {}


def main(folder):
    names = programs(folder)
    entries = {} if "--all" in sys.argv else recorded(folder)
    entries = {p: e for p, e in entries.items()
               if p in names and e["program"] == digest(p, folder)}  # fmt: skip
    for backend in ("jax", "tensorflow"):
        worker = None
        for program in (p for p in names if p not in entries and backend == _backend(p)):
            if find_spec(backend) is None:
                print(f"{program}: not recorded, for lack of {backend}")
                continue
            worker = worker or Worker("keras", folder, backend)
            told = worker.run(program)
            if told["error"] is not None:
                print(f"{program}: Keras itself does not run it: {told['error']}")
                continue
            by = version("keras") + ("" if backend == "jax" else " on TensorFlow")
            lines = told["printed"].splitlines()
            entries[program] = {
                "program": digest(program, folder), "keras": by, "printed": lines,
            }  # fmt: skip
            _write(entries, program, folder)
        if worker is not None:
            worker.end()
    if folder == FOLDER and find_spec("tensorflow") is not None:
        _record_accuracies(entries)


def _backend(program):
    return "tensorflow" if program in ON_TENSORFLOW else "jax"


def _record_accuracies(entries):
    """What programs learn, for those of which it is not known; Keras is fastest on TensorFlow."""
    data = os.environ.get("LAMINA_TEST_DATA")
    wanted = [("accuracy", p, ()) for p in LEARNING]
    wanted += [("accuracy on real data", p, (data,)) for p in REAL if data is not None]
    for kind, program, folder in wanted:
        if program in entries and kind not in entries[program]:
            worker = Worker("keras", backend="tensorflow")
            told = worker.run(program, SEEDS, *folder)
            worker.end()
            if told["error"] is not None:
                print(f"{program}: {told['error']}")
                continue
            entries[program][kind] = accuracies(told)
            _write(entries, program, FOLDER)


def _write(entries, program, folder):
    text = json.dumps(dict(sorted(entries.items())), indent=1)
    (folder / "recorded.json").write_text(f"{text}\n")
    print(f"{program}: recorded", flush=True)


if __name__ == "__main__":
    main(FOLDER)
    main(SEVERAL_DEVICES)
