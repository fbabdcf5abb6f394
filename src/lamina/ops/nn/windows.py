"""Convolutions, pooling and other ops with sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.declaration import Tensor, as_op, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.lowering import conv as convolutions
from lamina.ops.lowering import pooling
from lamina.ops.templates import as_array, floating, same_floating

FILE_MODULE = "nn"  # of Keras's files

Sizes = int | Sequence[int]


def _sizes(name: str, what: str, value: Any, rank: int) -> tuple[int, ...]:
    """Convert a size to one positive integer for each axis."""
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ArgumentError(
            f"{name}(): `{what}` must be a positive integer, or one for each of the {rank} "
            f"spatial axes. Received: {value!r}."
        )
    return sizes


def _padding(name: str, padding: str, allowed: tuple[str, ...] = ("valid", "same")) -> str:
    known = str(padding).lower()
    if known not in allowed:
        raise ArgumentError(f"{name}(): `padding` must be one of {allowed}. Received: {padding!r}.")
    return known


def _operands(name: str, inputs: Tensor, *kernels: Tensor) -> tuple[tuple[Any, ...], int]:
    arrays = same_floating(inputs, *kernels)
    rank = arrays[0].ndim - 2
    if rank not in (1, 2, 3) or any(k.ndim != rank + 2 for k in arrays[1:]):
        raise ShapeError(
            f"ops.{name} expects one, two or three spatial axes.",
            expected="inputs (batch, *dimensions, channels) and kernels (*window, in, out)",
            received=", ".join(show_dims(x.shape) for x in arrays),
        )
    return arrays, rank


def _steps(name: str, strides: Any, dilation_rate: Any, rank: int) -> tuple[Any, Any]:
    strides = _sizes(name, "strides", strides, rank)
    dilation = _sizes(name, "dilation_rate", dilation_rate, rank)
    return strides, dilation


# ---- convolutions --------------------------------------------------------------------------------


@op
def conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Slide ``kernel`` over ``inputs`` and compute the inner product at each position.

    For one axis, ``y[b, i, f] = sum over t, c of x[b, i * stride + t * dilation, c] * kernel[t, c,
    f]`` (a cross-correlation); likewise for two and three.

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, channels // groups, filters)``: if the kernel has fewer channels than
            the inputs, each group of filters is applied to its own group of channels.
        strides: Stride of the window along each axis.
        padding: ``"valid"`` for no padding; ``"same"`` for zero padding, so that there are as many
            positions as entries (divided by the stride).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        dilation_rate: Dilation of the window along each axis.

    Returns:
        Tensor ``(batch, *dimensions, filters)``, in the layout of the inputs.

    >>> conv(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)))[0, :, 0]
    Array([2., 2., 2.], dtype=float32)
    """
    (x, k), rank = _operands("conv", inputs, kernel)
    layout = settings.standardize_data_format(data_format)
    strides, dilation = _steps("conv", strides, dilation_rate, rank)
    channels = x.shape[-1 if layout == "channels_last" else 1]
    groups, rest = divmod(channels, k.shape[-2])
    if rest or k.shape[-1] % max(groups, 1):
        raise ShapeError(
            "ops.conv: the kernel does not fit the channels of the inputs.",
            expected=f"a kernel (*window, {channels}, filters), or fewer channels that divide "
            f"{channels} into groups whose number divides the filters",
            received=f"{show_dims(x.shape)} {layout}, kernel {show_dims(k.shape)}",
        )
    padding = _padding("conv", padding, ("valid", "same", "causal"))
    return convolutions.conv(x, k, strides, padding, dilation, groups, layout)


@op
def depthwise_conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Convolve each channel separately with its own filters; see :func:`conv` for the arguments.

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, channels, multiplier)``.
        strides: As for :func:`conv`.
        padding: As for :func:`conv`.
        data_format: As for :func:`conv`.
        dilation_rate: As for :func:`conv`.

    Returns: Tensor ``(batch, *dimensions, channels * multiplier)``, where the outputs of a channel
    are adjacent.

    >>> depthwise_conv(jnp.ones((1, 4, 3)), jnp.ones((2, 3, 1))).shape
    (1, 3, 3)
    """
    (x, k), rank = _operands("depthwise_conv", inputs, kernel)
    layout = settings.standardize_data_format(data_format)
    steps, dilation = _steps("depthwise_conv", strides, dilation_rate, rank)
    padding = _padding("depthwise_conv", padding)
    return convolutions.depthwise_conv(x, k, steps, padding, dilation, layout)


@op
def separable_conv(
    inputs: Tensor,
    depthwise_kernel: Tensor,
    pointwise_kernel: Tensor,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """A depthwise convolution followed by a 1x1 convolution.

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        depthwise_kernel: ``(*window, channels, multiplier)``.
        pointwise_kernel: ``(1, ..., channels * multiplier, filters)``.
        strides: As for :func:`conv`.
        padding: As for :func:`conv`.
        data_format: As for :func:`conv`.
        dilation_rate: As for :func:`conv`.

    >>> separable_conv(jnp.ones((1, 4, 3)), jnp.ones((2, 3, 1)), jnp.ones((1, 3, 5))).shape
    (1, 3, 5)
    """
    (x, k, p), rank = _operands("separable_conv", inputs, depthwise_kernel, pointwise_kernel)
    layout = settings.standardize_data_format(data_format)
    steps, dilation = _steps("separable_conv", strides, dilation_rate, rank)
    padding = _padding("separable_conv", padding)
    x = convolutions.depthwise_conv(x, k, steps, padding, dilation, layout)
    ones = (1,) * rank
    return convolutions.conv(x, p, ones, "valid", ones, 1, layout)


@op
def conv_transpose(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes | None = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Add each entry, times the kernel, to the output: the transpose of :func:`conv`.

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, filters, channels)``.
        strides: Distance in the output between adjacent entries, along each axis.
        padding: ``"same"`` for an output of ``size * stride``; ``"valid"`` for all positions that
            the window covers.
        output_padding: Amount to add to the smallest output shape that :func:`conv` maps to the
            shape of the inputs; determined by ``padding`` when None.
        data_format: As for :func:`conv`.
        dilation_rate: As for :func:`conv`.

    >>> conv_transpose(jnp.ones((1, 2, 1)), jnp.ones((2, 1, 1)), strides=2)[0, :, 0]
    Array([1., 1., 1., 1.], dtype=float32)
    """
    (x, k), rank = _operands("conv_transpose", inputs, kernel)
    layout = settings.standardize_data_format(data_format)
    strides = _sizes("conv_transpose", "strides", strides, rank)
    dilation = _sizes("conv_transpose", "dilation_rate", dilation_rate, rank)
    extra = output_padding
    if extra is not None:
        extra = (extra,) * rank if isinstance(extra, int) else tuple(extra)
    padding = _padding("conv_transpose", padding)
    return convolutions.conv_transpose(x, k, strides, padding, dilation, extra, layout)


# ---- pooling -------------------------------------------------------------------------------------

_POOL = """{line}

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        pool_size: Size of the window along each axis.
        strides: Stride of the window along each axis; ``pool_size`` when None.
        padding: ``"valid"`` for no padding; ``"same"`` for as many positions as entries (divided by
            the stride).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        Tensor ``(batch, *dimensions, channels)``, in the layout of the inputs.
    """


def _pool(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(
        inputs: Tensor,
        pool_size: Sizes,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> jax.Array:
        x = as_array(inputs)
        rank = x.ndim - 2
        window = _sizes(name, "pool_size", pool_size, rank)
        steps = window if strides is None else _sizes(name, "strides", strides, rank)
        layout = settings.standardize_data_format(data_format)
        return fn(x, window, steps, _padding(name, padding), layout)

    return as_op(apply, name, _POOL.format(line=line), example, __name__)


max_pool = _pool("max_pool", pooling.max_pool, "The maximum of the window, without padding.",
    "[[[1], [5], [2], [3]]], 2 -> [[[5], [3]]]")  # fmt: skip
average_pool = _pool("average_pool", pooling.average_pool,
    "The mean of the window, without padding.",
    "[[[1.0], [5.0], [2.0], [3.0]]], 2 -> [[[3.0], [2.5]]]")  # fmt: skip

_ADAPTIVE = """{line}

    Along an axis of ``n`` entries, part ``i`` of ``m`` goes from ``floor(i * n / m)`` to ``ceil((i
    + 1) * n / m) - 1``.

    Args:
        inputs: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        output_size: Number of parts along each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        Tensor ``(batch, *output_size, channels)``, in the layout of the inputs.
    """


def _adaptive(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(inputs: Tensor, output_size: Sizes, data_format: str | None = None) -> jax.Array:
        x = as_array(inputs)
        sizes = _sizes(name, "output_size", output_size, x.ndim - 2)
        return fn(x, sizes, settings.standardize_data_format(data_format))

    return as_op(apply, name, _ADAPTIVE.format(line=line), example, __name__)


adaptive_max_pool = _adaptive("adaptive_max_pool", pooling.adaptive_max_pool,
    "The maximum of each of several equal parts.",
    "[[[1], [5], [2], [3]]], 2 -> [[[5], [3]]]")  # fmt: skip
adaptive_average_pool = _adaptive("adaptive_average_pool", pooling.adaptive_average_pool,
    "The mean of each of several equal parts.",
    "[[[1.0], [5.0], [2.0], [3.0]]], 2 -> [[[3.0], [2.5]]]")  # fmt: skip


# ---- patches as columns --------------------------------------------------------------------------


def _pairs(name: str, what: str, value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 0 for n in pair):
        raise ArgumentError(f"{name}(): `{what}` must be one or two integers. Received: {value!r}.")
    return pair


def _unfolded(
    x: jax.Array, window: Any, dilation: Any, padding: Any, stride: Any
) -> jax.Array:  # fmt: skip
    top, left = padding
    x = jnp.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    places = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(x.shape[2:], window, dilation, stride, strict=True)
    ]
    rows, columns = (
        jnp.arange(k)[:, None] * d + jnp.arange(p) * s
        for k, d, p, s in zip(window, dilation, places, stride, strict=True)
    )
    # (batch, channels, window rows, rows, window columns, columns)
    views = x[:, :, rows[:, :, None, None], columns[None, None]]
    views = jnp.transpose(views, (0, 1, 2, 4, 3, 5))
    batch, channels = x.shape[:2]
    return jnp.reshape(views, (batch, channels * window[0] * window[1], -1))


@op
def unfold(
    x: Tensor,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> jax.Array:
    """The patches at each position of an image, as columns (im2col).

    Args:
        x: Images ``(batch, channels, height, width)``.
        kernel_size: Height and width of the window.
        dilation: Dilation of the window.
        padding: Number of zeros to add on each side of the image.
        stride: Stride of the window.

    Returns:
        Tensor ``(batch, channels * entries of the window, positions)``.

    >>> unfold(jnp.ones((1, 3, 4, 4)), 2).shape
    (1, 12, 9)
    """
    sizes = (_pairs("unfold", *known) for known in (
        ("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding),
        ("stride", stride)))  # fmt: skip
    x = as_array(x)
    if x.ndim != 4:
        raise ShapeError(
            "ops.unfold expects images.",
            expected="(batch, channels, height, width)",
            received=show_dims(x.shape),
        )
    return _unfolded(x, *sizes)


@op
def fold(
    x: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> jax.Array:
    """The transpose of :func:`unfold`: the sum of patches at their positions in an image (col2im).

    Args:
        x: Columns ``(batch, channels * entries of the window, positions)``.
        output_size: Height and width of the image.
        kernel_size: As for :func:`unfold`.
        dilation: As for :func:`unfold`.
        padding: As for :func:`unfold`.
        stride: As for :func:`unfold`.

    Returns:
        Images ``(batch, channels, height, width)``.

    >>> fold(jnp.ones((1, 4, 9)), 4, 2)[0, 0, 1]
    Array([2., 4., 4., 2.], dtype=float32)
    """
    size, window, steps, sides, strides = (_pairs("fold", *known) for known in (
        ("output_size", output_size), ("kernel_size", kernel_size), ("dilation", dilation),
        ("padding", padding), ("stride", stride)))  # fmt: skip
    x = floating(x)
    channels = x.shape[1] // (window[0] * window[1])
    places = [
        (n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(size, sides, window, steps, strides, strict=True)
    ]
    if x.ndim != 3 or (x.shape[2] != places[0] * places[1]):
        raise ShapeError(
            "ops.fold expects a column for each position of the window.",
            expected=f"(batch, channels * {window[0] * window[1]}, {places[0] * places[1]})",
            received=show_dims(x.shape),
        )
    shape = jax.ShapeDtypeStruct((x.shape[0], channels, *size), x.dtype)
    add_up = jax.linear_transpose(lambda y: _unfolded(y, window, steps, sides, strides), shape)
    return add_up(x)[0]


# ---- blocks --------------------------------------------------------------------------------------

_BLOCKS = """{line}

    Args:
        x: Images ``{before}``, or the channels on axis 1.
        block_size: Height and width of a block.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        Images ``{after}``, in the layout of ``x``. {order}
    """


def _blocks(name: str, fn: Any, example: str, **text: str) -> Any:
    def apply(x: Tensor, block_size: int, data_format: str = "channels_last") -> jax.Array:
        x = as_array(x)
        layout = settings.standardize_data_format(data_format)
        if x.ndim != 4:
            raise ShapeError(
                f"ops.{name} expects images.",
                expected="four axes",
                received=show_dims(x.shape),
            )
        if not isinstance(block_size, int) or block_size < 1:
            raise ArgumentError(
                f"{name}(): `block_size` must be a positive integer. Received: {block_size!r}."
            )
        return fn(name, x, block_size, layout)

    return as_op(apply, name, _BLOCKS.format(**text), example, __name__)


def _check_divides(name: str, what: str, size: Any, by: int) -> None:
    if isinstance(size, int) and size % by:
        raise ShapeError(f"ops.{name} needs {what} that is a multiple of {by}. Received: {size}.")


def _depth_to_space(name: str, x: jax.Array, size: int, layout: str) -> jax.Array:
    if layout == "channels_first":
        _check_divides(name, "a number of channels", x.shape[1], size * size)
        batch, channels, height, width = x.shape
        x = jnp.reshape(x, (batch, channels // size**2, size, size, height, width))
        x = jnp.transpose(x, (0, 1, 4, 2, 5, 3))
        return jnp.reshape(x, (batch, channels // size**2, height * size, width * size))
    _check_divides(name, "a number of channels", x.shape[-1], size * size)
    batch, height, width, channels = x.shape
    x = jnp.reshape(x, (batch, height, width, size, size, channels // size**2))
    x = jnp.transpose(x, (0, 1, 3, 2, 4, 5))
    return jnp.reshape(x, (batch, height * size, width * size, channels // size**2))


def _space_to_depth(name: str, x: jax.Array, size: int, layout: str) -> jax.Array:
    spatial = x.shape[1:3] if layout == "channels_last" else x.shape[2:]
    for n in spatial:
        _check_divides(name, "a height and a width", n, size)
    if layout == "channels_first":
        batch, channels, height, width = x.shape
        x = jnp.reshape(x, (batch, channels, height // size, size, width // size, size))
        x = jnp.transpose(x, (0, 1, 3, 5, 2, 4))
        return jnp.reshape(x, (batch, channels * size**2, height // size, width // size))
    batch, height, width, channels = x.shape
    x = jnp.reshape(x, (batch, height // size, size, width // size, size, channels))
    x = jnp.transpose(x, (0, 1, 3, 2, 4, 5))
    return jnp.reshape(x, (batch, height // size, width // size, channels * size**2))


_ORDER = """With the channels last, each
        pixel of a block corresponds to consecutive channels of the image with more channels; with
        the channels first, each channel of the other image does."""
_FLAT = "(batch, height, width, channels * block_size ** 2)"
_WIDE = "(batch, height * block_size, width * block_size, channels)"
depth_to_space = _blocks("depth_to_space", _depth_to_space,
    line="Rearrange channels into blocks of pixels.", before=_FLAT, after=_WIDE, order=_ORDER,
    example="[[[[1, 2, 3, 4]]]], 2 -> [[[[1], [2]], [[3], [4]]]]")  # fmt: skip
space_to_depth = _blocks("space_to_depth", _space_to_depth,
    line="Rearrange blocks of pixels into channels.", before=_WIDE, after=_FLAT, order=_ORDER,
    example="[[[[1], [2]], [[3], [4]]]], 2 -> [[[[1, 2, 3, 4]]]]")  # fmt: skip
