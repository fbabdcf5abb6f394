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
SEVERAL_DEVICES = FOLDER.parent / "distribution" / "programs"
NO_PROGRAMS = {"__init__", "record", "test_programs", "worker"}
EIGHT = "--xla_force_host_platform_device_count=8"


class Worker:
    """A process that runs programs on one of the two libraries."""

    def __init__(self, library, folder=FOLDER):
        self._folder = folder
        quick = (
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        )
        devices = EIGHT if folder == SEVERAL_DEVICES else ""
        settings = {
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {quick} {devices}",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings,
        )  # fmt: skip

    def run(self, program):
        self._process.stdin.write(f"{self._folder / program}.py\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.communicate()


def programs(folder=FOLDER):
    return sorted(p.stem for p in folder.glob("*.py") if p.stem not in NO_PROGRAMS)


PROGRAMS = programs()


def digest(program, folder=FOLDER):
    """What tells one text of a program from another; the layout of lines does not."""
    text = ast.unparse(ast.parse((folder / f"{program}.py").read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded(folder=FOLDER):
    record = folder / "recorded.json"
    return json.loads(record.read_text()) if record.exists() else {}


def main(folder):
    known = {} if "--all" in sys.argv else recorded(folder)
    worker = Worker("keras", folder)
    entries = {}
    for program in programs(folder):
        entry = known.get(program, {})
        if entry.get("program") != digest(program, folder):
            told = worker.run(program)
            if told["error"] is not None:
                print(f"{program}: Keras itself does not run it: {told['error']}")
                continue
            lines = told["printed"].splitlines()
            entry = {
                "program": digest(program, folder),
                "keras": version("keras"),
                "printed": lines,
            }
            print(f"{program}: recorded")
        entries[program] = entry
    worker.end()
    (folder / "recorded.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main(FOLDER)
    main(SEVERAL_DEVICES)
