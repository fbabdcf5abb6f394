"""Dtypes: standard names, kinds, promotion, and the dtype that JAX actually uses."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.errors import ArgumentError, DTypeError

_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "int": "int32"}
_KNOWN = frozenset(
    """bool int4 int8 int16 int32 int64 uint4 uint8 uint16 uint32 uint64 float8_e4m3fn float8_e5m2
    float16 bfloat16 float32 float64 complex64 complex128 string""".split()
)

_OF_POLICIES = ", or the policy 'mixed_float16' or 'mixed_bfloat16'"

# Dtypes that JAX promotes by special rules, or not at all.
_UNPROMOTED = frozenset(("string", "int4", "uint4", "float8_e4m3fn", "float8_e5m2"))


def standardize_dtype(dtype: Any) -> str:
    """Return the name of ``dtype`` (a name, a NumPy or JAX dtype, a Python type, or None).

    Args:
        dtype: What stands for a dtype; None for ``floatx``.

    >>> standardize_dtype(np.float32), standardize_dtype(None), standardize_dtype(int)
    ('float32', 'float32', 'int32')
    """
    if dtype is None:
        return settings.floatx()
    if isinstance(dtype, str):
        name = _ALIASES.get(dtype, dtype)
    elif dtype is bool or dtype is int or dtype is float or dtype is str:
        name = {bool: "bool", int: "int32", float: settings.floatx(), str: "string"}[dtype]
    else:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if name not in _KNOWN:
        raise ArgumentError(
            "`dtype` expects a dtype or its name, such as 'float32' or 'int32'"
            f"{_OF_POLICIES if str(dtype).startswith('mixed') else ''}. Received: {dtype!r}."
        )
    return name


def is_float(dtype: str) -> bool:
    """True for the floating-point dtypes, including float8 and bfloat16."""
    return dtype.startswith(("float", "bfloat"))


def is_int(dtype: str) -> bool:
    """True for the signed and unsigned integer dtypes."""
    return dtype.startswith(("int", "uint"))


_WEAK: dict[Any, Any] = {bool: False, int: 0, float: 0.0, complex: 0j}


def result_type(*dtypes: Any) -> str:
    """The dtype that operands of the given dtypes promote to.

    The rules are those of JAX: Python's ``bool``, ``int``, ``float`` and ``complex`` take the dtype
    of the other operands of their kind; ``float`` with integer dtypes gives ``floatx``.

    Args:
        dtypes: Dtypes, their names, or Python types; None, like no argument, means ``floatx``.

    Raises:
        DTypeError: Strings, 8-bit floats or 4-bit integers, which are not promoted to other dtypes.

    >>> result_type("int32", "bfloat16"), result_type("int8", float), result_type(int, "int8")
    ('bfloat16', 'float32', 'int8')
    """
    floatx = settings.floatx()
    weak = {d for d in dtypes if isinstance(d, type) and d in _WEAK}
    names = [standardize_dtype(d) for d in dtypes if not (isinstance(d, type) and d in _WEAK)]
    if not dtypes or (set(names) == {"string"} and not weak):
        return names[0] if names else canonical(floatx)
    for name in names:
        if name in _UNPROMOTED:
            raise DTypeError(
                f"{name!r} is not promoted to other dtypes. "
                f"Received: {', '.join(map(str, dtypes))}. Cast the operands to one dtype first."
            )
    strong = [np.dtype(canonical(name)) for name in names]
    inexact = any(jax.numpy.issubdtype(d, np.inexact) for d in strong)
    if complex in weak and not inexact:
        return "complex64"
    if float in weak and not inexact:
        return canonical(floatx)
    if set(names) <= {"bool"}:
        return canonical(f"int{np.dtype(floatx).itemsize * 8}") if int in weak else "bool"
    if "uint64" in names and any(name.startswith("int") for name in names) and not inexact:
        return canonical(floatx)  # no integer dtype can represent both
    return canonical(jax.numpy.result_type(*strong, *(_WEAK[d] for d in weak)).name)


def canonical(dtype: str) -> str:
    """The dtype that JAX uses for ``dtype`` (float32 for float64 unless x64 is enabled)."""
    if jax.config.read("jax_enable_x64"):
        return dtype
    narrow = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}
    return narrow.get(dtype, dtype)


def exceeds(array: np.ndarray) -> bool:
    """Whether integers are too large for the dtype that JAX uses for theirs."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return False
    limits = np.iinfo(canonical(array.dtype.newbyteorder("=").name))
    return bool(array.min() < limits.min or array.max() > limits.max)


def narrowed(array: np.ndarray) -> np.ndarray:
    """``array`` in the dtype that JAX uses for it; integers that exceed it become floats.

    >>> narrowed(np.array([1, 2])).dtype.name, narrowed(np.array([1_700_000_000_000])).dtype.name
    ('int32', 'float32')
    """
    if exceeds(array):
        return array.astype(settings.floatx())
    dtype = jax.dtypes.canonicalize_dtype(array.dtype.newbyteorder("="))
    return array.astype(dtype, copy=False)
