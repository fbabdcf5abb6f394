# ruff: noqa: E501 - tables
"""Models in several files: weights with an index, members in a folder; and probes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import keras as oracle
import numpy as np
import pytest
from safetensors.numpy import load_file

import lamina as keras
from lamina import layers
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    SavingWarning,
    StructureError,
    UnsafeFileError,
)
from lamina.saving import Budget, load_model

X = np.random.default_rng(0).normal(size=(8, 16)).astype("float32")
SHARD = 1200 / 2**30  # in GiB: the kernels have 1,024 bytes, and 192
NAMES = ["model.weights.json", "model.safetensors.index.json"]


def build(library, seed=0):
    inputs = library.Input((16,))
    x = library.layers.Dense(16, activation="relu", name="first")(inputs)
    x = library.layers.BatchNormalization(name="norm")(x)
    inner = library.Sequential(
        [library.Input((16,)), library.layers.Dense(16), library.layers.Dense(3)], name="inner"
    )
    model = library.Model(inputs, inner(x))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    return model


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


def weights_equal(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


# ---- weights in several files --------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for name in NAMES:
        build(keras).save_weights(folder / name, max_shard_size=SHARD)
    return folder


def test_keras_reads_our_files_and_we_read_theirs(tmp_path):
    ours, theirs = build(keras, 1), build(oracle, 2)
    theirs.compile("adam", "mse")  # whose state Keras saves too, in four more files
    theirs.fit(X, X[:, :3], verbose=0)
    theirs.save_weights(tmp_path / "theirs.weights.json", max_shard_size=SHARD)
    assert len(list(tmp_path.glob("theirs_*.weights.h5"))) > 3
    ours.load_weights(tmp_path / "theirs.weights.json")
    assert weights_equal(ours.get_weights(), theirs.get_weights())
    ours.set_weights([w + 1 for w in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.json", max_shard_size=SHARD)
    assert {"ours_00000.weights.h5", "ours_00001.weights.h5"} <= set(os.listdir(tmp_path))
    another = build(oracle)
    another.load_weights(tmp_path / "ours.weights.json")
    assert weights_equal(ours.get_weights(), another.get_weights())


def test_the_index_of_safetensors_is_that_of_everyone(shards):
    """Read as loaders of Hugging Face do: the index, then each file with the library."""
    index = json.loads((shards / NAMES[1]).read_text())
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-{i:05}-of-00004.safetensors" for i in range(1, 5)]
    arrays = {}
    for file in files:
        loaded = load_file(shards / file)
        assert {name for name, f in index["weight_map"].items() if f == file} == set(loaded)
        arrays |= loaded
    expected = build(keras).get_weights()
    assert index["metadata"]["total_size"] == sum(w.nbytes for w in expected)
    assert weights_equal(arrays.values(), expected)
    for name, array in arrays.items():
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        assert index["metadata"]["sha256"][name] == digest


@pytest.mark.parametrize("name", NAMES)
def test_weights_in_several_files(name, shards):
    model = build(keras, 1)
    model.load_weights(shards / name)
    assert weights_equal(model.get_weights(), build(keras).get_weights())
    report = keras.inspect(shards / name)
    assert "several files" in report.format
    assert sum(np.prod(x.shape) for x in report.arrays) == model.count_params()
    with pytest.raises(UnsafeFileError, match="bytes allocated"):
        model.load_weights(shards / name, budget=Budget(bytes_allocated=2000))


@pytest.mark.parametrize(
    ("given", "index"), [("m.weights.h5", "m.weights.json"),
                         ("m.safetensors", "m.safetensors.index.json")],
)  # fmt: skip
def test_the_path_of_a_single_file_becomes_that_of_the_index(given, index, tmp_path):
    with pytest.warns(SavingWarning, match=index):
        build(keras).save_weights(tmp_path / given, max_shard_size=SHARD)
    assert (tmp_path / index).exists()
    assert not (tmp_path / given).exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [None, *range(5)])
def test_weights_are_replaced_whole_or_not_at_all(name, broken, tmp_path, monkeypatch):
    """``broken``: how many files were replaced when the program ended."""
    first, second = build(keras, 1), build(keras, 2)
    first.save_weights(tmp_path / name, max_shard_size=SHARD)
    before = set(os.listdir(tmp_path))
    replace, done = Path.replace, []

    def ends(part, target):
        if len(done) == broken:
            raise KeyboardInterrupt
        done.append(target)
        return replace(part, target)

    again = build(keras)
    if broken is None:
        second.save_weights(tmp_path / name, max_shard_size=SHARD)
        assert set(os.listdir(tmp_path)) == before
        if name == NAMES[0]:
            theirs = build(oracle)
            theirs.load_weights(tmp_path / name)
            assert weights_equal(theirs.get_weights(), second.get_weights())
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", ends)
            with pytest.raises(KeyboardInterrupt):
                second.save_weights(tmp_path / name, max_shard_size=SHARD)
    again.load_weights(tmp_path / name)
    expected = second if broken is None else first
    assert weights_equal(again.get_weights(), expected.get_weights())
    second.save_weights(tmp_path / name, max_shard_size=SHARD)
    again.load_weights(tmp_path / name)
    assert weights_equal(again.get_weights(), second.get_weights())
    assert set(os.listdir(tmp_path)) == before


def test_an_index_does_not_have_the_files_of_others_removed(tmp_path):
    model = build(keras)
    (tmp_path / "other.weights.h5").write_bytes(b"of others")
    (tmp_path / NAMES[0]).write_text(json.dumps({"weight_map": {"/a": "other.weights.h5"}}))
    model.save_weights(tmp_path / NAMES[0], max_shard_size=SHARD)
    assert (tmp_path / "other.weights.h5").read_bytes() == b"of others"


def test_what_cannot_be_written(tmp_path):
    model = build(keras)
    for name in NAMES:
        with pytest.raises(ArgumentError, match="max_shard_size"):
            model.save_weights(tmp_path / name)
        with pytest.raises(ArgumentError, match=r"larger than `max_shard_size`(.|\n)*at least"):
            model.save_weights(tmp_path / name, max_shard_size=SHARD / 2)
        for size in (0, -1, "5GB", True, float("nan")):
            with pytest.raises(ArgumentError, match="above 0"):
                model.save_weights(tmp_path / name, max_shard_size=size)
    assert list(tmp_path.iterdir()) == []
    model.save_weights(tmp_path / NAMES[0], max_shard_size=SHARD)
    (tmp_path / NAMES[0]).unlink()
    before = files_in(tmp_path)
    with pytest.raises(FileExistsError, match="model_00000"):
        model.save_weights(tmp_path / NAMES[0], overwrite=False, max_shard_size=SHARD)
    assert files_in(tmp_path) == before


def test_a_model_of_another_architecture(shards):
    other = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="first")])
    before = other.get_weights()
    for name in NAMES:
        with pytest.raises(StructureError, match="not in the model"):
            other.load_weights(shards / name)
    assert weights_equal(before, other.get_weights())


def edited(name, change):
    """A change of the JSON text of an index."""

    def edit(folder):
        index = json.loads((folder / name).read_text())
        change(index)
        (folder / name).write_text(json.dumps(index))

    return edit


def first_file(folder, name):
    stem = "model_0" if name == NAMES[0] else "model-0"
    return min(p for p in folder.iterdir() if p.name.startswith(stem))


def of_another_save(folder, name):
    build(keras, 7).save_weights(folder / "other" / name, max_shard_size=SHARD)
    shutil.copy(first_file(folder / "other", name), first_file(folder, name))


def swapped(folder, name):
    a, b, *_ = sorted(
        p for p in folder.iterdir() if p.name[:6] == first_file(folder, name).name[:6]
    )
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)


def linked(folder, name):
    file = first_file(folder, name)
    file.rename(folder / "elsewhere")
    file.symlink_to(folder / "elsewhere")


def moved(key, target):
    """A change of the index: the file of an array, or an array that is in no file."""

    def change(folder, name):
        def update(index):
            table = index["weight_map"]
            first = next(iter(table))
            table[key or first] = table[first] if target is None else target

        edited(name, update)(folder)

    return change


DAMAGE = {
    "a file is missing": (lambda f, n: first_file(f, n).unlink(), CorruptFileError, "not in its folder"),
    "a file of another save": (of_another_save, CorruptFileError, "another digest"),
    "files swapped": (swapped, CorruptFileError, "does not match its files"),
    "a truncated file": (lambda f, n: os.truncate(first_file(f, n), 600), CorruptFileError, "."),
    "a link": (linked, UnsafeFileError, "is a link"),
    "a pipe": (lambda f, n: (first_file(f, n).rename(f / "x"), os.mkfifo(first_file(f, n).parent / "model_00000.weights.h5" if n == NAMES[0] else f / "model-00001-of-00004.safetensors")), CorruptFileError, "regular file|not in its folder"),
    "a path upwards": (moved(None, "../model.h5"), UnsafeFileError, "plain name"),
    "an absolute path": (moved(None, "/etc/passwd"), UnsafeFileError, "plain name"),
    "a backslash": (moved(None, "a\\b.h5"), UnsafeFileError, "plain name"),
    "a drive": (moved(None, "C:b.h5"), UnsafeFileError, "plain name"),
    "the folder": (moved(None, "."), UnsafeFileError, "plain name"),
    "a number": (moved(None, 7), UnsafeFileError, "plain name"),
    "a nested list": (moved(None, [["x"]]), UnsafeFileError, "plain name"),
    "an array too many in the index": (moved("more", None), LaminaError, "."),
    "an array too few": (lambda f, n: edited(n, lambda i: i["weight_map"].pop(next(iter(i["weight_map"]))))(f), CorruptFileError, "does not match|missing from the file"),
    "a digest too few": (lambda f, n: edited(n, lambda i: i["metadata"]["sha256"].popitem())(f), CorruptFileError, "added to the file"),
    "no table": (lambda f, n: edited(n, lambda i: i.pop("weight_map"))(f), CorruptFileError, "no 'weight_map'"),
    "not JSON": (lambda f, n: (f / n).write_text("{"), CorruptFileError, "not valid JSON"),
    "a list": (lambda f, n: (f / n).write_text("[1]"), CorruptFileError, "no 'weight_map'"),
    "a key twice": (lambda f, n: (f / n).write_text('{"weight_map": {}, "weight_map": {}}'), CorruptFileError, "twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_weights_change_nothing(what, name, shards, tmp_path):
    change, error, said = DAMAGE[what]
    shutil.copytree(shards, tmp_path, dirs_exist_ok=True)
    (tmp_path / "other").mkdir()
    change(tmp_path, name)
    model = build(keras, 1)
    before = model.get_weights()
    with pytest.raises(error, match=said):
        model.load_weights(tmp_path / name)
    assert weights_equal(before, model.get_weights())
    with pytest.raises(error):
        keras.inspect(tmp_path / name)


# ---- folders -------------------------------------------------------------------------------------


def texts(library):
    """A model whose layer has a file of its own."""
    layer = library.layers.StringLookup(output_mode="one_hot")
    layer.adapt(np.array(["a", "b", "c"]))
    inputs = library.Input((1,), dtype="string")
    return library.Model(inputs, library.layers.Dense(2)(layer(inputs)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("folders") / "model"
    model = build(keras)
    model.compile("adam", "mse")
    model.fit(X, X[:, :3], verbose=0)
    model.save(path, zipped=False, probe=X[:2])
    return path


def test_folders_both_ways(folder, tmp_path):
    again, theirs = load_model(folder), oracle.saving.load_model(folder)
    assert weights_equal(again.get_weights(), theirs.get_weights())
    for a, b in zip(again.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    theirs.save(tmp_path / "theirs", zipped=False)
    again = load_model(str(tmp_path / "theirs"))
    assert weights_equal(again.get_weights(), theirs.get_weights())
    report = keras.inspect(tmp_path / "theirs")
    assert (report.format, report.compiled) == ("folder of a model", True)


def test_a_folder_is_made_or_only_what_is_a_models_is_replaced(tmp_path):
    model = texts(keras)
    model.save(tmp_path / "m", zipped=False)
    vocabulary = tmp_path / "m" / "assets" / "layers" / "string_lookup" / "vocabulary.txt"
    assert vocabulary.exists()
    again = load_model(tmp_path / "m")
    data = np.array([["b"], ["z"]])
    np.testing.assert_array_equal(again.predict(data, verbose=0), model.predict(data, verbose=0))
    (tmp_path / "m" / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "m", overwrite=False, zipped=False)
    build(keras).save(tmp_path / "m", zipped=False)
    assert files_in(tmp_path / "m").keys() == {
        "README.md", "config.json", "metadata.json", "model.weights.h5"
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert weights_equal(load_model(tmp_path / "m").get_weights(), build(keras).get_weights())


def test_folders_of_others_stay_as_they_are(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "logo.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"assets.*not the folder of a model"):
        build(keras).save(tmp_path, zipped=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError):
        build(keras).save(tmp_path / "file", zipped=False)
    assert files_in(tmp_path) == {"assets/logo.png": b"mine", "file": b"mine"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("m.keras", {"zipped": False}), ("m.h5", {"zipped": False}), ("m.h5", {"zipped": True}),
     ("m", {"zipped": True}), ("m", {}), ("m.h5", {"probe": X})],
)  # fmt: skip
def test_names_say_what_is_written(name, options, tmp_path):
    with pytest.raises(ArgumentError, match="m"):
        build(keras).save(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_folder(folder, tmp_path):
    class Breaks(layers.Layer):
        def call(self, x):
            return x

        def save_assets(self, folder):
            raise RuntimeError("mine")

        def load_assets(self, folder):
            pass

    shutil.copytree(folder, tmp_path / "m")
    before = files_in(tmp_path)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), Breaks()])
    with pytest.raises(RuntimeError, match="mine"):
        model.save(tmp_path / "m", zipped=False)
    assert files_in(tmp_path) == before


def flipped(name):
    """A change of the last bit of an array."""

    def change(folder):
        content = bytearray((folder / name).read_bytes())
        array = load_model(folder).get_weights()[0] if name.endswith("h5") else X[:2]
        content[content.index(array.tobytes()) + 4] ^= 1
        (folder / name).write_bytes(bytes(content))

    return change


ALTERED = {
    "config": (lambda f: (f / "config.json").write_text(
        (f / "config.json").read_text().replace("relu", "tanh")), CorruptFileError, "config.json"),
    "weights": (flipped("model.weights.h5"), CorruptFileError, "."),
    "probe": (flipped("probe.safetensors"), CorruptFileError, "."),
    "probe missing": (lambda f: (f / "probe.safetensors").unlink(), CorruptFileError, "missing"),
    "asset added": (lambda f: ((f / "assets").mkdir(), (f / "assets" / "x").write_text("")),
                    CorruptFileError, "added"),
    "config missing": (lambda f: (f / "config.json").unlink(), CorruptFileError, "lacks"),
    "weights linked": (lambda f: ((f / "model.weights.h5").rename(f.parent / "w"),
                                  (f / "model.weights.h5").symlink_to(f.parent / "w")),
                       UnsafeFileError, "is a link"),
    "assets linked": (lambda f: (f / "assets").symlink_to(f.parent), UnsafeFileError, "is a link"),
    "asset linked": (lambda f: ((f / "assets").mkdir(), (f / "assets" / "x").symlink_to("/etc/passwd")),
                     UnsafeFileError, "is a link"),
    "asset is a pipe": (lambda f: ((f / "assets").mkdir(), os.mkfifo(f / "assets" / "x")),
                        UnsafeFileError, "not a regular file"),
    "config is a pipe": (lambda f: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")),
                         UnsafeFileError, "not a regular file"),
    "config is a folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()),
                           UnsafeFileError, "not a regular file"),
    "config of another model": (lambda f: (f / "config.json").write_text("{}"), CorruptFileError,
                                "another digest"),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_altered_folders_are_found_out(what, folder, tmp_path):
    change, error, said = ALTERED[what]
    shutil.copytree(folder, tmp_path / "m")
    load_model(tmp_path / "m", budget=Budget(probe_operations=0))
    change(tmp_path / "m")
    with pytest.raises(error, match=said):
        load_model(tmp_path / "m")


# ---- probes --------------------------------------------------------------------------------------


class Scaled(layers.Layer):
    factor = 2.0

    def call(self, x):
        return x * Scaled.factor


def test_a_probe_tells_that_code_was_changed(tmp_path, monkeypatch):
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    both = layers.Dense(3)(inputs["a"]) + layers.Dense(3)(inputs["b"])
    model = keras.Model(inputs, {"sum": Scaled()(both), "max": keras.ops.max(both, axis=-1)})
    x = {"b": X[:2, :4], "a": X[:2, 4:8]}
    model.save(tmp_path / "m.keras", probe=x)
    own = {"Scaled": Scaled}
    load_model(tmp_path / "m.keras", own)
    largest = float(np.abs(model.predict(x, verbose=0)["sum"]).max()) / 2
    monkeypatch.setattr(Scaled, "factor", 3.0)
    with pytest.raises(CorruptFileError, match="other outputs") as caught:
        load_model(tmp_path / "m.keras", own)
    assert caught.value.received.startswith(f"{largest:.3g} in output")
    assert "Budget(probe_operations=0)" in caught.value.cure
    load_model(tmp_path / "m.keras", own, budget=Budget(probe_operations=0))
    monkeypatch.setattr(Scaled, "factor", np.ones((1, 1, 1)))
    with pytest.raises(CorruptFileError, match="shapes"):
        load_model(tmp_path / "m.keras", own)


def test_keras_reads_archives_with_a_probe(tmp_path):
    model = build(keras)
    model.save(tmp_path / "m.keras", probe=X)
    theirs = oracle.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(theirs.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


def test_a_folder_without_its_probe_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    model.save(tmp_path / "m", zipped=False, probe=X[:, :4])
    metadata = json.loads((tmp_path / "m" / "metadata.json").read_text())
    del metadata["lamina"]["files"]["probe.safetensors"]
    (tmp_path / "m" / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "m" / "probe.safetensors").unlink()
    with pytest.raises(CorruptFileError, match=r"no file 'probe\.safetensors'"):
        load_model(tmp_path / "m")


def test_a_probe_changes_nothing_else(tmp_path):
    """Neither saving nor loading it draws random numbers, or counts as a run."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    runs = model.runs_taken
    model.save(tmp_path / "m.keras", probe=X[:, :4])
    assert model.runs_taken == runs
    assert load_model(tmp_path / "m.keras").runs_taken == 0


def test_a_probe_that_costs_much_is_not_computed(tmp_path):
    model = keras.Sequential([keras.Input((512,)), layers.Dense(512), layers.Dense(512)])
    model.save(tmp_path / "m.keras", probe=np.ones((64, 512)))
    with pytest.warns(SavingWarning, match=r"not compared.*probe_operations"):
        load_model(tmp_path / "m.keras", budget=Budget(probe_operations=2e7))
    wide = keras.Input((4,))
    large = keras.ops.sum(keras.ops.tile(wide, (1, 2**26)), axis=-1)
    model = keras.Model(wide, large)
    model.save(tmp_path / "w.keras", probe=np.ones((1, 4)))
    with pytest.raises(UnsafeFileError, match="bytes allocated"):
        load_model(tmp_path / "w.keras")


@pytest.mark.parametrize("probe", [np.array([["a"]]), "text", X[:, :5], [X, X], {"other": X}])
def test_probes_are_inputs_of_the_model(probe, tmp_path):
    with pytest.raises(ArgumentError, match="probe"):
        build(keras).save(tmp_path / "m.keras", probe=probe)
    assert list(tmp_path.iterdir()) == []


def test_layers_of_the_host_have_no_probe(tmp_path):
    inputs = keras.Input((1,), dtype="int64")
    model = keras.Model(inputs, layers.Hashing(num_bins=3)(inputs))
    with pytest.raises(ArgumentError, match="on the host"):
        model.save(tmp_path / "m.keras", probe=np.ones((2, 1), "int64"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_probes_of_short_floats(dtype, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=dtype)])
    model.save(tmp_path / "m.keras", probe=X[:, :4])
    load_model(tmp_path / "m.keras")
