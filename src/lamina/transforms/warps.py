"""Images that are sampled at other positions: rotated, translated, zoomed, sheared, projected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.errors import StructureError
from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.boxes import around
from lamina.transforms.draws import Draws
from lamina.transforms.filters import blur

Pair = tuple[float, float]
FILL_MODES = ("reflect", "wrap", "constant", "nearest")


def _inside(xp: Any, index: Any, size: Any, fill_mode: str) -> Any:
    """Indices within an axis, for any integers."""
    near = xp is np and -size <= index.min() and index.max() < 2 * size
    if fill_mode == "wrap":
        return index % size
    if fill_mode == "reflect":  # about the border of the first and last entry
        # Of negative integers, `^` gives -1 - index: divisions are slower.
        index = index ^ (index >> 31) if near else index % (2 * size)
        return xp.minimum(index, 2 * size - 1 - index)
    if fill_mode == "mirror":  # about their center
        period = max(2 * size - 2, 1)
        return xp.minimum(index % period, period - index % period)
    return xp.clip(index, 0, size - 1)


def sample(
    xp: Any, x: Any, rows: Any, columns: Any, interpolation: str, fill_mode: str, fill_value: Any
) -> Any:
    """Interpolate images at fractional positions.

    Args:
        xp: The array module.
        x: Images ``(batch, height, width, channels)``.
        rows: Rows ``(batch, new_height, new_width)``.
        columns: Columns of the same shape.
        interpolation: ``"nearest"`` or ``"bilinear"``.
        fill_mode: Values out of bounds: ``"constant"``, ``"nearest"``, ``"wrap"``, ``"mirror"`` or
            ``"reflect"``.
        fill_value: Value out of bounds for ``"constant"``.
    """
    n, height, width, channels = x.shape
    if xp is np and n > 1:  # one image after the other, which the processor's caches hold
        rows, columns = (np.broadcast_to(i, (n, *i.shape[1:])) for i in (rows, columns))
        each = ((a[None], b[None], c[None]) for a, b, c in zip(x, rows, columns, strict=True))
        return np.concatenate(
            [sample(xp, a, b, c, interpolation, fill_mode, fill_value) for a, b, c in each]
        )
    start = (xp.arange(n) * (height * width))[:, None, None]
    integer = "intp" if xp is np else "int32"

    def neighbors(*corners: tuple[Any, Any]) -> list[tuple[Any, Any]]:
        """Where pixels are in a table of all, and whether they are within the image."""
        inside = [(start + _inside(xp, row, height, fill_mode) * width,
                   _inside(xp, column, width, fill_mode)) for row, column in corners]  # fmt: skip
        within = [((row >= 0) & (row < height), (column >= 0) & (column < width))
                  for row, column in corners] if fill_mode == "constant" else None  # fmt: skip
        pairs = [(i, j) for i in range(len(corners)) for j in range(len(corners))]
        return [(inside[i][0] + inside[j][1], within and within[i][0] & within[j][1])
                for i, j in pairs]  # fmt: skip

    if interpolation == "nearest":
        half = np.float32(0.5)  # ties are rounded away from zero
        places = neighbors(
            tuple((xp.sign(i) * xp.floor(abs(i) + half)).astype(integer) for i in (rows, columns))
        )
        weights = ()
    else:
        lower = [xp.floor(i) for i in (rows, columns)]
        weights = [(i - j).astype(x.dtype) for i, j in zip((rows, columns), lower, strict=True)]
        top, left = (i.astype(integer) for i in lower)
        places = neighbors((top, left), (top + 1, left + 1))

    def mixed(table: Any, form: Any) -> Any:
        def at(place: Any, known: Any) -> Any:
            if 0 in table.shape:  # JAX's `take` gives another shape than that of the places
                return xp.zeros((*place.shape, *table.shape[1:]), table.dtype)
            found = xp.take(table, place, axis=0, mode="raise" if xp is np else "clip")
            fill = xp.asarray(fill_value, x.dtype)
            return found if known is None else xp.where(form(known), found, fill)

        def between(a: Any, b: Any, weight: Any) -> Any:
            b -= a  # in place where arrays can be changed
            b *= form(weight)
            b += a
            return b

        if not weights:
            return at(*places[0])
        down, right = weights
        a, b, c, d = (at(*place) for place in places)
        return between(between(a, b, right), between(c, d, right), down)

    if xp is not np:
        return mixed(x.reshape(-1, channels), lambda a: a[..., None])
    result = np.empty((*rows.shape, channels), x.dtype)
    for i in range(channels):  # NumPy's loops are fast along the last axis only
        result[..., i] = mixed(np.ascontiguousarray(x[..., i]).ravel(), lambda a: a)
    return result


def grid(xp: Any, height: Any, width: Any) -> tuple[Any, Any]:
    """The row and the column of each pixel, as floats that broadcast to an image."""
    rows, columns = xp.arange(height, dtype="float32"), xp.arange(width, dtype="float32")
    return rows[None, :, None], columns[None, None, :]


def sources(xp: Any, t: Any, height: Any, width: Any) -> tuple[Any, Any]:
    """Row and column, in the image, of each pixel of the result.

    Args:
        xp: The array module.
        t: ``[a0, a1, a2, b0, b1, b2, c0, c1]`` for each image, ``(batch, 8)``: pixel ``(x, y)`` is
            taken from ``((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k)`` with
            ``k = c0 x + c1 y + 1``.
        height: Height of the result.
        width: Its width.
    """
    rows, columns = grid(xp, height, width)
    t = t[:, :, None, None]
    scale = t[:, 6] * columns + t[:, 7] * rows + 1
    return (
        (t[:, 3] * columns + t[:, 4] * rows + t[:, 5]) / scale,
        (t[:, 0] * columns + t[:, 1] * rows + t[:, 2]) / scale,
    )


def forward(xp: Any, t: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Where points ``(batch, ...)`` of the image are in the result: the inverse projection."""
    a0, a1, a2, b0, b1, b2, c0, c1 = (t[:, i].reshape(-1, *(1,) * (x.ndim - 1)) for i in range(8))
    scale = (b0 * c1 - b1 * c0) * x + (a1 * c0 - a0 * c1) * y + a0 * b1 - a1 * b0
    return (
        ((b1 - b2 * c1) * x + (a2 * c1 - a1) * y + a1 * b2 - a2 * b1) / scale,
        ((b2 * c0 - b0) * x + (a0 - a2 * c0) * y + a2 * b0 - a0 * b2) / scale,
    )


def homography(xp: Any, source: Any, target: Any) -> Any:
    """The eight coefficients of the projection that moves four points to four others.

    Args:
        xp: The array module.
        source: Points ``[x, y]``: ``(batch, 4, 2)``.
        target: Where they move.
    """
    x, y = source[..., 0], source[..., 1]
    u, v = target[..., 0], target[..., 1]
    one, zero = xp.ones_like(x), xp.zeros_like(x)
    first = xp.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = xp.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    equations = xp.concatenate([first, second], -2)
    return xp.linalg.solve(equations, xp.concatenate([u, v], -1)[..., None])[..., 0]


def _matrices(xp: Any, *entries: Any) -> Any:
    """Eight numbers for each image, some of which are the same for all."""
    n = next(e.shape[0] for e in entries if not isinstance(e, (int, float)))
    return xp.stack([xp.broadcast_to(xp.asarray(e, "float32"), (n,)) for e in entries], -1)


class Warp(Transform):
    """Base of the transforms with eight numbers for each image, see :func:`sources`."""

    interpolation: str
    fill_mode: str
    fill_value: float

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        """The numbers, ``(batch, 8)``."""
        raise NotImplementedError

    def chosen(self, params: Params) -> Any:
        """Which images are changed; None for all."""
        return None

    def _warped(self, xp: Any, x: Any, params: Params, interpolation: str) -> Any:
        height, width = x.shape[1:3]
        rows, columns = sources(xp, self.matrices(xp, params, height, width), height, width)
        if self.fill_mode == "constant":  # far away is as good as outside
            rows, columns = xp.clip(rows, -9, height + 9), xp.clip(columns, -9, width + 9)
        y = sample(xp, x, rows, columns, interpolation, self.fill_mode, self.fill_value)
        chosen = self.chosen(params)
        return y if chosen is None else xp.where(chosen[:, None, None, None], y, x)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return self._warped(xp, x, params, self.interpolation)

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._warped(xp, x, params, "nearest")

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        t = self.matrices(xp, params, *size)
        x, y = forward(xp, t, boxes[..., [0, 2, 0, 2]], boxes[..., [1, 1, 3, 3]])
        moved, chosen = around(xp, x, y), self.chosen(params)
        return moved if chosen is None else xp.where(chosen[:, None, None], moved, boxes)


class Rotation(Warp):
    """Rotation about the center, counterclockwise, by a fraction of a full turn."""

    factor: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        low, high = self.factor
        return {"angle": draws.uniform(shape[:1], 360 * low, 360 * high)}

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        angle = params["angle"] * np.float32(math.pi / 180)
        cos, sin = xp.cos(angle), xp.sin(angle)
        x, y = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
        return _matrices(
            xp, cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos, 0, 0
        )


class Translation(Warp):
    """Translation by fractions of height and width, down and to the right."""

    height_factor: Pair
    width_factor: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        n, height, width, _ = shape
        y = draws.uniform((n, 1), *self.height_factor) * height
        x = draws.uniform((n, 1), *self.width_factor) * width
        return {"translations": draws.xp.concatenate([x, y], 1).astype("float32")}

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        x, y = params["translations"][:, 0], params["translations"][:, 1]
        return _matrices(xp, 1, 0, -x, 0, 1, -y, 0, 0)


class Zoom(Warp):
    """Zoom about the center by ``1 + factor``: out, if it is positive."""

    height_factor: Pair
    width_factor: Pair | None

    def draw(self, draws: Draws, shape: Shape) -> Params:
        def zoom(factor: Pair) -> Any:
            return draws.uniform((shape[0], 1), 1 + factor[0], 1 + factor[1])

        height = zoom(self.height_factor)
        width = height if self.width_factor is None else zoom(self.width_factor)
        return {"height_zoom": height, "width_zoom": width}

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        x, y = params["width_zoom"][:, 0], params["height_zoom"][:, 0]
        left, top = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
        return _matrices(xp, x, 0, left * (1 - x), 0, y, top * (1 - y), 0, 0)


class Shear(Warp):
    """Shear along both axes, with a common sign."""

    x_factor: Pair
    y_factor: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        sign = draws.signs((shape[0], 1))
        y = draws.uniform((shape[0], 1), *self.y_factor)
        x = draws.uniform((shape[0], 1), *self.x_factor)
        return {"shear_factor": draws.xp.concatenate([x, y], 1) * sign}

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        x, y = params["shear_factor"][:, 0], params["shear_factor"][:, 1]
        return _matrices(xp, 1, x, 0, y, 1, 0, 0, 0)


class Perspective(Warp):
    """Projection that moves the corners at random, of some images."""

    fill_mode = "constant"
    factor: Pair
    scale: float

    def draw(self, draws: Draws, shape: Shape) -> Params:
        n, height, width, _ = shape
        chosen = draws.happens((n,), self.factor)
        moves = draws.uniform((n, 4, 2), -self.scale / 2, self.scale / 2)
        # At least 1: no projection is found for corners that are the same point.
        last = draws.xp.maximum(draws.xp.asarray([width - 1, height - 1], "float32"), 1)
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32") * last
        start = draws.xp.broadcast_to(corners, (n, 4, 2))
        return {
            "apply_perspective": chosen, "start_points": start, "end_points": start * (1 + moves)
        }  # fmt: skip

    def chosen(self, params: Params) -> Any:
        return params["apply_perspective"]

    def matrices(self, xp: Any, params: Params, height: Any, width: Any) -> Any:
        return homography(xp, params["end_points"], params["start_points"])


class Elastic(Transform):
    """Smooth random displacements of the pixels, of some images."""

    factor: Pair
    scale: Pair
    interpolation: str
    fill_mode: str
    fill_value: float
    value_range: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params | None:
        if not (self.factor[1] and self.scale[1]):
            return None
        return {
            "apply_transform": draws.happens(shape[:1], self.factor),
            "distortion_factor": draws.uniform((), *self.scale),
            "displacement": draws.normal((*shape[:3], 2)),
        }

    def _distorted(self, xp: Any, x: Any, params: Params, interpolation: str) -> Any:
        height, width = x.shape[1:3]
        factor = params["distortion_factor"]
        alpha = max(height, width) * 0.1 * factor
        sigma = xp.maximum(min(height, width) * 0.05 * factor, 1e-6)
        most = int(6 * min(height, width) * 0.05 * self.scale[1]) | 1
        noise = params["displacement"] * sigma
        size = xp.asarray(6 * sigma, "int32") | 1  # of the window, which depends on sigma
        moves = alpha * blur(xp, noise, (most, most), (sigma, sigma), (size, size))
        rows, columns = grid(xp, height, width)
        y = sample(
            xp, x, rows + moves[..., 0], columns + moves[..., 1], interpolation, self.fill_mode,
            self.fill_value,
        )  # fmt: skip
        return xp.where(params["apply_transform"][:, None, None, None], y, x)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return xp.clip(self._distorted(xp, x, params, self.interpolation), *self.value_range)

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._distorted(xp, x, params, "nearest")

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        raise StructureError(
            f"{self.name} cannot transform bounding boxes: each pixel moves by "
            "a different distance. RandomPerspective moves boxes too."
        )


__all__ = [
    "Elastic", "Perspective", "Rotation", "Shear", "Translation", "Warp", "Zoom", "forward", "grid",
    "homography", "sample", "sources",
]  # fmt: skip
