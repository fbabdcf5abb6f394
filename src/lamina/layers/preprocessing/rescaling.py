"""Scaling of raw numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin
from lamina.transforms.numbers import Rescale


def _numbers(value: Any) -> Any:
    if np.asarray(value).dtype.kind not in "biuf":
        raise ArgumentError(f"expected a number, or one for each channel. Received: {value!r}.")
    return value


@builtin("layers")
class Rescaling(PreprocessingLayer):
    """``inputs * scale + offset``, in training and inference.

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

    scale: Any = field(convert=_numbers)
    offset: Any = field(default=0.0, convert=_numbers)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    @property
    def transform(self) -> Rescale:
        """The layer's computation, for NumPy in any process."""
        return Rescale(scale=self.scale, offset=self.offset, dtype=self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        """Multiply and add."""
        for given in (np.shape(self.scale), np.shape(self.offset)):
            pairs = zip(reversed(given), reversed(inputs.shape), strict=False)
            if len(given) > inputs.ndim or any(n not in (1, size) for n, size in pairs):
                raise ShapeError(
                    f"Layer {self.name!r} (Rescaling) has one number for each channel.",
                    layer=self.name,
                    expected=f"an input whose last axes have the shape {given}",
                    received=show_dims(inputs.shape),
                )
        return self.transform.apply(jnp, inputs, None, False)


__all__ = ["Rescaling"]
