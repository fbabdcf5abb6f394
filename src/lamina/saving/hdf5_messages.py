"""The contents of the messages in HDF5 object headers: shapes, types, filters, attributes, links.

The functions raise ``ValueError``, ``LookupError`` or ``struct.error`` for damaged bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

LONGEST_NAME = 4096
DEFLATE, _SHUFFLE = 1, 2
_CLASSES = ("integer", "float", "time", "text", "bit field", "opaque", "compound", "reference",
            "enumeration", "variable-length", "array")  # fmt: skip
# Floats by size, and by the sizes of exponent and mantissa in bits.
_FLOATS: dict[tuple[int, int, int], Any] = {
    (2, 5, 10): np.float16, (2, 8, 7): ml_dtypes.bfloat16, (4, 8, 23): np.float32,
    (8, 11, 52): np.float64,
}  # fmt: skip


class ElementType(NamedTuple):
    """The type of an element.

    Attributes:
        name: Its kind, in messages.
        size: Its size in the file in bytes.
        dtype: The dtype of numbers and opaque bytes; None for other types.
        texts: For texts, whether their bytes are elsewhere in the file; None for other types.
    """

    name: str
    size: int
    dtype: np.dtype[Any] | None = None
    texts: bool | None = None


def number(data: bytes, at: int, width: int = 8) -> int:
    """The little-endian integer at a position.

    Raises:
        ValueError: It is not inside ``data``.
    """
    if at < 0 or at + width > len(data):
        raise ValueError("a structure is truncated")
    return int.from_bytes(data[at : at + width], "little")


def shape_in(data: bytes) -> tuple[int, ...] | None:
    """The shape in a dataspace message; None for one without elements."""
    version, rank = data[0], data[1]
    if version not in (1, 2) or rank > 32:
        raise ValueError(f"a shape has version {version} and {rank} axes")
    if version == 2 and data[3] == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", data, 8 if version == 1 else 4)


def element_type(data: bytes) -> ElementType:
    """The type in a datatype message."""
    kind, bits, size = data[0] & 15, number(data, 1, 3), number(data, 4, 4)
    if not size:
        raise ValueError("elements have no size")
    name = _CLASSES[kind] if kind < len(_CLASSES) else "of a newer version"
    order = "<>"[bits & 1]
    if kind == 0 and size in (1, 2, 4, 8) and struct.unpack_from("<HH", data, 8) == (0, 8 * size):
        return ElementType(name, size, np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    if kind == 1 and not bits & 64 and number(data, 8, 2) == 0:
        found = _FLOATS.get((size, data[13], data[15]))
        if found is not None:
            is_plain = order == "<" or found is ml_dtypes.bfloat16
            return ElementType(
                name, size, np.dtype(found) if is_plain else np.dtype(found).newbyteorder()
            )
    if kind == 3:
        return ElementType(name, size, texts=False)
    if kind == 5 and size == 2:  # how Keras stores bfloat16
        return ElementType(name, size, np.dtype(ml_dtypes.bfloat16))
    if kind == 8:
        base = element_type(data[8:])
        if base.dtype is not None and base.size == size:
            is_bool = size == 1 and data[20:].startswith((b"FALSE\0", b"TRUE\0"))
            return ElementType(name, size, np.dtype(np.bool_) if is_bool else base.dtype)
    if kind == 9 and bits & 15 == 1 and size == 16:
        return ElementType(name, size, texts=True)
    return ElementType(name, size)


def filters_in(data: bytes | None) -> list[int]:
    """The numbers of the filters in a pipeline message, in the order of writing."""
    if data is None:
        return []
    found, at = [], 8 if data[0] == 1 else 2
    for _ in range(data[1]):
        identifier = number(data, at, 2)
        if data[0] == 1 or identifier >= 256:
            _, length, _, values = struct.unpack_from("<4H", data, at)
            at += 8 + ((length + 7) // 8 * 8 if data[0] == 1 else length)
        else:
            _, _, values = struct.unpack_from("<3H", data, at)
            at += 6
        at += 4 * (values + (values % 2 if data[0] == 1 else 0))
        found.append(identifier)
    return found


def _inflate(data: bytes, length: int, _: int) -> bytes:
    inflater = zlib.decompressobj()
    result = inflater.decompress(data, length + 1)
    if len(result) != length or not inflater.eof:
        raise ValueError(f"a chunk does not inflate to {length} bytes")
    return result


def _unshuffle(data: bytes, length: int, width: int) -> bytes:
    if len(data) != length:
        raise ValueError(f"a chunk has {len(data)} bytes instead of {length}")
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()


UNDO: dict[int, Callable[[bytes, int, int], bytes]] = {
    DEFLATE: _inflate, _SHUFFLE: _unshuffle,
}  # fmt: skip


def attribute_in(data: bytes) -> tuple[str, bytes, bytes, bytes]:
    """The name, type, shape and content in an attribute message."""
    version = data[0]
    if version not in (1, 2, 3) or (version > 1 and data[1] & 3):
        raise ValueError(f"an attribute has version {version} and flags {data[1]}")
    at, step = 9 if version == 3 else 8, 8 if version == 1 else 1
    parts = []
    for length in struct.unpack_from("<3H", data, 2):
        parts.append(data[at : at + length])
        if len(parts[-1]) < length:
            raise ValueError("an attribute is truncated")
        at += (length + step - 1) // step * step
    name, kind, space = parts
    return name.partition(b"\0")[0].decode(), kind, space, data[at:]


def link_in(data: bytes) -> tuple[str, int | None]:
    """The name and address in a link message; no address for soft and external links."""
    flags, at = data[1], 2
    kind = 0
    if flags & 8:
        kind, at = data[at], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length, at = number(data, at, width), at + width
    name = data[at : at + length]
    if not 0 < length <= LONGEST_NAME or len(name) < length:
        raise ValueError("a link has no name")
    return name.decode(), number(data, at + length) if kind == 0 else None
