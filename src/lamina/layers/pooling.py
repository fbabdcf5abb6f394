"""Pooling: the largest or the mean entry of windows, or of everything.

The formulas are in :mod:`lamina.ops.lowering.pooling`; classes here name the kind and the rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import settings
from lamina.errors import ArgumentError
from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec, Layer
from lamina.ops.lowering import pooling as lowering
from lamina.ops.lowering.windows import spatial_axes
from lamina.serialization.fields import field, int_tuple, one_of
from lamina.serialization.registry import builtin


@builtin()
class _Pooling(Layer):
    rank: ClassVar[int] = 2
    pool: ClassVar[Callable[..., Any]] = staticmethod(lowering.max_pool)

    pool_size: Any = 2
    strides: Any = None
    padding: str = field("valid", convert=one_of("valid", "same"))
    data_format: Any = field(None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strides is None:
            self.strides = self.pool_size
        for name in ("pool_size", "strides"):
            try:
                setattr(self, name, int_tuple(self.rank)(getattr(self, name)))
            except (ArgumentError, TypeError) as e:
                raise ArgumentError(f"{type(self).__name__}(): `{name}`: {e}") from None
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    def call(self, inputs: Any) -> Any:
        return type(self).pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


@builtin()
class _GlobalPooling(Layer):
    rank: ClassVar[int] = 2
    reduce: ClassVar[Callable[..., Any]] = staticmethod(jnp.max)

    data_format: Any = field(None, convert=settings.standardize_data_format)
    keepdims: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(spatial_axes(self.rank, self.data_format))

    def call(self, inputs: Any) -> Any:
        return type(self).reduce(inputs, axis=self._axes, keepdims=self.keepdims)


@builtin()
class _AdaptivePooling(Layer):
    rank: ClassVar[int] = 2
    pool: ClassVar[Callable[..., Any]] = staticmethod(lowering.adaptive_max_pool)

    output_size: Any = field()
    data_format: Any = field(None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.output_size = int_tuple(self.rank)(self.output_size)
        except (ArgumentError, TypeError) as e:
            raise ArgumentError(f"{type(self).__name__}(): `output_size`: {e}") from None
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    def call(self, inputs: Any) -> Any:
        return type(self).pool(inputs, self.output_size, self.data_format)


@builtin("layers")
class MaxPooling1D(_Pooling):
    """The largest entry of each window, along one axis.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> MaxPooling1D(2)(Input((8, 4))).shape
    (None, 4, 4)
    """

    rank = 1
    pool = staticmethod(lowering.max_pool)


@builtin("layers")
class MaxPooling2D(_Pooling):
    """The largest entry of each window, along two axes.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> MaxPooling2D(2)(Input((8, 8, 4))).shape
    (None, 4, 4, 4)
    """

    rank = 2
    pool = staticmethod(lowering.max_pool)


@builtin("layers")
class MaxPooling3D(_Pooling):
    """The largest entry of each window, along three axes.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> MaxPooling3D(2)(Input((8, 8, 8, 4))).shape
    (None, 4, 4, 4, 4)
    """

    rank = 3
    pool = staticmethod(lowering.max_pool)


@builtin("layers")
class AveragePooling1D(_Pooling):
    """The mean entry of each window, along one axis.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> AveragePooling1D(2)(Input((8, 4))).shape
    (None, 4, 4)
    """

    rank = 1
    pool = staticmethod(lowering.average_pool)


@builtin("layers")
class AveragePooling2D(_Pooling):
    """The mean entry of each window, along two axes.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> AveragePooling2D(2)(Input((8, 8, 4))).shape
    (None, 4, 4, 4)
    """

    rank = 2
    pool = staticmethod(lowering.average_pool)


@builtin("layers")
class AveragePooling3D(_Pooling):
    """The mean entry of each window, along three axes.

    Args:
        pool_size: size of the window, one integer or one for each axis.
        strides: step between windows; ``pool_size`` when None.
        padding: ``"valid"`` (whole windows only) or ``"same"``; padding never counts.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels)``.

    Raises:
        ShapeError: another number of axes, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> AveragePooling3D(2)(Input((8, 8, 8, 4))).shape
    (None, 4, 4, 4, 4)
    """

    rank = 3
    pool = staticmethod(lowering.average_pool)


@builtin("layers")
class GlobalMaxPooling1D(_GlobalPooling):
    """The largest of all entries of each channel, along one axis.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalMaxPooling1D()(Input((8, 4))).shape
    (None, 4)
    """

    rank = 1
    reduce = staticmethod(jnp.max)


@builtin("layers")
class GlobalMaxPooling2D(_GlobalPooling):
    """The largest of all entries of each channel, along two axes.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalMaxPooling2D()(Input((8, 8, 4))).shape
    (None, 4)
    """

    rank = 2
    reduce = staticmethod(jnp.max)


@builtin("layers")
class GlobalMaxPooling3D(_GlobalPooling):
    """The largest of all entries of each channel, along three axes.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalMaxPooling3D()(Input((8, 8, 8, 4))).shape
    (None, 4)
    """

    rank = 3
    reduce = staticmethod(jnp.max)


@builtin("layers")
class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of all entries of each channel, along one axis.

    Masked steps do not count.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalAveragePooling1D()(Input((8, 4))).shape
    (None, 4)
    """

    rank = 1
    reduce = staticmethod(jnp.mean)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        (time,) = self._axes
        weights = jnp.expand_dims(mask.astype(inputs.dtype), 2 if time == 1 else 1)
        total = jnp.sum(inputs * weights, axis=time, keepdims=self.keepdims)
        return total / jnp.sum(weights, axis=time, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """The axis of the mask is gone."""


@builtin("layers")
class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of all entries of each channel, along two axes.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalAveragePooling2D()(Input((8, 8, 4))).shape
    (None, 4)
    """

    rank = 2
    reduce = staticmethod(jnp.mean)


@builtin("layers")
class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of all entries of each channel, along three axes.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        keepdims: whether the axes stay, with size 1.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> GlobalAveragePooling3D()(Input((8, 8, 8, 4))).shape
    (None, 4)
    """

    rank = 3
    reduce = staticmethod(jnp.mean)


@builtin("layers")
class AdaptiveAveragePooling1D(_AdaptivePooling):
    """The mean entry of each of ``output_size`` even parts, along one axis.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveAveragePooling1D(3)(Input((8, 4))).shape
    (None, 3, 4)
    """

    rank = 1
    pool = staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveAveragePooling2D(_AdaptivePooling):
    """The mean entry of each of ``output_size`` even parts, along two axes.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveAveragePooling2D(3)(Input((8, 8, 4))).shape
    (None, 3, 3, 4)
    """

    rank = 2
    pool = staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveAveragePooling3D(_AdaptivePooling):
    """The mean entry of each of ``output_size`` even parts, along three axes.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveAveragePooling3D(3)(Input((8, 8, 8, 4))).shape
    (None, 3, 3, 3, 4)
    """

    rank = 3
    pool = staticmethod(lowering.adaptive_average_pool)


@builtin("layers")
class AdaptiveMaxPooling1D(_AdaptivePooling):
    """The largest entry of each of ``output_size`` even parts, along one axis.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveMaxPooling1D(3)(Input((8, 4))).shape
    (None, 3, 4)
    """

    rank = 1
    pool = staticmethod(lowering.adaptive_max_pool)


@builtin("layers")
class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The largest entry of each of ``output_size`` even parts, along two axes.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveMaxPooling2D(3)(Input((8, 8, 4))).shape
    (None, 3, 3, 4)
    """

    rank = 2
    pool = staticmethod(lowering.adaptive_max_pool)


@builtin("layers")
class AdaptiveMaxPooling3D(_AdaptivePooling):
    """The largest entry of each of ``output_size`` even parts, along three axes.

    Args:
        output_size: number of parts, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> AdaptiveMaxPooling3D(3)(Input((8, 8, 8, 4))).shape
    (None, 3, 3, 3, 4)
    """

    rank = 3
    pool = staticmethod(lowering.adaptive_max_pool)


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
