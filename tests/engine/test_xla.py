"""How programs are compiled, and where they are kept."""

import os
import subprocess
import sys

import pytest

from lamina.runtime import xla

PROGRAM = """
import numpy as np, lamina as keras
inputs = keras.Input((4,))
model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
model.predict(np.ones((3, 4)), verbose=0)
"""


@pytest.mark.parametrize("case", ["kept", "turned off", "not the user's alone"])
def test_compiled_programs_are_kept_in_the_users_own_folder(case, tmp_path):
    folder = tmp_path / "xla"
    if case == "not the user's alone":
        folder.mkdir()
        folder.chmod(0o777)
    environment = os.environ | {
        "LAMINA_HOME": str(tmp_path),
        "JAX_ENABLE_COMPILATION_CACHE": str(case != "turned off").lower(),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, timeout=120)
    kept = sorted(x.name for x in folder.glob("*predict*")) if folder.exists() else []
    assert bool(kept) == (case == "kept")
    if case == "kept":
        assert folder.stat().st_mode & 0o777 == 0o700


def test_options_that_a_user_chose_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    ours = xla.options()
    assert ours["xla_backend_optimization_level"] == 1
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    assert ours.keys() - xla.options().keys() == {"xla_backend_optimization_level"}


@pytest.mark.parametrize(
    ("before", "enabled", "freezes"),
    [("", True, True), ("gc.disable()", False, False), ("import jax", True, False)],
    ids=["first", "turned off", "JAX is there already"],
)
def test_jax_is_loaded_without_collections_of_garbage(before, enabled, freezes):
    program = f"""
import gc, weakref
import lamina
{before}
class Cycle: pass
cycle = Cycle()
cycle.itself, garbage = cycle, weakref.ref(cycle)
del cycle
lamina.ops
print(gc.isenabled(), gc.get_freeze_count() > 50_000)
gc.collect()
print(garbage() is None)
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert shown.stdout.split() == [str(enabled), str(freezes), "True"]
