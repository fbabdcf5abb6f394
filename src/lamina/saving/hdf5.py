"""HDF5 files of weights, read as hostile input: no link is followed, no declared size trusted."""

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

# HDF5's own functions; they are compiled and have no annotations.
_low: Any = h5py
# How Keras stores bfloat16, which HDF5 does not know: opaque pairs of bytes, and an attribute.
_BFLOAT16 = np.dtype("V2")
_BFLOAT16_MARK = ("dtype", "bfloat16")
# What HDF5 and h5py raise about a file that is damaged.
DAMAGE = (OSError, ValueError, RuntimeError, KeyError, TypeError)
# Deflate, HDF5's strongest usual filter, shrinks by less than this.
_MOST_INFLATION = 1100


def write(path: str, arrays: Mapping[str, Any]) -> None:
    """Write arrays under their names.

    Args:
        path: The file, which is replaced.
        arrays: Name (groups, separated by slashes, then the array's own) to array or variable.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
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
    except RuntimeError as e:  # h5py's, of a disk that is full when HDF5 empties its buffers
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
    """An open file of arrays by name.

    Args:
        source: A path or a binary file object.
        where: What messages call it.

    Raises:
        CorruptFileError: Not HDF5, or damaged at its root.
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
        """The names of all arrays; what lies behind a link is not among them."""
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
        """The group or array of that name, or None; the only way in which members are opened.

        Raises:
            UnsafeFileError: A soft or external link leads to it.
        """
        if not name:
            return self._h5.id
        if name not in self._found:
            try:
                if name in self._names:  # reached without links, as all that HDF5 visits
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
                f"{self.where}: {name.decode()!r} is a link, which leads out of its place. "
                "A file of weights holds its arrays itself."
            )
        return _low.h5o.open(group, name)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape that the array of that name declares, or None when there is none."""
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
            name: One for which :meth:`shape` knows a shape.

        Raises:
            UnsafeFileError: The bytes would come from another file.
            CorruptFileError: Not numbers, or not as many bytes as the shape says.
        """
        what = f"{self.where}: {name!r}"
        try:
            dataset = self.find(name)
            plan = dataset.get_create_plist()
            if plan.get_external_count() or plan.get_layout() == _low.h5d.VIRTUAL:
                raise UnsafeFileError(f"{what} takes its bytes from another file.")
            kept, shape = dataset.dtype, dataset.shape
            if kept != _BFLOAT16 and (kept.kind not in "biuf" or kept.itemsize > 8):
                raise CorruptFileError(f"{what} is of dtype {kept}, not of numbers.")
            size, stored = math.prod(shape) * kept.itemsize, dataset.get_storage_size()
            compact = plan.get_layout() == _low.h5d.COMPACT
            if size > stored * (_MOST_INFLATION if plan.get_nfilters() else 1) and not compact:
                raise CorruptFileError(f"{what} declares {size} bytes. It holds {stored}.")
            value = np.empty(shape, kept)
            dataset.read(_low.h5s.ALL, _low.h5s.ALL, value)
        except DAMAGE as e:
            if isinstance(e, LaminaError):
                raise
            raise CorruptFileError(f"{what} cannot be read: {e}") from e
        return value.view(ml_dtypes.bfloat16) if kept == _BFLOAT16 else value

    # ---- the layout of Keras 1 and 2 -----------------------------------------------------------

    def texts(self, name: str, attribute: str) -> list[str]:
        """A list of texts among the attributes of a group; long ones come in numbered parts.

        Raises:
            CorruptFileError: The group or the attribute is missing.
        """
        group = self.find(name)
        if not isinstance(group, _low.h5g.GroupID):
            raise CorruptFileError(f"{self.where} names a group {name!r}, which it lacks.")
        attributes = h5py.Group(group).attrs
        parts = [attribute] if attribute in attributes else []
        while f"{attribute}{len(parts)}" in attributes:
            parts.append(f"{attribute}{len(parts)}")
        if not parts:
            raise CorruptFileError(
                f"{self.where} is no file of weights in the layout of Keras 1 and 2: "
                f"{name or '/'!r} has no {attribute!r}. In the layout of Keras 3 its name ends in "
                "'.weights.h5'."
            )
        try:
            values = [v for part in parts for v in np.ravel(np.asarray(attributes[part]))]
            return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        except DAMAGE as e:
            raise CorruptFileError(f"{self.where}: cannot read {attribute!r}: {e}") from e

    def locate_legacy(self, model: Any, by_name: bool) -> dict[str, Variable]:
        """Name to variable in the layout of Keras 1 and 2: a group a layer, listed in attributes.

        Args:
            model: A built model.
            by_name: Take the layers whose names are in both; else all: by name when all names
                agree, by order otherwise.

        Raises:
            StructureError: Another number of layers with weights, or of weights in a layer.
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
            # What trained comes first, then the rest; in a frozen layer all come in their order.
            orders = [sorted(variables, key=lambda v: not v.is_weight), variables]
            likely = max(orders, key=lambda order: self._likeness(paths, order))
            found |= dict(zip(paths, likely, strict=True))
        return found

    def _likeness(self, names: list[str], variables: list[Variable]) -> tuple[bool, int]:
        """How well arrays fit variables: whether all shapes agree, and how many names."""
        pairs = list(zip(names, variables, strict=True))
        shapes = all(self.shape(name) == v.shape for name, v in pairs)
        return shapes, sum(n.rpartition("/")[2].partition(":")[0] == v.name for n, v in pairs)


def _few(names: Any) -> str:
    shown = ", ".join(map(repr, list(names)[:4]))
    return shown + (", ..." if len(names) > 4 else "")
