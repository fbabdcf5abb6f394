"""Settings that must stand before JAX and Keras are imported, and room for many tests."""

import gc
import os
import resource
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile anew: what an earlier run left in the user's cache must not decide them.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

_ENOUGH = 2 * 2**20  # KiB


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_go():
    """What thousands of tests compile would fill several GB."""
    yield
    if "jax" in sys.modules and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _ENOUGH:
        gc.collect()
        sys.modules["jax"].clear_caches()
