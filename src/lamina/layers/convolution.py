"""Convolutions over one, two and three axes: plain, transposed, depthwise, separable."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from lamina import activations, config, constraints, initializers, regularizers
from lamina.core.fields import field, int_tuple, one_of, positive_int
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.ops.lowering.conv import conv, conv_transpose, depthwise_conv


def _sizes(rank: int, *default: int) -> Any:
    """A field of one integer for each axis."""
    convert = int_tuple(rank)
    return field(default * rank, convert=convert) if default else field(convert=convert)


def _weight(default: str | None, kind: Any) -> Any:
    return field(default, convert=kind.get)


class _Convolution(Layer):
    """What all convolutions share: the number of axes, the weights' making, bias and activation.

    The arguments of each family are declared there, in Keras's order.
    """

    rank: ClassVar[int]
    kernel_size: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Variable | None = None

    def _one_of_strides_and_dilation(self: Any) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__}() takes strides or dilation_rate above 1, not both. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}."
            )

    def _channels(self: Any, input_shape: Any) -> int:
        """The number of channels, which every later input must have."""
        axis = -1 if self.data_format == "channels_last" else 1
        channels = known_size(self, input_shape, axis)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _add(self, name: str, shape: tuple[int, ...], arguments: str) -> Variable:
        """A weight that the arguments ``<arguments>_initializer``, ... describe."""
        return self.add_weight(
            shape, getattr(self, f"{arguments}_initializer"), name=name,
            regularizer=getattr(self, f"{arguments}_regularizer"),
            constraint=getattr(self, f"{arguments}_constraint"),
        )  # fmt: skip

    def _add_bias(self: Any, filters: int) -> None:
        if self.use_bias:
            self.bias = self._add("bias", (filters,), "bias")

    def _finished(self: Any, x: Any) -> Any:
        """Bias and activation."""
        if self.bias is not None:
            bias = self.bias.value
            if self.data_format == "channels_first":
                bias = jnp.reshape(bias, (-1, *(1,) * self.rank))
            x = x + bias
        return self.activation(x)


# ---- plain ---------------------------------------------------------------------------------------


class _Conv(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    data_format: str = field(None, convert=config.standardize_data_format)
    dilation_rate: Any = 1
    groups: int = field(1, convert=positive_int)
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    kernel_initializer: Any = _weight("glorot_uniform", initializers)
    bias_initializer: Any = _weight("zeros", initializers)
    kernel_regularizer: Any = _weight(None, regularizers)
    bias_regularizer: Any = _weight(None, regularizers)
    kernel_constraint: Any = _weight(None, constraints)
    bias_constraint: Any = _weight(None, constraints)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of_strides_and_dilation()
        if self.filters % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}(): `groups` must divide `filters`. "
                f"Received: filters={self.filters}, groups={self.groups}."
            )

    def build(self, input_shape: Any) -> None:
        """Make ``kernel`` and ``bias``."""
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot divide these channels.\n"
                f"  expected: a multiple of groups={self.groups} channels\n"
                f"  received: {channels} channels, shape {tuple(input_shape)}"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._add("kernel", shape, "kernel")
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias, activate."""
        x = conv(inputs, self.kernel.value, self.strides, self.padding, self.dilation_rate,
                 self.groups, self.data_format)  # fmt: skip
        return self._finished(x)


class Conv2D(_Conv):
    """Slide a small kernel over two axes (of an image) and take the inner product at each place.

    ``activation(sum over i, j, c of x[h*s + i*d, w*s + j*d, c] * kernel[i, j, c, filter] + bias)``
    with strides ``s`` and dilation ``d``.

    Args:
        filters: size of the output's channel axis.
        kernel_size: height and width of the kernel, or one integer for both.
        strides: step between places.
        padding: ``"valid"`` keeps only places where the kernel lies inside; ``"same"`` surrounds
            the input with zeros so that, with strides 1, the sizes stay.
        data_format: ``"channels_last"``, ``"channels_first"``, or the default of
            ``lamina.config`` when None.
        dilation_rate: step between the entries of the kernel; above 1 only without strides.
        groups: number of parts into which channels and filters are divided, each by itself.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: for ``kernel``, of shape ``(*kernel_size, channels // groups, filters)``.
        bias_initializer: for ``bias``, of shape ``(filters,)``.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step.
        bias_constraint: projection of the bias after each step.

    Shapes: ``(batch, height, width, channels)`` to ``(batch, height', width', filters)``; with
    ``channels_first`` the channels are second in both. With a reach ``r = (kernel - 1) * d + 1``,
    a size ``n`` becomes ``floor((n - r) / s) + 1`` (valid) or ``ceil(n / s)`` (same).

    Raises:
        ShapeError: another number of axes, an open number of channels, another number than at the
            first call or one that ``groups`` does not divide, or an input smaller than the kernel.
        ArgumentError: strides and dilation both above 1; ``groups`` that does not divide filters.

    LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition".

    >>> Conv2D(32, 3, activation="relu")(jnp.ones((1, 28, 28, 1))).shape
    (1, 26, 26, 32)
    """

    rank = 2
    kernel_size: Any = _sizes(2)
    strides: Any = _sizes(2, 1)
    dilation_rate: Any = _sizes(2, 1)


class Conv1D(_Conv):
    """:class:`Conv2D` over one axis, such as time.

    Args:
        padding: besides ``"valid"`` and ``"same"``, ``"causal"``: all zeros come before, so that no
            output depends on a later input (van den Oord et al. 2016, arXiv:1609.03499).
        filters: size of the output's channel axis; this and the rest as for :class:`Conv2D`.

    Shapes: ``(batch, time, channels)`` to ``(batch, time', filters)``.

    Raises:
        ShapeError, ArgumentError: as for :class:`Conv2D`.

    >>> layer = Conv1D(1, 2, padding="causal", use_bias=False, kernel_initializer="ones")
    >>> layer(jnp.array([[[1.0], [2.0], [3.0]]])).ravel().tolist()
    [1.0, 3.0, 5.0]
    """

    rank = 1
    kernel_size: Any = _sizes(1)
    strides: Any = _sizes(1, 1)
    padding: str = field("valid", convert=one_of("valid", "same", "causal"))
    dilation_rate: Any = _sizes(1, 1)


class Conv3D(_Conv):
    """:class:`Conv2D` over three axes, such as those of a volume or a film.

    Args:
        filters: size of the output's channel axis; this and the rest as for :class:`Conv2D`, with
            three sizes instead of two.

    Shapes: ``(batch, depth, height, width, channels)`` to ``(batch, depth', height', width',
    filters)``.

    Raises:
        ShapeError, ArgumentError: as for :class:`Conv2D`.

    >>> Conv3D(4, (1, 3, 3), strides=2)(jnp.ones((1, 8, 9, 9, 2))).shape
    (1, 4, 4, 4, 4)
    """

    rank = 3
    kernel_size: Any = _sizes(3)
    strides: Any = _sizes(3, 1)
    dilation_rate: Any = _sizes(3, 1)


# ---- transposed ----------------------------------------------------------------------------------


class _ConvTranspose(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    output_padding: Any = None
    data_format: str = field(None, convert=config.standardize_data_format)
    dilation_rate: Any = 1
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    kernel_initializer: Any = _weight("glorot_uniform", initializers)
    bias_initializer: Any = _weight("zeros", initializers)
    kernel_regularizer: Any = _weight(None, regularizers)
    bias_regularizer: Any = _weight(None, regularizers)
    kernel_constraint: Any = _weight(None, constraints)
    bias_constraint: Any = _weight(None, constraints)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of_strides_and_dilation()
        if self.output_padding is not None and any(
            extra >= s for extra, s in zip(self.output_padding, self.strides, strict=True)
        ):
            raise ArgumentError(
                f"{type(self).__name__}(): `output_padding` must be smaller than `strides`. "
                f"Received: output_padding={self.output_padding}, strides={self.strides}."
            )

    def build(self, input_shape: Any) -> None:
        """Make ``kernel`` and ``bias``."""
        shape = (*self.kernel_size, self.filters, self._channels(input_shape))
        self.kernel = self._add("kernel", shape, "kernel")
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Spread, add the bias, activate."""
        x = conv_transpose(inputs, self.kernel.value, self.strides, self.padding,
                           self.dilation_rate, self.output_padding, self.data_format)  # fmt: skip
        return self._finished(x)


def _output_padding(rank: int) -> Any:
    convert = int_tuple(rank, minimum=0)
    return field(None, convert=lambda value: None if value is None else convert(value))


class Conv2DTranspose(_ConvTranspose):
    """Enlarge an image with learned kernels: the linear map that is :class:`Conv2D`'s transpose.

    Each entry of the input, times the kernel, is added to the output at ``strides`` times its
    place: ``y[h*s + i*d, w*s + j*d, filter] += x[h, w, c] * kernel[i, j, filter, c]``; then the
    borders are cut or filled as ``padding`` says, the bias is added and the activation applied.

    Args:
        filters: size of the output's channel axis.
        kernel_size: height and width of the kernel, or one integer for both.
        strides: step between the places of neighbouring entries: the factor of enlargement.
        padding: ``"same"`` makes ``size * strides`` of a size; ``"valid"`` keeps all that the
            kernel reaches.
        output_padding: rows and columns added to the smallest output that a :class:`Conv2D` with
            these arguments would map to the input; must be below ``strides``. Chosen so that
            sizes are as said for ``padding`` when None.
        data_format: ``"channels_last"``, ``"channels_first"``, or the default of
            ``lamina.config`` when None.
        dilation_rate: step between the entries of the kernel; above 1 only without strides.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: for ``kernel``, of shape ``(*kernel_size, filters, channels)``.
        bias_initializer: for ``bias``, of shape ``(filters,)``.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step.
        bias_constraint: projection of the bias after each step.

    Shapes: ``(batch, height, width, channels)`` to ``(batch, height', width', filters)``; a size
    ``n`` becomes ``n * s`` (same) or ``n * s + max(r - s, 0)`` (valid), ``r`` as in
    :class:`Conv2D`.

    Raises:
        ShapeError: another number of axes, an open number of channels or another than at the first
            call, or an output without entries.
        ArgumentError: strides and dilation both above 1; ``output_padding`` not below ``strides``.

    Dumoulin and Visin 2016, arXiv:1603.07285.

    >>> Conv2DTranspose(8, 3, strides=2, padding="same")(jnp.ones((1, 7, 7, 4))).shape
    (1, 14, 14, 8)
    """

    rank = 2
    kernel_size: Any = _sizes(2)
    strides: Any = _sizes(2, 1)
    output_padding: Any = _output_padding(2)
    dilation_rate: Any = _sizes(2, 1)


class Conv1DTranspose(_ConvTranspose):
    """:class:`Conv2DTranspose` over one axis.

    Args:
        filters: size of the output's channel axis; this and the rest as for
            :class:`Conv2DTranspose`.

    Shapes: ``(batch, time, channels)`` to ``(batch, time', filters)``.

    Raises:
        ShapeError, ArgumentError: as for :class:`Conv2DTranspose`.

    >>> layer = Conv1DTranspose(1, 3, strides=2, kernel_initializer="ones")
    >>> layer(jnp.array([[[1.0], [10.0]]])).ravel().tolist()
    [1.0, 1.0, 11.0, 10.0, 10.0]
    """

    rank = 1
    kernel_size: Any = _sizes(1)
    strides: Any = _sizes(1, 1)
    output_padding: Any = _output_padding(1)
    dilation_rate: Any = _sizes(1, 1)


class Conv3DTranspose(_ConvTranspose):
    """:class:`Conv2DTranspose` over three axes.

    Args:
        filters: size of the output's channel axis; this and the rest as for
            :class:`Conv2DTranspose`, with three sizes instead of two.

    Shapes: ``(batch, depth, height, width, channels)`` to ``(batch, depth', height', width',
    filters)``.

    Raises:
        ShapeError, ArgumentError: as for :class:`Conv2DTranspose`.

    >>> Conv3DTranspose(4, 2, strides=2)(jnp.ones((1, 3, 4, 5, 2))).shape
    (1, 6, 8, 10, 4)
    """

    rank = 3
    kernel_size: Any = _sizes(3)
    strides: Any = _sizes(3, 1)
    output_padding: Any = _output_padding(3)
    dilation_rate: Any = _sizes(3, 1)


# ---- depthwise -----------------------------------------------------------------------------------


class _DepthwiseConv(_Convolution):
    kernel_size: Any
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    depth_multiplier: int = field(1, convert=positive_int)
    data_format: str = field(None, convert=config.standardize_data_format)
    dilation_rate: Any = 1
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = _weight("glorot_uniform", initializers)
    bias_initializer: Any = _weight("zeros", initializers)
    depthwise_regularizer: Any = _weight(None, regularizers)
    bias_regularizer: Any = _weight(None, regularizers)
    depthwise_constraint: Any = _weight(None, constraints)
    bias_constraint: Any = _weight(None, constraints)

    def build(self, input_shape: Any) -> None:
        """Make ``kernel`` and ``bias``."""
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self._add("kernel", shape, "depthwise")
        self._add_bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        """Convolve each channel, add the bias, activate."""
        x = depthwise_conv(inputs, self.kernel.value, self.strides, self.padding,
                           self.dilation_rate, self.data_format)  # fmt: skip
        return self._finished(x)


class DepthwiseConv2D(_DepthwiseConv):
    """A :class:`Conv2D` of each channel by itself, with ``depth_multiplier`` kernels for each.

    Args:
        kernel_size: height and width of the kernels, or one integer for both.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``, as for :class:`Conv2D`.
        depth_multiplier: number of kernels, and so of outputs, for each channel.
        data_format: ``"channels_last"``, ``"channels_first"``, or the default of
            ``lamina.config`` when None.
        dilation_rate: step between the entries of a kernel.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: for ``kernel``, of shape ``(*kernel_size, channels, multiplier)``.
        bias_initializer: for ``bias``, of shape ``(channels * multiplier,)``.
        depthwise_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        depthwise_constraint: projection of the kernel after each step.
        bias_constraint: projection of the bias after each step.

    Shapes: ``(batch, height, width, channels)`` to ``(batch, height', width', channels *
    multiplier)``, the outputs of one channel side by side; sizes as for :class:`Conv2D`.

    Raises:
        ShapeError: another number of axes, an open number of channels or another than at the first
            call, or an input smaller than the kernel.

    >>> DepthwiseConv2D(3, depth_multiplier=2)(jnp.ones((1, 8, 8, 4))).shape
    (1, 6, 6, 8)
    """

    rank = 2
    kernel_size: Any = _sizes(2)
    strides: Any = _sizes(2, 1)
    dilation_rate: Any = _sizes(2, 1)


class DepthwiseConv1D(_DepthwiseConv):
    """:class:`DepthwiseConv2D` over one axis.

    Args:
        kernel_size: length of the kernels; this and the rest as for :class:`DepthwiseConv2D`.

    Shapes: ``(batch, time, channels)`` to ``(batch, time', channels * multiplier)``.

    Raises:
        ShapeError: as for :class:`DepthwiseConv2D`.

    >>> layer = DepthwiseConv1D(2, depthwise_initializer="ones")
    >>> layer(jnp.array([[[1.0, 10.0], [2.0, 20.0]]])).tolist()
    [[[3.0, 30.0]]]
    """

    rank = 1
    kernel_size: Any = _sizes(1)
    strides: Any = _sizes(1, 1)
    dilation_rate: Any = _sizes(1, 1)


# ---- separable -----------------------------------------------------------------------------------


class _SeparableConv(_Convolution):
    filters: int = field(convert=positive_int)
    kernel_size: Any
    strides: Any = 1
    padding: str = field("valid", convert=one_of("valid", "same"))
    data_format: str = field(None, convert=config.standardize_data_format)
    dilation_rate: Any = 1
    depth_multiplier: int = field(1, convert=positive_int)
    activation: Any = field(None, convert=activations.get)
    use_bias: bool = True
    depthwise_initializer: Any = _weight("glorot_uniform", initializers)
    pointwise_initializer: Any = _weight("glorot_uniform", initializers)
    bias_initializer: Any = _weight("zeros", initializers)
    depthwise_regularizer: Any = _weight(None, regularizers)
    pointwise_regularizer: Any = _weight(None, regularizers)
    bias_regularizer: Any = _weight(None, regularizers)
    depthwise_constraint: Any = _weight(None, constraints)
    pointwise_constraint: Any = _weight(None, constraints)
    bias_constraint: Any = _weight(None, constraints)

    def build(self, input_shape: Any) -> None:
        """Make ``depthwise_kernel``, ``pointwise_kernel`` and ``bias``."""
        channels, multiplier = self._channels(input_shape), self.depth_multiplier
        self.depthwise_kernel = self._add(
            "depthwise_kernel", (*self.kernel_size, channels, multiplier), "depthwise"
        )
        self.pointwise_kernel = self._add(
            "pointwise_kernel", (*(1,) * self.rank, channels * multiplier, self.filters),
            "pointwise",
        )  # fmt: skip
        self._add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve each channel, mix the channels, add the bias, activate."""
        ones = (1,) * self.rank
        x = depthwise_conv(inputs, self.depthwise_kernel.value, self.strides, self.padding,
                           self.dilation_rate, self.data_format)  # fmt: skip
        x = conv(x, self.pointwise_kernel.value, ones, "valid", ones, 1, self.data_format)
        return self._finished(x)


class SeparableConv2D(_SeparableConv):
    """A :class:`DepthwiseConv2D`, then a 1x1 :class:`Conv2D`: first space, then channels.

    About ``1/filters + 1/kernel_area`` of the multiplications of a :class:`Conv2D`.

    Args:
        filters: size of the output's channel axis.
        kernel_size: height and width of the depthwise kernels, or one integer for both.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``, as for :class:`Conv2D`.
        data_format: ``"channels_last"``, ``"channels_first"``, or the default of
            ``lamina.config`` when None.
        dilation_rate: step between the entries of a depthwise kernel.
        depth_multiplier: number of depthwise kernels for each channel.
        activation: function applied to the result; None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: for ``depthwise_kernel``, ``(*kernel_size, channels, multiplier)``.
        pointwise_initializer: for ``pointwise_kernel``, ``(1, 1, channels * multiplier, filters)``.
        bias_initializer: for ``bias``, of shape ``(filters,)``.
        depthwise_regularizer: penalty on the depthwise kernel.
        pointwise_regularizer: penalty on the pointwise kernel.
        bias_regularizer: penalty on the bias.
        depthwise_constraint: projection of the depthwise kernel after each step.
        pointwise_constraint: projection of the pointwise kernel after each step.
        bias_constraint: projection of the bias after each step.

    Shapes: ``(batch, height, width, channels)`` to ``(batch, height', width', filters)``; sizes as
    for :class:`Conv2D`.

    Raises:
        ShapeError: another number of axes, an open number of channels or another than at the first
            call, or an input smaller than the kernel.

    Chollet 2016, arXiv:1610.02357.

    >>> SeparableConv2D(16, 3, padding="same")(jnp.ones((1, 8, 8, 4))).shape
    (1, 8, 8, 16)
    """

    rank = 2
    kernel_size: Any = _sizes(2)
    strides: Any = _sizes(2, 1)
    dilation_rate: Any = _sizes(2, 1)


class SeparableConv1D(_SeparableConv):
    """:class:`SeparableConv2D` over one axis.

    Args:
        filters: size of the output's channel axis; this and the rest as for
            :class:`SeparableConv2D`.

    Shapes: ``(batch, time, channels)`` to ``(batch, time', filters)``.

    Raises:
        ShapeError: as for :class:`SeparableConv2D`.

    >>> SeparableConv1D(16, 3)(jnp.ones((1, 8, 4))).shape
    (1, 6, 16)
    """

    rank = 1
    kernel_size: Any = _sizes(1)
    strides: Any = _sizes(1, 1)
    dilation_rate: Any = _sizes(1, 1)


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D

__all__ = [
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose",
    "Convolution1D", "Convolution1DTranspose", "Convolution2D", "Convolution2DTranspose",
    "Convolution3D", "Convolution3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D",
    "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D",
]  # fmt: skip
