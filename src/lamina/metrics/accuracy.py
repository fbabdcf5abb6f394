"""Accuracies: the fraction of correct predictions."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import ops
from lamina.losses.base import DTYPE, as_float, class_numbers
from lamina.metrics.base import metric_function
from lamina.metrics.reduction import FunctionMetric
from lamina.serialization.registry import builtin


@metric_function("elements")
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where ``y_true == y_pred``, else 0.

    Args:
        y_true: Targets of any shape.

    Returns:
        Zeros and ones of that shape.

    >>> accuracy([1, 2, 3], [1, 2, 0])
    Array([1., 1., 0.], dtype=float32)
    """
    return (y_true == y_pred).astype(y_pred.dtype)


@metric_function("elements")
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where ``y_true == (y_pred > threshold)``, else 0.

    Args:
        y_true: Zeros and ones of any shape.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        threshold: Predictions above it mean 1.

    Returns:
        Zeros and ones of that shape.

    >>> binary_accuracy([[1.0, 0.0]], [[0.7, 0.6]])
    Array([[1., 0.]], dtype=float32)
    """
    return (y_true == (y_pred > threshold)).astype(y_pred.dtype)


@metric_function("vectors")
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest elements of ``y_true`` and ``y_pred`` are of the same class, else 0.

    Args:
        y_true: One-hot targets, ``(batch, ..., classes)``.
        y_pred: Scores of the same shape.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Different shapes, such as class indices without a class axis.

    >>> categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
    Array([1., 0.], dtype=float32)
    """
    return (jnp.argmax(y_true, -1) == jnp.argmax(y_pred, -1)).astype(y_pred.dtype)


@metric_function("classes")
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest element of ``y_pred`` is that of the class ``y_true``, else 0.

    Args:
        y_true: Class indices, ``(batch, ...)`` or ``(batch, ..., 1)``.
        y_pred: Scores, ``(batch, ..., classes)``.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Different shapes, such as those of one-hot targets.

    >>> sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.3, 0.7]])
    Array([1., 0.], dtype=float32)
    """
    y_pred = as_float(y_pred)
    labels = class_numbers(jnp.asarray(y_true), y_pred, -1, "sparse_categorical_accuracy")
    return (labels == jnp.argmax(y_pred, -1)).astype(y_pred.dtype)


@metric_function("vectors")
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where fewer than ``k`` classes score higher than the target class, else 0.

    Args:
        y_true: One-hot targets, ``(batch, ..., classes)``.
        y_pred: Scores of the same shape.
        k: Number of highest-scoring classes to consider.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Different shapes, such as class indices without a class axis.

    >>> top_k_categorical_accuracy([[0, 0, 1], [0, 0, 1]], [[0.5, 0.1, 0.4], [0.5, 0.3, 0.2]], k=2)
    Array([1., 0.], dtype=float32)
    """
    return ops.in_top_k(jnp.argmax(y_true, -1), y_pred, k).astype(y_pred.dtype)


@metric_function("classes")
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """1 where fewer than ``k`` classes score higher than ``y_true``, else 0.

    Args:
        y_true: Class indices, ``(batch, ...)`` or ``(batch, ..., 1)``.
        y_pred: Scores, ``(batch, ..., classes)``; or classes in descending order of
            probability.
        k: Number of highest-scoring classes to consider.
        from_sorted_ids: Whether ``y_pred`` contains classes instead of scores.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Different shapes, such as those of one-hot targets.

    >>> sparse_top_k_categorical_accuracy([2, 2], [[0.5, 0.1, 0.4], [0.5, 0.3, 0.2]], k=2)
    Array([1., 0.], dtype=float32)
    """
    y_pred = as_float(y_pred)
    labels = class_numbers(jnp.asarray(y_true), y_pred, -1, "sparse_top_k_categorical_accuracy")
    if from_sorted_ids:
        hit = jnp.any(y_pred[..., :k] == labels[..., None], axis=-1)
    else:
        hit = ops.in_top_k(labels, y_pred, k)
    return hit.astype(y_pred.dtype)


@builtin("metrics")
class Accuracy(FunctionMetric):
    """Fraction of predictions that equal their targets.

    >>> metric = Accuracy()
    >>> metric.update_state([1, 2, 3, 4], [0, 2, 3, 4])
    >>> metric.result()
    Array(0.75, dtype=float32)
    """

    _function = staticmethod(accuracy)
    direction = "max"
    name: str | None = "accuracy"
    dtype: Any = DTYPE


@builtin("metrics")
class BinaryAccuracy(FunctionMetric):
    """Fraction of correct binary predictions: see :func:`binary_accuracy`.

    >>> metric = BinaryAccuracy()
    >>> metric.update_state([[1.0], [0.0]], [[0.7], [0.6]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _function = staticmethod(binary_accuracy)
    direction = "max"
    name: str | None = "binary_accuracy"
    dtype: Any = DTYPE
    threshold: float = 0.5


@builtin("metrics")
class CategoricalAccuracy(FunctionMetric):
    """Fraction of samples whose most probable class is the target class, one-hot encoded.

    >>> metric = CategoricalAccuracy()
    >>> metric.update_state([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _function = staticmethod(categorical_accuracy)
    direction = "max"
    name: str | None = "categorical_accuracy"
    dtype: Any = DTYPE


@builtin("metrics")
class SparseCategoricalAccuracy(FunctionMetric):
    """Fraction of samples whose most probable class is the target class, a class index.

    >>> metric = SparseCategoricalAccuracy()
    >>> metric.update_state([1, 0], [[0.2, 0.8], [0.3, 0.7]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _function = staticmethod(sparse_categorical_accuracy)
    direction = "max"
    name: str | None = "sparse_categorical_accuracy"
    dtype: Any = DTYPE


@builtin("metrics")
class TopKCategoricalAccuracy(FunctionMetric):
    """Fraction of samples whose target class, one-hot encoded, is among the k most probable.

    >>> metric = TopKCategoricalAccuracy(k=2)
    >>> metric.update_state([[0, 0, 1], [0, 0, 1]], [[0.5, 0.1, 0.4], [0.5, 0.3, 0.2]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _function = staticmethod(top_k_categorical_accuracy)
    direction = "max"
    k: int = 5
    name: str | None = "top_k_categorical_accuracy"
    dtype: Any = DTYPE


@builtin("metrics")
class SparseTopKCategoricalAccuracy(FunctionMetric):
    """Fraction of samples whose target class, a class index, is among the k most probable.

    Args:
        from_sorted_ids: Whether predictions are classes in descending order of probability instead
            of scores.

    >>> metric = SparseTopKCategoricalAccuracy(k=2)
    >>> metric.update_state([2, 2], [[0.5, 0.1, 0.4], [0.5, 0.3, 0.2]])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _function = staticmethod(sparse_top_k_categorical_accuracy)
    direction = "max"
    k: int = 5
    name: str | None = "sparse_top_k_categorical_accuracy"
    dtype: Any = DTYPE
    from_sorted_ids: bool = False
