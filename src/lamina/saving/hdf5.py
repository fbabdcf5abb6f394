"""HDF5 weights files, read as untrusted input: no links are followed, sizes are checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Self

import h5py
import ml_dtypes
import numpy as np

from lamina.errors import CorruptFileError, LaminaError, UnsafeFileError

# The low-level functions of h5py, which are compiled and have no annotations.
_low: Any = h5py
# How Keras stores bfloat16, which HDF5 does not have: opaque pairs of bytes, and an attribute.
_BFLOAT16 = np.dtype("V2")
_BFLOAT16_MARK = ("dtype", "bfloat16")
# The exceptions that h5py raises for a damaged file.
DAMAGE = (OSError, ValueError, RuntimeError, KeyError, TypeError)
# The largest attribute of fixed length, in bytes: the header of a group has at most 64 KiB.
_MOST_IN_ATTRIBUTE = 32 * 1024
# The compression ratio of deflate, the strongest common filter of HDF5, is below this.
_MOST_INFLATION = 1100


def write(
    path: str, arrays: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write a file of named arrays.

    Args:
        path: The file to write or replace.
        arrays: Dict of names (groups and the array's own name, separated by slashes) to arrays or
            variables.
        attributes: Dict of names of groups to their attributes: texts, or lists of texts.

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
            for name, values in (attributes or {}).items():
                group = h5.require_group(name) if name else h5
                for key, value in values.items():
                    _write_attribute(group.attrs, key, value)
    except RuntimeError as e:  # raised by h5py if the disk is full when buffers are flushed
        raise OSError(f"Cannot write {path}: {e}") from e


def _write_attribute(attributes: Any, key: str, value: Any) -> None:
    """Write a text, or a list of texts, in parts if it is larger than HDF5 allows."""
    if isinstance(value, str):
        attributes[key] = value
        return
    texts = np.asarray([v.encode() for v in value], "S") if value else np.zeros(0)
    count = -(-texts.nbytes // _MOST_IN_ATTRIBUTE) or 1
    parts = np.array_split(texts, count)
    for i, part in enumerate(parts):
        attributes[key if count == 1 else f"{key}{i}"] = part


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

    def texts(self, name: str, attribute: str) -> list[str] | None:
        """The strings of an attribute of a group; long lists are split into numbered parts.

        Args:
            name: The group; "" for the root.
            attribute: The attribute.

        Returns:
            The strings, one for an attribute that is a single text; None if there is no such group
            or attribute.

        Raises:
            CorruptFileError: The attribute cannot be read.
        """
        group = self.find(name)
        if not isinstance(group, _low.h5g.GroupID):
            return None
        attributes = h5py.Group(group).attrs
        parts = [attribute] if attribute in attributes else []
        while f"{attribute}{len(parts)}" in attributes:
            parts.append(f"{attribute}{len(parts)}")
        if not parts:
            return None
        try:
            values = [v for part in parts for v in np.ravel(np.asarray(attributes[part]))]
            return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        except DAMAGE as e:
            raise CorruptFileError(f"{self.where}: cannot read {attribute!r}: {e}") from e
