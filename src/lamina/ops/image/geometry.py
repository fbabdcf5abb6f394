"""Geometric transformations of images: resizing, affine, projective and elastic transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.image
import jax.numpy as jnp
import jax.scipy  # which imports its parts on first use

from lamina.core import prng
from lamina.core.declaration import Tensor, op
from lamina.core.scope import random_key
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.image.filters import gaussian_blur
from lamina.ops.image.layout import as_float, batched, computed, one_of
from lamina.ops.templates import as_array, floating
from lamina.transforms import sizes, warps

FILE_MODULE = "image"  # of Keras's files

_RESIZE = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
_ORDERS = {"nearest": 0, "bilinear": 1}
_FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")


@op
def resize(
    images: Tensor,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> jax.Array:
    """Resize images.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        size: New height and width.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"lanczos3"``,
            ``"lanczos5"``.
        antialias: Whether to apply an antialiasing filter when downsampling.
        crop_to_aspect_ratio: Whether to preserve the aspect ratio by cropping the longer side.
        pad_to_aspect_ratio: Whether to preserve the aspect ratio by padding the shorter side.
        fill_mode: Only ``"constant"``: the padding has a single value.
        fill_value: Value of the padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        Images in the layout and the dtype of ``images``.

    >>> resize(jnp.ones((4, 6, 3)), (2, 3)).shape
    (2, 3, 3)
    """
    x, restore = batched("resize", images, data_format)
    one_of("resize", "interpolation", interpolation, _RESIZE)
    one_of("resize", "fill_mode", fill_mode, ("constant",))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ArgumentError(
            "resize(): crop_to_aspect_ratio and pad_to_aspect_ratio cannot be combined. "
            "Received: True for both."
        )
    height, width = map(int, size)
    if crop_to_aspect_ratio:
        x = sizes.cropped_to_ratio(x, height, width)
    elif pad_to_aspect_ratio:
        x = sizes.padded_to_ratio(jnp, x, height, width, fill_value)
    shape = (x.shape[0], height, width, x.shape[-1])
    if interpolation == "nearest":
        return restore(jax.image.resize(x, shape, "nearest"))
    method = {"bicubic": "cubic"}.get(interpolation, interpolation)
    return restore(computed(lambda x: jax.image.resize(x, shape, method, antialias=antialias), x))


@op(in_call=("output_shape",))
def scale_and_translate(
    images: Tensor,
    output_shape: Sequence[int],
    scale: Tensor,
    translation: Tensor,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> jax.Array:
    """Scale and translate images: positions become ``position * scale + translation``.

    Args:
        images: Tensor.
        output_shape: Shape of the result.
        scale: Factor for each of ``spatial_dims``.
        translation: Translation along each of ``spatial_dims``, in pixels of the result.
        spatial_dims: The spatial axes.
        method: ``"linear"``, ``"bilinear"``, ``"trilinear"``, ``"cubic"``, ``"bicubic"``,
            ``"tricubic"``, ``"lanczos3"`` or ``"lanczos5"``.
        antialias: Whether to apply an antialiasing filter when downsampling.

    >>> scale_and_translate(jnp.ones((2, 2)), (4, 4), [2.0, 2.0], [0.0, 0.0], (0, 1), "linear")[
    ...     0, 0
    ... ]
    Array(1., dtype=float32)
    """
    x = as_array(images)
    return computed(
        lambda x: jax.image.scale_and_translate(
            x, tuple(output_shape), tuple(spatial_dims), floating(scale), floating(translation),
            method, antialias,
        ),
        x,
    )  # fmt: skip


@op
def map_coordinates(
    inputs: Tensor,
    coordinates: Tensor,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> jax.Array:
    """Interpolate a tensor at fractional coordinates.

    Args:
        inputs: Tensor.
        coordinates: Coordinates along each axis of ``inputs``, stacked along axis 0.
        order: 0 for the nearest entry, 1 for linear interpolation.
        fill_mode: Values out of bounds: ``"constant"``, ``"nearest"`` (the edge), ``"wrap"`` (the
            opposite side), ``"mirror"`` (about the center of the edge entry) or ``"reflect"``
            (about its border).
        fill_value: Value out of bounds for ``"constant"``.

    Returns:
        Tensor of the shape of ``coordinates`` without axis 0.

    >>> map_coordinates([0.0, 10.0], [[0.25]], order=1)
    Array([2.5], dtype=float32)
    """
    one_of("map_coordinates", "fill_mode", fill_mode, _FILLS)
    if order not in (0, 1):
        raise ArgumentError(f"map_coordinates(): `order` must be 0 or 1. Received: {order!r}.")
    x = as_array(inputs)
    places: Any = (
        jnp.stack([as_array(c) for c in coordinates])
        if isinstance(coordinates, (list, tuple)) else as_array(coordinates)
    )  # fmt: skip
    if places.shape[0] != x.ndim:
        raise ShapeError(
            "ops.image.map_coordinates expects a coordinate for each axis of its inputs.",
            expected=f"coordinates ({x.ndim}, ...)",
            received=show_dims(places.shape),
        )
    return _at(x, places, order, fill_mode, fill_value)


def _at(x: jax.Array, places: jax.Array, order: int, fill_mode: str, fill_value: Any) -> jax.Array:
    def sample(x: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(
            x, list(as_float(places)), order=order, mode=fill_mode, cval=fill_value
        )

    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return computed(sample, x) if is_float else sample(x)  # rounds to integers


def _sampled(
    x: jax.Array, rows: jax.Array, columns: jax.Array, interpolation: str, fill_mode: str,
    fill_value: Any,
) -> jax.Array:  # fmt: skip
    """Images ``(batch, height, width, channels)`` at positions ``(batch, height, width)``."""
    return computed(
        lambda x: warps.sample(jnp, x, rows, columns, interpolation, fill_mode, fill_value), x
    )


def _projected(x: jax.Array, transforms: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The row and the column of the source of each pixel of the result."""
    t = jnp.broadcast_to(transforms, (x.shape[0], 8))
    return warps.sources(jnp, t, x.shape[1], x.shape[2])


def _check_sampling(name: str, interpolation: str, fill_mode: str = "constant") -> None:
    one_of(name, "interpolation", interpolation, tuple(_ORDERS))
    one_of(name, "fill_mode", fill_mode, _FILLS)


@op
def affine_transform(
    images: Tensor,
    transform: Tensor,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """Translate, rotate, scale, shear or project images.

    The pixel at column ``x`` and row ``y`` of the result is the pixel of the images at
    ``((a0 * x + a1 * y + a2) / k, (b0 * x + b1 * y + b2) / k)`` with ``k = c0 * x + c1 * y + 1``.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        transform: ``[a0, a1, a2, b0, b1, b2, c0, c1]``, or ``(batch, 8)``.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: Values out of bounds: ``"constant"``, ``"nearest"``, ``"wrap"``, ``"mirror"`` or
            ``"reflect"``; see :func:`map_coordinates`.
        fill_value: Value out of bounds for ``"constant"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> affine_transform(jnp.arange(3.0).reshape(1, 3, 1), [1, 0, 1, 0, 1, 0, 0, 0])[0, :, 0]
    Array([1., 2., 0.], dtype=float32)
    """
    x, restore = batched("affine_transform", images, data_format)
    _check_sampling("affine_transform", interpolation, fill_mode)
    matrices = floating(transform)
    if matrices.shape[-1:] != (8,) or matrices.ndim > 2:
        raise ShapeError(
            "ops.image.affine_transform expects eight numbers for each image.",
            expected="(8,) or (batch, 8)",
            received=show_dims(matrices.shape),
        )
    rows, columns = _projected(x, matrices)
    return restore(_sampled(x, rows, columns, interpolation, fill_mode, fill_value))


@op
def perspective_transform(
    images: Tensor,
    start_points: Tensor,
    end_points: Tensor,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """Project images such that four points move to four others.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        start_points: Four points ``[column, row]`` of the images: ``(4, 2)`` or
            ``(batch, 4, 2)``.
        end_points: Their positions in the result.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_value: Value out of bounds.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> corners = [[0, 0], [2, 0], [0, 2], [2, 2]]
    >>> perspective_transform(jnp.ones((3, 3, 1)), corners, corners)[1, 1]
    Array([1.], dtype=float32)
    """
    x, restore = batched("perspective_transform", images, data_format)
    _check_sampling("perspective_transform", interpolation)
    start, end = floating(start_points), floating(end_points)
    if start.shape[-2:] != (4, 2) or end.shape[-2:] != (4, 2):
        raise ShapeError(
            "ops.image.perspective_transform expects four points.",
            expected="(..., 4, 2)",
            received=f"{show_dims(start.shape)}, {show_dims(end.shape)}",
        )
    rows, columns = _projected(x, warps.homography(jnp, end, start))
    return restore(_sampled(x, rows, columns, interpolation, "constant", fill_value))


@op
def elastic_transform(
    images: Tensor,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Elastic distortion: a smooth random displacement of the pixels.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        alpha: Magnitude of the displacements.
        sigma: Smoothness: the standard deviation, in pixels, of the Gaussian blur of the
            displacements.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: Values out of bounds; see :func:`map_coordinates`.
        fill_value: Value out of bounds for ``"constant"``.
        seed: An integer for the same displacements at each call; None for new ones.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801

    >>> x = jnp.ones((8, 8, 1))
    >>> bool(jnp.allclose(elastic_transform(x, seed=1), x))
    True
    """
    x, restore = batched("elastic_transform", images, data_format)
    _check_sampling("elastic_transform", interpolation, fill_mode)
    key = random_key(name="elastic_transform") if seed is None else prng.base_key(seed)
    noise = jax.random.normal(key, (*x.shape[:3], 2))
    size = int(6 * sigma) | 1
    moves = alpha * gaussian_blur(noise, (size, size), (sigma, sigma), "channels_last")
    rows, columns = jnp.meshgrid(
        jnp.arange(x.shape[1], dtype="float32"), jnp.arange(x.shape[2], dtype="float32"),
        indexing="ij",
    )  # fmt: skip
    return restore(
        _sampled(x, rows + moves[..., 0], columns + moves[..., 1], interpolation, fill_mode,
                 fill_value)
    )  # fmt: skip
