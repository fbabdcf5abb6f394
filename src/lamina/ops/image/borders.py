"""Cropping and padding of images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError
from lamina.ops.image.layout import batched

FILE_MODULE = "image"  # of Keras's files


def _amounts(
    name: str, axis: str, size: Any, before: Any, after: Any, target: Any, sign: int
) -> tuple[Any, Any]:
    """The amounts before and after, from two of three numbers; ``sign`` is 1 for padding."""
    names = {"height": ("top", "bottom"), "width": ("left", "right")}[axis]
    word = "padding" if sign > 0 else "cropping"
    given = {f"{names[0]}_{word}": before, f"{names[1]}_{word}": after, f"target_{axis}": target}
    if sum(value is not None for value in given.values()) != 2:
        raise ArgumentError(f"{name}() expects two of {list(given)}. Received: {given}.")
    if target is not None:
        change = sign * (target - size)
        before = change - after if before is None else before
        after = change - before
    if any(isinstance(n, int) and n < 0 for n in (before, after)):
        raise ArgumentError(
            f"{name}(): no {word} is negative. Received: {given} for a {axis} of {size}."
        )
    return before, after


@op
def crop_images(
    images: Tensor,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Crop images.

    Give two of the top cropping, the bottom cropping and the target height; likewise for left,
    right and width.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        top_cropping: Number of rows to remove at the top.
        left_cropping: Number of columns to remove at the left.
        bottom_cropping: Number of rows to remove at the bottom.
        right_cropping: Number of columns to remove at the right.
        target_height: Height of the result.
        target_width: Width of the result.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> crop_images(jnp.ones((4, 5, 3)), 1, 0, target_height=2, target_width=2).shape
    (2, 2, 3)
    """
    x, restore = batched("crop_images", images, data_format)
    height, width = x.shape[1:3]
    top, bottom = _amounts(
        "crop_images", "height", height, top_cropping, bottom_cropping, target_height, -1
    )
    left, right = _amounts(
        "crop_images", "width", width, left_cropping, right_cropping, target_width, -1
    )
    sizes = height - top - bottom, width - left - right
    if any(isinstance(n, int) and n <= 0 for n in sizes):
        raise ArgumentError(
            f"crop_images() would leave images of {show_dims(sizes)}. Received: "
            f"{show_dims(x.shape[1:3])}."
        )
    for axis, (start, size, target) in enumerate(
        [(top, sizes[0], target_height), (left, sizes[1], target_width)], 1
    ):
        if target is None:
            x = jax.lax.slice_in_dim(x, start, start + size, axis=axis)
        else:  # of this size for images of any size
            x = jax.lax.dynamic_slice_in_dim(x, start, target, axis)
    return restore(x)


@op
def pad_images(
    images: Tensor,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Pad images with zeros.

    Give two of the top padding, the bottom padding and the target height; likewise for left, right
    and width.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        top_padding: Number of rows to add at the top.
        left_padding: Number of columns to add at the left.
        bottom_padding: Number of rows to add at the bottom.
        right_padding: Number of columns to add at the right.
        target_height: Height of the result.
        target_width: Width of the result.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> pad_images(jnp.ones((4, 5, 3)), 1, 0, target_height=6, target_width=5).shape
    (6, 5, 3)
    """
    x, restore = batched("pad_images", images, data_format)
    height, width = x.shape[1:3]
    rows = _amounts("pad_images", "height", height, top_padding, bottom_padding, target_height, 1)
    columns = _amounts("pad_images", "width", width, left_padding, right_padding, target_width, 1)
    x = _padded(_padded(x, 1, rows, target_height), 2, columns, target_width)
    return restore(x)


def _padded(x: jax.Array, axis: int, amounts: tuple[Any, Any], target: int | None) -> jax.Array:
    """Pad an axis with zeros; of unknown size, to the target size."""
    if target is None or all(isinstance(n, int) for n in amounts):
        widths = [(0, 0)] * x.ndim
        widths[axis] = amounts
        return jnp.pad(x, widths)
    # The shape only: the amounts are known when there are images.
    shape = (*x.shape[:axis], target, *x.shape[axis + 1 :])
    return jnp.zeros(shape, x.dtype)
