"""Images of another size: resized and cropped."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws

# The largest number of neighbors for which they are added up one by one, not by a matrix product.
_FEW = 4


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """The family of Mitchell and Netravali 1988, https://doi.org/10.1145/54852.378514."""
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
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
METHODS = (*_KERNELS, "nearest", "area")


@functools.lru_cache(512)
def neighbors(
    old: int, new: int, method: str, antialias: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that each new pixel along an axis depends on, and their weights.

    Centers of pixels correspond: new pixel ``i`` is at ``(i + 0.5) * old / new - 0.5``. Weights
    outside the image are left out and the others normalized.

    Args:
        old: Number of pixels.
        new: New number of pixels.
        method: One of ``METHODS``.
        antialias: Whether kernels are stretched when images shrink.

    Returns:
        Two arrays of shape ``(neighbors, new)``.

    >>> [x.tolist() for x in neighbors(4, 2, "bilinear")]
    [[[0, 2], [1, 3]], [[0.5, 0.5], [0.5, 0.5]]]
    """
    scale = old / new
    if method == "nearest":
        place = (np.arange(new, dtype="float32") + 0.5) * old / new
        index = np.floor(place).astype(np.intp)[None]
        weights = np.ones(index.shape)
    elif method == "area":
        start = np.arange(new) * scale
        index = np.floor(start).astype(np.intp) + np.arange(math.ceil(scale) + 1)[:, None]
        weights = np.maximum(np.minimum(index + 1, start + scale) - np.maximum(index, start), 0)
    else:
        radius, kernel = _KERNELS[method]
        stretch = max(scale, 1) if antialias else 1
        reach = radius * stretch
        centers = (np.arange(new) + 0.5) * scale - 0.5
        index = np.ceil(centers - reach).astype(np.intp) + np.arange(int(2 * reach) + 1)[:, None]
        weights = kernel(np.abs(centers - index) / stretch)
    weights = np.where((index >= 0) & (index < old), weights, 0)
    used = (weights != 0).any(axis=1)
    weights = weights[used] / weights.sum(axis=0)
    return np.clip(index[used], 0, old - 1), weights.astype("float32")


def _resized_along(xp: Any, x: Any, new: int, method: str, antialias: bool, axis: int) -> Any:
    old = x.shape[axis]
    if old == new:
        return x
    places, weights = neighbors(old, new, method, antialias)
    if len(places) == 1:
        return xp.take(x, places[0], axis=axis, mode="clip")
    shape = [1] * x.ndim
    shape[axis] = new
    if len(places) <= _FEW:
        parts = (xp.take(x, p, axis=axis, mode="clip") * w.reshape(shape).astype(x.dtype)
                 for p, w in zip(places, weights, strict=True))  # fmt: skip
        return sum(parts, next(parts))
    matrix = np.zeros((old, new), "float32")
    np.add.at(matrix, (places, np.arange(new)), weights)
    moved = xp.moveaxis(x, axis, -1) @ matrix.astype(x.dtype)
    return xp.moveaxis(moved, -1, axis)


def resize(xp: Any, x: Any, height: int, width: int, method: str, antialias: bool = False) -> Any:
    """Resize images ``(batch, height, width, channels)``: floats, but for ``nearest``."""
    # The axis that shrinks more comes first: there is less left to do.
    axes = sorted([(height / x.shape[1], 1, height), (width / x.shape[2], 2, width)])
    for _, axis, new in axes:
        x = _resized_along(xp, x, new, method, antialias, axis)
    return x


def cropped(x: Any, top: Any, left: Any, height: int, width: int) -> Any:
    """A window of images; its position may be computed."""
    if isinstance(x, np.ndarray):
        return x[:, int(top) : int(top) + height, int(left) : int(left) + width]
    import jax

    x = jax.lax.dynamic_slice_in_dim(x, top, height, 1)
    return jax.lax.dynamic_slice_in_dim(x, left, width, 2)


def window_of_ratio(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest centered window of the ratio of a size."""
    kept = (
        max(min(rows, int(columns * height / width)), 1),
        max(min(columns, int(rows * width / height)), 1),
    )
    return (rows - kept[0]) // 2, (columns - kept[1]) // 2, *kept


def cropped_to_ratio(x: Any, height: int, width: int) -> Any:
    """The largest centered window of images of the ratio of a size."""
    top, left, rows, columns = window_of_ratio(x.shape[1], x.shape[2], height, width)
    return x[:, top : top + rows, left : left + columns]


def padding_to_ratio(rows: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Rows above and below, and columns on both sides, that give about the ratio of a size."""
    more, wider = columns * height // width - rows, rows * width // height - columns
    return max(more, 0) // 2, max(wider, 0) // 2


def padded_to_ratio(xp: Any, x: Any, height: int, width: int, value: float) -> Any:
    """Images, padded to about the ratio of a size."""
    top, left = padding_to_ratio(x.shape[1], x.shape[2], height, width)
    return xp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=value)


def scaled(xp: Any, boxes: Any, left: Any, top: Any, x_scale: Any, y_scale: Any) -> Any:
    """Boxes in pixels relative to a window, scaled."""
    parts = [boxes[..., i] - (top if i % 2 else left) for i in range(4)]
    return xp.stack([p * (y_scale if i % 2 else x_scale) for i, p in enumerate(parts)], -1)


class Resize(Transform):
    """Resized images, perhaps cropped or padded to the aspect ratio before."""

    keeps_integers = True
    height: int
    width: int
    interpolation: str
    crop_to_aspect_ratio: bool
    pad_to_aspect_ratio: bool
    fill_mode: str
    fill_value: float
    antialias: bool

    def at_rest(self, shape: Shape) -> Params:
        return {}

    def new_size(self, height: Any, width: Any) -> tuple[int, int]:
        return self.height, self.width

    def _resized(self, xp: Any, x: Any, method: str) -> Any:
        if self.crop_to_aspect_ratio:
            x = cropped_to_ratio(x, self.height, self.width)
        elif self.pad_to_aspect_ratio:
            x = padded_to_ratio(xp, x, self.height, self.width, self.fill_value)
        return resize(xp, x, self.height, self.width, method, self.antialias)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return self._resized(xp, x, self.interpolation)

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._resized(xp, x, "nearest")

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        top, left, height, width = 0, 0, *size
        if self.crop_to_aspect_ratio:
            top, left, height, width = window_of_ratio(*size, self.height, self.width)
        elif self.pad_to_aspect_ratio:
            above, before = padding_to_ratio(*size, self.height, self.width)
            top, left, height, width = -above, -before, size[0] + 2 * above, size[1] + 2 * before
        moved = scaled(xp, boxes, left, top, self.width / width, self.height / height)
        empty = (boxes[..., 2:] <= boxes[..., :2]).any(-1)  # boxes that fill up a list
        return xp.where(empty[..., None], 0, moved)


class CenterCrop(Transform):
    """The centered window of a size; of smaller images, as much as possible, resized."""

    height: int
    width: int

    def at_rest(self, shape: Shape) -> Params | None:
        return {}

    def new_size(self, height: Any, width: Any) -> tuple[int, int]:
        return self.height, self.width

    def window(self, rows: int, columns: int, params: Params) -> tuple[Any, Any, int, int]:
        """Top, left, height and width of what is kept."""
        if rows >= self.height and columns >= self.width:
            top, left = (rows - self.height) // 2, (columns - self.width) // 2
            return params.get("top", top), params.get("left", left), self.height, self.width
        return window_of_ratio(rows, columns, self.height, self.width)

    def _kept(self, xp: Any, x: Any, params: Params, method: str) -> Any:
        x = cropped(x, *self.window(x.shape[1], x.shape[2], params))
        return resize(xp, x, self.height, self.width, method)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return self._kept(xp, x, params, "bilinear")

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._kept(xp, x, params, "nearest")

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        top, left, height, width = self.window(*size, params)
        return scaled(xp, boxes, left, top, self.width / width, self.height / height)


class RandomCrop(CenterCrop):
    """A window at a random position, the same for all images of a batch."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        rows, columns = shape[1:3]
        if rows < self.height or columns < self.width:
            return {}
        return {
            "top": draws.integers((), 0, rows - self.height + 1),
            "left": draws.integers((), 0, columns - self.width + 1),
        }


__all__ = [
    "INTERPOLATIONS", "METHODS", "CenterCrop", "RandomCrop", "Resize", "cropped_to_ratio",
    "neighbors", "padded_to_ratio", "resize", "window_of_ratio",
]  # fmt: skip
