"""F-scores: weighted harmonic means of precision and recall."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import settings
from lamina.core.scope import get_mask
from lamina.losses.base import DTYPE, safe_divide, weighted
from lamina.metrics.base import Metric
from lamina.metrics.regression import as_columns
from lamina.serialization.fields import field, number, one_of, optional
from lamina.serialization.registry import builtin

AVERAGE: Any = field(default=None, convert=one_of(None, "micro", "macro", "weighted"))
THRESHOLD: Any = field(default=None, convert=optional(number("(0, 1]")))


class _Attributes:
    """What one of the metrics takes as an argument."""

    beta: Any = 1.0


@builtin()
class _FScore(_Attributes, Metric):
    direction = "max"
    average: str | None = AVERAGE
    threshold: float | None = THRESHOLD

    def _make_state(self, y_pred_shape: tuple[int, ...]) -> None:
        columns = y_pred_shape[-1:] if len(y_pred_shape) > 1 else (1,)
        shape = () if self.average == "micro" else columns
        self.true_positives = self.add_weight(shape, name="true_positives")
        self.false_positives = self.add_weight(shape, name="false_positives")
        self.false_negatives = self.add_weight(shape, name="false_negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the state with zeros and ones, ``(batch, ..., classes)`` or ``(batch,)``."""
        mask = get_mask(y_pred)
        t, p = as_columns(y_true, y_pred, str(self.name), self._float_dtype())
        self.build(t.shape, p.shape)
        weights = self._weights(p, sample_weight, mask)
        if self.threshold is None:
            # The most probable class, or none if all probabilities are 0.
            p = (p >= jnp.max(p, axis=-1, keepdims=True)) & (jnp.abs(p) > 1e-9)
        else:
            p = p > self.threshold
        t, p = t != 0, p.astype(bool)
        axes = None if self.average == "micro" else tuple(range(p.ndim - 1))

        def total(chosen: Any) -> Any:
            values = chosen.astype(self._float_dtype())
            return jnp.sum(values if weights is None else weighted(values, weights), axis=axes)

        self.true_positives.assign_add(total(t & p))
        self.false_positives.assign_add(total(~t & p))
        self.false_negatives.assign_add(total(t & ~p))

    def result(self) -> Any:
        if not self.built:
            return jnp.zeros(())
        right, missed = self.true_positives.value, self.false_negatives.value
        precision = safe_divide(right, right + self.false_positives.value)
        recall = safe_divide(right, right + missed)
        square = self.beta**2
        score = (1 + square) * precision * recall
        score = score / (square * precision + recall + settings.epsilon())
        if self.average == "weighted":
            support = right + missed
            return safe_divide(jnp.sum(score * support), jnp.sum(support))
        return score if self.average is None else jnp.mean(score)


@builtin("metrics")
class FBetaScore(_FScore):
    """``(1 + beta ** 2) * precision * recall / (beta ** 2 * precision + recall)`` of each class.

    Recall has ``beta`` times the weight of precision. ``epsilon`` is added to the denominator.

    Args:
        average: None for one score for each class; ``"micro"`` to count all classes together;
            ``"macro"`` for the mean of the scores; ``"weighted"`` for their mean weighted by the
            number of samples of each class.
        beta: Weight of recall relative to precision, above 0.
        threshold: Predictions above it are positive; when None, the highest score of each sample
            is.

    >>> metric = FBetaScore(beta=2.0, threshold=0.5)
    >>> metric.update_state(
    ...     [[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    ... )
    >>> [round(float(score), 4) for score in metric.result()]
    [0.3846, 0.9091, 0.8333]
    """

    average: str | None = AVERAGE
    beta: float = field(default=1.0, convert=number("(0, inf)"))
    threshold: float | None = THRESHOLD
    name: str | None = "fbeta_score"
    dtype: Any = DTYPE


@builtin("metrics")
class F1Score(_FScore):
    """``2 * precision * recall / (precision + recall)`` of each class.

    Args:
        average: None for one score for each class; ``"micro"`` to count all classes together;
            ``"macro"`` for the mean of the scores; ``"weighted"`` for their mean weighted by the
            number of samples of each class.
        threshold: Predictions above it are positive; when None, the highest score of each sample
            is.

    >>> metric = F1Score(threshold=0.5)
    >>> metric.update_state(
    ...     [[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    ... )
    >>> [round(float(score), 4) for score in metric.result()]
    [0.5, 0.8, 0.6667]
    """

    average: str | None = AVERAGE
    threshold: float | None = THRESHOLD
    name: str | None = "f1_score"
    dtype: Any = DTYPE
