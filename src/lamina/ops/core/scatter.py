"""Slices of tensors, and updates at given positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array

FILE_MODULE = "core"  # of Keras's files


@op
def slice(inputs: Tensor, start_indices: Tensor, shape: Sequence[int]) -> jax.Array:
    """The slice of ``inputs`` with a given shape that starts at a position.

    Args:
        inputs: Tensor.
        start_indices: Start of the slice, an integer for each axis. A slice that would exceed the
            bounds is shifted to fit.
        shape: Shape of the slice; -1 for all entries from the start, which must be known.

    >>> slice([[1, 2, 3], [4, 5, 6]], [1, 1], (1, 2))
    Array([[5, 6]], dtype=int32)
    """
    x = as_array(inputs)
    sizes = [x.shape[i] - int(start_indices[i]) if n == -1 else n for i, n in enumerate(shape)]
    return jax.lax.dynamic_slice(x, _indices(start_indices), sizes)


@op
def slice_update(inputs: Tensor, start_indices: Tensor, updates: Tensor) -> jax.Array:
    """``inputs`` with the slice that starts at ``start_indices`` replaced by ``updates``.

    Args:
        inputs: Tensor.
        start_indices: The first position along each axis, integers ``(axes,)``. A slice that would
            end outside is moved inside.
        updates: The new values, with as many axes as ``inputs``; cast to its dtype.

    >>> slice_update([1, 2, 3], [1], [8, 9])
    Array([1, 8, 9], dtype=int32)
    """
    inputs = as_array(inputs)
    new = as_array(updates).astype(inputs.dtype)
    return jax.lax.dynamic_update_slice(inputs, new, _indices(start_indices))


def _indices(given: Tensor) -> Any:
    return [as_array(i) for i in given] if isinstance(given, (list, tuple)) else as_array(given)


@op
def scatter(indices: Tensor, values: Tensor, shape: Sequence[int]) -> jax.Array:
    """Zeros of a given shape with ``values`` added at positions.

    Args:
        indices: Positions ``(..., k)``: each row is ``k`` integers for the first ``k`` axes.
        values: Values to add: their axes are those of ``indices`` except the last, then those of
            the result after the first ``k``. Values at the same position are summed.
        shape: Shape of the result.

    >>> scatter([[0], [2], [2]], [1, 2, 3], (4,))
    Array([1, 0, 5, 0], dtype=int32)
    """
    values = as_array(values)
    return jnp.zeros(tuple(shape), values.dtype).at[_positions(indices)].add(values)


def _positions(indices: Tensor) -> Any:
    return tuple(jnp.moveaxis(as_array(indices), -1, 0))


_REDUCTIONS = (None, "add", "max", "min", "mul")


@op
def scatter_update(
    inputs: Tensor, indices: Tensor, updates: Tensor, reduction: str | None = None
) -> jax.Array:
    """``inputs`` with ``updates`` written to positions.

    Args:
        inputs: Tensor.
        indices: Positions ``(n, k)``: each row is ``k`` integers for the first ``k`` axes.
        updates: New values, ``(n, ...)``.
        reduction: How to combine old and new values: ``"add"``, ``"max"``, ``"min"`` or ``"mul"``;
            None replaces the old values.

    >>> scatter_update([1, 2, 3], [[0], [2]], [10, 10], reduction="add")
    Array([11,  2, 13], dtype=int32)
    """
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"scatter_update(): `reduction` must be one of {_REDUCTIONS}. Received: {reduction!r}."
        )
    inputs = as_array(inputs)
    at = inputs.at[_positions(indices)]
    new = as_array(updates).astype(inputs.dtype)
    if reduction is None:
        return at.set(new)
    if reduction == "add":
        return at.add(new)
    if reduction == "mul":
        return at.multiply(new)
    return at.max(new) if reduction == "max" else at.min(new)


@op
def unstack(x: Tensor, num: int | None = None, axis: int = 0) -> list[jax.Array]:
    """Split a tensor into a list of its entries along an axis.

    Args:
        x: Tensor.
        num: Number of entries; required if the dimension is unknown.
        axis: The axis.

    >>> [part.tolist() for part in unstack([[1, 2], [3, 4]], axis=1)]
    [[1, 3], [2, 4]]
    """
    x = as_array(x)
    size = x.shape[axis]
    count = size if num is None else num
    if not isinstance(count, int):
        raise ShapeError(
            f"ops.unstack: the dimension of axis {axis} is unknown.",
            received=x.shape,
            cure="Pass `num`.",
        )
    if isinstance(size, int) and size != count:
        raise ShapeError(
            f"ops.unstack: axis {axis} does not have `num` entries.",
            expected=f"a dimension of {count}",
            received=x.shape,
        )
    take = jax.lax.index_in_dim if isinstance(size, int) else jax.lax.dynamic_index_in_dim
    return [take(x, i, axis, keepdims=False) for i in range(count)]
