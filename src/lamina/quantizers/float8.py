"""Scaled 8-bit floats, for the products of float8 training.

A tensor is divided by a scale, so that its largest magnitude is about that of the 8-bit dtype. The
scale of a step follows from the largest magnitudes of the steps before. Micikevicius et al. 2022,
arXiv:2209.05433.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.variable import value_of


def compute_float8_scale(amax: Any, scale: Any, dtype_max: Any, margin: int = 0) -> Any:
    """The next scale of a tensor: ``amax / dtype_max * 2**margin``.

    Args:
        amax: Largest magnitude of the steps before; if it is 0 or not finite, the scale stays.
        scale: The current scale.
        dtype_max: Largest number of the 8-bit dtype.
        margin: Number of powers of two to stay below it.

    >>> float(compute_float8_scale(896.0, 1.0, 448.0)), float(compute_float8_scale(0.0, 3.0, 448.0))
    (2.0, 3.0)
    """
    amax, scale = jnp.asarray(amax), jnp.asarray(value_of(scale))
    usable = (amax > 0) & jnp.isfinite(amax)
    factor = jnp.where(usable, dtype_max / jnp.where(usable, amax, 1) / 2**margin, 1 / scale)
    return 1 / factor


def compute_float8_amax_history(x: Any, amax_history: Any) -> Any:
    """The history of largest magnitudes with that of ``x`` in front, and without the oldest.

    Args:
        x: The tensor of this step.
        amax_history: A vector, the latest step first, then from the oldest to the one before.

    >>> compute_float8_amax_history(jnp.array([-4.0, 1.0]), jnp.array([3.0, 1.0, 2.0])).tolist()
    [4.0, 2.0, 3.0]
    """
    history = jnp.asarray(value_of(amax_history))
    return jnp.roll(history, -1).at[0].set(jnp.max(jnp.abs(x)).astype(history.dtype))


def quantize_and_dequantize(
    inputs: Any, scale: Any, quantized_dtype: Any, compute_dtype: Any
) -> Any:
    """Round floats to those that an 8-bit dtype can hold: ``scale * cast(inputs / scale)``.

    Args:
        inputs: Any floats.
        scale: What to divide by.
        quantized_dtype: ``"float8_e4m3fn"`` or ``"float8_e5m2"``; larger magnitudes are clipped.
        compute_dtype: Dtype of the computation and of the result.

    >>> quantize_and_dequantize(jnp.array([0.3, 500.0]), 1.0, "float8_e4m3fn", "float32").tolist()
    [0.3125, 448.0]
    """
    most = float(jnp.finfo(quantized_dtype).max)
    scale = jnp.asarray(value_of(scale), compute_dtype)
    x = jnp.clip(jnp.asarray(value_of(inputs)) / scale, -most, most).astype(quantized_dtype)
    return x.astype(compute_dtype) * scale


# ---- products of 8-bit floats --------------------------------------------------------------------


@jax.custom_vjp
def round_to_float8(x: Any, scale: Any, history: Any) -> Any:
    """Floats rounded to 8 bits; the gradients of the scale and the history are their new values."""
    return quantize_and_dequantize(x, scale, "float8_e4m3fn", x.dtype)


def _round_forward(x: Any, scale: Any, history: Any) -> Any:
    most = float(jnp.finfo("float8_e4m3fn").max)
    new = (
        compute_float8_scale(jnp.max(history), scale, most),
        compute_float8_amax_history(x, history),
    )
    return round_to_float8(x, scale, history), new


def _round_backward(new: Any, g: Any) -> Any:
    return g, *new


round_to_float8.defvjp(_round_forward, _round_backward)


@jax.custom_vjp
def with_rounded_gradient(y: Any, scale: Any, history: Any) -> Any:
    """``y``, whose gradient is rounded to 8 bits."""
    return y


def _unrounded_forward(y: Any, scale: Any, history: Any) -> Any:
    return y, (scale, history)


def _unrounded_backward(kept: Any, g: Any) -> Any:
    scale, history = kept
    most = float(jnp.finfo("float8_e5m2").max)
    new_scale = compute_float8_scale(jnp.max(history), scale, most)
    smaller = quantize_and_dequantize(g, scale, "float8_e5m2", g.dtype)
    return smaller, new_scale, compute_float8_amax_history(g, history)


with_rounded_gradient.defvjp(_unrounded_forward, _unrounded_backward)
