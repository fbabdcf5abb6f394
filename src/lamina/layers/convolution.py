"""Convolutions: plain, transposed, depthwise and separable, over one to three dimensions.

The formulas are in :mod:`lamina.ops.lowering.conv`; a class here names its weights and its rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import activations, settings
from lamina.core.variable import value_of
from lamina.errors import ArgumentError
from lamina.layers.adapters import AdaptedLayer, Matrix
from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec
from lamina.layers.core import known_size
from lamina.layers.spatial_base import SpatialLayer, fill
from lamina.layers.weights import (
    KernelAndBias,
    add_weight,
    constraint,
    initializer,
    penalties,
    regularizer,
)
from lamina.ops.lowering import conv as lowering
from lamina.serialization.fields import field, integers, one_of, optional, per_axis, positive_int
from lamina.serialization.registry import builtin

_VALID_OR_SAME = one_of("valid", "same")

# Parts of the docstrings that all families share.
_WINDOW = """\
        kernel_size: Size of the window: one integer, or one for each spatial dimension."""
_COMMON = """\
        data_format: $data_format
        dilation_rate: Spacing between the elements of the kernel: one integer, or one for each
            spatial dimension. Above 1, ``strides`` must be 1."""
_LAST = """\
        activation: Function applied to the result; None for none.
        use_bias: Whether to add a bias to each output channel."""
_BIAS = """\
        bias_initializer: Initializer of the bias, of shape ``($channels_out,)``."""
_SHAPES = """\
    Shapes: ``(batch, $spatial, channels)`` to
    ``(batch, $new_spatial, $channels_out)`` with ``channels_last``.

    Raises:
        ArgumentError: An argument of the wrong form, or ``strides`` and ``dilation_rate`` above 1.
        ShapeError: A different number of axes or channels, or a window that is larger than a
            known dimension."""


def _text(summary: str, arguments: str, weights: str, channels_out: str, rest: str) -> str:
    """The template of a family: its own parts, combined with those that all families share."""
    parts = f"{summary}\n\n    Args:\n{arguments}\n{weights}\n{_BIAS}\n\n{_SHAPES}\n\n{rest}\n    "
    return parts.replace("$channels_out", channels_out)


class _Arguments:
    """Arguments that subclasses declare in Keras's order; and those of the bias."""

    strides: Any
    dilation_rate: Any
    use_bias: bool
    activation: Any
    bias: Any


@builtin()
class _Convolution(_Arguments, SpatialLayer):
    """Base class of all convolutions: checks, bias, activation."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        **KernelAndBias._shared_arguments,
        **penalties(depthwise="the depthwise kernel", pointwise="the pointwise kernel"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__}(): `strides` and `dilation_rate` cannot both be above 1. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}."
            )

    def _input_channels(self, input_shape: Any) -> int:
        """The number of input channels, which every later input must have."""
        channels = known_size(self, input_shape, self.channel_axis)
        self.input_spec = InputSpec(
            ndim=self.rank + 2,
            axes={self.channel_axis: channels},
            layout=layout(self.rank, self.data_format),
        )
        return channels

    def _add_bias(self, channels: int) -> None:
        self.bias = add_weight(self, "bias", (channels,)) if self.use_bias else None

    def _activated(self, y: Any) -> Any:
        """Add the bias and apply the activation, if any."""
        if self.use_bias:
            shape = (1, -1, *(1,) * self.rank) if self.channel_axis == 1 else (-1,)
            y = y + jnp.reshape(self.bias.value, shape)
        return y if self.activation is None else self.activation(y)


# ---- plain ---------------------------------------------------------------------------------------


@builtin()
class _Plain(AdaptedLayer, _Convolution, KernelAndBias):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field(convert=per_axis)
    strides: Any = field(default=1, convert=per_axis)
    padding: str = field(default="valid", convert=one_of("valid", "same", "causal"))
    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    dilation_rate: Any = field(default=1, convert=per_axis)
    groups: int = field(default=1, convert=positive_int)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding == "causal" and self.rank != 1:
            raise ArgumentError(
                f"{type(self).__name__}(): padding='causal' needs a single time dimension, as in "
                "Conv1D. Use 'valid' or 'same'."
            )
        if self.filters % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}(): `filters` must be a multiple of `groups`. "
                f"Received: filters={self.filters}, groups={self.groups}."
            )

    def build(self, input_shape: Any) -> None:
        """Add ``kernel`` and ``bias``."""
        channels = self._input_channels(input_shape)
        if channels % self.groups:
            raise ArgumentError(
                f"Layer {self.name!r}: the number of channels must be a multiple of `groups`. "
                f"Received: {channels} channels, groups={self.groups}.",
                layer=self.name,
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        rows = math.prod(shape[:-1])
        self._matrices = (Matrix("kernel", shape, (*range(self.rank + 1),), (rows, self.filters)),)
        self._kernel = add_weight(self, "kernel", shape)
        self._add_bias(self.filters)
        self._add_adapter()

    @property
    def kernel(self) -> Any:
        """The variable of the kernel; with an adapter, the sum of both."""
        return self._matrix()

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        return self._activated(self.convolution_op(inputs, value_of(self.kernel)))

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution without bias and activation: a subclass may use another kernel in it.

        Args:
            inputs: The input of the layer.
            kernel: The kernel, an array.
        """
        return lowering.conv(
            inputs, kernel, self.strides, self.padding, self.dilation_rate, self.groups,
            self.data_format,
        )  # fmt: skip


_KERNEL = """\
        kernel_initializer: Initializer of the kernel, of shape
            ``(*kernel_size, {shape})``."""
_LORA = """
        lora_rank: If given, freeze the kernel and train a difference of this rank to it: see
            :meth:`enable_lora`.
        lora_alpha: The difference is multiplied by ``lora_alpha / lora_rank``; ``lora_rank`` when
            None."""
_PLAIN = _text(
    """Convolution over $dimensions.

    With one spatial dimension,
    ``y[i, f] = bias[f] + sum over t, c of x[i * strides + t * dilation_rate, c] * kernel[t, c, f]``
    and then the activation. As usual in deep learning this is a cross-correlation: the kernel is
    not flipped.""",
    f"""        filters: Number of filters, which is the number of output channels.
{_WINDOW}
        strides: Stride of the window: one integer, or one for each spatial dimension.
        padding: ``"valid"`` for none, or ``"same"`` for zeros on both sides, with which strides of
            1 keep the spatial shape.$causal
{_COMMON}
        groups: Number of groups into which the input channels and the filters are split; each
            group of filters is applied to its own group of channels.
{_LAST}""",
    _KERNEL.format(shape="channels // groups, filters") + _LORA,
    "filters",
    """    Dumoulin and Visin 2016, arXiv:1603.07285, explains padding, strides and dilation.

    >>> from lamina.layers import Input
    >>> Conv${rank}D(8, 3)(Input(($input))).shape
    (None, $output)""",
)
_CAUSAL = """ ``"causal"`` puts all zeros before the first time step, so
            that no output depends on later inputs."""


@builtin("layers")
class Conv1D(_Plain):
    __doc__ = fill(_PLAIN.replace("$causal", _CAUSAL), 1, input=(10, 4), output=(8, 8))
    rank = 1


@builtin("layers")
class Conv2D(_Plain):
    __doc__ = fill(_PLAIN.replace("$causal", ""), 2, input=(10, 4), output=(8, 8))
    rank = 2


@builtin("layers")
class Conv3D(_Plain):
    __doc__ = fill(_PLAIN.replace("$causal", ""), 3, input=(6, 4), output=(4, 8))
    rank = 3


# ---- transposed ----------------------------------------------------------------------------------


@builtin()
class _Transposed(_Convolution, KernelAndBias):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field(convert=per_axis)
    strides: Any = field(default=1, convert=per_axis)
    padding: str = field(default="valid", convert=_VALID_OR_SAME)
    output_padding: Any = field(default=None, convert=optional(integers))
    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    dilation_rate: Any = field(default=1, convert=per_axis)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_padding is None:
            return
        if len(self.output_padding) == 1:
            self.output_padding *= self.rank
        wrong = len(self.output_padding) != self.rank or any(
            not 0 <= n < stride for n, stride in zip(self.output_padding, self.strides, strict=True)
        )
        if wrong:
            raise ArgumentError(
                f"{type(self).__name__}(): `output_padding` must be one integer, or one for each "
                "spatial dimension, from 0 to the stride exclusive. Received: "
                f"output_padding={self.output_padding}, strides={self.strides}."
            )

    def build(self, input_shape: Any) -> None:
        """Add ``kernel`` and ``bias``."""
        shape = (*self.kernel_size, self.filters, self._input_channels(input_shape))
        self.kernel = add_weight(self, "kernel", shape)
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        y = lowering.conv_transpose(
            inputs, self.kernel.value, self.strides, self.padding, self.dilation_rate,
            self.output_padding, self.data_format,
        )  # fmt: skip
        return self._activated(y)


_TRANSPOSED = _text(
    """Transposed convolution over $dimensions, used for upsampling.

    It is the gradient of a convolution with respect to its input: each input element, multiplied by
    the kernel, is added to the output around the corresponding position. Also called, loosely,
    deconvolution.""",
    f"""        filters: Number of filters, which is the number of output channels.
{_WINDOW}
        strides: Upsampling factor: one integer, or one for each spatial dimension.
        padding: ``"valid"``, or ``"same"`` for an output of ``strides`` times the input's size.
        output_padding: Number of elements added at the end of each spatial dimension, less than the
            stride; derived from ``padding`` when None.
{_COMMON}
{_LAST}""",
    _KERNEL.format(shape="filters, channels"),
    "filters",
    """    Zeiler et al. 2010, doi:10.1109/CVPR.2010.5539957; Dumoulin and Visin 2016,
    arXiv:1603.07285.

    >>> from lamina.layers import Input
    >>> Conv${rank}DTranspose(8, 3)(Input(($input))).shape
    (None, $output)""",
)


@builtin("layers")
class Conv1DTranspose(_Transposed):
    __doc__ = fill(_TRANSPOSED, 1, input=(10, 4), output=(12, 8))
    rank = 1


@builtin("layers")
class Conv2DTranspose(_Transposed):
    __doc__ = fill(_TRANSPOSED, 2, input=(10, 4), output=(12, 8))
    rank = 2


@builtin("layers")
class Conv3DTranspose(_Transposed):
    __doc__ = fill(_TRANSPOSED, 3, input=(6, 4), output=(8, 8))
    rank = 3
    # In Keras's order, which differs from that of the other two here.
    output_padding: Any = field(default=None, convert=optional(integers))
    dilation_rate: Any = field(default=1, convert=per_axis)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True


# ---- depthwise and separable ---------------------------------------------------------------------


@builtin()
class _Depthwise(_Convolution):
    kernel_size: Any = field(convert=per_axis)
    strides: Any = field(default=1, convert=per_axis)
    padding: str = field(default="valid", convert=_VALID_OR_SAME)
    depth_multiplier: int = field(default=1, convert=positive_int)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    dilation_rate: Any = field(default=1, convert=per_axis)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = initializer("glorot_uniform")
    bias_initializer: Any = initializer("zeros")
    depthwise_regularizer: Any = regularizer()
    bias_regularizer: Any = regularizer()
    activity_regularizer: Any = regularizer()
    depthwise_constraint: Any = constraint()
    bias_constraint: Any = constraint()

    def build(self, input_shape: Any) -> None:
        """Add ``kernel`` and ``bias``."""
        channels = self._input_channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = add_weight(self, "depthwise", shape, "kernel")
        self._add_bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        """Convolve each channel."""
        y = lowering.depthwise_conv(inputs, self.kernel.value, self.strides, self.padding,
                                    self.dilation_rate, self.data_format)  # fmt: skip
        return self._activated(y)


_DEPTHWISE_WEIGHTS = """\
        depthwise_initializer: Initializer of the depthwise kernel, of shape
            ``(*kernel_size, channels, depth_multiplier)``."""
_STRIDES = """\
        strides: Stride of the window: one integer, or one for each spatial dimension.
        padding: ``"valid"`` for none, or ``"same"`` for zeros on both sides, with which strides of
            1 keep the spatial shape."""
_DEPTHWISE = _text(
    """Depthwise convolution over $dimensions.

    Each input channel is convolved with ``depth_multiplier`` separate filters; channels are
    not mixed.""",
    f"""{_WINDOW}
{_STRIDES}
        depth_multiplier: Number of filters for each input channel.
{_COMMON}
{_LAST}""",
    _DEPTHWISE_WEIGHTS,
    "channels * depth_multiplier",
    """    Howard et al. 2017, arXiv:1704.04861.

    >>> from lamina.layers import Input
    >>> DepthwiseConv${rank}D(3)(Input(($input))).shape
    (None, $output)""",
)


@builtin("layers")
class DepthwiseConv1D(_Depthwise):
    __doc__ = fill(_DEPTHWISE, 1, input=(10, 4), output=(8, 4))
    rank = 1


@builtin("layers")
class DepthwiseConv2D(_Depthwise):
    __doc__ = fill(_DEPTHWISE, 2, input=(10, 4), output=(8, 4))
    rank = 2


@builtin()
class _Separable(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any = field(convert=per_axis)
    strides: Any = field(default=1, convert=per_axis)
    padding: str = field(default="valid", convert=_VALID_OR_SAME)
    data_format: Any = field(default=None, convert=settings.standardize_data_format)
    dilation_rate: Any = field(default=1, convert=per_axis)
    depth_multiplier: int = field(default=1, convert=positive_int)
    activation: Any = field(default=None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = initializer("glorot_uniform")
    pointwise_initializer: Any = initializer("glorot_uniform")
    bias_initializer: Any = initializer("zeros")
    depthwise_regularizer: Any = regularizer()
    pointwise_regularizer: Any = regularizer()
    bias_regularizer: Any = regularizer()
    activity_regularizer: Any = regularizer()
    depthwise_constraint: Any = constraint()
    pointwise_constraint: Any = constraint()
    bias_constraint: Any = constraint()

    def build(self, input_shape: Any) -> None:
        """Add ``depthwise_kernel``, ``pointwise_kernel`` and ``bias``."""
        channels, ones = self._input_channels(input_shape), (1,) * self.rank
        depth = (*self.kernel_size, channels, self.depth_multiplier)
        point = (*ones, channels * self.depth_multiplier, self.filters)
        self.depthwise_kernel = add_weight(self, "depthwise", depth, "depthwise_kernel")
        self.pointwise_kernel = add_weight(self, "pointwise", point, "pointwise_kernel")
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve each channel, then mix the channels."""
        ones = (1,) * self.rank
        y = lowering.depthwise_conv(inputs, self.depthwise_kernel.value, self.strides,
                                    self.padding, self.dilation_rate, self.data_format)  # fmt: skip
        y = lowering.conv(y, self.pointwise_kernel.value, ones, "valid", ones, 1, self.data_format)
        return self._activated(y)


_SEPARABLE = _text(
    """Depthwise separable convolution over $dimensions.

    A depthwise convolution, which treats each channel by itself, followed by a pointwise one with a
    window of size 1, which mixes the channels: far fewer weights than a plain convolution.""",
    f"""        filters: Number of filters, which is the number of output channels.
{_WINDOW}
{_STRIDES}
{_COMMON}
        depth_multiplier: Number of depthwise filters for each input channel.
{_LAST}""",
    f"""{_DEPTHWISE_WEIGHTS}
        pointwise_initializer: Initializer of the pointwise kernel, of shape
            ``(1, ..., channels * depth_multiplier, filters)``.""",
    "filters",
    """    Chollet 2017, arXiv:1610.02357.

    >>> from lamina.layers import Input
    >>> SeparableConv${rank}D(8, 3)(Input(($input))).shape
    (None, $output)""",
)


@builtin("layers")
class SeparableConv1D(_Separable):
    __doc__ = fill(_SEPARABLE, 1, input=(10, 4), output=(8, 8))
    rank = 1


@builtin("layers")
class SeparableConv2D(_Separable):
    __doc__ = fill(_SEPARABLE, 2, input=(10, 4), output=(8, 8))
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
