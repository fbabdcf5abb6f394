"""HDF5 weights files: written with h5py, read with our own reader, which trusts no file."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from lamina.errors import CorruptFileError
from lamina.runtime.files import NOWHERE, Window
from lamina.saving.hdf5_format import Dataset, Group, Tree
from lamina.saving.safetensors import digest_of

# How Keras stores bfloat16, which HDF5 does not have: opaque pairs of bytes, and an attribute.
_BFLOAT16 = np.dtype("V2")
_BFLOAT16_MARK = ("dtype", "bfloat16")
# The largest attribute of fixed length, in bytes: the header of a group has at most 64 KiB.
_MOST_IN_ATTRIBUTE = 32 * 1024


def write(
    path: Path, arrays: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """Write a file of named arrays, and return their digests by name.

    Args:
        path: The file to write or replace; with ``NOWHERE``, the arrays are gathered only.
        arrays: Dict of names (groups and the array's own name, separated by slashes) to arrays or
            variables.
        attributes: Dict of names of groups to their attributes: texts, or lists of texts.

    Raises:
        OSError: The disk is full, or the folder is not writable.
    """
    if path == NOWHERE:  # to which HDF5 cannot write
        for array in arrays.values():
            np.asarray(array)
        return {}
    import h5py  # on first use: it is needed for writing only, and its import takes long

    low: Any = h5py  # its low-level functions are compiled and have no annotations
    nested = low.h5p.create(low.h5p.LINK_CREATE)
    nested.set_create_intermediate_group(True)
    nested.set_char_encoding(low.h5t.CSET_UTF8)
    groups: dict[str, Any] = {}
    digests: dict[str, str] = {}
    with _Sink(path) as sink:
        with h5py.File(path, "w", driver="fileobj", fileobj=sink) as h5:
            for name, array in arrays.items():
                sink.check()
                parent, _, own = name.rpartition("/")
                if parent not in groups:
                    groups[parent] = low.h5g.create(h5.id, parent.encode(), lcpl=nested)
                value = np.asarray(array)
                digests[name] = digest_of(value)
                _write_array(low, groups[parent], own.encode(), value, nested)
            for name, values in (attributes or {}).items():
                group = h5.require_group(name) if name else h5
                for key, text in values.items():
                    _write_attribute(group.attrs, key, text)
        sink.check()
    return digests


class _Sink:
    """A new file for the C library of HDF5, which may crash if the system reports an error to it.

    Errors are kept for :meth:`check` instead, and what is written after one is discarded.

    Args:
        path: The file to write or replace.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise the first error."""
        if (e := self._error) is not None:
            raise OSError(e.errno, e.strerror, str(self._path)) from e

    # ---- what h5py calls -----------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset if whence == os.SEEK_SET else os.fstat(self._file.fileno()).st_size
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        while left and self._error is None:
            try:
                done = os.pwrite(self._file.fileno(), left, self._at)
            except OSError as e:
                self._error = e
            else:
                left, self._at = left[done:], self._at + done
        return len(content)

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        found = b""
        try:
            found = os.pread(self._file.fileno(), len(view), self._at)
        except OSError as e:
            self._error = self._error or e
        view[:] = found.ljust(len(view), b"\0")
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            if self._error is None:
                os.ftruncate(self._file.fileno(), size)
        except OSError as e:
            self._error = e
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""


def _write_attribute(attributes: Any, key: str, value: Any) -> None:
    """Write a text, or a list of texts, in parts if it is larger than HDF5 allows."""
    if isinstance(value, str):
        attributes[key] = value
        return
    texts = np.asarray([v.encode() for v in value], "S") if value else np.zeros(0)
    count = -(-texts.nbytes // _MOST_IN_ATTRIBUTE) or 1
    for i, part in enumerate(np.array_split(texts, count)):
        attributes[key if count == 1 else f"{key}{i}"] = part


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

    def texts(self, name: str, attribute: str) -> list[str] | None:
        """The strings of an attribute of a group; long lists are split into numbered parts.

        Args:
            name: The group; "" for the root.
            attribute: The attribute.

        Returns:
            The strings, one for an attribute that is a single text; None if there is no such group
            or attribute.

        Raises:
            CorruptFileError: The attribute is not texts.
        """
        group = self.root.find(name)
        if not isinstance(group, Group):
            return None
        parts = [attribute] if attribute in group.attrs else []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(f"{attribute}{len(parts)}")
        if not parts:
            return None
        values = [group.attrs[part] for part in parts]
        # Keras writes an empty list as an array of numbers.
        found = [
            x for v in values if np.size(v)
            for x in (v if isinstance(v, list) else [v])
        ]  # fmt: skip
        if not all(isinstance(x, str) for x in found):
            raise CorruptFileError(f"{self.where}: {attribute!r} of {name!r} contains no texts.")
        return found
