"""Reading of HDF5 files, as untrusted input and in Python.

The C library of HDF5 follows links to other files, can loop forever on damaged files, and allocates
whatever sizes they declare. This reader checks each position and size against the file, reads each
structure at most once, follows no links, and stays within the budget of the load
(:mod:`lamina.runtime.budget`). It reads what h5py writes by default, which is what the files of all
versions of Keras consist of: groups with symbol tables or link messages, contiguous, compact and
chunked arrays, and attributes in object headers.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lamina.errors import CorruptFileError, LaminaError, UnsafeFileError
from lamina.runtime import budget
from lamina.runtime.files import Window, room_for
from lamina.saving import hdf5_dense
from lamina.saving.hdf5_messages import (
    DEFLATE,
    LONGEST_NAME,
    UNDO,
    attribute_in,
    element_type,
    filters_in,
    link_in,
    number,
    shape_in,
)

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NOWHERE = 2**64 - 1  # the address of what does not exist
# The compression ratio of deflate is below this.
_MOST_INFLATION = 1100
# Types of header messages.
_SPACE, _LINK_INFO, _TYPE, _LINK, _EXTERNAL, _LAYOUT = 1, 2, 3, 6, 7, 8
_FILTERS, _ATTRIBUTE, _MORE, _TABLE, _DENSE = 11, 12, 16, 17, 21


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Convert the errors that damaged bytes cause."""
    try:
        yield
    except LaminaError:
        raise
    except (struct.error, ValueError, LookupError, OverflowError, zlib.error) as e:
        raise CorruptFileError(f"{what} is damaged: {e}") from e


class Tree:
    """An open HDF5 file.

    Args:
        window: The bytes of the file.

    Attributes:
        root: The outermost group.

    Raises:
        CorruptFileError: It is not an HDF5 file, or the outermost group is damaged.
    """

    def __init__(self, window: Window) -> None:
        self.window, self.where = window, window.where
        self._objects: dict[int, Group | Dataset] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        with _reading(self.where):
            self.root = self._root()

    def _root(self) -> Group:
        if self.window.size < 96 or self.window.read(0, 8) != SIGNATURE:
            raise CorruptFileError(f"{self.where} is not an HDF5 file, or it is truncated.")
        start = self.window.read(0, 96)
        version = start[8]
        if version < 2:
            sizes, at = start[13:15], 24 + 4 * version
            base, end, address = (number(start, at + i) for i in (0, 16, 40))
        elif version < 4:
            sizes, (base, end, address) = start[9:11], (number(start, i) for i in (12, 28, 36))
        else:
            raise self.unsupported(f"version {version} of the format")
        if sizes != b"\x08\x08" or base != 0:
            raise self.unsupported("addresses that do not have 8 bytes, or a user block")
        if end > self.window.size:
            raise CorruptFileError(
                f"{self.where} is truncated.",
                expected=f"{end} bytes", received=f"{self.window.size}",
            )  # fmt: skip
        root = self.open(address, "/")
        if not isinstance(root, Group):
            raise CorruptFileError(f"{self.where} has an array in place of the outermost group.")
        return root

    def unsupported(self, what: str) -> CorruptFileError:
        """The error for a feature that no file of Keras uses."""
        return CorruptFileError(
            f"{self.where} cannot be read: it uses {what}.",
            cure="Copy it with h5py to a file of the default version: "
            "`h5py.File(new, 'w')`, then `old.copy(name, new)` for each name.",
        )

    def open(self, address: int, name: str) -> Group | Dataset:
        """The object whose header is at an address."""
        if address not in self._objects:
            messages = self._messages(address)
            kinds = {kind for kind, _ in messages}
            made = Dataset if _SPACE in kinds else Group
            self._objects[address] = made(self, messages, name)
        return self._objects[address]

    def _messages(self, address: int) -> list[tuple[int, bytes]]:
        """The messages of an object header: their types and contents."""
        start = self.window.read(address, min(16, self.window.size - address))
        if start[:4] == b"OHDR" and start[4] == 2:
            flags, at = start[5], address + 6 + (16 if start[5] & 32 else 0) + (
                4 if start[5] & 16 else 0
            )  # fmt: skip
            width = 1 << (flags & 3)
            size = int.from_bytes(self.window.read(at, width), "little")
            blocks, entry, tail = [(at + width, size)], "<BHB" + ("2x" if flags & 4 else ""), 4
        elif start[0] == 1:
            blocks, entry, tail = [(address + 16, number(start, 8, 4))], "<HHB3x", 0
        else:
            raise CorruptFileError(f"{self.where} is damaged: there is no object at {address}.")
        found: list[tuple[int, bytes]] = []
        prefix = struct.calcsize(entry)
        seen: set[int] = set()
        for at, size in blocks:  # continuations are appended
            if at in seen:
                raise CorruptFileError(f"{self.where} is damaged: an object header is circular.")
            seen.add(at)
            data = self.window.read(at, size)
            at = 4 if tail and len(seen) > 1 else 0  # the signature of a continuation
            while at + prefix <= len(data) - (tail if len(seen) > 1 else 0):
                kind, length, flags = struct.unpack_from(entry, data, at)
                at += prefix
                if kind == _MORE:
                    blocks.append((number(data, at), number(data, at + 8)))
                elif flags & 2 and kind in (_SPACE, _TYPE, _FILTERS, _ATTRIBUTE):
                    raise self.unsupported("shared messages (named data types)")
                elif kind:
                    found.append((kind, data[at : at + length]))
                at += length
        budget.charge(nodes=1 + len(found))
        return found

    def heap_object(self, address: int, index: int) -> bytes:
        """An object of a global heap, which contains texts."""
        if address not in self._heaps:
            start = self.window.read(address, 16)
            if start[:4] != b"GCOL":
                raise CorruptFileError(f"{self.where} is damaged: there is no heap at {address}.")
            data = self.window.read(address, number(start, 8))
            found, at = {}, 16
            while at + 16 <= len(data) and (entry := number(data, at, 2)):
                size = number(data, at + 8)
                found[entry] = data[at + 16 : at + 16 + size]
                if len(found[entry]) < size:
                    raise CorruptFileError(f"{self.where} is damaged: an object exceeds its heap.")
                at += 16 + (size + 7) // 8 * 8
            budget.charge(nodes=len(found))
            self._heaps[address] = found
        if index not in self._heaps[address]:
            raise CorruptFileError(f"{self.where} is damaged: a heap has no object {index}.")
        return self._heaps[address][index]

    def btree(self, address: int, kind: int, key: str) -> Iterator[tuple[tuple[int, ...], int]]:
        """The keys and addresses in the leaves of a B-tree of version 1.

        Args:
            address: Address of its root.
            kind: 0 for groups, 1 for chunks.
            key: The format of a key.
        """
        pair = struct.Struct(f"<{key}Q")
        seen: set[int] = set()
        waiting: list[tuple[int, int | None]] = [(address, None)]
        while waiting:
            address, expected = waiting.pop()
            start = self.window.read(address, 24)
            level, count = start[5], number(start, 6, 2)
            if start[:5] != b"TREE" + bytes([kind]) or expected not in (None, level):
                raise CorruptFileError(f"{self.where} is damaged: there is no index at {address}.")
            if address in seen:
                raise CorruptFileError(f"{self.where} is damaged: an index is circular.")
            seen.add(address)
            budget.charge(nodes=1 + count)
            data = self.window.read(address + 24, count * pair.size)
            entries = [(x[:-1], x[-1]) for x in pair.iter_unpack(data)]
            if level:
                waiting.extend((child, level - 1) for _, child in reversed(entries))
            else:
                yield from entries


class _Object:
    """A group or an array.

    Attributes:
        attrs: The attributes: numbers, texts, arrays of numbers and lists of texts by name.
    """

    def __init__(self, tree: Tree, messages: list[tuple[int, bytes]], name: str) -> None:
        self.tree, self.messages, self.name = tree, messages, name
        self.where = f"{tree.where}: {name!r}"

    def message(self, kind: int) -> bytes | None:
        """The content of the first header message of a type."""
        return next((data for k, data in self.messages if k == kind), None)

    def _dense(self, info: bytes, at: int) -> Iterator[bytes]:
        """The links or attributes that are outside of the header."""
        heap, tree = number(info, at), number(info, at + 8)
        if heap != _NOWHERE:
            yield from hdf5_dense.messages(self.tree.window, heap, tree)

    @functools.cached_property
    def attrs(self) -> Attributes:
        with _reading(self.where):
            parts = [data for kind, data in self.messages if kind == _ATTRIBUTE]
            info = self.message(_DENSE)
            if info is not None:
                parts.extend(self._dense(info, 4 if info[1] & 1 else 2))
            found = [attribute_in(data) for data in parts]
            return Attributes(
                self, {name: (kind, space, data) for name, kind, space, data in found}
            )


class Attributes(Mapping[str, Any]):
    """The attributes of a group or an array; values are decoded when they are asked for."""

    def __init__(self, owner: _Object, found: dict[str, tuple[bytes, bytes, bytes]]) -> None:
        self._owner, self._found = owner, found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, name: str) -> Any:
        kind, space, data = self._found[name]
        where = f"{self._owner.where}: attribute {name!r}"
        with _reading(where):
            shape, element = shape_in(space), element_type(kind)
            if shape is None:
                return None
            count = math.prod(shape)
            if count * element.size > len(data):
                raise CorruptFileError(f"{where} is damaged: it declares more than it contains.")
            if element.texts is None:
                if element.dtype is None:
                    raise CorruptFileError(f"{where} contains values of type {element.name}.")
                value = np.frombuffer(data, element.dtype, count).reshape(shape)
                return value[()] if not shape else value
            texts = [
                self._text(data[i * element.size : (i + 1) * element.size], element.texts)
                for i in range(count)
            ]
            return texts if shape else texts[0]

    def _text(self, data: bytes, is_elsewhere: bool) -> str:
        if is_elsewhere:
            size, address, index = struct.unpack("<IQI", data)
            tree = self._owner.tree
            data = tree.heap_object(address, index)[:size] if address not in (0, _NOWHERE) else b""
            budget.charge(allocated=size)
        return data.rstrip(b"\0").decode()


class Group(_Object):
    """A group: objects by name."""

    @functools.cached_property
    def _links(self) -> dict[str, int | None]:
        """The addresses of the members; None for links to another object or file."""
        with _reading(self.where):
            found = list(self._linked())
            links = dict(found)
            if len(links) != len(found):
                raise CorruptFileError(f"{self.where} has two members of the same name.")
            budget.charge(nodes=len(links))
            return links

    def _linked(self) -> Iterator[tuple[str, int | None]]:
        for kind, data in self.messages:
            if kind == _TABLE:
                yield from self._in_table(number(data, 0), number(data, 8))
            elif kind == _LINK:
                yield link_in(data)
            elif kind == _LINK_INFO:
                yield from map(link_in, self._dense(data, 10 if data[1] & 1 else 2))

    def _in_table(self, tree: int, heap: int) -> Iterator[tuple[str, int | None]]:
        read = self.tree.window.read
        start = read(heap, 32)
        if start[:4] != b"HEAP":
            raise CorruptFileError(f"{self.where} is damaged: it has no names.")
        names = read(number(start, 24), number(start, 8))
        for _, address in self.tree.btree(tree, 0, "Q"):
            start = read(address, 8)
            if start[:4] != b"SNOD":
                raise CorruptFileError(f"{self.where} is damaged: it has no symbol table.")
            count = number(start, 6, 2)
            budget.charge(nodes=count)
            for at, header, cache in struct.iter_unpack("<QQI20x", read(address + 8, 40 * count)):
                end = names.find(b"\0", at, at + LONGEST_NAME)
                if end < 0:
                    raise CorruptFileError(f"{self.where} is damaged: a name does not end.")
                yield names[at:end].decode(), None if cache == 2 else header

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, name: object) -> bool:
        return name in self._links

    def is_link(self, name: str) -> bool:
        """Whether a member is a link to another object or file, which is never followed."""
        return name in self._links and self._links[name] is None

    def find(self, path: str) -> Group | Dataset | None:
        """The group or array at a path, such as ``"layers/dense"``; None if there is none.

        Raises:
            UnsafeFileError: A name on the path is a link to another object or file.
        """
        here: Group | Dataset = self
        for name in path.split("/") if path else ():
            if not isinstance(here, Group) or name not in here:
                return None
            address = here._links[name]
            full = f"{here.name}/{name}".lstrip("/")
            if address is None:
                raise UnsafeFileError(
                    f"{self.tree.where}: {full!r} is a link to another object or file. "
                    "A file must contain its arrays itself."
                )
            with _reading(f"{self.tree.where}: {full!r}"):
                here = self.tree.open(address, full)
        return here

    def arrays(self) -> list[str]:
        """The paths of all arrays in this group and those inside it, without those behind links."""
        found: list[str] = []
        seen = {id(self)}
        waiting: list[tuple[str, Group]] = [("", self)]
        while waiting:
            prefix, group = waiting.pop()
            budget.check_depth(prefix.count("/"))
            inside = []
            for name in group:
                x = None if group.is_link(name) else group.find(name)
                if isinstance(x, Dataset):
                    found.append(prefix + name)
                elif x is not None and id(x) not in seen:  # a group may contain itself
                    seen.add(id(x))
                    inside.append((f"{prefix}{name}/", x))
            waiting.extend(reversed(inside))
        return found


class Dataset(_Object):
    """An array in a file; only numbers can be read."""

    @functools.cached_property
    def shape(self) -> tuple[int, ...] | None:
        """The declared shape; None for an array without one."""
        with _reading(self.where):
            return shape_in(self.message(_SPACE) or b"")

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers.

        Raises:
            CorruptFileError: The elements are not numbers.
        """
        with _reading(self.where):
            element = element_type(self.message(_TYPE) or b"")
        if element.dtype is None:
            raise CorruptFileError(f"{self.where} has the type {element.name}, not a number.")
        return element.dtype

    def read(self) -> np.ndarray[Any, Any]:
        """The array.

        Raises:
            UnsafeFileError: It is stored in another file, or larger than the budget allows.
            CorruptFileError: It is not numeric, damaged, or declares more than the file contains.
        """
        with _reading(self.where):
            if self.message(_EXTERNAL) is not None:
                raise UnsafeFileError(f"{self.where} is stored in another file.")
            layout, shape = self.message(_LAYOUT) or b"\0\0", self.shape
            version, kind = layout[0], layout[1]
            if version == 4 and kind == 3:
                raise UnsafeFileError(f"{self.where} is a view of arrays in other files.")
            if shape is None or version not in (3, 4) or (version == 4 and kind == 2):
                raise self.tree.unsupported(f"the layout {version}.{kind} of {self.name!r}")
            size = math.prod(shape) * self.dtype.itemsize
            if kind == 2:
                return self._read_chunks(layout, shape, size)
            if kind == 0:
                data = layout[4 : 4 + number(layout, 2, 2)]
                self._contains(size, len(data))
                return np.frombuffer(data, self.dtype, math.prod(shape)).reshape(shape).copy()
            address, stored = number(layout, 2), number(layout, 10)
            self._contains(size, 0 if address == _NOWHERE else min(stored, self.tree.window.size))
            value = self._allocated(shape, size)
            if size:
                self.tree.window.read_into(address, value)
            return value

    def _contains(self, declared: int, stored: int, ratio: int = 1) -> None:
        if declared > stored * ratio:
            raise CorruptFileError(f"{self.where} declares {declared} bytes but contains {stored}.")

    def _allocated(self, shape: tuple[int, ...], size: int) -> np.ndarray[Any, Any]:
        budget.charge(allocated=size)
        return room_for(shape, self.dtype)

    def _read_chunks(
        self, layout: bytes, shape: tuple[int, ...], size: int
    ) -> np.ndarray[Any, Any]:
        rank, address = layout[2], number(layout, 3)
        sizes = struct.unpack_from(f"<{rank}I", layout, 11)
        chunk, filters = sizes[:-1], filters_in(self.message(_FILTERS))
        if rank != len(shape) + 1 or sizes[-1] != self.dtype.itemsize or 0 in chunk:
            raise CorruptFileError(f"{self.where} is damaged: its chunks do not match its shape.")
        unknown = set(filters) - UNDO.keys()
        if unknown:
            raise self.tree.unsupported(f"the compression filters {sorted(unknown)}")
        inflates = DEFLATE in filters
        length = math.prod(sizes)
        count = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True)) if size else 0
        found = {}
        if address != _NOWHERE:
            for (stored, mask, *at), where in self.tree.btree(address, 1, f"II{rank}Q"):
                if found.setdefault(tuple(at[:-1]), new := (stored, mask, where)) is not new:
                    raise CorruptFileError(f"{self.where} is damaged: it has a chunk twice.")
        self._contains(size, sum(n for n, *_ in found.values()), _MOST_INFLATION if inflates else 1)
        if len(found) < count:
            raise CorruptFileError(
                f"{self.where} lacks {count - len(found)} of its {count} chunks."
            )
        if count * length > 2 ** len(shape) * size + 2**20:
            raise CorruptFileError(f"{self.where} is damaged: its chunks exceed its shape.")
        value = self._allocated(shape, size)
        budget.charge(allocated=length if count else 0)
        grid = [range(0, n, c) for n, c in zip(shape, chunk, strict=True)] if size else [[]]
        for corner in itertools.product(*grid):
            stored, mask, where = found[corner]
            self._contains(length, stored, _MOST_INFLATION if inflates else 1)
            data = self.tree.window.read(where, stored)
            for i, applied in reversed(list(enumerate(filters))):
                if not mask >> i & 1:
                    data = UNDO[applied](data, length, sizes[-1])
            part = np.frombuffer(data, self.dtype, math.prod(chunk)).reshape(chunk)
            into = value[tuple(slice(a, a + c) for a, c in zip(corner, chunk, strict=True))]
            into[...] = part[tuple(slice(n) for n in into.shape)]
        return value
