"""kill -9 at random moments of training and saving: nothing is lost but the last few steps."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.saving.checkpoint import read


class Server:
    def __init__(self, folder):
        settings = {
            "JAX_ENABLE_COMPILATION_CACHE": "true", "LAMINA_HOME": str(folder / "home"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PLATFORMS": "cpu",
            "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.killed"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, **settings},
        )  # fmt: skip

    def train(self, folder, lines=None, seed=0):
        folder.mkdir(exist_ok=True)
        command = {"folder": str(folder), "lines": lines, "seed": seed}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def result(self, folder):
        return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0


def steps(folder):
    run = folder / "run"
    return sorted(int(p.name) for p in run.iterdir() if p.name.isdigit()) if run.exists() else []


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
def test_killed_trainings_end_as_if_nothing_had_happened(count, server, tmp_path):
    whole = tmp_path / "whole"
    assert server.train(whole) == 0
    expected = server.result(whole)
    lines = expected.pop("lines")
    rng = random.Random(1)
    kills = runs = 0
    while kills < count:
        folder = tmp_path / f"run{runs}"
        runs, saved, status = runs + 1, 0, -signal.SIGKILL
        while status:
            # Few lines reach the first checkpoint, many the end.
            seed = 7 if steps(folder) else 0  # a checkpoint has the seed
            status = server.train(folder, rng.randrange(1, lines * 2 // 3), seed)
            if status:
                assert status == -signal.SIGKILL
                kills += 1
                newest = max(steps(folder), default=0)
                assert newest >= saved
                saved = newest
                if newest:
                    assert read(Path(folder, "run", f"{newest:08d}")).step == newest
        result = server.result(folder)
        del result["lines"]
        assert result == expected
    assert runs > count / 20
