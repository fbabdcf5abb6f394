"""Convolution and its relatives, in the form that is fastest on the platform.

GPUs and TPUs get XLA's convolution. On CPU, XLA has one fast convolution (two spatial axes, one
group, no holes in the input); everything else is brought to it, or to additions and matrix
products. All forms compute the same sums; the factors below were measured on 2 cores, forward and
gradients together, each against XLA's convolution in the same run.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.core.spec import show_dims
from lamina.errors import ShapeError
from lamina.ops.lowering.matmul import matmul
from lamina.ops.lowering.windows import (
    UNROLLED,
    Margins,
    Sizes,
    as_before,
    channels_last,
    check_fits,
    pad,
    reach,
    same_padding,
    spatial_axes,
    taps,
    unrolls,
)

_STATIC = ("strides", "padding", "dilation", "groups", "output_padding", "data_format")
_LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


@functools.partial(jax.jit, static_argnames=tuple(n for n in _STATIC if n != "output_padding"))
def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sizes,
    padding: str,
    dilation: Sizes,
    groups: int = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Slide ``kernel`` over ``x`` and take the inner product at each place (cross-correlation).

    ``y[b, i, f] = sum over t, c of x[b, i * stride + t * dilation, c] * kernel[t, c, f]``, for one
    axis; with ``groups``, each group of filters sees its own group of channels.

    Args:
        x: ``(batch, *sizes, channels)``, or the channels second.
        kernel: ``(*window, channels // groups, filters)``.
        strides: Step between places, for each axis.
        padding: ``"valid"``, ``"same"`` or ``"causal"`` (all zeros before; one axis).
        dilation: Step between the entries of the window, for each axis.
        groups: Number of independent groups.
        data_format: Where the channels of ``x`` are.

    Returns:
        ``(batch, *sizes, filters)``, in the dtype that ``x`` and ``kernel`` promote to.

    Raises:
        ShapeError: The window is larger than a known size.
    """
    x, kernel = _promoted(x, kernel)
    extent = reach(kernel.shape[:-2], dilation)
    check_fits(f"A kernel that extends over {extent}", x, extent, padding, data_format)
    x = channels_last(x, data_format)
    margins: Any
    if padding == "valid":
        margins = [(0, 0)] * len(extent)
    elif padding == "causal":
        margins = [(k - 1, 0) for k in extent]
    elif unrolls(x):
        margins = same_padding(x.shape[1:-1], extent, strides)
    else:
        margins = "SAME"  # XLA finds them where sizes are open
    compute = _on_cpu if unrolls(x) else _plain
    return as_before(compute(x, kernel, strides, margins, dilation, groups), data_format)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sizes,
    padding: str,
    dilation: Sizes,
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolve each channel by itself, with ``multiplier`` filters of its own.

    Args:
        x: ``(batch, *sizes, channels)``, or the channels second.
        kernel: ``(*window, channels, multiplier)``.
        strides: Step between places, for each axis.
        padding: ``"valid"`` or ``"same"``.
        dilation: Step between the entries of the window, for each axis.
        data_format: Where the channels of ``x`` are.

    Returns:
        ``(batch, *sizes, channels * multiplier)``; the filters of one channel side by side.
    """
    groups = kernel.shape[-2]
    kernel = jnp.reshape(kernel, (*kernel.shape[:-2], 1, -1))
    return conv(x, kernel, strides, padding, dilation, groups, data_format)


@functools.partial(jax.jit, static_argnames=tuple(n for n in _STATIC if n != "groups"))
def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sizes,
    padding: str,
    dilation: Sizes,
    output_padding: Sizes | None = None,
    data_format: str = "channels_last",
) -> jax.Array:
    """Spread each entry of ``x``, times the kernel, over the output: the transpose of :func:`conv`.

    ``y[b, i * stride + t * dilation - crop, f] += x[b, i, c] * kernel[t, f, c]``, for one axis.

    Args:
        x: ``(batch, *sizes, channels)``, or the channels second.
        kernel: ``(*window, filters, channels)``.
        strides: Step between the places of neighbouring entries, for each axis.
        padding: ``"same"`` makes ``size * stride`` of a size, ``"valid"`` keeps all that the
            window reaches.
        dilation: Step between the entries of the window, for each axis.
        output_padding: The size on top of the smallest that a convolution with these arguments
            maps to ``x``; chosen as said for ``padding`` when None.
        data_format: Where the channels of ``x`` are.

    Raises:
        ShapeError: An output without entries.
    """
    x, kernel = _promoted(x, kernel)
    window = kernel.shape[:-2]
    extra = output_padding or (None,) * len(window)
    crops = [
        _crop(k, s, padding, more)
        for k, s, more in zip(reach(window, dilation), strides, extra, strict=True)
    ]
    axes = spatial_axes(len(window), data_format)
    for axis, k, s, crop in zip(axes, reach(window, dilation), strides, crops, strict=True):
        n = x.shape[axis]
        if isinstance(n, int) and (n - 1) * s + k - sum(crop) <= 0:
            raise ShapeError(
                f"The transposed convolution would have no entries left on axis {axis}.",
                expected="a larger size or `output_padding` there",
                received=f"{show_dims(x.shape)}, output_padding={output_padding}",
            )
    x = channels_last(x, data_format)
    kernel = jnp.flip(jnp.swapaxes(kernel, -1, -2), range(len(window)))
    if unrolls(x) and all(s == 1 or d == 1 for s, d in zip(strides, dilation, strict=True)):
        y = _by_phases(x, kernel, strides, dilation, crops)
    else:
        y = lax.conv_general_dilated(
            x, kernel, (1,) * len(window),
            [(k - 1 - a, k - 1 - b)
             for k, (a, b) in zip(reach(window, dilation), crops, strict=True)],
            lhs_dilation=strides, rhs_dilation=dilation, dimension_numbers=_LAYOUTS[len(window)],
        )  # fmt: skip
    return as_before(y, data_format)


def _promoted(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    dtype = jnp.result_type(x, kernel)
    return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)


def _plain(
    x: jax.Array, kernel: jax.Array, strides: Sizes, margins: Any, dilation: Sizes, groups: int
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, margins, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=_LAYOUTS[len(strides)],
    )  # fmt: skip


def _on_cpu(
    x: jax.Array, kernel: jax.Array, strides: Sizes, margins: Margins, dilation: Sizes, groups: int
) -> jax.Array:
    *window, channels, _ = kernel.shape
    entries = math.prod(window)
    if groups > 1:
        if groups == x.shape[-1] and entries <= UNROLLED:
            return _depthwise(pad(x, margins), kernel, strides, dilation)
        # Each group by itself. 3x3 over 32x32x64 to 64 in 4 groups: 0.03 of the time.
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([_on_cpu(a, k, strides, margins, dilation, 1) for a, k in parts], -1)
    if len(window) == 3:
        return _as_planes(x, kernel, strides, margins, dilation)
    if entries > 1 and channels <= 4 and entries * channels <= 49:
        return _as_matmul(pad(x, margins), kernel, strides, dilation)
    extent = reach(kernel.shape[:-2], dilation)
    if any(sum(margin) >= k for margin, k in zip(margins, extent, strict=True)):
        # The kernel's gradient is slow where the output is larger than the input, unless the zeros
        # are there before. 3x3 over 28x28x32 to 16, two zeros all round: 0.1 of the time.
        x, margins = pad(x, margins), [(0, 0)] * len(margins)
    return _plain(x, kernel, strides, margins, dilation, 1)


def _as_matmul(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes) -> jax.Array:
    """Patches of ``x`` side by side, times the kernel as a matrix.

    3x3 over 28x28x1 to 16: 0.3 of the time; over 32x32x3 to 32: 0.5; 5x5 over 32x32x3: no gain.
    """
    patches = jnp.concatenate(taps(x, kernel.shape[:-2], strides, dilation), -1)
    rows = jnp.reshape(patches, (x.shape[0], -1, patches.shape[-1]))
    y = matmul(rows, jnp.reshape(kernel, (patches.shape[-1], -1)))
    return jnp.reshape(y, (*patches.shape[:-1], -1))


def _depthwise(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes) -> jax.Array:
    """The sum over the window's entries of shifted inputs times a number for each channel.

    3x3 over 17x17x128: 0.06 of the time; over 33x33x32: 0.07; with two filters for each channel:
    0.01. Without axes of size 1 in the sums: with one, XLA's sums for the gradient take 6 times as
    long.
    """
    *window, _, filters = kernel.shape
    x = jnp.repeat(x, filters // x.shape[-1], axis=-1)
    entries = jnp.reshape(kernel, (-1, filters))
    return _sum_of_taps(x, entries, tuple(window), strides, dilation)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _sum_of_taps(
    x: jax.Array, entries: jax.Array, window: Sizes, strides: Sizes, dilation: Sizes
) -> jax.Array:
    views = taps(x, window, strides, dilation)
    return functools.reduce(operator.add, map(operator.mul, views, entries))


@_sum_of_taps.defjvp
def _(window: Sizes, strides: Sizes, dilation: Sizes, primals: Any, tangents: Any) -> Any:
    (x, entries), (dx, dentries) = primals, tangents
    y = _sum_of_taps(x, entries, window, strides, dilation)
    dy = _sum_of_taps(dx, entries, window, strides, dilation)
    return y, dy + _sum_in_loop(x, dentries, y.shape, window, strides, dilation)


def _sum_in_loop(
    x: jax.Array, entries: jax.Array, shape: Sizes, window: Sizes, strides: Sizes, dilation: Sizes
) -> jax.Array:
    """:func:`_sum_of_taps`, one entry after the other.

    The gradient to the entries is a sum over each view. XLA would make all views first, to add
    them up with its library: 3x3 over 33x33x32 takes 0.75 of that time, and 0.1 of the memory.
    """
    sizes = shape[1:-1]
    extent = [(n - 1) * s + 1 for n, s in zip(sizes, strides, strict=True)]
    starts = np.array(list(np.ndindex(*window))) * dilation

    @jax.checkpoint  # keeps `x` for the gradient, not its views
    def add(y: jax.Array, entry: Any) -> tuple[jax.Array, None]:
        start, numbers = entry
        view = lax.dynamic_slice(x, (0, *start, 0), (shape[0], *extent, shape[-1]))
        view = lax.slice(view, (0,) * view.ndim, view.shape, (1, *strides, 1))
        return y + view * numbers, None

    return lax.scan(add, jnp.zeros(shape, entries.dtype), (starts, entries))[0]


def _as_planes(
    x: jax.Array, kernel: jax.Array, strides: Sizes, margins: Margins, dilation: Sizes
) -> jax.Array:
    """Three axes as two: planes that the window's first axis joins become channels.

    3x3x3 over 16x16x16x8 to 16: 0.2 of the time; over 16x16x16x16 to 32 with strides 2: 0.02.
    """
    depth, *window, channels, filters = kernel.shape
    x = pad(x, [margins[0], (0, 0), (0, 0)])
    planes = jnp.concatenate(taps(x, (depth, 1, 1), (strides[0], 1, 1), (dilation[0], 1, 1)), -1)
    flat = jnp.reshape(planes, (-1, *planes.shape[2:]))
    kernel = jnp.reshape(jnp.moveaxis(kernel, 0, 2), (*window, depth * channels, filters))
    y = _on_cpu(flat, kernel, strides[1:], margins[1:], dilation[1:], 1)
    return jnp.reshape(y, (*planes.shape[:2], *y.shape[1:]))


def _crop(extent: int, stride: int, padding: str, output_padding: int | None) -> tuple[int, int]:
    """What a transposed convolution cuts before and after of all that the window reaches.

    Negative where it adds zeros.
    """
    if output_padding is not None:
        excess = (2 * (extent // 2) if padding == "same" else 0) - output_padding
    else:
        excess = extent - stride if padding == "same" else min(extent - stride, 0)
    before = max(excess, 0) // 2
    return before, excess - before


def _by_phases(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sizes,
    dilation: Sizes,
    crops: Margins,
) -> jax.Array:
    """A transposed convolution as a plain one: outputs ``i * stride + phase`` have the same inputs.

    The kernel's entries of each phase make a filter of their own, and the phases are interleaved
    afterwards ("sub-pixel convolution", Shi et al. 2016, arXiv:1609.05158). With stride 1 this is
    padding and a convolution. Gradients of XLA's form are slow: 3x3 over 14x14x32 to 16 with
    strides 2: 0.17 of the time; 3x3 over 28x28x32 to 16 with strides 1, all kept: 0.13.
    """
    *window, channels, filters = kernel.shape
    rank = len(window)
    steps = [-(-k // s) for k, s in zip(window, strides, strict=True)]
    missing = [m * s - k for m, s, k in zip(steps, strides, window, strict=True)]
    # The kernel is flipped, so its end is where the unflipped window begins: fill up at the front.
    kernel = lax.pad(
        kernel, jnp.zeros((), kernel.dtype), [*((n, 0, 0) for n in missing), (0, 0, 0), (0, 0, 0)]
    )
    pairs = [n for pair in zip(steps, strides, strict=True) for n in pair]
    kernel = jnp.reshape(kernel, (*pairs, channels, filters))
    kernel = jnp.flip(kernel, range(1, 2 * rank, 2))  # phases, in the order of the output
    order = [*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1]
    kernel = jnp.reshape(jnp.transpose(kernel, order), (*steps, channels, -1))
    margins, rests = [], []
    for m, s, d, (low, high), n in zip(steps, strides, dilation, crops, missing, strict=True):
        (skip_low, rest_low), (skip_high, rest_high) = divmod(low, s), divmod(high + n, s)
        margins.append(((m - 1) * d - skip_low, (m - 1) * d - skip_high))
        rests.append((-rest_low, -rest_high))
    y = _on_cpu(x, kernel, (1,) * rank, margins, dilation, 1)
    sizes = y.shape[1:-1]
    y = jnp.reshape(y, (y.shape[0], *sizes, *strides, filters))
    order = [0, *(a for i in range(rank) for a in (1 + i, 1 + rank + i)), 2 * rank + 1]
    y = jnp.transpose(y, order)
    whole = [n * s for n, s in zip(sizes, strides, strict=True)]
    return pad(jnp.reshape(y, (y.shape[0], *whole, filters)), rests)
