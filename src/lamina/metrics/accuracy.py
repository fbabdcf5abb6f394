"""Accuracies: how often predictions are right."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import ops
from lamina.losses.base import DTYPE, as_float, class_numbers
from lamina.metrics.base import formula
from lamina.metrics.reduction import FunctionMetric
from lamina.serialization.registry import builtin


@formula("elements")
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where ``y_true == y_pred``, else 0.

    Args:
        y_true: Targets of any shape.
        y_pred: Predictions of the same shape, or differing by one trailing axis of size 1.

    Returns:
        Zeros and ones of that shape.

    Raises:
        ShapeError: Other shapes; nothing is broadcast.

    >>> accuracy([1, 2, 3], [1, 2, 0])
    Array([1., 1., 0.], dtype=float32)
    """
    return (y_true == y_pred).astype(y_pred.dtype)


@formula("elements")
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where ``y_true == (y_pred > threshold)``, else 0.

    Args:
        y_true: Zeros and ones of any shape.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        threshold: Above it a prediction means 1.

    Returns:
        Zeros and ones of that shape.

    Raises:
        ShapeError: Other shapes; nothing is broadcast.

    >>> binary_accuracy([[1.0, 0.0]], [[0.7, 0.6]])
    Array([[1., 0.]], dtype=float32)
    """
    return (y_true == (y_pred > threshold)).astype(y_pred.dtype)


@formula("vectors")
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest entries of ``y_true`` and ``y_pred`` are the same class, else 0.

    Args:
        y_true: One-hot rows, ``(batch, ..., classes)``.
        y_pred: Scores of the same shape.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Other shapes, such as class numbers without a class axis.

    >>> categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
    Array([1., 0.], dtype=float32)
    """
    return (jnp.argmax(y_true, -1) == jnp.argmax(y_pred, -1)).astype(y_pred.dtype)


@formula("classes")
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest entry of ``y_pred`` is the class ``y_true``, else 0.

    Args:
        y_true: Class numbers, ``(batch, ...)`` or ``(batch, ..., 1)``.
        y_pred: Scores, ``(batch, ..., classes)``.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Other shapes, one-hot targets among them.

    >>> sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.3, 0.7]])
    Array([1., 0.], dtype=float32)
    """
    y_pred = as_float(y_pred)
    labels = class_numbers(jnp.asarray(y_true), y_pred, -1, "sparse_categorical_accuracy")
    return (labels == jnp.argmax(y_pred, -1)).astype(y_pred.dtype)


@formula("vectors")
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where fewer than ``k`` classes score higher than the true one, else 0.

    Args:
        y_true: One-hot rows, ``(batch, ..., classes)``.
        y_pred: Scores of the same shape.
        k: How many guesses a sample has.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Other shapes, such as class numbers without a class axis.

    >>> top_k_categorical_accuracy([[0, 0, 1], [0, 0, 1]], [[0.5, 0.1, 0.4], [0.5, 0.3, 0.2]], k=2)
    Array([1., 0.], dtype=float32)
    """
    return ops.in_top_k(jnp.argmax(y_true, -1), y_pred, k).astype(y_pred.dtype)


@formula("classes")
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """1 where fewer than ``k`` classes score higher than ``y_true``, else 0.

    Args:
        y_true: Class numbers, ``(batch, ...)`` or ``(batch, ..., 1)``.
        y_pred: Scores, ``(batch, ..., classes)``; or the classes themselves, the likeliest first.
        k: How many guesses a sample has.
        from_sorted_ids: Whether ``y_pred`` holds classes instead of scores.

    Returns:
        Zeros and ones, ``(batch, ...)``.

    Raises:
        ShapeError: Other shapes, one-hot targets among them.

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
    """How often predictions equal targets.

    Args:
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.

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
    """How often yes-or-no predictions are right: see :func:`binary_accuracy`.

    Args:
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.
        threshold: Above it a prediction means 1.

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
    """How often the likeliest class is the true one, of one-hot targets.

    Args:
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.

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
    """How often the likeliest class is the true one, of class numbers.

    Args:
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.

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
    """How often the true class is among the k likeliest, of one-hot targets.

    Args:
        k: How many guesses a sample has.
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.

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
    """How often the true class is among the k likeliest, of class numbers.

    Args:
        k: How many guesses a sample has.
        name: A name.
        dtype: Dtype or policy of the state; ``floatx`` when None.
        from_sorted_ids: Whether predictions are classes, the likeliest first, not scores.

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
