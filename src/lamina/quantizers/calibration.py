"""Quantization of a matrix with what is known of its inputs: GPTQ and AWQ."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.errors import ArgumentError

_BLOCK = 128  # number of rows whose errors are carried over to all later ones together


class Statistics(NamedTuple):
    """Sums over the inputs ``x`` of a layer, each a vector.

    Attributes:
        count: Number of inputs.
        gram: The sum of ``x x^T``.
        magnitude: The sum of ``abs(x)``.
    """

    count: Any
    gram: Any
    magnitude: Any

    @classmethod
    def of(cls, inputs: Any) -> Statistics:
        """The statistics of inputs ``(count, rows)``."""
        x = inputs.astype("float32")
        return cls(jnp.float32(x.shape[0]), x.T @ x, jnp.abs(x).sum(0))

    @classmethod
    def empty(cls, rows: int) -> Statistics:
        """The statistics of no inputs."""
        return cls.of(jnp.zeros((0, rows)))


class Calibrated(NamedTuple):
    """A matrix as integers; ``(integers - zero) * scale / factors`` is its transpose.

    Attributes:
        integers: ``(columns, rows)``, from 0 to the largest integer of the number of bits.
        scale: ``(columns, groups)``.
        zero: ``(columns, groups)``: the integers that stand for 0.
        groups: The group of each row.
        factors: What each row was multiplied by before it was rounded.
    """

    integers: Any
    scale: Any
    zero: Any
    groups: Any
    factors: Any


def scales_of(
    weights: Any, bits: int, size: int = -1, symmetric: bool = False, per_channel: bool = True
) -> tuple[Any, Any]:
    """The scales and zero points with which weights fit into a number of bits.

    The range of the integers is that from the least to the greatest weight, made to contain 0.

    Args:
        weights: ``(columns, rows)``.
        bits: Number of bits.
        size: Number of rows in a group; -1 for a single group.
        symmetric: Whether the range is as wide below 0 as above it.
        per_channel: Whether each column has its own.

    Returns:
        Scales and zero points, ``(columns, groups)`` each.

    >>> scale, zero = scales_of(jnp.array([[-1.0, 0.5, 2.0, 0.0]]), bits=2, size=2)
    >>> scale.tolist(), zero.tolist()
    ([[0.5, 0.666...]], [[2.0, 0.0]])
    """
    columns, rows = weights.shape
    size = rows if size == -1 else size
    filled = jnp.pad(weights, ((0, 0), (0, -rows % size)))
    axes = 2 if per_channel else (0, 2)
    parts = filled.reshape(columns, -1, size)
    low = jnp.minimum(parts.min(axes, keepdims=True), 0)
    high = jnp.maximum(parts.max(axes, keepdims=True), 0)
    if symmetric:
        high = jnp.maximum(-low, high)
        low = -high
    nothing = low == high
    low, high = low - nothing, high + nothing
    top = 2**bits - 1
    scale = (high - low) / top
    zero = jnp.full_like(scale, (top + 1) / 2) if symmetric else jnp.round(-low / scale)
    shape = (columns, parts.shape[1])
    return tuple(jnp.broadcast_to(x[..., 0], shape) for x in (scale, zero))


def _rounded(weights: Any, scale: Any, zero: Any, bits: int) -> Any:
    """The integers that stand for weights."""
    return jnp.clip(jnp.round(weights / scale + zero), 0, 2**bits - 1)


def _by_row(x: Any, rows: int, size: int) -> Any:
    """Numbers of groups as numbers of rows."""
    return jnp.repeat(x, rows if size == -1 else size, axis=1)[:, :rows]


@functools.partial(jax.jit, static_argnames=("bits", "size", "symmetric", "per_channel"))
def _rounded_in_turn(
    weights: Any, factor: Any, bits: int, size: int, symmetric: bool, per_channel: bool
) -> tuple[Any, Any, Any]:
    """The integers, scales and zero points by GPTQ, from the upper factor of the inverse moments.

    The scales of a group are found from its weights as they are when the block that contains it is
    reached: a block is a number of whole groups.
    """
    columns, rows = weights.shape
    width = size if size > _BLOCK or (size > 0 and _BLOCK % size) else _BLOCK
    added = -rows % width
    w = jnp.pad(weights, ((0, 0), (0, added)))
    u = jnp.pad(factor, ((0, added), (0, added)))
    u = u + jnp.diag(jnp.arange(rows + added) >= rows)
    find = functools.partial(
        scales_of, bits=bits, size=size, symmetric=symmetric, per_channel=per_channel
    )
    once = find(weights)
    positions = jnp.arange(rows + added)

    def block(w: Any, start: Any) -> tuple[Any, Any]:
        own = jax.lax.dynamic_slice_in_dim(w, start, width, 1)
        rows_of_u = jax.lax.dynamic_slice_in_dim(u, start, width, 0)
        inside = jax.lax.dynamic_slice_in_dim(rows_of_u, start, width, 1)
        scale, zero = once if size == -1 else find(own)

        def column(i: Any, state: Any) -> Any:
            own, integers, errors = state
            group = 0 if size == -1 else i // size
            s, z = scale[:, group], zero[:, group]
            rounded = _rounded(own[:, i], s, z, bits)
            error = (own[:, i] - (rounded - z) * s) / inside[i, i]
            return (
                own - error[:, None] * inside[i], integers.at[:, i].set(rounded),
                errors.at[:, i].set(error),
            )  # fmt: skip

        zeros = jnp.zeros_like(own)
        _, integers, errors = jax.lax.fori_loop(0, width, column, (own, zeros, zeros))
        later = jnp.where(positions >= start + width, rows_of_u, 0)
        return w - errors @ later, (integers, scale, zero)

    _, found = jax.lax.scan(block, w, jnp.arange(0, rows + added, width))
    integers, scale, zero = (jnp.moveaxis(x, 0, 1).reshape(columns, -1) for x in found)
    count = 1 if size == -1 else -(-rows // size)
    return integers[:, :rows], scale[:, :count], zero[:, :count]


def gptq(
    weights: Any,
    statistics: Statistics,
    bits: int = 4,
    group_size: int = -1,
    symmetric: bool = False,
    per_channel: bool = True,
    damping: float = 0.01,
    by_magnitude: bool = False,
) -> Calibrated:
    """Round weights one row after another, and correct the later rows for the error of each.

    With the second moments ``H = 2 / count * sum(x x^T)`` of the inputs, row ``i`` is rounded, and
    its error ``e`` is subtracted from every later row ``j``, times ``U[i, j] / U[i, i]``, where
    ``U`` is the upper triangular factor of ``H^-1 = U^T U``: of all changes of the later rows, this
    one changes the outputs least. Frantar et al. 2022, arXiv:2210.17323. Without any inputs,
    weights are rounded to the nearest. Keras leaves out the factorization and uses ``H^-1`` for
    ``U``, whose rows would have to be updated after each row.

    Args:
        weights: ``(columns, rows)``: the transposed matrix that inputs are multiplied by.
        statistics: The statistics of these inputs.
        bits: Number of bits.
        group_size: Number of rows that share a scale; -1 for all.
        symmetric: Whether the zero point is the middle of the range.
        per_channel: Whether each column has its own scales.
        damping: What is added to the diagonal of ``H``, as a fraction of its mean.
        by_magnitude: Whether to begin with the rows of the largest inputs.

    Raises:
        ArgumentError: The moments cannot be inverted.

    >>> x = jnp.array([[1.0, 1.0], [2.0, 2.0]])
    >>> found = gptq(jnp.array([[0.4, 0.4, -1.0]])[:, :2], Statistics.of(x), bits=2)
    >>> found.integers.shape, found.scale.shape
    ((1, 2), (1, 1))
    """
    w, rows = weights.astype("float32"), weights.shape[1]
    h = statistics.gram * 2 / jnp.maximum(statistics.count, 1)
    unused = jnp.diag(h) == 0
    h = h + jnp.diag(jnp.where(unused, 1.0, 0.0))
    h = h + damping * jnp.mean(jnp.diag(h)) * jnp.eye(rows)
    order = jnp.argsort(-jnp.diag(h)) if by_magnitude else jnp.arange(rows)
    w, h = w[:, order], h[order][:, order]
    # With rows and columns in reverse, the lower factor of H is the upper one: H = R R^T, U = R^-1.
    r = jnp.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1]
    u = jax.scipy.linalg.solve_triangular(r, jnp.eye(rows), lower=False)
    if not bool(jnp.isfinite(u).all()):
        raise ArgumentError(
            "GPTQ cannot invert the second moments of the inputs of a layer.",
            received=f"{int(statistics.count)} inputs of {rows} numbers, hessian_damping={damping}",
            cure="Take more or longer sequences, or a larger `hessian_damping`. If the inputs "
            "themselves are not finite, look for the layer that makes them so.",
        )
    integers, scale, zero = _rounded_in_turn(
        w, u, bits=bits, size=group_size, symmetric=symmetric, per_channel=per_channel
    )
    back = jnp.argsort(order)
    groups = jnp.arange(rows) // (rows if group_size == -1 else group_size)
    return Calibrated(integers[:, back], scale, zero, groups[back], jnp.ones(rows))


def awq(weights: Any, statistics: Statistics, group_size: int = -1, points: int = 20) -> Calibrated:
    """Round weights to 4 bits after multiplying each row by a power of its inputs' magnitude.

    The products ``W * s`` are rounded to the nearest, and ``s`` is divided by afterwards, so that
    rows with large factors have small errors. Of ``s = m ** (k / points)``, where ``m`` is the mean
    of ``abs(x)`` and ``k`` is ``0, ..., points``, the one is taken with which the outputs change
    least. Lin et al. 2023, arXiv:2306.00978. Without any inputs, all factors are 1. Keras takes the
    maximum of ``abs(x)`` for ``m``, and for the change of the outputs the sum of the squared errors
    of the weights, times ``m ** 2``.

    Args:
        weights: ``(columns, rows)``: the transposed matrix that inputs are multiplied by.
        statistics: The statistics of these inputs.
        group_size: Number of rows that share a scale; -1 for all.
        points: Number of exponents that are tried, besides 0.

    >>> x = jnp.array([[0.1, 8.0], [0.2, -9.0]])
    >>> awq(jnp.array([[0.9, 0.31]]), Statistics.of(x)).factors.round(1).tolist()
    [0.3..., 2.9...]
    """
    w, rows = weights.astype("float32"), weights.shape[1]
    mean = statistics.magnitude / jnp.maximum(statistics.count, 1)
    mean = jnp.where(mean < 1e-8, 1.0, mean)

    def factors(exponent: Any) -> Any:
        s = jnp.maximum(mean**exponent, 1e-4)
        return s / jnp.sqrt(s.max() * s.min())

    def parts(s: Any) -> tuple[Any, Any, Any]:
        scale, zero = scales_of(w * s, 4, group_size)
        spread = (_by_row(x, rows, group_size) for x in (scale, zero))
        return _rounded(w * s, *spread, 4), scale, zero

    @jax.jit
    def change(exponent: Any) -> Any:
        s = factors(exponent)
        integers, scale, zero = parts(s)
        scale, zero = (_by_row(x, rows, group_size) for x in (scale, zero))
        error = (integers - zero) * scale / s - w
        return jnp.sum((error @ statistics.gram) * error)

    exponents = [k / points for k in range(points + 1)]
    best = factors(min(exponents, key=lambda e: float(change(e))))
    groups = jnp.arange(rows) // (rows if group_size == -1 else group_size)
    return Calibrated(*parts(best), groups, best)


__all__ = ["Calibrated", "Statistics", "awq", "gptq", "scales_of"]
