"""Settings that must stand before JAX and Keras are imported, and room for many tests."""

import contextlib
import ctypes
import gc
import os
import resource
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests of distribution need eight devices, which share the CPU. Each call costs more with them, so
# these tests run in processes of their own.
_DEVICES = "--xla_force_host_platform_device_count"
_asked = [a for a in sys.argv[1:] if not a.startswith("-")]
if any("distribution" in a for a in _asked) and _DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DEVICES}=8"
# Tests compile anew: what an earlier run left in the user's cache must not decide them.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

_ENOUGH = 5 * 2**29  # bytes
_limit = _ENOUGH


def _memory():
    """Bytes of memory that this process has now; the most that it had where that is not known."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


@pytest.fixture(autouse=True)
def _fresh_program():
    """Automatic names and the seed are those of a new program, whatever ran before."""
    import lamina

    lamina.utils.clear_session(free_memory=False)
    lamina.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_go():
    """What thousands of tests compile would fill several GB; to compile it again takes time."""
    global _limit
    yield
    if "jax" in sys.modules and _memory() > _limit:
        gc.collect()
        sys.modules["jax"].clear_caches()
        with contextlib.suppress(AttributeError, OSError):  # of the GNU C library alone
            ctypes.CDLL(None).malloc_trim(0)
        _limit = max(_ENOUGH, _memory() + 2**29)  # not all that is freed leaves the process


@pytest.fixture
def compilations():
    """A context manager that gives the names of the programs compiled inside it."""
    import jax.monitoring

    @contextlib.contextmanager
    def noted():
        compiled = []

        def note(event, _, fun_name=None, **__):
            if event.endswith("backend_compile_duration"):
                compiled.append(fun_name)

        jax.monitoring.register_event_duration_secs_listener(note)
        try:
            yield compiled
        finally:
            jax.monitoring.unregister_event_duration_listener(note)

    return noted
