"""Activation functions, elementwise or along an axis; masks are propagated."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import Axes, as_array, as_axes, float_unary, floating, unary

FILE_MODULE = "nn"  # of Keras's files


relu = unary("relu", jax.nn.relu, "``max(x, 0)``; its gradient at 0 is 0.",
    "[-1.0, 0.0, 2.0] -> [0.0, 0.0, 2.0]")  # fmt: skip


relu6 = unary("relu6", jax.nn.relu6, "``min(max(x, 0), 6)``.",
    "[-1.0, 2.0, 8.0] -> [0.0, 2.0, 6.0]")  # fmt: skip


@op(elementwise=True)
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> jax.Array:
    """``x`` where positive, else ``negative_slope * x``.

    Args:
        x: Tensor of any shape.
        negative_slope: Slope below 0.

    >>> leaky_relu([-1.0, 2.0])
    Array([-0.2,  2. ], dtype=float32)
    """
    return jax.nn.leaky_relu(floating(x), negative_slope)


@op(elementwise=True)
def elu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``. Clevert et al. 2016, arXiv:1511.07289.

    Args:
        x: Tensor of any shape.
        alpha: The limit towards minus infinity is ``-alpha``.

    >>> f"{elu(-1.0):.3f}"
    '-0.632'
    """
    return jax.nn.elu(floating(x), alpha)


selu = float_unary("selu", jax.nn.selu,
    "``1.0507 * elu(x, 1.6733)``: keeps mean 0, variance 1. Klambauer et al., arXiv:1706.02515.",
    "[-1.0, 2.0] -> [-1.1113..., 2.1014...]")  # fmt: skip


@op(elementwise=True)
def celu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``. Barron 2017, arXiv:1704.07483.

    Args:
        x: Tensor of any shape.
        alpha: The limit towards minus infinity is ``-alpha``; not 0.

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


sigmoid = float_unary("sigmoid", jax.nn.sigmoid, "``1 / (1 + exp(-x))``.",
    "[-1.0, 0.0] -> [0.2689..., 0.5]")  # fmt: skip


silu = float_unary("silu", jax.nn.silu,
    "``x * sigmoid(x)``, also called swish. Ramachandran et al. 2017, arXiv:1710.05941.",
    "[-1.0, 2.0] -> [-0.2689..., 1.7615...]")  # fmt: skip


swish = silu


mish = float_unary("mish", jax.nn.mish, "``x * tanh(softplus(x))``. Misra 2020, arXiv:1908.08681.",
    "[-1.0, 2.0] -> [-0.3034..., 1.9439...]")  # fmt: skip


hard_sigmoid = float_unary("hard_sigmoid", jax.nn.hard_sigmoid,
    "A piecewise linear sigmoid: ``min(max(x / 6 + 1/2, 0), 1)``.",
    "[-4.0, 0.0, 1.5] -> [0.0, 0.5, 0.75]")  # fmt: skip


hard_silu = float_unary("hard_silu", jax.nn.hard_silu,
    "``x * hard_sigmoid(x)``, also called hard swish. Howard et al. 2019, arXiv:1905.02244.",
    "[-4.0, 1.5, 4.0] -> [-0.0, 1.125, 4.0]")  # fmt: skip


hard_swish = hard_silu


hard_tanh = unary("hard_tanh", jax.nn.hard_tanh, "``min(max(x, -1), 1)``.",
    "[-4.0, 0.5] -> [-1.0, 0.5]")  # fmt: skip


@op(elementwise=True)
def hard_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """``x`` where ``|x| > threshold``, else 0.

    Args:
        x: Tensor of any shape.
        threshold: Numbers up to this absolute value become 0.

    >>> hard_shrink([-1.0, 0.2])
    Array([-1.,  0.], dtype=float32)
    """
    x = floating(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


@op(elementwise=True)
def soft_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """``sign(x) * max(|x| - threshold, 0)``.

    Args:
        x: Tensor of any shape.
        threshold: Numbers up to this absolute value become 0; others get closer to 0 by it.

    >>> soft_shrink([-1.0, 0.2])
    Array([-0.5,  0. ], dtype=float32)
    """
    x = floating(x)
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, 0))


tanh_shrink = float_unary("tanh_shrink", lambda x: x - jnp.tanh(x), "``x - tanh(x)``.",
    "[0.0, 2.0] -> [0.0, 1.0359...]")  # fmt: skip


softplus = float_unary("softplus", jax.nn.softplus, "``log(1 + exp(x))``, a smooth ReLU.",
    "[-200.0, 2.0] -> [0.0, 2.1269...]")  # fmt: skip


softsign = float_unary("softsign", jax.nn.soft_sign, "``x / (1 + |x|)``.",
    "[-1.0, 3.0] -> [-0.5, 0.75]")  # fmt: skip


@op(elementwise=True)
def squareplus(x: Tensor, b: float = 4) -> jax.Array:
    """``(x + sqrt(x ** 2 + b)) / 2``: an algebraic softplus. Barron 2021, arXiv:2112.11687.

    Args:
        x: Tensor of any shape.
        b: How wide the bend at 0 is, >= 0; 0 gives ReLU.

    >>> squareplus([0.0, 1.5])
    Array([1., 2.], dtype=float32)
    """
    return jax.nn.squareplus(floating(x), b)


sparse_plus = float_unary("sparse_plus", jax.nn.sparse_plus,
    "0 up to -1, ``(x + 1) ** 2 / 4`` between -1 and 1, and ``x`` from 1 on.",
    "[-2.0, 0.0, 3.0] -> [0.0, 0.25, 3.0]")  # fmt: skip


sparse_sigmoid = float_unary("sparse_sigmoid", jax.nn.sparse_sigmoid,
    "``min(max((x + 1) / 2, 0), 1)``: the derivative of :func:`sparse_plus`.",
    "[-2.0, 0.0, 3.0] -> [0.0, 0.5, 1.0]")  # fmt: skip


log_sigmoid = float_unary("log_sigmoid", jax.nn.log_sigmoid,
    "``log(sigmoid(x))``, without overflow.",
    "[-200.0, 0.0] -> [-200.0, -0.6931...]")  # fmt: skip


@op(elementwise=True)
def threshold(x: Tensor, threshold: float, default_value: float) -> jax.Array:
    """``x`` where ``x > threshold``, else ``default_value``.

    Args:
        x: Tensor of any shape.
        threshold: Numbers up to this are replaced.
        default_value: What replaces them.

    >>> threshold([-1.0, 2.0], 0.5, 9.0)
    Array([9., 2.], dtype=float32)
    """
    x = as_array(x)
    return jnp.where(x > threshold, x, default_value)


@op(elementwise=True)
def softmax(x: Tensor, axis: Axes = -1) -> jax.Array:
    """``exp(x) / sum(exp(x), axis)``: positive numbers that sum to 1 along ``axis``.

    Args:
        x: Tensor of any shape.
        axis: The axis or axes along which the result sums to 1.

    >>> softmax([0.0, 0.0])
    Array([0.5, 0.5], dtype=float32)
    """
    return jax.nn.softmax(floating(x), as_axes(axis))


@op(elementwise=True)
def log_softmax(x: Tensor, axis: Axes = -1) -> jax.Array:
    """``x - log(sum(exp(x), axis))``: the logarithm of :func:`softmax`, without overflow.

    Args:
        x: Tensor of any shape.
        axis: The axis or axes along which the exponentials of the result sum to 1.

    >>> f"{log_softmax([0.0, 0.0])[0]:.3f}"
    '-0.693'
    """
    return jax.nn.log_softmax(floating(x), as_axes(axis))


@op(elementwise=True)
def sparsemax(x: Tensor, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to ``x``: like softmax, but with exact zeros.

    ``max(x - tau, 0)`` with the ``tau`` that makes the sum 1; with ``z`` the sorted entries and
    ``k`` the largest ``j`` for which ``1 + j * z_j > z_1 + ... + z_j``, ``tau`` is
    ``(z_1 + ... + z_k - 1) / k``. Martins and Astudillo 2016, arXiv:1602.02068.

    Args:
        x: Tensor of any shape.
        axis: The axis along which the result sums to 1.

    >>> sparsemax([0.5, 0.3, -2.0])
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

    Args:
        x: Tensor whose size along ``axis`` is even.
        axis: The axis to split.

    >>> glu([3.0, 0.0])
    Array([1.5], dtype=float32)
    """
    x = floating(x)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ArgumentError(
            f"glu() splits axis {axis} into halves, so its size must be even. Received: x of shape "
            f"{x.shape}."
        )
    return jax.nn.glu(x, axis)
