"""Resizing of images on the host, as the loaders of folders do it, without antialiasing.

Every method is a weighted mean of a few pixels along each axis, with pixel centers at half
integers. Weights outside the image are left out and the others normalized, as in TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from lamina.errors import ArgumentError


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """The family of Mitchell and Netravali (1988): Keys's kernel is (0, 0.5)."""
    near = (12 - 9 * b - 6 * c, -18 + 12 * b + 6 * c, 0, 6 - 2 * b)
    far = (-b - 6 * c, 6 * b + 30 * c, -12 * b - 48 * c, 8 * b + 24 * c)

    def kernel(x: np.ndarray) -> np.ndarray:
        inside = np.where(x < 1, np.polyval(near, x), np.polyval(far, x)) / 6
        return np.where(x < 2, inside, 0)

    return kernel


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


# The radius in pixels, and the weight at a distance.
_KERNELS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "bilinear": (1, lambda x: np.maximum(0, 1 - x)),
    "bicubic": (2, _cubic(0, 0.5)),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
    "gaussian": (1.5, lambda x: np.where(x < 1.5, np.exp(-2 * x * x), 0)),
    "mitchellcubic": (2, _cubic(1 / 3, 1 / 3)),
}
METHODS = (*_KERNELS, "nearest", "area")


@functools.lru_cache(maxsize=512)
def _taps(size: int, target: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that each new pixel depends on, and their weights: ``(target, taps)`` each."""
    scale = size / target
    if method == "nearest":
        index = np.floor((np.arange(target) + 0.5) * scale).astype(np.intp)[:, None]
        weights = np.ones(index.shape)
    elif method == "area":
        start = np.arange(target)[:, None] * scale
        index = np.floor(start).astype(np.intp) + np.arange(int(np.ceil(scale)) + 1)
        covered = np.minimum(index + 1, start + scale) - np.maximum(index, start)
        weights = np.maximum(covered, 0)
    else:
        radius, kernel = _KERNELS[method]
        centers = (np.arange(target)[:, None] + 0.5) * scale - 0.5
        index = np.ceil(centers - radius).astype(np.intp) + np.arange(int(2 * radius) + 1)
        weights = kernel(np.abs(centers - index))
    weights = np.where((index >= 0) & (index < size), weights, 0)
    used = (weights != 0).any(axis=0)
    weights = weights[:, used] / weights.sum(axis=1, keepdims=True)
    return np.clip(index[:, used], 0, size - 1), weights.astype(np.float32)


def _along(image: np.ndarray, target: int, axis: int, method: str) -> np.ndarray:
    """The image ``(height, width, channels)`` in a new size along one axis."""
    if image.shape[axis] == target and method not in ("gaussian", "mitchellcubic"):
        return image
    index, weights = _taps(image.shape[axis], target, method)
    if index.shape[1] == 1:
        return np.take(image, index[:, 0], axis, mode="clip")
    shape = (target, *image.shape[1:]) if axis == 0 else (image.shape[0], target, image.shape[2])
    # As a table, so that NumPy's inner loops are over rows rather than over channels.
    shares = weights[:, :, None] if axis == 0 else np.repeat(weights, image.shape[2], 0)
    total = np.zeros((shape[0], shape[1] * shape[2]), np.float32)
    for tap, pixels in enumerate(index.T):
        part = np.take(image, pixels, axis, mode="clip").reshape(total.shape).astype(np.float32)
        part *= shares[:, tap]
        total += part
    return total.reshape(shape)


def resize(
    image: np.ndarray, size: tuple[int, int], method: str, crop: bool = False, pad: bool = False
) -> np.ndarray:
    """An image in another size, as float32.

    Args:
        image: Array of shape ``(height, width, channels)``.
        size: ``(height, width)``.
        method: One of ``METHODS``.
        crop: Whether to cut off what is beyond the target's aspect ratio first, evenly.
        pad: Whether to scale the whole image into the target, and surround it with zeros.

    Raises:
        ArgumentError: An unknown method, or both ``crop`` and ``pad``.
    """
    if method not in METHODS or (crop and pad):
        raise ArgumentError(
            f"`interpolation` is one of {METHODS}, and only one of `crop_to_aspect_ratio` and "
            f"`pad_to_aspect_ratio` is True. Received: {method!r}, {crop} and {pad}."
        )
    height, width = image.shape[:2]
    inner, exact = size, size
    if crop:
        top, left, kept_height, kept_width = centered_crop(height, width, size)
        image = image[top : top + kept_height, left : left + kept_width]
    elif pad:
        ratio = max(width / size[1], height / size[0])
        exact = height / ratio, width / ratio
        inner = max(1, int(exact[0])), max(1, int(exact[1]))
    rows_first = inner[0] * image.shape[1] < image.shape[0] * inner[1]
    for axis in (0, 1) if rows_first else (1, 0):
        image = _along(image, inner[axis], axis, method)
    image = image.astype(np.float32, copy=False)
    if inner == size:
        return image
    result = np.zeros((*size, image.shape[2]), np.float32)
    top, left = (int(max(0.0, (n - x) / 2)) for n, x in zip(size, exact, strict=True))
    result[top : top + inner[0], left : left + inner[1]] = image
    return result


def centered_crop(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest part with the aspect ratio of ``size``."""
    kept_height = max(min(height, int(width * size[0] / size[1])), 1)
    kept_width = max(min(width, int(height * size[1] / size[0])), 1)
    return int((height - kept_height) / 2), int((width - kept_width) / 2), kept_height, kept_width


__all__ = ["METHODS", "centered_crop", "resize"]
