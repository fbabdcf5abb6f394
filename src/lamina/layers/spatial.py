"""Upsampling, padding and cropping along the spatial dimensions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.spatial_base import SpatialLayer, fill
from lamina.serialization.fields import (
    ForRank,
    Reader,
    field,
    int_tuple,
    is_integer,
    one_of,
    per_axis,
)
from lamina.serialization.registry import builtin

# ---- upsampling ----------------------------------------------------------------------------------


@builtin()
class _UpSampling(SpatialLayer):
    size: Any = field(default=2, convert=per_axis)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)

    def call(self, inputs: Any) -> Any:
        """Repeat the elements along each spatial dimension."""
        for axis, times in zip(self.spatial_axes, self.size, strict=True):
            inputs = jnp.repeat(inputs, times, axis)
        return inputs


_UPSAMPLING = """Repeat each element along $dimensions.

    Args:
        size: Upsampling factor$factors.$more

    Shapes: ``(batch, $spatial, channels)`` to
    ``(batch, $new_spatial, channels)``$last, each size multiplied by its
    factor. The dtype stays the same.

    Raises:
        ShapeError: A different number of axes.

    >>> UpSampling${rank}D(2)(jnp.ones((1, $input))).shape
    (1, $output)
    """
_MORE = """
        data_format: $data_format"""
_INTERPOLATION = """
        interpolation: ``"nearest"`` to repeat elements, ``"bilinear"``, ``"bicubic"``,
            ``"lanczos3"`` or ``"lanczos5"``."""


def _upsampling(rank: int, more: str) -> str:
    factors = "" if rank == 1 else ": one integer, or one for each spatial dimension"
    last = "" if rank == 1 else " with ``channels_last``"
    text = _UPSAMPLING.replace("$factors", factors).replace("$last", last).replace("$more", more)
    return fill(text, rank, input=(4, 2), output=(8, 2))


@builtin("layers")
class UpSampling1D(SpatialLayer):
    __doc__ = _upsampling(1, "")
    rank = 1
    data_format = "channels_last"
    size: int = field(default=2, convert=lambda v: int_tuple(1)(v)[0])

    def call(self, inputs: Any) -> Any:
        """Repeat the time steps."""
        return jnp.repeat(inputs, self.size, 1)


@builtin("layers")
class UpSampling2D(_UpSampling):
    __doc__ = _upsampling(2, _MORE + _INTERPOLATION)
    rank = 2
    interpolation: str = field(
        default="nearest", convert=one_of("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    )

    def call(self, inputs: Any) -> Any:
        """Repeat the elements, or interpolate between them."""
        if self.interpolation == "nearest":
            return super().call(inputs)
        factors = dict(zip(self.spatial_axes, self.size, strict=True))
        shape = [n * factors.get(axis, 1) for axis, n in enumerate(inputs.shape)]
        method = "cubic" if self.interpolation == "bicubic" else self.interpolation
        return jax.image.resize(inputs, shape, method)


@builtin("layers")
class UpSampling3D(_UpSampling):
    __doc__ = _upsampling(3, _MORE)
    rank = 3


# ---- padding and cropping ------------------------------------------------------------------------

Pair = tuple[int, int]


def _read_pairs(rank: int) -> Reader:
    """Reader of an integer, of one for each dimension, or of a pair (before, after) for each."""

    def read(value: Any) -> Pair | tuple[Pair, ...]:
        if is_integer(value):
            value = (value,) * rank
        elif not isinstance(value, (list, tuple)):
            raise ArgumentError(f"expected an integer or a list. Received: {value!r}.")
        elif rank == 1 and len(value) == 2 and all(map(is_integer, value)):
            value = (value,)
        if len(value) != rank:
            raise ArgumentError(f"expected {rank} entries. Received: {value!r}.")
        pairs: Any = tuple(int_tuple(2, minimum=0)(v) for v in value)
        return pairs[0] if rank == 1 else pairs

    return read


_PAIRS = ForRank(_read_pairs)


@builtin()
class _ZeroPadding(SpatialLayer):
    padding: Any = field(default=1, convert=_PAIRS)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)

    def call(self, inputs: Any) -> Any:
        """Pad."""
        pairs = [self.padding] if self.rank == 1 else self.padding
        widths = dict(zip(self.spatial_axes, pairs, strict=True))
        return jnp.pad(inputs, [widths.get(axis, (0, 0)) for axis in range(inputs.ndim)])


_PADDING = """Add zeros before and after the elements of $dimensions.

    Args:
        padding: Number of zeros: one integer for all sides, one for each spatial dimension, or a
            pair ``(before, after)`` for each.
        data_format: $data_format

    Shapes: ``(batch, $spatial, channels)`` to
    ``(batch, $new_spatial, channels)`` with ``channels_last``. The dtype stays
    the same.

    Raises:
        ShapeError: A different number of axes.

    >>> from lamina.layers import Input
    >>> ZeroPadding${rank}D(1)(Input(($input))).shape
    (None, $output)
    """


@builtin("layers")
class ZeroPadding1D(_ZeroPadding):
    __doc__ = fill(_PADDING, 1, input=(4, 2), output=(6, 2))
    rank = 1


@builtin("layers")
class ZeroPadding2D(_ZeroPadding):
    __doc__ = fill(_PADDING, 2, input=(4, 2), output=(6, 2))
    rank = 2


@builtin("layers")
class ZeroPadding3D(_ZeroPadding):
    __doc__ = fill(_PADDING, 3, input=(4, 2), output=(6, 2))
    rank = 3


@builtin()
class _Cropping(SpatialLayer):
    cropping: Any = field(default=1, convert=_PAIRS)

    def call(self, inputs: Any) -> Any:
        """Crop."""
        index = [slice(None)] * inputs.ndim
        pairs = [self.cropping] if self.rank == 1 else self.cropping
        for axis, (before, after) in zip(self.spatial_axes, pairs, strict=True):
            size = inputs.shape[axis]
            if isinstance(size, int) and before + after >= size:
                raise ShapeError(
                    f"Layer {self.name!r} ({type(self).__name__}) would crop everything.",
                    layer=self.name,
                    expected=f"more than {before + after} elements on axis {axis}",
                    received=show_dims(inputs.shape),
                )
            index[axis] = slice(before, size - after)
        return inputs[tuple(index)]


_CROPPING = """Remove elements at both ends of $dimensions.

    Args:
        cropping: Number of elements to remove: one integer for all sides, one for each spatial
            dimension, or a pair ``(before, after)`` for each.$more

    Shapes: ``(batch, $spatial, channels)`` to
    ``(batch, $new_spatial, channels)``$last. The dtype stays the same.

    Raises:
        ShapeError: A different number of axes, or nothing would be left.

    >>> from lamina.layers import Input
    >>> Cropping${rank}D(1)(Input(($input))).shape
    (None, $output)
    """


def _cropping(rank: int, more: str = _MORE, last: str = " with ``channels_last``") -> str:
    text = _CROPPING.replace("$more", more).replace("$last", last)
    return fill(text, rank, input=(4, 2), output=(2, 2))


@builtin("layers")
class Cropping1D(_Cropping):
    __doc__ = _cropping(1, "", "")
    rank = 1
    data_format = "channels_last"


@builtin("layers")
class Cropping2D(_Cropping):
    __doc__ = _cropping(2)
    rank = 2
    cropping: Any = field(default=0, convert=_PAIRS)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)


@builtin("layers")
class Cropping3D(_Cropping):
    __doc__ = _cropping(3)
    rank = 3
    data_format: Any = field(default=None, convert=settings.standardize_data_format)


__all__ = [
    "Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
]  # fmt: skip
