"""Images convolved with small kernels: blurred and sharpened."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws

Pair = tuple[float, float]


def bell(xp: Any, size: int, sigma: Any, within: Any = None, dtype: Any = "float32") -> Any:
    """Gaussian weights around the center, with sum 1.

    Args:
        xp: The array module.
        size: Number of weights.
        sigma: Standard deviation.
        within: Number of nonzero weights, which equal those of a kernel of this size.
        dtype: Dtype of the weights.
    """
    positions = xp.arange(size, dtype=dtype) - (size - 1) / 2
    weights = xp.exp(-(positions**2) / (2 * sigma**2))
    if within is not None:
        weights = xp.where(abs(positions) <= (within - 1) / 2, weights, 0)
    return weights / weights.sum()


def along(xp: Any, x: Any, weights: Any, axis: int) -> Any:
    """The sum of shifted and weighted images, with zeros around them."""
    size = weights.shape[0]
    before = (size - 1) // 2
    sides = [(0, 0)] * x.ndim
    sides[axis] = before, size - 1 - before
    padded, index = xp.pad(x, sides), [slice(None)] * x.ndim
    total: Any = 0
    for i in range(size):
        index[axis] = slice(i, i + x.shape[axis])
        total = total + padded[tuple(index)] * weights[i]
    return total


def blur(xp: Any, x: Any, size: tuple[int, int], sigma: Any, within: Any = (None, None)) -> Any:
    """Gaussian blur of images ``(batch, height, width, channels)``, with zeros around them."""
    for axis in (1, 2):
        i = axis - 1
        x = along(xp, x, bell(xp, size[i], sigma[i], within[i]).astype(x.dtype), axis)
    return x


class GaussianBlur(Transform):
    """Gaussian blur of some images; the standard deviations are those of the whole batch."""

    factor: Pair
    kernel_size: tuple[int, int]
    sigma: Pair
    value_range: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {
            "should_apply_blur": draws.happens(shape[:1], self.factor),
            "blur_factor": draws.uniform((2,), *self.sigma) + np.float32(1e-6),
        }

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        # The first number of each pair belongs to the width, as in Keras.
        width, height = self.kernel_size
        blurred = blur(xp, x, (height, width), params["blur_factor"][::-1])
        chosen = params["should_apply_blur"][:, None, None, None]
        return xp.clip(xp.where(chosen, blurred, x), *self.value_range)


class Sharpness(Transform):
    """Interpolation between a smoothed image (factor 0), the image (0.5) and beyond."""

    factor: Pair
    value_range: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {"factor": draws.uniform(shape[:1], *self.factor)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        ones = np.ones(3, "float32")
        smooth = (along(xp, along(xp, x, ones, 1), ones, 2) + 4 * x) / 13
        factor = 2 * params["factor"].reshape(-1, 1, 1, 1)
        return xp.clip(x + (1 - factor) * (smooth - x), *self.value_range)
