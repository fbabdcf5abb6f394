"""Pooling: the maximum or the mean over windows, over equal parts, or over all positions.

The formulas are in :mod:`lamina.ops.lowering.pooling`; classes here name the kind and the rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import settings
from lamina.layers.spatial_base import SpatialLayer, fill
from lamina.ops.lowering import pooling as lowering
from lamina.serialization.fields import field, one_of, optional, per_axis
from lamina.serialization.registry import builtin


def _text(template: str, kind: str, rank: int, **sizes: tuple[int, ...]) -> str:
    """The docstring of one member of a family, for ``"Max"`` or ``"Average"``."""
    entry = {"Max": "maximum", "Average": "mean"}[kind]
    text = template.replace("$entry", entry).replace("$name", f"{kind}Pooling{rank}D")
    return fill(text, rank, **sizes)


_POOLS = {"max": lowering.max_pool, "average": lowering.average_pool}


# ---- windows -------------------------------------------------------------------------------------


@builtin()
class _Pooling(SpatialLayer, positional="pool_size strides padding data_format name"):
    pool_mode: ClassVar[str]

    pool_size: Any = field(default=2, convert=per_axis)
    strides: Any = field(default=None, convert=optional(per_axis))
    padding: str = field(default="valid", convert=one_of("valid", "same"))
    data_format: Any = field(default=None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strides is None:
            self.strides = self.pool_size

    def call(self, inputs: Any) -> Any:
        """Pool."""
        pool = _POOLS[self.pool_mode]
        return pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


_WINDOWS = """The $entry of each window, over $dimensions.

    Args:
        pool_size: Size of the window: one integer, or one for each spatial dimension.
        strides: Stride of the window, likewise; ``pool_size`` when None, so that windows do not
            overlap.
        padding: ``"valid"`` for whole windows only, or ``"same"``, with which strides of 1 keep the
            spatial shape. Padding is never part of the $entry.
        data_format: $data_format

    Shapes: ``(batch, $spatial, channels)`` to
    ``(batch, $new_spatial, channels)`` with ``channels_last``. The dtype stays the same.

    Raises:
        ShapeError: A different number of axes, or a window that is larger than a known dimension.

    >>> from lamina.layers import Input
    >>> $name(2)(Input(($input))).shape
    (None, $output)
    """


@builtin("layers")
class MaxPooling1D(_Pooling):
    __doc__ = _text(_WINDOWS, "Max", 1, input=(8, 4), output=(4, 4))
    rank, pool_mode = 1, "max"


@builtin("layers")
class MaxPooling2D(_Pooling):
    __doc__ = _text(_WINDOWS, "Max", 2, input=(8, 4), output=(4, 4))
    rank, pool_mode = 2, "max"


@builtin("layers")
class MaxPooling3D(_Pooling):
    __doc__ = _text(_WINDOWS, "Max", 3, input=(8, 4), output=(4, 4))
    rank, pool_mode = 3, "max"


@builtin("layers")
class AveragePooling1D(_Pooling):
    __doc__ = _text(_WINDOWS, "Average", 1, input=(8, 4), output=(4, 4))
    rank, pool_mode = 1, "average"


@builtin("layers")
class AveragePooling2D(_Pooling):
    __doc__ = _text(_WINDOWS, "Average", 2, input=(8, 4), output=(4, 4))
    rank, pool_mode = 2, "average"


@builtin("layers")
class AveragePooling3D(_Pooling):
    __doc__ = _text(_WINDOWS, "Average", 3, input=(8, 4), output=(4, 4))
    rank, pool_mode = 3, "average"


# ---- global --------------------------------------------------------------------------------------


@builtin()
class _GlobalPooling(SpatialLayer):
    reduce: ClassVar[Callable[..., Any]]

    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    keepdims: bool = False

    def call(self, inputs: Any) -> Any:
        """Reduce the spatial dimensions."""
        return type(self).reduce(inputs, axis=self.spatial_axes, keepdims=self.keepdims)


_GLOBAL = """The $entry of each channel, over $dimensions.$masked

    Args:
        data_format: $data_format
        keepdims: Whether to keep the spatial dimensions, each with size 1.

    Shapes: ``(batch, $spatial, channels)`` to ``(batch, channels)`` with
    ``channels_last``. The dtype stays the same.

    Raises:
        ShapeError: A different number of axes.

    >>> from lamina.layers import Input
    >>> Global$name()(Input(($input))).shape
    (None, 4)
    """
_PLAIN = _GLOBAL.replace("$masked", "")
_MASKED = _GLOBAL.replace("$masked", " Masked time steps are left out.")


@builtin("layers")
class GlobalMaxPooling1D(_GlobalPooling):
    __doc__ = _text(_PLAIN, "Max", 1, input=(8, 4))
    rank, reduce = 1, staticmethod(jnp.max)


@builtin("layers")
class GlobalMaxPooling2D(_GlobalPooling):
    __doc__ = _text(_PLAIN, "Max", 2, input=(8, 4))
    rank, reduce = 2, staticmethod(jnp.max)


@builtin("layers")
class GlobalMaxPooling3D(_GlobalPooling):
    __doc__ = _text(_PLAIN, "Max", 3, input=(8, 4))
    rank, reduce = 3, staticmethod(jnp.max)


@builtin("layers")
class GlobalAveragePooling1D(_GlobalPooling):
    __doc__ = _text(_MASKED, "Average", 1, input=(8, 4))
    rank, reduce = 1, staticmethod(jnp.mean)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Average the time steps that are not masked."""
        if mask is None:
            return super().call(inputs)
        (time,) = self.spatial_axes
        weights = jnp.expand_dims(mask.astype(inputs.dtype), 2 if time == 1 else 1)
        total = jnp.sum(inputs * weights, axis=time, keepdims=self.keepdims)
        count = jnp.sum(weights, axis=time, keepdims=self.keepdims)
        return total / jnp.where(count == 0, 1, count)  # 0 where every time step is masked

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """None: the output has no time dimension."""


@builtin("layers")
class GlobalAveragePooling2D(_GlobalPooling):
    __doc__ = _text(_PLAIN, "Average", 2, input=(8, 4))
    rank, reduce = 2, staticmethod(jnp.mean)


@builtin("layers")
class GlobalAveragePooling3D(_GlobalPooling):
    __doc__ = _text(_PLAIN, "Average", 3, input=(8, 4))
    rank, reduce = 3, staticmethod(jnp.mean)


# ---- adaptive ------------------------------------------------------------------------------------


@builtin()
class _AdaptivePooling(SpatialLayer):
    pool: ClassVar[Callable[..., Any]]

    output_size: Any = field(convert=per_axis)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)

    def call(self, inputs: Any) -> Any:
        """Pool."""
        return type(self).pool(inputs, self.output_size, self.data_format)


_ADAPTIVE = """The $entry of each of ``output_size`` parts of nearly equal size, over $dimensions.

    Part ``i`` of ``n`` extends from ``floor(i * size / n)`` to ``ceil((i + 1) * size / n)``, so the
    shape of the output does not depend on that of the input.

    Args:
        output_size: Number of parts: one integer, or one for each spatial dimension.
        data_format: $data_format

    Shapes: ``(batch, $spatial, channels)`` to ``(batch, *output_size, channels)``
    with ``channels_last``. The dtype stays the same.

    Raises:
        ShapeError: A different number of axes.

    >>> from lamina.layers import Input
    >>> Adaptive$name(3)(Input(($input))).shape
    (None, $output)
    """


@builtin("layers")
class AdaptiveAveragePooling1D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Average", 1, input=(8, 4), output=(3, 4))
    rank, pool = 1, staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveAveragePooling2D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Average", 2, input=(8, 4), output=(3, 4))
    rank, pool = 2, staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveAveragePooling3D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Average", 3, input=(8, 4), output=(3, 4))
    rank, pool = 3, staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveMaxPooling1D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Max", 1, input=(8, 4), output=(3, 4))
    rank, pool = 1, staticmethod(lowering.adaptive_max_pool)


@builtin("layers")
class AdaptiveMaxPooling2D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Max", 2, input=(8, 4), output=(3, 4))
    rank, pool = 2, staticmethod(lowering.adaptive_max_pool)


@builtin("layers")
class AdaptiveMaxPooling3D(_AdaptivePooling):
    __doc__ = _text(_ADAPTIVE, "Max", 3, input=(8, 4), output=(3, 4))
    rank, pool = 3, staticmethod(lowering.adaptive_max_pool)


MaxPool1D = MaxPooling1D
AvgPool1D = AveragePooling1D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalAvgPool1D = GlobalAveragePooling1D
MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
MaxPool3D = MaxPooling3D
AvgPool3D = AveragePooling3D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool3D = GlobalAveragePooling3D

__all__ = [
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D",
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D",
    "AvgPool3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "GlobalMaxPool3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalMaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D", "MaxPooling1D",
    "MaxPooling2D", "MaxPooling3D",
]  # fmt: skip
