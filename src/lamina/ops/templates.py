"""Templates of ops that differ in one function: a row holds a name, that function, and a line.

The text of an op is its line, followed by what the template knows of arguments and results.
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
    """An array of ``x`` with a dtype of its own, where JAX lets a number take that of others."""
    if dtype is None and isinstance(x, (bool, int, float, complex)):
        dtype = jnp.result_type(type(x))
    return jnp.asarray(x, dtype)


def tensor(x: Tensor) -> Any:
    """An array of ``x``; Python's numbers stay: they take the dtype of the other operand."""
    if isinstance(x, (jax.Array, bool, int, float, complex)):
        return x
    return jnp.asarray(x)


def floating(x: Tensor) -> jax.Array:
    """An array of ``x``; integers and booleans become ``floatx``."""
    if isinstance(x, (bool, int, float)):
        return jnp.asarray(x, settings.floatx())
    x = as_array(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(settings.floatx())


def same_floating(*xs: Tensor) -> tuple[Any, ...]:
    """Arrays of the floating dtype that ``xs`` promote to."""
    arrays = [tensor(x) for x in xs]
    dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = settings.floatx()
    return tuple(jnp.asarray(x, dtype) for x in arrays)


def optional_dtype(dtype: Any) -> str | None:
    """The name of a dtype that a user gave, or None."""
    return None if dtype is None else standardize_dtype(dtype)


def as_axes(axis: Axes) -> int | tuple[int, ...] | None:
    """An axis, or axes as a tuple: what JAX takes."""
    if axis is None or not isinstance(axis, Sequence):
        return axis
    return tuple(axis)


def refuse_sparse(name: str, sparse: Any) -> None:
    """Raise :class:`ArgumentError` where a sparse result is asked for."""
    if sparse:
        raise ArgumentError(
            f"{name}() makes dense tensors: JAX has no sparse ones that all ops take. "
            f"Received: sparse={sparse!r}; leave it out."
        )


# ---- templates -----------------------------------------------------------------------------------


class Unary(Protocol):
    """An op of one tensor."""

    def __call__(self, x: Tensor) -> Any: ...


class Binary(Protocol):
    """An op of two tensors."""

    def __call__(self, x1: Tensor, x2: Tensor) -> Any: ...


class Bitwise(Protocol):
    """An op of the bits of two tensors."""

    def __call__(self, x: Tensor, y: Tensor) -> Any: ...


class Reduction(Protocol):
    """An op that makes one number of the entries along axes."""

    def __call__(self, x: Tensor, axis: Axes = None, keepdims: bool = False) -> Any: ...


def _module() -> str:
    """The module of the row: two frames up, as for the classes that ``namedtuple`` makes."""
    return sys._getframe(2).f_globals["__name__"]


def _text(line: str, rest: str) -> str:
    return f"{line}\n\n{inspect.cleandoc(rest)}\n"


def unary(
    name: str,
    fn: Callable[[Any], Any],
    line: str,
    *,
    convert: Callable[[Any], Any] = as_array,
    elementwise: bool = True,
    **known: Any,
) -> Unary:
    """``fn(x)``; element by element unless said otherwise."""

    def apply(x: Tensor) -> Any:
        return fn(convert(x))

    kind = "integers are converted to floats" if convert is floating else "of any dtype"
    shape = "of the shape of ``x``" if elementwise else "of the result"
    text = f"""
        Args:
            x: Tensor of any shape; {kind}.

        Returns:
            Tensor {shape}.
        """
    return as_op(apply, name, _text(line, text), _module(), elementwise=elementwise, **known)


def float_unary(name: str, fn: Callable[[Any], Any], line: str, **known: Any) -> Unary:
    """``fn(x)`` for each element as a floating-point number."""

    def apply(x: Tensor) -> Any:
        return fn(floating(x))

    text = """
        Args:
            x: Tensor of any shape; integers are converted to floats.

        Returns:
            Floating-point tensor of the shape of ``x``.
        """
    return as_op(apply, name, _text(line, text), _module(), elementwise=True, **known)


_TWO = """
    Args:
        {}: Tensor.
        {}: Tensor; both broadcast to one shape.

    Returns:
        Tensor of that shape, of {}.
    """


def binary(name: str, fn: Callable[[Any, Any], Any], line: str, **known: Any) -> Binary:
    """``fn(x1, x2)``, element by element."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(tensor(x1), tensor(x2))

    text = _TWO.format("x1", "x2", "the dtype that both promote to")
    return as_op(apply, name, _text(line, text), _module(), elementwise=True, **known)


def float_binary(name: str, fn: Callable[[Any, Any], Any], line: str, **known: Any) -> Binary:
    """``fn(x1, x2)``, element by element, as floating-point numbers."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(*same_floating(x1, x2))

    text = _TWO.format("x1", "x2", "the floating dtype that both promote to")
    return as_op(apply, name, _text(line, text), _module(), elementwise=True, **known)


def comparison(name: str, fn: Callable[[Any, Any], Any], line: str, **known: Any) -> Binary:
    """``fn(x1, x2)``, element by element; True or False."""

    def apply(x1: Tensor, x2: Tensor) -> Any:
        return fn(tensor(x1), tensor(x2))

    text = _TWO.format("x1", "x2", "booleans")
    return as_op(apply, name, _text(line, text), _module(), elementwise=True, **known)


def bitwise(name: str, fn: Callable[[Any, Any], Any], line: str) -> Bitwise:
    """``fn(x, y)`` of the bits of integers."""

    def apply(x: Tensor, y: Tensor) -> Any:
        return fn(tensor(x), tensor(y))

    text = _TWO.format("x", "y", "the integer dtype that both promote to")
    return as_op(apply, name, _text(line, text), _module(), elementwise=True)


def reduction(name: str, fn: Callable[..., Any], line: str, **known: Any) -> Reduction:
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
    return as_op(apply, name, _text(line, text), _module(), **known)
