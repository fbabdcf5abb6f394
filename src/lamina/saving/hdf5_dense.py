"""Large groups in HDF5 files: messages in a fractal heap, and their index, a B-tree of version 2.

HDF5 stores links and attributes so where a group has more than eight, in its newer layout.
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.errors import CorruptFileError
from lamina.runtime import budget
from lamina.runtime.files import Window
from lamina.saving.hdf5_messages import number

# By the type of the tree: the position and the size of the heap's identifier in a record.
_IDENTIFIERS = {5: (4, 7), 8: (0, 8)}


def messages(window: Window, heap: int, tree: int) -> Iterator[bytes]:
    """The messages that a tree of links or attributes lists, in its order.

    Args:
        window: The file.
        heap: Address of the heap.
        tree: Address of the tree.

    Raises:
        CorruptFileError: A structure is damaged.
    """
    stored = _Heap(window, heap)
    for identifier in _identifiers(window, tree):
        yield stored.read(identifier)


def _damaged(window: Window, what: str) -> CorruptFileError:
    return CorruptFileError(f"{window.where} is damaged: {what}.")


def _bytes_for(value: int) -> int:
    """The size of an integer that is at most ``value``."""
    return (max(value, 1).bit_length() - 1) // 8 + 1


class _Heap:
    """A fractal heap: blocks whose sizes double from row to row of a table."""

    def __init__(self, window: Window, address: int) -> None:
        self.window = window
        start = window.read(address, 146)
        if start[:5] != b"FRHP\0" or number(start, 7, 2):
            raise _damaged(window, f"there is no heap of messages at {address}")
        self.width, self.first, largest = (
            number(start, 110, 2),
            number(start, 112),
            number(start, 120),
        )
        if not all(n and not n & (n - 1) for n in (self.width, self.first, largest)):
            raise _damaged(window, "the sizes of a heap are not powers of two")
        self.offset_size = (number(start, 128, 2) + 7) // 8
        self.length_size = min(
            (largest.bit_length() + 6) // 8, _bytes_for(number(start, 10, 4))
        )  # fmt: skip
        self.direct_rows = largest.bit_length() - self.first.bit_length() + 2
        self.root, self.rows = number(start, 132), number(start, 140, 2)

    def read(self, identifier: bytes) -> bytes:
        """The message of an identifier."""
        if identifier[0] >> 4 & 3:
            raise _damaged(self.window, "a message is not in its heap")
        offset = number(identifier, 1, self.offset_size)
        length = number(identifier, 1 + self.offset_size, self.length_size)
        block, rows = self.root, self.rows
        while rows:  # a block of addresses, of direct blocks or again of blocks of addresses
            row = (offset // (self.width * self.first)).bit_length()
            size = self.first << max(row - 1, 0)
            before = self.width * size if row else 0
            column, offset = divmod(offset - before, size)
            at = 13 + self.offset_size + 8 * (row * self.width + column)
            if row >= rows or self.window.read(block, 5) != b"FHIB\0":
                raise _damaged(self.window, "a message is beyond its heap")
            block = number(self.window.read(block + at, 8), 0)
            rows = 0
            if row >= self.direct_rows:
                rows = size.bit_length() - (self.first * self.width).bit_length() + 1
        if self.window.read(block, 5) != b"FHDB\0":
            raise _damaged(self.window, "a message is beyond its heap")
        return self.window.read(block + offset, length)


def _identifiers(window: Window, address: int) -> Iterator[bytes]:
    """The identifiers of the messages in a tree."""
    start = window.read(address, 38)
    kind, size, record, depth = (
        start[5],
        number(start, 6, 4),
        number(start, 10, 2),
        number(start, 12, 2),
    )
    if start[:5] != b"BTHD\0" or kind not in _IDENTIFIERS or not 11 <= record < size or depth > 16:
        raise _damaged(window, f"there is no index at {address}")
    at, width = _IDENTIFIERS[kind]
    count_size = _bytes_for((size - 10) // record)
    # By depth of a node: the size of a pointer to its children, and how many records are below it.
    pointers, most = [0], (size - 10) // record
    for level in range(1, depth + 1):
        pointers.append(8 + count_size + (_bytes_for(most) if level > 1 else 0))
        here = max((size - 10 - pointers[-1]) // (record + pointers[-1]), 0)
        most = (here + 1) * most + here
    seen: set[int] = set()
    waiting = [(number(start, 16), number(start, 24, 2), depth)]
    while waiting:
        address, count, level = waiting.pop()
        budget.charge(nodes=1 + count)
        length = count * record
        node = window.read(address, 6 + length + (count + 1) * pointers[level])
        if node[:6] != (b"BTIN" if level else b"BTLF") + bytes([0, kind]) or address in seen:
            raise _damaged(window, f"there is no part of an index at {address}")
        seen.add(address)
        for i in range(count):
            yield node[6 + i * record + at :][:width]
        for i in range(count + 1 if level else 0):
            child = 6 + length + i * pointers[level]
            waiting.append((number(node, child), number(node, child + 8, count_size), level - 1))
