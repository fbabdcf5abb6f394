"""Files themselves: names, options, what damaged ones say, and what loading leaves untouched."""

import copy
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import zipfile

import h5py
import keras as oracle
import ml_dtypes
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    NotBuiltError,
    SavingWarning,
    StructureError,
    UnsafeFileError,
)
from lamina.saving import load_model

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def make(units=3, last=2, compiled=True):
    inputs = keras.Input((4,))
    x = layers.Dense(units, activation="relu", name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(last, name="second")(x), name="small")
    if compiled:
        model.compile("adam", "mse")
    return model


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    model = make()
    model.fit(X, X[:, :2], verbose=0)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    model.save_weights(folder / "model.safetensors")
    return folder


@pytest.fixture
def saved(originals, tmp_path):
    """A file of each kind."""
    return shutil.copytree(originals, tmp_path, dirs_exist_ok=True)


def weights_equal(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


# ---- names and options ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "model.zip", "model.weights.h5"])
def test_a_model_goes_to_a_name_that_says_so(name, tmp_path):
    with pytest.raises(ArgumentError, match=r"must end in '\.keras'.*save_weights"):
        make().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model", "model.h5", "model.keras", "model.ckpt"])
def test_weights_go_to_a_name_that_says_so(name, tmp_path):
    with pytest.raises(ArgumentError, match=r"'\.weights\.h5' or '\.safetensors'"):
        make().save_weights(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_export_is_absent():
    assert not hasattr(make(), "export")


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.safetensors"])
def test_overwrite_and_folders(name, saved):
    verb = "save" if name.endswith(".keras") else "save_weights"
    before = (saved / name).read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        getattr(make(), verb)(saved / name, overwrite=False)
    assert (saved / name).read_bytes() == before
    with pytest.raises(FileNotFoundError, match="no folder"):
        getattr(make(), verb)(saved / "nowhere" / name)
    getattr(make(), verb)(str(saved / name))
    assert (saved / name).read_bytes() != before
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((saved / name).stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("m.keras", "m.keras"), ("m.h5", "m.h5"), ("m.weights.h5", "m.weights.h5"),
        ("m.safetensors", "m.safetensors"), ("m.weights.json", "m.weights.json"),
        ("m.weights.json", "m_00000.weights.h5"),
    ],
)  # fmt: skip
def test_a_folder_in_the_place_of_a_file(name, taken, tmp_path):
    (tmp_path / taken).mkdir()
    weights = "weights" in name or name.endswith("safetensors")
    options = {"max_shard_size": 1} if name.endswith(".json") else {}
    with pytest.raises(IsADirectoryError, match=f"{taken}' is a folder, and a file"):
        (make().save_weights if weights else make().save)(tmp_path / name, **options)
    assert [p.name for p in tmp_path.rglob("*")] == [taken]


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_file_is_written_where_a_link_leads(name, exists, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if exists:
        (folder / name).write_bytes(b"old")
    (tmp_path / name).symlink_to(folder / name)
    (make().save_weights if "weights" in name else make().save)(tmp_path / name)
    assert (tmp_path / name).is_symlink()
    assert (folder / name).stat().st_size > 1000
    assert {p.name for p in tmp_path.rglob("*")} == {"elsewhere", name}


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5", "m.safetensors"])
def test_a_pipe_is_not_replaced(name, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / name).symlink_to("pipe")
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    save = model.save_weights if name in ("m.weights.h5", "m.safetensors") else model.save
    with pytest.raises(FileExistsError, match="a device or a pipe"):
        save(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"model' is a file, and a folder"):
        make().save(tmp_path / "model", zipped=False)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "mine"


def test_a_relative_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make()
    model.save("model.keras")
    model.save_weights("model.weights.h5")
    load_model("model.keras").load_weights("model.weights.h5")
    assert {p.name for p in tmp_path.iterdir()} == {"model.keras", "model.weights.h5"}


@pytest.mark.parametrize("name", ["model.weights.h5", "model.safetensors"])
def test_weights_alone(name, saved):
    model, other = load_model(saved / "model.keras"), make()
    other.load_weights(saved / name)
    assert weights_equal(model.get_weights(), other.get_weights())


def test_an_unbuilt_model_has_no_weights_to_save_or_load(saved):
    model = keras.Sequential([layers.Dense(2)])
    for verb, name in (("save_weights", "n.weights.h5"), ("load_weights", "model.weights.h5")):
        with pytest.raises(NotBuiltError, match="no weights yet"):
            getattr(model, verb)(saved / name)


def test_an_unbuilt_model_is_copied_without_a_warning():
    model = keras.Sequential([layers.Dense(2, name="head")])
    model.compile("adam", "mse")
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        again.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        assert again.get_layer("head").kernel.shape == (3, 2)
    assert not model.built


def test_safetensors_are_those_of_everyone(saved, tmp_path):
    """The bytes as the format's description has them, read by hand; and bfloat16."""
    inputs = keras.Input((2,))
    dense = layers.Dense(3, dtype="bfloat16", name="half")
    model = keras.Model(inputs, dense(inputs))
    dense.set_weights([np.arange(6.0).reshape(2, 3), np.ones(3)])
    model.save_weights(tmp_path / "half.safetensors")
    content = (tmp_path / "half.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header["half/kernel"] == {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    assert header["__metadata__"] == {"format": "pt"}  # without it, transformers 4 loads nothing
    assert (8 + length) % 8 == 0
    values = np.frombuffer(content[8 + length :], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(values.astype(float), [0, 1, 2, 3, 4, 5, 1, 1, 1])
    before = model.get_weights()
    dense.set_weights([np.zeros((2, 3)), np.zeros(3)])
    # Arrays that begin at a multiple of 64 bytes are those that JAX would take without a copy.
    text = content[8 : 8 + length] + b" " * (-(8 + length) % 64)
    aligned = struct.pack("<Q", len(text)) + text + content[8 + length :]
    (tmp_path / "half.safetensors").write_bytes(aligned)
    model.load_weights(tmp_path / "half.safetensors")
    with (tmp_path / "half.safetensors").open("rb+") as file:
        file.seek(8 + len(text))
        file.write(bytes(18))
    assert weights_equal(before, model.get_weights())


class Cells(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(3), layers.Dense(3)]

    def call(self, x):
        return self.parts[1](self.parts[0](x))


def test_addresses_do_not_depend_on_what_else_was_made(tmp_path):
    """Automatic names are numbered in the process; in a file they are numbered in the model."""

    def build():
        inputs = keras.Input((4,))
        inner = keras.Sequential([layers.Dense(3), layers.Dense(3)], name="stack")
        return keras.Model(inputs, Cells()(inner(layers.Dense(4)(layers.Dense(4)(inputs)))))

    first, second = build(), build()
    assert first.layers[1].name != second.layers[1].name
    first.save_weights(tmp_path / "model.safetensors")
    first.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", {"Cells": Cells})
    for model in (second, loaded):
        model.load_weights(tmp_path / "model.safetensors")
        assert weights_equal(first.get_weights(), model.get_weights())
    content = (tmp_path / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert [name for name in header if name.endswith("kernel")] == [
        "dense/kernel", "dense_1/kernel", "stack/dense/kernel", "stack/dense_1/kernel",
        "cells/parts/0/kernel", "cells/parts/1/kernel",
    ]  # fmt: skip


# ---- weights that do not fit ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.weights.h5", "model.safetensors"])
def test_what_does_not_fit_is_listed_and_nothing_changes(name, saved):
    model = make(units=5, last=2)
    before = model.get_weights()
    with pytest.raises(StructureError) as caught:
        model.load_weights(saved / name)
    said = str(caught.value)
    assert name in said
    assert "first/kernel: expected (4, 5), found (4, 3)" in said
    assert "first/bias: expected (5,), found (3,)" in said
    assert "second/kernel: expected (5, 2), found (3, 2)" in said
    assert "second/bias" not in said
    assert "skip_mismatch=True" in said
    assert weights_equal(before, model.get_weights())

    with pytest.warns(SavingWarning, match="first/kernel: expected"):
        model.load_weights(saved / name, skip_mismatch=True)
    trained = load_model(saved / "model.keras").get_weights()
    # Where weights only have numbers, those of a layer are skipped together, as in Keras.
    expected = [*before[:3], trained[3]] if name.endswith(".safetensors") else before
    assert weights_equal(expected, model.get_weights())


@pytest.mark.parametrize("way", ["model.weights.h5", "model.keras", "model.weights.json"])
@pytest.mark.parametrize("scales", [(True, False), (False, True)])
def test_weights_of_a_layer_that_has_more_or_fewer_are_skipped_together(scales, way, tmp_path):
    """Without a scale, the first weight of the layer is its offset, not that of the file."""
    there, here = (
        keras.Sequential([keras.Input((4,)), layers.BatchNormalization(scale=scale),
                          layers.Dense(4)])
        for scale in scales
    )  # fmt: skip
    for model, start in ((there, 1.0), (here, 0.0)):
        model.set_weights([np.full(w.shape, start + i) for i, w in enumerate(model.get_weights())])
    if way.endswith(".keras"):
        there.save(tmp_path / way)
    else:
        split = {"max_shard_size": 1e-7} if way.endswith(".json") else {}
        there.save_weights(tmp_path / way, **split)
    expected = [*here.get_weights()[:-2], *there.get_weights()[-2:]]
    with pytest.warns(SavingWarning, match="of layers with such weights: batch_normalization"):
        here.load_weights(tmp_path / way, skip_mismatch=True)
    assert weights_equal(expected, here.get_weights())


@pytest.mark.parametrize("name", ["model.weights.h5", "model.safetensors"])
def test_missing_and_extra_weights_are_errors(name, saved):
    deeper = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="first"),
                               layers.Dense(2, name="second"), layers.Dense(9)])  # fmt: skip
    before = deeper.get_weights()
    with pytest.raises(StructureError, match=r"(?s)missing from the file: dense\w*/kernel.*bias"):
        deeper.load_weights(saved / name)
    assert weights_equal(before, deeper.get_weights())
    shallow = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="first")])
    before = shallow.get_weights()
    with pytest.raises(StructureError, match=r"not in the model: \S+; \S+"):
        shallow.load_weights(saved / name)
    assert weights_equal(before, shallow.get_weights())
    shallow.load_weights(saved / name, skip_mismatch=True)
    trained = load_model(saved / "model.keras").get_weights()
    assert weights_equal(trained[:2], shallow.get_weights())


def test_weights_of_another_class(saved):
    other = keras.Sequential([keras.Input((4, 2)), layers.LSTM(3)])
    with pytest.raises(StructureError, match=r"(?s)missing.*lstm.*not in the model.*dense"):
        other.load_weights(saved / "model.weights.h5")


def test_by_name_is_for_the_old_layout(saved):
    with pytest.raises(ArgumentError, match=r"`by_name`.*skip_mismatch"):
        make().load_weights(saved / "model.weights.h5", by_name=True)


# ---- damaged archives ----------------------------------------------------------------------------


def rewritten(path, change=None, weights=None, metadata=None, **extra):
    """The archive at ``path`` with its config, or another member, changed."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    if change is not None:
        config = json.loads(members["config.json"])
        changed = change(config)
        text = changed if isinstance(changed, (str, bytes)) else json.dumps(config)
        members["config.json"] = text if isinstance(text, bytes) else text.encode()
    if weights is not None:
        members["model.weights.h5"] = weights
        stated = json.loads(members["metadata.json"])
        del stated["lamina"]["sha256"]
        members["metadata.json"] = json.dumps(stated).encode()
    if metadata is not None:
        members["metadata.json"] = metadata
    target = path.with_name("changed.keras")
    with zipfile.ZipFile(target, "w", **extra) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def layer(config, index=1):
    return config["config"]["layers"][index]


def deep(_):
    return '{"class_name": "Dense", "config": ' + "[" * 100_000 + "]" * 100_000 + "}"


def nest(config):
    inner = []
    for _ in range(400):
        inner = [inner]
    layer(config)["config"]["activation"] = {"class_name": "Dense", "config": {"units": inner}}


def models_in_models(config):
    record = layer(config)
    for i in range(250):
        inner = {"name": f"s{i}", "layers": [record]}
        record = {"module": "keras", "class_name": "Sequential", "config": inner}
    config["config"]["layers"][1] = {**record, "name": "first", "inbound_nodes": []}


BAD_CONFIGS = {
    "not JSON": lambda c: "{",
    "not UTF-8": lambda c: b"\xff\xfe{",
    "a list": lambda c: "[1, 2]",
    "a key twice": lambda c: '{"class_name": "Dense", "class_name": "Dense", "config": {}}',
    "too deep": deep,
    "deep": nest,
    "models in models": models_in_models,
    "no class": lambda c: c.pop("class_name") and None,
    "a layer as model": lambda c: c.update(layer(c)),
    "no layers": lambda c: c["config"].pop("layers") and None,
    "unknown class": lambda c: layer(c).update(class_name="Dence"),
    "class is a number": lambda c: layer(c).update(class_name=7),
    "a path as class": lambda c: layer(c).update(class_name="os.system", module="os"),
    "a module as class": lambda c: layer(c).update(class_name="system", module="os"),
    "a function as layer": lambda c: layer(c).update(
        class_name="function", config="mean_squared_error", module="builtins"
    ),
    "an optimizer as layer": lambda c: layer(c).update(
        class_name="Adam", module="keras.optimizers", config={}
    ),
    "config is a list": lambda c: layer(c).update(config=[1]),
    "unknown argument": lambda c: layer(c)["config"].update(unit=3),
    "missing argument": lambda c: layer(c)["config"].pop("units") and None,
    "wrong kind": lambda c: layer(c)["config"].update(units="many"),
    "wrong shape": lambda c: layer(c, 0)["config"].update(batch_shape=[None, "four", {}]),
    "wrong dtype": lambda c: layer(c)["config"].update(dtype="float31"),
    "unknown activation": lambda c: layer(c)["config"].update(activation="rely"),
    "no such input": lambda c: c["config"].update(input_layers=[["nobody", 0, 0]]),
    "no such output": lambda c: c["config"].update(output_layers=[["second", 5, 0]]),
    "a loop": lambda c: layer(c)["inbound_nodes"][0]["args"][0]["config"].update(
        keras_history=["second", 0, 0]
    ),
    "a name twice": lambda c: layer(c, 2).update(name="first"),
    "no calls": lambda c: layer(c).pop("inbound_nodes") and None,
    "an op that is none": lambda c: layer(c).update(
        class_name="Nothing", module="keras.src.ops.numpy", config={"name": "first"}
    ),
    "shapes that do not fit": lambda c: layer(c, 0)["config"].update(batch_shape=[None, 7]),
    "another optimizer": lambda c: c["compile_config"].update(optimizer="adamm"),
    "a huge layer": lambda c: layer(c)["config"].update(units=10**12),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_CONFIGS)
def test_a_bad_config_is_one_clear_error(what, saved):
    path = rewritten(saved / "model.keras", BAD_CONFIGS[what])
    with pytest.raises(LaminaError) as caught:
        load_model(path)
    assert len(str(caught.value)) < 3000
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.safetensors"])
@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.8, 0.99])
def test_truncated_files(name, share, saved):
    path, model = saved / name, make()
    os.truncate(path, int(path.stat().st_size * share))
    before = model.get_weights()
    with pytest.raises(CorruptFileError, match=name):
        load_model(path) if name.endswith(".keras") else model.load_weights(path)
    assert weights_equal(before, model.get_weights())


def test_bits_that_flipped(saved):
    """Of a zip every byte is covered by a checksum, the weights too."""
    content = bytearray((saved / "model.keras").read_bytes())
    trained = load_model(saved / "model.keras").get_weights()
    at = content.find(trained[0].tobytes())
    assert at > 0
    content[at + 5] ^= 4
    (saved / "model.keras").write_bytes(content)
    with pytest.raises(CorruptFileError, match="altered"):
        load_model(saved / "model.keras")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "neither a '.keras' archive"), (b"text", "neither a '.keras' archive"),
     (b"\x89HDF\r\n\x1a\n" + bytes(2000), "cannot be read")],
)  # fmt: skip
def test_no_zip_at_all(content, said, tmp_path):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(CorruptFileError, match=said):
        load_model(tmp_path / "model.keras")


def test_other_places(saved):
    with pytest.raises(FileNotFoundError, match="no file"):
        load_model(saved / "none.keras")
    with pytest.raises(FileNotFoundError, match="no file"):
        make().load_weights(saved / "none.weights.h5")
    (saved / "folder.keras").mkdir()
    with pytest.raises(CorruptFileError, match="not a regular file"):
        load_model(saved / "folder.keras")
    with pytest.raises(ArgumentError, match="`save`"):
        make().save_weights(saved / "model.keras")


def test_the_weights_of_an_archive(saved):
    whole, model = load_model(saved / "model.keras"), make()
    model.set_weights([w + 1 for w in model.get_weights()])
    model.load_weights(saved / "model.keras")
    for a, b in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(StructureError):
        keras.Sequential([keras.Input((3,)), layers.Dense(2)]).load_weights(saved / "model.keras")


@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5"])
def test_members_that_lack_or_come_twice(member, saved):
    path = saved / "other.keras"
    with zipfile.ZipFile(saved / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
    with pytest.raises(CorruptFileError, match=f"lacks.*{member}"):
        load_model(path)
    path.write_bytes((saved / "model.keras").read_bytes())
    with zipfile.ZipFile(path, "a") as new, pytest.warns(UserWarning, match="Duplicate name"):
        new.writestr(member, "{}")
    with pytest.raises(CorruptFileError, match="two members"):
        load_model(path)


def test_a_file_that_was_packed_again(saved):
    path = rewritten(saved / "model.keras", compression=zipfile.ZIP_DEFLATED)
    a, b = load_model(saved / "model.keras"), load_model(path)
    assert weights_equal(a.get_weights(), b.get_weights())
    path = rewritten(saved / "model.keras", compression=zipfile.ZIP_LZMA)  # no bound of its size
    with pytest.raises(CorruptFileError, match="compressed by method 14"):
        load_model(path)


def test_a_member_that_inflates_without_end(saved):
    path = rewritten(
        saved / "model.keras", weights=bytes(1 << 22), compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(UnsafeFileError, match=r"bytes allocated(.|\n)*Budget\(bytes_allocated="):
        load_model(path, budget=keras.saving.Budget(bytes_allocated=1 << 20))
    path = rewritten(saved / "model.keras", lambda c: " " * (65 << 20),
                     compression=zipfile.ZIP_DEFLATED)  # fmt: skip
    with pytest.raises(CorruptFileError, match="larger than"):
        load_model(path)


@pytest.mark.parametrize("metadata", [b'{"lamina": 3}', b'{"lamina": {"seed": "x"}}', b"{}"])
def test_metadata_is_not_needed(metadata, saved):
    path = rewritten(saved / "model.keras", metadata=metadata)
    a, b = load_model(saved / "model.keras"), load_model(path)
    assert weights_equal(a.get_weights(), b.get_weights())
    assert weights_equal([v.numpy() for v in a.optimizer.variables],
                         [v.numpy() for v in b.optimizer.variables])  # fmt: skip


def test_an_optimizers_state_that_does_not_fit(saved):
    def other(config):
        config["compile_config"]["optimizer"] = {"class_name": "SGD", "config": {}, "module": None}

    path = rewritten(saved / "model.keras", other)
    with pytest.warns(SavingWarning, match="10 arrays of an optimizer's state.*SGD.*is reset"):
        model = load_model(path)
    assert int(model.optimizer.iterations) == 0
    model.fit(X, X[:, :2], verbose=0)


def test_states_that_are_no_weights(saved):
    """Older releases of Keras keep the states of random generators; others' arrays are told of."""
    path = saved / "model.weights.h5"
    with h5py.File(path, "r+") as h5:
        h5["layers/dropout/seed_generator/vars/0"] = np.zeros(2, "uint32")
    make().load_weights(path)
    archive = rewritten(saved / "model.keras", weights=path.read_bytes())
    assert int(load_model(archive).optimizer.iterations) == 0  # these are weights alone
    with h5py.File(path, "r+") as h5:
        h5["tracker/vars/0"] = np.zeros(())
    with pytest.raises(CorruptFileError, match=r"not in the model: tracker/vars/0"):
        load_model(rewritten(saved / "model.keras", weights=path.read_bytes()))


def test_arrays_are_compared_with_their_digests(saved):
    path = saved / "model.keras"
    with zipfile.ZipFile(path) as archive:
        stated = json.loads(archive.read("metadata.json"))
    assert len(stated["lamina"]["sha256"]["layers/dense/vars/0"]) == 64
    first = min(stated["lamina"]["sha256"])
    for change, message in (
        (lambda d: d.update({first: "0" * 64}), f"'{first}' has another digest"),
        (lambda d: d.pop(first), f"added to the file: {first}"),
        (lambda d: d.update(more="0" * 64), "missing from the file: more"),
    ):
        altered = json.loads(json.dumps(stated))
        change(altered["lamina"]["sha256"])
        with pytest.raises(CorruptFileError, match=f"(?s)was altered.*{message}"):
            load_model(rewritten(path, metadata=json.dumps(altered).encode()))


def test_weights_are_numbered_as_the_file_lists_its_layers(tmp_path):
    """Two branches of one class and shape: the order of the config says whose arrays are whose."""
    inputs = keras.Input((4,))
    both = [layers.Dense(2, name=name)(inputs) for name in ("left", "right")]
    model = keras.Model(inputs, both)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5", "r+") as h5:
        h5.move("layers/dense", "other")
        h5.move("layers/dense_1", "layers/dense")
        h5.move("other", "layers/dense_1")

    def swap(config):
        records = config["config"]["layers"]
        records[1], records[2] = records[2], records[1]

    weights = (tmp_path / "model.weights.h5").read_bytes()
    again = load_model(rewritten(tmp_path / "model.keras", swap, weights=weights))
    for a, b in zip(model.predict(X, verbose=0), again.predict(X, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- hostile HDF5 --------------------------------------------------------------------------------

KERNEL = "layers/dense/vars/0"


def outside(path):
    """Another file, whose numbers must not come in."""
    with h5py.File(path.with_name("other.h5"), "w") as h5:
        h5["secret"] = np.full((4, 3), 77, "float32")
    return path.with_name("other.h5")


def external_link(h5, path):
    h5[KERNEL] = h5py.ExternalLink(outside(path).name, "secret")


def soft_link(h5, path):
    h5["elsewhere"] = np.zeros((4, 3), "float32")
    h5[KERNEL] = h5py.SoftLink("/elsewhere")


def dangling_link(h5, path):
    h5[KERNEL] = h5py.SoftLink("/nowhere")


def linked_group(h5, path):
    del h5["layers/dense"]
    h5["layers/dense"] = h5py.ExternalLink(outside(path).name, "/")


def looping_link(h5, path):
    del h5["layers/dense"]
    h5["layers/dense"] = h5py.SoftLink("/layers/dense")


def external_storage(h5, path):
    (path.with_name("raw")).write_bytes(bytes(48))
    h5.create_dataset(KERNEL, (4, 3), "float32", external=[(str(path.with_name("raw")), 0, 48)])


def virtual(h5, path):
    layout = h5py.VirtualLayout((4, 3), "float32")
    layout[:] = h5py.VirtualSource(str(outside(path)), "secret", (4, 3))
    h5.create_virtual_dataset(KERNEL, layout)


def never_written(h5, path):
    h5.create_dataset(KERNEL, (4, 3), "float32", chunks=(1, 1), fillvalue=1.0)


def texts(h5, path):
    h5[KERNEL] = np.full((4, 3), "a", h5py.string_dtype())


def references(h5, path):
    h5[KERNEL] = np.full((4, 3), h5["layers"].ref, h5py.ref_dtype)


def compound(h5, path):
    h5[KERNEL] = np.zeros((4, 3), [("a", "f4"), ("b", "f4")])


def opaque(h5, path):
    h5[KERNEL] = np.zeros((4, 3), "V16")


def complex_numbers(h5, path):
    h5[KERNEL] = np.zeros((4, 3), "complex64")


def a_group(h5, path):
    h5.create_group(KERNEL)


def huge(h5, path):
    h5.create_dataset(KERNEL, (2**30, 2**20), "float32", chunks=(1024, 1024))


def no_shape(h5, path):
    h5[KERNEL] = h5py.Empty("float32")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (external_link, UnsafeFileError), (soft_link, UnsafeFileError),
        (dangling_link, UnsafeFileError), (linked_group, UnsafeFileError),
        (looping_link, UnsafeFileError), (external_storage, UnsafeFileError),
        (virtual, UnsafeFileError), (never_written, CorruptFileError), (texts, CorruptFileError),
        (references, CorruptFileError), (compound, CorruptFileError), (opaque, CorruptFileError),
        (complex_numbers, CorruptFileError), (a_group, None), (huge, None), (no_shape, None),
    ],
    ids=lambda x: x.__name__ if x else "mismatch",
)  # fmt: skip
@pytest.mark.parametrize("where", ["weights", "archive", "old"])
def test_arrays_come_from_the_file_and_nowhere_else(change, error, where, saved):
    path, model = saved / "model.weights.h5", make()
    with h5py.File(path, "r+") as h5:
        del h5[KERNEL]
        change(h5, path)
        if where == "old":  # the same arrays in the layout of Keras 1 and 2
            h5.attrs["layer_names"] = [b"layers"]
            h5["layers"].attrs["weight_names"] = [b"dense/vars/0", b"dense/vars/1"]
    if where == "archive":
        with pytest.raises(error or CorruptFileError):
            load_model(rewritten(saved / "model.keras", weights=path.read_bytes()))
        return
    if where == "old":
        path = path.rename(saved / "old.h5")
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="layers")])
    before = model.get_weights()
    with pytest.raises(error or StructureError):
        model.load_weights(path)
    if error is UnsafeFileError:
        with pytest.raises(error):
            model.load_weights(path, skip_mismatch=True)
    assert weights_equal(before, model.get_weights())


def test_compressed_arrays_are_read(saved):
    path, model = saved / "model.weights.h5", make()
    with h5py.File(path, "r+") as h5:
        value = h5[KERNEL][()]
        del h5[KERNEL]
        h5.create_dataset(KERNEL, data=value.astype("float64"), compression="gzip", shuffle=True)
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], value)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 47]},
        {"dtype": "F32", "shape": [4, 3], "data_offsets": [48, 0]},
        {"dtype": "F32", "shape": [4, 3], "data_offsets": [10**9, 10**9 + 48]},
        {"dtype": "F32", "shape": [-4, -3], "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [4.0, 3], "data_offsets": [0, 48]},
        {"dtype": "F31", "shape": [4, 3], "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [4, 3], "data_offsets": [0]},
        {"dtype": "F32", "shape": 12, "data_offsets": [0, 48]},
        {"dtype": "O", "shape": [4, 3], "data_offsets": [0, 48]},
        {"shape": [4, 3]},
        [],
        None,
    ],
)
def test_safetensors_that_lie(entry, saved):
    path, model = saved / "model.safetensors", make()
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["first/kernel"] = entry
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    before = model.get_weights()
    with pytest.raises(CorruptFileError, match=r"model\.safetensors"):
        model.load_weights(path)
    assert weights_equal(before, model.get_weights())


@pytest.mark.parametrize("header", [b"[1]", b"{", b"3", b"[" * 100_000, b"\xff"])
def test_headers_that_are_none(header, saved):
    (saved / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CorruptFileError, match="the header is"):
        make().load_weights(saved / "x.safetensors")
    (saved / "x.safetensors").write_bytes(struct.pack("<Q", 2**63) + header)
    with pytest.raises(CorruptFileError, match="truncated"):
        make().load_weights(saved / "x.safetensors")


# ---- files of Keras ------------------------------------------------------------------------------


def test_an_old_layout_by_order_and_by_name(tmp_path):
    """Keras writes it still, when the name of a whole model ends in '.h5'."""
    inputs = oracle.Input((4,))
    x = oracle.layers.BatchNormalization(name="norm")(oracle.layers.Dense(3, name="first")(inputs))
    inner = oracle.Sequential([oracle.Input((3,)), oracle.layers.BatchNormalization(),
                               oracle.layers.Dense(2)], name="inner")  # fmt: skip
    theirs = oracle.Model(inputs, inner(x))
    rng = np.random.default_rng(0)
    theirs.set_weights([rng.uniform(0.5, 1, w.shape) for w in theirs.get_weights()])
    theirs.get_layer("inner").trainable = False

    def ours(first="first"):
        inputs = keras.Input((4,))
        x = layers.BatchNormalization(name="norm")(layers.Dense(3, name=first)(inputs))
        inner = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Dense(2)],
                                 name="inner")  # fmt: skip
        return keras.Model(inputs, inner(x))

    theirs.save(tmp_path / "old.h5")
    expected = theirs.predict(X, verbose=0)
    for model in (ours(), ours("another name")):
        model.load_weights(tmp_path / "old.h5")
        np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-5)
    model = ours("another name")
    before = model.get_layer("another name").get_weights()
    model.load_weights(tmp_path / "old.h5", by_name=True)
    assert weights_equal(before, model.get_layer("another name").get_weights())
    assert weights_equal(theirs.get_layer("norm").get_weights(),
                         model.get_layer("norm").get_weights())  # fmt: skip
    with pytest.raises(StructureError, match=r"3 layers.*include_top.*by_name=True"):
        make(compiled=False).load_weights(tmp_path / "old.h5")
    model.save_weights(tmp_path / "new.weights.h5")
    (tmp_path / "new.weights.h5").rename(tmp_path / "new.h5")
    with pytest.raises(CorruptFileError, match=r"layout of Keras 1 and 2.*weights\.h5"):
        model.load_weights(tmp_path / "new.h5")


# ---- a full disk, and death ----------------------------------------------------------------------

FULL = """
import resource, signal, sys
import lamina as keras
from lamina import layers
model = keras.Sequential(
    [keras.Input((64,)), layers.Dense(200), layers.Dense(200), layers.Dense(1)]
)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model.compile("adam", "mse")
model.optimizer.build(model.trainable_variables)
end = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (0, 500, 1000, 2048, 60_000, 200_000, 262_144, 300_000):
    for name in sys.argv[1:]:
        has_state = not name.endswith((".weights.h5", ".safetensors"))
        most = limit if has_state else min(limit, 200_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, end))
        try:
            if not has_state:
                model.save_weights(name)
            else:
                model.save(name, **({} if name.endswith((".keras", ".h5")) else {"zipped": False}))
        except OSError as e:
            noted = any(name in note for note in getattr(e, "__notes__", ()))
            print(type(e).__name__ if noted or name.endswith("new") else repr(e))
"""


def test_a_disk_that_is_full(saved):
    """The system itself refuses to write more: the old files stay, and nothing else is left."""
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    names = [str(saved / n) for n in [*before, "new.keras", "new.h5", "new"]]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *names], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr  # the C library of HDF5 may crash
    assert done.stdout.split() == ["OSError"] * 8 * len(names), done.stderr
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


DIES = """
import os, sys
import lamina as keras
from lamina import layers
from lamina.saving import hdf5
model = keras.Sequential([keras.Input((20,)), layers.Dense(20)])
hdf5.write = lambda *_: os._exit(9)
model.save(sys.argv[1])
"""


def test_a_process_that_dies_leaves_the_old_file(saved):
    before = (saved / "model.keras").read_bytes()
    done = subprocess.run([sys.executable, "-c", DIES, str(saved / "model.keras")], check=False)
    assert done.returncode == 9
    assert (saved / "model.keras").read_bytes() == before
    load_model(saved / "model.keras")
