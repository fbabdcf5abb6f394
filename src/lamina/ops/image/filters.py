"""Window ops on images: blur, edges, similarity, patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.image.layout import as_float, batched, computed, one_of
from lamina.ops.lowering.conv import depthwise_conv
from lamina.ops.lowering.windows import pad as padded
from lamina.ops.lowering.windows import reach, same_padding, taps
from lamina.transforms.filters import bell

FILE_MODULE = "image"  # of Keras's files


def _numbers(name: str, what: str, value: Any, rank: int = 2) -> tuple[Any, ...]:
    found = (value,) * rank if isinstance(value, (int, float)) else tuple(value)
    if len(found) != rank or not all(n > 0 for n in found):
        raise ArgumentError(
            f"{name}(): `{what}` must be a positive number or {rank} of them. Received: {value!r}."
        )
    return found


def _filtered(x: jax.Array, kernels: list[jax.Array], padding: str) -> jax.Array:
    """Convolve each channel with each kernel."""
    stacked = jnp.stack(kernels, -1)[:, :, None, :]
    shape = (*stacked.shape[:2], x.shape[-1], len(kernels))
    kernel = jnp.broadcast_to(stacked, shape).astype(x.dtype)
    return depthwise_conv(x, kernel, (1, 1), padding, (1, 1))


@op
def gaussian_blur(
    images: Tensor,
    kernel_size: int | Sequence[int] = (3, 3),
    sigma: float | Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> jax.Array:
    """Gaussian blur; the image is padded with zeros.

    As documented in Keras, whose backends take the first number of each pair for the width.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        kernel_size: Height and width of the window.
        sigma: Standard deviations along height and width, in pixels.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> gaussian_blur(jnp.ones((3, 3, 1)), sigma=9.0)[1, 1]
    Array([1.], dtype=float32)
    """
    x, restore = batched("gaussian_blur", images, data_format)
    sizes = _numbers("gaussian_blur", "kernel_size", kernel_size)
    sigmas = _numbers("gaussian_blur", "sigma", sigma)

    def blurred(x: jax.Array) -> jax.Array:
        rows, columns = (bell(jnp, n, s, dtype=x.dtype) for n, s in zip(sizes, sigmas, strict=True))
        return _filtered(x, [jnp.outer(rows, columns)], "same")

    return restore(computed(blurred, x))


@op
def sobel_edges(images: Tensor, data_format: str | None = None) -> jax.Array:
    """Vertical and horizontal image gradients by the 3x3 Sobel filters, with zero padding.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        Tensor with an additional last axis of size 2: the gradients along height and width.

    >>> sobel_edges(jnp.arange(3.0)[None, :, None] * jnp.ones((3, 1, 1)))[1, 1, 0]
    Array([0., 8.], dtype=float32)
    """
    x, restore = batched("sobel_edges", images, data_format)
    x = as_float(x) if not jnp.issubdtype(x.dtype, jnp.inexact) else x
    down = jnp.asarray([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], x.dtype)
    both = _filtered(x, [down, down.T], "same")
    both = jnp.reshape(both, (*both.shape[:-1], x.shape[-1], 2))
    return jnp.stack([restore(both[..., 0]), restore(both[..., 1])], -1)


@op(file_class="SSIM")
def ssim(
    image1: Tensor,
    image2: Tensor,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> jax.Array:
    """The structural similarity (SSIM) of images, which is 1 for equal images.

    The mean, over windows and channels, of
    ``(2 * m1 * m2 + c1) * (2 * s12 + c2) / ((m1**2 + m2**2 + c1) * (s1 + s2 + c2))`` with the
    windows' means ``m``, variances ``s1, s2``, covariance ``s12``, and ``c = (k * max_val) ** 2``.

    Args:
        image1: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height.
        image2: Images of the same shape.
        max_val: The largest value that a pixel can have.
        filter_size: Height and width of a window.
        filter_sigma: Standard deviation of its weights, in pixels.
        k1: Stabilizes the term of the means.
        k2: Stabilizes the term of the variances.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        A number for each image.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861

    >>> x = jnp.linspace(0, 1, 144).reshape(12, 12, 1)
    >>> f"{ssim(x, x):.3f}"
    '1.000'
    """
    (a, restore), (b, _) = (batched("ssim", x, data_format) for x in (image1, image2))
    single = restore(a).ndim == 3
    dtype = jnp.promote_types(jnp.result_type(a, b), "float32")
    a, b = a.astype(dtype), b.astype(dtype)
    weights = bell(jnp, filter_size, filter_sigma, dtype=dtype)

    def mean(x: jax.Array) -> jax.Array:
        return _filtered(x, [jnp.outer(weights, weights)], "valid")

    m1, m2 = mean(a), mean(b)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    luminance = (2 * m1 * m2 + c1) / (m1**2 + m2**2 + c1)
    variances = mean(a**2 + b**2) - m1**2 - m2**2
    structure = (2 * (mean(a * b) - m1 * m2) + c2) / (variances + c2)
    found = jnp.mean(luminance * structure, (1, 2, 3))
    return found[0] if single else found


# ---- patches -------------------------------------------------------------------------------------


def _patches(
    name: str, images: Tensor, size: Any, strides: Any, dilation_rate: Any, padding: str,
    data_format: str | None, rank: int,
) -> jax.Array:  # fmt: skip
    x, restore = batched(name, images, data_format, rank)
    window = _numbers(name, "size", size, rank)
    steps = window if strides is None else _numbers(name, "strides", strides, rank)
    dilation = _numbers(name, "dilation_rate", dilation_rate, rank)
    padding = str(padding).lower()
    one_of(name, "padding", padding, ("valid", "same"))
    extent = reach(window, dilation)
    if padding == "same":
        x = padded(x, same_padding(x.shape[1:-1], extent, steps))
    if any(isinstance(n, int) and n < k for n, k in zip(x.shape[1:-1], extent, strict=True)):
        raise ShapeError(
            f"ops.image.{name}: a patch of {extent} does not fit.", received=show_dims(x.shape)
        )
    return restore(jnp.concatenate(taps(x, window, steps, dilation), -1))


@op
def extract_patches(
    images: Tensor,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """Patches of images, each flattened into the channels.

    Args:
        images: ``(height, width, channels)`` or ``(batch, height, width, channels)``; or with the
            channels before the height. Volumes if ``size`` has three numbers, with the depth before
            the height.
        size: Height and width of a patch.
        strides: Distance between adjacent patches; ``size`` when None.
        dilation_rate: Dilation: step between the pixels of a patch.
        padding: ``"valid"`` for patches inside the image; ``"same"`` for one patch per pixel (or
            per stride), with zero padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        ``(..., rows, columns, height * width * channels)``, in the layout of the images.

    >>> extract_patches(jnp.ones((4, 4, 3)), 2).shape
    (2, 2, 12)
    """
    rank = 2 if isinstance(size, int) else len(size)
    if rank not in (2, 3):
        raise ArgumentError(
            f"extract_patches(): `size` expects 1 to 3 integers. Received: {size!r}."
        )
    return _patches(
        "extract_patches", images, size, strides, dilation_rate, padding, data_format, rank
    )


def extract_patches_3d(
    volumes: Tensor,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Patches of volumes, each flattened into the channels; see :func:`extract_patches`.

    Args:
        volumes: ``(depth, height, width, channels)``, optionally with a leading batch axis; or with
            the channels before the depth.
        size: Depth, height and width of a patch.
        strides: Distance between adjacent patches; ``size`` when None.
        dilation_rate: Dilation: step between the voxels of a patch.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    >>> extract_patches_3d(jnp.ones((4, 4, 4, 3)), 2).shape
    (2, 2, 2, 24)
    """
    window = (size,) * 3 if isinstance(size, int) else tuple(size)
    return extract_patches(volumes, window, strides, dilation_rate, padding, data_format)
