"""Two real processes on the loopback interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina.cli import main
from tests.distribution import program

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _launch(*arguments):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.run(
        [sys.executable, "-m", "lamina", "launch", *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes with two devices each have seen, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    done = _launch(
        "--processes", 2, "--devices-per-process", 2, HERE / "program.py", "main", folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]
    return results, done.stdout, folder


def test_processes_find_each_other(two):
    for found in two[0]:
        assert found["processes"] == 2
        assert found["devices"] == 4


def test_all_processes_see_the_same(two):
    first, second = two[0]
    assert first == second


@pytest.mark.parametrize("layout", ["data", "fsdp"])
def test_trains_as_in_one_process(two, layout):
    found = two[0][0][layout]
    model, history = program.train(None, *program.rows(60))
    for log, values in history.items():
        np.testing.assert_allclose(found["history"][log], values, rtol=1e-5, atol=1e-6)
    x, y = program.rows(20)
    np.testing.assert_allclose(found["evaluate"], model.evaluate(x, y, verbose=0), rtol=1e-5)
    outputs = model.predict(program.rows(21)[0], verbose=0)
    np.testing.assert_allclose(found["predict"], outputs, rtol=1e-3, atol=1e-5)
    weights = [float(np.abs(w).sum()) for w in model.get_weights()]
    np.testing.assert_allclose(found["weights"], weights, rtol=1e-5)


def test_a_dataset_is_seen_once(two):
    _, history = program.train(None, program.Numbered(60), shuffle=False)
    np.testing.assert_allclose(two[0][0]["dataset"]["loss"], history["loss"], rtol=1e-5)


def test_each_process_may_have_its_own_data(two):
    parts = [program.Numbered(n, sum(program.ROWS[:i])) for i, n in enumerate(program.ROWS)]

    class Joined(keras.utils.PyDataset):
        def __len__(self):
            return max(map(len, parts))

        def __getitem__(self, i):
            found = [p[i] for p in parts if i < len(p)]
            return tuple(np.concatenate(same) for same in zip(*found, strict=True))

    _, history = program.train(None, Joined(), shuffle=False)
    for log in ("loss", "accuracy"):
        np.testing.assert_allclose(two[0][0]["joined"][log], history[log], rtol=1e-5)


def test_the_first_process_writes(two):
    (found, _), output, folder = two
    assert not list(folder.glob("log1.csv"))
    assert (folder / "log0.csv").read_text().count("\n") == 3  # a title and two epochs
    assert [line[:3] for line in output.splitlines() if "Epoch 1/5" in line] == ["[0]"]
    whole = keras.models.load_model(folder / "model.keras")
    sums = [float(np.abs(w).sum()) for w in whole.get_weights()]
    np.testing.assert_allclose(sums, found["fsdp"]["weights"], rtol=1e-6)
    np.testing.assert_allclose(sums, found["loaded"], rtol=1e-6)


def test_all_stop_if_one_wants_to(two):
    assert [found["epochs"] for found in two[0]] == [[0, 1], [0, 1]]


def test_if_one_dies_all_are_ended_and_started_again(tmp_path):
    done = _launch(
        "--processes",
        2,
        "--devices-per-process",
        1,
        "--restarts",
        1,
        HERE / "program.py",
        "fail",
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "process 1 of 2 ended with signal SIGKILL" in done.stderr
    assert sorted(line for line in done.stdout.splitlines() if "trained" in line) == [
        "[0] trained", "[1] trained",
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [[], ["--processes", "0", "x.py"], ["x.py"]])
def test_wrong_arguments(arguments, capsys):
    assert main(["launch", *arguments]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_contradicting_addresses():
    with pytest.raises(keras.errors.ArgumentError, match="another number"):
        dist.initialize("a:1,b:2", 3, 0)
    with pytest.raises(keras.errors.ArgumentError, match="integer"):
        dist.initialize("a:1", "two", 0)
