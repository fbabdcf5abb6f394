"""Losses between regions: how little two sets of pixels overlap."""

from __future__ import annotations

from typing import Any

from lamina import ops, settings
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, formula
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin

Axes = int | tuple[int, ...] | None


def _read_axes(axis: Any) -> Axes:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


@formula("vectors")
def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None
) -> Any:
    """``1 - TP / (TP + alpha * FN + beta * FP)``, with soft counts summed over ``axis``.

    ``TP = sum(t * p)``, ``FN = sum(t * (1 - p))``, ``FP = sum((1 - t) * p)``; ``epsilon`` is added
    above and below the bar. With both weights 1/2 it is the Dice loss. Salehi et al. 2017,
    arXiv:1706.05721, where the two weights have each other's names; these are as Keras computes.

    Args:
        y_true: Zeros and ones, ``(batch, ...)``.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        alpha: Weight of what was missed.
        beta: Weight of what was predicted wrongly.
        axis: The axes that make one region; all of them, the batch among them, when None.

    Returns:
        Values of the remaining axes; one number when ``axis`` is None.

    Raises:
        ShapeError: Other shapes; nothing is broadcast.

    >>> round(tversky([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], alpha=1.0).item(), 4)
    0.5
    """
    overlap = ops.sum(y_true * y_pred, axis=axis)
    false_positives = ops.sum((1.0 - y_true) * y_pred, axis=axis)
    false_negatives = ops.sum(y_true * (1.0 - y_pred), axis=axis)
    epsilon = settings.epsilon()
    below = overlap + alpha * false_negatives + beta * false_positives + epsilon
    return 1.0 - (overlap + epsilon) / below


@formula("vectors")
def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> Any:
    """``1 - 2 * sum(t * p) / (sum(t) + sum(p))``, summed over ``axis``.

    ``epsilon`` is added above and below the bar. Milletari et al. 2016, arXiv:1606.04797.

    Args:
        y_true: Zeros and ones, ``(batch, ...)``.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.
        axis: The axes that make one region; all of them, the batch among them, when None.

    Returns:
        Values of the remaining axes; one number when ``axis`` is None.

    Raises:
        ShapeError: Other shapes; nothing is broadcast.

    >>> round(dice([[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]).item(), 4)
    0.5
    """
    overlap = ops.sum(y_true * y_pred, axis=axis)
    both = ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis)
    return 1.0 - (2.0 * overlap + settings.epsilon()) / (both + settings.epsilon())


@builtin("losses")
class Tversky(FunctionLoss):
    """Overlap with separate weights for excess and lack: see :func:`tversky`.

    Args:
        alpha: Weight of what was missed.
        beta: Weight of what was predicted wrongly.
        reduction: How the values become one number: see :class:`Loss`.
        name: A name.
        axis: The axes that make one region; all of them, the batch among them, when None.
        dtype: Dtype or policy to compute in; ``floatx`` when None.

    >>> round(Tversky(alpha=1.0)([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]).item(), 4)
    0.5
    """

    _function = staticmethod(tversky)
    alpha: float = 0.5
    beta: float = 0.5
    reduction: str | None = REDUCTION
    name: str | None = "tversky"
    axis: Axes = field(default=None, convert=_read_axes)
    dtype: Any = DTYPE


@builtin("losses")
class Dice(FunctionLoss):
    """Overlap of two regions: see :func:`dice`.

    Args:
        reduction: How the values become one number: see :class:`Loss`.
        name: A name.
        axis: The axes that make one region; all of them, the batch among them, when None.
        dtype: Dtype or policy to compute in; ``floatx`` when None.

    >>> round(Dice()([[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]).item(), 4)
    0.5
    """

    _function = staticmethod(dice)
    reduction: str | None = REDUCTION
    name: str | None = "dice"
    axis: Axes = field(default=None, convert=_read_axes)
    dtype: Any = DTYPE
