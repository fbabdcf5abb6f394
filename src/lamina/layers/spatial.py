"""Enlarging, padding and cropping along the axes of space or time."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec, Layer
from lamina.ops.lowering.windows import spatial_axes
from lamina.serialization.fields import field, int_tuple, one_of
from lamina.serialization.registry import builtin


def _pairs(value: Any, rank: int, what: str) -> tuple[tuple[int, int], ...]:
    """One integer, one for each axis, or a pair (before, after) for each axis."""
    try:
        if hasattr(value, "__index__"):
            value = (value,) * rank
        elif rank == 1 and len(value) == 2 and all(hasattr(v, "__index__") for v in value):
            value = (value,)
        pairs = tuple(int_tuple(2, minimum=0)(v) for v in value)
    except (ArgumentError, TypeError) as e:
        raise ArgumentError(f"{what}: {e}") from None
    if len(pairs) != rank:
        raise ArgumentError(f"{what}: expected {rank} entries. Received: {value!r}.")
    return pairs  # pyright: ignore[reportReturnType]


@builtin()
class _Spatial(Layer):
    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.data_format = self.__dict__.get("data_format", "channels_last")
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(spatial_axes(self.rank, self.data_format))


@builtin()
class _UpSampling(_Spatial):
    size: Any = 2
    data_format: Any = field(None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.size = int_tuple(self.rank)(self.size)
        except (ArgumentError, TypeError) as e:
            raise ArgumentError(f"{type(self).__name__}(): `size`: {e}") from None

    def call(self, inputs: Any) -> Any:
        for axis, times in zip(self._axes, self.size, strict=True):
            inputs = jnp.repeat(inputs, times, axis)
        return inputs


@builtin("layers")
class UpSampling1D(_Spatial):
    """Repeat each time step ``size`` times.

    Args:
        size: how often.

    Shapes: ``(batch, time, channels)`` to ``(batch, time * size, channels)``.

    >>> UpSampling1D(2)(jnp.array([[[1.0], [2.0]]])).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rank = 1
    size: Any = field(2, convert=lambda v: int_tuple(1)(v)[0])

    def call(self, inputs: Any) -> Any:
        return jnp.repeat(inputs, self.size, 1)


@builtin("layers")
class UpSampling2D(_UpSampling):
    """Enlarge images by whole factors.

    Args:
        size: factor, one integer or one for height and width.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        interpolation: ``"nearest"`` (repeat), ``"bilinear"``, ``"bicubic"``, ``"lanczos3"`` or
            ``"lanczos5"``.

    Shapes: ``(batch, height, width, channels)`` to ``(batch, height * size[0], width * size[1],
    channels)``.

    >>> UpSampling2D(3)(jnp.ones((1, 8, 8, 2))).shape
    (1, 24, 24, 2)
    """

    interpolation: str = field(
        "nearest", convert=one_of("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    )

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return super().call(inputs)
        factors = dict(zip(self._axes, self.size, strict=True))
        shape = [n * factors.get(axis, 1) for axis, n in enumerate(inputs.shape)]
        method = "cubic" if self.interpolation == "bicubic" else self.interpolation
        return jax.image.resize(inputs, shape, method)


@builtin("layers")
class UpSampling3D(_UpSampling):
    """Repeat each entry along three axes.

    Args:
        size: factor, one integer or one for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Shapes: ``(batch, a, b, c, channels)`` to ``(batch, a * size[0], b * size[1], c * size[2],
    channels)``.

    >>> UpSampling3D(2)(jnp.ones((1, 2, 3, 4, 1))).shape
    (1, 4, 6, 8, 1)
    """

    rank = 3


@builtin()
class _ZeroPadding(_Spatial):
    padding: Any = 1
    data_format: Any = field(None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = _pairs(self.padding, self.rank, f"{type(self).__name__}(): `padding`")
        self.padding = pairs[0] if self.rank == 1 else pairs

    def call(self, inputs: Any) -> Any:
        pairs = [self.padding] if self.rank == 1 else self.padding
        widths = dict(zip(self._axes, pairs, strict=True))
        return jnp.pad(inputs, [widths.get(axis, (0, 0)) for axis in range(inputs.ndim)])


@builtin()
class _Cropping(_Spatial):
    cropping: Any = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = _pairs(self.cropping, self.rank, f"{type(self).__name__}(): `cropping`")
        self.cropping = pairs[0] if self.rank == 1 else pairs

    def call(self, inputs: Any) -> Any:
        index = [slice(None)] * inputs.ndim
        pairs = [self.cropping] if self.rank == 1 else self.cropping
        for axis, (before, after) in zip(self._axes, pairs, strict=True):
            size = inputs.shape[axis]
            if isinstance(size, int) and before + after >= size:
                raise ShapeError(
                    f"Layer {self.name!r} ({type(self).__name__}) would crop everything.\n"
                    f"  expected: more than {before + after} entries on axis {axis}\n"
                    f"  received: {show_dims(inputs.shape)}"
                )
            index[axis] = slice(before, size - after)
        return inputs[tuple(index)]


@builtin("layers")
class ZeroPadding1D(_ZeroPadding):
    """Add zeros before and after, along the axis of time.

    Args:
        padding: one integer for all; one for each axis; or a pair (before, after) for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> ZeroPadding1D(1)(Input((4, 2))).shape
    (None, 6, 2)
    """

    rank = 1


@builtin("layers")
class ZeroPadding2D(_ZeroPadding):
    """Add zeros before and after, along height and width.

    Args:
        padding: one integer for all; one for each axis; or a pair (before, after) for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> ZeroPadding2D(1)(Input((4, 4, 2))).shape
    (None, 6, 6, 2)
    """

    rank = 2


@builtin("layers")
class ZeroPadding3D(_ZeroPadding):
    """Add zeros before and after, along three axes.

    Args:
        padding: one integer for all; one for each axis; or a pair (before, after) for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Raises:
        ShapeError: another number of axes.

    >>> from lamina.layers import Input
    >>> ZeroPadding3D(1)(Input((4, 4, 4, 2))).shape
    (None, 6, 6, 6, 2)
    """

    rank = 3


@builtin("layers")
class Cropping1D(_Cropping):
    """Cut entries off before and after, along the axis of time.

    Args:
        cropping: one integer for all; one for each axis; or a pair (before, after) for each axis.

    Raises:
        ShapeError: another number of axes, or nothing would be left.

    >>> from lamina.layers import Input
    >>> Cropping1D(1)(Input((4, 2))).shape
    (None, 2, 2)
    """

    rank = 1


@builtin("layers")
class Cropping2D(_Cropping):
    """Cut entries off before and after, along height and width.

    Args:
        cropping: one integer for all; one for each axis; or a pair (before, after) for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Raises:
        ShapeError: another number of axes, or nothing would be left.

    >>> from lamina.layers import Input
    >>> Cropping2D(1)(Input((4, 4, 2))).shape
    (None, 2, 2, 2)
    """

    rank = 2
    cropping: Any = 0
    data_format: Any = field(None, convert=settings.standardize_data_format)


@builtin("layers")
class Cropping3D(_Cropping):
    """Cut entries off before and after, along three axes.

    Args:
        cropping: one integer for all; one for each axis; or a pair (before, after) for each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.

    Raises:
        ShapeError: another number of axes, or nothing would be left.

    >>> from lamina.layers import Input
    >>> Cropping3D(1)(Input((4, 4, 4, 2))).shape
    (None, 2, 2, 2, 2)
    """

    rank = 3
    data_format: Any = field(None, convert=settings.standardize_data_format)


__all__ = [
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]
