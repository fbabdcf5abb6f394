"""What the programs print on Keras, recorded: `python -m tests.programs.record`.

Keras takes most of the time of the comparison, and answers the same each time. A program that
changed, or that is new, is run again; `--all` runs all of them, after an update of Keras.
"""

import ast
import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
RECORD = FOLDER / "recorded.json"
NO_PROGRAMS = {"__init__", "record", "test_programs", "worker"}
PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in NO_PROGRAMS)


class Worker:
    """A process that runs programs on one of the two libraries."""

    def __init__(self, library):
        quick = (
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        )
        settings = {
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {quick}",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings,
        )  # fmt: skip

    def run(self, program):
        self._process.stdin.write(f"{FOLDER / program}.py\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.communicate()


def digest(program):
    """What tells one text of a program from another; the layout of lines does not."""
    text = ast.unparse(ast.parse((FOLDER / f"{program}.py").read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded():
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def main():
    known = {} if "--all" in sys.argv else recorded()
    worker = Worker("keras")
    entries = {}
    for program in PROGRAMS:
        entry = known.get(program, {})
        if entry.get("program") != digest(program):
            told = worker.run(program)
            if told["error"] is not None:
                print(f"{program}: Keras itself does not run it: {told['error']}")
                continue
            lines = told["printed"].splitlines()
            entry = {"program": digest(program), "keras": version("keras"), "printed": lines}
            print(f"{program}: recorded")
        entries[program] = entry
    worker.end()
    RECORD.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
