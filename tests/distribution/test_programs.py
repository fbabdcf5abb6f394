"""Whole programs that say `import keras` print the same on eight devices as on Keras, recorded."""

import numpy as np
import pytest

from tests.programs.record import SEVERAL_DEVICES, Worker, digest, programs, recorded
from tests.programs.test_programs import parts

PROGRAMS = programs(SEVERAL_DEVICES)


@pytest.fixture(scope="module")
def worker():
    started = Worker("lamina", SEVERAL_DEVICES)
    yield started
    started.end()


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(worker, program):
    entry = recorded(SEVERAL_DEVICES)[program]
    assert entry["program"] == digest(program, SEVERAL_DEVICES), "python -m tests.programs.record"
    told = worker.run(program)
    assert told["error"] is None, told["error"]
    text, numbers = parts(told["printed"])
    wanted_text, wanted = parts("\n".join(entry["printed"]))
    assert text == wanted_text
    np.testing.assert_allclose(numbers, wanted, rtol=2e-3, atol=2e-4)
