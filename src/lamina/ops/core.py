"""Making tensors, converting them, and the control of gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.graph import is_symbolic
from lamina.core.operation import op
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import SymbolicTensorError

__all__ = [
    "arange", "cast", "convert_to_numpy", "convert_to_tensor", "eye", "full", "linspace", "ones",
    "shape", "stop_gradient", "zeros",
]  # fmt: skip


def _cast(x: Any, dtype: Any) -> jax.Array:
    """Convert a tensor to another dtype."""
    return jnp.asarray(x, standardize_dtype(dtype))


cast = op(_cast, "cast", elementwise=True)
stop_gradient = op(jax.lax.stop_gradient, "stop_gradient", elementwise=True)


def convert_to_tensor(x: Any, dtype: Any = None) -> Any:
    """An array of ``x`` (numbers, lists, NumPy arrays, variables); symbolic tensors pass."""
    if is_symbolic(x):
        return x if dtype is None else cast(x, dtype)
    return jnp.asarray(x, None if dtype is None else standardize_dtype(dtype))


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array of the values of ``x``."""
    return np.asarray(x)


def shape(x: Any) -> tuple[Any, ...]:
    """The sizes of ``x``; inside a layer's ``call`` an unknown one is a symbol to compute with."""
    return x.shape


def _sizes(shape: Any, name: str) -> Any:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if None in sizes:
        raise SymbolicTensorError(
            f"ops.{name} needs numbers for its shape. Received: {tuple(sizes)}; None is a size "
            f"that is not known while building. Use `ops.{name}_like(x)`, or call ops.{name} in a "
            "layer's `call`, where open sizes can be used."
        )
    return shape


def zeros(shape: Any, dtype: Any = None) -> jax.Array:
    """A tensor of zeros."""
    return jnp.zeros(_sizes(shape, "zeros"), standardize_dtype(dtype))


def ones(shape: Any, dtype: Any = None) -> jax.Array:
    """A tensor of ones."""
    return jnp.ones(_sizes(shape, "ones"), standardize_dtype(dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> jax.Array:
    """A tensor filled with one value."""
    return jnp.full(
        _sizes(shape, "full"), fill_value, None if dtype is None else standardize_dtype(dtype)
    )


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> jax.Array:
    """Evenly spaced values from ``start`` up to, not including, ``stop``."""
    return jnp.arange(start, stop, step, None if dtype is None else standardize_dtype(dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
    """A matrix with ones on diagonal ``k``."""
    return jnp.eye(N, M, k, standardize_dtype(dtype))


def linspace(start: Any, stop: Any, num: int = 50, dtype: Any = None) -> jax.Array:
    """``num`` evenly spaced values from ``start`` to ``stop``, both included."""
    return jnp.linspace(start, stop, num, dtype=None if dtype is None else standardize_dtype(dtype))
