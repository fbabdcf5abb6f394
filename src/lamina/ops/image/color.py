"""Conversions between RGB, HSV and grayscale."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, as_op
from lamina.core.spec import show_dims
from lamina.errors import DTypeError, ShapeError
from lamina.ops.image.layout import IMAGES, LAYOUT, as_float, batched
from lamina.transforms import colors

FILE_MODULE = "image"  # of Keras's files


def _color(
    name: str,
    fn: Any,
    file_class: str,
    line: str,
    example: str,
    *,
    floating: bool,
    grey: bool = False,
) -> Any:
    def apply(images: Tensor, data_format: str | None = None) -> jax.Array:
        x, restore = batched(name, images, data_format)
        if grey and x.shape[-1] == 1:
            return restore(x)
        if x.shape[-1] != 3:
            raise ShapeError(
                f"ops.image.{name} expects three channels{', or one' if grey else ''}.",
                expected="3 or 1" if grey else "3",
                received=show_dims(x.shape),
            )
        if floating and not jnp.issubdtype(x.dtype, jnp.floating):
            raise DTypeError(
                f"ops.image.{name} expects floating-point images with values from 0 to 1. "
                f"Received: {x.dtype}. Divide by 255 first."
            )
        return restore(fn(jnp, as_float(x)).astype(x.dtype))

    text = f"""{line}

    Args:
        {IMAGES}
        {LAYOUT}

    Returns:
        Images in the layout and the dtype of ``images``.
    """
    return as_op(apply, name, text, example, __name__, file_class=file_class)


rgb_to_grayscale = _color("rgb_to_grayscale", colors.grey, "RGBToGrayscale",
    "Brightness: ``0.2989 * red + 0.5870 * green + 0.1140 * blue``, as one channel; images of one "
    "channel are returned unchanged.", "[[[1.0, 0.5, 0.0]]] -> [[[0.5924...]]]", floating=False,
    grey=True)  # fmt: skip
rgb_to_hsv = _color("rgb_to_hsv", colors.rgb_to_hsv, "RGBToHSV",
    "Hue, saturation and value of colors between 0 and 1.",
    "[[[1.0, 0.0, 0.0]]] -> [[[0.0, 1.0, 1.0]]]", floating=True)  # fmt: skip
hsv_to_rgb = _color("hsv_to_rgb", colors.hsv_to_rgb, "HSVToRGB",
    "The inverse of :func:`rgb_to_hsv`.", "[[[0.0, 1.0, 0.5]]] -> [[[0.5, 0.0, 0.0]]]",
    floating=True)  # fmt: skip
