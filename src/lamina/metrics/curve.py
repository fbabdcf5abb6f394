"""Metrics of curves over all thresholds: the area under a curve, and points on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.errors import ArgumentError, ShapeError
from lamina.losses.base import DTYPE, safe_divide
from lamina.metrics.confusion import Counts, DecisionMetric, counts
from lamina.runtime import budget
from lamina.serialization.fields import field, number, one_of, positive_int
from lamina.serialization.registry import builtin


def _between(count: int) -> list[float]:
    """``count`` evenly spaced numbers between 0 and 1, both excluded."""
    budget.charge(allocated=40 * max(count, 0))
    return [(i + 1) / (count + 1) for i in range(count)]


@builtin()
class _Curve(DecisionMetric):
    """The four counts at many thresholds."""

    direction = "max"

    def _add_counts(self, *shape: int) -> None:
        for name in Counts._fields:
            setattr(self, name, self.add_weight(shape, name=name))

    def _totals(self) -> Counts:
        return Counts(*(vars(self)[name].value for name in Counts._fields))

    def _accumulate(self, found: Counts) -> None:
        for name, value in found._asdict().items():
            vars(self)[name].assign_add(value)


def _read_curve(value: Any) -> str:
    return one_of("roc", "pr", "prgain")(value).upper()


def _inner_thresholds(values: Any) -> list[float] | None:
    if values is None:
        return None
    values = sorted(float(v) for v in values)
    if not values or values[0] < 0.0 or values[-1] > 1.0:
        raise ArgumentError(f"expected numbers from 0 to 1. Received: {values!r}.")
    return values


def _at_least_2(value: Any) -> int:
    if positive_int(value) < 2:
        raise ArgumentError(f"expected an integer above 1. Received: {value!r}.")
    return int(value)


def _floats(values: Any) -> list[float] | None:
    return None if values is None else [float(v) for v in values]


@builtin("metrics")
class AUC(_Curve):
    """The area under a curve over the thresholds of ``y_pred > threshold``.

    ``ROC``: true positive rate over false positive rate; the area is the probability that a
    positive scores higher than a negative. ``PR``: precision over recall. ``PRGAIN``: precision
    gain over recall gain, ``1 - FP / TP * P / N`` over
    ``max(0, 1 - FN / TP * P / N)`` (Flach and Kull 2015).

    The PR curve is not interpolated linearly: between two points, true positives are assumed to
    grow linearly with predicted positives, which gives the integral in closed form (Davis and
    Goadrich 2006, doi:10.1145/1143844.1143874).

    Args:
        num_thresholds: Number of evenly spaced thresholds, including 0 and 1.
        curve: ``"ROC"``, ``"PR"`` or ``"PRGAIN"``.
        summation_method: Height of the curve between two points: ``"interpolation"``,
            ``"minoring"`` (that of the lower one) or ``"majoring"`` (that of the higher one).
        thresholds: Thresholds from 0 to 1, instead of ``num_thresholds``.
        multi_label: Whether each label has its own curve; the result is the mean of the areas.
        num_labels: Number of labels, to create the state before the first batch.
        label_weights: Weights of the labels: of their areas if ``multi_label``, else of their
            elements.
        from_logits: Whether ``y_pred`` holds logits, whose sigmoid is the probability.

    >>> metric = AUC()
    >>> metric.update_state([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.9])
    >>> round(metric.result().item(), 4)
    0.75
    """

    num_thresholds: int = field(default=200, convert=_at_least_2)
    curve: str = field(default="ROC", convert=_read_curve)
    summation_method: str = field(
        default="interpolation", convert=one_of("interpolation", "minoring", "majoring")
    )
    name: str | None = None
    dtype: Any = DTYPE
    thresholds: Any = field(default=None, convert=_inner_thresholds)
    multi_label: bool = False
    num_labels: int | None = None
    label_weights: Any = field(default=None, convert=_floats)
    from_logits: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        inner = self.thresholds or _between(self.num_thresholds - 2)
        # Beyond 0 and 1, so that all and none are positive at the ends of the curve.
        self._count_at([-settings.epsilon(), *inner, 1.0 + settings.epsilon()])
        self.num_thresholds = len(self.thresholds)
        if self.num_labels is not None and not self.multi_label:
            raise ArgumentError(
                "AUC(): `num_labels` needs `multi_label=True`. Received: multi_label=False, "
                f"num_labels={self.num_labels}."
            )
        if not self.multi_label:
            self.build((), ())
        elif self.num_labels is not None:
            self.build((), (self.num_labels,))

    def _make_state(self, y_pred_shape: tuple[int, ...]) -> None:
        self._add_counts(len(self.thresholds), *(y_pred_shape[-1:] if self.multi_label else ()))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with a batch.

        Args:
            y_true: Zeros and ones of any shape; with ``multi_label``, ``(..., labels)``.
            y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1;
                numbers below 0 count as 0, and those above 1 as 1.
            sample_weight: Weights of that shape or of its first axes.

        Raises:
            ShapeError: Targets that do not fit predictions, weights that do not fit samples, or
                a different number of labels from before.
        """
        y_true, y_pred, weights = self._aligned(y_true, y_pred, sample_weight)
        if self.from_logits:
            y_pred = jax.nn.sigmoid(y_pred)
        y_pred = jnp.clip(y_pred, 0, 1)  # between the outer thresholds, where the curve ends
        self.build(y_true.shape, y_pred.shape)
        labels = y_pred.shape[-1] if y_pred.ndim > 1 else 1
        seen = self._totals().true_positives.shape[-1] if self.multi_label else None
        expected = {
            "`label_weights`": None if self.label_weights is None else len(self.label_weights),
            "earlier batches": seen,
        }
        for what, count in expected.items():
            if count not in (None, labels):
                raise ShapeError(
                    f"{self.name}: the number of labels does not match that of {what}.",
                    expected=f"{count} labels",
                    received=f"y_pred of shape {y_pred.shape}",
                )
        if not self.multi_label:
            if self.label_weights is not None:
                weights = weights * jnp.asarray(self.label_weights, weights.dtype)
            self._accumulate(counts(y_true, y_pred, weights, self.thresholds))
        else:
            column_by_column = jax.vmap(
                lambda t, p, w: counts(t, p, w, self.thresholds), in_axes=-1, out_axes=-1
            )
            self._accumulate(column_by_column(y_true, y_pred, weights))

    def result(self) -> Any:
        if not self.built:
            return jnp.zeros(())
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolate_pr_auc()
        x, y = _curve(self.curve, self._totals())
        left, right = y[:-1], y[1:]
        height = {
            "interpolation": (left + right) / 2,
            "minoring": jnp.minimum(left, right),
            "majoring": jnp.maximum(left, right),
        }[self.summation_method]
        return self._over_labels(jnp.sum((x[:-1] - x[1:]) * height, axis=0))

    def interpolate_pr_auc(self) -> Any:
        """The area under the PR curve by Davis and Goadrich's interpolation: see the class."""
        return self._over_labels(_area_under_precision_recall(self._totals()))

    def _over_labels(self, area: Any) -> Any:
        """The mean area, weighted by the labels' weights."""
        if self.multi_label and self.label_weights is not None:
            weights = jnp.asarray(self.label_weights, area.dtype)
            return safe_divide(jnp.sum(area * weights), jnp.sum(weights))
        return jnp.mean(area)


def _curve(kind: str, found: Counts) -> tuple[Any, Any]:
    tp, fp, tn, fn = found
    recall = safe_divide(tp, tp + fn)
    if kind == "ROC":
        return safe_divide(fp, fp + tn), recall
    if kind == "PR":
        return recall, safe_divide(tp, tp + fp)
    odds = safe_divide(tp + fn, fp + tn)
    recall_gain = jnp.where(tp > 0, jnp.maximum(1 - safe_divide(fn, tp) * odds, 0), 0)
    return recall_gain, 1 - safe_divide(fp, tp) * odds


def _area_under_precision_recall(found: Counts) -> Any:
    """The sum of the integrals of precision over recall between consecutive thresholds.

    With ``TP = slope * P + shift``, where P are the predicted positives, each integral is
    ``slope * (dTP + shift * log(P2 / P1)) / positives``.
    """
    tp, predicted = found.true_positives, found.true_positives + found.false_positives
    positives = (found.true_positives + found.false_negatives)[1:]
    step = tp[:-1] - tp[1:]
    slope = safe_divide(step, jnp.maximum(predicted[:-1] - predicted[1:], 0))
    shift = tp[1:] - slope * predicted[1:]
    both = (predicted[:-1] > 0) & (predicted[1:] > 0)
    ratio = jnp.where(both, predicted[:-1] / jnp.where(both, predicted[1:], 1), 1)
    return jnp.sum(safe_divide(slope * (step + shift * jnp.log(ratio)), positives), axis=0)


# ---- points on the curve -------------------------------------------------------------------------


def _rates(found: Counts) -> dict[str, Any]:
    tp, fp, tn, fn = found
    return {
        "precision": safe_divide(tp, tp + fp),
        "sensitivity": safe_divide(tp, tp + fn),
        "specificity": safe_divide(tn, tn + fp),
    }


RATE: Any = field(convert=number("[0, 1]"))
NUM_THRESHOLDS: Any = field(default=200, convert=positive_int)


@builtin()
class _BestAt(_Curve):
    """The maximum of one rate over the thresholds at which another is high enough."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "num_thresholds": "Number of evenly spaced thresholds to try.",
        "class_id": "The only class, as an index of the last axis, to count.",
    }

    _best: ClassVar[str]
    _held: ClassVar[str]
    num_thresholds: int = NUM_THRESHOLDS
    class_id: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.num_thresholds
        self._count_at([0.5] if n == 1 else [0.0, *_between(n - 2), 1.0])
        self._add_counts(n)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with a batch of zeros and ones, and of probabilities, of any shape."""
        arrays = self._aligned(y_true, y_pred, sample_weight, class_id=self.class_id)
        self._accumulate(counts(*arrays, self.thresholds))

    @property
    def value(self) -> float:
        """The minimum of the other rate."""
        raise NotImplementedError

    def result(self) -> Any:
        rates = _rates(self._totals())
        return jnp.max(jnp.where(rates[self._held] >= self.value, rates[self._best], 0))


@builtin("metrics")
class SensitivityAtSpecificity(_BestAt):
    """The highest ``TP / (TP + FN)`` where ``TN / (TN + FP)`` is at least ``specificity``.

    Args:
        specificity: From 0 to 1.

    >>> metric = SensitivityAtSpecificity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _best, _held = "sensitivity", "specificity"
    specificity: float = RATE
    num_thresholds: int = NUM_THRESHOLDS
    class_id: int | None = None
    name: str | None = None
    dtype: Any = DTYPE

    @property
    def value(self) -> float:
        return self.specificity


@builtin("metrics")
class SpecificityAtSensitivity(_BestAt):
    """The highest ``TN / (TN + FP)`` where ``TP / (TP + FN)`` is at least ``sensitivity``.

    Args:
        sensitivity: From 0 to 1.

    >>> metric = SpecificityAtSensitivity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8])
    >>> round(metric.result().item(), 4)
    0.6667
    """

    _best, _held = "specificity", "sensitivity"
    sensitivity: float = RATE
    num_thresholds: int = NUM_THRESHOLDS
    class_id: int | None = None
    name: str | None = None
    dtype: Any = DTYPE

    @property
    def value(self) -> float:
        return self.sensitivity


@builtin("metrics")
class PrecisionAtRecall(_BestAt):
    """The highest ``TP / (TP + FP)`` where ``TP / (TP + FN)`` is at least ``recall``.

    Args:
        recall: From 0 to 1.

    >>> metric = PrecisionAtRecall(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _best, _held = "precision", "sensitivity"
    recall: float = RATE
    num_thresholds: int = NUM_THRESHOLDS
    class_id: int | None = None
    name: str | None = None
    dtype: Any = DTYPE

    @property
    def value(self) -> float:
        return self.recall


@builtin("metrics")
class RecallAtPrecision(_BestAt):
    """The highest ``TP / (TP + FN)`` where ``TP / (TP + FP)`` is at least ``precision``.

    Args:
        precision: From 0 to 1.

    >>> metric = RecallAtPrecision(0.8)
    >>> metric.update_state([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    >>> metric.result()
    Array(0.5, dtype=float32)
    """

    _best, _held = "sensitivity", "precision"
    precision: float = RATE
    num_thresholds: int = NUM_THRESHOLDS
    class_id: int | None = None
    name: str | None = None
    dtype: Any = DTYPE

    @property
    def value(self) -> float:
        return self.precision
