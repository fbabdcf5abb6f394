"""Special functions, log-sum-exp, and top-k."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ShapeError
from lamina.ops.templates import (
    Axes,
    as_array,
    as_axes,
    float_unary,
    floating,
    same_floating,
    unary,
)

FILE_MODULE = "math"  # of Keras's files

erf = float_unary("erf", jax.scipy.special.erf,
    "``2 / sqrt(pi)`` times the integral of ``exp(-t ** 2)``, 0 to x.",
    "[0.0, 1.0] -> [0.0, 0.8427...]")  # fmt: skip
erfc = float_unary("erfc", jax.scipy.special.erfc, "``1 - erf(x)``, precise for large ``x``.",
    "[0.0, 1.0] -> [1.0, 0.1572...]")  # fmt: skip
erfinv = float_unary("erfinv", jax.scipy.special.erfinv, "The inverse of :func:`erf`.",
    "[0.0, 0.5] -> [0.0, 0.4769...]")  # fmt: skip
rsqrt = float_unary("rsqrt", jax.lax.rsqrt, "``1 / sqrt(x)``.", "[4.0, 16.0] -> [0.5, 0.25]")


@op
def logsumexp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """``log(sum(exp(x), axis))``, without overflow.

    Args:
        x: Tensor.
        axis: The axis or axes to reduce; all of them when None.
        keepdims: Whether reduced axes stay, with size 1.

    >>> f"{logsumexp(jnp.array([1000.0, 1000.0])):.3f}"
    '1000.693'
    """
    return jax.nn.logsumexp(floating(x), axis=as_axes(axis), keepdims=keepdims)


@op(file_class="TopK")
def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[jax.Array, jax.Array]:
    """The ``k`` largest entries of the last axis in descending order, and their positions.

    Args:
        x: Tensor ``(..., n)``.
        k: Number of entries.
        sorted: Kept for compatibility with Keras: the result is always sorted.

    >>> top_k(jnp.array([3, 9, 5]), 2)
    (Array([9, 5], dtype=int32), Array([1, 2], dtype=int32))
    """
    values, indices = jax.lax.top_k(as_array(x), k)
    return values, indices


@op(file_class="InTopK")
def in_top_k(targets: Tensor, predictions: Tensor, k: int) -> jax.Array:
    """Whether fewer than ``k`` classes score higher than the target class.

    Args:
        targets: Class indices ``(batch,)``.
        predictions: Scores ``(batch, classes)``.
        k: Number of highest-scoring classes to consider.

    Returns:
        Booleans ``(batch,)``; False for a target that is not a class or whose score is NaN.

    >>> in_top_k(jnp.array([0, 2]), jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]), 2)
    Array([False,  True], dtype=bool)
    """
    targets, predictions = as_array(targets), as_array(predictions)
    inside = (targets >= 0) & (targets < predictions.shape[-1])
    score = jnp.take_along_axis(predictions, jnp.where(inside, targets, 0)[..., None], -1)
    higher = jnp.sum(predictions > score, -1)
    return inside & ~jnp.isnan(score[..., 0]) & (higher < k)


# ---- complex numbers, distances, determinants ----------------------------------------------------


def _as_complex(x: jax.Array) -> jax.Array:
    if x.shape[-1] != 2:
        raise ShapeError(
            "ops.view_as_complex expects pairs of numbers.",
            expected="(..., 2)",
            received=show_dims(x.shape),
        )
    x = x.astype(jnp.promote_types(x.dtype, "float32"))  # complex numbers have no half precision
    return jax.lax.complex(x[..., 0], x[..., 1])


view_as_complex = unary("view_as_complex", _as_complex, "``x[..., 0] + 1j * x[..., 1]``.",
    "[[1.0, 2.0]] -> [(1+2j)]", convert=floating, elementwise=False)  # fmt: skip
view_as_real = unary("view_as_real", lambda x: jnp.stack([jnp.real(x), jnp.imag(x)], -1),
    "Real and imaginary parts as a new last axis of size 2.", "[1 + 2j] -> [[1.0, 2.0]]",
    elementwise=False)  # fmt: skip


logdet = unary("logdet", lambda x: jnp.linalg.slogdet(x)[1],
    "The logarithm of the determinant of Hermitian positive definite matrices.",
    "[[2.0, 0.0], [0.0, 3.0]] -> 1.7917...", convert=floating, elementwise=False)  # fmt: skip


@op(file_class="CDist")
def cdist(x: Tensor, y: Tensor) -> jax.Array:
    """The distances between all pairs of vectors: ``d[..., i, j] = |x[..., i, :] - y[..., j, :]|``.

    Args:
        x: Tensor ``(..., n, size)``.
        y: Tensor ``(..., m, size)``.

    Returns:
        Tensor ``(..., n, m)``. Its gradient at distance 0 is 0.

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
    Array([[5., 1.]], dtype=float32)
    """
    x, y = same_floating(x, y)
    square = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), -1)
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
