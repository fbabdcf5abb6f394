"""Confusion counts at thresholds, and precision and recall computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.scope import get_mask
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.losses.base import DTYPE, as_pair, safe_divide
from lamina.metrics.base import Metric
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin

# Up to this many thresholds, comparing with each is faster than a histogram.
_FEW = 8


class Counts(NamedTuple):
    """Weighted confusion counts at each threshold."""

    true_positives: Any
    false_positives: Any
    true_negatives: Any
    false_negatives: Any


def counts(y_true: Any, y_pred: Any, weights: Any, thresholds: Sequence[float]) -> Counts:
    """Count the predictions ``y_pred > threshold``.

    Many thresholds are sorted once; each prediction falls in a bin between two of them, and a
    cumulative sum over the bins gives all counts, without an array of thresholds by predictions.

    Args:
        y_true: Targets, as booleans of any shape.
        y_pred: Scores of the same shape.
        weights: Weights of the same shape.
        thresholds: One or more numbers.

    Returns:
        Counts of shape ``(thresholds,)``.

    >>> c = counts(np.array([True, False]), np.array([0.9, 0.6]), np.ones(2), [0.5, 0.8])
    >>> c.true_positives.tolist(), c.false_positives.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """
    y_true, y_pred, weights = y_true.reshape(-1), y_pred.reshape(-1), weights.reshape(-1)
    both = jnp.stack([jnp.where(y_true, weights, 0), jnp.where(y_true, 0, weights)])
    if len(thresholds) <= _FEW:
        above = jnp.stack([jnp.sum(jnp.where(y_pred > t, both, 0), axis=1) for t in thresholds], 1)
    else:
        order = np.argsort(thresholds, kind="stable")
        bins = jnp.searchsorted(jnp.asarray(np.array(thresholds)[order], y_pred.dtype), y_pred)
        histogram = jnp.zeros((2, len(thresholds) + 1), both.dtype).at[:, bins].add(both)
        above = jnp.cumsum(histogram[:, :0:-1], axis=1)[:, ::-1][:, np.argsort(order)]
    everything = jnp.sum(both, axis=1)
    return Counts(above[0], above[1], everything[1] - above[1], everything[0] - above[0])


def _read_thresholds(value: Any) -> Any:
    """None, a number or a list of numbers from 0 to 1."""
    if value is None:
        return None
    single = np.ndim(value) == 0
    values = [float(t) for t in ([value] if single else value)]
    if not values or any(not 0.0 <= t <= 1.0 for t in values):
        raise ArgumentError(f"expected numbers from 0 to 1. Received: {value!r}.")
    return values[0] if single else values


def as_list(thresholds: Any, default: float) -> list[float]:
    """The thresholds to count at."""
    if thresholds is None:
        return [default]
    return thresholds if isinstance(thresholds, list) else [thresholds]


THRESHOLDS: Any = field(default=None, convert=_read_thresholds)
TOP_K: Any = field(default=None, convert=lambda k: None if k is None else positive_int(k))


class _Attributes:
    """The thresholds that a metric counts at, and those that were given."""

    thresholds: Any
    init_thresholds: Any


@builtin("metrics")
class DecisionMetric(_Attributes, Metric):
    """Base class of metrics of counts: converts targets, predictions and weights to one shape."""

    def _count_at(self, thresholds: list[float]) -> None:
        """Set the thresholds to count at, beside those that were given."""
        self.init_thresholds, self.thresholds = vars(self).get("thresholds"), thresholds

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "thresholds": self.init_thresholds} if "thresholds" in config else config

    def _repr_items(self) -> list[tuple[str, str]]:
        items = [item for item in super()._repr_items() if item[0] != "thresholds"]
        given = self.init_thresholds
        return items if given is None else [*items, ("thresholds", repr(given))]

    def _aligned(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        top_k: int | None = None,
        class_id: int | None = None,
    ) -> tuple[Any, Any, Any]:
        """Targets as booleans, predictions, and weights, all of the shape of the predictions."""
        mask, dtype = get_mask(y_pred), self._float_dtype()
        y_true, y_pred = as_pair(y_true, jnp.asarray(y_pred, dtype), str(self.name))
        weights = self._weights(y_pred, sample_weight, mask)
        if weights is None:
            weights = jnp.ones_like(y_pred)
        if top_k is not None:
            best = jax.lax.top_k(y_pred, top_k)[1]
            kept = jax.nn.one_hot(best, y_pred.shape[-1], dtype=bool).any(axis=-2)
            y_pred = jnp.where(kept, y_pred, -jnp.inf)
        y_true = y_true.astype(bool)
        if class_id is not None:
            own = (..., class_id)
            y_true, y_pred, weights = y_true[own], y_pred[own], weights[own]
        return y_true, y_pred, weights


# ---- single counts -------------------------------------------------------------------------------


@builtin()
class _SingleCount(DecisionMetric):
    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "thresholds": "A number from 0 to 1, or a list of them for one count each; 1/2 when None.",
    }
    _counted: ClassVar[str]
    thresholds: Any = THRESHOLDS
    name: str | None = None
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        self._count_at(as_list(self.thresholds, 0.5))
        self.accumulator = self.add_weight((len(self.thresholds),), name="accumulator")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with a batch of zeros and ones, and of probabilities, of any shape."""
        found = counts(*self._aligned(y_true, y_pred, sample_weight), self.thresholds)
        self.accumulator.assign_add(found._asdict()[self._counted])

    def result(self) -> Any:
        return _one_or_all(self.accumulator.value)


def _one_or_all(values: Any) -> Any:
    return values[0] if values.shape[0] == 1 else values


@builtin("metrics")
class TruePositives(_SingleCount):
    """Number of elements that are 1 and predicted above the threshold.

    >>> metric = TruePositives()
    >>> metric.update_state([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
    >>> metric.result()
    Array(2., dtype=float32)
    """

    _counted, direction = "true_positives", "max"


@builtin("metrics")
class FalsePositives(_SingleCount):
    """Number of elements that are 0 but predicted above the threshold.

    >>> metric = FalsePositives()
    >>> metric.update_state([0, 1, 0, 0], [0.9, 0.1, 0.8, 0.2])
    >>> metric.result()
    Array(2., dtype=float32)
    """

    _counted, direction = "false_positives", "min"


@builtin("metrics")
class TrueNegatives(_SingleCount):
    """Number of elements that are 0 and not predicted above the threshold.

    >>> metric = TrueNegatives()
    >>> metric.update_state([0, 1, 0, 0], [0.9, 0.1, 0.8, 0.2])
    >>> metric.result()
    Array(1., dtype=float32)
    """

    _counted, direction = "true_negatives", "max"


@builtin("metrics")
class FalseNegatives(_SingleCount):
    """Number of elements that are 1 but not predicted above the threshold.

    >>> metric = FalseNegatives()
    >>> metric.update_state([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
    >>> metric.result()
    Array(1., dtype=float32)
    """

    _counted, direction = "false_negatives", "min"


# ---- precision and recall ------------------------------------------------------------------------


@builtin()
class _Rate(DecisionMetric):
    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "thresholds": "A number from 0 to 1, or a list of them for one result each; 1/2 when None, "
        "or\n        no threshold with ``top_k``.",
        "top_k": "Count only the k highest scores of each sample as positive.",
        "class_id": "The only class, as an index of the last axis, to count.",
    }
    """True positives divided by the sum of true positives and one kind of error."""

    direction = "max"
    _error: ClassVar[str]
    thresholds: Any = THRESHOLDS
    top_k: Any = TOP_K
    class_id: int | None = None
    name: str | None = None
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        # Everything but the k highest scores is set to minus infinity.
        default = 0.5 if self.top_k is None else -np.inf
        self._count_at(as_list(self.thresholds, default))
        self.true_positives = self.add_weight((len(self.thresholds),), name="true_positives")
        self._errors = self.add_weight((len(self.thresholds),), name=self._error)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with a batch of zeros and ones, and of probabilities, of any shape."""
        arrays = self._aligned(y_true, y_pred, sample_weight, self.top_k, self.class_id)
        found = counts(*arrays, self.thresholds)
        self.true_positives.assign_add(found.true_positives)
        self._errors.assign_add(found._asdict()[self._error])

    def result(self) -> Any:
        right = self.true_positives.value
        return _one_or_all(safe_divide(right, right + self._errors.value))


@builtin("metrics")
class Precision(_Rate):
    """Fraction of positive predictions that are correct: ``TP / (TP + FP)``, or 0 without any.

    >>> metric = Precision()
    >>> metric.update_state([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
    >>> round(metric.result().item(), 4)
    0.6667
    """

    _error = "false_positives"

    @property
    def false_positives(self) -> Variable:
        """The wrong positive predictions, for each threshold."""
        return self._errors


@builtin("metrics")
class Recall(_Rate):
    """Fraction of positives that are predicted: ``TP / (TP + FN)``, or 0 without any.

    >>> metric = Recall()
    >>> metric.update_state([0, 1, 1, 1], [0.9, 0.1, 0.8, 0.7])
    >>> round(metric.result().item(), 4)
    0.6667
    """

    _error = "false_negatives"

    @property
    def false_negatives(self) -> Variable:
        """The positives that are not predicted, for each threshold."""
        return self._errors
