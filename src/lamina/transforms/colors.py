"""Images with other colors."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.errors import ShapeError
from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws

Pair = tuple[float, float]


def grey(xp: Any, x: Any) -> Any:
    """The luma of ITU-R BT.601, as one channel; one channel stays as it is."""
    if x.shape[-1] == 1:
        return x
    return (x * xp.asarray([0.2989, 0.5870, 0.1140], x.dtype)).sum(-1, keepdims=True)


def rgb_to_hsv(xp: Any, x: Any) -> Any:
    """Hue, saturation and value."""
    red, green, blue = (x[..., i] for i in range(3))
    value = x.max(-1)
    spread = value - x.min(-1)
    saturation = xp.where(value > 0, spread / xp.where(value > 0, value, 1), 0)
    by = xp.where(spread > 0, spread, 1)
    hue = xp.where(
        value == red, (green - blue) / by,
        xp.where(value == green, (blue - red) / by + 2, (red - green) / by + 4),
    )  # fmt: skip
    return xp.stack([xp.where(spread > 0, hue / 6 % 1, 0), saturation, value], -1)


def hsv_to_rgb(xp: Any, x: Any) -> Any:
    """The inverse of :func:`rgb_to_hsv`. Hues are angles: those that differ by 1 are equal."""
    hue, saturation, value = (x[..., i] for i in range(3))
    sixths = (hue - xp.floor(hue)) * 6
    red = xp.clip(abs(sixths - 3) - 1, 0, 1)
    green = xp.clip(2 - abs(sixths - 2), 0, 1)
    blue = xp.clip(2 - abs(sixths - 4), 0, 1)
    pure = xp.stack([red, green, blue], -1)
    return ((pure - 1) * saturation[..., None] + 1) * value[..., None]


def each(x: Any) -> Any:
    """One number for each image, as it broadcasts to them."""
    return x.reshape(-1, 1, 1, 1)


class Color(Transform):
    """Base of the transforms of values in a range; colors have three channels."""

    factor: Any
    value_range: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params | None:
        return {"factor": draws.uniform((shape[0],), *self.factor)}

    def clipped(self, xp: Any, x: Any) -> Any:
        """The values, limited to the range."""
        return xp.clip(x, *self.value_range)

    def scaled(self, x: Any, top: float) -> Any:
        """The values as numbers from 0 to ``top``."""
        low, high = self.value_range
        return x if (low, high) == (0, top) else (x - low) * (top / (high - low))

    def unscaled(self, x: Any, top: float) -> Any:
        """The inverse of :meth:`scaled`."""
        low, high = self.value_range
        return x if (low, high) == (0, top) else x * ((high - low) / top) + low

    def colors(self, x: Any, or_grey: bool = False) -> Any:
        """Check that there are three channels, or a single one where that has a meaning."""
        if x.shape[-1] != 3 and not (or_grey and x.shape[-1] == 1):
            raise ShapeError(
                f"{self.name} changes colors, so it expects three channels: red, green and blue.",
                expected="3 channels, or 1 of grey images" if or_grey else "3 channels",
                received=f"{x.shape[-1]}, with data_format={self.data_format!r}",
            )
        return x


class Brightness(Color):
    """A part of the range is added."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        low, high = self.value_range
        delta = draws.uniform((shape[0], 1, 1, 1), *self.factor)
        return {"rgb_delta": delta * np.float32(high - low)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return self.clipped(xp, x + each(params["rgb_delta"]))


class Contrast(Color):
    """The distance to the mean of each channel is multiplied."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        low, high = self.factor
        return {"contrast_factor": draws.uniform((shape[0], 1, 1, 1), 1 - low, 1 + high)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        mean = x.mean((1, 2), keepdims=True)
        return self.clipped(xp, (x - mean) * each(params["contrast_factor"]) + mean)


class ColorDegeneration(Color):
    """Interpolation between the image and its shades of grey."""

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        shades = grey(xp, self.colors(x, or_grey=True))
        return self.clipped(xp, x + each(params["factor"]) * (shades - x))


class Grayscale(Color):
    """Some images become shades of grey, in all channels."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {"should_apply": draws.unit((shape[0], 1, 1, 1)) < np.float32(self.factor)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return xp.where(each(params["should_apply"]), grey(xp, self.colors(x, or_grey=True)), x)


class Invert(Color):
    """Some images become their negatives."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {"apply_inversion": draws.happens((shape[0],), self.factor)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return xp.where(each(params["apply_inversion"]), sum(self.value_range) - x, x)


class Hue(Color):
    """The hue is rotated, by up to half a turn in either direction."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        sign = draws.signs((shape[0],))
        return {"factor": sign * draws.uniform((shape[0],), *self.factor) * np.float32(0.5)}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        x = rgb_to_hsv(xp, self.scaled(self.colors(x), 1))
        hue = x[..., :1] + each(params["factor"])
        x = hsv_to_rgb(xp, xp.concatenate([hue, x[..., 1:]], -1))
        return self.unscaled(xp.clip(x, 0, 1), 1)


class Saturation(Color):
    """The saturation is multiplied by ``factor / (1 - factor)``, so that 0.5 changes nothing."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        factor = draws.uniform((shape[0],), *self.factor)
        return {"factor": factor / (1 - factor + np.float32(1e-7))}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        x = rgb_to_hsv(xp, self.scaled(self.colors(x), 1))
        saturation = xp.clip(x[..., 1:2] * each(params["factor"]), 0, 1)
        x = xp.concatenate([x[..., :1], saturation, x[..., 2:]], -1)
        return self.unscaled(hsv_to_rgb(xp, x), 1)


class ColorJitter(Color):
    """Brightness, contrast, saturation and hue, one after the other."""

    brightness_factor: Pair | None
    contrast_factor: Pair | None
    saturation_factor: Pair | None
    hue_factor: Pair | None

    def _parts(self) -> dict[str, Transform]:
        kinds = {
            "brightness": Brightness, "contrast": Contrast, "saturation": Saturation, "hue": Hue
        }  # fmt: skip
        factors = {name: vars(self)[f"{name}_factor"] for name in kinds}
        return {
            name: kinds[name](**{**vars(self), "factor": factor})
            for name, factor in factors.items() if factor is not None
        }  # fmt: skip

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {name: part.draw(draws.child(), shape) for name, part in self._parts().items()}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        for name, part in self._parts().items():
            x = part.images(xp, x, params[name])
        return x


class Posterization(Color):
    """Only the upper bits of 8-bit values are kept."""

    def draw(self, draws: Draws, shape: Shape) -> Params:
        low, high = map(int, self.factor)
        if low == high:
            bits = draws.xp.full((shape[0],), low)
        else:
            bits = draws.integers((shape[0],), low, high)
        return {"shift_factor": (8 - bits).astype("uint8")}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        step = each(xp.exp2(params["shift_factor"].astype("float32")))
        values = xp.floor(xp.clip(self.scaled(x, 255), 0, 255))
        return self.unscaled(xp.floor(values / step) * step, 255)


class Solarization(Color):
    """A number is added, then values from a threshold on are inverted."""

    addition_factor: Pair
    threshold_factor: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        one = (shape[0], 1, 1, 1)
        limits = {"additions": self.addition_factor, "thresholds": self.threshold_factor}
        return {
            name: draws.uniform(one, 255 * low, 255 * high) for name, (low, high) in limits.items()
        }

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        x = xp.clip(self.scaled(x, 255) + each(params["additions"]), 0, 255)
        x = xp.where(x < each(params["thresholds"]), x, 255 - x)
        return self.unscaled(x, 255)


__all__ = [
    "Brightness", "Color", "ColorDegeneration", "ColorJitter", "Contrast", "Grayscale", "Hue",
    "Invert", "Posterization", "Saturation", "Solarization", "each", "grey", "hsv_to_rgb",
    "rgb_to_hsv",
]  # fmt: skip
