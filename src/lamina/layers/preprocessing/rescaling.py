"""Layers that preprocess raw data inside the model."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina.core.spec import show_dims
from lamina.errors import ShapeError
from lamina.layers.base import Layer
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin


@builtin("layers")
class Rescaling(Layer):
    """``inputs * scale + offset``, during training and otherwise.

    Args:
        scale: A number, or one for each channel (the last axis).
        offset: Likewise.

    Shapes: any, unchanged. The result has the layer's compute dtype, so that 8-bit pixels become
    floats.

    Raises:
        ShapeError: A different number of channels than ``scale`` or ``offset`` has.

    >>> Rescaling(1 / 255)(jnp.array([0, 255], "uint8")).tolist()
    [0.0, 1.0]
    """

    scale: Any = field()
    offset: Any = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Multiply and add."""
        dtype = self.compute_dtype
        scale, offset = jnp.asarray(self.scale, dtype), jnp.asarray(self.offset, dtype)
        for given in (scale, offset):
            pairs = zip(reversed(given.shape), reversed(inputs.shape), strict=False)
            if given.ndim > inputs.ndim or any(n not in (1, size) for n, size in pairs):
                raise ShapeError(
                    f"Layer {self.name!r} (Rescaling) has one number for each channel.",
                    layer=self.name,
                    expected=f"an input whose last axes have the shape {given.shape}",
                    received=show_dims(inputs.shape),
                )
        return inputs.astype(dtype) * scale + offset


__all__ = ["Rescaling"]
