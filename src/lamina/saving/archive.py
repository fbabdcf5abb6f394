"""Whole models: the ``.keras`` archive, its members as a folder, and HDF5. They contain no code."""

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
    SavingWarning,
    SerializationError,
)
from lamina.layers import Layer
from lamina.layers.matrices import forms_of, take_forms
from lamina.layers.state import (
    flatten_layers,
    has_automatic_name,
    name_automatically,
)
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import NOWHERE, replacing, replacing_entries
from lamina.saving import hdf5, hdf5_format, legacy, optimizer
from lamina.saving.container import Archive
from lamina.saving.members import (
    ASSETS,
    CONFIG,
    ENTRIES,
    METADATA,
    PROBE,
    REQUIRED,
    WEIGHTS,
    Discarded,
    Folder,
    Members,
    Target,
    Unzipped,
    Zipped,
    belongs_to_others,
    json_member,
)
from lamina.saving.paths import as_path, may_write, must_exist
from lamina.saving.probe import check_probe, write_probe
from lamina.saving.upgrade import is_old, rebuild, upgrade_training
from lamina.saving.weight_files import refuse_stores, weights_of
from lamina.saving.weights import Assets, Places, Stored, fill, locate, locate_in
from lamina.serialization import registry

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
    model: Any,
    filepath: Any,
    overwrite: bool = True,
    zipped: bool | None = None,
    include_optimizer: bool = True,
    *,
    probe: Any = None,
) -> None:
    """Save the architecture, weights, compile arguments and optimizer state in one file.

    Writing is atomic: if saving fails, an existing file is unchanged.

    Args:
        model: A built model.
        filepath: Path that ends in ``.keras``; or in ``.h5`` or ``.hdf5``, for the HDF5 layout that
            Keras 1 to 3 read; or the path of a folder, with ``zipped=False``.
        overwrite: Whether an existing file may be replaced. In an existing folder, only the files
            of a model are.
        zipped: Whether to write one archive, rather than its members as files in a folder.
        include_optimizer: Whether to save the optimizer's state.
        probe: A small batch of inputs for the model. It is saved with the outputs, and
            :func:`load_model` checks that the loaded model computes the same.

    Raises:
        ArgumentError: Another suffix.
        FileExistsError: The file exists and ``overwrite`` is False; or the folder contains files
            of the same names that are not of a model.
        SerializationError: A layer that cannot be serialized; the message names its class.

    Warns:
        SavingWarning: The arguments of ``compile`` cannot be serialized (an optax transformation, a
            lambda as loss). The file then contains architecture and weights, and the loaded model
            has to be compiled again. Or the model has no weights yet, and neither has the file.

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
    is_folder = zipped is False
    if is_folder and (is_hdf5 or path.suffix == ".keras"):
        raise ArgumentError(
            "With `zipped=False` a model is saved in a folder, whose name does not end in "
            f"{path.suffix!r}. Received: {str(path)!r}."
        )
    if not is_folder and path.suffix != ".keras" and not is_hdf5:
        raise ArgumentError(
            "The file of a model must end in '.keras', '.h5' or '.hdf5'. Received: "
            f"{str(path)!r}. For weights only, use `model.save_weights('name.weights.h5')` or "
            "'.safetensors'; for a folder, pass `zipped=False`."
        )
    if is_hdf5 and (zipped or probe is not None):
        raise ArgumentError(
            f"HDF5 files ({path.suffix!r}) are not zipped and have no probe. Save the model under "
            f"a name that ends in '.keras'. Received: {str(path)!r}."
        )
    may_write(path, overwrite, as_folder=is_folder)
    if is_folder and path.is_dir() and (strangers := belongs_to_others(path)):
        raise FileExistsError(
            f"The folder {str(path)!r} contains {strangers}, which saving would replace, and is "
            "not the folder of a model. Save into a new folder."
        )
    if not model.built:
        warn(
            f"Model {model.name!r} has no weights yet: the file contains its architecture only. To "
            "save weights, call it on data or `build` it before.",
            SavingWarning,
        )
    if is_folder:
        with replacing_entries(path, ENTRIES) as part:
            target = Discarded() if part == NOWHERE else Unzipped(part)
            _write(model, target, include_optimizer, probe)
        return
    with replacing(path) as part:
        if is_hdf5:
            _write_hdf5(model, part, include_optimizer)
        else:
            _write_zip(model, part, path.parent, include_optimizer, probe)


def to_bytes(model: Any) -> bytes:
    """The bytes that :func:`save_model` writes to a file."""
    file = io.BytesIO()
    _write_zip(model, file, None)
    return file.getvalue()


def _write_zip(
    model: Any, target: Any, folder: Path | None, include_optimizer: bool = True, probe: Any = None
) -> None:
    """Write the archive to ``target``, a path or a binary file object."""
    if target == NOWHERE:
        _write(model, Discarded(), include_optimizer, probe)
        return
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        _write(model, Zipped(archive, folder), include_optimizer, probe)


def _write(model: Any, target: Target, include_optimizer: bool, probe: Any) -> None:
    """Write the members, the metadata last."""
    config, own = _description(model)
    config["compile_config"] = settings = compile_config(model, include_optimizer)
    places = locate(model)
    arrays = places.arrays()
    if include_optimizer and settings and model.optimizer is not None and model.optimizer.built:
        arrays |= optimizer.variables_of(model.optimizer)
        own["optimizer_addresses"] = optimizer.addresses_of(model)
    with target.file(WEIGHTS) as path:
        own["sha256"] = hdf5.write(path, arrays)
    target.text(CONFIG, json.dumps(config))
    if probe is not None:
        with target.file(PROBE) as path:
            own["probe"] = write_probe(model, probe, path)
    _write_assets(places.assets, target)
    if target.digests is not None:
        own["files"] = target.digests
    metadata = {
        "keras_version": _LAYOUT,
        "date_saved": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "lamina": own,
    }
    target.text(METADATA, json.dumps(metadata))


def _description(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a model, and what Lamina stores besides what Keras does."""
    own = {
        "seed": model.run_seed,
        "steps": model.steps_taken,
        "automatic_names": [has_automatic_name(x) for x in flatten_layers(model)],
    }
    if forms := forms_of(flatten_layers(model)):
        own["quantized"] = forms
    return registry.serialize(model), own


def _write_hdf5(model: Any, target: Path, include_optimizer: bool) -> None:
    """Write a whole model as one file of HDF5."""
    record, own = _description(model)
    refuse_stores(locate(model), ".h5")
    settings, state = compile_config(model, True) if include_optimizer else {}, {}
    if settings and model.optimizer is not None and model.optimizer.built:
        state = model.optimizer.state_variables
        own["optimizer_addresses"] = optimizer.addresses_of(model)
    attributes, arrays = legacy.describe(model, record, settings, state, _LAYOUT, own)
    hdf5.write(target, arrays, attributes)


def _write_assets(assets: Mapping[str, Assets], target: Target) -> None:
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
                    target.copy(file, f"{ASSETS}/{path}{file.relative_to(folder).as_posix()}")


def _read_assets(assets: Mapping[str, Assets], members: Members) -> None:
    """Give the layers their files, in a folder that exists while they read them."""
    start = f"{ASSETS}/"
    names = [n for n in members.names() if n.startswith(start)]
    # The file of a layer inside another with assets is that of the innermost.
    owners = {n: max((p for p in assets if n.startswith(start + p)), key=len, default=None)
              for n in names}  # fmt: skip
    if strangers := [n for n, owner in owners.items() if owner is None]:
        warn(f"{members.where} contains files that belong to no layer and were ignored: "
             f"{strangers[:5]}.", SavingWarning)  # fmt: skip
    for path, layer in assets.items():
        with tempfile.TemporaryDirectory(prefix="lamina-assets-") as folder:
            for name in (n for n, owner in owners.items() if owner == path):
                target = Path(folder, name[len(start) + len(path) :])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(members.read(name))
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
        filepath: A ``.keras`` archive, its members as a folder, or HDF5, of Keras 1.1 to 3,
            whatever the name.
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

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.keras")
    ...     model.save(path)
    ...     load_model(path).output_shape
    (None, 2)
    """
    path = as_path(filepath)
    if path.is_dir():
        with Folder(path) as folder, loading(str(path), budget, folder.total):
            return _assemble(folder, custom_objects, compile)
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
        return _assemble(Archive(file, where), custom_objects, compile)


def _assemble(members: Members, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """The model that the members describe; see :func:`load_model`."""
    where = members.where
    missing = [n for n in REQUIRED if n not in members.names()]
    if missing:
        raise CorruptFileError(f"{where} lacks {missing}. It contains {members.names()[:10]}.")
    metadata = json_member(members, METADATA)
    own, version = metadata.get("lamina"), metadata.get("keras_version")
    own = own if isinstance(own, dict) else {}
    if isinstance(members, Folder) and isinstance(own.get("files"), dict):
        members.expect(own["files"])
    config = json_member(members, CONFIG)
    model = rebuild(config, version, custom_objects, where)
    _must_be_model(model, own, where)
    settings = config.get("compile_config") if compile else None
    if isinstance(settings, dict) and settings and is_old(config, version):
        settings = upgrade_training(settings, version, custom_objects, _count_outputs(model))
    if settings:
        optimizer.compile_with(model, settings, custom_objects, where)
    with weights_of(members, metadata, config) as stored:
        old = stored if isinstance(stored, legacy.Renamed) else None
        places = locate_in(stored, model)
        _must_be_built(model, places, stored)
        fill(
            stored, places, error=CorruptFileError,
            way_out="Was the code of a class in it changed since it was saved?",
        )  # fmt: skip
        if settings and old is not None and model.optimizer is not None:
            legacy.read_state(old, model, old.optimizer_paths(), is_current=False)
            if not old.optimizer_paths():  # of the optimizers from before tf.keras 2.11
                warn(f"{where} contains no state of the optimizer, which starts anew.",
                     SavingWarning)  # fmt: skip
        elif settings and model.optimizer is not None:
            optimizer.read(stored, model, own.get("optimizer_addresses"))
    _read_assets(places.assets, members)
    _resume(model, own)
    if "probe" in own:
        check_probe(model, own["probe"], members)
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
    own = legacy.json_in(stored, "lamina")
    own = own if isinstance(own, dict) else {}
    _must_be_model(model, own, where)
    training = legacy.json_in(stored, "training_config") if compile else None
    if isinstance(training, dict) and training:
        settings = upgrade_training(training, version, custom_objects, _count_outputs(model))
        optimizer.compile_with(model, settings, custom_objects, where)
    converted, places = legacy.locate(stored, model)
    _must_be_built(model, places, converted)
    fill(
        converted, places, error=CorruptFileError, whole=False,
        way_out="Was the code of a class in it changed since it was saved?",
    )  # fmt: skip
    if isinstance(training, dict) and training and model.built:
        legacy.read_optimizer(
            stored, model, training, places.variables, own.get("optimizer_addresses")
        )
    _resume(model, own)
    return model


def _must_be_model(model: Any, own: Mapping[str, Any], where: str) -> None:
    """Check that a file described a model; use the names and quantized forms in it."""
    if not (isinstance(model, Layer) and isinstance(model, Compiles)):
        raise CorruptFileError(
            f"{where} contains no model, but an object of type {type(model).__name__}."
        )
    name_automatically(model, own.get("automatic_names"))
    take_forms(flatten_layers(model), own.get("quantized"))


def _count_outputs(model: Any) -> int:
    return 1 if model.layer_graph is None else len(model.layer_graph.outputs)


def _must_be_built(model: Any, places: Places, stored: Stored) -> None:
    """Check that a model without weights comes from a file without weights."""
    names = (n for n in stored.names() if not n.startswith(f"{legacy.OPTIMIZER}/"))
    if not model.built and places.unknown(names):
        raise SerializationError(
            f"{stored.where} does not say for which input shapes {type(model).__name__} was built, "
            "so its weights cannot be loaded. Give the class `get_build_config` and "
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


def compile_config(model: Any, include_optimizer: bool = True) -> Any:
    """The arguments of ``compile`` as data; nothing, with a warning, if they cannot be."""
    if not model.compiled:
        return {}
    try:
        return registry.serialize(model.get_compile_config())  # a user's may contain objects
    except SerializationError as e:
        others = {**model.compile_arguments(), "optimizer": None}
        if include_optimizer or not _is_describable(others):
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
