"""Flipped images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws


class Flip(Transform):
    """Half of the images are flipped, along all axes of the mode at once."""

    mode: str

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {"flips": draws.unit((shape[0], 1, 1, 1)) <= 0.5}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        y = x[:, :, ::-1] if "horizontal" in self.mode else x
        y = y[:, ::-1] if "vertical" in self.mode else y
        flips = params["flips"].reshape(-1, 1, 1, 1)
        if xp is not np:
            return xp.where(flips, y, x)
        return np.stack([b if flip else a for flip, a, b in zip(flips.ravel(), x, y, strict=True)])

    masks = images

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        height, width = size
        left, top, right, bottom = (boxes[..., i] for i in range(4))
        if "horizontal" in self.mode:
            left, right = width - right, width - left
        if "vertical" in self.mode:
            top, bottom = height - bottom, height - top
        flipped = xp.stack([left, top, right, bottom], -1)
        return xp.where(params["flips"].reshape(-1, 1, 1), flipped, boxes)
