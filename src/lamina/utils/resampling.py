"""Resizing of images on the host, as the loaders of folders do it, without antialiasing.

It is for single images of different sizes; the transforms are for batches.
"""

from __future__ import annotations

import numpy as np

from lamina.errors import ArgumentError
from lamina.transforms.sizes import METHODS, neighbors, window_of_ratio


def _along(image: np.ndarray, target: int, axis: int, method: str) -> np.ndarray:
    """The image ``(height, width, channels)`` in a new size along one axis."""
    if image.shape[axis] == target and method not in ("gaussian", "mitchellcubic"):
        return image
    index, weights = neighbors(image.shape[axis], target, method)
    if len(index) == 1:
        return np.take(image, index[0], axis, mode="clip")
    shape = (target, *image.shape[1:]) if axis == 0 else (image.shape[0], target, image.shape[2])
    # As a table, so that NumPy's inner loops are over rows rather than over channels.
    shares = weights[:, :, None] if axis == 0 else np.repeat(weights, image.shape[2], 1)
    parts = (np.take(image, pixels, axis, mode="clip").reshape(shape[0], -1).astype(np.float32)
             for pixels in index)  # fmt: skip
    total = next(parts)
    if len(index) == 2:  # whose weights add up to 1
        difference = next(parts)
        difference -= total
        difference *= shares[1]
        total += difference
        return total.reshape(shape)
    total *= shares[0]
    for part, share in zip(parts, shares[1:], strict=True):
        part *= share
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
        top, left, kept_height, kept_width = window_of_ratio(height, width, *size)
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


__all__ = ["METHODS", "resize"]
