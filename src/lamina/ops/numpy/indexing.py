"""Elements by position: taken, chosen, found."""

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
    """``x[key]``; an integer outside of a known axis is an error, as in NumPy.

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
            break  # which axis the next ones belong to is not so plain
        size = None if k is None else next(sizes, None)
        if isinstance(k, int) and isinstance(size, int) and not -size <= k < size:
            raise IndexError(f"index {k} is outside of an axis of size {size}")
    return x[key]


def _index(k: Any) -> Any:
    """A list as an array: of NumPy where it holds numbers, because masks need values."""
    if not isinstance(k, list):
        return k
    return as_array(k) if any(isinstance(x, jax.Array) for x in nested.flatten(k)) else np.array(k)


@op
def take(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """The entries at positions along an axis.

    Args:
        x: Tensor.
        indices: Integers of any shape; negative ones count from the end. Those outside give NaN,
            or the lowest number of an integer dtype.
        axis: The axis of the positions; the flattened tensor when None.

    Returns:
        Tensor with the axes of ``indices`` in the place of ``axis``.

    >>> take([10, 20, 30], [2, 0])
    Array([30, 10], dtype=int32)
    """
    return jnp.take(as_array(x), as_array(indices), axis)


@op
def take_along_axis(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """For each row along ``axis``, its own entries: ``y[i, j] = x[i, indices[i, j]]``.

    Args:
        x: Tensor.
        indices: Integers; the shape of ``x`` but for ``axis``.
        axis: The axis of the positions; the flattened tensor when None.

    >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
    Array([[2],
           [3]], dtype=int32)
    """
    return jnp.take_along_axis(as_array(x), as_array(indices), axis)


@op
def select(
    condlist: Sequence[Tensor], choicelist: Sequence[Tensor], default: Tensor = 0
) -> jax.Array:
    """For each element, the choice that belongs to the first condition that holds.

    Args:
        condlist: Booleans, one tensor for each choice.
        choicelist: Tensors.
        default: Where no condition holds.

    >>> select([[True, False]], [[1, 2]], 9)
    Array([1, 9], dtype=int32)
    """
    conditions = [as_array(c) for c in condlist]
    return jnp.select(conditions, [as_array(c) for c in choicelist], tensor(default))


def _nonzero(x: jax.Array) -> Any:
    return tuple(i.astype("int32") for i in jnp.nonzero(x))


nonzero = unary(
    "nonzero", _nonzero,
    "The positions of elements that are not 0, one tensor for each axis; only on arrays, because\n"
    "their number depends on the values.",
    elementwise=False,
)  # fmt: skip


@op
def unravel_index(indices: Tensor, shape: Sequence[int]) -> Any:
    """Positions in a flattened tensor as positions along each axis.

    >>> unravel_index(5, (2, 3))
    (Array(1, dtype=int32), Array(2, dtype=int32))
    """
    return tuple(jnp.unravel_index(as_array(indices), tuple(shape)))


@op(file_class="IsIn")
def isin(x1: Tensor, x2: Tensor, assume_unique: bool = False, invert: bool = False) -> jax.Array:
    """Whether each element of ``x1`` is among those of ``x2``.

    Args:
        x1: Tensor.
        x2: Tensor; its shape does not matter.
        assume_unique: Whether each of both occurs once, which can be faster.
        invert: Whether to answer the opposite.

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
    """Each element once.

    Args:
        x: Tensor.
        sorted: Kept for Keras's signature: they are sorted in any case.
        return_index: Whether to return the positions of their first occurrences too.
        return_inverse: Whether to return, for each element of ``x``, its position in the result.
        return_counts: Whether to return how often each occurs.
        axis: The axis whose entries are compared as a whole; the flattened tensor when None.
        size: The size of the result: excess elements are dropped, missing ones filled up. Needed
            where the values are not known, as in a graph or a compiled function.
        fill_value: What to fill up with; the smallest element when None.

    Returns:
        Tensor, or a tuple of it and what else was asked for.

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
    """A function of tensors from one of their parts: it runs for each, at once.

    Args:
        pyfunc: The function.
        excluded: Positions or names of arguments that are passed as they are.
        signature: What a part is, as ``"(n),(n)->()"``; a number when None.

    >>> vectorize(lambda x, y: jnp.dot(x, y), signature="(n),(n)->()")(
    ...     jnp.ones((2, 3)), jnp.ones(3)
    ... )
    Array([3., 3.], dtype=float32)
    """
    return jnp.vectorize(pyfunc, excluded=excluded or (), signature=signature)
