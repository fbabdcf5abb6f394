"""Intersection over union of predicted and target regions, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import settings
from lamina.core.scope import get_mask
from lamina.errors import ArgumentError
from lamina.losses.base import DTYPE, class_numbers, matched, safe_divide
from lamina.metrics.base import Metric
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin


def _ids(value: Any) -> list[int]:
    return [int(i) for i in value]


NUM_CLASSES: Any = field(convert=positive_int)
TARGET_CLASS_IDS: Any = field(convert=_ids)


class _Attributes:
    """What some metrics take as arguments, and others have as constants."""

    num_classes: Any
    sparse_y_true: Any = False


@builtin()
class _Overlap(_Attributes, Metric):
    """Base class: counts pairs of a target and a predicted class; other classes are ignored."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "num_classes": "Number of classes.",
        "ignore_class": "A class index in ``y_true`` whose elements are ignored.",
        "sparse_y_pred": "Whether predictions are class indices rather than scores.",
        "axis": "Axis of the classes of what is not sparse.",
    }

    direction = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.num_classes
        averaged = self._averaged()
        for i in () if isinstance(averaged, range) else averaged:
            if not 0 <= i < n:
                raise ArgumentError(
                    f"{type(self).__name__}(): `target_class_ids` must be from 0 to "
                    f"{n - 1}. Received: {i}."
                )
        self.total_cm = self.add_weight((n, n), name="total_confusion_matrix")
        self.target_class_ids = list(averaged)

    def _averaged(self) -> Sequence[int]:
        """The classes to average over."""
        return range(self.num_classes)

    def _numbers(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Both as class indices of one shape; -1 for elements to ignore."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with class indices of any shape, one-hot targets or scores."""
        mask = get_mask(y_pred)
        t, p = self._numbers(jnp.asarray(y_true), jnp.asarray(y_pred))
        t, p = t.astype("int32"), p.astype("int32")
        values = jnp.ones(t.shape, self._float_dtype())
        weights = self._weights(values, sample_weight, mask)
        n = self.num_classes
        counted = (t >= 0) & (t < n) & (p >= 0) & (p < n)
        pairs = jnp.where(counted, t * n + p, n * n).reshape(-1)
        found = jnp.zeros(n * n + 1, values.dtype)
        found = found.at[pairs].add((values if weights is None else weights).reshape(-1))
        self.total_cm.assign_add(found[:-1].reshape(n, n))

    def result(self) -> Any:
        matrix = self.total_cm.value.astype(self._float_dtype())
        both = jnp.diagonal(matrix)
        union = jnp.sum(matrix, axis=0) + jnp.sum(matrix, axis=1) - both
        chosen = jnp.asarray(self._averaged())
        both, union = both[chosen], union[chosen]
        # Classes that do not occur are ignored.
        return safe_divide(jnp.sum(both / (union + settings.epsilon())), jnp.sum(union != 0))


@builtin()
class _OverlapOfClasses(_Overlap):
    num_classes: int = NUM_CLASSES
    name: str | None = None
    dtype: Any = DTYPE
    ignore_class: int | None = None
    sparse_y_pred: bool = True
    axis: int = -1

    def _numbers(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        where, axis = str(self.name), self.axis
        if self.sparse_y_true:
            if self.sparse_y_pred:
                t, p = matched(y_true, y_pred, where)
            else:
                t, p = class_numbers(y_true, y_pred, axis, where), jnp.argmax(y_pred, axis)
        elif self.sparse_y_pred:
            t, p = matched(jnp.argmax(y_true, axis), y_pred, where)
        else:
            y_true, y_pred = matched(y_true, y_pred, where)
            t, p = jnp.argmax(y_true, axis), jnp.argmax(y_pred, axis)
        return t if self.ignore_class is None else jnp.where(t == self.ignore_class, -1, t), p


@builtin("metrics")
class IoU(_OverlapOfClasses):
    """``TP / (TP + FP + FN)`` of the target classes, averaged.

    The confusion matrix consists of floats, so that sample weights need not be integers. Indices
    that are not a class are ignored. Jaccard 1901.

    Args:
        target_class_ids: The classes to average over.
        sparse_y_true: Whether targets are class indices rather than one-hot.

    >>> metric = IoU(num_classes=2, target_class_ids=[0])
    >>> metric.update_state([0, 0, 1, 1], [0, 1, 0, 1])
    >>> round(metric.result().item(), 4)
    0.3333
    """

    num_classes: int = NUM_CLASSES
    target_class_ids: list[int] = TARGET_CLASS_IDS
    name: str | None = None
    dtype: Any = DTYPE
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = -1

    def _averaged(self) -> Sequence[int]:
        return self.target_class_ids


@builtin("metrics")
class MeanIoU(_OverlapOfClasses):
    """``TP / (TP + FP + FN)``, averaged over all classes that occur: see :class:`IoU`.

    Args:
        sparse_y_true: Whether targets are class indices rather than one-hot.

    >>> metric = MeanIoU(num_classes=2)
    >>> metric.update_state([0, 0, 1, 1], [0, 1, 1, 1])
    >>> round(metric.result().item(), 4)
    0.5833
    """

    num_classes: int = NUM_CLASSES
    name: str | None = None
    dtype: Any = DTYPE
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = -1


@builtin("metrics")
class OneHotIoU(_OverlapOfClasses):
    """:class:`IoU` with one-hot targets.

    Args:
        target_class_ids: The classes to average over.

    >>> metric = OneHotIoU(num_classes=2, target_class_ids=[1])
    >>> metric.update_state([[1, 0], [0, 1]], [[0.4, 0.6], [0.1, 0.9]])
    >>> round(metric.result().item(), 4)
    0.5
    """

    num_classes: int = NUM_CLASSES
    target_class_ids: list[int] = TARGET_CLASS_IDS
    name: str | None = None
    dtype: Any = DTYPE
    ignore_class: int | None = None
    sparse_y_pred: bool = False
    axis: int = -1

    def _averaged(self) -> Sequence[int]:
        return self.target_class_ids


@builtin("metrics")
class OneHotMeanIoU(_OverlapOfClasses):
    """:class:`MeanIoU` with one-hot targets.

    >>> metric = OneHotMeanIoU(num_classes=2)
    >>> metric.update_state([[1, 0], [0, 1]], [[0.4, 0.6], [0.1, 0.9]])
    >>> round(metric.result().item(), 4)
    0.25
    """

    num_classes: int = NUM_CLASSES
    name: str | None = None
    dtype: Any = DTYPE
    ignore_class: int | None = None
    sparse_y_pred: bool = False
    axis: int = -1


@builtin("metrics")
class BinaryIoU(_Overlap):
    """:class:`IoU` of two classes that are separated by a threshold.

    Args:
        target_class_ids: The classes to average over: 0, 1 or both.
        threshold: Predictions of at least this mean 1.

    >>> metric = BinaryIoU(target_class_ids=[1], threshold=0.3)
    >>> metric.update_state([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
    >>> round(metric.result().item(), 4)
    0.3333
    """

    target_class_ids: list[int] = field(default=(0, 1), convert=_ids)
    threshold: float = 0.5
    name: str | None = None
    dtype: Any = DTYPE

    num_classes = 2
    ignore_class = None
    sparse_y_true = sparse_y_pred = True
    axis = -1

    def _averaged(self) -> Sequence[int]:
        return self.target_class_ids

    def _numbers(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        y_true, y_pred = matched(y_true, y_pred, str(self.name))
        return y_true, y_pred >= self.threshold
