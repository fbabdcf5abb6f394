"""Quantization of a matrix with what is known of its inputs: GPTQ and AWQ."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.errors import ArgumentError

_BLOCK = 128  # number of rows whose errors are carried over to all later ones together


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
    ([[0.5, 0.666...]], [[2.0, -0.0]])
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
    return jnp.broadcast_to(scale[..., 0], shape), jnp.broadcast_to(zero[..., 0], shape)


def _rounded(weights: Any, scale: Any, zero: Any, bits: int) -> Any:
    """The integers that stand for weights."""
    return jnp.clip(jnp.round(weights / scale + zero), 0, 2**bits - 1)


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
    moments: Any,
    bits: int = 4,
    group_size: int = -1,
    symmetric: bool = False,
    per_channel: bool = True,
    damping: float = 0.01,
    by_magnitude: bool = False,
) -> Calibrated:
    """Round weights one row after another, and correct the later rows for the error of each.

    With the second moments ``H`` of the inputs, the mean of ``2 x x^T``, row ``i`` is rounded, and
    its error ``e`` is subtracted from every later row ``j``, times ``U[i, j] / U[i, i]``, where
    ``U`` is the upper triangular factor of ``H^-1 = U^T U``: of all changes of the later rows, this
    one changes the outputs least. Frantar et al. 2022, arXiv:2210.17323. Keras takes ``H^-1`` for
    ``U``, which is right for the first row only, and can do worse than rounding to the nearest.

    Args:
        weights: ``(columns, rows)``: the transposed matrix that inputs are multiplied by.
        moments: ``H``, ``(rows, rows)``.
        bits: Number of bits.
        group_size: Number of rows that share a scale; -1 for all.
        symmetric: Whether the zero point is the middle of the range.
        per_channel: Whether each column has its own scales.
        damping: What is added to the diagonal of ``H``, as a fraction of its mean.
        by_magnitude: Whether to begin with the rows of the largest inputs.

    Raises:
        ArgumentError: ``H`` cannot be inverted.

    >>> weights, alike = jnp.array([[0.4, 0.4, 0.4, -1.0, 1.0]]), jnp.ones((5, 5))
    >>> found = gptq(weights, alike, bits=2)
    >>> found.integers.tolist(), found.scale.round(2).tolist()
    ([[3.0, 3.0, 2.0, 0.0, 3.0]], [[0.6...]])
    """
    w, rows = weights.astype("float32"), weights.shape[1]
    h = moments + jnp.diag(jnp.where(jnp.diag(moments) == 0, 1.0, 0.0))
    h = h + damping * jnp.mean(jnp.diag(h)) * jnp.eye(rows)
    order = jnp.argsort(-jnp.diag(h)) if by_magnitude else jnp.arange(rows)
    w, h = w[:, order], h[order][:, order]
    # With rows and columns in reverse, the lower factor of H is the upper one: H = R R^T, U = R^-1.
    r = jnp.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1]
    u = jax.scipy.linalg.solve_triangular(r, jnp.eye(rows), lower=False)
    if not bool(jnp.isfinite(u).all()):
        raise ArgumentError(
            "GPTQ cannot invert the second moments of the inputs of a layer.",
            received=f"a matrix with {rows} rows, hessian_damping={damping}",
            cure="Take more or longer sequences, or a larger `hessian_damping`. If the inputs "
            "themselves are not finite, look for the layer that makes them so.",
        )
    integers, scale, zero = _rounded_in_turn(
        w, u, bits=bits, size=group_size, symmetric=symmetric, per_channel=per_channel
    )
    back = jnp.argsort(order)
    groups = jnp.arange(rows) // (rows if group_size == -1 else group_size)
    return Calibrated(integers[:, back], scale, zero, groups[back], jnp.ones(rows))


def awq(weights: Any, largest: Any, group_size: int = -1, points: int = 20) -> Calibrated:
    """Round weights to 4 bits after multiplying each row by a power of its inputs' magnitude.

    The products ``W * s`` are rounded to the nearest, and ``s`` is divided by afterwards, so that
    rows with large factors have small errors. Of ``s = m ** (k / points)``, where ``m`` is the
    magnitude of the inputs and ``k`` is ``0, ..., points``, the one is taken for which the sum of
    the squared errors of the weights, times ``m ** 2``, is least. Lin et al. 2023,
    arXiv:2306.00978; there, ``m`` is the mean of ``abs(x)``, and the error is that of the outputs.
    As in Keras, it is the maximum here, and inputs count as independent of one another.

    Args:
        weights: ``(columns, rows)``: the transposed matrix that inputs are multiplied by.
        largest: The maximum of ``abs(x)`` over these inputs, ``(rows,)``.
        group_size: Number of rows that share a scale; -1 for all.
        points: Number of exponents that are tried, besides 0.

    >>> awq(jnp.array([[0.9, 0.31]]), jnp.array([0.2, 9.0])).factors.round(1).tolist()
    [0.6..., 1.8...]
    """
    w, rows = weights.astype("float32"), weights.shape[1]
    m = jnp.where(largest < 1e-8, 1.0, largest)
    candidates = [_factors(m, k / points) for k in range(points + 1)]
    best = min(candidates, key=lambda s: float(_scaled(w, s, group_size)[1] @ m**2))
    groups = jnp.arange(rows) // (rows if group_size == -1 else group_size)
    integers, scale, zero = _scaled(w, best, group_size)[0]
    return Calibrated(integers, scale, zero, groups, best)


@jax.jit
def _factors(magnitude: Any, exponent: Any) -> Any:
    s = jnp.maximum(magnitude**exponent, 1e-4)
    return s / jnp.sqrt(s.max() * s.min())


@functools.partial(jax.jit, static_argnames="size")
def _scaled(w: Any, s: Any, size: int) -> tuple[tuple[Any, Any, Any], Any]:
    """Integers, scales and zero points of weights times factors, and the squared error by row."""
    scale, zero = scales_of(w * s, 4, size)
    by_row = [jnp.repeat(x, w.shape[1] if size == -1 else size, axis=1) for x in (scale, zero)]
    of_rows, zeros = (x[:, : w.shape[1]] for x in by_row)
    integers = _rounded(w * s, of_rows, zeros, 4)
    error = (integers - zeros) * of_rows / s - w
    return (integers, scale, zero), jnp.sum(error**2, axis=0)


__all__ = ["Calibrated", "awq", "gptq", "scales_of"]
