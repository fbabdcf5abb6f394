"""Several transforms, some of which are chosen at random."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lamina.transforms import colors, filters, histograms, warps
from lamina.transforms.base import Params, Shape, Transform, choose, repeat
from lamina.transforms.draws import Draws

Pair = tuple[float, float]


def _parts(policy: Any) -> dict[str, Transform]:
    """The transforms to choose from, with the strength of the policy."""
    factor, shared = policy.factor, vars(policy)
    geometry = {**shared, "fill_mode": "reflect", "fill_value": 0.0}
    bits = max(1, int(8 * factor[1]))
    return {
        "random_shear": warps.Shear(**geometry, x_factor=factor, y_factor=factor),
        "random_translation": warps.Translation(
            **geometry, height_factor=factor, width_factor=factor
        ),
        "random_rotation": warps.Rotation(**geometry),
        "random_brightness": colors.Brightness(**shared),
        "random_color_degeneration": colors.ColorDegeneration(**shared),
        "random_contrast": colors.Contrast(**shared),
        "random_sharpness": filters.Sharpness(**shared),
        "random_posterization": colors.Posterization(**{**shared, "factor": (1, bits)}),
        "solarization": colors.Solarization(
            **shared, addition_factor=factor, threshold_factor=factor
        ),
        "auto_contrast": histograms.AutoContrast(**shared),
        "equalization": histograms.Equalization(**shared, bins=256),
    }


# With `all_ops=False`, AugMix leaves out what corruptions of test images do.
_CORRUPTIONS = {
    "random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness"
}  # fmt: skip


class _Policy(Transform):
    factor: Pair
    interpolation: str
    value_range: Pair

    @functools.cached_property
    def parts(self) -> dict[str, Transform]:
        """The transforms to choose from."""
        return _parts(self)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "parts"}


class RandAugment(_Policy):
    """A number of transforms, chosen for the whole batch, one after the other."""

    num_ops: int

    def draw(self, draws: Draws, shape: Shape) -> Params:
        chosen = draws.integers((self.num_ops,), 0, len(self.parts))
        drawn = {name: part.draw(draws.child(), shape) for name, part in self.parts.items()}
        return {"transforms": drawn, "layer_idxes": chosen}

    def _in_turn(self, xp: Any, x: Any, params: Params, change: Callable[..., Any]) -> Any:
        branches: list[Callable[[Any], Any]] = [
            functools.partial(change, part, params=params["transforms"][name])
            for name, part in self.parts.items()
        ]
        chosen = params["layer_idxes"]
        return repeat(xp, self.num_ops, lambda i, x: choose(xp, chosen[i], branches, x), x)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        return self._in_turn(xp, x, params, lambda part, x, params: part.images(xp, x, params))

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._in_turn(xp, x, params, lambda part, x, params: part.masks(xp, x, params))

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        def change(part: Transform, x: Any, params: Params) -> Any:
            return part.boxes(xp, x, params, size)

        return self._in_turn(xp, boxes, params, change)


class AugMix(_Policy):
    """A weighted mean of the image and of several chains of transforms of it."""

    float_masks = True
    num_chains: int
    chain_depth: int
    alpha: float
    all_ops: bool

    @functools.cached_property
    def parts(self) -> dict[str, Transform]:
        """The transforms to choose from."""
        found = _parts(self)
        return {k: v for k, v in found.items() if self.all_ops or k not in _CORRUPTIONS}

    def draw(self, draws: Draws, shape: Shape) -> Params:
        links = self.num_chains * self.chain_depth
        drawn = [{name: part.draw(draws.child(), shape) or {} for name, part in self.parts.items()}
                 for _ in range(links)]  # fmt: skip
        stacked = {
            name: {k: draws.xp.stack([one[name][k] for one in drawn]) for k in drawn[0][name]}
            for name in self.parts
        }
        return {
            "chain_mixing_weights": draws.dirichlet(self.num_chains, self.alpha),
            "weight_sample": draws.beta((), self.alpha),
            # The last choice is to leave the image as it is.
            "choices": draws.integers((links,), 0, len(self.parts) + 1),
            "transforms": stacked,
        }

    def _mixed(self, xp: Any, x: Any, params: Params, change: Callable[..., Any]) -> Any:
        weights, weight = params["chain_mixing_weights"], params["weight_sample"]

        def link(i: Any, x: Any) -> Any:
            def branch(name: str, part: Transform) -> Callable[[Any], Any]:
                own = {k: v[i] for k, v in params["transforms"][name].items()}
                return functools.partial(change, part, params=own)

            branches = [branch(name, part) for name, part in self.parts.items()]
            return choose(xp, params["choices"][i], [*branches, lambda x: x], x)

        def chain(i: Any, total: Any) -> Any:
            start = i * self.chain_depth
            y = repeat(xp, self.chain_depth, lambda j, x: link(start + j, x), x)
            return total + y * weights[i].astype(x.dtype)

        total = repeat(xp, self.num_chains, chain, xp.zeros_like(x))
        weight = weight.astype(x.dtype)
        return weight * x + (1 - weight) * total

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        y = self._mixed(xp, x, params, lambda part, x, params: part.images(xp, x, params))
        return xp.clip(y, *self.value_range)

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        return self._mixed(xp, x, params, lambda part, x, params: part.masks(xp, x, params))


class Compose(Transform):
    """Transforms one after the other, each with its own random numbers."""

    transforms: tuple[Transform, ...]

    def apply(self, xp: Any, data: Any, draws: Any, training: bool) -> Any:
        for transform in self.transforms:
            data = transform.apply(xp, data, draws and draws.child(), training)
        return data


__all__ = ["AugMix", "Compose", "RandAugment"]
