"""HDF5 weights files: written with h5py, read with our own reader, which trusts no file."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, StructureError
from lamina.runtime.files import Window
from lamina.saving.hdf5_format import Dataset, Group, Tree
from lamina.saving.weights import digest_of

# How Keras stores bfloat16, which HDF5 does not have: opaque pairs of bytes, and an attribute.
_BFLOAT16 = np.dtype("V2")
_BFLOAT16_MARK = ("dtype", "bfloat16")


def write(path: str, arrays: Mapping[str, Any]) -> dict[str, str]:
    """Write a file of named arrays, and return their digests by name.

    Args:
        path: The file to write or replace.
        arrays: Dict of names (groups and the array's own name, separated by slashes) to arrays or
            variables.

    Raises:
        OSError: The disk is full, or the folder is not writable.
    """
    import h5py  # on first use: it is needed for writing only, and its import takes long

    low: Any = h5py  # its low-level functions are compiled and have no annotations
    nested = low.h5p.create(low.h5p.LINK_CREATE)
    nested.set_create_intermediate_group(True)
    nested.set_char_encoding(low.h5t.CSET_UTF8)
    groups: dict[str, Any] = {}
    digests: dict[str, str] = {}
    try:
        with h5py.File(path, "w") as h5:
            for name, array in arrays.items():
                parent, _, own = name.rpartition("/")
                if parent not in groups:
                    groups[parent] = low.h5g.create(h5.id, parent.encode(), lcpl=nested)
                value = np.asarray(array)
                digests[name] = digest_of(value)
                _write_array(low, groups[parent], own.encode(), value, nested)
    except RuntimeError as e:  # raised by h5py if the disk is full when buffers are flushed
        raise OSError(f"Cannot write {path}: {e}") from e
    return digests


def _write_array(low: Any, group: Any, name: bytes, array: np.ndarray, links: Any) -> None:
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    array = np.asarray(array.view(_BFLOAT16) if is_bfloat16 else array, order="C")
    space = low.h5s.create_simple(array.shape) if array.ndim else low.h5s.create(low.h5s.SCALAR)
    dataset = low.h5d.create(
        group, name, low.h5t.py_create(array.dtype, logical=True), space, lcpl=links
    )
    dataset.write(low.h5s.ALL, low.h5s.ALL, array)
    if is_bfloat16:
        low.Dataset(dataset).attrs.create(*_BFLOAT16_MARK)


class File:
    """An open file of named arrays.

    Args:
        source: A path, or the bytes of a file, which stay open.
        where: Its name in messages.

    Attributes:
        root: The outermost group, for access to groups and attributes.

    Raises:
        CorruptFileError: The file is not HDF5, or its root is damaged.
    """

    def __init__(self, source: Path | Window, where: str) -> None:
        self.where = where
        self._opened = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            if isinstance(source, Path):
                source = opened.enter_context(Window.of(source, where))
            self.root: Group = Tree(source).root
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def names(self) -> list[str]:
        """The names of all arrays, without those behind links."""
        return list(self._names)

    @functools.cached_property
    def _names(self) -> list[str]:
        return self.root.arrays()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The declared shape of the array of that name, or None if there is no such array.

        Raises:
            UnsafeFileError: It is behind a link.
        """
        found = self.root.find(name)
        return found.shape if isinstance(found, Dataset) else None

    def read(self, name: str) -> np.ndarray:
        """The array of that name; see :meth:`Dataset.read`.

        Args:
            name: A name for which :meth:`shape` returns a shape.
        """
        found = self.root.find(name)
        if not isinstance(found, Dataset):
            raise CorruptFileError(f"{self.where} has no array {name!r}.")
        return found.read()

    # ---- the layout of Keras 1 and 2 -----------------------------------------------------------

    def texts(self, name: str, attribute: str) -> list[str]:
        """A list of strings in the attributes of a group; long lists are split into numbered parts.

        Raises:
            CorruptFileError: The group or the attribute is missing.
        """
        group = self.root.find(name)
        if not isinstance(group, Group):
            raise CorruptFileError(
                f"{self.where} refers to a group {name!r} that it does not contain."
            )
        parts = [attribute] if attribute in group.attrs else []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(f"{attribute}{len(parts)}")
        if not parts:
            raise CorruptFileError(
                f"{self.where} is not a weights file in the layout of Keras 1 and 2: "
                f"{name or '/'!r} has no {attribute!r}. In the layout of Keras 3 its name ends in "
                "'.weights.h5'."
            )
        values = [group.attrs[part] for part in parts]
        # Keras writes an empty list as an array of numbers.
        found = [
            x for v in values if np.size(v)
            for x in (v if isinstance(v, list) else [v])
        ]  # fmt: skip
        if not all(isinstance(x, str) for x in found):
            raise CorruptFileError(f"{self.where}: {attribute!r} of {name!r} contains no texts.")
        return found

    def locate_legacy(self, model: Any, by_name: bool) -> dict[str, Variable]:
        """Dict of names to variables in the layout of Keras 1 and 2: a group for each layer.

        Args:
            model: A built model.
            by_name: Whether to take only the layers whose names are in both. Otherwise all layers
                are taken, by name if all names match, else in order.

        Raises:
            StructureError: The number of layers with weights, or of the weights of a layer,
                differs.
        """
        root = "model_weights" if self.root.find("model_weights") is not None else ""
        names = self.texts(root, "layer_names")
        groups = {n: self.texts(f"{root}/{n}".lstrip("/"), "weight_names") for n in names}
        groups = {n: weights for n, weights in groups.items() if weights}
        layers = {x.name: x for x in model.layers if x.weights}
        if by_name:
            pairs = [(n, layers[n]) for n in groups if n in layers]
        elif set(groups) == set(layers):
            pairs = [(n, layers[n]) for n in groups]
        elif len(groups) == len(layers):
            pairs = list(zip(groups, layers.values(), strict=True))
        else:
            raise StructureError(
                f"{self.where} has weights for {len(groups)} layers ({_few(groups)}). The model "
                f"{model.name!r} has {len(layers)} layers with weights ({_few(layers)}). Was the "
                "file made with another `include_top`? `by_name=True` loads the layers whose "
                "names are in both."
            )
        found: dict[str, Variable] = {}
        for name, layer in pairs:
            variables = layer.weights
            if len(groups[name]) != len(variables):
                raise StructureError(
                    f"{self.where} has {len(groups[name])} weights for layer {name!r}. The "
                    f"model's layer {layer.name!r} has {len(variables)}."
                )
            paths = [f"{root}/{name}/{weight}".lstrip("/") for weight in groups[name]]
            # Trainable weights come first, then the others; those of a frozen layer are in order of
            # creation.
            orders = [sorted(variables, key=lambda v: not v.is_weight), variables]
            likely = max(orders, key=lambda order: self._likeness(paths, order))
            found |= dict(zip(paths, likely, strict=True))
        return found

    def _likeness(self, names: list[str], variables: list[Variable]) -> tuple[bool, int]:
        """How well arrays match variables: whether all shapes match, and how many names do."""
        pairs = list(zip(names, variables, strict=True))
        shapes = all(self.shape(name) == v.shape for name, v in pairs)
        return shapes, sum(n.rpartition("/")[2].partition(":")[0] == v.name for n, v in pairs)


def _few(names: Any) -> str:
    shown = ", ".join(map(repr, list(names)[:4]))
    return shown + (", ..." if len(names) > 4 else "")
