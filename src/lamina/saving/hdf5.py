"""HDF5 weights files, read as untrusted input: no links are followed, sizes are checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Self

import h5py
import ml_dtypes
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, LaminaError, StructureError, UnsafeFileError

# The low-level functions of h5py, which are compiled and have no annotations.
_low: Any = h5py
# How Keras stores bfloat16, which HDF5 does not have: opaque pairs of bytes, and an attribute.
_BFLOAT16 = np.dtype("V2")
_BFLOAT16_MARK = ("dtype", "bfloat16")
# The exceptions that h5py raises for a damaged file.
DAMAGE = (OSError, ValueError, RuntimeError, KeyError, TypeError)
# The compression ratio of deflate, the strongest common filter of HDF5, is below this.
_MOST_INFLATION = 1100


def write(path: str, arrays: Mapping[str, Any]) -> None:
    """Write a file of named arrays.

    Args:
        path: The file to write or replace.
        arrays: Dict of names (groups and the array's own name, separated by slashes) to arrays or
            variables.

    Raises:
        OSError: The disk is full, or the folder is not writable.
    """
    nested = _low.h5p.create(_low.h5p.LINK_CREATE)
    nested.set_create_intermediate_group(True)
    nested.set_char_encoding(_low.h5t.CSET_UTF8)
    groups: dict[str, Any] = {}
    try:
        with h5py.File(path, "w") as h5:
            for name, array in arrays.items():
                parent, _, own = name.rpartition("/")
                if parent not in groups:
                    groups[parent] = _low.h5g.create(h5.id, parent.encode(), lcpl=nested)
                _write_array(groups[parent], own.encode(), np.asarray(array), nested)
    except RuntimeError as e:  # raised by h5py if the disk is full when buffers are flushed
        raise OSError(f"Cannot write {path}: {e}") from e


def _write_array(group: Any, name: bytes, array: np.ndarray, links: Any) -> None:
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    array = np.asarray(array.view(_BFLOAT16) if is_bfloat16 else array, order="C")
    space = _low.h5s.create_simple(array.shape) if array.ndim else _low.h5s.create(_low.h5s.SCALAR)
    dataset = _low.h5d.create(
        group, name, _low.h5t.py_create(array.dtype, logical=True), space, lcpl=links
    )
    dataset.write(_low.h5s.ALL, _low.h5s.ALL, array)
    if is_bfloat16:
        h5py.Dataset(dataset).attrs.create(*_BFLOAT16_MARK)


class File:
    """An open file of named arrays.

    Args:
        source: A path or a binary file object.
        where: Its name in messages.

    Raises:
        CorruptFileError: The file is not HDF5, or its root is damaged.
    """

    def __init__(self, source: Any, where: str) -> None:
        self.where = where
        self._found: dict[str, Any] = {}
        try:
            self._h5 = h5py.File(source, "r")
        except DAMAGE as e:
            raise CorruptFileError(f"{where} is not an HDF5 file, or damaged: {e}") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._h5.close()

    def names(self) -> list[str]:
        """The names of all arrays, without those behind links."""
        return list(self._names)

    @functools.cached_property
    def _names(self) -> dict[str, None]:
        names = {}

        def visit(name: bytes, info: Any) -> None:
            if info.type == _low.h5o.TYPE_DATASET:
                names[name.decode("utf-8", "replace")] = None

        try:
            _low.h5o.visit(self._h5.id, visit, info=True)
        except DAMAGE as e:
            raise CorruptFileError(f"{self.where} is damaged: {e}") from e
        return names

    def find(self, name: str) -> Any:
        """The group or array of that name, or None. Members are opened only by this method.

        Raises:
            UnsafeFileError: It is a soft or external link.
        """
        if not name:
            return self._h5.id
        if name not in self._found:
            try:
                if name in self._names:  # HDF5 has visited it without following links
                    self._found[name] = _low.h5o.open(self._h5.id, name.encode())
                else:
                    parent, _, own = name.rpartition("/")
                    self._found[name] = self._child(self.find(parent), own.encode())
            except DAMAGE as e:
                if isinstance(e, LaminaError):
                    raise
                raise CorruptFileError(f"{self.where}: cannot read {name!r}: {e}") from e
        return self._found[name]

    def _child(self, group: Any, name: bytes) -> Any:
        if not isinstance(group, _low.h5g.GroupID) or not group.links.exists(name):
            return None
        if group.links.get_info(name).type != _low.h5l.TYPE_HARD:
            raise UnsafeFileError(
                f"{self.where}: {name.decode()!r} is a link to another object or file. "
                "A weights file must contain its arrays itself."
            )
        return _low.h5o.open(group, name)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The declared shape of the array of that name, or None if there is no such array."""
        found = self.find(name)
        if not isinstance(found, _low.h5d.DatasetID):
            return None
        try:
            return found.shape
        except DAMAGE as e:
            raise CorruptFileError(f"{self.where}: {name!r} has no shape: {e}") from e

    def read(self, name: str) -> np.ndarray:
        """The array of that name.

        Args:
            name: A name for which :meth:`shape` returns a shape.

        Raises:
            UnsafeFileError: The array is stored in another file.
            CorruptFileError: The array is not numeric, or its size in bytes does not match its
                shape.
        """
        what = f"{self.where}: {name!r}"
        try:
            dataset = self.find(name)
            plan = dataset.get_create_plist()
            if plan.get_external_count() or plan.get_layout() == _low.h5d.VIRTUAL:
                raise UnsafeFileError(f"{what} is stored in another file.")
            kept, shape = dataset.dtype, dataset.shape
            if kept != _BFLOAT16 and (kept.kind not in "biuf" or kept.itemsize > 8):
                raise CorruptFileError(f"{what} has the dtype {kept}, which is not numeric.")
            size, stored = math.prod(shape) * kept.itemsize, dataset.get_storage_size()
            compact = plan.get_layout() == _low.h5d.COMPACT
            if size > stored * (_MOST_INFLATION if plan.get_nfilters() else 1) and not compact:
                raise CorruptFileError(f"{what} declares {size} bytes but contains {stored}.")
            value = np.empty(shape, kept)
            dataset.read(_low.h5s.ALL, _low.h5s.ALL, value)
        except DAMAGE as e:
            if isinstance(e, LaminaError):
                raise
            raise CorruptFileError(f"{what} cannot be read: {e}") from e
        return value.view(ml_dtypes.bfloat16) if kept == _BFLOAT16 else value

    # ---- the layout of Keras 1 and 2 -----------------------------------------------------------

    def texts(self, name: str, attribute: str) -> list[str]:
        """A list of strings in the attributes of a group; long lists are split into numbered parts.

        Raises:
            CorruptFileError: The group or the attribute is missing.
        """
        group = self.find(name)
        if not isinstance(group, _low.h5g.GroupID):
            raise CorruptFileError(
                f"{self.where} refers to a group {name!r} that it does not contain."
            )
        attributes = h5py.Group(group).attrs
        parts = [attribute] if attribute in attributes else []
        while f"{attribute}{len(parts)}" in attributes:
            parts.append(f"{attribute}{len(parts)}")
        if not parts:
            raise CorruptFileError(
                f"{self.where} is not a weights file in the layout of Keras 1 and 2: "
                f"{name or '/'!r} has no {attribute!r}. In the layout of Keras 3 its name ends in "
                "'.weights.h5'."
            )
        try:
            values = [v for part in parts for v in np.ravel(np.asarray(attributes[part]))]
            return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        except DAMAGE as e:
            raise CorruptFileError(f"{self.where}: cannot read {attribute!r}: {e}") from e

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
        root = "model_weights" if self.find("model_weights") is not None else ""
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
