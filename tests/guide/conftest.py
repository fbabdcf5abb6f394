"""Fresh automatic names for each test, so that they are those of a new program."""

import pytest

import lamina as keras


@pytest.fixture(autouse=True)
def _fresh_program():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
