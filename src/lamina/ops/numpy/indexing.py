"""Indexing, selection and search of elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.declaration import Tensor, op
from lamina.core.spec import is_array
from lamina.ops.templates import as_array, tensor, unary
from lamina.tree import nested

FILE_MODULE = "numpy"  # of Keras's files


@op(operators=("__getitem__",), in_call=("key",))
def get_item(x: Tensor, key: Any) -> Any:
    """``x[key]``; an integer out of the bounds of a known dimension is an error, as in NumPy.

    Args:
        x: Tensor.
        key: Integers, slices, None, ``...``, tensors of integers or booleans, or a tuple of these.

    >>> get_item([1, 2, 3], slice(1, None))
    Array([2, 3], dtype=int32)
    """
    x = as_array(x)
    key = tuple(_index(k) for k in key) if isinstance(key, tuple) else _index(key)
    sizes = iter(x.shape)
    for k in key if isinstance(key, tuple) else (key,):
        if k is Ellipsis or is_array(k):
            break  # the axes of further keys are harder to determine
        size = None if k is None else next(sizes, None)
        if isinstance(k, int) and isinstance(size, int) and not -size <= k < size:
            raise IndexError(f"index {k} is out of bounds for an axis of size {size}")
    return x[key]


def _index(k: Any) -> Any:
    """Convert a list to an array: of NumPy if it contains numbers, because masks need values."""
    if not isinstance(k, list):
        return k
    return as_array(k) if any(isinstance(x, jax.Array) for x in nested.flatten(k)) else np.array(k)


@op
def take(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """The entries at positions along an axis.

    Args:
        x: Tensor.
        indices: Integers of any shape; negative ones count from the end. Indices out of bounds give
            NaN, or the lowest number of an integer dtype.
        axis: The axis to index; the flattened tensor when None.

    Returns:
        Tensor in which ``axis`` is replaced by the axes of ``indices``.

    >>> take([10, 20, 30], [2, 0])
    Array([30, 10], dtype=int32)
    """
    return jnp.take(as_array(x), as_array(indices), axis)


@op
def take_along_axis(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """Take entries by separate indices for each row: ``y[i, j] = x[i, indices[i, j]]``.

    Args:
        x: Tensor.
        indices: Integers, of the shape of ``x`` except along ``axis``.
        axis: The axis to index; the flattened tensor when None.

    >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
    Array([[2],
           [3]], dtype=int32)
    """
    return jnp.take_along_axis(as_array(x), as_array(indices), axis)


@op
def select(
    condlist: Sequence[Tensor], choicelist: Sequence[Tensor], default: Tensor = 0
) -> jax.Array:
    """For each element, the choice whose condition is the first that is true.

    Args:
        condlist: Booleans, one tensor for each choice.
        choicelist: Tensors.
        default: Value where no condition is true.

    >>> select([[True, False]], [[1, 2]], 9)
    Array([1, 9], dtype=int32)
    """
    conditions = [as_array(c) for c in condlist]
    return jnp.select(conditions, [as_array(c) for c in choicelist], tensor(default))


def _nonzero(x: jax.Array) -> Any:
    return tuple(i.astype("int32") for i in jnp.nonzero(x))


nonzero = unary("nonzero", _nonzero,
    "The positions of elements that are not 0, one tensor for each axis; only on arrays, because\n"
    "their number depends on the values.", "nonzero([0, 5, 7]) -> (Array([1, 2], dtype=int32),)",
    elementwise=False)  # fmt: skip


@op
def unravel_index(indices: Tensor, shape: Sequence[int]) -> Any:
    """Convert positions in a flattened tensor to positions along each axis.

    Args:
        indices: Integers of any shape; negative ones count from the end.
        shape: Shape of the tensor that was flattened.

    Returns:
        Tuple of one tensor of the shape of ``indices`` for each axis.

    >>> unravel_index(5, (2, 3))
    (Array(1, dtype=int32), Array(2, dtype=int32))
    """
    return tuple(jnp.unravel_index(as_array(indices), tuple(shape)))


@op(file_class="IsIn")
def isin(x1: Tensor, x2: Tensor, assume_unique: bool = False, invert: bool = False) -> jax.Array:
    """Whether each element of ``x1`` is among those of ``x2``.

    Args:
        x1: Tensor.
        x2: Tensor of any shape.
        assume_unique: Whether the elements of both tensors are unique, which can be faster.
        invert: Whether to negate the result.

    >>> isin([1, 2, 3], [3, 1])
    Array([ True, False,  True], dtype=bool)
    """
    return jnp.isin(as_array(x1), as_array(x2), assume_unique, invert)


@op
def unique(
    x: Tensor,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The unique elements.

    Args:
        x: Tensor.
        sorted: Kept for compatibility with Keras: the result is always sorted.
        return_index: Whether to also return the positions of their first occurrences.
        return_inverse: Whether to also return, for each element of ``x``, its position in the
            result.
        return_counts: Whether to also return how often each occurs.
        axis: The axis whose entries are compared as a whole; the flattened tensor when None.
        size: The size of the result, which is truncated or padded to it. Required if the values are
            not known, as in a graph or a compiled function.
        fill_value: Padding value; the smallest element when None.

    Returns:
        Tensor, or a tuple of it and the other requested results.

    >>> unique([3, 1, 3])
    Array([1, 3], dtype=int32)
    """
    x = as_array(x)
    found = jnp.unique(
        x, return_index, return_inverse, return_counts, axis, size=size, fill_value=fill_value
    )
    return tuple(found) if isinstance(found, tuple) else found


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None
) -> Callable[..., Any]:
    """Vectorize a function of parts of tensors: it is applied to all parts at once.

    Args:
        pyfunc: The function.
        excluded: Positions or names of arguments that are passed as they are.
        signature: The shapes of the parts, such as ``"(n),(n)->()"``; scalars when None.

    >>> vectorize(lambda x, y: jnp.dot(x, y), signature="(n),(n)->()")(
    ...     jnp.ones((2, 3)), jnp.ones(3)
    ... )
    Array([3., 3.], dtype=float32)
    """
    return jnp.vectorize(pyfunc, excluded=excluded or (), signature=signature)
