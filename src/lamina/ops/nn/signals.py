"""Complex numbers from polar coordinates, and the peak signal-to-noise ratio."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.ops.templates import floating, same_floating

FILE_MODULE = "nn"  # of Keras's files


@op(elementwise=True)
def polar(abs_: Tensor, angle: Tensor) -> jax.Array:
    """``abs_ * exp(1j * angle)``: complex numbers from polar coordinates.

    Args:
        abs_: Absolute values.
        angle: Angles in radians; both broadcast to one shape.

    >>> polar([2.0], [0.0])
    Array([2.+0.j], dtype=complex64)
    """
    length, angle = same_floating(abs_, angle)
    return jax.lax.complex(*jnp.broadcast_arrays(length * jnp.cos(angle), length * jnp.sin(angle)))


@op(file_class="PSNR")
def psnr(x1: Tensor, x2: Tensor, max_val: float) -> jax.Array:
    """The peak signal-to-noise ratio: ``20 * log10(max_val) - 10 * log10(mean((x1 - x2) ** 2))``.

    Args:
        x1: Tensor.
        x2: Tensor of the same shape.
        max_val: The largest value that the signal can have.

    >>> f"{psnr([0.0], [0.1], 1.0):.2f}"
    '20.00'
    """
    x1, x2 = same_floating(x1, x2)
    error = jnp.mean(jnp.square(x1 - x2))
    return 20 * jnp.log10(floating(max_val)).astype(x1.dtype) - 10 * jnp.log10(error)
