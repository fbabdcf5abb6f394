"""Two real processes on the loopback interface."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import lamina as keras
from lamina import distribution as dist
from lamina.cli import main
from lamina.core.variable import Variable
from lamina.runtime import processes
from tests.distribution import program

pytestmark = pytest.mark.xdist_group("processes")  # that share what two processes have seen
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _launch(*arguments, cache=None, **settings):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **settings}
    if cache is not None:
        environment |= {
            "JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "lamina", "launch", *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes with two devices each have seen, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    done = _launch(
        "--processes", 2, "--devices-per-process", 2, HERE / "program.py", "main", folder,
        cache=folder / "xla",
    )  # fmt: skip
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


@pytest.mark.parametrize("layout", ["data", "fsdp"])
def test_a_file_is_new_to_all_processes_or_to_none(two, layout):
    assert [found[layout]["new"] for found in two[0]] == [[True, False]] * 2


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

    found = two[0][0]
    model, history = program.train(None, Joined(), shuffle=False)
    for log in ("loss", "accuracy"):
        np.testing.assert_allclose(found["joined"][log], history[log], rtol=1e-5)
    expected = model.evaluate(Joined(), verbose=0)
    np.testing.assert_allclose(found["joined evaluate"], expected, rtol=1e-5)
    outputs = model.predict(Joined(), verbose=0)
    assert len(outputs) == sum(program.ROWS)
    np.testing.assert_allclose(found["joined predict"], outputs, rtol=1e-3, atol=1e-5)


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


# ---- interrupted, and continued ------------------------------------------------------------------


def _resumed(folder, processes, devices=1, restarts=0, cache=None, **spec):
    """Train with checkpoints in the folder; return how it ended, and the result of each process."""
    folder.mkdir(exist_ok=True)
    spec = {"folder": str(folder), "layout": "fsdp", "options": {"checkpoint_every": 2}, **spec}
    done = _launch(
        "--processes", processes, "--devices-per-process", devices, "--restarts", restarts,
        HERE / "program.py", "resumed", json.dumps(spec), cache=cache or folder / "xla",
    )  # fmt: skip
    found = [folder / f"result{i}.json" for i in range(processes)]
    return done, [json.loads(p.read_text()) for p in found if p.exists()]


def _like_one_process(found, model, history):
    for log, values in history.items():
        np.testing.assert_allclose(found["history"][log], values, rtol=1e-5, atol=1e-6)
    weights = [float(np.abs(w).sum()) for w in program.state_of(model)]
    np.testing.assert_allclose(found["weights"], weights, rtol=1e-5)


@pytest.mark.long
def test_after_signals_to_one_process_all_continue_to_the_same_bits(two, tmp_path):
    events = [[1, 0, 1, "SIGTERM"], [0, 3, 4, "SIGKILL"]]
    cache = two[2] / "xla"
    done, results = _resumed(tmp_path, 2, devices=2, restarts=2, events=events, cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[0] Training was stopped by a signal after step" in done.stdout
    assert "ended with exit status 143" in done.stderr
    assert "process 0 of 2 ended with signal SIGKILL" in done.stderr
    for found in results:
        assert {k: found[k] for k in ("history", "digest")} == two[0][0]["resumable"]
    assert len(list(tmp_path.glob("copy*"))) == 2  # there was something to continue from
    # One process goes on from what two have written within an epoch, each a part of it.
    copy = tmp_path / "copy2"
    newest = max(p for p in copy.iterdir() if p.name.isdigit())
    assert int(newest.name) % 5
    assert (newest / "weights-1.safetensors").exists()
    stop = keras.callbacks.EarlyStopping("loss", patience=9)
    model, history = program.resumable(None, [stop], resume=copy)
    _like_one_process(results[0], model, history)


@pytest.mark.long
@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["data", "fsdp"])
def test_of_four_processes_one_dies_and_others_continue(layout, after, tmp_path):
    events = [[2, 2, 1, "SIGKILL"]]
    done, results = _resumed(tmp_path, 4, devices=2, layout=layout, events=events)
    assert done.returncode == 128 + 9
    assert "process 2 of 4 ended with signal SIGKILL" in done.stderr
    assert not results
    done, results = _resumed(tmp_path, after, devices=1 + (after != 3), layout=layout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [found["processes"] for found in results] == [after] * after
    assert all(found == results[0] for found in results)
    model, history = program.resumable(None)
    _like_one_process(results[0], model, history)


@pytest.mark.long
def test_data_of_their_own_continues_in_as_many_processes(tmp_path):
    spec = {"layout": "own", "options": {"checkpoint_every": 2, "shuffle": False}}
    done, results = _resumed(tmp_path, 2, restarts=1, events=[[1, 3, 4, "SIGKILL"]], **spec)
    assert done.returncode == 0, done.stdout + done.stderr
    alone = {"data": program.Parts(0, 1), "batch_size": None}
    model, history = program.resumable(None, **alone, shuffle=False)
    _like_one_process(results[0], model, history)
    (tmp_path / "three").mkdir()
    (tmp_path / "copy1").rename(tmp_path / "three" / "run")
    done, _ = _resumed(tmp_path / "three", 3, **spec)
    assert done.returncode == 1
    assert re.search(r"expected: .*'processes': 2(.|\n)*received: .*'processes': 3", done.stdout)


@pytest.mark.long
def test_orbax_saves_from_and_restores_to_all_processes(tmp_path):
    done = _launch("--processes", 2, HERE / "program.py", "orbax", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for i in range(2):
        found = json.loads((tmp_path / f"{i}.json").read_text())
        assert found["fsdp"] == found["data"] == found["saved"]


@pytest.mark.long
def test_no_process_ever_holds_the_whole_state(tmp_path):
    """Created, trained, saved, loaded and resumed in less memory than the state takes."""
    # Each array is returned to the system when it is freed, and gradients are summed one by one.
    settings = {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "XLA_FLAGS": "--xla_disable_hlo_passes=cpu-all-reduce-combiner",
    }
    for attempt in ("trained", "resumed"):
        done = _launch("--processes", 4, HERE / "large.py", tmp_path, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        for i in range(4):
            found = json.loads((tmp_path / f"{attempt}{i}.json").read_text())
            assert found["peak"] - found["before"] < found["state"]
            assert np.isfinite(found["loss"]).all()


@pytest.mark.long
@pytest.mark.parametrize("event", ["hang", "SIGSTOP"])
def test_a_process_that_hangs_ends_all_and_is_named(event, tmp_path):
    began = time.monotonic()
    done, _ = _resumed(tmp_path, 3, events=[[1, 1, 1, event]], stall_seconds=10)
    assert done.returncode
    if event == "hang":
        assert "[1] Process 1 of 3 has been in the hook `on_train_batch_end`" in done.stdout
        assert "on_train_batch_end" in done.stdout.partition("Its threads are at:")[2]
        assert "process 1 of 3 ended with exit status 75" in done.stderr
    else:
        assert re.search(r"stopped sending heartbeats\):\n\[\d\] 1\n", done.stdout)
        assert "process 1 of 3 did not end by itself" in done.stderr
    assert time.monotonic() - began < 90


@pytest.mark.long
@pytest.mark.parametrize("full", [0, 1])
def test_a_full_disk_in_one_process_ends_all_and_the_last_checkpoint_serves(full, two, tmp_path):
    spec = {"devices": 2, "events": [[full, 1, 3, "full"]], "cache": two[2] / "xla"}
    done, results = _resumed(tmp_path, 2, **spec)
    assert done.returncode == 1
    assert not results
    assert done.stdout.count("was not written") == 1
    assert re.search(rf"\[{full}\] The checkpoint after step \d+ was not written", done.stdout)
    assert f"process {full} of 2 ended with exit status 1" in done.stderr
    done, results = _resumed(tmp_path, 2, **spec)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("copy1/0*"))) >= 1  # there was something to continue from
    for found in results:
        assert {k: found[k] for k in ("history", "digest")} == two[0][0]["resumable"]


def test_a_process_that_stalls_shows_where_and_ends():
    code = """
import time
from lamina.runtime import stalls
stalls.set_limit(0.5, "Process 1 of 2")
with stalls.watched("a hook"):
    with stalls.waiting():
        time.sleep(2)
    print("has waited for others", flush=True)
    time.sleep(60)  # the line that is shown
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 75
    assert done.stdout == "has waited for others\n"
    assert "Process 1 of 2 has been in a hook for more than 0.5 seconds" in done.stderr
    assert 'File "<string>", line 9 in <module>' in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_processes_do_not_outlive_the_launcher():
    launcher = subprocess.Popen(
        [sys.executable, "-m", "lamina", "launch", "--processes", "2", HERE / "outlive.py"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with launcher:
        numbers = [int(launcher.stdout.readline().split()[-1]) for _ in range(2)]
        launcher.kill()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{n}").exists() for n in numbers):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("arguments", [[], ["--processes", "0", "x.py"], ["x.py"]])
def test_wrong_arguments(arguments, capsys):
    assert main(["launch", *arguments]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_contradicting_addresses():
    with pytest.raises(keras.errors.ArgumentError, match="another number"):
        dist.initialize("a:1,b:2", 3, 0)
    with pytest.raises(keras.errors.ArgumentError, match="integer"):
        dist.initialize("a:1", "two", 0)


# ---- which of them write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.keras", "a", "a.h5", "a.weights.h5", "a.safetensors", "a.weights.json"]
)
def test_other_processes_gather_in_the_same_order_and_write_nothing(name, tmp_path, monkeypatch):
    model = program.compiled(None)
    model.fit(*program.rows(20), verbose=0)
    save = model.save_weights if re.search("weights|safe", name) else model.save
    options = {"a": {"zipped": False, "probe": program.rows(2)[0]},
               "a.weights.json": {"max_shard_size": 4e-6}}.get(name, {})  # fmt: skip
    gathered, of = [], Variable.__array__
    monkeypatch.setattr(
        Variable, "__array__", lambda v, *a, **k: (gathered.append(v.path), of(v, *a, **k))[1]
    )
    (tmp_path / "first").mkdir()
    save(tmp_path / "first" / name, **options)
    first = gathered.copy()
    gathered.clear()
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    (tmp_path / "other").mkdir()
    save(tmp_path / "other" / name, **options)
    assert gathered == first
    assert {"dense/kernel", "batch_normalization/moving_mean"} <= set(first)
    assert not list((tmp_path / "other").iterdir())
