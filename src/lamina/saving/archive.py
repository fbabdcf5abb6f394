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
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from lamina.core.boundary import public, warn
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    NotBuiltError,
    SavingWarning,
    SerializationError,
    StructureError,
)
from lamina.layers import Layer
from lamina.layers.matrices import forms_of, take_forms
from lamina.layers.state import (
    flatten_layers,
    has_automatic_name,
    name_automatically,
    saved_addresses,
)
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import replacing
from lamina.saving import hdf5, hdf5_format, legacy, optimizer, safetensors
from lamina.saving.container import Archive
from lamina.saving.upgrade import is_old, rebuild, upgrade_training
from lamina.saving.weights import (
    Assets,
    Places,
    Stored,
    Verified,
    fill,
    locate,
    locate_in,
)
from lamina.serialization import registry, text

METADATA, CONFIG, WEIGHTS = _MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
ASSETS = "assets/"
_MAX_JSON = 64 * 2**20
# The Keras release whose file layout is written.
_LAYOUT = "3.15.1"


@runtime_checkable
class Compiles(Protocol):
    """A model that a file is loaded into."""

    name: Any
    optimizer: Any
    built: bool

    def compile_from_config(self, config: Mapping[str, Any]) -> None: ...

    def resume_at(self, seed: int, step: int) -> None: ...


@public
def save_model(
    model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True
) -> None:
    """Save the architecture, weights, compile arguments and optimizer state in one file.

    Writing is atomic: if saving fails, an existing file is unchanged.

    Args:
        model: A built model.
        filepath: Path that ends in ``.keras``; or in ``.h5`` or ``.hdf5``, for the HDF5 layout that
            Keras 1 to 3 read.
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
    path = as_path(filepath)
    is_hdf5 = path.suffix in (".h5", ".hdf5") and not path.name.endswith(".weights.h5")
    if path.suffix != ".keras" and not is_hdf5:
        raise ArgumentError(
            "The file of a model must end in '.keras', '.h5' or '.hdf5'. Received: "
            f"{str(path)!r}. For weights only, use `model.save_weights('name.weights.h5')` or "
            "'.safetensors'."
        )
    _may_write(path, overwrite)
    with replacing(path) as part:
        (_write_hdf5 if is_hdf5 else _write)(model, part, include_optimizer, path.parent)


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
    config, own = _description(model)
    config["compile_config"] = settings = _compile_config(model, include_optimizer)
    places = locate(model)
    arrays = places.arrays()
    if include_optimizer and settings and model.optimizer is not None and model.optimizer.built:
        arrays |= optimizer.variables_of(model.optimizer)
        own["optimizer_addresses"] = optimizer.addresses_of(model)
    metadata = {
        "keras_version": _LAYOUT,
        "date_saved": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "lamina": own,
    }
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix=".weights.", suffix=".part") as weights,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
    ):
        own["sha256"] = hdf5.write(weights.name, arrays)
        archive.writestr(METADATA, json.dumps(metadata))
        archive.writestr(CONFIG, json.dumps(config))
        archive.write(weights.name, WEIGHTS)
        _write_assets(places.assets, archive)


def _description(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a model, and what Lamina stores besides what Keras does."""
    if not model.built:
        raise NotBuiltError(
            f"Model {model.name!r} has no weights yet. Call it on data or `build` it before saving."
        )
    own = {
        "seed": model.run_seed,
        "steps": model.steps_taken,
        "automatic_names": [has_automatic_name(x) for x in flatten_layers(model)],
    }
    if forms := forms_of(flatten_layers(model)):
        own["quantized"] = forms
    return registry.serialize(model), own


def _write_hdf5(model: Any, target: Any, include_optimizer: bool, _: Path) -> None:
    """Write a whole model as one file of HDF5; arguments as in :func:`_write`."""
    record, own = _description(model)
    _refuse_stores(locate(model), ".h5")
    settings, state = _compile_config(model, True) if include_optimizer else {}, {}
    if settings and model.optimizer is not None and model.optimizer.built:
        state = model.optimizer.state_variables
        own["optimizer_addresses"] = optimizer.addresses_of(model)
    attributes, arrays = legacy.describe(model, record, settings, state, _LAYOUT, own)
    hdf5.write(str(target), arrays, attributes)


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
                    archive.write(file, f"{ASSETS}{path}{file.relative_to(folder).as_posix()}")


def _read_assets(assets: Mapping[str, Assets], archive: Archive) -> None:
    """Give the layers their files, in a folder that exists while they read them."""
    names = [n for n in archive.names() if n.startswith(ASSETS)]
    # The file of a layer inside another with assets is that of the innermost.
    owners = {n: max((p for p in assets if n[len(ASSETS) :].startswith(p)), key=len, default=None)
              for n in names}  # fmt: skip
    if strangers := [n for n, owner in owners.items() if owner is None]:
        warn(f"{archive.where} contains files that belong to no layer and were ignored: "
             f"{strangers[:5]}.", SavingWarning)  # fmt: skip
    for start, layer in assets.items():
        with tempfile.TemporaryDirectory(prefix="lamina-assets-") as folder:
            for name in (n for n, owner in owners.items() if owner == start):
                target = Path(folder, name[len(ASSETS) + len(start) :])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
            layer.load_assets(folder)


@public
def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    *,
    budget: Budget | None = None,
) -> Any:
    """Load a model from a file of :func:`save_model`, including weights and optimizer state.

    The file is only data: nothing in it is executed, imported or unpickled, and no other file is
    read.

    Args:
        filepath: A ``.keras`` archive, or HDF5, of Keras 1.1 to 3, whatever the name.
        custom_objects: Your own classes and functions by name, unless they are registered.
        compile: Whether to compile the model with the saved arguments.
        safe_mode: Kept for compatibility: code in a file is never executed.
        budget: What loading may use; the default suits all but extraordinary files.

    Raises:
        FileNotFoundError: There is no such file.
        CorruptFileError: The file is truncated, altered, or not of this format; or its arrays are
            not those of the model.
        UnsafeFileError: The file contains more than data.
        SerializationError: A class that is neither built in, registered nor passed.

    Warns:
        SavingWarning: The file contains an optimizer state that does not match.
    """
    path = as_path(filepath)
    must_exist(path)
    with path.open("rb") as file:
        if file.read(8) != hdf5_format.SIGNATURE:
            return _read(file, str(path), custom_objects, compile, budget)
    with loading(str(path), budget, path.stat().st_size), hdf5.File(path, str(path)) as stored:
        return _read_hdf5(stored, custom_objects, compile)


def from_bytes(
    data: bytes, custom_objects: Mapping[str, Any] | None = None, compile: bool = True
) -> Any:
    """Load a model from the bytes that :func:`to_bytes` returned."""
    return _read(io.BytesIO(data), "the bytes of the model", custom_objects, compile, None)


def _read(
    file: BinaryIO, where: str, custom_objects: Mapping[str, Any] | None, compile: bool,
    budget: Budget | None,
) -> Any:  # fmt: skip
    """Load the model of an archive.

    Args:
        file: A binary file object.
        where: Its name in messages.
        custom_objects: See :func:`load_model`.
        compile: See :func:`load_model`.
        budget: See :func:`load_model`.
    """
    with loading(where, budget, file.seek(0, os.SEEK_END)):
        file.seek(0)
        if file.read(4) != b"PK\x03\x04":
            raise CorruptFileError(
                f"{where} is neither a '.keras' archive (a zip file) nor HDF5. Is it truncated?"
            )
        archive = Archive(file, where)
        missing = [n for n in _MEMBERS if n not in archive.names()]
        if missing:
            raise CorruptFileError(f"{where} lacks {missing}. It contains {archive.names()[:10]}.")
        metadata, config = json_member(archive, METADATA), json_member(archive, CONFIG)
        version = metadata.get("keras_version")
        model = rebuild(config, version, custom_objects, where)
        own = _checked(model, metadata.get("lamina"), where)
        settings = config.get("compile_config") if compile else None
        if isinstance(settings, dict) and settings and is_old(config, version):
            settings = upgrade_training(settings, version, custom_objects, _count_outputs(model))
        if settings:
            optimizer.compile_with(model, settings, custom_objects, where)
        _must_be_built(model, where)
        with hdf5.File(archive.window(WEIGHTS), f"{where}: {WEIGHTS}") as file_of_arrays:
            old = legacy.Renamed(file_of_arrays) if is_old(config, version) else None
            digests = own.get("sha256")
            stored: Stored = old or file_of_arrays
            if isinstance(digests, dict) and old is None:
                stored = Verified(file_of_arrays, digests)
            places = locate_in(stored, model)
            fill(
                stored, places, error=CorruptFileError,
                way_out="Was the code of a class in it changed since it was saved?",
            )  # fmt: skip
            if settings and old is not None:
                legacy.read_state(old, model, old.optimizer_paths(), is_current=False)
                if not old.optimizer_paths():  # of the optimizers from before tf.keras 2.11
                    warn(f"{where} contains no state of the optimizer, which starts anew.",
                         SavingWarning)  # fmt: skip
            elif settings and model.optimizer is not None:
                optimizer.read(stored, model, own.get("optimizer_addresses"))
        _read_assets(places.assets, archive)
        _resume(model, own)
    return model


def _read_hdf5(stored: hdf5.File, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Load the model of a file of HDF5; see :func:`load_model`."""
    where, version = stored.where, legacy.version_in(stored)
    record = legacy.json_in(stored, "model_config")
    if not isinstance(record, dict):
        raise CorruptFileError(
            f"{where} contains no architecture (no 'model_config'), only weights. Build the model "
            "in code and load them: `model.load_weights(...)`."
        )
    model = rebuild(record, version, custom_objects, where)
    own = _checked(model, legacy.json_in(stored, "lamina"), where)
    training = legacy.json_in(stored, "training_config") if compile else None
    if isinstance(training, dict) and training:
        settings = upgrade_training(training, version, custom_objects, _count_outputs(model))
        optimizer.compile_with(model, settings, custom_objects, where)
    _must_be_built(model, where)
    converted, places = legacy.locate(stored, model)
    fill(
        converted, places, error=CorruptFileError, whole=False,
        way_out="Was the code of a class in it changed since it was saved?",
    )  # fmt: skip
    if isinstance(training, dict) and training:
        legacy.read_optimizer(
            stored, model, training, places.variables, own.get("optimizer_addresses")
        )
    _resume(model, own)
    return model


def _checked(model: Any, own: Any, where: str) -> dict[str, Any]:
    """Check that a file described a model, and use the names that Lamina stored."""
    if not (isinstance(model, Layer) and isinstance(model, Compiles)):
        raise CorruptFileError(f"{where} contains a {type(model).__name__}, not a model.")
    own = own if isinstance(own, dict) else {}
    name_automatically(model, own.get("automatic_names"))
    take_forms(flatten_layers(model), own.get("quantized"))
    return own


def _count_outputs(model: Any) -> int:
    return 1 if model.layer_graph is None else len(model.layer_graph.outputs)


def _must_be_built(model: Any, where: str) -> None:
    if not model.built:
        raise SerializationError(
            f"{where} does not say for which input shapes {type(model).__name__} was built, so "
            "its weights cannot be loaded. Give the class `get_build_config` and "
            "`build_from_config`, or call the model on data before saving it."
        )


def _resume(model: Any, own: Mapping[str, Any]) -> None:
    """Continue the random draws where the model that was saved was."""
    seed = own.get("seed")
    if type(seed) is int and seed >= 0:
        steps = own.get("steps")
        if type(steps) is not int or not 0 <= steps < 2**31:
            steps = 0 if model.optimizer is None else int(model.optimizer.iterations)
        model.resume_at(seed, steps)


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


# ---- reading the zip -----------------------------------------------------------------------------


def as_path(filepath: Any) -> Path:
    """The path that a user gave, as text, bytes or a path object."""
    try:
        return Path(os.fsdecode(filepath))
    except TypeError as e:
        raise ArgumentError(
            f"A file is given by its path. Received: {type(filepath).__name__}.",
            cure="Write the content of an open file to disk, and pass its path.",
        ) from e


def must_exist(path: Path) -> None:
    """Raise an error if there is no such file, or if it is no regular one."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if not path.is_file():
        raise CorruptFileError(f"{path} is not a regular file.")


def json_member(archive: Archive, name: str) -> dict[str, Any]:
    """The JSON object in a member of an archive."""
    where = f"{archive.where}: {name}"
    if archive.size(name) > _MAX_JSON:
        raise CorruptFileError(f"{where} is larger than {_MAX_JSON} bytes.")
    # Configs may contain infinity, as an argument; metadata has no use for it.
    value = text.parse(archive.read(name), where, CorruptFileError, finite=name == METADATA)
    if not isinstance(value, dict):
        raise CorruptFileError(f"{where} is not a JSON object.")
    return value


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
    path = as_path(filepath)
    kind = _weights_kind(path, writing=True)
    _may_write(path, overwrite)
    if not model.built:
        raise NotBuiltError(f"{model.name!r} has no weights yet. Call it on data before saving.")
    with replacing(path) as part:
        if kind == "h5":
            hdf5.write(str(part), locate(model).arrays())
        else:
            safetensors.write(part, _addressed(model).arrays())


@public
def load_weights(
    model: Any,
    filepath: Any,
    skip_mismatch: bool = False,
    by_name: bool = False,
    *,
    budget: Budget | None = None,
) -> None:
    """Load weights from a file of :func:`save_weights`. If that fails, the model is unchanged.

    Args:
        model: A built model or layer of the same architecture.
        filepath: Path that ends in ``.weights.h5`` or ``.safetensors``; other ``.h5`` files are
            read in the layout of Keras 1 and 2, which published weights have.
        skip_mismatch: Whether to skip weights whose array is missing or of another shape.
        by_name: For the layout of Keras 1 and 2: whether to load only the layers whose names are in
            both the file and the model.
        budget: What loading may use; the default suits all but extraordinary files.

    Raises:
        StructureError: An array is missing, has another shape, or does not belong to the model.
        CorruptFileError: The file is damaged.
        UnsafeFileError: The file refers to other files.

    Warns:
        SavingWarning: Weights were skipped because of ``skip_mismatch``.
    """
    path = as_path(filepath)
    kind = _weights_kind(path)
    if by_name and kind != "legacy":
        raise ArgumentError(
            "`by_name` is only for files in the layout of Keras 1 and 2, which end in '.h5'. "
            f"Received: {str(path)!r}. Use `skip_mismatch=True` to load what matches."
        )
    must_exist(path)
    if not model.built:
        raise NotBuiltError(
            f"{model.name!r} has no weights yet. Call it on data, or `build` it, before loading."
        )
    module = safetensors if kind == "safetensors" else hdf5
    with (
        loading(str(path), budget, path.stat().st_size), module.File(path, str(path)) as stored
    ):  # fmt: skip
        if kind == "h5":
            places = locate_in(stored, model)
        elif isinstance(stored, safetensors.File):
            places = _addressed(model)
        else:
            stored, places = legacy.locate(stored, model, by_name)
        fill(
            stored, places, error=StructureError, skip_mismatch=skip_mismatch,
            whole=kind != "legacy",
            way_out="Load it into the architecture that it was saved from, or pass "
            "`skip_mismatch=True` to load what matches.",
        )  # fmt: skip


def _addressed(model: Any) -> Places:
    """The variables by address, for safetensors files."""
    found = locate(model)
    _refuse_stores(found, ".safetensors")
    states = set(found.optional.values())
    optional = {a: v for a, (v, _) in model.named_variables().items() if v in states}
    return Places.of(saved_addresses(model))._replace(optional=optional)


def _refuse_stores(places: Places, suffix: str) -> None:
    """Raise an error if a layer saves arrays of its own, for which the format has no place."""
    own = [x for x in places.stores.values()
           if registry.defined_by_user(type(x), "save_own_variables")]  # fmt: skip
    if own:
        layer = own[0]
        better = ".keras" if suffix == ".h5" else ".weights.h5"
        raise SerializationError(
            f"Layer {layer.name!r} ({type(layer).__name__}) has a `save_own_variables`, which "
            f"{suffix!r} files do not support. Use a name that ends in {better!r}."
        )


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
