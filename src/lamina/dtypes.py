"""Dtype names and the policies that pair a variable dtype with a compute dtype."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from lamina import config
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
        return config.floatx()
    if isinstance(dtype, str):
        name = _ALIASES.get(dtype, dtype)
    elif dtype is bool or dtype is int or dtype is float:
        name = {bool: "bool", int: "int32", float: config.floatx()}[dtype]
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


class DTypePolicy:
    """Which dtype a layer stores its weights in, and which it computes in.

    Args:
        name: a dtype (both dtypes are it), ``"mixed_float16"`` or ``"mixed_bfloat16"`` (weights in
            float32, computation in 16 bits).

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    def __init__(self, name: str | None = None) -> None:
        name = config.floatx() if name is None else name
        if name in ("mixed_float16", "mixed_bfloat16"):
            self.variable_dtype, self.compute_dtype = "float32", name.removeprefix("mixed_")
        else:
            name = self.variable_dtype = self.compute_dtype = standardize_dtype(name)
        self.name = name

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


_default: ContextVar[DTypePolicy | None] = ContextVar("lamina_dtype_policy", default=None)


def dtype_policy() -> DTypePolicy:
    """The policy that a layer takes when it is given no ``dtype``."""
    return _default.get() or DTypePolicy()


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the default policy of layers made from now on (``None``: back to ``floatx``)."""
    _default.set(None if policy is None else get_policy(policy))


def get_policy(value: Any) -> DTypePolicy:
    """Resolve a policy, a dtype, a serialized policy or None (the default)."""
    if value is None:
        return dtype_policy()
    if isinstance(value, DTypePolicy):
        return value
    if isinstance(value, dict):
        return DTypePolicy(value.get("config", value)["name"])
    return DTypePolicy(value if isinstance(value, str) else standardize_dtype(value))
