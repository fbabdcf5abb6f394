"""Losses with a margin: hinges, and the circle loss of metric learning."""

from __future__ import annotations

from typing import Any

from lamina import ops, settings
from lamina.core.scope import set_mask
from lamina.errors import ShapeError
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, as_float, loss_function
from lamina.serialization.registry import builtin


def _signs(y_true: Any) -> Any:
    """Targets 0 and 1 as -1 and 1; unchanged if any target is neither 0 nor 1."""
    zero_or_one = ops.all((y_true == 0) | (y_true == 1))
    return ops.where(zero_or_one, 2.0 * y_true - 1.0, y_true)


@loss_function("elements")
def hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0))`` over the last axis.

    Args:
        y_true: Targets -1 and 1 (or 0 and 1, read as -1 and 1), ``(batch, ..., n)``.
        y_pred: Scores of the same shape, or differing by one trailing axis of size 1.

    >>> hinge([[-1.0, 1.0]], [[0.5, 0.5]])
    Array([1.], dtype=float32)
    """
    return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


@loss_function("elements")
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0) ** 2)`` over the last axis.

    Args:
        y_true: Targets -1 and 1 (or 0 and 1, read as -1 and 1), ``(batch, ..., n)``.
        y_pred: Scores of the same shape, or differing by one trailing axis of size 1.

    >>> squared_hinge([[-1.0, 1.0]], [[0.5, 0.5]])
    Array([1.25], dtype=float32)
    """
    return ops.mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


@loss_function("vectors")
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """``max(max((1 - y_true) * y_pred) - sum(y_true * y_pred) + 1, 0)`` over the classes.

    The score of the target class should exceed all others by 1. Crammer and Singer 2001.

    Args:
        y_true: One-hot targets, ``(batch, ..., classes)``.
        y_pred: Scores of the same shape.

    Raises:
        ShapeError: Different shapes, such as class indices without a class axis.

    >>> categorical_hinge([[0.0, 1.0, 0.0]], [[0.5, 1.0, 0.25]])
    Array([0.5], dtype=float32)
    """
    truth = ops.sum(y_true * y_pred, axis=-1)
    rival = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(rival - truth + 1.0, 0.0)


@loss_function("labels")
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Circle loss: bring embeddings of the same class together and separate the others.

    With ``s`` the similarities of a sample's embedding to all others, p the samples of the same
    class and n those of other classes::

        log(1 + sum_n exp(gamma * relu(s_n + margin) * (s_n - margin))
              * sum_p exp(-gamma * relu(1 + margin - s_p) * (s_p - 1 + margin)))

    Sun et al. 2020, arXiv:2002.10857. As in Keras, gradients also flow through the relus,
    which are constants in the authors' code.

    Args:
        y_true: Class indices, ``(batch,)`` or ``(batch, 1)``.
        y_pred: Embeddings with an L2 norm of 1, ``(batch, features)``.
        ref_labels: Class indices of the samples to compare with, ``(others,)``; ``y_true`` when
            None.
        ref_embeddings: Embeddings of the samples to compare with, ``(others, features)``;
            ``y_pred`` when None.
        remove_diagonal: Whether to exclude the similarity of each sample to itself.
        gamma: Scale factor.
        margin: Relaxation of the optimal similarities, 1 and 0.

    Returns:
        Values of shape ``(batch,)``; 0 for a sample without others of the same class or of other
        classes. Samples without others of the same class are masked, and so ignored in a mean.

    Raises:
        ShapeError: The number of labels and of embeddings differs.

    >>> embeddings = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> [round(float(value), 4) for value in circle([0, 0, 1], embeddings, gamma=1.0)]
    [0.5459, 0.5459, 0.0]
    """
    y_pred = as_float(y_pred)
    labels = _labels_of(y_true, y_pred, "y_true", "y_pred")
    others, other_labels = y_pred, labels
    if ref_embeddings is not None:
        others = ops.convert_to_tensor(ref_embeddings, y_pred.dtype)
    if ref_labels is not None:
        other_labels = _labels_of(ref_labels, others, "ref_labels", "ref_embeddings")
    similarity = ops.minimum(ops.matmul(y_pred, ops.transpose(others)), 1.0)
    same = ops.expand_dims(labels, 1) == ops.expand_dims(other_labels, 0)
    partners = same
    if remove_diagonal:
        n, m = similarity.shape
        partners = ops.logical_and(same, ops.logical_not(ops.eye(n, m, dtype="bool")))
    pull, push = ops.relu(1.0 + margin - similarity), ops.relu(similarity + margin)
    near = _logsumexp(-gamma * pull * (similarity - 1.0 + margin), partners)
    far = _logsumexp(gamma * push * (similarity - margin), ops.logical_not(same))
    values = ops.softplus(near + far)
    set_mask(values, ops.any(partners, axis=1))
    return values


def _labels_of(labels: Any, embeddings: Any, name: str, of: str) -> Any:
    labels = ops.convert_to_tensor(labels)
    shape, count = tuple(labels.shape), embeddings.shape[0]
    if len(embeddings.shape) != 2 or shape not in ((count,), (count, 1)):
        raise ShapeError(
            "circle: there is not one class index for each embedding.",
            expected=f"{of} of shape (batch, features), {name} of shape (batch,)",
            received=f"{of} of shape {tuple(embeddings.shape)}, {name} of shape {shape}",
            cure=(
                "Flatten the embeddings, and convert one-hot labels to indices with `argmax(-1)`."
            ),
        )
    return ops.reshape(labels, -1)


def _logsumexp(x: Any, chosen: Any) -> Any:
    """Over the chosen elements of each row; very negative if there are none."""
    return ops.logsumexp(ops.where(chosen, x, -1.0 / settings.epsilon()), axis=1)


@builtin("losses")
class Hinge(FunctionLoss):
    """Hinge loss of maximum-margin classifiers: see :func:`hinge`.

    >>> Hinge()([[-1.0], [1.0]], [[0.5], [0.5]]).item()
    1.0
    """

    fn = staticmethod(hinge)
    reduction: str | None = REDUCTION
    name: str | None = "hinge"
    dtype: Any = DTYPE


@builtin("losses")
class SquaredHinge(FunctionLoss):
    """Squared hinge loss: see :func:`squared_hinge`.

    >>> SquaredHinge()([[-1.0], [1.0]], [[0.5], [0.5]]).item()
    1.25
    """

    fn = staticmethod(squared_hinge)
    reduction: str | None = REDUCTION
    name: str | None = "squared_hinge"
    dtype: Any = DTYPE


@builtin("losses")
class CategoricalHinge(FunctionLoss):
    """Hinge loss of the target class and the best other one: see :func:`categorical_hinge`.

    >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]).item()
    0.5
    """

    fn = staticmethod(categorical_hinge)
    reduction: str | None = REDUCTION
    name: str | None = "categorical_hinge"
    dtype: Any = DTYPE


@builtin("losses")
class Circle(FunctionLoss):
    """Circle loss, for metric learning from class labels: see :func:`circle`.

    Embeddings should have an L2 norm of 1: end the model with ``UnitNormalization``. Samples
    without others of the same class count neither in the numerator nor in the denominator of a
    mean.

    >>> round(Circle(gamma=1.0)([0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).item(), 4)
    0.5459
    """

    fn = staticmethod(circle)
    gamma: float = 80.0
    margin: float = 0.4
    remove_diagonal: bool = True
    reduction: str | None = REDUCTION
    name: str | None = "circle"
    dtype: Any = DTYPE
