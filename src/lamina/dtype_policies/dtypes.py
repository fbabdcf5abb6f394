"""Names of dtypes: how users write them, which kind each is, which one JAX really uses."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.errors import ArgumentError

_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "int": "int32"}
_KNOWN = frozenset(
    """bool int4 int8 int16 int32 int64 uint4 uint8 uint16 uint32 uint64 float8_e4m3fn float8_e5m2
    float16 bfloat16 float32 float64 complex64 complex128 string""".split()
)


def standardize_dtype(dtype: Any) -> str:
    """Return the name of ``dtype`` (a name, a NumPy or JAX dtype, a Python type, or None).

    >>> standardize_dtype(np.float32), standardize_dtype(None), standardize_dtype(int)
    ('float32', 'float32', 'int32')
    """
    if dtype is None:
        return settings.floatx()
    if isinstance(dtype, str):
        name = _ALIASES.get(dtype, dtype)
    elif dtype is bool or dtype is int or dtype is float:
        name = {bool: "bool", int: "int32", float: settings.floatx()}[dtype]
    else:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(getattr(dtype, "name", dtype))
    if name not in _KNOWN:
        raise ArgumentError(
            "`dtype` expects a dtype or its name, such as 'float32' or 'int32'. "
            f"Received: {dtype!r}."
        )
    return name


def is_float(dtype: str) -> bool:
    """True for the floating dtypes, float8 and bfloat16 among them."""
    return dtype.startswith(("float", "bfloat"))


def is_int(dtype: str) -> bool:
    """True for the signed and unsigned integer dtypes."""
    return dtype.startswith(("int", "uint"))


def canonical(dtype: str) -> str:
    """The dtype that JAX really uses for ``dtype`` (float64 becomes float32 unless x64 is on)."""
    if jax.config.read("jax_enable_x64"):
        return dtype
    narrow = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}
    return narrow.get(dtype, dtype)
