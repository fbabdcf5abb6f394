"""Safetensors: a JSON header and raw bytes, which every framework reads and nothing can attack.

Format: https://github.com/huggingface/safetensors (8 bytes of header length, little-endian; the
header; the arrays, without gaps).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError

_DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16,
    "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16,
    "BF16": ml_dtypes.bfloat16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip
_CODES = {np.dtype(v): k for k, v in _DTYPES.items()}
_MAX_HEADER = 100 * 2**20


def write(path: Path, variables: Mapping[str, Variable]) -> None:
    """Write each variable's value under its address."""
    header: dict[str, Any] = {}
    at = 0
    for name, v in variables.items():
        dtype = np.dtype(_DTYPES.get("BF16") if v.dtype == "bfloat16" else v.dtype)
        size = v.size * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(v.shape),
                        "data_offsets": [at, at + size]}  # fmt: skip
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for v in variables.values():
            file.write(np.ascontiguousarray(v.numpy()).tobytes())


def read(
    path: Path, variables: Mapping[str, Variable], skip_mismatch: bool
) -> dict[Variable, np.ndarray]:
    """The arrays for ``variables``, mapped from the file.

    Raises:
        CorruptFileError: a header that lies, or an array that is missing or of another shape.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or length > min(_MAX_HEADER, total - 8):
            raise CorruptFileError(f"{path} is truncated or not a safetensors file.")
        try:
            header = json.loads(file.read(length))
            entries = {k: (e["dtype"], tuple(e["shape"]), tuple(e["data_offsets"]))
                       for k, e in header.items() if k != "__metadata__"}  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise CorruptFileError(f"{path}: the header is damaged: {e}") from e
    data = np.memmap(path, np.uint8, "r", 8 + length) if total > 8 + length else np.empty(0, "u1")
    found: dict[Variable, np.ndarray] = {}
    wrong = []
    for name, v in variables.items():
        code, shape, offsets = entries.get(name, (None, None, None))
        if shape != v.shape:
            wrong.append(f"{name}: expected shape {v.shape}, found {shape or 'nothing'}")
            continue
        if str(code) not in _DTYPES:
            raise CorruptFileError(f"{path}: {name!r} is of the unknown dtype {str(code)[:20]!r}.")
        dtype = np.dtype(_DTYPES[str(code)])
        begin, end = offsets if offsets is not None and len(offsets) == 2 else (-1, -1)
        whole = isinstance(begin, int) and isinstance(end, int)
        size = math.prod(v.shape) * dtype.itemsize
        if not whole or not 0 <= begin <= end <= data.size or end - begin != size:
            raise CorruptFileError(f"{path}: the entry for {name!r} does not fit the file.")
        found[v] = data[begin:end].view(dtype).reshape(v.shape)
    if wrong and not skip_mismatch:
        raise CorruptFileError(f"{path} does not fit the model:\n  " + "\n  ".join(wrong))
    return found
