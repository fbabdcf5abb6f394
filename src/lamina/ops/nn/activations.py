"""Activation functions, elementwise or along an axis; masks are propagated."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import Axes, as_array, as_axes, floating

FILE_MODULE = "nn"  # of Keras's files


@op(elementwise=True)
def relu(x: Tensor) -> jax.Array:
    """``max(x, 0)``; its gradient at 0 is 0.

    >>> relu(jnp.array([-1.0, 0.0, 2.0]))
    Array([0., 0., 2.], dtype=float32)
    """
    return jax.nn.relu(as_array(x))


@op(elementwise=True)
def relu6(x: Tensor) -> jax.Array:
    """``min(max(x, 0), 6)``.

    >>> relu6(jnp.array([-1.0, 2.0, 8.0]))
    Array([0., 2., 6.], dtype=float32)
    """
    return jax.nn.relu6(as_array(x))


@op(elementwise=True)
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> jax.Array:
    """``x`` where positive, else ``negative_slope * x``.

    >>> leaky_relu(jnp.array([-1.0, 2.0]))
    Array([-0.2,  2. ], dtype=float32)
    """
    return jax.nn.leaky_relu(floating(x), negative_slope)


@op(elementwise=True)
def elu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``. Clevert et al. 2016, arXiv:1511.07289.

    >>> f"{elu(-1.0):.3f}"
    '-0.632'
    """
    return jax.nn.elu(floating(x), alpha)


@op(elementwise=True)
def selu(x: Tensor) -> jax.Array:
    """``1.0507 * elu(x, 1.6733)``: keeps mean 0, variance 1. Klambauer et al., arXiv:1706.02515.

    >>> f"{selu(-1.0):.3f}"
    '-1.111'
    """
    return jax.nn.selu(floating(x))


@op(elementwise=True)
def celu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``. Barron 2017, arXiv:1704.07483.

    >>> f"{celu(-1.0):.3f}"
    '-0.632'
    """
    return jax.nn.celu(floating(x), alpha)


@op(elementwise=True)
def gelu(x: Tensor, approximate: bool = True) -> jax.Array:
    """``x * P(X <= x)`` for a standard normal ``X``. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Args:
        x: Floating-point tensor.
        approximate: Whether to use ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))``.

    >>> f"{gelu(2.0):.3f}"
    '1.955'
    """
    return jax.nn.gelu(floating(x), approximate)


@op(elementwise=True)
def sigmoid(x: Tensor) -> jax.Array:
    """``1 / (1 + exp(-x))``.

    >>> f"{sigmoid(-1.0):.3f}"
    '0.269'
    """
    return jax.nn.sigmoid(floating(x))


@op(elementwise=True)
def silu(x: Tensor) -> jax.Array:
    """``x * sigmoid(x)``, also called swish. Ramachandran et al. 2017, arXiv:1710.05941.

    >>> f"{silu(2.0):.3f}"
    '1.762'
    """
    return jax.nn.silu(floating(x))


swish = silu


@op(elementwise=True)
def mish(x: Tensor) -> jax.Array:
    """``x * tanh(softplus(x))``. Misra 2020, arXiv:1908.08681.

    >>> f"{mish(2.0):.3f}"
    '1.944'
    """
    return jax.nn.mish(floating(x))


@op(elementwise=True)
def hard_sigmoid(x: Tensor) -> jax.Array:
    """A piecewise linear sigmoid: ``min(max(x / 6 + 1/2, 0), 1)``.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 1.5]))
    Array([0.  , 0.5 , 0.75], dtype=float32)
    """
    return jax.nn.hard_sigmoid(floating(x))


@op(elementwise=True)
def hard_silu(x: Tensor) -> jax.Array:
    """``x * hard_sigmoid(x)``, also called hard swish. Howard et al. 2019, arXiv:1905.02244.

    >>> hard_silu(jnp.array([-4.0, 1.5]))
    Array([-0.   ,  1.125], dtype=float32)
    """
    return jax.nn.hard_silu(floating(x))


hard_swish = hard_silu


@op(elementwise=True)
def hard_tanh(x: Tensor) -> jax.Array:
    """``min(max(x, -1), 1)``.

    >>> hard_tanh(jnp.array([-4.0, 0.5]))
    Array([-1. ,  0.5], dtype=float32)
    """
    return jax.nn.hard_tanh(as_array(x))


@op(elementwise=True)
def hard_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """``x`` where ``|x| > threshold``, else 0.

    >>> hard_shrink(jnp.array([-1.0, 0.2]))
    Array([-1.,  0.], dtype=float32)
    """
    x = floating(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


@op(elementwise=True)
def soft_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """``sign(x) * max(|x| - threshold, 0)``.

    >>> soft_shrink(jnp.array([-1.0, 0.2]))
    Array([-0.5,  0. ], dtype=float32)
    """
    x = floating(x)
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, 0))


@op(elementwise=True)
def tanh_shrink(x: Tensor) -> jax.Array:
    """``x - tanh(x)``.

    >>> f"{tanh_shrink(2.0):.3f}"
    '1.036'
    """
    x = floating(x)
    return x - jnp.tanh(x)


@op(elementwise=True)
def softplus(x: Tensor) -> jax.Array:
    """``log(1 + exp(x))``, a smooth ReLU.

    >>> f"{softplus(2.0):.3f}"
    '2.127'
    """
    return jax.nn.softplus(floating(x))


@op(elementwise=True)
def softsign(x: Tensor) -> jax.Array:
    """``x / (1 + |x|)``.

    >>> softsign(jnp.array([-1.0, 3.0]))
    Array([-0.5 ,  0.75], dtype=float32)
    """
    return jax.nn.soft_sign(floating(x))


@op(elementwise=True)
def squareplus(x: Tensor, b: float = 4) -> jax.Array:
    """``(x + sqrt(x ** 2 + b)) / 2``: an algebraic softplus. Barron 2021, arXiv:2112.11687.

    >>> squareplus(jnp.array([0.0, 1.5]))
    Array([1., 2.], dtype=float32)
    """
    return jax.nn.squareplus(floating(x), b)


@op(elementwise=True)
def sparse_plus(x: Tensor) -> jax.Array:
    """0 up to -1, ``(x + 1) ** 2 / 4`` between -1 and 1, and ``x`` from 1 on.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 3.0]))
    Array([0.  , 0.25, 3.  ], dtype=float32)
    """
    return jax.nn.sparse_plus(floating(x))


@op(elementwise=True)
def sparse_sigmoid(x: Tensor) -> jax.Array:
    """``min(max((x + 1) / 2, 0), 1)``: the derivative of :func:`sparse_plus`.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 3.0]))
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    return jax.nn.sparse_sigmoid(floating(x))


@op(elementwise=True)
def log_sigmoid(x: Tensor) -> jax.Array:
    """``log(sigmoid(x))``, without overflow.

    >>> f"{log_sigmoid(-200.0):.3f}"
    '-200.000'
    """
    return jax.nn.log_sigmoid(floating(x))


@op(elementwise=True)
def threshold(x: Tensor, threshold: float, default_value: float) -> jax.Array:
    """``x`` where ``x > threshold``, else ``default_value``.

    >>> threshold(jnp.array([-1.0, 2.0]), 0.5, 9.0)
    Array([9., 2.], dtype=float32)
    """
    x = as_array(x)
    return jnp.where(x > threshold, x, default_value)


@op(elementwise=True)
def softmax(x: Tensor, axis: Axes = -1) -> jax.Array:
    """``exp(x) / sum(exp(x), axis)``: positive numbers that sum to 1 along ``axis``.

    >>> softmax(jnp.array([0.0, 0.0]))
    Array([0.5, 0.5], dtype=float32)
    """
    return jax.nn.softmax(floating(x), as_axes(axis))


@op(elementwise=True)
def log_softmax(x: Tensor, axis: Axes = -1) -> jax.Array:
    """``x - log(sum(exp(x), axis))``: the logarithm of :func:`softmax`, without overflow.

    >>> f"{log_softmax(jnp.zeros(2))[0]:.3f}"
    '-0.693'
    """
    return jax.nn.log_softmax(floating(x), as_axes(axis))


@op(elementwise=True)
def sparsemax(x: Tensor, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to ``x``: like softmax, but with exact zeros.

    ``max(x - tau, 0)`` with the ``tau`` that makes the sum 1; with ``z`` the sorted entries and
    ``k`` the largest ``j`` for which ``1 + j * z_j > z_1 + ... + z_j``, ``tau`` is
    ``(z_1 + ... + z_k - 1) / k``. Martins and Astudillo 2016, arXiv:1602.02068.

    >>> sparsemax(jnp.array([0.5, 0.3, -2.0]))
    Array([0.6, 0.4, 0. ], dtype=float32)
    """
    x = jnp.moveaxis(floating(x), axis, -1)
    z = -jnp.sort(-x, axis=-1)
    rank = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    inside = 1 + rank * z > jnp.cumsum(z, -1)
    k = jnp.sum(inside, -1, keepdims=True, dtype=x.dtype)
    tau = (jnp.sum(jnp.where(inside, z, 0), -1, keepdims=True) - 1) / k
    return jnp.moveaxis(jnp.maximum(x - tau, 0), -1, axis)


@op(elementwise=True)
def glu(x: Tensor, axis: int = -1) -> jax.Array:
    """Split ``x`` along ``axis`` into halves ``a, b`` and compute ``a * sigmoid(b)``.

    Dauphin et al. 2016, arXiv:1612.08083.

    >>> glu(jnp.array([3.0, 0.0]))
    Array([1.5], dtype=float32)
    """
    x = floating(x)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ArgumentError(
            f"glu() splits axis {axis} into halves, so its size must be even. Received: x of shape "
            f"{x.shape}."
        )
    return jax.nn.glu(x, axis)
