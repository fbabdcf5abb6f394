# ruff: noqa: E501 - a table
"""Hostile files: harmless ones with one change each.

The numbers in the names are those of the known cases in ``test_known_cases.py``.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np

TOKEN = "5f1e9c0a7b3d4e8f9a6b2c1d0e9f8a7b"  # of files that must not be read
KERNEL, METADATA, CONFIG, WEIGHTS = (
    "layers/dense/vars/0", "metadata.json", "config.json", "model.weights.h5"
)  # fmt: skip


class _Fires:
    def __reduce__(self):
        return eval, ("__import__('canary_mod').fire()",)


PICKLE = base64.b64encode(pickle.dumps(_Fires())).decode()
CODE = base64.b64encode(
    marshal.dumps(compile("__import__('canary_mod').fire()", "x", "eval"))
).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}


def model():
    """The harmless model."""
    import lamina as keras
    from lamina import layers

    inputs = keras.Input((4,), name="x")
    x = layers.Dense(3, activation="relu", name="first")(inputs)
    made = keras.Model(inputs, layers.Dense(2, name="second")(x + 1.0), name="small")
    made.compile("adam", "mse", metrics=["mae"])
    return made


# ---- configs -------------------------------------------------------------------------------------


def layer(config, index=1):
    return config["config"]["layers"][index]


def first(**changes):
    """A change of the record of the first layer."""
    return lambda c, _: layer(c).update(changes)


def argument(**changes):
    """A change of the arguments of the first layer."""
    return lambda c, _: layer(c)["config"].update(changes)


def gadget(module, kind, **config):
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def op(class_name, args, module="numpy", config=None):
    """An op in place of the addition, called on ``args``."""

    def change(c, _):
        record = layer(c, 2)
        record.update(
            module=f"keras.src.ops.{module}", class_name=class_name,
            config={"name": record["name"], **(config or {})},
            inbound_nodes=[{"args": args(record), "kwargs": {}}],
        )  # fmt: skip

    return change


def tensor(record):
    return record["inbound_nodes"][0]["args"][0]


def nested(depth, value=0):
    for _ in range(depth):
        value = [value]
    return value


def sequentials(config, _):
    record = layer(config)
    for i in range(40):
        inner = {"name": f"s{i}", "layers": [record]}
        record = {"module": "keras", "class_name": "Sequential", "config": inner}
    config["config"]["layers"][1] = {**record, "name": "first", "inbound_nodes": []}


def shape(*sizes):
    return lambda c, _: layer(c, 0)["config"].update(batch_shape=list(sizes))


def outputs(count):
    def change(c, _):
        c["config"]["output_layers"] = [["second", 0, 0]] * count
        c["compile_config"] = {}

    return change


def new(kind, **config):
    """Another layer in place of the first one."""

    def change(c, _):
        layer(c).update(module="keras.layers", class_name=kind, config={"name": "first", **config})
        layer(c).pop("build_config", None)

    return change


OLD_PATHS = ["{folder}/secret.txt", "secret.txt", "file://{folder}/secret.txt",
             "http://127.0.0.1:9/secret.txt"]  # fmt: skip
ODD_NAMES = ["canary_mod.fire", "__import__", "builtins.eval", "Dense.__init__", "", "a" * 10**6,
             "Dense\0", "Dеnse", "../Dense", 7, None, ["Dense"], {}]  # fmt: skip

CONFIGS = {
    "01 code as layer": new("Lambda", function=LAMBDA),
    "01 code as activation": argument(activation=LAMBDA),
    "01 code as initializer": argument(kernel_initializer=LAMBDA),
    "02 function as layer": first(**gadget("canary_mod", "fire")),
    "02 function with calls": first(**function("canary_mod", "fire")),
    "02 function as initializer": argument(kernel_initializer=gadget("canary_mod", "fire")),
    "02 function as regularizer": argument(kernel_regularizer=function("canary_mod", "fire")),
    "02 function as constraint": argument(bias_constraint=gadget("canary_mod", "Fire")),
    "02 function as dtype": argument(dtype=gadget("canary_mod", "Policy", name="float32")),
    "03 downloader": first(**gadget("keras.utils", "get_file", fname="x", origin="http://127.0.0.1:9/x")),
    "03 downloader as activation": argument(activation=function("keras.utils", "get_file")),
    "03 loader": argument(activation=function("keras.saving", "load_model")),
    "03 writer": argument(activation=function("lamina.saving", "save_model")),
    "04 policy": first(**gadget("keras.config", "enable_unsafe_deserialization")),
    "04 policy as activation": argument(
        activation=function("keras.src.saving.serialization_lib", "enable_unsafe_deserialization")
    ),
    "06 pickle": new("TorchModuleWrapper", module=PICKLE),
    "06 pickle as argument": argument(module=PICKLE),
    "09 path of a program": new("TFSMLayer", filepath="{folder}/outside"),
    "13 function in a class": first(class_name="Dense", config=function("builtins", "eval")),
    **{f"13 name {n!r:.20}": first(class_name=n, registered_name=None) for n in ODD_NAMES},
    **{f"13 module {n!r:.20}": argument(kernel_initializer=gadget(n, "Nothing")) for n in ODD_NAMES},
    **{f"14 vocabulary {i}": lambda c, folder, p=p: new(
        "StringLookup", vocabulary=p.format(folder=folder))(c, folder)
       for i, p in enumerate(OLD_PATHS)},
    **{f"25 layer {n!r:.20}": lambda c, _, n=n: (layer(c)["config"].update(name=n), layer(c).update(name=n))
       for n in ("../../outside/x", "/outside", "a/../../b", "a\\b", "x" * 300, "..", "a:b", 3)},
    "33 deep list": argument(activation=nested(200)),
    "33 deep dict": lambda c, _: c["config"].update(name={"a": {"a": nested(300)}}),
    "33 deep models": sequentials,
    "33 large integer": argument(units=10**400),
    "33 integer of 65 bits": argument(units=2**64),
    "33 infinity": argument(units=float("inf")),
    "33 nan": shape(None, float("nan")),
    "34 cycle": lambda c, _: tensor(layer(c))["config"].update(keras_history=["second", 0, 0]),
    "34 self-loop": lambda c, _: tensor(layer(c))["config"].update(keras_history=["first", 0, 0]),
    "34 node out of range": lambda c, _: tensor(layer(c))["config"].update(keras_history=["x", 9, 0]),
    "34 negative index": lambda c, _: tensor(layer(c))["config"].update(keras_history=["x", 0, -7]),
    "34 name twice": lambda c, _: layer(c, 3).update(name="first"),
    "34 no tensor": op("Tile", lambda r: [[1.0, 2.0]], config={"repeats": [10**9]}),
    "34 array of constants": op(
        "Repeat", lambda r: [{"class_name": "__numpy__", "config": {"value": [1.0], "dtype": "float32"}}],
        config={"repeats": 10**9}),
    "34 constants of a layer": lambda c, _: layer(c).update(
        inbound_nodes=[{"args": [[[1.0] * 4]], "kwargs": {}}]),
    "34 broadcast": op("BroadcastTo", lambda r: [1.0], config={"shape": [10**6, 10**6]}),
    "34 split": op("Split", lambda r: [tensor(r)], config={"indices_or_sections": 10**9}),
    "34 division by zero": op("Split", lambda r: [tensor(r)], config={"indices_or_sections": 0}),
    "34 bincount": op("Bincount", lambda r: [[1, 2]], config={"minlength": 10**9}),
    "34 huge layer": argument(units=10**12),
    "34 formula": shape(None, "t^10000000"),
    "34 formula of numbers": shape(None, "9^100000000"),
    "34 product of sums": shape(None, "*".join(["(a+b+c+d)"] * 18)),
    "34 long formula": shape(None, "+".join(["t"] * 10**5)),
    "34 division in a formula": shape(None, "floordiv(t, 0)"),
    "34 negative size": shape(None, -4),
    "34 many axes": shape(None, *[1] * 3000),
    "34 unknown activation": argument(activation="a" * 10**6),
    "34 not a model": lambda c, _: (c.update(layer(c)), c.update(name="x")),
    "34 no layers": lambda c, _: c["config"].update(layers=[]),
    "34 layers of text": lambda c, _: c["config"].update(layers="abc"),
    "34 no config": lambda c, _: c.update(config=None),
    "34 config of numbers": lambda c, _: c.update(config=[1, 2]),
    "34 sequence of a wrong kind": argument(units={"a": 1}),
}  # fmt: skip

# Arguments of `compile`, which only `load_model` reads.
COMPILED = {
    "01 code as loss": lambda c, _: c["compile_config"].update(loss=LAMBDA),
    "01 code as metric": lambda c, _: c["compile_config"].update(metrics=[LAMBDA]),
    "02 function as optimizer": lambda c, _: c["compile_config"].update(
        optimizer=gadget("canary_mod", "fire")),
    "02 function as loss": lambda c, _: c["compile_config"].update(loss=function("canary_mod", "fire")),
    "34 unknown optimizer": lambda c, _: c["compile_config"].update(optimizer="a" * 10**6),
    "34 metrics of a wrong kind": lambda c, _: c["compile_config"].update(metrics={"x": nested(50)}),
    "34 thresholds": lambda c, _: c["compile_config"].update(
        metrics=[gadget("keras.metrics", "AUC", num_thresholds=10**10)]),
    "34 compile config of text": lambda c, _: c.update(compile_config="abc"),
}  # fmt: skip

# Configs that look odd and are harmless: they load.
HARMLESS = {
    "unchanged": lambda c, _: None,
    "infinity as an argument": argument(
        kernel_initializer=gadget("keras.initializers", "Constant", value=float("inf"))
    ),
    "formula": shape(None, "2*t + 4 - 2*t"),
    "100 outputs": outputs(100),
    "4000 outputs": outputs(4000),
    "name of 200 characters": lambda c, _: c["config"].update(name="x" * 200),
}


def deep(depth):
    return "[" * depth + "]" * depth


TEXTS = {
    "12 YAML": "!!python/object/apply:canary_mod.fire []",
    "33 deep": '{"class_name": "Dense", "config": ' + deep(10**5) + "}",
    "33 deep below the parser's limit": '{"class_name": "Dense", "config": ' + deep(700) + "}",
    "33 many values": "[" + "[]," * (20 * 2**20) + "[]]",
    "33 many keys": "{" + ",".join(f'"{i}":0' for i in range(2 * 10**5)) + "}",
    "33 long integer": '{"class_name": "Dense", "config": {"units": ' + "9" * 10**7 + "}}",
    "33 key twice": '{"class_name": "Dense", "class_name": "Dense", "config": {}}',
    "33 half a character": '{"class_name": "\\ud800", "config": {}}',
    "33 byte order mark": '\ufeff{"class_name": "Dense", "config": {}}',
    "33 not a dict": "[1, 2]",
    "33 number": "3",
    "33 nothing": "",
    "33 no JSON": "{",
    "33 function": '{"class_name": "function", "config": "relu", "module": "builtins"}',
}


# ---- arrays --------------------------------------------------------------------------------------


def replaced(make):
    """A change of a weights file: another object in place of a kernel."""

    def change(h5, folder):
        del h5[KERNEL]
        make(h5, folder)

    return change


def _secret(folder):
    return str(folder / "secret.h5")


def _external(h5, folder):
    size = 48
    h5.create_dataset(KERNEL, (4, 3), "float32", external=[(str(folder / "secret.txt"), 0, size)])


def _virtual(h5, folder):
    layout = h5py.VirtualLayout((4, 3), "float32")
    layout[:] = h5py.VirtualSource(_secret(folder), "secret", (4, 3))
    h5.create_virtual_dataset(KERNEL, layout)


def _linked(link):
    def change(h5, folder):
        del h5["layers/dense"]
        h5["layers/dense"] = link(folder)

    return change


ARRAYS = {
    "15 external storage": replaced(_external),
    "16 external link": replaced(lambda h5, f: h5.__setitem__(KERNEL, h5py.ExternalLink(_secret(f), "secret"))),
    "16 soft link": replaced(lambda h5, f: h5.__setitem__(KERNEL, h5py.SoftLink("/layers"))),
    "16 external group": _linked(lambda f: h5py.ExternalLink(_secret(f), "/")),
    "16 link to itself": _linked(lambda f: h5py.SoftLink("/layers/dense")),
    "17 virtual array": replaced(_virtual),
    "17 reference": replaced(lambda h5, f: h5.__setitem__(
        KERNEL, np.full((4, 3), h5["layers"].ref, h5py.ref_dtype))),
    "28 petabyte": replaced(lambda h5, f: h5.create_dataset(
        KERNEL, (2**40, 3), "float32", chunks=(1024, 3), compression="gzip")),
    "28 right shape, nothing stored": replaced(lambda h5, f: h5.create_dataset(
        KERNEL, (4, 3), "float32", chunks=(1, 1), fillvalue=1.0)),
    "28 no shape": replaced(lambda h5, f: h5.__setitem__(KERNEL, h5py.Empty("float32"))),
    "28 texts": replaced(lambda h5, f: h5.__setitem__(
        KERNEL, np.full((4, 3), "a", h5py.string_dtype()))),
    "28 group": replaced(lambda h5, f: h5.create_group(KERNEL)),
    "16 group in itself": lambda h5, f: (h5["layers"].__setitem__("again", h5["layers"]), h5.__delitem__(KERNEL)),
}  # fmt: skip


def packed(members, compression=zipfile.ZIP_STORED):
    """The bytes of an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def _patched(data, find, replace, count=-1):
    assert find in data
    return data.replace(find, replace, count)


def _headers(data, local, central, change):
    """The archive with two bytes of a header of each member changed."""
    data = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = -1
        while offset is not None and (at := data.find(signature, at + 1)) >= 0:
            data[at + offset : at + offset + len(change)] = change
    return bytes(data)


def _with(name, content=b"{}"):
    return lambda data: packed({**members_of(data), name: content})


def _twice(data):
    file = io.BytesIO(data)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(CONFIG, "{}")
    return file.getvalue()


def _inflating(data, name=WEIGHTS, size=3 * 2**30):
    """Both headers of a member say that it inflates to a size."""
    members = members_of(data)
    members[name] = bytes(2**20)
    made = bytearray(packed(members, zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = -1
        while (at := made.find(signature, at + 1)) >= 0:
            if made[at + offset : at + offset + 4] == struct.pack("<I", 2**20):
                made[at + offset : at + offset + 4] = struct.pack("<I", size)
    return bytes(made)


def _member(name, content):
    return lambda data: packed({**members_of(data), name: content}, zipfile.ZIP_DEFLATED)


ARCHIVES = {
    "05 HDF5 bytes": lambda data: b"\x89HDF\r\n\x1a\n" + bytes(2000),
    "18 nothing": lambda data: b"",
    "31 weights inflate": _inflating,
    "31 config inflates": lambda data: _inflating(data, CONFIG),
    "31 large config": _member(CONFIG, b" " * (65 * 2**20)),
    "31 many members": lambda data: packed(
        {**members_of(data), **{f"assets/{i:07}" + "x" * 200: b"" for i in range(30_000)}}),
    "33 NaN in metadata": _member(METADATA, b'{"lamina": {"seed": NaN}}'),
    "33 key twice in metadata": _member(METADATA, b'{"lamina": {}, "lamina": {}}'),
    "35 data before": lambda data: b"#!/bin/sh\n" + data,
    "35 data after": lambda data: data + b"more",
    "35 comment": lambda data: data[:-2] + struct.pack("<H", 4) + b"more",
    "35 archive after archive": lambda data: data + data,
    "35 archive before archive": lambda data: packed({"x": b"y"}) + data,
    "35 encrypted": lambda data: _headers(data, 6, 8, b"\x01\x00"),
    "35 method": lambda data: _headers(data, 8, 10, b"\x0c\x00"),
    "35 methods differ": lambda data: _headers(data, 8, None, b"\x08\x00"),
    "35 local name": lambda data: _patched(data, b"config.json", b"c0nfig.json", 1),
    "35 member twice": _twice,
    "35 case": _with("Config.json"),
    "35 width of letters": _with("ｃonfig.json"),
    "35 out": _with("../x"),
    "35 absolute": _with("/x"),
    "35 backslash": _with("a\\b"),
    "35 NUL": lambda data: _with("configXjson")(data).replace(b"configXjson", b"config\0json"),
    "35 sizes differ": lambda data: _headers(data, 22, None, b"\x01\x00\x00\x00"),
    "35 checksums": lambda data: _patched(data, b'"name": "small"', b'"name": "smell"', 1),
    "35 member lacks": lambda data: packed(
        {n: c for n, c in members_of(data).items() if n != CONFIG}),
}  # fmt: skip


def _entry(**changes):
    """A change of the entry of one array in the header of a safetensors file."""

    def change(data):
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        header["first/kernel"].update(changes)
        return _tensors(json.dumps(header).encode(), data[8 + length :])

    return change


def _tensors(header, arrays=b""):
    return struct.pack("<Q", len(header)) + header + arrays


def _overlapping(data):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["more"] = dict(header["first/kernel"])
    return _tensors(json.dumps(header).encode(), data[8 + length :])


TENSORS = {
    "28 size": _entry(shape=[2**40, 3]),
    "28 negative": _entry(shape=[-4, -3]),
    "28 zero": _entry(shape=[0, 2**62], data_offsets=[0, 0]),
    "28 number": _entry(shape=[4.0, 3]),
    "28 boolean": _entry(shape=[True, 12]),
    "28 beyond the end": _entry(data_offsets=[10**9, 10**9 + 48]),
    "28 type": _entry(dtype="O"),
    "28 axes": _entry(shape=[1] * 10**4),
    "28 overlap": _overlapping,
    "28 gap": lambda data: data + b"more",
    "33 key twice": lambda data: _tensors(b'{"a": {}, "a": {}}'),
    "33 NaN": lambda data: _tensors(b'{"a": NaN}'),
    "33 deep": lambda data: _tensors(deep(10**5).encode()),
    "33 length": lambda data: struct.pack("<Q", 2**63) + data[8:],
}


def attributes(**values):
    """A change of the attributes of a file in the layout of Keras 1 and 2."""

    def change(h5, folder):
        for name, value in values.items():
            h5.attrs[name] = value

    return change


OLD = {
    "16 external group": lambda h5, f: (h5.__delitem__("first"), h5.__setitem__(
        "first", h5py.ExternalLink(_secret(f), "/"))),
    "16 soft link": lambda h5, f: (h5.__delitem__("first"), h5.__setitem__(
        "first", h5py.SoftLink("/second"))),
    "34 no names": lambda h5, f: h5.attrs.__delitem__("layer_names"),
    "34 names of numbers": attributes(layer_names=np.arange(4.0)),
    "34 names of groups that are not there": attributes(layer_names=[b"first", b"third"]),
    "34 long names": attributes(layer_names=[b"x" * 60_000]),
}  # fmt: skip


# ---- models in several files: changes of a folder ------------------------------------------------


def link(name, target):
    """A link in place of a file of the folder, to a file outside."""

    def change(path, folder):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(target.format(folder=folder))

    return change


def pipe(name):
    def change(path, folder):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).unlink(missing_ok=True)
        os.mkfifo(path / name)

    return change


def described(change, name=METADATA):
    """A change of a text in the folder, whose digests are removed."""

    def edit(path, folder):
        metadata = json.loads((path / METADATA).read_text())
        del metadata["lamina"]["files"]
        (path / METADATA).write_text(json.dumps(metadata))
        content = json.loads((path / name).read_text())
        change(content, folder)
        (path / name).write_text(json.dumps(content))

    return edit


def probe(**entry):
    """Another header of the probe."""
    header = json.dumps({"inputs": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16],
                                    **entry}}).encode()  # fmt: skip

    def change(path, folder):
        described(lambda c, _: None)(path, folder)
        (path / "probe.safetensors").write_bytes(_tensors(header, bytes(16)))

    return change


def deep_folders(path, _):
    here = path / "assets"
    for _ in range(70):
        here /= "a"
    here.mkdir(parents=True)


UNCHANGED = {"unchanged": lambda path, folder: None}
FOLDERS = {
    "18 metadata is a link": link(METADATA, "{folder}/secret.txt"),
    "18 config is a link": link(CONFIG, "{folder}/secret.txt"),
    "18 weights are a link": link(WEIGHTS, "{folder}/secret.h5"),
    "18 link to itself": link(WEIGHTS, WEIGHTS),
    "18 probe is a link": link("probe.safetensors", "{folder}/secret.txt"),
    "18 assets are a link": link("assets", "{folder}"),
    "18 asset is a link": link("assets/x", "{folder}/secret.txt"),
    "18 config is a pipe": pipe(CONFIG),
    "18 asset is a pipe": pipe("assets/x"),
    "18 config is a folder": lambda p, f: ((p / CONFIG).unlink(), (p / CONFIG).mkdir()),
    "26 a checkpoint": lambda p, f: ((p / CONFIG).rename(p / "host.json"), (p / METADATA).rename(p / "manifest.json")),
    "02 function": described(first(module="canary_mod", class_name="fire"), CONFIG),
    "31 deep folders": deep_folders,
    "33 key twice": lambda p, f: (p / METADATA).write_text('{"lamina": {}, "lamina": {}}'),
    "34 probe of a petabyte": probe(shape=[2**40, 4]),
    "34 probe of texts": probe(dtype="O"),
    "34 probe without outputs": probe(),
    "34 probe of another structure": described(lambda c, _: c["lamina"].update(probe={"dict": [[{"dict": []}, 1]]})),
    "34 probe that is deep": described(lambda c, _: c["lamina"].update(probe=nested(100))),
    "34 probe of other arrays": described(lambda c, _: c["lamina"].update(probe={"array": "x"})),
    "34 costly program for a probe": described(op("Tile", lambda r: [tensor(r)], config={"repeats": [10**6, 10**6]}), CONFIG),
}  # fmt: skip


def table(change):
    """A change of the table of files in an index."""

    def edit(path, folder):
        index = json.loads((path / "model.weights.json").read_text())
        change(index["weight_map"], folder)
        (path / "model.weights.json").write_text(json.dumps(index))

    return edit


def to(name):
    """Another name in place of all that the index has."""
    return table(lambda t, f: t.update(dict.fromkeys(t, name.format(folder=f))))


INDEXES = {
    "19 upwards": to("../../secret.h5"),
    "19 absolute": to("{folder}/secret.h5"),
    "19 through a link": lambda p, f: (link("way", "{folder}")(p, f), to("way/secret.h5")(p, f)),
    "19 backslash": to("..\\..\\secret.h5"),
    "19 NUL": to("model_00000.weights.h5\0"),
    "19 the folder": to("."),
    "19 nothing": to(""),
    "19 itself": to("model.weights.json"),
    "19 not a text": table(lambda t, f: t.update(dict.fromkeys(t, 7))),
    "19 deep lists": table(lambda t, f: t.update(dict.fromkeys(t, nested(200)))),
    "19 shard is a link": link("model_00000.weights.h5", "{folder}/secret.h5"),
    "19 shard is a pipe": pipe("model_00000.weights.h5"),
    "19 shard is missing": lambda p, f: (p / "model_00000.weights.h5").unlink(),
    "19 key twice": lambda p, f: (p / "model.weights.json").write_text('{"weight_map": {"a": "b", "a": "c"}}'),
    "19 array twice": lambda p, f: (p / "model_00001.weights.h5").write_bytes((p / "model_00000.weights.h5").read_bytes()),
    "33 deep": lambda p, f: (p / "model.weights.json").write_text(deep(10**5)),
}  # fmt: skip


def write_all(folder: Path) -> None:
    """Write the harmless files and, for each case, the hostile one."""
    small = model()
    (folder / "secret.txt").write_text(TOKEN)
    with h5py.File(folder / "secret.h5", "w") as h5:
        h5["secret"] = np.frombuffer(TOKEN.encode() + bytes(16), "float32").reshape(4, 3)
    small.save(folder / "model.keras")
    small.save_weights(folder / "model.weights.h5")
    small.save_weights(folder / "model.safetensors")
    write_old(small, folder / "model.h5")
    archive = (folder / "model.keras").read_bytes()
    members = members_of(archive)
    weights = (folder / "model.weights.h5").read_bytes()
    for table, kind in ((CONFIGS, "config"), (COMPILED, "compiled"), (HARMLESS, "harmless")):
        for name, change in table.items():
            config = json.loads(members[CONFIG])
            change(config, folder)
            _write(folder, kind, name, {**members, CONFIG: json.dumps(config)})
    for name, text in TEXTS.items():
        _write(folder, "text", name, {**members, CONFIG: text})
    for name, change in ARRAYS.items():
        path = _path(folder, "arrays", name, "weights.h5")
        path.write_bytes(weights)
        with h5py.File(path, "r+") as h5:
            change(h5, folder)
        path.with_name(path.name.replace(".weights.h5", ".keras")).write_bytes(
            packed({**members, WEIGHTS: path.read_bytes()})
        )
    for name, change in ARCHIVES.items():
        _path(folder, "archive", name, "keras").write_bytes(change(archive))
    tensors = (folder / "model.safetensors").read_bytes()
    for name, change in TENSORS.items():
        _path(folder, "tensors", name, "safetensors").write_bytes(change(tensors))
    shards = folder / "shards" / "model.weights.json"
    shards.parent.mkdir()
    small.save_weights(shards, max_shard_size=60 / 2**30)
    small.save(folder / "model", zipped=False, probe=np.ones((1, 4), "float32"))
    for source, made in ((folder / "model", "folder"), (shards.parent, "index")):
        for kind in (made, f"harmless {made}"):
            for name, change in _TABLES[kind].items():
                path = _path(folder, kind, name, "folder")
                shutil.copytree(source, path)
                change(path, folder)
    for name, change in OLD.items():
        path = _path(folder, "old", name, "h5")
        path.write_bytes((folder / "model.h5").read_bytes())
        with h5py.File(path, "r+") as h5:
            change(h5, folder)


_TABLES = {
    "config": CONFIGS, "compiled": COMPILED, "harmless": HARMLESS, "text": TEXTS, "arrays": ARRAYS,
    "archive": ARCHIVES, "tensors": TENSORS, "old": OLD, "folder": FOLDERS, "index": INDEXES,
    "harmless folder": UNCHANGED, "harmless index": UNCHANGED,
}  # fmt: skip


def _path(folder: Path, kind: str, name: str, suffix: str) -> Path:
    target = folder / kind
    target.mkdir(exist_ok=True)
    return target / f"{list(_TABLES[kind]).index(name):03}.{suffix}"


def _write(folder: Path, kind: str, name: str, members: dict) -> None:
    path = _path(folder, kind, name, "keras")
    path.write_bytes(packed(members, zipfile.ZIP_DEFLATED))
    path.with_suffix(".json").write_text(
        text if isinstance(text := members[CONFIG], str) else text.decode(), "utf-8"
    )


def write_old(small, path: Path) -> None:
    """The layout of Keras 1 and 2."""
    with h5py.File(path, "w") as h5:
        named = {x.name: x.weights for x in small.layers if x.weights}
        h5.attrs["layer_names"] = [n.encode() for n in named]
        for name, variables in named.items():
            group = h5.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{v.name}:0".encode() for v in variables]
            for v in variables:
                group[f"{name}/{v.name}:0"] = np.asarray(v)
