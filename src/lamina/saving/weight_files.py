"""Files of weights only: HDF5 in the layouts of Keras 1 to 3, and safetensors, one or several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamina.core.boundary import public, warn
from lamina.errors import (
    ArgumentError,
    NotBuiltError,
    SavingWarning,
    SerializationError,
    StructureError,
)
from lamina.layers.state import saved_addresses
from lamina.runtime.budget import Budget, loading
from lamina.runtime.files import replacing
from lamina.saving import hdf5, legacy, safetensors, shards
from lamina.saving.container import Archive
from lamina.saving.members import CONFIG, METADATA, WEIGHTS, Members, json_member
from lamina.saving.paths import as_path, may_write, must_exist
from lamina.saving.upgrade import is_old
from lamina.saving.weights import Places, Stored, fill, locate, locate_in, verified
from lamina.serialization import registry


@public
def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
) -> None:
    """Save the weights only.

    Args:
        model: A built model or layer.
        filepath: Path that ends in ``.weights.h5`` (Keras's layout) or ``.safetensors``; with
            ``max_shard_size`` in ``.weights.json`` or ``.safetensors.index.json``, for an index
            with the files of weights next to it, as Keras and Hugging Face write them.
        overwrite: Whether existing files may be replaced.
        max_shard_size: The largest size of one file in GiB; one file for all weights when None.

    Raises:
        ArgumentError: Another suffix, or a weight that is larger than ``max_shard_size``.
        FileExistsError: A file exists and ``overwrite`` is False.
        NotBuiltError: The model has no weights yet.

    Warns:
        SavingWarning: The path was that of a single file; the message has that of the index.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((256,)), layers.Dense(256), layers.Dense(256)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.weights.json")
    ...     save_weights(model, path, max_shard_size=0.0003)
    ...     print(sorted(os.listdir(folder)))
    ...     load_weights(model, path)
    ['model.weights.json', 'model_00000.weights.h5', 'model_00001.weights.h5']
    """
    path = as_path(filepath)
    layout = None
    if max_shard_size is not None:
        path = _index_of(path)
        layout = shards.layout_of(path)
    kind = _kind(path, layout, writing=True)
    may_write(path, overwrite)
    if not model.built:
        raise NotBuiltError(f"{model.name!r} has no weights yet. Call it on data before saving.")
    arrays = (locate(model) if kind == "h5" else _addressed(model)).arrays()
    if layout is not None and max_shard_size is not None:
        shards.write(path, layout, arrays, max_shard_size, overwrite)
        return
    with replacing(path) as part:
        (hdf5 if kind == "h5" else safetensors).write(part, arrays)


def _index_of(path: Path) -> Path:
    """The path of the index where a user gave that of a single file, as Keras allows."""
    for layout in shards.LAYOUTS:
        if path.name.endswith(layout.single):
            index = path.with_name(path.name.removesuffix(layout.single) + layout.suffix)
            warn(f"With `max_shard_size` the weights are written to several files. Their index, "
                 f"which `load_weights` takes, is {str(index)!r}.", SavingWarning)  # fmt: skip
            return index
    return path


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
        filepath: Path that ends in ``.weights.h5`` or ``.safetensors``, the index of several files,
            or a ``.keras`` archive, of which only the weights are read; other ``.h5`` files are
            read in the layout of Keras 1 and 2, which published weights have.
        skip_mismatch: Whether to skip layers of which an array is missing, of another shape or too
            many; in files that have names of weights, only the weights themselves.
        by_name: For the layout of Keras 1 and 2: whether to load only the layers whose names are in
            both the file and the model.
        budget: What loading may use; the default suits all but extraordinary files.

    Raises:
        StructureError: An array is missing, has another shape, or does not belong to the model.
        CorruptFileError: The file is damaged.
        UnsafeFileError: The file refers to other files.

    Warns:
        SavingWarning: Weights were skipped because of ``skip_mismatch``.

    >>> import os, tempfile
    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.weights.h5")
    ...     save_weights(model, path)
    ...     _ = model.layers[-1].bias.assign([1.0, 1.0])
    ...     load_weights(model, path)
    >>> model.layers[-1].bias.numpy().tolist()
    [0.0, 0.0]
    """
    path = as_path(filepath)
    layout = shards.layout_of(path)
    kind = _kind(path, layout)
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
    index = None if layout is None else shards.read_index(path, layout, budget)
    size = path.stat().st_size if index is None else index.size
    with loading(str(path), budget, size), contextlib.ExitStack() as opened:
        if index is not None:
            stored = opened.enter_context(index.opened())
        elif kind == "keras":
            members = Archive(opened.enter_context(path.open("rb")), str(path))
            metadata, config = (json_member(members, name) for name in (METADATA, CONFIG))
            stored = opened.enter_context(weights_of(members, metadata, config))
        else:
            module = safetensors if kind == "safetensors" else hdf5
            stored = opened.enter_context(module.File(path, str(path)))
        if kind == "legacy" and isinstance(stored, hdf5.File):
            stored, places = legacy.locate(stored, model, by_name)
        else:
            places = _addressed(model) if kind == "safetensors" else locate_in(stored, model)
        fill(
            stored, places, error=StructureError, skip_mismatch=skip_mismatch,
            whole=kind != "legacy",
            way_out="Load it into the architecture that it was saved from, or pass "
            "`skip_mismatch=True` to load what matches.",
        )  # fmt: skip


@contextlib.contextmanager
def weights_of(
    members: Members, metadata: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[Stored]:
    """The weights of a saved model; those of tf.keras 2 under the names of Keras 3.

    Args:
        members: The model.
        metadata: Its metadata, which may have digests.
        config: Its config.
    """
    with hdf5.File(members.window(WEIGHTS), f"{members.where}: {WEIGHTS}") as stored:
        old = is_old(config, metadata.get("keras_version"))
        yield legacy.Renamed(stored) if old else verified(stored, metadata)


def _addressed(model: Any) -> Places:
    """The variables by address, for safetensors files."""
    found = locate(model)
    refuse_stores(found, ".safetensors")
    states = set(found.optional.values())
    optional = {a: v for a, (v, _) in model.named_variables().items() if v in states}
    return Places.of(saved_addresses(model))._replace(optional=optional)


def refuse_stores(places: Places, suffix: str) -> None:
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


def _kind(path: Path, layout: shards.Layout | None, writing: bool = False) -> str:
    """The format: ``"h5"``, ``"safetensors"``, ``"keras"`` or ``"legacy"``."""
    name = path.name if layout is None else layout.single
    if name.endswith(".weights.h5"):
        return "h5"
    if name.endswith(".safetensors"):
        return "safetensors"
    if path.suffix in (".h5", ".hdf5") and not writing:
        return "legacy"
    if path.suffix == ".keras" and not writing:
        return "keras"
    hint = " A whole model is saved with `save`." if path.suffix == ".keras" else ""
    if writing and shards.layout_of(path) is not None:
        hint = " An index of several files is written with `max_shard_size=`."
    raise ArgumentError(
        "A weights file must end in '.weights.h5' or '.safetensors'. "
        f"Received: {str(path)!r}.{hint}"
    )
