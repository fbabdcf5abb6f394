"""Losses between probability distributions, and between rates and counts."""

from __future__ import annotations

from typing import Any

from lamina import ops, settings
from lamina.losses.base import DTYPE, REDUCTION, FunctionLoss, loss_function
from lamina.serialization.registry import builtin


@loss_function("vectors", "kld", "KLD")
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis; both are clipped to [epsilon, 1].

    Kullback and Leibler 1951, doi:10.1214/aoms/1177729694.

    Args:
        y_true: Probabilities, ``(batch, ..., n)``.
        y_pred: Probabilities of the same shape, or differing by one trailing axis of size 1.

    >>> kl_divergence([[0.5, 0.5]], [[0.5, 0.5]])
    Array([0.], dtype=float32)
    """
    y_true = ops.clip(y_true, settings.epsilon(), 1.0)
    y_pred = ops.clip(y_pred, settings.epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


@loss_function("elements")
def poisson(y_true: Any, y_pred: Any) -> Any:
    """``mean(y_pred - y_true * log(y_pred + epsilon))`` over the last axis.

    The negative log-likelihood of counts ``y_true`` at rates ``y_pred``, without its constant term.

    Args:
        y_true: Counts, ``(batch, ..., n)``.
        y_pred: Rates >= 0 of the same shape, or differing by one trailing axis of size 1.

    >>> poisson([[0.0, 2.0]], [[1.0, 1.0]])
    Array([0.9999999], dtype=float32)
    """
    return ops.mean(y_pred - y_true * ops.log(y_pred + settings.epsilon()), axis=-1)


@builtin("losses")
class KLDivergence(FunctionLoss):
    """Kullback-Leibler divergence: see :func:`kl_divergence`.

    >>> round(KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]).item(), 4)
    0.1438
    """

    fn = staticmethod(kl_divergence)
    reduction: str | None = REDUCTION
    name: str | None = "kl_divergence"
    dtype: Any = DTYPE


@builtin("losses")
class Poisson(FunctionLoss):
    """Poisson loss: see :func:`poisson`.

    >>> round(Poisson()([[2.0]], [[1.0]]).item(), 4)
    1.0
    """

    fn = staticmethod(poisson)
    reduction: str | None = REDUCTION
    name: str | None = "poisson"
    dtype: Any = DTYPE
