"""Normalization and its statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import Axes, as_array, as_axes, floating

FILE_MODULE = "nn"  # of Keras's files


@op(elementwise=True)
def normalize(
    x: Tensor, axis: Axes = -1, order: int = 2, epsilon: float | None = None
) -> jax.Array:
    """``x / max(norm(x, axis), epsilon)``, with ``norm = sum(|x| ** order) ** (1 / order)``.

    Args:
        x: Tensor; a number is a tensor of shape ``(1,)``.
        axis: The axis or axes whose entries form one vector.
        order: Order of the norm, an integer >= 1.
        epsilon: Lower bound of the norm; ``lamina.config.epsilon()`` when None.

    >>> normalize(jnp.array([3.0, 4.0]))
    Array([0.6, 0.8], dtype=float32)
    """
    if not isinstance(order, int) or order < 1:
        raise ArgumentError(f"normalize(): `order` expects an integer >= 1. Received: {order!r}.")
    x = jnp.atleast_1d(floating(x))
    epsilon = settings.epsilon() if epsilon is None else epsilon
    if order == 2:  # the gradient of sqrt is infinite at 0: clip the square first
        square = jnp.sum(jnp.square(x), axis=as_axes(axis), keepdims=True)
        return x * jax.lax.rsqrt(jnp.maximum(square, epsilon**2))
    power = jnp.sum(jnp.abs(x) ** order, axis=as_axes(axis), keepdims=True)
    norm = jnp.maximum(power, jnp.finfo(x.dtype).tiny) ** (1 / order)  # as is that of this root
    return x / jnp.maximum(norm, epsilon)


def _moments(x: jax.Array, axes: Axes, keepdims: bool) -> tuple[jax.Array, jax.Array]:
    """Mean and variance, in float32 where ``x`` is narrower."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(wide, axis=as_axes(axes), keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=as_axes(axes), keepdims=keepdims)
    return (mean if keepdims else jnp.squeeze(mean, as_axes(axes))), variance


@op
def moments(
    x: Tensor, axes: Axes, keepdims: bool = False, synchronized: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over ``axes``, accumulated in at least float32.

    Those of float16 are at most the largest finite float16.

    Args:
        x: Tensor.
        axes: The axis or axes to reduce.
        keepdims: Whether reduced axes stay, with size 1.
        synchronized: Must be False: the statistics of a sharded tensor are always those of the
            whole tensor.

    >>> moments(jnp.array([1.0, 3.0]), 0)
    (Array(2., dtype=float32), Array(1., dtype=float32))
    """
    if synchronized:
        raise ArgumentError(
            "moments(): the statistics of a sharded tensor are always those of the whole tensor. "
            "Received: synchronized=True. Leave it out."
        )
    x = floating(x)
    mean, variance = _moments(x, axes, keepdims)
    if x.dtype == jnp.float16:  # the variance may exceed its range where the values do not
        most = jnp.finfo(jnp.float16).max
        mean, variance = jnp.clip(mean, -most, most), jnp.clip(variance, -most, most)
    return mean.astype(x.dtype), variance.astype(x.dtype)


@op(file_class="BatchNorm")
def batch_normalization(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    offset: Tensor | None = None,
    scale: Tensor | None = None,
    epsilon: float = 1e-3,
) -> jax.Array:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` along ``axis``.

    Args:
        x: Tensor.
        mean: Mean of each channel, ``(channels,)``.
        variance: Variance of each channel, ``(channels,)``.
        axis: The axis of the channels.
        offset: Offset of each channel, ``(channels,)``, or None.
        scale: Scale of each channel, ``(channels,)``, or None.
        epsilon: Added to the variance, so that the division is finite.

    Ioffe and Szegedy 2015, arXiv:1502.03167.

    >>> batch_normalization(jnp.array([[3.0]]), jnp.ones(1), jnp.full(1, 4.0), -1, epsilon=0.0)
    Array([[1.]], dtype=float32)
    """
    x = floating(x)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    factor = jax.lax.rsqrt(as_array(variance) + epsilon)
    factor = factor if scale is None else factor * as_array(scale)
    shift = -as_array(mean) * factor
    shift = shift if offset is None else shift + as_array(offset)
    result = x * jnp.reshape(factor, shape) + jnp.reshape(shift, shape)
    return result.astype(x.dtype)


@op(elementwise=True, file_class="LayerNorm")
def layer_normalization(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    axis: Axes = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> jax.Array:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, statistics over ``axis``.

    Args:
        x: Tensor.
        gamma: Scale, of the shape of the normalized axes, or None.
        beta: Offset, of the shape of the normalized axes, or None.
        axis: The axis or axes that are normalized together.
        epsilon: Added before the square root; ``lamina.config.epsilon()`` when None.
        rms_scaling: Whether to divide by ``sqrt(variance + epsilon)`` without subtracting the mean
            and without ``beta``; used by older files.

    Ba et al. 2016, arXiv:1607.06450.

    >>> layer_normalization(jnp.array([1.0, 3.0]), epsilon=0.0)
    Array([-1.,  1.], dtype=float32)
    """
    x = floating(x)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    mean, variance = _moments(x, axis, True)
    if rms_scaling:
        result = x * jax.lax.rsqrt(variance + epsilon)
        result = result if gamma is None else result * _along(gamma, x, axis)
        return result.astype(x.dtype)
    result = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    result = result if gamma is None else result * _along(gamma, x, axis)
    result = result if beta is None else result + _along(beta, x, axis)
    return result.astype(x.dtype)


@op(elementwise=True, file_class="RMSNorm")
def rms_normalization(
    x: Tensor, scale: Tensor | None = None, axis: Axes = -1, epsilon: float | None = None
) -> jax.Array:
    """``x / sqrt(mean(x ** 2) + epsilon) * scale``. Zhang and Sennrich 2019, arXiv:1910.07467.

    Args:
        x: Tensor; a number is a tensor of shape ``(1,)``.
        scale: Scale, of the shape of the normalized axes or a number, or None.
        axis: The axis or axes that are normalized together.
        epsilon: Added before the square root; ``lamina.config.epsilon()`` when None.

    >>> rms_normalization(jnp.array([3.0, 3.0]), epsilon=0.0)
    Array([1., 1.], dtype=float32)
    """
    x = jnp.atleast_1d(floating(x))
    epsilon = settings.epsilon() if epsilon is None else epsilon
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.mean(jnp.square(wide), axis=as_axes(axis), keepdims=True)
    result = wide * jax.lax.rsqrt(square + epsilon)
    return (result if scale is None else result * _along(scale, x, axis)).astype(x.dtype)


def _along(weight: Tensor, x: jax.Array, axis: Axes) -> jax.Array:
    """``weight`` with axes of size 1 for the axes of ``x`` that are not normalized."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    kept = {a % x.ndim for a in axes}
    weight = as_array(weight)
    if weight.ndim == 0:
        return weight
    return jnp.reshape(weight, [d if i in kept else 1 for i, d in enumerate(x.shape)])
