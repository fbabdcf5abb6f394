"""One-hot encoding and normalization of arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import ArgumentError, DTypeError
from lamina.training.data.passes import whole_number


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Convert class indices to one-hot vectors, the targets of ``categorical_crossentropy``.

    ``result[..., k] = 1 if x[...] == k else 0``. A trailing axis of size 1 is removed first, so a
    column of labels ``(n, 1)`` gives ``(n, num_classes)``.

    Args:
        x: Class indices: whole numbers >= 0; an array or nested list of any shape.
        num_classes: Size of the new last axis; ``max(x) + 1`` when None.

    Returns:
        NumPy array of dtype float64 and shape ``x.shape + (num_classes,)``.

    Raises:
        ArgumentError: If a value is not a whole number in ``[0, num_classes)``, or if ``x`` is
            empty and ``num_classes`` is None.

    >>> to_categorical([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]])
    """
    if num_classes is not None:
        whole_number(num_classes, "num_classes")
    labels = np.asarray(x)
    if labels.dtype.kind not in "biuf":
        raise ArgumentError(
            "to_categorical() expects class indices, which are whole numbers. "
            f"Received: values of dtype {labels.dtype}. Number the classes first: "
            "`np.unique(x, return_inverse=True)[1]`."
        )
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    if labels.size == 0 and num_classes is None:
        raise ArgumentError(
            "to_categorical() cannot infer `num_classes` from an empty `x`. "
            f"Received: x of shape {labels.shape}. Pass `num_classes`."
        )
    classes = labels.astype("int64")
    if not np.array_equal(classes, labels):
        raise ArgumentError(
            "to_categorical() expects whole numbers as class indices. "
            f"Received: {labels[classes != labels].flat[0]!r}. Round or bin the values first."
        )
    size = int(classes.max()) + 1 if num_classes is None else num_classes
    outside = classes[(classes < 0) | (classes >= size)]
    if outside.size:
        raise ArgumentError(
            f"to_categorical() expects class indices from 0 to {size - 1}. "
            f"Received: {outside.flat[0]}. Shift the labels or raise `num_classes`."
        )
    return (classes[..., None] == np.arange(size)).astype("float64")


def normalize(x: Any, axis: int = -1, order: float = 2) -> Any:
    """Divide ``x`` by its norm along an axis; vectors with norm 0 remain 0.

    ``x / (sum(|x| ** order, axis) ** (1 / order))``.

    Args:
        x: Numbers of any shape: a NumPy array, a JAX array or a nested list.
        axis: The axis of the vectors.
        order: Order of the norm: 1, 2, ``np.inf``, ...

    Returns: A new floating-point array of the shape of ``x``: a JAX array for a JAX array, else a
    NumPy array.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    numpy = jnp if isinstance(x, jax.Array) else np
    if numpy is np and np.asarray(x).dtype.kind not in "biufc":
        raise DTypeError(f"normalize() expects numbers. Received: {x!r}.")
    norm = numpy.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return x / numpy.where(norm == 0, 1, norm)
