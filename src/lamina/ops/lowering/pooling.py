"""Pooling, implemented in the form that is fastest on the platform.

On CPU a window is reduced axis by axis, entry by entry; on other platforms, and for very large
windows, XLA's ``reduce_window`` is used. Factors relative to that, measured on 2 cores, forward
pass and gradients together: max 2x2 over 30x30x64: 0.11 of the time, max 3x3 with strides 2 over
56x56x64: 0.13; average 2x2: 1.0, average 3x3 with strides 2: 0.2.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina import settings
from lamina.ops.lowering.windows import (
    UNROLLED,
    Sizes,
    as_before,
    channels_last,
    check_fits,
    pad,
    same_padding,
    taps,
    unrolls,
)

_pooled = functools.partial(
    jax.jit, static_argnames=("window", "strides", "padding", "data_format")
)


@_pooled
def max_pool(
    x: jax.Array,
    window: Sizes,
    strides: Sizes,
    padding: str,
    data_format: str = "channels_last",
) -> jax.Array:
    """The maximum of the window at each position, without padding.

    The gradient goes to the first of equal entries, as in XLA; NaN takes precedence.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        window: Size of the window along each axis.
        strides: Stride of the window along each axis.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        ``(batch, *positions, channels)``, in the layout and the dtype of ``x``.

    Raises:
        ShapeError: The window is larger than a known dimension.
    """
    floating = jnp.issubdtype(x.dtype, jnp.inexact)
    lowest = -jnp.inf if floating else jnp.iinfo(x.dtype).min
    check_fits(f"A pooling window of {window}", x, window, padding, data_format)
    x = channels_last(x, data_format)
    if floating and window == strides and unrolls(x) and math.prod(window) <= UNROLLED:
        y = _largest(_tiles(_padded(x, window, strides, padding, lowest), window))
    else:
        y = _reduce(x, _larger, lax.max, lowest, window, strides, padding)
    return as_before(y, data_format)


@_pooled
def average_pool(
    x: jax.Array,
    window: Sizes,
    strides: Sizes,
    padding: str,
    data_format: str = "channels_last",
) -> jax.Array:
    """The mean of the window at each position, without padding.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1; cast to a float dtype.
        window: Size of the window along each axis.
        strides: Stride of the window along each axis.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        ``(batch, *positions, channels)``, in the layout of ``x``.

    Raises:
        ShapeError: The window is larger than a known dimension.
    """
    check_fits(f"A pooling window of {window}", x, window, padding, data_format)
    x = channels_last(_floating(x), data_format)
    add = functools.partial(
        _reduce, fold=operator.add, reducer=lax.add, start=0,
        window=window, strides=strides, padding=padding,
    )  # fmt: skip
    count: Any = math.prod(window)
    if padding == "same":
        count = add(jnp.ones((1, *x.shape[1:-1], 1), x.dtype))
    return as_before(add(x) / count, data_format)


def _floating(x: jax.Array) -> jax.Array:
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(settings.floatx())


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where((a >= b) | (a != a), a, b)


def _padded(x: jax.Array, window: Sizes, strides: Sizes, padding: str, value: Any) -> jax.Array:
    if padding == "same":
        x = pad(x, same_padding(x.shape[1:-1], window, strides), value)
    return x


# ---- non-overlapping windows ---------------------------------------------------------------------


def _tiles(x: jax.Array, window: Sizes) -> jax.Array:
    """``(batch, *dimensions, channels)`` to ``(batch, positions, window, ..., channels)``."""
    positions = [n // k for n, k in zip(x.shape[1:-1], window, strict=True)]
    covered = map(operator.mul, positions, window)
    x = lax.slice(x, (0,) * x.ndim, (x.shape[0], *covered, x.shape[-1]))
    pairs = itertools.chain.from_iterable(zip(positions, window, strict=True))
    return jnp.reshape(x, (x.shape[0], *pairs, x.shape[-1]))


@jax.custom_jvp
def _largest(tiles: jax.Array) -> jax.Array:
    """The largest entry of each tile, the first of equal ones.

    The gradient compares each entry's position with that of the maximum in one pass; the gradient
    of a reduction goes entry by entry and pads each to the input's shape. 3x3 over 24x24x32: 0.14
    of the time; over 28x28x64: 0.18; 2x2 over 64x64x16: 0.7.
    """
    return _chosen(tiles)[0]


def _chosen(tiles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest entry of each tile, and its position in row-major order."""
    views = [tiles]
    for axis in range(2, tiles.ndim // 2 + 1):  # indexing an axis moves the next window axis there
        views = [
            lax.index_in_dim(view, entry, axis, keepdims=False)
            for view in views
            for entry in range(view.shape[axis])
        ]
    best, which = views[0], jnp.zeros(views[0].shape, jnp.int32)
    for number, view in enumerate(views[1:], 1):
        better = ((view > best) | (view != view)) & (best == best)  # the first NaN takes precedence
        best, which = jnp.where(better, view, best), jnp.where(better, number, which)
    return best, which


@_largest.defjvp
def _largest_tangent(primals: tuple[Any], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
    (tiles,), (tangent,) = primals, tangents
    best, which = _chosen(tiles)
    axes = range(2, tiles.ndim - 1, 2)
    number: Any = 0
    for axis in axes:
        number = number * tiles.shape[axis] + lax.broadcasted_iota(jnp.int32, tiles.shape, axis)
    chosen = jnp.expand_dims(which, tuple(axes)) == number
    return best, jnp.sum(jnp.where(chosen, tangent, 0), tuple(axes))


# ---- any windows ---------------------------------------------------------------------------------


def _reduce(
    x: jax.Array,
    fold: Callable[[Any, Any], Any],
    reducer: Callable[[Any, Any], Any],
    start: Any,
    window: Sizes,
    strides: Sizes,
    padding: str,
) -> jax.Array:
    if not unrolls(x) or sum(window) > UNROLLED:
        return lax.reduce_window(
            x, np.asarray(start, x.dtype)[()], reducer, (1, *window, 1), (1, *strides, 1),
            padding.upper(),
        )  # fmt: skip
    x = _padded(x, window, strides, padding, start)
    # The last axis first, so that the first of equal entries in row-major order is chosen.
    for axis in reversed(range(len(window))):
        ones = (1,) * len(window)
        along = (*ones[:axis], window[axis], *ones[axis + 1 :])
        steps = (*ones[:axis], strides[axis], *ones[axis + 1 :])
        x = functools.reduce(fold, taps(x, along, steps, ones))
    return x


# ---- adaptive pooling: given is the number of positions, not the window --------------------------


@functools.partial(jax.jit, static_argnames=("output_size", "data_format"))
def adaptive_max_pool(
    x: jax.Array, output_size: Sizes, data_format: str = "channels_last"
) -> jax.Array:
    """The maximum of each of ``output_size`` equal parts, which may overlap by one entry.

    Along an axis of ``n`` entries, part ``i`` of ``m`` goes from ``floor(i*n/m)`` to
    ``ceil((i+1)*n/m) - 1``.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1.
        output_size: Number of parts along each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        ``(batch, *output_size, channels)``, in the layout of ``x``.
    """
    # Parts are padded with their last entry, which does not change the maximum.
    return _adaptive(x, output_size, data_format, max_pool, lambda part, _: jnp.max(part, -1))


@functools.partial(jax.jit, static_argnames=("output_size", "data_format"))
def adaptive_average_pool(
    x: jax.Array, output_size: Sizes, data_format: str = "channels_last"
) -> jax.Array:
    """The mean of each of ``output_size`` parts, divided as in :func:`adaptive_max_pool`.

    Args:
        x: ``(batch, *dimensions, channels)``, or the channels on axis 1; cast to a float dtype.
        output_size: Number of parts along each axis.
        data_format: ``"channels_last"`` or ``"channels_first"``.
    """

    def mean(part: jax.Array, counts: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(counts, part, 0), -1) / jnp.sum(counts, -1, dtype=part.dtype)

    return _adaptive(_floating(x), output_size, data_format, average_pool, mean)


def _adaptive(
    x: jax.Array,
    output_size: Sizes,
    data_format: str,
    regular: Callable[..., jax.Array],
    reduce: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    x = channels_last(x, data_format)
    sizes = x.shape[1:-1]
    if all(isinstance(n, int) and n % m == 0 for n, m in zip(sizes, output_size, strict=True)):
        window = tuple(n // m for n, m in zip(sizes, output_size, strict=True))
        return as_before(regular(x, window, window, "valid"), data_format)
    for axis, (n, m) in enumerate(zip(sizes, output_size, strict=True), 1):
        parts = jnp.arange(m)
        first, end = parts * n // m, -(-(parts + 1) * n // m)
        entries = first[:, None] + jnp.arange(n // m + 2)
        chosen = jnp.take(jnp.moveaxis(x, axis, -1), jnp.minimum(entries, end[:, None] - 1), -1)
        x = jnp.moveaxis(reduce(chosen, entries < end[:, None]), -1, axis)
    return as_before(x, data_format)
