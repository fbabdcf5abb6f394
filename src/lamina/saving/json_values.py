"""JSON of what callbacks and data sets keep: nested Python values, without their arrays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lamina.errors import ArgumentError


def encode(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """The JSON form of nested Python values, whose arrays are taken out.

    Args:
        value: None, numbers, strings, bytes, arrays; lists, tuples and dicts of them.
        arrays: Receives copies of the arrays.
        name: Name of the value in ``arrays`` and in messages.

    Raises:
        ArgumentError: A value of another type.

    >>> encode({"best": 0.5, "shape": (2, 3)}, {}, "state")
    {'dict': [['best', 0.5], ['shape', {'tuple': [2, 3]}]]}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        pairs = [
            [encode(k, arrays, f"{name}/{i}"), encode(v, arrays, f"{name}/{k}")]
            for i, (k, v) in enumerate(value.items())
        ]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [encode(x, arrays, f"{name}/{i}") for i, x in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.generic) and value.dtype.kind in "biufV":
        return {"scalar": [str(value.dtype), value.item()]}
    if isinstance(value, (np.ndarray, jax.Array)):
        arrays[name] = np.array(value)
        return {"array": name}
    raise ArgumentError(
        f"{name!r} cannot be saved in a checkpoint.",
        expected="numbers, strings, bytes, arrays, None; lists, tuples and dicts of them",
        received=f"{value!r} (of type {type(value).__name__})",
    )


def decode(value: Any, arrays: Mapping[str, Any]) -> Any:
    """The value that :func:`encode` has turned into JSON."""
    if isinstance(value, list):
        return [decode(x, arrays) for x in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {decode(k, arrays): decode(v, arrays) for k, v in content}
    if kind == "tuple":
        return tuple(decode(x, arrays) for x in content)
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "scalar":
        return np.dtype(content[0]).type(content[1])
    return np.asarray(arrays[content])
