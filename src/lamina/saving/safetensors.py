"""Safetensors files: a JSON header and raw bytes, safe to load and supported by all frameworks.

Format: https://github.com/huggingface/safetensors (the length of the header in 8 bytes,
little-endian; the header; the arrays, without gaps).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, SerializationError

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16,
    "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16,
    "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64, "C64": np.complex64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_CODES = {np.dtype(v): k for k, v in _DTYPES.items()}
_MAX_HEADER = 100 * 2**20


def write(path: Path, arrays: Mapping[str, Variable | np.ndarray]) -> None:
    """Write arrays, or the values of variables, under their names.

    Raises:
        SerializationError: The format has no such dtype.
    """
    header: dict[str, Any] = {}
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
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for v in arrays.values():
            file.write(bytes_of(v.numpy() if isinstance(v, Variable) else v))


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array in the order of its elements, without a copy if they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class File:
    """An open file of named arrays, mapped into memory.

    Args:
        path: The file.
        where: Its name in messages.

    Raises:
        CorruptFileError: The header is damaged or inconsistent with the arrays.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.where = where
        total = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if total < 8 or length > min(_MAX_HEADER, total - 8):
                raise CorruptFileError(f"{where} is truncated or not a safetensors file.")
            text = file.read(length)
        try:
            header = json.loads(text)
            header.pop("__metadata__", None)
            self._entries = {k: _entry(e, total - 8 - length) for k, e in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise CorruptFileError(f"{where}: the header is damaged: {e}") from e
        has_data = total > 8 + length
        self._data = np.memmap(path, np.uint8, "r", 8 + length) if has_data else np.empty(0, "u1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._data

    def names(self) -> list[str]:
        """The names of all arrays."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of the array of that name, or None if there is no such array."""
        return self._entries[name][1] if name in self._entries else None

    def read(self, name: str) -> np.ndarray:
        """A copy of the array of that name, which does not change with the file."""
        kind, shape, begin, end = self._entries[name]
        return np.array(self._data[begin:end]).view(kind).reshape(shape)


def _entry(entry: Any, total: int) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Dtype, shape, start and end of an array, checked for consistency."""
    kind, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    numbers = (*shape, begin, end)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
        raise ValueError(f"{entry} has invalid dimensions")
    if end > total or end - begin != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{entry} does not match the {total} bytes of arrays")
    return kind, shape, begin, end
