"""Losses between regions: overlap of two sets of pixels."""

from __future__ import annotations

from typing import Any

from lamina import ops, settings
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, loss_function
from lamina.serialization.fields import axis_or_axes, field, optional
from lamina.serialization.registry import builtin

Axes = int | tuple[int, ...] | None


@loss_function("vectors")
def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None
) -> Any:
    """``1 - TP / (TP + alpha * FN + beta * FP)``, with soft counts summed over ``axis``.

    ``TP = sum(t * p)``, ``FN = sum(t * (1 - p))``, ``FP = sum((1 - t) * p)``; ``epsilon`` is added
    to the denominator, so that a region without targets has the loss 1 and no gradient. With both
    weights 1/2 it is the Dice loss. Salehi et al. 2017, arXiv:1706.05721, where the
    names of the two weights are swapped; these are Keras's.

    Args:
        y_true: Zeros and ones, ``(batch, ...)``.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        alpha: Weight of the false negatives.
        beta: Weight of the false positives.
        axis: Axes of one region; all axes, including the batch, when None.

    Returns:
        Values with the remaining axes; a scalar when ``axis`` is None.

    >>> round(tversky([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], alpha=1.0).item(), 4)
    0.5
    """
    overlap = ops.sum(y_true * y_pred, axis=axis)
    false_positives = ops.sum((1.0 - y_true) * y_pred, axis=axis)
    false_negatives = ops.sum(y_true * (1.0 - y_pred), axis=axis)
    both = overlap + alpha * false_negatives + beta * false_positives
    return 1.0 - overlap / (both + settings.epsilon())


@loss_function("vectors")
def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> Any:
    """``1 - 2 * sum(t * p) / (sum(t) + sum(p))``, summed over ``axis``.

    ``epsilon`` is added to the denominator, so that a region without targets has the loss 1 and no
    gradient. Milletari et al. 2016, arXiv:1606.04797.

    Args:
        y_true: Zeros and ones, ``(batch, ...)``.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        axis: Axes of one region; all axes, including the batch, when None.

    Returns:
        Values with the remaining axes; a scalar when ``axis`` is None.

    >>> round(dice([[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]).item(), 4)
    0.5
    """
    overlap = ops.sum(y_true * y_pred, axis=axis)
    both = ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis)
    return 1.0 - 2.0 * overlap / (both + settings.epsilon())


@builtin("losses")
class Tversky(FunctionLoss):
    """Overlap loss with weights of false positives and negatives: see :func:`tversky`.

    >>> round(Tversky(alpha=1.0)([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]).item(), 4)
    0.5
    """

    fn = staticmethod(tversky)
    alpha: float = 0.5
    beta: float = 0.5
    reduction: str | None = REDUCTION
    name: str | None = "tversky"
    axis: Axes = field(default=None, convert=optional(axis_or_axes))
    dtype: Any = DTYPE


@builtin("losses")
class Dice(FunctionLoss):
    """Overlap loss of two regions: see :func:`dice`.

    >>> round(Dice()([[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]).item(), 4)
    0.5
    """

    fn = staticmethod(dice)
    reduction: str | None = REDUCTION
    name: str | None = "dice"
    axis: Axes = field(default=None, convert=optional(axis_or_axes))
    dtype: Any = DTYPE
