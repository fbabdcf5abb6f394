"""Images that are mixed with others of the batch, or partly erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.errors import DataError, StructureError
from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.draws import Draws
from lamina.transforms.warps import grid

Pair = tuple[float, float]


def _windows(draws: Draws, shape: Shape, width_ratio: Any, height_ratio: Any) -> Any:
    """Random windows: for each image, which pixels are inside."""
    xp, (n, height, width, _) = draws.xp, shape
    inside: list[Any] = []
    for size, ratio in ((width, width_ratio), (height, height_ratio)):
        length = ratio * np.float32(size)
        start = draws.unit((n,)) * (size - length)
        inside.append((start[:, None, None], (start + length)[:, None, None]))
    rows, columns = grid(xp, height, width)
    (left, right), (top, bottom) = inside
    mask = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    return mask[..., None]


def mixed(xp: Any, x: Any, other: Any, weight: Any) -> Any:
    """A weighted mean, with a weight for each image."""
    weight = weight.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
    return weight * x + (1 - weight) * other


class _Mixing(Transform):
    """Base: a partner for each image, and the weight of the image itself."""

    def labels(self, xp: Any, y: Any, params: Params) -> Any:
        if y.ndim < 2:
            raise DataError(
                f"{self.name} mixes labels, so it expects a row of probabilities for each image.",
                expected="labels of shape (batch, classes)",
                received=f"shape {tuple(y.shape)}",
                cure="Encode them: `lamina.ops.one_hot(labels, num_classes)`.",
            )
        y = y if y.dtype.kind not in "iub" else y.astype("float32")
        return mixed(xp, y, xp.take(y, params["permutation_order"], axis=0), params["mix_weight"])


class MixUp(_Mixing):
    """Weighted means of pairs of images."""

    float_masks = True
    alpha: float

    def draw(self, draws: Draws, shape: Shape) -> Params:
        order = draws.permutation(shape[0])
        return {"mix_weight": draws.beta((shape[0],), self.alpha), "permutation_order": order}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return mixed(xp, x, xp.take(x, params["permutation_order"], axis=0), params["mix_weight"])

    masks = images

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        order = params["permutation_order"]
        both = {
            name: xp.concatenate([boxes[name], xp.take(boxes[name], order, axis=0)], 1)
            for name in ("boxes", "labels")
        }
        return {**boxes, **both}


class CutMix(_Mixing):
    """A window of each image is that of another one."""

    factor: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        alpha = draws.uniform((), *self.factor) + np.float32(1e-6)
        ratio = draws.xp.sqrt(1 - draws.beta((shape[0],), alpha))
        mask = _windows(draws, shape, ratio, ratio)
        weight = 1 - mask.astype("float32").mean((1, 2, 3))  # of pixels, as in the images
        order = draws.permutation(shape[0])
        return {"permutation_order": order, "batch_masks": mask, "mix_weight": weight}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        other = xp.take(x, params["permutation_order"], axis=0)
        return xp.where(params["batch_masks"], other, x)

    masks = images

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        raise StructureError(
            f"{self.name} cannot transform bounding boxes: parts of two images remain visible. "
            "MixUp keeps the boxes of both."
        )


class Erasing(Transform):
    """A window of some images is filled."""

    factor: Pair
    scale: Pair
    fill_value: Any
    value_range: Pair

    def draw(self, draws: Draws, shape: Shape) -> Params:
        xp = draws.xp
        ratios = xp.sqrt(draws.uniform((shape[0], 2), *self.scale))
        mask = _windows(draws, shape, ratios[:, 0], ratios[:, 1])
        chosen = draws.happens((shape[0],), self.factor)
        if self.fill_value is None:
            fill = draws.normal(shape) * np.float32(self.value_range[1])
        else:
            fill = xp.asarray(self.fill_value, "float32")
        fill = xp.clip(fill, *self.value_range)
        return {"apply_erasing": chosen, "batch_masks": mask, "fill_value": fill}

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        where = params["batch_masks"] & params["apply_erasing"].reshape(-1, 1, 1, 1)
        return xp.where(where, params["fill_value"].astype(x.dtype), x)


class Limit(Transform):
    """The bounding boxes of each image, truncated or padded to a given number."""

    keeps_integers = True
    max_number: int
    fill_value: int

    def at_rest(self, shape: Shape) -> Params:
        return {}

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        def limited(x: Any) -> Any:
            x = x[:, : self.max_number]
            sides = [(0, 0), (0, self.max_number - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
            return xp.pad(x, sides, constant_values=self.fill_value)

        return {**boxes, **{name: limited(boxes[name]) for name in ("boxes", "labels")}}


__all__ = ["CutMix", "Erasing", "Limit", "MixUp"]
