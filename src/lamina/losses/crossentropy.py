"""Cross-entropies between target classes and predicted probabilities.

Predictions are probabilities, which are clipped to ``[epsilon, 1 - epsilon]``, or logits, whose
sigmoid or softmax is the probability. The loss of logits is computed directly, without rounding
errors of the probabilities.
"""

from __future__ import annotations

from typing import Any

from lamina import ops, settings
from lamina.core.boundary import warn
from lamina.core.scope import set_mask
from lamina.errors import TrainingWarning
from lamina.losses.base import (
    DTYPE,
    REDUCTION,
    FunctionLoss,
    as_float,
    class_numbers,
    loss_function,
)
from lamina.serialization.fields import field, number
from lamina.serialization.registry import builtin


def _smoothed(y_true: Any, amount: float, classes: int) -> Any:
    """Distribute a fraction of the targets evenly over all classes (Szegedy et al. 2015)."""
    return y_true * (1.0 - amount) + amount / classes if amount else y_true


def _clipped(probabilities: Any) -> Any:
    return ops.clip(probabilities, settings.epsilon(), 1.0 - settings.epsilon())


def _check_classes(y_pred: Any, axis: int, where: str) -> None:
    if y_pred.shape[axis] == 1:
        warn(
            f"{where}: y_pred of shape {tuple(y_pred.shape)} has a single class, so the loss is "
            "always 0. Use a binary loss, or give the last layer one unit for each class.",
            TrainingWarning,
        )


@loss_function("elements", "bce", "BCE")
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """``mean(-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred))`` over ``axis``.

    Args:
        y_true: Zeros and ones (or probabilities), ``(batch, ..., n)``.
        y_pred: Probabilities or logits of the same shape, or differing by one trailing axis of
            size 1.
        from_logits: Whether ``y_pred`` holds logits, whose sigmoid is the probability.
        label_smoothing: Fraction by which to move the targets towards 1/2, from 0 to 1.
        axis: Axis over which to average.

    >>> binary_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    Array([0.6931472], dtype=float32)
    """
    y_true = _smoothed(y_true, label_smoothing, 2)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


@loss_function("elements")
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Binary cross-entropy that down-weights what is already classified correctly.

    Each element is multiplied by ``(1 - p) ** gamma``, where ``p`` is the predicted probability of
    the target class; and, with ``apply_class_balancing``, by ``alpha`` where the target is 1 and by
    ``1 - alpha`` where it is 0. Lin et al. 2017, arXiv:1708.02002.

    Args:
        y_true: Zeros and ones, ``(batch, ..., n)``.
        y_pred: Probabilities or logits of the same shape, or differing by one trailing axis of
            size 1.
        apply_class_balancing: Whether to use ``alpha``.
        alpha: Weight of class 1.
        gamma: Focusing parameter: how much to down-weight easy elements; 0 for cross-entropy.
        from_logits: Whether ``y_pred`` holds logits, whose sigmoid is the probability.
        label_smoothing: Fraction by which to move the targets towards 1/2, from 0 to 1.
        axis: Axis over which to average.

    >>> binary_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    Array([0.1732868], dtype=float32)
    """
    y_true = _smoothed(y_true, label_smoothing, 2)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    truth = y_true * p + (1.0 - y_true) * (1.0 - p)
    values = ops.power(1.0 - truth, gamma) * ops.binary_crossentropy(y_true, y_pred, from_logits)
    if apply_class_balancing:
        values = values * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.mean(values, axis=axis)


@loss_function("vectors")
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """``-sum(y_true * log(y_pred))`` over the classes; ``y_pred`` is first normalized to sum 1.

    Args:
        y_true: One-hot targets or probabilities, ``(batch, ..., classes)``.
        y_pred: Probabilities or logits of the same shape.
        from_logits: Whether ``y_pred`` holds logits, whose softmax is the probability.
        label_smoothing: Fraction of the targets to distribute evenly over all classes, 0 to 1.
        axis: Axis of the classes.

    Raises:
        ShapeError: Different shapes, such as class indices without a class axis.

    >>> categorical_crossentropy([[0.0, 1.0, 0.0]], [[0.25, 0.5, 0.25]])
    Array([0.6931472], dtype=float32)
    """
    _check_classes(y_pred, axis, "categorical_crossentropy")
    y_true = _smoothed(y_true, label_smoothing, y_pred.shape[axis])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits, axis)


@loss_function("vectors")
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """``sum(-alpha * (1 - y_pred) ** gamma * y_true * log(y_pred))`` over the classes.

    Lin et al. 2017, arXiv:1708.02002, for several classes.

    Args:
        y_true: One-hot targets or probabilities, ``(batch, ..., classes)``.
        y_pred: Probabilities, normalized to sum 1, or logits of the same shape.
        alpha: Weight of the classes: a number, or one for each class.
        gamma: Focusing parameter: how much to down-weight easy samples.
        from_logits: Whether ``y_pred`` holds logits, whose softmax is the probability.
        label_smoothing: Fraction of the targets to distribute evenly over all classes, 0 to 1.
        axis: Axis of the classes.

    Raises:
        ShapeError: Different shapes, such as class indices without a class axis.

    >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    Array([0.0433217], dtype=float32)
    """
    _check_classes(y_pred, axis, "categorical_focal_crossentropy")
    y_true = _smoothed(y_true, label_smoothing, y_pred.shape[axis])
    if from_logits:
        y_pred = ops.softmax(y_pred, axis)
    else:
        y_pred = y_pred / ops.maximum(ops.sum(y_pred, axis=axis, keepdims=True), settings.epsilon())
    p = _clipped(y_pred)
    weight = ops.convert_to_tensor(alpha, p.dtype) * ops.power(1.0 - p, gamma)
    return -ops.sum(weight * y_true * ops.log(p), axis=axis)


@loss_function("classes")
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """``-log(y_pred[y_true])``: categorical cross-entropy with class indices as targets.

    An index that is not a class gives NaN.

    Args:
        y_true: Class indices, of the shape of ``y_pred`` without ``axis``, or with size 1 there.
        y_pred: Probabilities, normalized to sum 1, or logits, ``(batch, ..., classes)``.
        from_logits: Whether ``y_pred`` holds logits, whose softmax is the probability.
        ignore_class: Class index of targets to ignore, such as -1 for unlabeled pixels: their
            values are 0 and masked, so that they do not count in a mean, and their gradients are 0
            whatever ``y_pred`` is.
        axis: Axis of the classes.

    Returns:
        Values of the shape of ``y_pred`` without ``axis``.

    Raises:
        ShapeError: Different shapes, such as those of one-hot targets.

    >>> sparse_categorical_crossentropy([1, 0], [[0.5, 0.5], [1.0, 1.0]])
    Array([0.6931472, 0.6931472], dtype=float32)
    """
    y_pred = as_float(y_pred)
    _check_classes(y_pred, axis, "sparse_categorical_crossentropy")
    y_true = ops.convert_to_tensor(y_true)
    labels = class_numbers(y_true, y_pred, axis, "sparse_categorical_crossentropy")
    counted = None if ignore_class is None else labels != ignore_class
    if counted is not None:  # before the logarithm, whose gradient may be NaN there
        y_pred = ops.where(ops.expand_dims(counted, axis), y_pred, 1.0)
    values = ops.sparse_categorical_crossentropy(
        # Out of range, as a negative index would count from the end.
        ops.where(labels < 0, y_pred.shape[axis], labels), y_pred, from_logits, axis
    )  # fmt: skip
    if counted is not None:
        values = ops.where(counted, values, 0.0)
        set_mask(values, counted)
    return values


@loss_function("classes")
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float = 0.5) -> Any:
    """``(1 - y_pred[y_true] ** q) / q``: between cross-entropy (q to 0) and absolute error (q = 1).

    Bounded, so that wrong labels have a limited effect. Zhang and Sabuncu 2018, arXiv:1805.07836.

    Args:
        y_true: Class indices, ``(batch, ...)`` or ``(batch, ..., 1)``.
        y_pred: Probabilities, ``(batch, ..., classes)``.
        q: Between 0 and 1, both excluded; the larger, the more robust to wrong labels.

    Returns:
        Values of shape ``(batch, ...)``.

    Raises:
        ShapeError: Different shapes, such as those of one-hot targets.

    >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5)
    Array([1.], dtype=float32)
    """
    y_pred = as_float(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    labels = class_numbers(y_true, y_pred, -1, "categorical_generalized_cross_entropy")
    chosen = ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
    p = ops.sum(y_pred * chosen, axis=-1)
    return (1.0 - ops.power(p, q)) / q


@builtin("losses")
class BinaryCrossentropy(FunctionLoss):
    """Binary cross-entropy: see :func:`binary_crossentropy`.

    >>> round(BinaryCrossentropy(from_logits=True)([[0.0], [1.0]], [[0.0], [0.0]]).item(), 4)
    0.6931
    """

    fn = staticmethod(binary_crossentropy)
    from_logits: bool = False
    label_smoothing: float = field(default=0.0, convert=number("[0, 1]"))
    axis: int = -1
    reduction: str | None = REDUCTION
    name: str | None = "binary_crossentropy"
    dtype: Any = DTYPE


@builtin("losses")
class BinaryFocalCrossentropy(FunctionLoss):
    """Binary cross-entropy for imbalanced classes: see :func:`binary_focal_crossentropy`.

    >>> round(BinaryFocalCrossentropy(gamma=1.0)([[1.0]], [[0.5]]).item(), 4)
    0.3466
    """

    fn = staticmethod(binary_focal_crossentropy)
    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = field(default=0.0, convert=number("[0, 1]"))
    axis: int = -1
    reduction: str | None = REDUCTION
    name: str | None = "binary_focal_crossentropy"
    dtype: Any = DTYPE


@builtin("losses")
class CategoricalCrossentropy(FunctionLoss):
    """Cross-entropy with one-hot targets: see :func:`categorical_crossentropy`.

    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """

    fn = staticmethod(categorical_crossentropy)
    from_logits: bool = False
    label_smoothing: float = field(default=0.0, convert=number("[0, 1]"))
    axis: int = -1
    reduction: str | None = REDUCTION
    name: str | None = "categorical_crossentropy"
    dtype: Any = DTYPE


@builtin("losses")
class CategoricalFocalCrossentropy(FunctionLoss):
    """Categorical cross-entropy for imbalanced classes: see :func:`categorical_focal_crossentropy`.

    >>> round(CategoricalFocalCrossentropy(alpha=1.0)([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.1733
    """

    fn = staticmethod(categorical_focal_crossentropy)
    alpha: Any = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = field(default=0.0, convert=number("[0, 1]"))
    axis: int = -1
    reduction: str | None = REDUCTION
    name: str | None = "categorical_focal_crossentropy"
    dtype: Any = DTYPE


@builtin("losses")
class SparseCategoricalCrossentropy(FunctionLoss):
    """Cross-entropy with class indices as targets: see :func:`sparse_categorical_crossentropy`.

    Elements of the ignored class count neither in the numerator nor in the denominator of a mean.

    Args:
        ignore_class: Class index of targets to ignore, such as -1 for unlabeled pixels.

    >>> round(SparseCategoricalCrossentropy()([1, 0], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    fn = staticmethod(sparse_categorical_crossentropy)
    from_logits: bool = False
    ignore_class: int | None = None
    reduction: str | None = REDUCTION
    axis: int = -1
    name: str | None = "sparse_categorical_crossentropy"
    dtype: Any = DTYPE


@builtin("losses")
class CategoricalGeneralizedCrossEntropy(FunctionLoss):
    """Bounded cross-entropy for noisy labels: see :func:`categorical_generalized_cross_entropy`.

    Raises:
        ArgumentError: A ``q`` that is not between 0 and 1.

    >>> CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]]).item()
    1.0
    """

    fn = staticmethod(categorical_generalized_cross_entropy)
    q: float = field(default=0.5, convert=number("(0, 1)"))
    reduction: str | None = REDUCTION
    name: str | None = "categorical_generalized_cross_entropy"
    dtype: Any = DTYPE
