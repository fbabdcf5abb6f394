"""Convolution and pooling on arrays and symbolic tensors.

All take ``data_format`` (``"channels_last"``, ``"channels_first"``, or the default of
``lamina.config`` when None), and one integer or one for each spatial axis where sizes are asked.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import config
from lamina.core.fields import int_tuple, one_of
from lamina.core.operation import op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.lowering import conv as lowering
from lamina.ops.lowering import pooling

__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "conv", "conv_transpose",
    "depthwise_conv", "max_pool", "separable_conv",
]  # fmt: skip

_read_padding = one_of("valid", "same")


class _Arguments:
    """The arguments of one call, read: an image and what concerns its spatial axes."""

    def __init__(self, function: str, inputs: Any, data_format: str | None) -> None:
        self.function = function
        self.x = jnp.asarray(inputs)
        self.rank = self.x.ndim - 2
        self.data_format = config.standardize_data_format(data_format)
        if self.rank not in (1, 2, 3):
            raise ShapeError(
                f"{function}() slides a window along one, two or three axes.\n  expected: an input "
                f"with 3, 4 or 5 axes\n  received: {show_dims(self.x.shape)}, {self.x.dtype}"
            )

    @property
    def channels(self) -> Any:
        """The number of channels."""
        return self.x.shape[-1 if self.data_format == "channels_last" else 1]

    def sizes(self, name: str, value: Any, minimum: int = 1) -> tuple[int, ...]:
        """One integer for each spatial axis."""
        return self._read(name, int_tuple(self.rank, minimum=minimum), value)

    def padding(self, value: str) -> str:
        """The word for what happens at the borders."""
        return self._read("padding", _read_padding, value)

    def _read(self, name: str, read: Any, value: Any) -> Any:
        try:
            return read(value)
        except ArgumentError as e:
            raise ArgumentError(f"{self.function}(): `{name}`: {e}") from e

    def kernel(self, kernel: Any, channels_axis: int, groups: bool = False) -> jax.Array:
        """The kernel, checked against the rank and the channels of the input."""
        kernel = jnp.asarray(kernel)
        fits = kernel.ndim == self.rank + 2
        if fits:
            size = kernel.shape[channels_axis]
            fits = self.channels == size or (
                groups and self.channels % size == 0
                and kernel.shape[-1] % (self.channels // size) == 0
            )  # fmt: skip
        if not fits:
            raise ShapeError(
                f"{self.function}(): kernel and input do not fit.\n  expected: a kernel of "
                f"{self.rank + 2} axes whose axis {channels_axis} "
                f"{'divides' if groups else 'is'} the number of channels, {self.channels}\n"
                f"  received: kernel {show_dims(kernel.shape)}, input {show_dims(self.x.shape)}"
            )
        return kernel


@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: int | tuple[int, ...] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Slide a kernel over the input and take the inner product at each place.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        kernel: ``(*window, channels // groups, filters)``; the number of groups follows.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        data_format: where the channels are.
        dilation_rate: step between the entries of the window.

    Raises:
        ShapeError: kernel and input do not fit, or the output would be empty.

    >>> conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)), padding="same").shape
    (1, 5, 5, 4)
    """
    given = _Arguments("conv", inputs, data_format)
    kernel = given.kernel(kernel, -2, groups=True)
    return lowering.conv(
        given.x, kernel, given.sizes("strides", strides), given.padding(padding),
        given.sizes("dilation_rate", dilation_rate), given.channels // kernel.shape[-2],
        given.data_format,
    )  # fmt: skip


@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: int | tuple[int, ...] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Convolve each channel by itself.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        kernel: ``(*window, channels, multiplier)``.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        data_format: where the channels are.
        dilation_rate: step between the entries of the window.

    Returns:
        ``(batch, *sizes, channels * multiplier)``; the filters of one channel side by side.

    Raises:
        ShapeError: kernel and input do not fit, or the output would be empty.

    >>> depthwise_conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))).shape
    (1, 3, 3, 8)
    """
    given = _Arguments("depthwise_conv", inputs, data_format)
    return lowering.depthwise_conv(
        given.x, given.kernel(kernel, -2), given.sizes("strides", strides), given.padding(padding),
        given.sizes("dilation_rate", dilation_rate), given.data_format,
    )  # fmt: skip


@op
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: int | tuple[int, ...] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Convolve each channel by itself, then mix the results at each place.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        depthwise_kernel: ``(*window, channels, multiplier)``.
        pointwise_kernel: ``(*ones, channels * multiplier, filters)``.
        strides: step between places.
        padding: ``"valid"`` or ``"same"``.
        data_format: where the channels are.
        dilation_rate: step between the entries of the window.

    Raises:
        ShapeError: kernels and input do not fit, or the output would be empty.

    >>> kernels = jnp.ones((3, 3, 2, 1)), jnp.ones((1, 1, 2, 6))
    >>> separable_conv(jnp.ones((1, 5, 5, 2)), *kernels).shape
    (1, 3, 3, 6)
    """
    middle = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(middle, pointwise_kernel, 1, "valid", data_format)


@op
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: int | tuple[int, ...] = 1,
    padding: str = "valid",
    output_padding: int | tuple[int, ...] | None = None,
    data_format: str | None = None,
    dilation_rate: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Spread each entry of the input, times a kernel, over a larger output.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        kernel: ``(*window, filters, channels)``.
        strides: step between the places of neighbouring entries.
        padding: ``"same"`` makes ``size * stride`` of a size, ``"valid"`` keeps all that the
            window reaches.
        output_padding: entries added to the smallest size that :func:`conv` with these arguments
            maps to the input's; chosen as said for ``padding`` when None.
        data_format: where the channels are.
        dilation_rate: step between the entries of the window.

    Raises:
        ShapeError: kernel and input do not fit, or the output would be empty.

    >>> conv_transpose(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 4, 2)), 2, "same").shape
    (1, 10, 10, 4)
    """
    given = _Arguments("conv_transpose", inputs, data_format)
    extra = output_padding
    if extra is not None:
        extra = given.sizes("output_padding", extra, minimum=0)
    return lowering.conv_transpose(
        given.x, given.kernel(kernel, -1), given.sizes("strides", strides), given.padding(padding),
        given.sizes("dilation_rate", dilation_rate), extra, given.data_format,
    )  # fmt: skip


@op
def max_pool(
    inputs: Any,
    pool_size: int | tuple[int, ...],
    strides: int | tuple[int, ...] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """The largest entry that a window sees at each place.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        pool_size: size of the window.
        strides: step between places; the window's size when None.
        padding: ``"valid"``, or ``"same"``: the padding never counts.
        data_format: where the channels are.

    Raises:
        ShapeError: the output would be empty.

    >>> max_pool(jnp.arange(6.0).reshape(1, 6, 1), 2).ravel().tolist()
    [1.0, 3.0, 5.0]
    """
    given = _Arguments("max_pool", inputs, data_format)
    return _pool(pooling.max_pool, given, pool_size, strides, padding)


@op
def average_pool(
    inputs: Any,
    pool_size: int | tuple[int, ...],
    strides: int | tuple[int, ...] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """The mean of the entries that a window sees at each place.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        pool_size: size of the window.
        strides: step between places; the window's size when None.
        padding: ``"valid"``, or ``"same"``: the padding does not count.
        data_format: where the channels are.

    Raises:
        ShapeError: the output would be empty.

    >>> average_pool(jnp.arange(6.0).reshape(1, 6, 1), 2).ravel().tolist()
    [0.5, 2.5, 4.5]
    """
    given = _Arguments("average_pool", inputs, data_format)
    return _pool(pooling.average_pool, given, pool_size, strides, padding)


def _pool(pool: Any, given: _Arguments, pool_size: Any, strides: Any, padding: str) -> jax.Array:
    window = given.sizes("pool_size", pool_size)
    steps = window if strides is None else given.sizes("strides", strides)
    return pool(given.x, window, steps, given.padding(padding), given.data_format)


@op
def adaptive_max_pool(
    inputs: Any, output_size: int | tuple[int, ...], data_format: str | None = None
) -> jax.Array:
    """The largest entry of each of ``output_size`` even parts.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        output_size: number of parts along each axis; neighbours may share an entry.
        data_format: where the channels are.

    >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [2.0, 4.0]
    """
    given = _Arguments("adaptive_max_pool", inputs, data_format)
    size = given.sizes("output_size", output_size)
    return pooling.adaptive_max_pool(given.x, size, given.data_format)


@op
def adaptive_average_pool(
    inputs: Any, output_size: int | tuple[int, ...], data_format: str | None = None
) -> jax.Array:
    """The mean of each of ``output_size`` even parts.

    Args:
        inputs: ``(batch, *sizes, channels)``, or the channels second; one to three spatial axes.
        output_size: number of parts along each axis; neighbours may share an entry.
        data_format: where the channels are.

    >>> adaptive_average_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [1.0, 3.0]
    """
    given = _Arguments("adaptive_average_pool", inputs, data_format)
    size = given.sizes("output_size", output_size)
    return pooling.adaptive_average_pool(given.x, size, given.data_format)
