"""Class numbers as vectors of zeros and ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError
from lamina.ops.templates import as_array, refuse_sparse

FILE_MODULE = "nn"  # of Keras's files


@op
def one_hot(
    x: Tensor, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> jax.Array:
    """A new axis of size ``num_classes`` with 1 at each class number and 0 elsewhere.

    A number outside of ``[0, num_classes)`` gives a row of zeros.

    Args:
        x: Class numbers; integer tensor of any shape.
        num_classes: Size of the new axis.
        axis: Where the new axis goes.
        dtype: Dtype of the result, ``floatx`` by default.
        sparse: Only False: results are dense.

    >>> one_hot(jnp.array([2, 0]), 3)
    Array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    refuse_sparse("one_hot", sparse)
    return jax.nn.one_hot(as_array(x), num_classes, dtype=standardize_dtype(dtype), axis=axis)


@op
def multi_hot(
    inputs: Tensor,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> jax.Array:
    """Which classes occur in each row: ``max(one_hot(inputs), rows)``.

    Args:
        inputs: Class numbers, ``(batch, k, ...)`` or ``(k,)``; -1 counts as absent.
        num_classes: Number of classes.
        axis: Where the axis of classes goes.
        dtype: Dtype of the result, ``floatx`` by default.
        sparse: Only False: results are dense.

    Returns:
        Tensor ``(batch, ..., num_classes)`` or ``(num_classes,)`` of ones and zeros.

    >>> multi_hot(jnp.array([[2, 0], [1, 1]]), 3)
    Array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    if num_classes is None:
        raise ArgumentError("multi_hot() needs `num_classes`. Received: num_classes=None.")
    refuse_sparse("multi_hot", sparse)
    inputs = as_array(inputs)
    hot = jax.nn.one_hot(inputs, num_classes, dtype=standardize_dtype(dtype), axis=axis)
    return jnp.max(hot, axis=1 if inputs.ndim > 1 else 0)
