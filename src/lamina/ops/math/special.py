"""Special functions, and the largest of many."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.ops.templates import Axes, as_axes, float_unary, floating

erf = float_unary(
    "erf", jax.scipy.special.erf, "``2 / sqrt(pi)`` times the integral of ``exp(-t ** 2)``, 0 to x."
)
erfc = float_unary("erfc", jax.scipy.special.erfc, "``1 - erf(x)``, precise for large ``x``.")
erfinv = float_unary("erfinv", jax.scipy.special.erfinv, "The inverse of :func:`erf`.")
rsqrt = float_unary("rsqrt", jax.lax.rsqrt, "``1 / sqrt(x)``.")


@op
def logsumexp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """``log(sum(exp(x), axis))``, without overflow.

    >>> f"{logsumexp(jnp.array([1000.0, 1000.0])):.3f}"
    '1000.693'
    """
    return jax.nn.logsumexp(floating(x), axis=as_axes(axis), keepdims=keepdims)


@op(file_class="TopK")
def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[jax.Array, jax.Array]:
    """The ``k`` largest entries of the last axis, largest first, and their positions.

    Args:
        x: Tensor ``(..., n)``.
        k: How many.
        sorted: Kept for Keras's signature: the result is sorted in any case.

    >>> top_k(jnp.array([3, 9, 5]), 2)
    (Array([9, 5], dtype=int32), Array([1, 2], dtype=int32))
    """
    values, indices = jax.lax.top_k(jnp.asarray(x), k)
    return values, indices


@op(file_class="InTopK")
def in_top_k(targets: Tensor, predictions: Tensor, k: int) -> jax.Array:
    """Whether fewer than ``k`` classes score higher than the target class.

    Args:
        targets: Class numbers ``(batch,)``.
        predictions: Scores ``(batch, classes)``.
        k: How many classes count.

    Returns:
        Booleans ``(batch,)``; False for a target that is no class or has no finite score.

    >>> in_top_k(jnp.array([0, 2]), jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]), 2)
    Array([False,  True], dtype=bool)
    """
    targets, predictions = jnp.asarray(targets), jnp.asarray(predictions)
    inside = (targets >= 0) & (targets < predictions.shape[-1])
    score = jnp.take_along_axis(predictions, jnp.where(inside, targets, 0)[..., None], -1)
    higher = jnp.sum(predictions > score, -1)
    return inside & jnp.isfinite(score[..., 0]) & (higher < k)
