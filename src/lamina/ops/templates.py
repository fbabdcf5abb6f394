"""Templates for ops that differ in one function: name, function, summary, example.

The docstring of an op is its summary, the template's arguments and results, and the example.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.declaration import Tensor, as_op
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError

Axes = int | Sequence[int] | None


# ---- arguments -----------------------------------------------------------------------------------


def as_array(x: Tensor, dtype: Any = None) -> jax.Array:
    """Convert ``x`` to an array whose dtype is not weak, unlike that of scalars in JAX."""
    if dtype is None and isinstance(x, (bool, int, float, complex)):
        dtype = jnp.result_type(type(x))
    return jnp.asarray(x, dtype)


def tensor(x: Tensor) -> Any:
    """Convert ``x`` to an array; keep Python numbers, which take the dtype of other operands."""
    if isinstance(x, (jax.Array, bool, int, float, complex)):
        return x
    return jnp.asarray(x)


def floating(x: Tensor) -> jax.Array:
    """Convert ``x`` to an array; integers and booleans are cast to ``floatx``."""
    if isinstance(x, (bool, int, float)):
        return jnp.asarray(x, settings.floatx())
    x = as_array(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(settings.floatx())


def same_floating(*xs: Tensor) -> tuple[Any, ...]:
    """Convert ``xs`` to arrays of the floating dtype that they promote to."""
    arrays = [tensor(x) for x in xs]
    dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = settings.floatx()
    return tuple(jnp.asarray(x, dtype) for x in arrays)


def optional_dtype(dtype: Any) -> str | None:
    """The name of a dtype, or None for None."""
    return None if dtype is None else standardize_dtype(dtype)


def as_axes(axis: Axes) -> int | tuple[int, ...] | None:
    """Convert axes for JAX: one axis to an integer, several to a tuple."""
    if axis is None or not isinstance(axis, Sequence):
        return axis
    return tuple(axis)


def refuse_sparse(name: str, sparse: Any) -> None:
    """Raise :class:`ArgumentError` if a sparse result is requested."""
    if sparse:
        raise ArgumentError(
            f"{name}() does not support sparse tensors. Received: sparse={sparse!r}. Leave it out."
        )


# ---- templates -----------------------------------------------------------------------------------


class Unary(Protocol):
    """An op of one tensor."""

    def __call__(self, x: Tensor) -> Any: ...


class Binary(Protocol):
    """An op of two tensors."""

    def __call__(self, x1: Tensor, x2: Tensor) -> Any: ...


class Bitwise(Protocol):
    """A bitwise op of two tensors."""

    def __call__(self, x: Tensor, y: Tensor) -> Any: ...


class Reduction(Protocol):
    """An op that reduces axes."""

    def __call__(self, x: Tensor, axis: Axes = None, keepdims: bool = False) -> Any: ...


def _module() -> str:
    """The module of the caller's caller, as ``namedtuple`` determines it."""
    return sys._getframe(2).f_globals["__name__"]


def _text(line: str, rest: str) -> str:
    return f"{line}\n\n{inspect.cleandoc(rest)}\n"


def unary(
    name: str,
    fn: Callable[[Any], Any],
    line: str,
    example: str,
    *,
    convert: Callable[[Any], Any] = as_array,
    elementwise: bool = True,
    **known: Any,
) -> Unary:
    """``fn(x)``, elementwise by default."""

    def apply(x: Tensor) -> Any:
        return fn(convert(x))

    kind = "integers are converted to floats" if convert is floating else "of any dtype"
    returns = "\n\nReturns:\n    Tensor of the shape of ``x``." if elementwise else ""
    text = f"{line}\n\nArgs:\n    x: Tensor of any shape; {kind}.{returns}"
    return as_op(apply, name, text, example, _module(), elementwise=elementwise, **known)


def float_unary(
    name: str, fn: Callable[[Any], Any], line: str, example: str, **known: Any
) -> Unary:
    """``fn(x)``, elementwise, in a floating dtype."""

    def apply(x: Tensor) -> Any:
        return fn(floating(x))

    text = """
        Args:
            x: Tensor of any shape; integers are converted to floats.

        Returns:
            Floating-point tensor of the shape of ``x``.
        """
    return as_op(apply, name, _text(line, text), example, _module(), elementwise=True, **known)


_TWO = """
    Args:
        {}: Tensor.
        {}: Tensor; both broadcast to one shape.

    Returns:
        Tensor of that shape, of {}.
    """


def binary(
    name: str, fn: Callable[[Any, Any], Any], line: str, example: str, **known: Any
) -> Binary:
    """``fn(x1, x2)``, elementwise."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(tensor(x1), tensor(x2))

    text = _TWO.format("x1", "x2", "the dtype that both promote to")
    return as_op(apply, name, _text(line, text), example, _module(), elementwise=True, **known)


def float_binary(
    name: str, fn: Callable[[Any, Any], Any], line: str, example: str, **known: Any
) -> Binary:
    """``fn(x1, x2)``, elementwise, in a floating dtype."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(*same_floating(x1, x2))

    text = _TWO.format("x1", "x2", "the floating dtype that both promote to")
    return as_op(apply, name, _text(line, text), example, _module(), elementwise=True, **known)


def comparison(
    name: str, fn: Callable[[Any, Any], Any], line: str, example: str, **known: Any
) -> Binary:
    """``fn(x1, x2)``, elementwise, with boolean results."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(tensor(x1), tensor(x2))

    text = _TWO.format("x1", "x2", "booleans")
    return as_op(apply, name, _text(line, text), example, _module(), elementwise=True, **known)


def bitwise(name: str, fn: Callable[[Any, Any], Any], line: str, example: str) -> Bitwise:
    """``fn(x, y)`` for the bits of integers."""

    def apply(x: Tensor, y: Tensor) -> Any:
        return fn(tensor(x), tensor(y))

    text = _TWO.format("x", "y", "the integer dtype that both promote to")
    return as_op(apply, name, _text(line, text), example, _module(), elementwise=True)


def reduction(
    name: str, fn: Callable[..., Any], line: str, example: str, **known: Any
) -> Reduction:
    """``fn(x, axis, keepdims)``."""

    def apply(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Any:
        return fn(as_array(x), axis=as_axes(axis), keepdims=keepdims)

    text = """
        Args:
            x: Tensor.
            axis: The axis or axes to reduce; all of them when None.
            keepdims: Whether reduced axes stay, with size 1.

        Returns:
            Tensor without the reduced axes.
        """
    return as_op(apply, name, _text(line, text), example, _module(), **known)
