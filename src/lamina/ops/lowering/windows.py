"""Layouts, padding and sliding windows, shared by convolutions and pooling.

Inside this package the channels are the last axis; :func:`channels_last` and :func:`as_before`
convert from and to the caller's layout.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.spec import show_dims
from lamina.errors import ShapeError

Sizes = tuple[int, ...]
Margins = Sequence[tuple[int, int]]

# Loops over the entries of a window are unrolled up to this number; beyond it, compilation takes #
# longer than the faster program saves.
UNROLLED = 64


def spatial_axes(rank: int, data_format: str) -> range:
    """The spatial axes of a window with ``rank`` axes.

    >>> list(spatial_axes(2, "channels_first"))
    [2, 3]
    """
    start = 1 if data_format == "channels_last" else 2
    return range(start, start + rank)


def channels_last(x: jax.Array, data_format: str) -> jax.Array:
    """Move the channels of ``x`` to the last axis."""
    return x if data_format == "channels_last" else jnp.moveaxis(x, 1, -1)


def as_before(x: jax.Array, data_format: str) -> jax.Array:
    """The inverse of :func:`channels_last`."""
    return x if data_format == "channels_last" else jnp.moveaxis(x, -1, 1)


def unrolls(x: jax.Array) -> bool:
    """Whether to unroll the loop over window entries: on CPU, if dimensions are known and not 0.

    GPUs and TPUs have kernels for the plain operations.
    """
    return jax.default_backend() == "cpu" and all(isinstance(n, int) and n > 0 for n in x.shape)


def reach(window: Sizes, dilation: Sizes) -> Sizes:
    """The dilated window size.

    >>> reach((3, 1), (2, 2))
    (5, 1)
    """
    return tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))


def check_fits(what: str, x: jax.Array, extent: Sizes, padding: str, data_format: str) -> None:
    """Raise :class:`ShapeError` if an unpadded window is larger than a known dimension."""
    axes = spatial_axes(len(extent), data_format)
    sizes = [x.shape[a] for a in axes]
    if padding == "valid" and any(
        isinstance(n, int) and n < k for n, k in zip(sizes, extent, strict=True)
    ):
        order = ""
        known = all(isinstance(n, int) for n in x.shape[1:])
        # As in (3, 32, 32): a small dimension, followed by equal ones.
        if data_format == "channels_last" and known and x.shape[1] < x.shape[-2] == x.shape[-1]:
            order = " If the channels are on axis 1, pass `data_format='channels_first'`."
        raise ShapeError(
            f"{what} is larger than this input: the output would be empty.",
            expected=f"dimensions of at least {extent} along the axes {tuple(axes)}",
            received=f"{show_dims(x.shape)} {x.dtype}",
            cure="Use a smaller window or padding='same', or downsample less before." + order,
        )


def same_padding(sizes: Sequence[int], extent: Sizes, strides: Sizes) -> Margins:
    """Padding before and after each axis for ``ceil(size / stride)`` window positions.

    >>> same_padding((5, 6), (3, 3), (1, 2))
    [(1, 1), (0, 1)]
    """
    totals = (
        max((-(-n // s) - 1) * s + k - n, 0)
        for n, k, s in zip(sizes, extent, strides, strict=True)
    )  # fmt: skip
    return [(total // 2, total - total // 2) for total in totals]


def pad(x: jax.Array, pads: Margins, value: Any = 0) -> jax.Array:
    """Pad (or crop, if negative) the axes between the first and the last."""
    config = [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def taps(x: jax.Array, window: Sizes, strides: Sizes, dilation: Sizes) -> list[jax.Array]:
    """For each entry of the window, in row-major order, its view of ``x`` over all positions."""
    positions = [
        (n - k) // s + 1
        for n, k, s in zip(x.shape[1:-1], reach(window, dilation), strides, strict=True)
    ]
    views = []
    for entry in itertools.product(*map(range, window)):
        start = [i * d for i, d in zip(entry, dilation, strict=True)]
        stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, positions, strides, strict=True)]
        views.append(
            lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[-1]), (1, *strides, 1))
        )
    return views
