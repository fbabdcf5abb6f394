"""Functions of neural networks on arrays and symbolic tensors: activations, encodings, norms.

Functions that keep the shape of their argument also let its mask travel on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.operation import op
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError
from lamina.ops.cross_entropy import (
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)

__all__ = [
    "batch_normalization", "binary_crossentropy", "categorical_crossentropy", "celu", "elu", "erf",
    "erfinv", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "in_top_k", "layer_normalization", "leaky_relu", "log_sigmoid", "log_softmax", "logsumexp",
    "mish", "moments", "multi_hot", "normalize", "one_hot", "relu", "relu6", "rms_normalization",
    "rsqrt", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "swish", "tanh_shrink", "threshold", "top_k",
]  # fmt: skip

_elementwise: Callable[[Callable[..., Any]], Callable[..., Any]]
_elementwise = functools.partial(op, elementwise=True)

Axes = int | Sequence[int] | None


def _tuple(axis: Axes) -> int | tuple[int, ...] | None:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


def _float(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(settings.floatx())


# ---- activations ---------------------------------------------------------------------------------


@_elementwise
def relu(x: Any) -> jax.Array:
    """``max(x, 0)``; its gradient at 0 is 0.

    >>> relu(jnp.array([-1.0, 0.0, 2.0]))
    Array([0., 0., 2.], dtype=float32)
    """
    return jax.nn.relu(jnp.asarray(x))


@_elementwise
def relu6(x: Any) -> jax.Array:
    """``min(max(x, 0), 6)``.

    >>> relu6(jnp.array([-1.0, 2.0, 8.0]))
    Array([0., 2., 6.], dtype=float32)
    """
    return jax.nn.relu6(jnp.asarray(x))


@_elementwise
def leaky_relu(x: Any, negative_slope: float = 0.2) -> jax.Array:
    """``x`` where positive, else ``negative_slope * x``.

    >>> leaky_relu(jnp.array([-1.0, 2.0]))
    Array([-0.2,  2. ], dtype=float32)
    """
    return jax.nn.leaky_relu(_float(x), negative_slope)


@_elementwise
def elu(x: Any, alpha: float = 1.0) -> jax.Array:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``. Clevert et al. 2016, arXiv:1511.07289.

    >>> f"{elu(-1.0):.3f}"
    '-0.632'
    """
    return jax.nn.elu(_float(x), alpha)


@_elementwise
def selu(x: Any) -> jax.Array:
    """``1.0507 * elu(x, 1.6733)``: keeps mean 0, variance 1. Klambauer et al., arXiv:1706.02515.

    >>> f"{selu(-1.0):.3f}"
    '-1.111'
    """
    return jax.nn.selu(_float(x))


@_elementwise
def celu(x: Any, alpha: float = 1.0) -> jax.Array:
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``. Barron 2017, arXiv:1704.07483.

    >>> f"{celu(-1.0):.3f}"
    '-0.632'
    """
    return jax.nn.celu(_float(x), alpha)


@_elementwise
def gelu(x: Any, approximate: bool = True) -> jax.Array:
    """``x * P(X <= x)`` for a standard normal ``X``. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Args:
        x: Floating-point tensor.
        approximate: Use ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))``.

    >>> f"{gelu(2.0):.3f}"
    '1.955'
    """
    return jax.nn.gelu(_float(x), approximate)


@_elementwise
def sigmoid(x: Any) -> jax.Array:
    """``1 / (1 + exp(-x))``.

    >>> f"{sigmoid(-1.0):.3f}"
    '0.269'
    """
    return jax.nn.sigmoid(_float(x))


@_elementwise
def silu(x: Any) -> jax.Array:
    """``x * sigmoid(x)``, also called swish. Ramachandran et al. 2017, arXiv:1710.05941.

    >>> f"{silu(2.0):.3f}"
    '1.762'
    """
    return jax.nn.silu(_float(x))


swish = silu


@_elementwise
def mish(x: Any) -> jax.Array:
    """``x * tanh(softplus(x))``. Misra 2020, arXiv:1908.08681.

    >>> f"{mish(2.0):.3f}"
    '1.944'
    """
    return jax.nn.mish(_float(x))


@_elementwise
def hard_sigmoid(x: Any) -> jax.Array:
    """Straight lines for a sigmoid: ``min(max(x / 6 + 1/2, 0), 1)``.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 1.5]))
    Array([0.  , 0.5 , 0.75], dtype=float32)
    """
    return jax.nn.hard_sigmoid(_float(x))


@_elementwise
def hard_silu(x: Any) -> jax.Array:
    """``x * hard_sigmoid(x)``, also called hard swish. Howard et al. 2019, arXiv:1905.02244.

    >>> hard_silu(jnp.array([-4.0, 1.5]))
    Array([-0.   ,  1.125], dtype=float32)
    """
    return jax.nn.hard_silu(_float(x))


hard_swish = hard_silu


@_elementwise
def hard_tanh(x: Any) -> jax.Array:
    """``min(max(x, -1), 1)``.

    >>> hard_tanh(jnp.array([-4.0, 0.5]))
    Array([-1. ,  0.5], dtype=float32)
    """
    return jax.nn.hard_tanh(jnp.asarray(x))


@_elementwise
def hard_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``x`` where ``|x| > threshold``, else 0.

    >>> hard_shrink(jnp.array([-1.0, 0.2]))
    Array([-1.,  0.], dtype=float32)
    """
    x = jnp.asarray(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


@_elementwise
def soft_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``sign(x) * max(|x| - threshold, 0)``.

    >>> soft_shrink(jnp.array([-1.0, 0.2]))
    Array([-0.5,  0. ], dtype=float32)
    """
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, 0))


@_elementwise
def tanh_shrink(x: Any) -> jax.Array:
    """``x - tanh(x)``.

    >>> f"{tanh_shrink(2.0):.3f}"
    '1.036'
    """
    x = _float(x)
    return x - jnp.tanh(x)


@_elementwise
def softplus(x: Any) -> jax.Array:
    """``log(1 + exp(x))``, a smooth ReLU.

    >>> f"{softplus(2.0):.3f}"
    '2.127'
    """
    return jax.nn.softplus(_float(x))


@_elementwise
def softsign(x: Any) -> jax.Array:
    """``x / (1 + |x|)``.

    >>> softsign(jnp.array([-1.0, 3.0]))
    Array([-0.5 ,  0.75], dtype=float32)
    """
    return jax.nn.soft_sign(_float(x))


@_elementwise
def squareplus(x: Any, b: float = 4) -> jax.Array:
    """``(x + sqrt(x ** 2 + b)) / 2``: softplus by algebra. Barron 2021, arXiv:2112.11687.

    >>> squareplus(jnp.array([0.0, 1.5]))
    Array([1., 2.], dtype=float32)
    """
    return jax.nn.squareplus(_float(x), b)


@_elementwise
def sparse_plus(x: Any) -> jax.Array:
    """0 up to -1, ``(x + 1) ** 2 / 4`` between -1 and 1, ``x`` from there on.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 3.0]))
    Array([0.  , 0.25, 3.  ], dtype=float32)
    """
    return jax.nn.sparse_plus(_float(x))


@_elementwise
def sparse_sigmoid(x: Any) -> jax.Array:
    """``min(max((x + 1) / 2, 0), 1)``: the derivative of :func:`sparse_plus`.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 3.0]))
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    return jax.nn.sparse_sigmoid(_float(x))


@_elementwise
def log_sigmoid(x: Any) -> jax.Array:
    """``log(sigmoid(x))``, without overflow.

    >>> f"{log_sigmoid(-200.0):.3f}"
    '-200.000'
    """
    return jax.nn.log_sigmoid(_float(x))


@_elementwise
def threshold(x: Any, threshold: float, default_value: float) -> jax.Array:
    """``x`` where ``x > threshold``, else ``default_value``.

    >>> threshold(jnp.array([-1.0, 2.0]), 0.5, 9.0)
    Array([9., 2.], dtype=float32)
    """
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x, jnp.asarray(default_value, x.dtype))


@_elementwise
def softmax(x: Any, axis: Axes = -1) -> jax.Array:
    """``exp(x) / sum(exp(x), axis)``: positive numbers that sum to 1 along ``axis``.

    >>> softmax(jnp.array([0.0, 0.0]))
    Array([0.5, 0.5], dtype=float32)
    """
    return jax.nn.softmax(_float(x), _tuple(axis))


@_elementwise
def log_softmax(x: Any, axis: Axes = -1) -> jax.Array:
    """``x - log(sum(exp(x), axis))``: the logarithm of :func:`softmax`, without overflow.

    >>> f"{log_softmax(jnp.zeros(2))[0]:.3f}"
    '-0.693'
    """
    return jax.nn.log_softmax(_float(x), _tuple(axis))


@_elementwise
def sparsemax(x: Any, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to ``x``: like softmax, but with exact zeros.

    ``max(x - tau, 0)`` with the ``tau`` that makes the sum 1; with ``z`` the sorted entries and
    ``k`` the largest ``j`` for which ``1 + j * z_j > z_1 + ... + z_j``, ``tau`` is
    ``(z_1 + ... + z_k - 1) / k``. Martins and Astudillo 2016, arXiv:1602.02068.

    >>> sparsemax(jnp.array([0.5, 0.3, -2.0]))
    Array([0.6, 0.4, 0. ], dtype=float32)
    """
    x = jnp.moveaxis(_float(x), axis, -1)
    z = -jnp.sort(-x, axis=-1)
    rank = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    inside = 1 + rank * z > jnp.cumsum(z, -1)
    k = jnp.sum(inside, -1, keepdims=True, dtype=x.dtype)
    tau = (jnp.sum(jnp.where(inside, z, 0), -1, keepdims=True) - 1) / k
    return jnp.moveaxis(jnp.maximum(x - tau, 0), -1, axis)


@_elementwise
def glu(x: Any, axis: int = -1) -> jax.Array:
    """Halve ``x`` along ``axis`` into ``a, b``: ``a * sigmoid(b)``.

    Dauphin et al. 2016, arXiv:1612.08083.

    >>> glu(jnp.array([3.0, 0.0]))
    Array([1.5], dtype=float32)
    """
    x = _float(x)
    if x.shape[axis] % 2:
        raise ArgumentError(
            f"glu() halves axis {axis}, so that axis needs an even size. Received: x of shape "
            f"{x.shape}."
        )
    return jax.nn.glu(x, axis)


# ---- special functions ---------------------------------------------------------------------------

erf = op(jax.scipy.special.erf, "erf", elementwise=True)
erfinv = op(jax.scipy.special.erfinv, "erfinv", elementwise=True)
rsqrt = op(jax.lax.rsqrt, "rsqrt", elementwise=True)


@op
def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """``log(sum(exp(x), axis))``, without overflow.

    >>> f"{logsumexp(jnp.array([1000.0, 1000.0])):.3f}"
    '1000.693'
    """
    return jax.nn.logsumexp(_float(x), axis=_tuple(axis), keepdims=keepdims)


# ---- class numbers -------------------------------------------------------------------------------


@op
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> jax.Array:
    """A new axis of size ``num_classes`` with 1 at each class number and 0 elsewhere.

    A number outside of ``[0, num_classes)`` gives a row of zeros.

    Args:
        x: Class numbers; integer tensor of any shape.
        num_classes: Size of the new axis.
        axis: Where the new axis goes.
        dtype: Dtype of the result, ``floatx`` by default.

    >>> one_hot(jnp.array([2, 0]), 3)
    Array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    return jax.nn.one_hot(jnp.asarray(x), num_classes, dtype=standardize_dtype(dtype), axis=axis)


@op
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None
) -> jax.Array:
    """Which classes occur in each row: ``max(one_hot(inputs), rows)``.

    Args:
        inputs: Class numbers, ``(batch, k, ...)`` or ``(k,)``; -1 counts as absent.
        num_classes: Number of classes.
        axis: Where the axis of classes goes.
        dtype: Dtype of the result, ``floatx`` by default.

    Returns:
        Tensor ``(batch, ..., num_classes)`` or ``(num_classes,)`` of ones and zeros.

    >>> multi_hot(jnp.array([[2, 0], [1, 1]]), 3)
    Array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    if num_classes is None:
        raise ArgumentError("multi_hot() needs `num_classes`. Received: num_classes=None.")
    inputs = jnp.asarray(inputs)
    hot = jax.nn.one_hot(inputs, num_classes, dtype=standardize_dtype(dtype), axis=axis)
    return jnp.max(hot, axis=1 if inputs.ndim > 1 else 0)


@op
def top_k(x: Any, k: int, sorted: bool = True) -> tuple[jax.Array, jax.Array]:
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


@op
def in_top_k(targets: Any, predictions: Any, k: int) -> jax.Array:
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


# ---- norms and statistics ------------------------------------------------------------------------


@_elementwise
def normalize(x: Any, axis: Axes = -1, order: int = 2, epsilon: float | None = None) -> jax.Array:
    """``x / max(norm(x, axis), epsilon)``, with ``norm = sum(|x| ** order) ** (1 / order)``.

    Args:
        x: Tensor.
        axis: The axis or axes whose entries form one vector.
        order: Order of the norm, an integer >= 1.
        epsilon: Lower bound of the norm, ``settings.epsilon()`` by default.

    >>> normalize(jnp.array([3.0, 4.0]))
    Array([0.6, 0.8], dtype=float32)
    """
    if not isinstance(order, int) or order < 1:
        raise ArgumentError(f"normalize(): `order` is an integer >= 1. Received: {order!r}.")
    x = _float(x)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    if order == 2:  # a square root of 0 has no gradient; bounding the square first has
        square = jnp.sum(jnp.square(x), axis=_tuple(axis), keepdims=True)
        return x * jax.lax.rsqrt(jnp.maximum(square, epsilon**2))
    norm = jnp.sum(jnp.abs(x) ** order, axis=_tuple(axis), keepdims=True) ** (1 / order)
    return x / jnp.maximum(norm, epsilon)


def _moments(x: jax.Array, axes: Axes, keepdims: bool) -> tuple[jax.Array, jax.Array]:
    """Mean and variance, in float32 where ``x`` is narrower."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(wide, axis=_tuple(axes), keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=_tuple(axes), keepdims=keepdims)
    return (mean if keepdims else jnp.squeeze(mean, _tuple(axes))), variance


@op
def moments(x: Any, axes: Axes, keepdims: bool = False) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over ``axes``, summed up in float32 or wider.

    >>> moments(jnp.array([1.0, 3.0]), 0)
    (Array(2., dtype=float32), Array(1., dtype=float32))
    """
    x = _float(x)
    mean, variance = _moments(x, axes, keepdims)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@op
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> jax.Array:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` along ``axis``.

    Args:
        x: Tensor.
        mean: Mean of each channel, ``(channels,)``.
        variance: Variance of each channel, ``(channels,)``.
        axis: The axis of the channels.
        offset: Shift of each channel, ``(channels,)``, or None.
        scale: Factor of each channel, ``(channels,)``, or None.
        epsilon: Keeps the division finite.

    Ioffe and Szegedy 2015, arXiv:1502.03167.

    >>> batch_normalization(jnp.array([[3.0]]), jnp.ones(1), jnp.full(1, 4.0), -1, epsilon=0.0)
    Array([[1.]], dtype=float32)
    """
    x = _float(x)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    factor = jax.lax.rsqrt(jnp.asarray(variance) + epsilon)
    factor = factor if scale is None else factor * scale
    shift = -jnp.asarray(mean) * factor
    shift = shift if offset is None else shift + offset
    result = x * jnp.reshape(factor, shape) + jnp.reshape(shift, shape)
    return result.astype(x.dtype)


@_elementwise
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axes = -1, epsilon: float | None = None
) -> jax.Array:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, statistics over ``axis``.

    Args:
        x: Tensor.
        gamma: Factor, of the sizes of the normalized axes, or None.
        beta: Shift, of the sizes of the normalized axes, or None.
        axis: The axis or axes that are normalized together.
        epsilon: Keeps the division finite; ``settings.epsilon()`` by default.

    Ba et al. 2016, arXiv:1607.06450.

    >>> layer_normalization(jnp.array([1.0, 3.0]), epsilon=0.0)
    Array([-1.,  1.], dtype=float32)
    """
    x = _float(x)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    mean, variance = _moments(x, axis, True)
    result = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    result = result if gamma is None else result * _along(gamma, x, axis)
    result = result if beta is None else result + _along(beta, x, axis)
    return result.astype(x.dtype)


@_elementwise
def rms_normalization(
    x: Any, scale: Any = None, axis: Axes = -1, epsilon: float | None = None
) -> jax.Array:
    """``x / sqrt(mean(x ** 2) + epsilon) * scale``. Zhang and Sennrich 2019, arXiv:1910.07467.

    Args:
        x: Tensor.
        scale: Of the sizes of the normalized axes, or None.
        axis: The axis or axes that are normalized together.
        epsilon: Keeps the division finite; ``settings.epsilon()`` by default.

    >>> rms_normalization(jnp.array([3.0, 3.0]), epsilon=0.0)
    Array([1., 1.], dtype=float32)
    """
    x = _float(x)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.mean(jnp.square(wide), axis=_tuple(axis), keepdims=True)
    result = wide * jax.lax.rsqrt(square + epsilon)
    return (result if scale is None else result * _along(scale, x, axis)).astype(x.dtype)


def _along(weight: Any, x: jax.Array, axis: Axes) -> jax.Array:
    """``weight`` with axes of size 1 where ``x`` is not normalized."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    kept = {a % x.ndim for a in axes}
    return jnp.reshape(weight, [d if i in kept else 1 for i, d in enumerate(x.shape)])
