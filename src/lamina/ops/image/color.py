"""Conversions between RGB, HSV and grayscale."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, as_op
from lamina.core.spec import show_dims
from lamina.errors import DTypeError, ShapeError
from lamina.ops.image.layout import IMAGES, LAYOUT, as_float, batched

FILE_MODULE = "image"  # of Keras's files


def _grey(x: jax.Array) -> jax.Array:
    # The luma of ITU-R BT.601.
    return jnp.sum(x * jnp.asarray([0.2989, 0.5870, 0.1140], x.dtype), -1, keepdims=True)


def _hsv(x: jax.Array) -> jax.Array:
    red, green, blue = (x[..., i] for i in range(3))
    value = jnp.max(x, -1)
    spread = value - jnp.min(x, -1)
    saturation = jnp.where(value > 0, spread / jnp.where(value > 0, value, 1), 0)
    by = jnp.where(spread > 0, spread, 1)
    hue = jnp.where(
        value == red, (green - blue) / by,
        jnp.where(value == green, (blue - red) / by + 2, (red - green) / by + 4),
    )  # fmt: skip
    return jnp.stack([jnp.where(spread > 0, hue / 6 % 1, 0), saturation, value], -1)


def _rgb(x: jax.Array) -> jax.Array:
    hue, saturation, value = (x[..., i] for i in range(3))
    sixths = hue * 6
    red = jnp.clip(jnp.abs(sixths - 3) - 1, 0, 1)
    green = jnp.clip(2 - jnp.abs(sixths - 2), 0, 1)
    blue = jnp.clip(2 - jnp.abs(sixths - 4), 0, 1)
    pure = jnp.stack([red, green, blue], -1)
    return ((pure - 1) * saturation[..., None] + 1) * value[..., None]


def _color(name: str, fn: Any, file_class: str, line: str, *, floating: bool) -> Any:
    def apply(images: Tensor, data_format: str | None = None) -> jax.Array:
        x, restore = batched(name, images, data_format)
        if x.shape[-1] != 3:
            raise ShapeError(
                f"ops.image.{name} expects three channels.",
                expected="3",
                received=show_dims(x.shape),
            )
        if floating and not jnp.issubdtype(x.dtype, jnp.floating):
            raise DTypeError(
                f"ops.image.{name} expects floating-point images with values from 0 to 1. "
                f"Received: {x.dtype}. Divide by 255 first."
            )
        return restore(fn(as_float(x)).astype(x.dtype))

    text = f"""{line}

    Args:
        {IMAGES}
        {LAYOUT}

    Returns:
        Images in the layout and the dtype of ``images``.
    """
    return as_op(apply, name, text, __name__, file_class=file_class)


rgb_to_grayscale = _color(
    "rgb_to_grayscale", _grey, "RGBToGrayscale",
    "Brightness: ``0.2989 * red + 0.5870 * green + 0.1140 * blue``, as one channel.",
    floating=False,
)  # fmt: skip
rgb_to_hsv = _color(
    "rgb_to_hsv", _hsv, "RGBToHSV", "Hue, saturation and value of colors between 0 and 1.",
    floating=True,
)  # fmt: skip
hsv_to_rgb = _color(
    "hsv_to_rgb", _rgb, "HSVToRGB", "The inverse of :func:`rgb_to_hsv`.", floating=True
)
