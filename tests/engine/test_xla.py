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
