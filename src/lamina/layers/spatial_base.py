"""Base of layers over sequences, images and volumes: their axes, and docstring templates."""

from __future__ import annotations

from string import Template
from typing import Any, ClassVar

from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec, Layer
from lamina.ops.lowering.windows import spatial_axes
from lamina.serialization.registry import builtin

_DIMENSIONS = {
    1: "one spatial dimension, such as time",
    2: "two spatial dimensions, such as those of an image",
    3: "three spatial dimensions, such as those of a volume",
}
_DATA_FORMAT = """\
``"channels_last"``, which is ``(batch, $spatial, channels)``,
            or ``"channels_first"``, which is ``(batch, channels, $spatial)``; the
            default of ``lamina.config`` when None."""


def fill(template: str, rank: int, **sizes: tuple[int, ...]) -> str:
    """The docstring of one member of a family whose members differ in rank.

    Args:
        template: The text. ``$rank``, ``$dimensions`` (in words), ``$spatial`` and ``$new_spatial``
            (the names of the dimensions before and after) depend on the rank.
        rank: Number of spatial dimensions.
        sizes: For the example: the size of every spatial dimension, then the sizes that follow;
            ``output=(8, 4)`` puts ``8, 8, 4`` in place of ``$output`` for two dimensions.

    >>> fill("Over $dimensions: ($output)", 2, output=(8, 4))
    'Over two spatial dimensions, such as those of an image: (8, 8, 4)'
    """
    spatial = layout(rank).removeprefix("(batch, ").removesuffix(", channels)")
    examples = {
        k: ", ".join(map(str, (n,) * rank + tuple(rest))) for k, (n, *rest) in sizes.items()
    }
    text = Template(template).safe_substitute(data_format=_DATA_FORMAT)
    return Template(text).substitute(
        rank=rank,
        dimensions=_DIMENSIONS[rank],
        spatial=spatial,
        new_spatial=", ".join(f"new_{name}" for name in spatial.split(", ")),
        **examples,
    )


class _Arguments:
    """Arguments that subclasses declare in Keras's order."""

    data_format: Any


@builtin()
class SpatialLayer(_Arguments, Layer):
    """A layer over ``rank`` spatial dimensions, which come before or after the channels."""

    rank: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The axes of the spatial dimensions."""
        return tuple(spatial_axes(self.rank, self.data_format))

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return -1 if self.data_format == "channels_last" else 1
