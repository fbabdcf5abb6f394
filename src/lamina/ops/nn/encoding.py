"""One-hot and multi-hot encodings of class indices."""

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
    """A new axis of size ``num_classes`` with 1 at the class index and 0 elsewhere.

    An index outside ``[0, num_classes)`` gives a row of zeros.

    Args:
        x: Class indices; integer tensor of any shape.
        num_classes: Size of the new axis.
        axis: Position of the new axis.
        dtype: Dtype of the result; ``floatx`` when None.
        sparse: Must be False: the result is dense.

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
    """Encode the classes that occur in each row: ``max(one_hot(inputs), rows)``.

    Args:
        inputs: Class indices, ``(batch, k, ...)`` or ``(k,)``; -1 is ignored.
        num_classes: Number of classes.
        axis: Position of the axis of classes.
        dtype: Dtype of the result; ``floatx`` when None.
        sparse: Must be False: the result is dense.

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
