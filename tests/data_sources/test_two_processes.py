"""Two processes that train on grain's data sets see each sample once an epoch."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("grain") is None:
    pytest.skip("grain not installed: run `make test-data`", allow_module_level=True)
HERE = Path(__file__).parent


def test_each_sample_is_seen_once_an_epoch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "launch", "--processes", "2", "--devices-per-process", "1",
         HERE / "seen.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src")},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for number in range(2):
        found = json.loads((tmp_path / f"{number}.json").read_text())
        assert found == dict.fromkeys(("map", "iter", "loader", "own"), [2.0] * 37)
