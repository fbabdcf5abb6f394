"""Regression losses: squared, absolute, relative, logarithmic, robust; and cosine similarity.

All except :func:`cosine_similarity` are elementwise and averaged over the last axis.
"""

from __future__ import annotations

import math
from typing import Any

from lamina import ops, settings
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, loss_function
from lamina.serialization.registry import builtin


@loss_function("elements", "mse", "MSE")
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((y_true - y_pred) ** 2)`` over the last axis.

    >>> mean_squared_error([[0.0, 1.0]], [[1.0, 3.0]])
    Array([2.5], dtype=float32)
    """
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@loss_function("elements", "mae", "MAE")
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """``mean(|y_true - y_pred|)`` over the last axis; the gradient at 0 is 0.

    >>> mean_absolute_error([[0.0, 1.0]], [[1.0, 3.0]])
    Array([1.5], dtype=float32)
    """
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


@loss_function("elements", "mape", "MAPE")
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """``100 * mean(|y_true - y_pred| / max(|y_true|, epsilon))`` over the last axis.

    Targets of 0 have a weight of ``1 / epsilon``: use another loss where they occur.

    >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 5.0]])
    Array([37.5], dtype=float32)
    """
    error = ops.abs(y_true - y_pred) / ops.maximum(ops.abs(y_true), settings.epsilon())
    return 100.0 * ops.mean(error, axis=-1)


@loss_function("elements", "msle", "MSLE")
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((log(y_true + 1) - log(y_pred + 1)) ** 2)`` over the last axis.

    For positive numbers of different magnitudes. Both are first clipped to at least ``epsilon``.

    Args:
        y_true: Targets >= 0, ``(batch, ..., n)``.

    >>> round(mean_squared_logarithmic_error([[0.0, 1.0]], [[0.0, 3.0]]).item(), 4)
    0.2402
    """
    epsilon = settings.epsilon()
    log_true = ops.log(ops.maximum(y_true, epsilon) + 1.0)
    log_pred = ops.log(ops.maximum(y_pred, epsilon) + 1.0)
    return ops.mean(ops.square(log_true - log_pred), axis=-1)


@loss_function("elements")
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Huber loss: squared for small errors, absolute for large ones, so robust to outliers.

    With ``e = y_true - y_pred``: the mean over the last axis of ``e ** 2 / 2`` where
    ``|e| <= delta``, and ``delta * |e| - delta ** 2 / 2`` elsewhere. Huber 1964,
    doi:10.1214/aoms/1177703732.

    Args:
        delta: The error at which the loss becomes linear.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]])
    Array([1.5], dtype=float32)
    """
    error = ops.abs(y_true - y_pred)
    line = delta * error - 0.5 * delta**2
    return ops.mean(ops.where(error <= delta, 0.5 * ops.square(error), line), axis=-1)


@loss_function("elements")
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis.

    About ``e ** 2 / 2`` for small errors and ``|e| - log 2`` for large ones. Computed as
    ``e + log(1 + exp(-2 e)) - log 2``, which does not overflow.

    >>> log_cosh([[0.0, 0.0]], [[0.0, 100.0]])
    Array([49.653427], dtype=float32)
    """
    error = y_pred - y_true
    return ops.mean(error + ops.softplus(-2.0 * error) - math.log(2.0), axis=-1)


@loss_function("vectors")
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """``-sum(y_true / |y_true| * y_pred / |y_pred|)``: -1 for equal directions, 1 for opposite.

    Norms are clipped to at least ``epsilon``, so that a vector of zeros gives 0.

    Args:
        axis: Axis of the vectors.

    >>> cosine_similarity([[0.0, 1.0], [3.0, 4.0]], [[1.0, 0.0], [6.0, 8.0]])
    Array([-0., -1.], dtype=float32)
    """
    return -ops.sum(ops.normalize(y_true, axis) * ops.normalize(y_pred, axis), axis=axis)


@builtin("losses")
class MeanSquaredError(FunctionLoss):
    """Mean of the squared errors: see :func:`mean_squared_error`.

    >>> MeanSquaredError()([[0.0], [1.0]], [[1.0], [3.0]]).item()
    2.5
    """

    fn = staticmethod(mean_squared_error)
    reduction: str | None = REDUCTION
    name: str | None = "mean_squared_error"
    dtype: Any = DTYPE


@builtin("losses")
class MeanAbsoluteError(FunctionLoss):
    """Mean of the absolute errors: see :func:`mean_absolute_error`.

    >>> MeanAbsoluteError()([[0.0], [1.0]], [[1.0], [3.0]]).item()
    1.5
    """

    fn = staticmethod(mean_absolute_error)
    reduction: str | None = REDUCTION
    name: str | None = "mean_absolute_error"
    dtype: Any = DTYPE


@builtin("losses")
class MeanAbsolutePercentageError(FunctionLoss):
    """Mean absolute percentage error: see :func:`mean_absolute_percentage_error`.

    >>> MeanAbsolutePercentageError()([[2.0], [4.0]], [[1.0], [5.0]]).item()
    37.5
    """

    fn = staticmethod(mean_absolute_percentage_error)
    reduction: str | None = REDUCTION
    name: str | None = "mean_absolute_percentage_error"
    dtype: Any = DTYPE


@builtin("losses")
class MeanSquaredLogarithmicError(FunctionLoss):
    """Mean of the squared differences of logarithms: see :func:`mean_squared_logarithmic_error`.

    >>> round(MeanSquaredLogarithmicError()([[1.0]], [[3.0]]).item(), 4)
    0.4805
    """

    fn = staticmethod(mean_squared_logarithmic_error)
    reduction: str | None = REDUCTION
    name: str | None = "mean_squared_logarithmic_error"
    dtype: Any = DTYPE


@builtin("losses")
class Huber(FunctionLoss):
    """Huber loss, robust to outliers: see :func:`huber`.

    >>> Huber(delta=2.0)([[0.0]], [[3.0]]).item()
    4.0
    """

    fn = staticmethod(huber)
    delta: float = 1.0
    reduction: str | None = REDUCTION
    name: str | None = "huber_loss"
    dtype: Any = DTYPE


@builtin("losses")
class LogCosh(FunctionLoss):
    """Logarithm of the hyperbolic cosine of the error: see :func:`log_cosh`.

    >>> round(LogCosh()([[0.0]], [[1.0]]).item(), 4)
    0.4338
    """

    fn = staticmethod(log_cosh)
    reduction: str | None = REDUCTION
    name: str | None = "log_cosh"
    dtype: Any = DTYPE


@builtin("losses")
class CosineSimilarity(FunctionLoss):
    """Negative cosine similarity of two vectors: see :func:`cosine_similarity`.

    >>> round(CosineSimilarity()([[1.0, 1.0]], [[2.0, 2.0]]).item(), 4)
    -1.0
    """

    fn = staticmethod(cosine_similarity)
    axis: int = -1
    reduction: str | None = REDUCTION
    name: str | None = "cosine_similarity"
    dtype: Any = DTYPE
