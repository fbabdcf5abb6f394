"""Convolutions, implemented in the form that is fastest on the platform.

GPUs and TPUs use XLA's convolution. On CPU, XLA has one fast convolution (two spatial axes, one
group, no input dilation); all others are reduced to it, or to additions and matrix products. All
forms compute the same sums. The factors below were measured on 2 cores, forward pass and gradients
together, each relative to XLA's convolution in the same run.
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
from lamina.ops.lowering.matmul import matmul, product_of_matrices
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
_LARGE = 1 << 19  # number of weights from which a product is slower than XLA's 1x1 convolution
_FEW = 9  # number of window entries up to which the transposes of views are fast
# Limits of the loop for the gradient of a depthwise kernel. More products at a time are a little
# faster, but take longer to compile; sums for larger rows exceed the processor's cache.
_PRODUCTS, _ROW = 32, 8192
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
    """Slide ``kernel`` over ``x`` and compute the inner product at each position.

    For one axis, this is the cross-correlation
    ``y[b, i, f] = sum over t, c of x[b, i * stride + t * dilation, c] * kernel[t, c, f]``; with
    ``groups``, each group of filters is applied to its own group of channels.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, channels // groups, filters)``.
        strides: Stride of the window along each axis.
        padding: ``"valid"``, ``"same"`` or ``"causal"`` (zeros only at the start; for one axis).
        dilation: Dilation of the window along each axis.
        groups: Number of independent groups.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        ``(batch, *dimensions, filters)``, in the dtype that ``x`` and ``kernel`` promote to.

    Raises:
        ShapeError: The window is larger than a known dimension.
    """
    x, kernel = _promoted(x, kernel)
    extent = reach(kernel.shape[:-2], dilation)
    check_fits(f"A kernel that extends over {extent}", x, extent, padding, data_format)
    x = channels_last(x, data_format)
    pads: Any
    if padding == "valid":
        pads = [(0, 0)] * len(extent)
    elif padding == "causal":
        pads = [(k - 1, 0) for k in extent]
    elif unrolls(x):
        pads = same_padding(x.shape[1:-1], extent, strides)
    else:
        pads = "SAME"  # XLA computes them for unknown dimensions
    compute = _on_cpu if unrolls(x) else _plain
    return as_before(compute(x, kernel, strides, pads, dilation, groups), data_format)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sizes,
    padding: str,
    dilation: Sizes,
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolve each channel separately, with ``multiplier`` filters of its own.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, channels, multiplier)``.
        strides: Stride of the window along each axis.
        padding: ``"valid"`` or ``"same"``.
        dilation: Dilation of the window along each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns: ``(batch, *dimensions, channels * multiplier)``, where the outputs of a channel are
    adjacent.
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
    """Add each entry of ``x``, times the kernel, to the output: the transpose of :func:`conv`.

    ``y[b, i * stride + t * dilation - crop, f] += x[b, i, c] * kernel[t, f, c]``, for one axis.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        kernel: ``(*window, filters, channels)``.
        strides: Distance in the output between adjacent entries, along each axis.
        padding: ``"same"`` for an output of ``size * stride``, ``"valid"`` for all positions that
            the window covers.
        dilation: Dilation of the window along each axis.
        output_padding: Amount to add to the smallest output shape that a convolution with these
            arguments maps to the shape of ``x``; determined by ``padding`` when None.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ShapeError: The output would be empty.
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
                f"The output of the transposed convolution would be empty along axis {axis}.",
                expected="a larger dimension or `output_padding` there",
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
    x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Any, dilation: Sizes, groups: int
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=_LAYOUTS[len(strides)],
    )  # fmt: skip


def _on_cpu(
    x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Margins, dilation: Sizes, groups: int
) -> jax.Array:
    *window, channels, _ = kernel.shape
    entries = math.prod(window)
    if groups > 1:
        if groups == x.shape[-1] and entries <= UNROLLED:
            return _depthwise(pad(x, pads), kernel, strides, dilation)
        # Each group separately. 3x3 over 32x32x64 to 64 in 4 groups: 0.03 of the time.
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([_on_cpu(a, k, strides, pads, dilation, 1) for a, k in parts], -1)
    if entries == 1 and channels * kernel.shape[-1] < _LARGE:
        return _of_one_entry(pad(x, pads), kernel, strides)
    if len(window) == 3:
        return _as_planes(x, kernel, strides, pads, dilation)
    if entries > 1 and channels <= 4 and entries * channels <= 49:
        return _as_matmul(pad(x, pads), kernel, strides, dilation)
    extent = reach(kernel.shape[:-2], dilation)
    if any(sum(added) >= k for added, k in zip(pads, extent, strict=True)):
        # The gradient of the kernel is slow if the output is larger than the input, unless the
        # input is padded first. 3x3 over 28x28x32 to 16, with padding of 2: 0.1 of the time.
        x, pads = pad(x, pads), [(0, 0)] * len(pads)
    return _plain(x, kernel, strides, pads, dilation, 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _of_one_entry(x: jax.Array, kernel: jax.Array, strides: Sizes) -> jax.Array:
    """A convolution whose window has one entry; the gradient of its kernel is a matrix product.

    It needs no transposed copies of inputs and outputs. 112x112x16 to 96: 0.4 of the time; 28x28x40
    to 240: 0.8; 7x7x2048 to 512: 1.1.
    """
    return _plain(x, kernel, strides, "VALID", (1,) * len(strides), 1)


@_of_one_entry.defjvp
def _(strides: Sizes, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    [view] = taps(x, kernel.shape[:-2], strides, (1,) * len(strides))
    by_kernel = product_of_matrices(view, jnp.reshape(dkernel, dkernel.shape[-2:]))
    return _of_one_entry(x, kernel, strides), _of_one_entry(dx, kernel, strides) + by_kernel


def _as_matmul(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes) -> jax.Array:
    """The convolution as a product of a matrix of patches (im2col) and the kernel as a matrix.

    3x3 over 28x28x1 to 16: 0.3 of the time; over 32x32x3 to 32: 0.5; 5x5 over 32x32x3: no gain.
    """
    patches = jnp.concatenate(taps(x, kernel.shape[:-2], strides, dilation), -1)
    return matmul(patches, jnp.reshape(kernel, (patches.shape[-1], -1)))


def _depthwise(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes) -> jax.Array:
    """The sum of shifted inputs, each times one entry of the kernel for each channel.

    3x3 over 17x17x128: 0.06 of the time; over 33x33x32: 0.07; with two filters for each channel:
    0.01. The sums avoid axes of size 1, with which XLA's reductions for the gradient take 6 times
    as long.
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
    same = (window, strides, dilation)
    if len(entries) <= _FEW:
        dy = _sum_of_taps(dx, entries, *same)
    else:
        dy = _sum_by_phases(dx, entries, *same, y.shape[1:-1])
    return y, dy + _sum_by_rows(x, dentries, *same, y.shape[1:-1])


def _sum_by_phases(
    x: jax.Array, entries: jax.Array, window: Sizes, strides: Sizes, dilation: Sizes, sizes: Sizes
) -> jax.Array:
    """:func:`_sum_of_taps` in a form whose transpose, the gradient of ``x``, is fast.

    The transpose of a view pads a product, with a condition for each entry of ``x``. Here products
    are padded and their sum is cropped, so that the transpose pads once and adds views. Entries of
    ``x`` that meet the same entries of the window form a phase. 5x5 over 28x28x240: 0.3 of the
    time, over 56x56x144 with strides 2: 0.15; 3x3 over 112x112x96 with strides 2: 4.
    """
    offsets = np.array(list(np.ndindex(*window))) * dilation
    ahead, remainders = np.divmod(offsets, strides)
    most, starts = ahead.max(0), [tuple(r) for r in remainders.tolist()]
    phases = {p: lax.slice(x, (0, *p, 0), x.shape, (1, *strides, 1)) for p in set(starts)}
    longest = phases[(0,) * len(window)].shape[1:-1]
    products = []
    for numbers, a, p in zip(entries, ahead, starts, strict=True):
        missing = np.subtract(longest, phases[p].shape[1:-1])
        margins = np.stack([most - a, a + missing], 1)
        products.append(pad(phases[p] * numbers, margins.tolist()))
    kept = (slice(m, m + n) for m, n in zip(most.tolist(), sizes, strict=True))
    return functools.reduce(operator.add, products)[:, *kept]


def _sum_by_rows(
    x: jax.Array, entries: jax.Array, window: Sizes, strides: Sizes, dilation: Sizes, sizes: Sizes
) -> jax.Array:
    """:func:`_sum_of_taps` in a form whose transpose, the gradient of ``entries``, is fast.

    It is a loop over blocks of a few rows. Its transpose adds their products to sums for each entry
    of the window and of a row, which stay in the processor's cache, and reads the inputs once.
    Sums over the views, one after the other, read the inputs and write a view for each entry of the
    window: 3x3 over 56x56x144 takes 0.3 of that time, 5x5 over 14x14x672 0.5. If images are small,
    a block consists of several samples and rows.
    """
    if len(window) == 1:
        lifted = ((1, *n) for n in (window, strides, dilation, sizes))
        return _sum_by_rows(x[:, None], entries, *lifted)[:, 0]
    count, channels = x.shape[0], x.shape[-1]
    height, *rest = sizes
    limit = _PRODUCTS // len(entries)
    rows = _divisor(height, limit)
    terms = _divisor(count, limit // rows)
    numbers = math.prod(rest) * channels
    samples = _divisor(count // terms, _ROW // numbers)
    lines = _divisor(height // rows, _ROW // (samples * numbers))  # of each of the rows
    high = rows * lines
    taken = terms * samples, reach((high,), strides[:1])[0] + reach(window, dilation)[0] - 1
    starts = np.array(list(np.ndindex(count // taken[0], height // high)))
    starts = starts * (taken[0], high * strides[0])
    # Sums over many rows need the precision of float32.
    dtype = jnp.promote_types(entries.dtype, "float32")
    row = (samples, lines, *rest, channels)
    each = lax.split(entries.astype(dtype), (1,) * len(entries))  # its transpose is one operation
    wide = [jnp.broadcast_to(e, row) for e in each]

    @jax.checkpoint  # stores `x` for the gradient, not its views
    def block(start: Any) -> jax.Array:
        part = lax.dynamic_slice(x, (*start, *(0,) * (x.ndim - 2)), (*taken, *x.shape[2:]))
        part = jnp.reshape(part, (terms, samples, *part.shape[1:]))
        views = taps(part, (1, *window), (1, *strides), (1, *dilation))
        sums = []
        for i, j in np.ndindex(terms, rows):
            here = (i, slice(None), slice(j * lines, (j + 1) * lines))
            products = (v[here] * w for v, w in zip(views, wide, strict=True))
            sums.append(functools.reduce(operator.add, products))
        return jnp.stack(sums).astype(entries.dtype)

    y = lax.map(block, starts)
    y = jnp.reshape(y, (-1, height // high, terms, rows, *row))
    y = jnp.transpose(y, (0, 2, 4, 1, 3, *range(5, y.ndim)))
    return jnp.reshape(y, (count, height, *rest, channels))


def _divisor(n: int, limit: int) -> int:
    """The largest divisor of ``n`` up to ``limit``; at least 1."""
    return max(d for d in range(1, max(limit, 1) + 1) if n % d == 0)


def _as_planes(
    x: jax.Array, kernel: jax.Array, strides: Sizes, pads: Margins, dilation: Sizes
) -> jax.Array:
    """A 3D convolution as a 2D one: slices along the window's first axis become channels.

    3x3x3 over 16x16x16x8 to 16: 0.2 of the time; over 16x16x16x16 to 32 with strides 2: 0.02.
    """
    depth, *window, channels, filters = kernel.shape
    x = pad(x, [pads[0], (0, 0), (0, 0)])
    planes = jnp.concatenate(taps(x, (depth, 1, 1), (strides[0], 1, 1), (dilation[0], 1, 1)), -1)
    flat = jnp.reshape(planes, (-1, *planes.shape[2:]))
    kernel = jnp.reshape(jnp.moveaxis(kernel, 0, 2), (*window, depth * channels, filters))
    y = _on_cpu(flat, kernel, strides[1:], pads[1:], dilation[1:], 1)
    return jnp.reshape(y, (*planes.shape[:2], *y.shape[1:]))


def _crop(extent: int, stride: int, padding: str, output_padding: int | None) -> tuple[int, int]:
    """What a transposed convolution crops at the start and end of all that the window covers.

    Negative for padding.
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
    """A transposed convolution as a convolution: outputs ``i * stride + phase`` share their inputs.

    The kernel's entries of each phase form separate filters, and the phases are interleaved
    afterwards ("sub-pixel convolution", Shi et al. 2016, arXiv:1609.05158). With stride 1 this is
    padding and a convolution. The gradients of XLA's transposed convolution are slow: 3x3 over
    14x14x32 to 16 with strides 2: 0.17 of the time; 3x3 over 28x28x32 to 16 with strides 1 and
    valid padding: 0.13.
    """
    *window, channels, filters = kernel.shape
    rank = len(window)
    steps = [-(-k // s) for k, s in zip(window, strides, strict=True)]
    missing = [m * s - k for m, s, k in zip(steps, strides, window, strict=True)]
    # The kernel is flipped, so its end is the start of the unflipped window: pad at the start.
    kernel = lax.pad(
        kernel, jnp.zeros((), kernel.dtype), [*((n, 0, 0) for n in missing), (0, 0, 0), (0, 0, 0)]
    )
    pairs = [n for pair in zip(steps, strides, strict=True) for n in pair]
    kernel = jnp.reshape(kernel, (*pairs, channels, filters))
    kernel = jnp.flip(kernel, range(1, 2 * rank, 2))  # phases, in the order of the output
    order = [*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1]
    kernel = jnp.reshape(jnp.transpose(kernel, order), (*steps, channels, -1))
    pads, rests = [], []
    for m, s, d, (low, high), n in zip(steps, strides, dilation, crops, missing, strict=True):
        (skip_low, rest_low), (skip_high, rest_high) = divmod(low, s), divmod(high + n, s)
        pads.append(((m - 1) * d - skip_low, (m - 1) * d - skip_high))
        rests.append((-rest_low, -rest_high))
    y = _on_cpu(x, kernel, (1,) * rank, pads, dilation, 1)
    sizes = y.shape[1:-1]
    y = jnp.reshape(y, (y.shape[0], *sizes, *strides, filters))
    order = [0, *(a for i in range(rank) for a in (1 + i, 1 + rank + i)), 2 * rank + 1]
    y = jnp.transpose(y, order)
    whole = [n * s for n, s in zip(sizes, strides, strict=True)]
    return pad(jnp.reshape(y, (y.shape[0], *whole, filters)), rests)
