"""Safetensors files: a JSON header and raw bytes, safe to load and supported by all frameworks.

Format: https://github.com/huggingface/safetensors (the length of the header in 8 bytes,
little-endian; the header; the arrays, without gaps).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import ml_dtypes
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, SerializationError
from lamina.runtime import budget
from lamina.runtime.files import Window, room_for
from lamina.serialization import text

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16,
    "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16,
    "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_CODES = {np.dtype(v): k for k, v in _DTYPES.items()}
_MAX_HEADER = 100 * 2**20


def write(path: Path, arrays: Mapping[str, Variable | np.ndarray]) -> dict[str, str]:
    """Write arrays, or the values of variables, under their names, and return their digests.

    Raises:
        SerializationError: The format has no such dtype.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers 4 wants to know it
    at = 0
    for name, v in arrays.items():
        dtype = np.dtype(v.dtype)  # ml_dtypes has registered the names of its dtypes
        if dtype not in _CODES:
            raise SerializationError(
                f"'.safetensors' files have no dtype for {name!r}.",
                expected=" ".join(map(str, _CODES)), received=dtype,
            )  # fmt: skip
        size = v.size * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(v.shape),
                        "data_offsets": [at, at + size]}  # fmt: skip
        at += size
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    digests: dict[str, str] = {}
    with path.open("wb") as file:
        file.write(len(written).to_bytes(8, "little"))
        file.write(written)
        for name, v in arrays.items():
            value = np.asarray(v)
            file.write(bytes_of(value))
            digests[name] = digest_of(value)
    return digests


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array in the order of its elements, without a copy if they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class Place(NamedTuple):
    """Where an array is in a file, which need not be open.

    Attributes:
        path: The file.
        dtype: Dtype of the array.
        shape: Its shape.
        start: Position of its first byte.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    def read(self) -> np.ndarray:
        """The array."""
        value = np.empty(self.shape, self.dtype)
        with Window.of(self.path, str(self.path)) as window:
            window.read_into(self.start, value)
        return value


def digest_of(array: np.ndarray) -> str:
    """The SHA-256 of an array's bytes, little-endian and in C order, in hexadecimal digits."""
    value = np.asarray(array, order="C")
    if value.dtype.byteorder == ">":
        value = value.astype(value.dtype.newbyteorder("<"))
    return hashlib.sha256(bytes_of(value)).hexdigest()


class File:
    """An open file of named arrays.

    Args:
        source: A path, or the bytes of a file, which stay open.
        where: Its name in messages.

    Raises:
        CorruptFileError: The header is damaged, or arrays overlap or leave gaps.
    """

    def __init__(self, source: Path | Window, where: str) -> None:
        self.where = where
        self._path = source if isinstance(source, Path) else None
        self._opened = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            window = source
            if isinstance(window, Path):
                window = opened.enter_context(Window.of(window, where))
            length = int.from_bytes(window.read(0, min(8, window.size)), "little")
            if window.size < 8 or length > min(_MAX_HEADER, window.size - 8):
                raise CorruptFileError(f"{where} is truncated or not a safetensors file.")
            self._data = window.part(8 + length, window.size - 8 - length, where)
            self._entries = self._read_header(window.read(8, length))
            self._opened = opened.pop_all()

    def _read_header(self, content: bytes) -> dict[str, tuple[np.dtype, tuple[int, ...], int]]:
        """The dtypes, shapes and positions of the arrays, which must fill the file."""
        where = f"{self.where}: the header"
        header = text.parse(content, where, CorruptFileError, finite=True)
        try:
            header.pop("__metadata__", None)
            entries = {name: _entry(e) for name, e in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise CorruptFileError(f"{where} is damaged: {e}") from e
        at = 0
        for name, (kind, shape, begin, end) in sorted(entries.items(), key=lambda e: e[1][2:]):
            if begin != at or end - begin != math.prod(shape) * kind.itemsize:
                raise CorruptFileError(
                    f"{where} is damaged: {name[:100]!r} does not match its size or its position."
                )
            at = end
        if at != self._data.size:
            raise CorruptFileError(
                f"{where} is damaged: it describes {at} bytes of arrays.",
                expected=f"{self._data.size} bytes, the rest of the file",
            )
        return {name: entry[:3] for name, entry in entries.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def names(self) -> list[str]:
        """The names of all arrays."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of the array of that name, or None if there is no such array."""
        return self._entries[name][1] if name in self._entries else None

    def place(self, name: str) -> Place:
        """Where the array of that name is.

        Raises:
            SerializationError: The arrays are in a part of another file.
        """
        if self._path is None:
            raise SerializationError(f"{self.where} is not a file of its own.")
        kind, shape, begin = self._entries[name]
        return Place(self._path, kind, shape, self._data.start + begin)

    def read(self, name: str) -> np.ndarray:
        """The array of that name."""
        kind, shape, begin = self._entries[name]
        budget.charge(allocated=math.prod(shape) * kind.itemsize)
        value = room_for(shape, kind)
        self._data.read_into(begin, value)
        return value


def _entry(entry: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Dtype, shape, start and end of an array."""
    kind, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if any(type(n) is not int or n < 0 for n in (*shape, begin, end)) or len(shape) > 32:
        raise ValueError(f"{str(entry)[:200]} has invalid dimensions")
    return kind, shape, begin, end
