"""Programs that many trainings of one model compile again are taken from a cache."""

import signal

import jax
import pytest

_SETTINGS = {
    "jax_enable_compilation_cache": True, "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="package")
def _compiled_once(tmp_path_factory):
    settings = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")), **_SETTINGS}
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def _interrupts_count():
    """A shell that runs the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
