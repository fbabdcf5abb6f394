"""Convolutions: plain, transposed, depthwise and separable, over one, two or three axes.

The formulas are in :mod:`lamina.ops.lowering.conv`; a class here names its weights and its rank.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import activations, constraints, initializers, regularizers, settings
from lamina.errors import ArgumentError
from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.ops.lowering import conv as lowering
from lamina.serialization.fields import field, int_tuple, one_of, positive_int
from lamina.serialization.registry import builtin


class _Arguments:
    """The arguments that every convolution declares, each kind in Keras's own order."""

    kernel_size: Any
    strides: Any
    dilation_rate: Any
    data_format: Any
    use_bias: bool
    activation: Any
    bias: Any


@builtin()
class _Convolution(_Arguments, Layer):
    """What all convolutions share: sizes as tuples of the right rank, checks, bias, activation."""

    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("kernel_size", "strides", "dilation_rate"):
            try:
                setattr(self, name, int_tuple(self.rank)(getattr(self, name)))
            except (ArgumentError, TypeError) as e:
                raise ArgumentError(f"{type(self).__name__}(): `{name}`: {e}") from None
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__}(): `strides` and `dilation_rate` cannot both be above 1. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}."
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, layout=layout(self.rank, self.data_format))

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _see(self, input_shape: Any) -> int:
        """The number of input channels, which every later input must have."""
        channels = known_size(self, input_shape, self._channel_axis)
        self.input_spec = InputSpec(
            ndim=self.rank + 2,
            axes={self._channel_axis: channels},
            layout=layout(self.rank, self.data_format),
        )
        return channels

    def _make(self, name: str, shape: tuple[int, ...], kind: str) -> Any:
        return self.add_weight(
            shape,
            getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
            name=name,
        )

    def _finish(self, y: Any) -> Any:
        """Add the bias, apply the activation."""
        if self.use_bias:
            shape = (1, -1, *(1,) * self.rank) if self._channel_axis == 1 else (-1,)
            y = y + jnp.reshape(self.bias.value, shape)
        return self.activation(y)


@builtin()
class _Plain(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field()
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same", "causal"))
    data_format: Any = field(None, convert=settings.standardize_data_format)
    dilation_rate: Any = 1
    groups: int = field(1, convert=positive_int)
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    kernel_initializer: Any = field("glorot_uniform", convert=initializers.get)
    bias_initializer: Any = field("zeros", convert=initializers.get)
    kernel_regularizer: Any = field(None, convert=regularizers.get)
    bias_regularizer: Any = field(None, convert=regularizers.get)
    activity_regularizer: Any = field(None, convert=regularizers.get)
    kernel_constraint: Any = field(None, convert=constraints.get)
    bias_constraint: Any = field(None, convert=constraints.get)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding == "causal" and self.rank != 1:
            raise ArgumentError(
                f"{type(self).__name__}(): padding='causal' is for one axis of time, Conv1D. "
                "Use 'valid' or 'same'."
            )
        if self.filters % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}(): `filters` is a multiple of `groups`. "
                f"Received: filters={self.filters}, groups={self.groups}."
            )

    def build(self, input_shape: Any) -> None:
        channels = self._see(input_shape)
        if channels % self.groups:
            raise ArgumentError(
                f"Layer {self.name!r}: the number of channels is a multiple of `groups`. "
                f"Received: {channels} channels, groups={self.groups}."
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._make("kernel", shape, "kernel")
        self.bias = self._make("bias", (self.filters,), "bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        y = lowering.conv(inputs, self.kernel.value, self.strides, self.padding,
                          self.dilation_rate, self.groups, self.data_format)  # fmt: skip
        return self._finish(y)


@builtin()
class _Transposed(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field()
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    output_padding: Any = None
    data_format: Any = field(None, convert=settings.standardize_data_format)
    dilation_rate: Any = 1
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    kernel_initializer: Any = field("glorot_uniform", convert=initializers.get)
    bias_initializer: Any = field("zeros", convert=initializers.get)
    kernel_regularizer: Any = field(None, convert=regularizers.get)
    bias_regularizer: Any = field(None, convert=regularizers.get)
    activity_regularizer: Any = field(None, convert=regularizers.get)
    kernel_constraint: Any = field(None, convert=constraints.get)
    bias_constraint: Any = field(None, convert=constraints.get)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_padding is None:
            return
        self.output_padding = int_tuple(self.rank, minimum=0)(self.output_padding)
        pairs = zip(self.output_padding, self.strides, strict=True)
        if any(padding >= stride for padding, stride in pairs):
            raise ArgumentError(
                f"{type(self).__name__}(): `output_padding` is smaller than `strides`. Received: "
                f"output_padding={self.output_padding}, strides={self.strides}."
            )

    def build(self, input_shape: Any) -> None:
        shape = (*self.kernel_size, self.filters, self._see(input_shape))
        self.kernel = self._make("kernel", shape, "kernel")
        self.bias = self._make("bias", (self.filters,), "bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        y = lowering.conv_transpose(
            inputs, self.kernel.value, self.strides, self.padding, self.dilation_rate,
            self.output_padding, self.data_format,
        )  # fmt: skip
        return self._finish(y)


@builtin()
class _Depthwise(_Convolution):
    kernel_size: Any = field()
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    depth_multiplier: int = field(1, convert=positive_int)
    data_format: Any = field(None, convert=settings.standardize_data_format)
    dilation_rate: Any = 1
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = field("glorot_uniform", convert=initializers.get)
    bias_initializer: Any = field("zeros", convert=initializers.get)
    depthwise_regularizer: Any = field(None, convert=regularizers.get)
    bias_regularizer: Any = field(None, convert=regularizers.get)
    activity_regularizer: Any = field(None, convert=regularizers.get)
    depthwise_constraint: Any = field(None, convert=constraints.get)
    bias_constraint: Any = field(None, convert=constraints.get)

    def build(self, input_shape: Any) -> None:
        channels = self._see(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self._make("kernel", shape, "depthwise")
        size = channels * self.depth_multiplier
        self.bias = self._make("bias", (size,), "bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        y = lowering.depthwise_conv(inputs, self.kernel.value, self.strides, self.padding,
                                    self.dilation_rate, self.data_format)  # fmt: skip
        return self._finish(y)


@builtin()
class _Separable(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field()
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    data_format: Any = field(None, convert=settings.standardize_data_format)
    dilation_rate: Any = 1
    depth_multiplier: int = field(1, convert=positive_int)
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = field("glorot_uniform", convert=initializers.get)
    pointwise_initializer: Any = field("glorot_uniform", convert=initializers.get)
    bias_initializer: Any = field("zeros", convert=initializers.get)
    depthwise_regularizer: Any = field(None, convert=regularizers.get)
    pointwise_regularizer: Any = field(None, convert=regularizers.get)
    bias_regularizer: Any = field(None, convert=regularizers.get)
    activity_regularizer: Any = field(None, convert=regularizers.get)
    depthwise_constraint: Any = field(None, convert=constraints.get)
    pointwise_constraint: Any = field(None, convert=constraints.get)
    bias_constraint: Any = field(None, convert=constraints.get)

    def build(self, input_shape: Any) -> None:
        channels, ones = self._see(input_shape), (1,) * self.rank
        depth = (*self.kernel_size, channels, self.depth_multiplier)
        point = (*ones, channels * self.depth_multiplier, self.filters)
        self.depthwise_kernel = self._make("depthwise_kernel", depth, "depthwise")
        self.pointwise_kernel = self._make("pointwise_kernel", point, "pointwise")
        self.bias = self._make("bias", (self.filters,), "bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        ones = (1,) * self.rank
        y = lowering.depthwise_conv(inputs, self.depthwise_kernel.value, self.strides,
                                    self.padding, self.dilation_rate, self.data_format)  # fmt: skip
        y = lowering.conv(y, self.pointwise_kernel.value, ones, "valid", ones, 1, self.data_format)
        return self._finish(y)


@builtin("layers")
class Conv1D(_Plain):
    """Convolution over one axis: each filter slides over the input.

    ``y[i, f] = bias[f] + sum over t, c of x[i * strides + t * dilation_rate, c] * kernel[t, c, f]``
    for one axis, then the activation (a cross-correlation, as everywhere in the field).

    Args:
        filters: number of filters, the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` (none), ``"same"`` (zeros, so that strides of 1 keep the size),
            or ``"causal"`` (zeros before: no place sees a later one).
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        groups: number of groups that channels and filters are divided into.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv1D(8, 3)(Input((10, 4))).shape
    (None, 8, 8)
    """

    rank = 1


@builtin("layers")
class Conv2D(_Plain):
    """Convolution over two axes: each filter slides over the input.

    ``y[i, f] = bias[f] + sum over t, c of x[i * strides + t * dilation_rate, c] * kernel[t, c, f]``
    for one axis, then the activation (a cross-correlation, as everywhere in the field).

    Args:
        filters: number of filters, the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` (none), ``"same"`` (zeros, so that strides of 1 keep the size).
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        groups: number of groups that channels and filters are divided into.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv2D(8, 3)(Input((10, 10, 4))).shape
    (None, 8, 8, 8)
    """

    rank = 2


@builtin("layers")
class Conv3D(_Plain):
    """Convolution over three axes: each filter slides over the input.

    ``y[i, f] = bias[f] + sum over t, c of x[i * strides + t * dilation_rate, c] * kernel[t, c, f]``
    for one axis, then the activation (a cross-correlation, as everywhere in the field).

    Args:
        filters: number of filters, the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` (none), ``"same"`` (zeros, so that strides of 1 keep the size).
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        groups: number of groups that channels and filters are divided into.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv3D(8, 3)(Input((6, 6, 6, 4))).shape
    (None, 4, 4, 4, 8)
    """

    rank = 3


@builtin("layers")
class Conv1DTranspose(_Transposed):
    """Transposed convolution over one axis: the gradient of a convolution, used to enlarge.

    Each entry of the input, times the kernel, is added to the output around its place.

    Args:
        filters: the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: factor of enlargement.
        padding: ``"valid"`` or ``"same"`` (the output is ``strides`` times the input).
        output_padding: entries added at the end of each axis; found from ``padding`` when None.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv1DTranspose(8, 3)(Input((10, 4))).shape
    (None, 12, 8)
    """

    rank = 1


@builtin("layers")
class Conv2DTranspose(_Transposed):
    """Transposed convolution over two axes: the gradient of a convolution, used to enlarge.

    Each entry of the input, times the kernel, is added to the output around its place.

    Args:
        filters: the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: factor of enlargement.
        padding: ``"valid"`` or ``"same"`` (the output is ``strides`` times the input).
        output_padding: entries added at the end of each axis; found from ``padding`` when None.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv2DTranspose(8, 3)(Input((10, 10, 4))).shape
    (None, 12, 12, 8)
    """

    rank = 2


@builtin("layers")
class Conv3DTranspose(_Transposed):
    """Transposed convolution over three axes: the gradient of a convolution, used to enlarge.

    Each entry of the input, times the kernel, is added to the output around its place.

    Args:
        filters: the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: factor of enlargement.
        padding: ``"valid"`` or ``"same"`` (the output is ``strides`` times the input).
        output_padding: entries added at the end of each axis; found from ``padding`` when None.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> Conv3DTranspose(8, 3)(Input((6, 6, 6, 4))).shape
    (None, 8, 8, 8, 8)
    """

    rank = 3


@builtin("layers")
class DepthwiseConv1D(_Depthwise):
    """Depthwise convolution over one axis: each channel has filters of its own.

    Args:
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        depth_multiplier: number of filters for each channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> DepthwiseConv1D(3)(Input((10, 4))).shape
    (None, 8, 4)
    """

    rank = 1


@builtin("layers")
class DepthwiseConv2D(_Depthwise):
    """Depthwise convolution over two axes: each channel has filters of its own.

    Args:
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        depth_multiplier: number of filters for each channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> DepthwiseConv2D(3)(Input((10, 10, 4))).shape
    (None, 8, 8, 4)
    """

    rank = 2


@builtin("layers")
class SeparableConv1D(_Separable):
    """Separable convolution over one axis: depthwise, then 1-wide across the channels.

    Args:
        filters: the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        depth_multiplier: number of depthwise filters for each channel.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> SeparableConv1D(8, 3)(Input((10, 4))).shape
    (None, 8, 8)
    """

    rank = 1


@builtin("layers")
class SeparableConv2D(_Separable):
    """Separable convolution over two axes: depthwise, then 1-wide across the channels.

    Args:
        filters: the output's channels.
        kernel_size: size of the window, one integer or one for each axis.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default layout when None.
        dilation_rate: distance of the window's entries.
        depth_multiplier: number of depthwise filters for each channel.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.

    Initializers, regularizers and constraints are as for :class:`~lamina.layers.Dense`.

    Shapes: ``(batch, *sizes, channels)`` to ``(batch, *places, channels of the output)``.

    Raises:
        ShapeError: another number of axes or channels, or a window larger than a known size.

    >>> from lamina.layers import Input
    >>> SeparableConv2D(8, 3)(Input((10, 10, 4))).shape
    (None, 8, 8, 8)
    """

    rank = 2


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = (
    Conv1DTranspose, Conv2DTranspose, Conv3DTranspose,
)  # fmt: skip
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D

__all__ = [
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose",
    "Convolution1D", "Convolution1DTranspose", "Convolution2D", "Convolution2DTranspose",
    "Convolution3D", "Convolution3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D",
    "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D",
]  # fmt: skip
