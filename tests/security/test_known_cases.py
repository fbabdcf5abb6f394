"""Known attacks on the loading of models, through every verb, in a process that is watched.

Each hostile file is a harmless one with one change (``cases.py``). One process loads all of them
(``worker.py``) and tells what happened; harmless files must load there too.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import CorruptFileError, SerializationError, UnsafeFileError
from lamina.saving import Budget, load_model
from tests.security import cases

pytestmark = pytest.mark.xdist_group("known cases")  # whose files are made once
ROOT = Path(__file__).parents[2]
TABLES = {
    "harmless": cases.HARMLESS, "config": cases.CONFIGS, "compiled": cases.COMPILED,
    "text": cases.TEXTS, "archive": cases.ARCHIVES, "arrays": cases.ARRAYS,
    "tensors": cases.TENSORS, "old": cases.OLD, "folder": cases.FOLDERS, "index": cases.INDEXES,
    "harmless folder": cases.UNCHANGED, "harmless index": cases.UNCHANGED,
}  # fmt: skip
CANARY = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
def fire(*arguments):
    Path(__file__).with_name("fired").touch()
"""


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """What happened, by kind and number of the file."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "code").mkdir()
    (folder / "code" / "canary_mod.py").write_text(CANARY)
    cases.write_all(folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.worker", str(folder)], cwd=ROOT, check=False,
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "JAX_PLATFORMS": "cpu",
             "JAX_ENABLE_COMPILATION_CACHE": "0"},  # the program of a probe would be kept there
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert {p.name for p in (folder / "code").iterdir()} <= {"canary_mod.py"}
    found = {}
    for line in done.stdout.splitlines():
        one = json.loads(line)
        found.setdefault((one["kind"], one["case"]), []).append(one)
    return found


@pytest.mark.parametrize(
    ("kind", "number"),
    [pytest.param(kind, i, id=f"{kind}: {name}"[:80])
     for kind, table in TABLES.items() for i, name in enumerate(table)],
)  # fmt: skip
def test_every_verb_refuses(kind, number, loads):
    for one in loads[kind, number]:
        said = f"{one['verb']}: {one['error']}: {one['message'][:1000]}"
        assert one["is_typed"], f"{said}\n{one.get('trace')}"
        assert not one["escapes"], f"{one['verb']}: {one['escapes']}"
        assert one["seconds"] < 60, said  # of a busy machine
        assert one["bytes"] < 2**30 + 2 * one["size"], said
        assert one["length"] < 20_000, said
        assert cases.TOKEN not in one["message"], said
        if kind.startswith("harmless"):
            assert not one["error"], said
        elif not one["verb"].startswith("["):
            assert one["error"], f"{one['verb']} loaded it"


# Where each known case is tested, if not by files of this folder whose names start with its number.
ELSEWHERE = {
    "05": "security/test_known_cases.py::test_names_do_not_decide",
    "07": "security/cases.py::PICKLE",
    "08": "security/worker.py::in_thread",
    "10": "security/test_known_cases.py::test_built_in_classes_cannot_be_replaced",
    "11": "security/test_known_cases.py::test_every_loader_has_the_policy_argument",
    "20": "datasets/test_extract.py::test_nothing_leaves_the_destination",
    "21": "datasets/test_extract.py::test_nothing_leaves_the_destination",
    "22": "datasets/test_extract.py::test_nothing_leaves_the_destination",
    "23": "datasets/test_extract.py::test_nothing_leaves_the_destination",
    "24": "datasets/test_extract.py::test_nothing_leaves_the_destination",
    "26": "security/test_known_cases.py::test_only_regular_files",
    "27": "security/cases.py::gadget",
    "29": "security/worker.py::entry_points",
    "30": "security/test_known_cases.py::test_budgets_add_up",
    "32": "datasets/test_load_data.py::test_damaged_npz",
    "36": "datasets/test_load_data.py::test_poisoned_cache",
    "37": "datasets/test_get_file.py::test_poisoned_cache_is_an_error_not_a_download",
    "38": "datasets/test_get_file.py::test_failure_leaves_the_cache_as_it_was",
}


def test_all_38_cases_are_covered():
    numbers = {name[:2] for table in TABLES.values() for name in table}
    assert not {f"{i:02}" for i in range(1, 39)} - numbers - ELSEWHERE.keys()
    for place in ELSEWHERE.values():
        path, _, name = place.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
        made = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        made |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets
                 if isinstance(t, ast.Name)}  # fmt: skip
        assert name in made, place


def test_names_do_not_decide(tmp_path):
    """Bytes of one format under the name of another."""
    small = cases.model()
    small.save(tmp_path / "model.keras")
    small.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "zip.weights.h5").write_bytes((tmp_path / "model.keras").read_bytes())
    (tmp_path / "hdf5.keras").write_bytes((tmp_path / "model.weights.h5").read_bytes())
    with pytest.raises(CorruptFileError, match="not an HDF5 file"):
        small.load_weights(tmp_path / "zip.weights.h5")
    with pytest.raises(CorruptFileError):
        load_model(tmp_path / "hdf5.keras")


def test_built_in_classes_cannot_be_replaced(tmp_path):
    class Dense(layers.Layer):
        def call(self, inputs):
            raise AssertionError("a built-in class was replaced")

    cases.model().save(tmp_path / "model.keras")
    with keras.saving.CustomObjectScope({"Dense": Dense, "Adam": Dense}):
        loaded = load_model(tmp_path / "model.keras", custom_objects={"Dense": Dense})
    assert type(loaded.layers[1]) is layers.Dense


def test_every_loader_has_the_policy_argument():
    """No switch allows code; callers of Keras may pass the argument all the same."""
    for function in (keras.saving.load_model, keras.saving.deserialize_keras_object,
                     keras.models.load_model):  # fmt: skip
        assert inspect.signature(function).parameters["safe_mode"].default is True


def test_only_regular_files(tmp_path):
    (tmp_path / "folder.keras").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")
    (tmp_path / "dangling.keras").symlink_to(tmp_path / "nothing")
    for name in ("folder", "pipe"):
        with pytest.raises(CorruptFileError, match="not a regular file"):
            load_model(tmp_path / f"{name}.keras")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "dangling.keras")


# ---- the budget ----------------------------------------------------------------------------------


def test_budgets_add_up(tmp_path):
    """Arrays of which each is small enough, and one text that many attributes refer to."""
    small = cases.model()
    path = tmp_path / "model.weights.h5"
    small.save_weights(path)
    with h5py.File(path, "r+") as h5:
        del h5[cases.KERNEL]
        h5.create_dataset(cases.KERNEL, data=np.zeros((4, 3), "float64"), compression="gzip")
    small.load_weights(path, budget=Budget(bytes_allocated=2000))
    with pytest.raises(UnsafeFileError, match=r"bytes allocated(.|\n)*Budget\(bytes_allocated="):
        small.load_weights(path, budget=Budget(bytes_allocated=200))
    with h5py.File(tmp_path / "old.h5", "w") as h5:
        kind = h5py.string_dtype()
        h5.attrs.create("layer_names", np.full(3000, "x" * 2**12, object), dtype=kind)
        h5.attrs["backend"] = "jax"
    with pytest.raises(UnsafeFileError, match="bytes allocated"):
        small.load_weights(tmp_path / "old.h5", budget=Budget(bytes_allocated=2**20))


def twos(depth):
    value = []
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": twos(40)}, "at most 2,000,000 nodes"),
        ({"name": cases.nested(150)}, "at most 128 levels of nesting"),
    ],
    ids=["nodes", "depth"],
)
def test_configs_have_a_budget(config, said):
    for call in (
        lambda: layers.Dense.from_config({"units": 1, **config}),
        lambda: layers.deserialize({"class_name": "Dense", "config": {"units": 1, **config}}),
        lambda: keras.losses.get({"class_name": "Huber", "config": config}),
        lambda: keras.Model.from_config({"layers": [], "input_layers": [], **config}),
        lambda: keras.Sequential.from_config({"layers": [], **config}),
    ):
        with pytest.raises(UnsafeFileError) as caught:
            call()
        assert said in caught.value.expected or said in str(caught.value.subject)


def test_a_budget_can_be_raised():
    text = cases.model().to_json()
    for name, limits in (("nodes", {"nodes": 50}), ("depth", {"depth": 5})):
        with pytest.raises(UnsafeFileError) as caught:
            keras.models.model_from_json(text, budget=Budget(**limits))
        assert f"Budget({name}={2 * limits[name]}" in caught.value.cure or name == "nodes"
    assert keras.models.model_from_json(text, budget=Budget(nodes=10**4, depth=50)).count_params()


# Hypothesis's hook of the garbage collector may be what is running when the time is over.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_that_takes_too_long_is_ended(tmp_path):
    """It is one call of the library, which looks at no clock."""
    change = cases.new(
        "SpectralNormalization", layer=cases.gadget("keras.layers", "Dense", units=2),
        power_iterations=10**8,
    )  # fmt: skip
    config = json.loads(cases.model().to_json())
    change(config, tmp_path)
    with pytest.raises(UnsafeFileError, match=r"at most 0\.5 seconds(.|\n)*Budget\(seconds="):
        keras.models.model_from_json(json.dumps(config), budget=Budget(seconds=0.5))
    assert keras.layers.Dense(2)(np.ones((1, 2))).shape == (1, 2)  # nothing is left behind


def test_errors_of_users_code_are_causes():
    class Breaks(layers.Layer):
        def __init__(self, **kwargs):
            raise ZeroDivisionError("mine")

    with pytest.raises(SerializationError, match="mine") as caught:
        keras.layers.deserialize(
            {"class_name": "Breaks", "config": {}, "module": None}, {"Breaks": Breaks}
        )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_whole_budget_is_not_needed(tmp_path):
    """A large layer needs memory when it is used, not when it is described."""
    inputs = keras.Input((2**20,))
    text = keras.Model(inputs, layers.Dense(2**16)(inputs)).to_json()
    assert keras.models.model_from_json(text).count_params() == 2**16 * (2**20 + 1)


@pytest.mark.skipif("LAMINA_TEST_DATA" not in os.environ, reason="needs LAMINA_TEST_DATA")
def test_a_file_on_which_the_c_library_never_ends():
    path = Path(os.environ["LAMINA_TEST_DATA"], "hostile", "hang.weights-legacy.h5")
    if not path.exists():
        pytest.skip(f"no {path}")
    code = (
        "import sys, lamina as keras\n"
        "m = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])\n"
        "try:\n    m.load_weights(sys.argv[1])\n"
        "except keras.errors.LaminaError:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True,
        timeout=120, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.stdout.split() == ["refused"]
