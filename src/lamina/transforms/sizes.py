"""Images of another size: resized and cropped."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws

# The largest number of neighbors for which they are added up one by one, not by a matrix product.
_FEW = 4


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys's cubic kernel with a = -0.5. Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711."""
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _lanczos(radius: int, x: np.ndarray) -> np.ndarray:
    return np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


# The kernel and its radius.
_KERNELS: dict[str, tuple[Any, float]] = {
    "bilinear": (lambda x: np.maximum(0, 1 - x), 1),
    "bicubic": (_cubic, 2),
    "lanczos3": (functools.partial(_lanczos, 3), 3),
    "lanczos5": (functools.partial(_lanczos, 5), 5),
}
INTERPOLATIONS = ("nearest", *_KERNELS)


@functools.lru_cache(256)
def _neighbors(old: int, new: int, method: str, antialias: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each entry of the result: the numbers of its neighbors, and their weights, ``(k, new)``.

    Centers of pixels correspond: entry ``i`` is at ``(i + 0.5) * old / new - 0.5``.
    """
    kernel, radius = _KERNELS[method]
    stretch = max(old / new, 1) if antialias else 1
    centers = (np.arange(new) + 0.5) * old / new - 0.5
    reach = radius * stretch
    first = np.floor(centers - reach).astype(int) + 1
    places = first + np.arange(math.ceil(2 * reach))[:, None]
    weights = kernel(abs(places - centers) / stretch)
    weights = np.where((places >= 0) & (places < old), weights, 0)
    total = weights.sum(0)
    weights = weights / np.where(abs(total) > 1e-6, total, 1)
    return np.clip(places, 0, old - 1), weights.astype("float32")


def _resized_along(xp: Any, x: Any, new: int, method: str, antialias: bool, axis: int) -> Any:
    old = x.shape[axis]
    if old == new:
        return x
    places, weights = _neighbors(old, new, method, antialias)
    shape = [1] * x.ndim
    shape[axis] = new
    if len(places) <= _FEW:
        parts = (xp.take(x, p, axis=axis) * w.reshape(shape).astype(x.dtype)
                 for p, w in zip(places, weights, strict=True))  # fmt: skip
        return sum(parts, next(parts))
    matrix = np.zeros((old, new), "float32")
    np.add.at(matrix, (places, np.arange(new)), weights)
    moved = xp.moveaxis(x, axis, -1) @ matrix.astype(x.dtype)
    return xp.moveaxis(moved, -1, axis)


def resize(xp: Any, x: Any, height: int, width: int, method: str, antialias: bool = False) -> Any:
    """Resize images ``(batch, height, width, channels)``; all but ``nearest`` need floats."""
    if method == "nearest":
        for axis, new in ((1, height), (2, width)):
            old = x.shape[axis]
            if old != new:
                places = np.floor((np.arange(new, dtype="float32") + 0.5) * old / new).astype(int)
                x = xp.take(x, np.minimum(places, old - 1), axis=axis)
        return x
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
    "INTERPOLATIONS", "CenterCrop", "RandomCrop", "Resize", "cropped_to_ratio", "padded_to_ratio",
    "resize",
]  # fmt: skip
