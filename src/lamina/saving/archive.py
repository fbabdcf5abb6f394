"""The ``.keras`` archive, and weights files.

The archive is a zip file with three members: ``metadata.json``, ``config.json`` (the architecture
and the arguments of ``compile``) and ``model.weights.h5``; the files of layers that define
``save_assets`` follow under ``assets/``. It contains no code. Writing is atomic.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lamina.core.boundary import public, warn
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    NotBuiltError,
    SavingWarning,
    SerializationError,
    StructureError,
    UnsafeFileError,
)
from lamina.layers import Layer
from lamina.layers.state import (
    flatten_layers,
    has_automatic_name,
    name_automatically,
    saved_addresses,
)
from lamina.runtime.files import replacing
from lamina.saving import optimizer, safetensors
from lamina.saving.weights import Assets, Places, Stored, fill, locate, locate_in
from lamina.serialization import registry

_METADATA, _CONFIG, _WEIGHTS = _MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
_ASSETS = "assets/"
_MAX_ASSETS = 2 * 2**30
# Characters that separate folders, or that some file systems do not allow in names.
_UNSAFE_IN_NAMES = re.compile(r'[\\:*?"<>|\x00-\x1f]')
_MAX_JSON = 64 * 2**20
_MAX_INFLATED = 4 * 2**30
# The Keras release whose file layout is written.
_LAYOUT = "3.15.1"


@runtime_checkable
class _Compiles(Protocol):
    """A model that a file is loaded into."""

    name: Any
    optimizer: Any
    built: bool

    def compile_from_config(self, config: Mapping[str, Any]) -> None: ...

    def resume_at(self, seed: int, step: int) -> None: ...


# The exceptions that zipfile raises for a damaged archive.
_DAMAGE = (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError,
           zlib.error)  # fmt: skip


def _hdf5() -> Any:
    """The module of HDF5 files; imported on first use, because importing h5py takes long."""
    from lamina.saving import hdf5

    return hdf5


@public
def save_model(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Save the architecture, weights, compile arguments and optimizer state in one file.

    Writing is atomic: if saving fails, an existing file is unchanged.

    Args:
        model: A built model.
        filepath: Path that ends in ``.keras``.
        overwrite: Whether an existing file may be replaced.
        include_optimizer: Whether to save the optimizer's state.

    Raises:
        ArgumentError: Another suffix.
        FileExistsError: The file exists and ``overwrite`` is False.
        NotBuiltError: The model has no weights yet.
        SerializationError: A layer that cannot be serialized; the message names its class.

    Warns:
        SavingWarning: The arguments of ``compile`` cannot be serialized (an optax transformation, a
            lambda as loss). The file then contains architecture and weights, and the loaded model
            has to be compiled again.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, os.path.join(folder, "model.keras"))
    ...     load_model(os.path.join(folder, "model.keras")).output_shape
    (None, 2)
    """
    path = Path(filepath)
    if path.suffix != ".keras":
        raise ArgumentError(
            f"The file of a model must end in '.keras'. Received: {str(path)!r}. For weights only, "
            "use `model.save_weights('name.weights.h5')` or '.safetensors'."
        )
    _may_write(path, overwrite)
    with replacing(path) as part:
        _write(model, part, include_optimizer, path.parent)


def to_bytes(model: Any) -> bytes:
    """The bytes that :func:`save_model` writes to a file."""
    file = io.BytesIO()
    _write(model, file, True, None)
    return file.getvalue()


def _write(model: Any, target: Any, include_optimizer: bool, folder: Path | None) -> None:
    """Write the archive.

    Args:
        model: A built model.
        target: A path or a binary file object.
        include_optimizer: Whether to save the optimizer's state.
        folder: Folder for a temporary file; the system's when None.
    """
    if not model.built:
        raise NotBuiltError(
            f"Model {model.name!r} has no weights yet. Call it on data or `build` it before saving."
        )
    config = registry.serialize(model)
    config["compile_config"] = settings = _compile_config(model, include_optimizer)
    places = locate(model)
    arrays = places.arrays()
    own: dict[str, Any] = {
        "seed": model.run_seed,
        "steps": model.steps_taken,
        "automatic_names": [has_automatic_name(x) for x in flatten_layers(model)],
    }
    if include_optimizer and settings and model.optimizer is not None and model.optimizer.built:
        arrays |= optimizer.variables_of(model.optimizer)
        own["optimizer_addresses"] = optimizer.addresses_of(model)
    metadata = {
        "keras_version": _LAYOUT,
        "date_saved": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "lamina": own,
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_METADATA, json.dumps(metadata))
        archive.writestr(_CONFIG, json.dumps(config))
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".weights.", suffix=".part") as weights:
            _hdf5().write(weights.name, arrays)
            archive.write(weights.name, _WEIGHTS)
        _write_assets(places.assets, archive)


def _write_assets(assets: Mapping[str, Assets], archive: zipfile.ZipFile) -> None:
    """Write the files of layers that have some, under ``assets/`` and the path of the layer."""
    for path, layer in assets.items():
        with tempfile.TemporaryDirectory(prefix="lamina-assets-") as folder:
            layer.save_assets(folder)
            for file in sorted(Path(folder).rglob("*")):
                if file.is_symlink() or not (file.is_dir() or file.is_file()):
                    raise SerializationError(
                        f"`save_assets` of {layer!r} made {file.name!r}, which is not a regular "
                        "file. Write files and folders only."
                    )
                if file.is_file():
                    archive.write(file, f"{_ASSETS}{path}{file.relative_to(folder).as_posix()}")


def _read_assets(assets: Mapping[str, Assets], archive: zipfile.ZipFile, path: Path) -> None:
    """Give the layers their files, in a folder that exists while they read them."""
    names = [n for n in archive.namelist() if n.startswith(_ASSETS) and not n.endswith("/")]
    size = sum(archive.getinfo(n).file_size for n in names)
    if size > _MAX_ASSETS:
        raise CorruptFileError(
            f"{path}: the files of its layers take {size} bytes, more than {_MAX_ASSETS}."
        )
    # The file of a layer inside another with assets is that of the innermost.
    owners = {n: max((p for p in assets if n[len(_ASSETS) :].startswith(p)), key=len, default=None)
              for n in names}  # fmt: skip
    if strangers := [n for n, owner in owners.items() if owner is None]:
        warn(f"{path} contains files that belong to no layer and were ignored: {strangers[:5]}.",
             SavingWarning)  # fmt: skip
    for start, layer in assets.items():
        with tempfile.TemporaryDirectory(prefix="lamina-assets-") as folder:
            for name in (n for n, owner in owners.items() if owner == start):
                _extract(archive, name, Path(folder), name[len(_ASSETS) + len(start) :], path)
            layer.load_assets(folder)


def _extract(archive: zipfile.ZipFile, name: str, folder: Path, inner: str, path: Path) -> None:
    """Write a member of the archive to ``folder / inner``, which must be inside ``folder``."""
    parts = inner.split("/")
    if any(part in ("", ".", "..") or _UNSAFE_IN_NAMES.search(part) for part in parts):
        raise UnsafeFileError(f"{path} contains a file with an unsafe name: {name[:200]!r}.")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(name) as source, target.open("xb") as out:
            shutil.copyfileobj(source, out)
    except _DAMAGE as e:
        raise CorruptFileError(f"{path}: cannot read {name[:200]!r}: {e}") from e


@public
def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Load a model from a file of :func:`save_model`, including weights and optimizer state.

    The file is only data: nothing in it is executed, imported or unpickled, and no other file is
    read.

    Args:
        filepath: The ``.keras`` file.
        custom_objects: Your own classes and functions by name, unless they are registered.
        compile: Whether to compile the model with the saved arguments.
        safe_mode: Kept for compatibility: code in a file is never executed.

    Raises:
        FileNotFoundError: There is no such file.
        CorruptFileError: The file is truncated, altered, or not of this format.
        UnsafeFileError: The file contains more than data.
        SerializationError: A class that is neither built in, registered nor passed.

    Warns:
        SavingWarning: The file contains arrays that do not belong to the model, or an optimizer
            state that does not match.
    """
    path = Path(filepath)
    _must_exist(path)
    return _read(path, path, custom_objects, compile)


def from_bytes(
    data: bytes, custom_objects: Mapping[str, Any] | None = None, compile: bool = True
) -> Any:
    """Load a model from the bytes that :func:`to_bytes` returned."""
    return _read(io.BytesIO(data), Path("the bytes of the model"), custom_objects, compile)


def _read(source: Any, path: Path, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Load the model of an archive.

    Args:
        source: A path or a binary file object.
        path: Its name in messages.
        custom_objects: See :func:`load_model`.
        compile: See :func:`load_model`.
    """
    with _opened(source, path) as archive:
        metadata, config = (_json_member(archive, name) for name in (_METADATA, _CONFIG))
        model = registry.deserialize(config, custom_objects)
        if not (isinstance(model, Layer) and isinstance(model, _Compiles)):
            raise CorruptFileError(f"{path} contains a {type(model).__name__}, not a model.")
        own = metadata.get("lamina")
        own = own if isinstance(own, dict) else {}
        name_automatically(model, own.get("automatic_names"))
        settings = config.get("compile_config") if compile else None
        if settings:
            _compile(model, settings, custom_objects, path)
        if not model.built:
            raise SerializationError(
                f"{path} does not say for which input shapes {type(model).__name__} was built, so "
                "its weights cannot be loaded. Give the class `get_build_config` and "
                "`build_from_config`, or call the model on data before saving it."
            )
        with _weights_member(archive, path) as stored:
            places = locate_in(stored, model)
            fill(
                stored, places, error=CorruptFileError, whole=False,
                way_out="Was the code of a class in it changed since it was saved?",
            )  # fmt: skip
            unknown = places.unknown(stored.names())
            if unknown:
                warn(
                    f"{path} contains arrays that do not belong to the model and were ignored: "
                    f"{unknown[:5]}{' ...' if len(unknown) > 5 else ''}.",
                    SavingWarning,
                )
            if settings and model.optimizer is not None:
                optimizer.read(stored, model, own.get("optimizer_addresses"))
        _read_assets(places.assets, archive, path)
    if isinstance(own.get("seed"), int) and own["seed"] >= 0:
        steps = own.get("steps")
        if not isinstance(steps, int) or not 0 <= steps < 2**31:
            steps = 0 if model.optimizer is None else int(model.optimizer.iterations)
        model.resume_at(own["seed"], steps)
    return model


# ---- compile settings and optimizer --------------------------------------------------------------


def _compile_config(model: Any, include_optimizer: bool) -> Any:
    if not model.compiled:
        return {}
    settings = model.get_compile_config()
    try:
        return registry.serialize(settings)
    except SerializationError as e:
        if include_optimizer or not _is_describable({**settings, "optimizer": None}):
            warn(
                f"The file of {model.name!r} contains architecture and weights, but not how the "
                f"model was compiled: {e}\nCall `compile` again after loading.",
                SavingWarning,
            )
        return {}


def _is_describable(settings: Any) -> bool:
    try:
        registry.serialize(settings)
    except SerializationError:
        return False
    return True


def _compile(model: Any, settings: Any, custom_objects: Any, path: Path) -> None:
    try:
        model.compile_from_config(registry.deserialize(settings, custom_objects))
    except LaminaError as e:
        raise SerializationError(
            f"{path} contains arguments of `compile` that cannot be deserialized: {e}",
            cure="Pass `compile=False` to load the model without them.",
        ) from e


# ---- reading the zip -----------------------------------------------------------------------------


@contextmanager
def _opened(source: Any, path: Path) -> Iterator[zipfile.ZipFile]:
    """Open and check the archive: a zip file in which each of the three members occurs once."""
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as e:
        raise CorruptFileError(
            f"{path} is not a '.keras' archive (a zip file): {e}. Is it truncated? A whole model "
            "in one '.h5' file of Keras 2 is not supported: build the model in code and load its "
            "weights with `load_weights`."
        ) from e
    with archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise CorruptFileError(f"{path} contains two members of the same name.")
        missing = [n for n in _MEMBERS if n not in names]
        if missing:
            raise CorruptFileError(f"{path} lacks {missing}. It contains {names[:10]}.")
        yield archive


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if not path.is_file():
        raise CorruptFileError(f"{path} is not a regular file.")


def _json_member(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        with archive.open(name) as file:
            text = file.read(_MAX_JSON + 1)
    except _DAMAGE as e:
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


@contextmanager
def _weights_member(archive: zipfile.ZipFile, path: Path) -> Iterator[Stored]:
    """Open the weights member, in place if possible, and check its CRC."""
    info = archive.getinfo(_WEIGHTS)
    where = f"{path}: {_WEIGHTS}"
    try:
        if info.compress_type == zipfile.ZIP_STORED and archive.filename is not None:
            source: Any = _Window(path, info)
        elif info.file_size > min(_MAX_INFLATED, 1100 * info.compress_size):
            raise CorruptFileError(f"{where} inflates to {info.file_size} bytes.")
        else:
            source = io.BytesIO(archive.read(info))
    except _DAMAGE as e:
        if isinstance(e, CorruptFileError):
            raise
        raise CorruptFileError(f"{where} cannot be read: {e}") from e
    with source, _hdf5().File(source, where) as stored:
        yield stored


class _Window(io.RawIOBase):
    """An uncompressed member of a zip file as a file object, read in place.

    Raises:
        CorruptFileError: Its position or its checksum differs from the index.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self._file = path.open("rb")
        self._size, self._at = info.file_size, 0
        try:
            self._file.seek(info.header_offset)
            header = self._file.read(30)
            lengths = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
            self._offset = info.header_offset + 30 + sum(lengths)
            if header[:4] != b"PK\x03\x04" or len(header) < 30:
                raise CorruptFileError(f"{path}: {info.filename} is not where the index says.")
            self._check(info.CRC, f"{path}: {info.filename}")
        except BaseException:
            self._file.close()
            raise

    def _check(self, expected: int, where: str) -> None:
        self._file.seek(self._offset)
        crc, left = 0, self._size
        while left:
            chunk = self._file.read(min(left, 1 << 20))
            if not chunk:
                raise CorruptFileError(f"{where} is truncated.")
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
        if crc != expected:
            raise CorruptFileError(f"{where} was altered: its checksum does not match.")

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


# ---- weights files -------------------------------------------------------------------------------


@public
def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Save the weights only.

    Args:
        model: A built model or layer.
        filepath: Path that ends in ``.weights.h5`` (Keras's layout) or ``.safetensors``.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ArgumentError: Another suffix.
        FileExistsError: The file exists and ``overwrite`` is False.
        NotBuiltError: The model has no weights yet.
    """
    path = Path(filepath)
    kind = _weights_kind(path, writing=True)
    _may_write(path, overwrite)
    if not model.built:
        raise NotBuiltError(f"{model.name!r} has no weights yet. Call it on data before saving.")
    with replacing(path) as part:
        if kind == "h5":
            _hdf5().write(str(part), locate(model).arrays())
        else:
            safetensors.write(part, _addressed(model).arrays())


@public
def load_weights(
    model: Any, filepath: Any, skip_mismatch: bool = False, by_name: bool = False
) -> None:
    """Load weights from a file of :func:`save_weights`. If that fails, the model is unchanged.

    Args:
        model: A built model or layer of the same architecture.
        filepath: Path that ends in ``.weights.h5`` or ``.safetensors``; other ``.h5`` files are
            read in the layout of Keras 1 and 2, which published weights have.
        skip_mismatch: Whether to skip weights whose array is missing or of another shape.
        by_name: For the layout of Keras 1 and 2: whether to load only the layers whose names are in
            both the file and the model.

    Raises:
        StructureError: An array is missing, has another shape, or does not belong to the model.
        CorruptFileError: The file is damaged.
        UnsafeFileError: The file refers to other files.

    Warns:
        SavingWarning: Weights were skipped because of ``skip_mismatch``.
    """
    path = Path(filepath)
    kind = _weights_kind(path)
    if by_name and kind != "legacy":
        raise ArgumentError(
            "`by_name` is only for files in the layout of Keras 1 and 2, which end in '.h5'. "
            f"Received: {str(path)!r}. Use `skip_mismatch=True` to load what matches."
        )
    _must_exist(path)
    if not model.built:
        raise NotBuiltError(
            f"{model.name!r} has no weights yet. Call it on data, or `build` it, before loading."
        )
    with (safetensors if kind == "safetensors" else _hdf5()).File(path, str(path)) as stored:
        if kind == "h5":
            places = locate_in(stored, model)
        elif isinstance(stored, safetensors.File):
            places = _addressed(model)
        else:
            places = Places.of(stored.locate_legacy(model, by_name))
        fill(
            stored, places, error=StructureError, skip_mismatch=skip_mismatch,
            whole=kind != "legacy",
            way_out="Load it into the architecture that it was saved from, or pass "
            "`skip_mismatch=True` to load what matches.",
        )  # fmt: skip


def _addressed(model: Any) -> Places:
    """The variables by address, for safetensors files."""
    found = locate(model)
    if found.stores:
        layer = next(iter(found.stores.values()))
        raise SerializationError(
            f"Layer {layer.name!r} ({type(layer).__name__}) has a `save_own_variables`, which "
            "'.safetensors' files do not support. Use a name that ends in '.weights.h5'."
        )
    states = set(found.optional.values())
    optional = {a: v for a, (v, _) in model.named_variables().items() if v in states}
    return Places.of(saved_addresses(model))._replace(optional=optional)


def _weights_kind(path: Path, writing: bool = False) -> str:
    if path.name.endswith(".weights.h5"):
        return "h5"
    if path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix in (".h5", ".hdf5") and not writing:
        return "legacy"
    hint = " A whole model is loaded with `load_model`." if path.suffix == ".keras" else ""
    raise ArgumentError(
        "A weights file must end in '.weights.h5' or '.safetensors'. "
        f"Received: {str(path)!r}.{hint}"
    )


def _may_write(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{str(path)!r} exists. Pass overwrite=True to replace it.")
    if not os.path.isdir(path.parent):
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to save into.")
