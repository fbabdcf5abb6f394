"""Whole programs that say `import keras` print the same numbers on Lamina as on Keras.

What Keras prints is recorded; `python -m tests.programs.record` runs it for programs that changed.
"""

import os
import re

import numpy as np
import pytest

from tests.programs.record import (
    LEARNING,
    PROGRAMS,
    REAL,
    SEEDS,
    Worker,
    accuracies,
    digest,
    recorded,
)

# Programs that Lamina does not run yet, or whose results differ, and why.
NOT_YET = {
    "steps_of_an_epoch": "the second epoch starts the data again, and Keras takes only its rest",
}
# What XLA's own order of sums leaves of float32, through a few steps of training.
RTOL, ATOL = 2e-3, 2e-4
# The libraries draw different numbers: the mean accuracies of three seeds may be two standard
# errors of their difference apart, and this much more, since three seeds estimate it badly.
MARGIN = 0.02
# What each seed must reach: well above chance, or above what needs no learning.
FLOORS = {
    "cutmix_mixup": 0.9, "fine_tuning": 0.45, "object_boxes": 0.6, "segmentation": 0.85,
    "speech_commands": 0.9, "table_features": 0.8, "text_and_numbers": 0.85,
    "text_from_folder": 0.8, "timeseries": 0.4, "vision_transformer": 0.8,
}  # fmt: skip
FLOORS_OF_REAL_DATA = {"cutmix_mixup": 0.25, "fine_tuning": 0.38, "text_from_folder": 0.75}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@pytest.fixture(scope="module")
def worker():
    started = Worker("lamina")
    yield started
    started.end()


@pytest.fixture
def long_worker():
    started = Worker("lamina", quick=False)
    yield started
    started.end()


def parts(printed):
    """The text around the numbers, and the numbers."""
    numbers = np.array([float(n) for n in _NUMBER.findall(printed)])
    return re.sub(r"\s+", "", _NUMBER.sub("#", printed)), numbers


def marked(program):
    reason = NOT_YET.get(program)
    marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]
    return pytest.param(program, marks=marks)


@pytest.mark.xdist_group("programs")  # so that one process serves them all
@pytest.mark.parametrize("program", [marked(p) for p in PROGRAMS])
def test_program(worker, program):
    told = worker.run(program)
    assert told["error"] is None, told["error"]
    text, numbers = parts(told["printed"])
    wanted_text, wanted = parts("\n".join(recorded()[program]["printed"]))
    assert text == wanted_text
    np.testing.assert_allclose(numbers, wanted, rtol=RTOL, atol=ATOL)


@pytest.mark.long
@pytest.mark.parametrize("program", LEARNING)
def test_learns_as_well_as_on_keras(long_worker, program):
    _compare(long_worker, program, "accuracy", FLOORS[program])


@pytest.mark.long
@pytest.mark.skipif("LAMINA_TEST_DATA" not in os.environ, reason="needs LAMINA_TEST_DATA")
@pytest.mark.parametrize("program", REAL)
def test_learns_from_real_data_as_well_as_on_keras(long_worker, program):
    data = os.environ["LAMINA_TEST_DATA"]
    _compare(long_worker, program, "accuracy on real data", FLOORS_OF_REAL_DATA[program], data)


def _compare(worker, program, kind, floor, *folder):
    wanted = recorded()[program].get(kind)
    if wanted is None:
        pytest.skip("Keras's is not recorded: `python -m tests.programs.record` with TensorFlow")
    told = worker.run(program, SEEDS, *folder)
    assert told["error"] is None, told["error"]
    found = accuracies(told)
    print(f"Lamina {np.round(found, 3)}, Keras {np.round(wanted, 3)}")
    assert len(found) == len(wanted) == int(SEEDS)
    assert min(found) >= floor
    error = np.sqrt((np.var(found, ddof=1) + np.var(wanted, ddof=1)) / len(found))
    assert abs(np.mean(found) - np.mean(wanted)) <= 2 * error + MARGIN


def test_the_record_is_of_these_programs():
    assert {name: entry["program"] for name, entry in recorded().items()} == {
        name: digest(name) for name in PROGRAMS
    }, "run `python -m tests.programs.record`"


def test_the_comparison_sees_numbers_and_text():
    assert parts("a [1.5, -2e-3]")[0] == "a[#,#]"
    assert parts("a [1.5, -2e-3]")[1].tolist() == [1.5, -0.002]
    assert parts("[ 1.  2.]")[0] == parts("[1. 2.]")[0]


def test_what_is_not_yet_is_a_program():
    assert set(NOT_YET) <= set(PROGRAMS)
