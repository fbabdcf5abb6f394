"""What a file contains, found without building a model and without executing anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamina.core.boundary import public
from lamina.errors import CorruptFileError
from lamina.runtime.budget import Budget, loading
from lamina.saving import (
    code,
    hdf5,
    hdf5_format,
    legacy,
    operations,
    safetensors,
    shards,
)
from lamina.saving.container import Archive
from lamina.saving.members import ASSETS, CONFIG, METADATA, WEIGHTS, Folder, Members, json_member
from lamina.saving.migration import has_counterpart, version_of
from lamina.saving.paths import as_path, must_exist
from lamina.saving.safetensors import digest_of
from lamina.saving.upgrade import is_old
from lamina.saving.weights import Stored
from lamina.serialization import registry, text

_SHOWN = 40  # number of entries of a list that are printed


@dataclasses.dataclass(frozen=True, slots=True)
class StoredArray:
    """An array in a file.

    Attributes:
        name: Its name in the file.
        shape: Its shape.
        dtype: Name of its dtype.
        sha256: Digest of its bytes, little-endian and in C order.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """The record of a class or a function in a config.

    Attributes:
        name: The name in its config, such as that of a layer; "" if it has none.
        class_name: The class or the function.
        module: The module that the file states; None in files of Keras 1 and 2.
        position: Where it is in the config, such as ``config.layers[2].config.activation``.
    """

    name: str
    class_name: str
    module: str | None
    position: str


@dataclasses.dataclass(frozen=True, slots=True)
class FileReport:
    """What a file contains.

    Attributes:
        path: The file.
        format: Its format.
        size: Its size in bytes.
        versions: Versions that the file states, such as ``{"keras": "3.15.1"}``.
        layers: The layers of the architecture, those of a nested model after it.
        compiled: Whether the file contains arguments of ``compile``.
        arrays: All arrays.
        custom: Classes and functions that are neither built in nor registered; ``load_model``
            takes them as ``custom_objects``.
        code: Records that contain Python code. It is never executed.
        assets: Files of layers, such as vocabularies.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.keras")
    ...     model.save(path)
    ...     report = inspect(path)
    >>> report.format, report.compiled, len(report.arrays)
    ('archive of a model (.keras)', False, 2)
    """

    path: str
    format: str
    size: int
    versions: dict[str, str]
    layers: tuple[StoredObject, ...] = ()
    compiled: bool = False
    arrays: tuple[StoredArray, ...] = ()
    custom: tuple[StoredObject, ...] = ()
    code: tuple[StoredObject, ...] = ()
    assets: tuple[str, ...] = ()

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [
            f"{self.path}: {self.format}, {self.size:,} bytes",
            f"Written by: {versions or 'not stated'}",
        ]
        if self.layers:
            suffix = "; with the arguments of `compile`" if self.compiled else ""
            lines.append(f"Layers: {len(self.layers)}{suffix}")
            lines += _some([f"{x.name} ({x.class_name})" for x in self.layers])
        count = sum(math.prod(x.shape) for x in self.arrays)
        lines.append(f"Arrays: {len(self.arrays)}, with {count:,} numbers")
        lines += _some(
            [f"{x.name} {x.shape} {x.dtype}, sha256 {x.sha256[:16]}..." for x in self.arrays]
        )
        if self.assets:
            lines += [f"Files of layers: {len(self.assets)}", *_some(list(self.assets))]
        if self.custom:
            names = sorted({x.class_name for x in self.custom})
            entries = ", ".join(f"{name!r}: {name.rpartition('>')[2]}" for name in names)
            lines += [
                "Classes and functions that are not built in:",
                *_some([f"{x.class_name} (module {x.module}) at {x.position}"
                        for x in self.custom]),
                "To load the file, define them and pass",
                f"  custom_objects={{{entries}}}",
            ]  # fmt: skip
        if self.code:
            lines.append("Python code, which is never executed; the file cannot be loaded with it:")
            lines += _some([f"{x.name or x.class_name} at {x.position}" for x in self.code])
        return "\n".join(lines)


def _some(lines: list[str]) -> list[str]:
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"  {line}" for line in lines[:_SHOWN] + more]


@public
def inspect(filepath: Any, *, budget: Budget | None = None) -> FileReport:
    """Describe what a file of a model or of weights contains.

    Nothing is built, imported or executed. The arrays are read one at a time, for their digests.

    Args:
        filepath: A ``.keras`` archive or its members as a folder, an HDF5 or safetensors file, the
            index of several, or a config as JSON.
        budget: What reading may use; the default suits all but extraordinary files.

    Returns:
        A report; ``print`` shows it as text.

    Raises:
        FileNotFoundError: There is no such file.
        CorruptFileError: The file is damaged, or of no known format.
        UnsafeFileError: The file leads to others, or needs more than the budget.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(2, name="scores")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.keras"))
    ...     report = inspect(os.path.join(folder, "model.keras"))
    >>> [(x.name, x.shape) for x in report.arrays]
    [('layers/dense/vars/0', (4, 2)), ('layers/dense/vars/1', (2,))]
    >>> report.layers[-1].name
    'scores'
    """
    path = as_path(filepath)
    if path.is_dir():
        with Folder(path) as folder, loading(str(path), budget, folder.total):
            return _model(folder, "folder of a model", folder.total)
    must_exist(path)
    layout = shards.layout_of(path)
    if layout is not None:
        index = shards.read_index(path, layout, budget)
        kind = f"weights in several files ({layout.single})"
        with loading(str(path), budget, index.size), index.opened() as stored:
            return FileReport(str(path), kind, index.size, {}, arrays=_arrays(stored))
    size, where = path.stat().st_size, str(path)
    with loading(where, budget, size):
        with path.open("rb") as file:
            start = file.read(8)
            if start[:4] == b"PK\x03\x04":
                return _model(Archive(file, where), "archive of a model (.keras)", size)
        if start == hdf5_format.SIGNATURE:
            with hdf5.File(path, where) as stored:
                return _hdf5_file(stored, path, size)
        if start[:1] in (b"{", b"["):
            config = text.parse(path.read_bytes(), where, CorruptFileError)
            return FileReport(
                where, "config as JSON", size, _versions(config), **_described(config, None)
            )
        if path.suffix == ".safetensors":
            with safetensors.File(path, where) as stored:
                return FileReport(where, "safetensors", size, {}, arrays=_arrays(stored))
    raise CorruptFileError(
        f"{where} is of no known format.",
        expected="a '.keras' archive, an HDF5 or safetensors file, or a config as JSON",
        received=f"a file that starts with {start!r}",
    )


def _model(members: Members, kind: str, size: int) -> FileReport:
    metadata, config = (
        json_member(members, name) if name in members.names() else None
        for name in (METADATA, CONFIG)
    )
    arrays: tuple[StoredArray, ...] = ()
    if WEIGHTS in members.names():
        with hdf5.File(members.window(WEIGHTS), f"{members.where}: {WEIGHTS}") as stored:
            arrays = _arrays(stored)
    return FileReport(
        members.where, kind, size, _versions(metadata), arrays=arrays,
        assets=tuple(n for n in members.names() if n.startswith(f"{ASSETS}/")),
        **_described(config, (metadata or {}).get("keras_version")),
    )  # fmt: skip


def _hdf5_file(stored: hdf5.File, path: Path, size: int) -> FileReport:
    config, settings = (
        legacy.json_in(stored, name) for name in ("model_config", "training_config")
    )
    kind = "weights in HDF5" if config is None else "model in HDF5"
    if isinstance(config, dict) and settings is not None:
        config = {**config, "compile_config": settings}
    stated = {name: legacy.attribute(stored, name) for name in ("keras_version", "backend")}
    return FileReport(
        str(path), kind, size, _versions(stated), arrays=_arrays(stored),
        **_described(config, legacy.version_in(stored)),
    )  # fmt: skip


def _versions(stated: Any) -> dict[str, str]:
    if not isinstance(stated, Mapping):
        return {}
    names = {"keras_version": "keras", "backend": "backend"}
    return {names[k]: str(v) for k, v in stated.items() if k in names and isinstance(v, str)}


def _arrays(stored: Stored) -> tuple[StoredArray, ...]:
    def one(name: str) -> StoredArray:
        value = stored.read(name)
        return StoredArray(name, value.shape, value.dtype.name, digest_of(value))

    return tuple(map(one, stored.names()))


def _described(config: Any, version: Any) -> dict[str, Any]:
    """The fields of a report that come from a config, of a version of Keras if it is known."""
    old = is_old(config, version)
    known = version_of(version or config.get("keras_version")) if old else None

    def is_custom(record: Mapping[str, Any]) -> bool:
        return not (
            code.is_code(record) or registry.is_known(record) or operations.is_op(record)
            or (old and has_counterpart(record, known))
        )  # fmt: skip

    records = list(_records(config))
    objects = [(_object(record, position), record) for position, record in records]
    return {
        "layers": tuple(
            x for x, _ in objects
            if x.position.endswith("]") and x.position.rpartition("[")[0].endswith("layers")
        ),
        "compiled": isinstance(config, Mapping) and bool(config.get("compile_config")),
        "custom": tuple(x for x, record in objects if is_custom(record)),
        "code": tuple(x for x, record in objects if code.is_code(record)),
    }  # fmt: skip


def _records(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All records with a class name, outermost first, with their positions."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        position, x = waiting.pop()
        if isinstance(x, Mapping):
            if isinstance(x.get("class_name"), str) and "config" in x:
                yield position, x
            inside = [(f"{position}.{k}".lstrip("."), v) for k, v in x.items()]
        elif isinstance(x, list):
            inside = [(f"{position}[{i}]", v) for i, v in enumerate(x)]
        else:
            continue
        waiting.extend(reversed(inside))


def _object(record: Mapping[str, Any], position: str) -> StoredObject:
    inner = record["config"]
    is_function = record["class_name"] == "function"
    name = inner.get("name") if isinstance(inner, Mapping) else None
    shown = record.get("registered_name") or (inner if is_function else record["class_name"])
    module = record.get("module")
    return StoredObject(
        str(name or ""), str(shown), module if isinstance(module, str) else None, position
    )
