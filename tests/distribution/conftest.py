"""Eight devices, which `tests/conftest.py` asks for when this folder is named."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="session")
def _eight_devices():
    if jax.device_count() < 8:
        pytest.skip("needs eight devices: run `pytest tests/distribution` by itself")
