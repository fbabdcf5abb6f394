"""What the programs print on Keras, recorded: `python -m tests.programs.record`.

Keras takes most of the time of the comparison, and answers the same each time. A program that
changed, or that is new, is run again; `--all` runs all of them, after an update of Keras. Programs
of `ON_TENSORFLOW` are recorded where TensorFlow is installed, and left as they were elsewhere.
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
RECORD = FOLDER / "recorded.json"
NO_PROGRAMS = {"__init__", "record", "test_programs", "worker"}
PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in NO_PROGRAMS)
# Keras reads folders and text by TensorFlow's operations alone.
ON_TENSORFLOW = {
    "fine_tuning", "speech_commands", "table_features", "text_and_numbers", "text_from_folder",
    "timeseries",
}  # fmt: skip
# Programs that also learn from more data, with as many seeds as their first argument says.
LEARNING = [p for p in PROGRAMS if "SEEDS" in (FOLDER / f"{p}.py").read_text()]
# Those that learn from real data in the folder of their second argument, too.
REAL = [p for p in LEARNING if "REAL" in (FOLDER / f"{p}.py").read_text()]
SEEDS = "3"


class Worker:
    """A process that runs programs on one of the two libraries.

    Args:
        library: `"keras"` or `"lamina"`.
        backend: Keras's backend.
        quick: Whether to compile fast, for programs that run few steps.
    """

    def __init__(self, library, backend="jax", quick=True):
        fast = (
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        )
        settings = {
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if quick and backend == "jax":
            settings["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fast}"
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings,
        )  # fmt: skip

    def run(self, program, *arguments):
        line = json.dumps([str(FOLDER / f"{program}.py"), *arguments])
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.communicate()


def digest(program):
    """What tells one text of a program from another; the layout of lines does not."""
    text = ast.unparse(ast.parse((FOLDER / f"{program}.py").read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def accuracies(told):
    """The numbers in the lines of a program's output that begin with "accuracy"."""
    return [float(n) for n in re.findall(r"^accuracy (.*)$", told["printed"], re.MULTILINE)]


def recorded():
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def main():
    known = recorded()
    data = os.environ.get("LAMINA_TEST_DATA")
    entries = {}
    for backend in ("jax", "tensorflow"):
        worker = None
        for program in PROGRAMS:
            if (program in ON_TENSORFLOW) != (backend == "tensorflow"):
                continue
            entry = known.get(program, {})
            if "--all" in sys.argv or entry.get("program") != digest(program):
                if find_spec("tensorflow" if backend == "tensorflow" else "jax") is None:
                    print(f"{program}: not recorded, for lack of {backend}")
                else:
                    worker = worker or Worker("keras", backend)
                    entry = _entry(worker, program, backend, data) or entry
            if entry:
                entries[program] = entry
                told = {p: e for p, e in {**known, **entries}.items() if p in PROGRAMS}
                RECORD.write_text(json.dumps(dict(sorted(told.items())), indent=1) + "\n")
        if worker is not None:
            worker.end()


def _entry(worker, program, backend, data):
    told = worker.run(program)
    if told["error"] is not None:
        print(f"{program}: Keras itself does not run it: {told['error']}")
        return None
    keras = f"{version('keras')}" + (" on TensorFlow" if backend == "tensorflow" else "")
    entry = {"program": digest(program), "keras": keras, "printed": told["printed"].splitlines()}
    if program in LEARNING:
        entry["accuracy"] = accuracies(_learned(program, backend))
    if program in REAL and data is not None:
        entry["accuracy on real data"] = accuracies(_learned(program, backend, data))
    print(f"{program}: recorded")
    return entry


def _learned(program, backend, *arguments):
    worker = Worker("keras", backend, quick=False)
    told = worker.run(program, SEEDS, *arguments)
    worker.end()
    if told["error"] is not None:
        raise RuntimeError(f"{program}: {told['error']}")
    return told


if __name__ == "__main__":
    main()
