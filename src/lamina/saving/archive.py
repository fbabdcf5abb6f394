"""The ``.keras`` archive, and files of weights alone.

The archive is a zip of three members: ``metadata.json``, ``config.json`` (the architecture and what
``compile`` was told, as data) and ``model.weights.h5``. It holds no code. Writing is atomic.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from lamina.core import registry
from lamina.core.files import replacing
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, CorruptFileError, NotBuiltError, SerializationError
from lamina.saving import hdf5, safetensors
from lamina.saving.weights import locate

_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
_MAX_JSON = 64 * 2**20
# The Keras release whose layout the archive follows.
_LAYOUT = "3.15.1"


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Save architecture, weights, compile settings and optimizer state in one file.

    Args:
        model: a built model.
        filepath: ends in ``.keras``.
        overwrite: whether an existing file may be replaced.
        include_optimizer: whether the optimizer's state goes along.

    Raises:
        ArgumentError: another ending.
        FileExistsError: the file exists and ``overwrite`` is False.
        SerializationError: a layer that has no description as data; the message names its class.
    """
    path = Path(filepath)
    if path.suffix != ".keras":
        raise ArgumentError(
            f"A model's file ends in '.keras'. Received: {str(path)!r}. For weights alone, "
            "use `model.save_weights('name.weights.h5')` or '.safetensors'."
        )
    _may_write(path, overwrite)
    if not model.built:
        raise NotBuiltError(
            f"Model {model.name!r} has no weights yet. Call it on data or `build` it before saving."
        )
    config = registry.serialize(model)
    config["compile_config"] = _compile_config(model)
    metadata = {
        "keras_version": _LAYOUT,
        "date_saved": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "lamina": {"seed": model.seed},
    }
    variables = locate(model) | (_optimizer_variables(model) if include_optimizer else {})
    text = {"metadata.json": json.dumps(metadata), "config.json": json.dumps(config)}
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, content in text.items():
            archive.writestr(name, content)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part") as weights:
            hdf5.write(weights, variables)
            weights.flush()
            archive.write(weights.name, "model.weights.h5")


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Rebuild the model that :func:`save_model` wrote, weights and optimizer state included.

    The file is data: nothing in it is executed, imported or unpickled, and no other file is read.

    Args:
        filepath: the ``.keras`` file.
        custom_objects: your own classes and functions by name, where they are not registered.
        compile: whether to compile the model as it was.
        safe_mode: only True: there is no unsafe way.

    Raises:
        CorruptFileError: truncated, altered, or not of this format.
        UnsafeFileError: the file asks for more than data.
        SerializationError: a class that is not built in, registered or passed.
    """
    if safe_mode is not True:
        raise ArgumentError("Lamina loads files in safe mode only; leave out `safe_mode`.")
    path = Path(filepath)
    with _opened(path) as archive:
        metadata, config = (_json_member(archive, name) for name in _MEMBERS[:2])
        model = registry.deserialize(config, custom_objects)
        seed = metadata.get("lamina", {}).get("seed")
        if isinstance(seed, int):
            model.seed = seed
        settings = config.get("compile_config")
        if compile and settings:
            model.compile_from_config(_revived(settings, custom_objects))
        if not model.built:
            raise SerializationError(
                f"{path} does not say for which input shapes {type(model).__name__} was built, so "
                "its weights have no place. Give the class `get_build_config` and "
                "`build_from_config`, or call the model on data before saving it."
            )
        with _weights_file(archive, path) as h5:
            _read_into(h5, locate(model), path)
            if compile and settings and model.optimizer is not None:
                _read_optimizer(h5, model, path)
    return model


def _compile_config(model: Any) -> Any:
    if not model.compiled:
        return {}
    try:
        return registry.serialize(model.compile_config())
    except SerializationError as e:
        raise SerializationError(
            f"What {model.name!r} was compiled with cannot go into a file: {e} Save after "
            "registering it, or save weights alone."
        ) from e


def _revived(settings: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    return registry.deserialize(settings, custom_objects)


def _optimizer_variables(model: Any) -> dict[str, Variable]:
    optimizer = model.optimizer
    if optimizer is None or not optimizer.built:
        return {}
    return {f"optimizer/vars/{i}": v for i, v in enumerate(optimizer.variables)}


def _read_optimizer(h5: Any, model: Any, path: Path) -> None:
    if hdf5.member(h5, "optimizer/vars/0") is None:
        return
    model.optimizer.build({a: v for a, (v, trains) in model.named_variables().items() if trains})
    _read_into(h5, _optimizer_variables(model), path)


def _read_into(h5: Any, variables: Mapping[str, Variable], path: Path) -> None:
    """Fill every variable from the file, or none of them."""
    values = {}
    missing = []
    for address, variable in variables.items():
        value = hdf5.read(h5, address, variable.shape, variable.dtype)
        if value is None:
            missing.append(f"{variable.path} ({address})")
        values[variable] = value
    if missing:
        raise CorruptFileError(
            f"{path} lacks {len(missing)} of the model's {len(variables)} weights: "
            + ", ".join(missing[:10]) + (" ..." if len(missing) > 10 else "") + "."
        )  # fmt: skip
    for variable, value in values.items():
        variable.assign(value)


# ---- reading the zip -----------------------------------------------------------------------------


class _opened:
    """The archive, checked: a regular zip with just the three members, stored or deflated."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        if not path.is_file():
            raise CorruptFileError(f"{path} is not a regular file.")
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as e:
            raise CorruptFileError(
                f"{path} is not a '.keras' archive (a zip): {e}. Is it truncated?"
            ) from e

    def __enter__(self) -> zipfile.ZipFile:
        names = self.archive.namelist()
        if len(set(names)) != len(names):
            raise CorruptFileError(f"{self.archive.filename} holds two members of one name.")
        missing = [n for n in _MEMBERS if n not in names]
        if missing:
            raise CorruptFileError(f"{self.archive.filename} lacks {missing}.")
        return self.archive

    def __exit__(self, *_: object) -> None:
        self.archive.close()


def _json_member(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        with archive.open(name) as file:
            text = file.read(_MAX_JSON + 1)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as e:
        raise CorruptFileError(f"{archive.filename}: cannot read {name}: {e}") from e
    if len(text) > _MAX_JSON:
        raise CorruptFileError(f"{archive.filename}: {name} is larger than {_MAX_JSON} bytes.")
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as e:
        raise CorruptFileError(f"{archive.filename}: {name} is not valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise CorruptFileError(f"{archive.filename}: {name} is not a JSON object.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


class _Window(io.RawIOBase):
    """A stretch of a file as a file: reads the stored member of a zip in place."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb")
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._offset + self._at)
        done = self._file.readinto(memoryview(buffer)[:count])
        self._at += done
        return done

    def close(self) -> None:
        self._file.close()
        super().close()


def _weights_file(archive: zipfile.ZipFile, path: Path) -> h5py.File:
    info = archive.getinfo("model.weights.h5")
    try:
        if info.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as file:
                file.seek(info.header_offset)
                header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise CorruptFileError(f"{path}: model.weights.h5 is not where the index says.")
            start = info.header_offset + 30 + sum(int.from_bytes(header[i : i + 2], "little")
                                                  for i in (26, 28))  # fmt: skip
            if start + info.file_size > path.stat().st_size:
                raise CorruptFileError(f"{path}: model.weights.h5 is truncated.")
            return h5py.File(_Window(path, start, info.file_size), "r")
        if info.file_size > 4 * 2**30:
            raise CorruptFileError(f"{path}: model.weights.h5 inflates to {info.file_size} bytes.")
        with archive.open(info) as member:
            return h5py.File(io.BytesIO(member.read(info.file_size)), "r")
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as e:
        raise CorruptFileError(f"{path}: model.weights.h5 cannot be read: {e}") from e


# ---- weights alone -------------------------------------------------------------------------------


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Save the weights alone.

    Args:
        model: a built model or layer.
        filepath: ends in ``.weights.h5`` (Keras's layout) or ``.safetensors``.
        overwrite: whether an existing file may be replaced.
    """
    path = Path(filepath)
    kind = _weights_kind(path, writing=True)
    _may_write(path, overwrite)
    if not model.built:
        raise NotBuiltError(f"{model.name!r} has no weights yet. Call it on data before saving.")
    with replacing(path) as part:
        if kind == "safetensors":
            safetensors.write(part, {a: v for a, (v, _) in model.named_variables().items()})
        else:
            hdf5.write(part, locate(model))


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False) -> None:
    """Read weights that :func:`save_weights` wrote; all of them, or the model stays as it was.

    Args:
        model: a built model or layer of the same architecture.
        filepath: ends in ``.weights.h5`` or ``.safetensors``; ``.h5`` is read as the layout of
            Keras 1 and 2, in which published weights come.
        skip_mismatch: leave weights as they are whose array is missing or of another shape.

    Raises:
        CorruptFileError: an array is missing or of another shape; or the file is damaged.
    """
    path = Path(filepath)
    kind = _weights_kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if not model.built:
        raise NotBuiltError(
            f"{model.name!r} has no weights yet. Call it on data, or `build` it, before loading."
        )
    if kind == "safetensors":
        named = {a: v for a, (v, _) in model.named_variables().items()}
        for variable, value in safetensors.read(path, named, skip_mismatch).items():
            variable.assign(value)
        return
    try:
        h5 = h5py.File(path, "r")
    except OSError as e:
        raise CorruptFileError(f"{path} is not an HDF5 file: {e}") from e
    with h5:
        variables = locate(model)
        if kind == "legacy":
            variables = hdf5.locate_legacy(h5, model)
        if skip_mismatch:
            variables = {a: v for a, v in variables.items() if _fits(h5, a, v)}
        _read_into(h5, variables, path)


def _fits(h5: Any, address: str, variable: Variable) -> bool:
    dataset = hdf5.member(h5, address)
    return isinstance(dataset, h5py.Dataset) and tuple(dataset.shape or ()) == variable.shape


def _weights_kind(path: Path, writing: bool = False) -> str:
    if path.name.endswith(".weights.h5"):
        return "h5"
    if path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix in (".h5", ".hdf5") and not writing:
        return "legacy"
    raise ArgumentError(
        f"A file of weights ends in '.weights.h5' or '.safetensors'. Received: {str(path)!r}."
    )


def _may_write(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{str(path)!r} exists. Pass overwrite=True to replace it.")
    if not os.path.isdir(path.parent):
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to save into.")
