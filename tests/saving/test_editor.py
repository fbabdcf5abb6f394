# ruff: noqa: E501 - tables
"""The editor of weights files, next to Keras's on the same files."""

import inspect

import keras as oracle
import numpy as np
import pytest

import lamina as keras
from lamina.errors import ArgumentError, CorruptFileError, UnknownNameError, UnsafeFileError
from lamina.saving import KerasFileEditor


def build(library, last=2):
    return library.Sequential(
        [library.Input((4,)), library.layers.Dense(3, name="first"),
         library.layers.BatchNormalization(name="norm"), library.layers.Dense(last, name="last")]
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """A file of Keras, for the architecture of today."""
    model = build(oracle)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(size=w.shape) for w in model.get_weights()])
    model.save_weights(tmp_path / "theirs.weights.h5")
    return tmp_path / "theirs.weights.h5"


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, np.asarray(value)


def arrays(editor):
    return dict(leaves(editor.weights_dict))


EDITS = {
    "rename": lambda e: e.rename_object("layers/dense", "einsum_dense"),
    "rename by name": lambda e: e.rename_object("batch_normalization", "norm"),
    "delete": lambda e: e.delete_object("layers/dense_1"),
    "add": lambda e: e.add_object("layers/dense_2", {"0": np.ones((2, 2)), "1": np.ones(2)}),
    "replace": lambda e: e.add_object("layers/dense_1", {"0": np.ones((3, 9), "float32")}),
    "at the top": lambda e: e.add_object("other", {"0": np.ones(2)}),
    "delete a weight": lambda e: e.delete_weight("layers/dense", "1"),
    "add weights": lambda e: e.add_weights("dense_1", {"1": np.zeros(7), "2": np.ones(3)}),
    "all": lambda e: (e.delete_object("dense"), e.rename_object("dense_1", "dense"),
                      e.add_weights("dense", {"1": np.zeros(2)})),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_edits_are_those_of_keras(what, path, tmp_path):
    ours, theirs = KerasFileEditor(path), oracle.saving.KerasFileEditor(str(path))
    for name, editor in (("ours", ours), ("theirs", theirs)):
        EDITS[what](editor)
        editor.resave_weights(str(tmp_path / f"{name}.weights.h5"))
    saved = [arrays(KerasFileEditor(tmp_path / f"{n}.weights.h5")) for n in ("ours", "theirs")]
    assert saved[0].keys() == saved[1].keys() == arrays(ours).keys()
    for key, value in saved[0].items():
        np.testing.assert_array_equal(value, saved[1][key])
    again = arrays(oracle.saving.KerasFileEditor(str(tmp_path / "ours.weights.h5")))
    assert again.keys() == saved[0].keys()


@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
def test_an_architecture_that_was_changed(suffix, tmp_path, capsys):
    old, new = build(keras), build(keras, last=5)
    old.compile("adam", "mse")
    old.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
    path = tmp_path / f"m.{suffix}"
    (old.save if suffix == "keras" else old.save_weights)(path)
    editor = KerasFileEditor(path)
    count = len(arrays(editor))
    assert editor.compare(old) == {"status": "success", "error_count": 0, "match_count": count}
    if suffix == "keras":
        assert editor.metadata["keras_version"] == oracle.__version__
        assert editor.config["class_name"] == "Sequential"
        editor.delete_object("optimizer")
    assert editor.compare(new) == {"status": "error", "error_count": 2, "match_count": 6}
    assert "layers/dense_1/0: shape (3, 2) in the file, (3, 5) in the model" in (
        capsys.readouterr().out
    )  # fmt: skip
    editor.add_weights("layers/dense_1", {"0": np.ones((3, 5)), "1": np.ones(5)})
    editor.add_object("layers/more", {"0": np.ones(3)})
    assert editor.compare(new) == {"status": "error", "error_count": 1, "match_count": 8}
    editor.delete_object("more")
    editor.save(tmp_path / "new.weights.h5")
    new.load_weights(tmp_path / "new.weights.h5")
    np.testing.assert_array_equal(new.get_weights()[0], old.get_weights()[0])
    np.testing.assert_array_equal(new.get_weights()[-1], np.ones(5))


def test_models_in_models_and_names(tmp_path, capsys):
    inner = oracle.Sequential([oracle.Input((3,)), oracle.layers.Dense(3)], name="inner")
    theirs = oracle.Sequential([oracle.Input((3,)), oracle.layers.Dense(3, name="own"), inner])
    theirs.save(tmp_path / "m.keras")
    editor = KerasFileEditor(tmp_path / "m.keras")
    assert arrays(editor).keys() == {
        "layers/dense/0", "layers/dense/1", "layers/sequential/layers/dense/0",
        "layers/sequential/layers/dense/1",
    }  # fmt: skip
    assert editor.object_metadata["/layers/dense"] == {"name": "own"}
    editor.summary()
    shown = capsys.readouterr().out
    assert "dense ('own')" in shown
    assert "0: shape=(3, 3), dtype=float32" in shown
    with pytest.raises(ArgumentError, match=r"2 objects named 'dense'(.|\n)*layers/sequential"):
        editor.delete_object("dense")
    # A path is one object, even if it is a name that others have too.
    editor.add_object("layers/dense_1", {"0": np.ones(2)})
    editor.rename_object("layers", "inside")
    assert arrays(editor).keys() == {
        "inside/dense/0", "inside/dense/1", "inside/dense_1/0",
        "inside/sequential/layers/dense/0", "inside/sequential/layers/dense/1",
    }  # fmt: skip
    editor.delete_object("layers")
    assert not any("sequential/layers" in name for name in arrays(editor))


def test_parameters_are_those_of_keras():
    for name, method in inspect.getmembers(oracle.saving.KerasFileEditor, inspect.isfunction):
        if name[0] != "_":
            theirs = list(inspect.signature(method).parameters)
            assert list(inspect.signature(getattr(KerasFileEditor, name)).parameters) == theirs


MISTAKES = {
    "no such object": (lambda e, _: e.delete_object("layers/dens"), UnknownNameError, "layers/dense"),
    "no such path": (lambda e, _: e.add_object("nowhere/dense", {}), UnknownNameError, "nowhere"),
    "no such weight": (lambda e, _: e.delete_weight("layers/dense", "7"), UnknownNameError, "'0', '1'"),
    "a weight as object": (lambda e, _: e.add_weights("layers/dense/0", {}), ArgumentError, "is a weight"),
    "into a weight": (lambda e, _: e.rename_object("layers/dense/0/0", "x"), UnknownNameError, "object"),
    "a path as name": (lambda e, _: e.rename_object("layers/dense", "a/b"), ArgumentError, "last part"),
    "a name that is taken": (lambda e, _: e.rename_object("layers/dense", "dense_1"), ArgumentError, "last part"),
    "a list of weights": (lambda e, _: e.add_object("x", [1]), ArgumentError, "dict of arrays"),
    "texts": (lambda e, _: e.add_object("x", {"0": "text"}), ArgumentError, "numbers"),
    "a name with a slash": (lambda e, _: e.add_object("x", {"a/b": np.ones(2)}), ArgumentError, "dict of arrays"),
    "another suffix": (lambda e, f: e.save(f / "x.keras"), ArgumentError, "weights.h5"),
    "no folder": (lambda e, f: e.save(f / "none" / "x.weights.h5"), FileNotFoundError, "no folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_change_nothing(what, path, tmp_path):
    call, error, said = MISTAKES[what]
    editor = KerasFileEditor(path)
    before = arrays(editor)
    with pytest.raises(error, match=said):
        call(editor, tmp_path)
    assert arrays(editor).keys() == before.keys()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_files_that_are_not_read(path, tmp_path):
    with pytest.raises(ArgumentError, match="end in"):
        KerasFileEditor(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError):
        KerasFileEditor(tmp_path / "x.weights.h5")
    (tmp_path / "x.weights.h5").write_bytes(b"text")
    with pytest.raises(CorruptFileError, match="not an HDF5 file"):
        KerasFileEditor(tmp_path / "x.weights.h5")
    with pytest.raises(UnsafeFileError, match="bytes allocated"):
        KerasFileEditor(path, budget=keras.saving.Budget(bytes_allocated=10))
