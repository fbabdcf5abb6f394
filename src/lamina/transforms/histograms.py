"""Images whose values are spread over the range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.transforms.base import Params, Shape
from lamina.transforms.colors import Color
from lamina.transforms.numbers import counts

_LEVELS = 256


class AutoContrast(Color):
    """The values of each channel are stretched to the range."""

    def at_rest(self, shape: Shape) -> Params:
        return {}

    def draw(self, draws: Any, shape: Shape) -> Params:
        return {}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        low, high = (f((1, 2), keepdims=True) for f in (x.min, x.max))
        span = xp.where(high > low, high - low, 1)
        first, last = self.value_range
        stretched = xp.clip((x - low) / span * (last - first) + first, first, last)
        return xp.where(high > low, stretched, x)


class Equalization(Color):
    """The values of each channel of the batch are equally frequent."""

    bins: int

    def draw(self, draws: Any, shape: Shape) -> Params:
        return {}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        x = self.scaled(x, 255)
        *pixels, channels = x.shape
        scale = np.float32(self.bins - 1)
        binned = xp.clip(x * scale / 255, 0, self.bins - 1).astype("int32")
        binned = xp.moveaxis(binned, -1, 0).reshape(channels, math.prod(pixels))
        found = counts(xp, binned, self.bins)
        total = xp.cumsum(found, -1)
        first = xp.min(xp.where(total > 0, total, total[:, -1:]), -1, keepdims=True)
        rest = total[:, -1:] - first
        table = (total - first).astype("float32") * 255 / xp.where(rest == 0, 1, rest)
        table = xp.clip(xp.round(table), 0, 255).astype(x.dtype).reshape(-1)
        places = xp.clip(x / 255 * scale, 0, self.bins - 1).astype("int32")
        equal = xp.take(table, places + xp.arange(channels) * self.bins, mode="clip")
        several = (found > 0).sum(-1) > 1
        return self.unscaled(xp.where(several, equal, x), 255)


class Clahe(Color):
    """The values of each tile are about equally frequent; tables of tiles are interpolated.

    Zuiderveld 1994, Contrast limited adaptive histogram equalization, in Graphics Gems IV.
    """

    keeps_integers = True
    clip_limit: float
    tile_grid_size: tuple[int, int]

    def at_rest(self, shape: Shape) -> Params:
        return {}

    def draw(self, draws: Any, shape: Shape) -> Params:
        return {}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        x = self.scaled(x, 255)
        n, height, width, channels = x.shape
        rows, columns = self.tile_grid_size
        tile = -(-height // rows), -(-width // columns)
        sides = ((0, 0), (0, tile[0] * rows - height), (0, tile[1] * columns - width), (0, 0))
        levels = xp.clip(xp.pad(x, sides, mode="symmetric"), 0, 255).astype("int32")
        tiles = levels.reshape(n, rows, tile[0], columns, tile[1], channels)
        tiles = xp.transpose(tiles, (0, 1, 3, 5, 2, 4))
        tables = self._tables(xp, tiles.reshape(n, rows, columns, channels, math.prod(tile)))
        flat = tables.reshape(-1)
        image = (xp.arange(n) * (rows * columns))[:, None, None, None]
        y = xp.zeros((), x.dtype)
        for row, of_row in self._nearest(tile[0], rows):
            for column, of_column in self._nearest(tile[1], columns):
                place = image + (row * columns)[:, None, None] + column[:, None]
                place = (place * channels + xp.arange(channels)) * _LEVELS + levels
                weight = of_row[:, None, None] * of_column[:, None]
                y = y + xp.take(flat, place, mode="clip") * weight
        return self.unscaled(y[:, :height, :width], 255)

    def _tables(self, xp: Any, tiles: Any) -> Any:
        """The new value of each level: ``(batch, rows, columns, channels, 256)``."""
        size = tiles.shape[-1]
        found = counts(xp, tiles, _LEVELS).astype("float32")
        if self.clip_limit > 0:
            limited = xp.minimum(found, np.float32(self.clip_limit * size / _LEVELS))
            found = limited + (found - limited).sum(-1, keepdims=True) / _LEVELS
        total = xp.cumsum(found, -1)
        first = total[..., :1]
        rest = size - first
        return xp.clip((total - first) * 255 / xp.where(rest == 0, 1, rest), 0, 255)

    @staticmethod
    def _nearest(size: int, count: int) -> Any:
        """Two tiles and their weights for each pixel along an axis."""
        place = (np.arange(size * count, dtype="float32") - size / 2) / size
        before = np.floor(place)
        after = (place - before).astype("float32")
        for offset, weight in ((0, 1 - after), (1, after)):
            yield np.clip(before + offset, 0, count - 1).astype(int), weight


__all__ = ["AutoContrast", "Clahe", "Equalization"]
