"""Reductions: sums, means, extrema, quantiles, cumulative sums, counts."""

from __future__ import annotations

import builtins
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core.declaration import Tensor, as_op, op
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import (
    Axes,
    as_array,
    as_axes,
    floating,
    optional_dtype,
    reduction,
    refuse_sparse,
    unary,
)

FILE_MODULE = "numpy"  # of Keras's files

# Sums of narrow integers have 32 bits, where NumPy uses 64.
all = reduction("all", jnp.all, "Whether all elements are true (not 0).",
    "[[1, 0], [2, 3]], axis=1 -> [False, True]")  # fmt: skip
any = reduction("any", jnp.any, "Whether at least one element is true.",
    "[[0, 0], [2, 0]], axis=1 -> [False, True]")  # fmt: skip
sum = reduction("sum", jnp.sum, "The sum.", "[[1, 2], [3, 4]], axis=1 -> [3, 7]")
mean = reduction("mean", lambda x, **k: jnp.mean(floating(x), **k), "The arithmetic mean.",
    "[[1, 2], [3, 4]], axis=1 -> [1.5, 3.5]")  # fmt: skip
std = reduction("std", lambda x, **k: jnp.std(floating(x), **k), "``sqrt(var(x))``.",
    "[[1, 2], [3, 5]], axis=1 -> [0.5, 1.0]")  # fmt: skip
var = reduction("var", lambda x, **k: jnp.var(floating(x), **k),
    "The variance: ``mean((x - mean(x)) ** 2)``.",
    "[[1, 2], [3, 5]], axis=1 -> [0.25, 1.0]")  # fmt: skip
median = reduction("median", lambda x, **k: jnp.median(floating(x), **k),
    "The middle of the sorted elements; the mean of the two middle ones if their number is even.",
    "[[5, 1, 3], [2, 4, 0]], axis=1 -> [3.0, 2.0]")  # fmt: skip
amax = reduction("amax", jnp.amax, "The largest element; NaN if there is one.",
    "[[1, 2], [4, 3]], axis=1 -> [2, 4]")  # fmt: skip
amin = reduction("amin", jnp.amin, "The smallest element; NaN if there is one.",
    "[[1, 2], [4, 3]], axis=1 -> [1, 3]")  # fmt: skip
ptp = reduction("ptp", jnp.ptp, "``max(x) - min(x)``.", "[[1, 2], [3, 9]], axis=1 -> [1, 6]")
argmax = reduction("argmax", jnp.argmax, "The position of the largest element.",
    "[[1, 2], [4, 3]], axis=1 -> [1, 0]")  # fmt: skip
argmin = reduction("argmin", jnp.argmin, "The position of the smallest element.",
    "[[1, 2], [4, 3]], axis=1 -> [0, 1]")  # fmt: skip

nansum = reduction("nansum", jnp.nansum, "The sum of the elements that are not NaN.",
    "[1.0, float('nan'), 2.0] -> 3.0")  # fmt: skip
nanprod = reduction("nanprod", jnp.nanprod, "The product of the elements that are not NaN.",
    "[2.0, float('nan'), 3.0] -> 6.0")  # fmt: skip
nanmean = reduction("nanmean", lambda x, **k: jnp.nanmean(floating(x), **k),
    "The mean of those that are not NaN.", "[1.0, float('nan'), 2.0] -> 1.5")  # fmt: skip
nanstd = reduction("nanstd", lambda x, **k: jnp.nanstd(floating(x), **k), "``sqrt(nanvar(x))``.",
    "[1.0, float('nan'), 3.0] -> 1.0")  # fmt: skip
nanvar = reduction("nanvar", lambda x, **k: jnp.nanvar(floating(x), **k),
    "The variance of those that are not NaN.", "[1.0, float('nan'), 3.0] -> 1.0")  # fmt: skip
nanmedian = reduction("nanmedian", lambda x, **k: jnp.nanmedian(floating(x), **k),
    "The :func:`median` of the elements that are not NaN.",
    "[1.0, float('nan'), 4.0] -> 2.5")  # fmt: skip
nanmax = reduction("nanmax", jnp.nanmax, "The largest element that is not NaN.",
    "[1.0, float('nan'), 2.0] -> 2.0")  # fmt: skip
nanmin = reduction("nanmin", jnp.nanmin, "The smallest element that is not NaN.",
    "[1.0, float('nan'), 2.0] -> 1.0")  # fmt: skip
nanargmax = reduction("nanargmax", lambda x, **k: _nanarg(jnp.argmax, x, -jnp.inf, **k),
    "The position of the largest element that is not NaN; -1 if all are NaN.",
    "[1.0, float('nan'), 2.0] -> 2")  # fmt: skip
nanargmin = reduction("nanargmin", lambda x, **k: _nanarg(jnp.argmin, x, jnp.inf, **k),
    "The position of the smallest element that is not NaN; -1 if all are NaN.",
    "[1.0, float('nan'), 2.0] -> 0")  # fmt: skip


def _nanarg(find: Any, x: jax.Array, worst: float, axis: Any, keepdims: bool) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return find(x, axis=axis, keepdims=keepdims)
    missing = jnp.isnan(x)
    found = find(jnp.where(missing, worst, x), axis=axis, keepdims=keepdims)
    return jnp.where(jnp.all(missing, axis=axis, keepdims=keepdims), -1, found)


@op
def max(
    x: Tensor, axis: Axes = None, keepdims: bool = False, initial: float | None = None
) -> jax.Array:
    """The largest element; NaN if there is one.

    Args:
        x: Tensor.
        axis: The axis or axes to reduce; all of them when None.
        keepdims: Whether reduced axes stay, with size 1.
        initial: A lower bound of the result; required if there may be no elements.

    >>> max([[1, 5], [7, 2]], axis=1)
    Array([5, 7], dtype=int32)
    """
    return jnp.max(as_array(x), axis=as_axes(axis), keepdims=keepdims, initial=initial)


@op
def min(
    x: Tensor, axis: Axes = None, keepdims: bool = False, initial: float | None = None
) -> jax.Array:
    """The smallest element; NaN if there is one.

    Args:
        x: Tensor.
        axis: The axis or axes to reduce; all of them when None.
        keepdims: Whether reduced axes stay, with size 1.
        initial: An upper bound of the result; required if there may be no elements.

    >>> min([[1, 5], [7, 2]], axis=1)
    Array([1, 2], dtype=int32)
    """
    return jnp.min(as_array(x), axis=as_axes(axis), keepdims=keepdims, initial=initial)


@op
def prod(x: Tensor, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> jax.Array:
    """The product.

    Args:
        x: Tensor.
        axis: The axis or axes to reduce; all of them when None.
        keepdims: Whether reduced axes stay, with size 1.
        dtype: Dtype of the result; when None, that of ``x``, or 32 bits for narrower integers.

    >>> prod([2, 3, 4])
    Array(24, dtype=int32)
    """
    return jnp.prod(as_array(x), axis=as_axes(axis), keepdims=keepdims, dtype=optional_dtype(dtype))


@op
def count_nonzero(x: Tensor, axis: Axes = None) -> jax.Array:
    """The number of elements that are not 0.

    Args:
        x: Tensor.
        axis: The axis or axes to count along; all of them when None.

    >>> count_nonzero([[0, 5], [7, 2]], axis=1)
    Array([1, 2], dtype=int32)
    """
    return jnp.count_nonzero(as_array(x), axis=as_axes(axis)).astype("int32")


@op
def average(x: Tensor, axis: Axes = None, weights: Tensor | None = None) -> jax.Array:
    """``sum(x * weights) / sum(weights)``.

    Args:
        x: Tensor.
        axis: The axis or axes to reduce; all of them when None.
        weights: Weights of the shape of ``x``, or of its size along ``axis``; equal weights when
            None.

    >>> average([1.0, 2.0], weights=[3.0, 1.0])
    Array(1.25, dtype=float32)
    """
    x = floating(x)
    return jnp.average(x, as_axes(axis), None if weights is None else as_array(weights))


def _quantile(fn: Any, x: Tensor, q: Tensor, axis: Axes, method: str, keepdims: bool) -> jax.Array:
    x = floating(x)
    q = jnp.asarray(q, x.dtype)
    if axis is not None and not isinstance(axis, int):  # as one axis, the last one
        reduced = {a % x.ndim for a in axis}
        kept = [a for a in range(x.ndim) if a not in reduced]
        flat = jnp.transpose(x, (*kept, *sorted(reduced)))
        flat = jnp.reshape(flat, (*(x.shape[a] for a in kept), -1))
        found = fn(flat, q, axis=-1, method=method)
        return jnp.expand_dims(found, [q.ndim + a for a in reduced]) if keepdims else found
    return fn(x, q, axis=axis, method=method, keepdims=keepdims)


_QUANTILE = """{line}

    Args:
        x: Tensor.
        q: {q}, a number or a tensor.
        axis: The axis or axes to reduce; all of them when None.
        method: Interpolation between two elements: ``"linear"``, ``"lower"``, ``"higher"``,
            ``"midpoint"`` or ``"nearest"``.
        keepdims: Whether reduced axes stay, with size 1.

    Returns:
        Tensor with the axes of ``q``, followed by those of ``x`` that are not reduced.
    """


def _quantiles(name: str, fn: Any, line: str, example: str, q_text: str) -> Any:
    def apply(
        x: Tensor, q: Tensor, axis: Axes = None, method: str = "linear", keepdims: bool = False
    ) -> jax.Array:
        return _quantile(fn, x, q, axis, method, keepdims)

    return as_op(apply, name, _QUANTILE.format(line=line, q=q_text), example, __name__)


_FRACTION, _PERCENT = "Fractions between 0 and 1", "Percentages between 0 and 100"
quantile = _quantiles("quantile", jnp.quantile,
    "The value below which a fraction ``q`` of elements is.",
    "[1.0, 2.0, 4.0], [0.5, 0.75] -> [2.0, 3.0]", _FRACTION)  # fmt: skip
percentile = _quantiles("percentile", jnp.percentile,
    "The value below which ``q`` percent of elements are.",
    "[1.0, 2.0, 4.0], [50, 75] -> [2.0, 3.0]", _PERCENT)  # fmt: skip
nanquantile = _quantiles("nanquantile", jnp.nanquantile,
    "The quantile of the elements that are not NaN.", "[1.0, float('nan'), 4.0], 0.5 -> 2.5",
    _FRACTION)  # fmt: skip
nanpercentile = _quantiles("nanpercentile", jnp.nanpercentile,
    "The percentile of the elements that are not NaN.", "[1.0, float('nan'), 4.0], 50 -> 2.5",
    _PERCENT)  # fmt: skip

_RUNNING = """{line}

    Args:
        x: Tensor.
        axis: The axis to accumulate along; the flattened tensor when None.
        dtype: Dtype of the result; that of ``x`` when None.

    Returns:
        Tensor of the shape of ``x``; one axis when ``axis`` is None.
    """


def _running(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(x: Tensor, axis: int | None = None, dtype: Any = None) -> jax.Array:
        x = as_array(x)
        if dtype is None and x.dtype == builtins.bool:
            dtype = "int32"
        return fn(x, axis=axis, dtype=x.dtype if dtype is None else optional_dtype(dtype))

    return as_op(apply, name, _RUNNING.format(line=line), example, __name__)


cumsum = _running("cumsum", jnp.cumsum, "The sum of each element and all before it.",
    "[1, 2, 3] -> [1, 3, 6]")  # fmt: skip
cumprod = _running("cumprod", jnp.cumprod, "The product of each element and all before it.",
    "[1, 2, 3] -> [1, 2, 6]")  # fmt: skip
nancumsum = _running("nancumsum", jnp.nancumsum, "The cumulative sum, with NaN as 0.",
    "[1.0, float('nan'), 2.0] -> [1.0, 1.0, 3.0]")  # fmt: skip
nancumprod = _running("nancumprod", jnp.nancumprod, "The cumulative product, with NaN as 1.",
    "[2.0, float('nan'), 3.0] -> [2.0, 2.0, 6.0]")  # fmt: skip


# ---- statistics ----------------------------------------------------------------------------------


@op(in_constructor=("weights",))
def bincount(
    x: Tensor, weights: Tensor | None = None, minlength: int = 0, sparse: bool = False
) -> jax.Array:
    """How often each number occurs: ``result[..., n] = count(x[..., :] == n)``.

    Args:
        x: Non-negative integers, ``(n,)`` or ``(batch, n)``.
        weights: Weight of each element, of the shape of ``x``; 1 when None.
        minlength: The minimum size of the result. If the values of ``x`` are not known, as in
            compiled functions, it is the size, and larger numbers are ignored.
        sparse: Must be False: the result is dense.

    >>> bincount([0, 2, 2])
    Array([1, 0, 2], dtype=int32)
    """
    refuse_sparse("bincount", sparse)
    x = as_array(x)
    length = minlength
    if isinstance(x, jax.core.Tracer):
        if not minlength:
            raise ArgumentError(
                "bincount() of values that are not known yet, in a graph or a compiled function, "
                "needs the size of its result: pass `minlength`, above the largest number. "
                "Received: minlength=0."
            )
    elif x.size:
        length = builtins.max(int(np.max(np.asarray(x))) + 1, minlength)

    def count(row: jax.Array, weight: Any) -> jax.Array:
        return jnp.bincount(row, weight, length=length)

    weights = None if weights is None else as_array(weights)
    if x.ndim == 1:
        return count(x, weights)
    return jax.vmap(count, (0, None if weights is None else 0))(x, weights)


@op
def histogram(
    x: Tensor, bins: int = 10, range: tuple[float, float] | None = None
) -> tuple[jax.Array, jax.Array]:
    """The number of elements in each of ``bins`` intervals of equal width.

    Args:
        x: Tensor, which is flattened.
        bins: Number of intervals.
        range: Lower bound of the first and upper bound of the last interval; the smallest and the
            largest element when None.

    Returns:
        Counts ``(bins,)``, and the bounds of the intervals ``(bins + 1,)``.

    >>> histogram([1.0, 2.0, 2.0, 5.0], bins=2)
    (Array([3., 1.], dtype=float32), Array([1., 3., 5.], dtype=float32))
    """
    x = as_array(x)
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 1:
        raise ArgumentError(f"histogram(): `bins` expects a positive integer. Received: {bins!r}.")
    if range is not None and not range[0] < range[1]:
        raise ArgumentError(
            f"histogram(): `range` expects (lower, upper) with lower < upper. Received: {range!r}."
        )
    return jnp.histogram(x, bins=bins, range=range)


@op
def digitize(x: Tensor, bins: Tensor) -> jax.Array:
    """The index of the bin of each element: the number of the increasing ``bins`` not above it.

    Args:
        x: Tensor.
        bins: The lower limits of bins, increasing, ``(n,)``.

    Raises:
        ShapeError: ``bins`` with another number of axes than one.

    >>> digitize([0.5, 1.0, 9.0], [0.0, 1.0, 2.0])
    Array([1, 2, 3], dtype=int32)
    """
    bins = as_array(bins)
    if bins.ndim != 1:
        raise ShapeError("ops.digitize takes one list of bins.", expected="bins of shape (n,)",
                         received=bins.shape)  # fmt: skip
    return jnp.digitize(as_array(x), bins).astype("int32")


@op(file_class="SearchSorted")
def searchsorted(sorted_sequence: Tensor, values: Tensor, side: str = "left") -> jax.Array:
    """The positions at which to insert values so that the sequence stays sorted.

    Args:
        sorted_sequence: Increasing numbers ``(n,)``.
        values: Tensor.
        side: Whether to insert before (``"left"``) or after (``"right"``) equal numbers.

    >>> searchsorted([1, 3, 5], [3, 9])
    Array([1, 3], dtype=int32)
    """
    sequence = as_array(sorted_sequence)
    if sequence.ndim != 1:
        raise ArgumentError(
            "searchsorted() expects a `sorted_sequence` with one axis. "
            f"Received: shape {sequence.shape}."
        )
    return jnp.searchsorted(sequence, as_array(values), side=side).astype("int32")


corrcoef = unary("corrcoef", jnp.corrcoef,
    "Pearson's correlation coefficients of the rows: ``cov(a, b) / sqrt(var(a) * var(b))``.",
    "corrcoef([[1.0, 2.0], [4.0, 3.0]]).round(3).tolist() -> [[1.0, -1.0], [-1.0, 1.0]]",
    convert=floating, elementwise=False)  # fmt: skip


@op
def correlate(x1: Tensor, x2: Tensor, mode: str = "valid") -> jax.Array:
    """The cross-correlation of two sequences: ``sum over n of x1[n + k] * conj(x2[n])``.

    Args:
        x1: Tensor ``(n,)``.
        x2: Tensor ``(m,)``.
        mode: The offsets ``k``: ``"valid"`` (full overlap), ``"same"`` (as many as the length of
            the longer one) or ``"full"`` (any overlap).

    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0], mode="valid")
    Array([2., 3.], dtype=float32)
    """
    x1, x2 = as_array(x1), as_array(x2)
    dtype = jnp.result_type(x1, x2)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = settings.floatx()
    return jnp.correlate(x1.astype(dtype), x2.astype(dtype), mode=mode)


@op(in_constructor=("x",))
def trapezoid(y: Tensor, x: Tensor | None = None, dx: float = 1.0, axis: int = -1) -> jax.Array:
    """The integral of ``y`` by the trapezoidal rule: ``sum((y[1:] + y[:-1]) / 2 * diff(x))``.

    Args:
        y: Values.
        x: Their positions, of the shape of ``y`` or of its size along ``axis``.
        dx: The distance between them when ``x`` is None.
        axis: The axis to integrate along.

    >>> trapezoid([1.0, 2.0, 3.0], dx=2.0)
    Array(8., dtype=float32)
    """
    return jnp.trapezoid(floating(y), None if x is None else floating(x), dx, axis)
