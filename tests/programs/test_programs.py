"""Whole programs that say `import keras` print the same numbers on Keras and on Lamina."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent
PROGRAMS = sorted(
    p.stem for p in FOLDER.glob("*.py") if p.stem not in ("test_programs", "worker", "__init__")
)

# Programs that Lamina does not run yet, and what it says.
NOT_YET = {}

# What XLA's own order of sums leaves of float32, through a few steps of training.
RTOL, ATOL = 2e-3, 2e-4
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Worker:
    """A process that runs programs on one of the two libraries."""

    def __init__(self, library):
        quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        self.process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {
                "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": os.pathsep.join(sys.path),
                "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {quick}",
            },
        )  # fmt: skip

    def ask(self, program):
        assert self.process.stdin is not None
        self.process.stdin.write(f"{FOLDER / program}.py\n")
        self.process.stdin.flush()

    def answer(self):
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.communicate()


@pytest.fixture(scope="module")
def workers():
    both = [Worker("keras"), Worker("lamina")]
    yield both
    for one in both:
        one.end()


def parts(printed):
    """The text around the numbers, and the numbers."""
    numbers = np.array([float(n) for n in _NUMBER.findall(printed)])
    return re.sub(r"\s+", "", _NUMBER.sub("#", printed)), numbers


@pytest.mark.xdist_group("programs")  # so that two processes serve them all
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(p, marks=pytest.mark.xfail(reason=NOT_YET[p], strict=True))
        if p in NOT_YET
        else p
        for p in PROGRAMS
    ],
)
def test_program(workers, program):
    for worker in workers:
        worker.ask(program)
    theirs, ours = (worker.answer() for worker in workers)
    assert theirs["error"] is None, "Keras itself does not run the program"
    assert ours["error"] is None, ours["error"]
    (text, numbers), (wanted_text, wanted) = parts(ours["printed"]), parts(theirs["printed"])
    assert text == wanted_text
    np.testing.assert_allclose(numbers, wanted, rtol=RTOL, atol=ATOL)


def test_the_comparison_sees_numbers_and_text():
    assert parts("a [1.5, -2e-3]")[0] == "a[#,#]"
    assert parts("a [1.5, -2e-3]")[1].tolist() == [1.5, -0.002]
    assert parts("[ 1.  2.]")[0] == parts("[1. 2.]")[0]


def test_what_is_not_yet_is_a_program():
    assert set(NOT_YET) <= set(PROGRAMS)
