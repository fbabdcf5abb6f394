"""Rearrangement of axes by a pattern of names (Rogozhnikov 2022, ICLR)."""

from __future__ import annotations

import math
import re
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array

FILE_MODULE = "einops"  # of Keras's files

__all__ = ["rearrange"]

_TOKEN = re.compile(r"\s*(\(|\)|\.\.\.|[A-Za-z_]\w*|1)")


def _parsed(side: str, pattern: str) -> list[list[str]]:
    """Parse one side of a pattern: a list of names for each axis, several if in parentheses."""
    axes: list[list[str]] = []
    position, is_open = 0, False
    while side[position:].strip():
        found = _TOKEN.match(side, position)
        if found is None or (found[1] == "(" and is_open) or (found[1] == ")" and not is_open):
            raise ArgumentError(
                "rearrange() expects names, '...', 1 and parentheses on both sides of '->'. "
                f"Received: {pattern!r}."
            )
        position, part = found.end(), found[1]
        if part == "(":
            axes.append([])
            is_open = True
        elif part == ")":
            is_open = False
        elif part == "1":
            if not is_open:
                axes.append([])
        elif is_open:
            axes[-1].append(part)
        else:
            axes.append([part])
    return axes


@op(in_call=("pattern",))
def rearrange(tensor: Tensor, pattern: str, **axes_lengths: int) -> jax.Array:
    """Reorder, split and merge axes by their names.

    Args:
        tensor: Tensor.
        pattern: The axes before and after ``->``: ``"batch (rows size) -> batch rows size"``. Names
            in parentheses are merged into one axis; ``...`` is any number of axes; 1 is an axis of
            size 1.
        axes_lengths: Sizes of axes that cannot be inferred from the tensor.

    >>> rearrange(jnp.arange(6), "(a b) -> b a", a=2)
    Array([[0, 3],
           [1, 4],
           [2, 5]], dtype=int32)
    """
    x = as_array(tensor)
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ArgumentError(f"rearrange() expects one '->'. Received: {pattern!r}.")
    before, after = (_parsed(side, pattern) for side in sides)
    names = [n for axis in before for n in axis]
    wanted = [n for axis in after for n in axis]
    if sorted(names) != sorted(wanted) or len({*names}) != len(names):
        raise ArgumentError(
            f"rearrange() expects the same names on both sides, each once. Received: {pattern!r}."
        )
    hidden = x.ndim - len(before) + 1
    if ["..."] in before:
        more = [f"...{i}" for i in range(hidden)]
        before = [[n] for n in more] if before == [["..."]] else _spread(before, more)
        after = _spread(after, more)
    if len(before) != x.ndim:
        raise ShapeError(
            f"ops.rearrange: the pattern {pattern!r} has {len(before)} axes.",
            received=show_dims(x.shape),
        )
    sizes: dict[str, Any] = dict(axes_lengths)
    for axis, size in zip(before, x.shape, strict=True):
        _complete(axis, size, sizes, pattern)
    split = jnp.reshape(x, [sizes[n] for axis in before for n in axis])
    order = [n for axis in before for n in axis]
    moved = jnp.transpose(split, [order.index(n) for axis in after for n in axis])
    return jnp.reshape(moved, [math.prod(sizes[n] for n in axis) for axis in after])


def _spread(axes: list[list[str]], names: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for axis in axes:
        if axis == ["..."]:
            found.extend([n] for n in names)
        else:
            found.append([n for part in axis for n in (names if part == "..." else [part])])
    return found


def _complete(axis: list[str], size: Any, sizes: dict[str, Any], pattern: str) -> None:
    """Infer the missing size of a merged axis."""
    unknown = [n for n in axis if n not in sizes]
    known = math.prod(sizes[n] for n in axis if n in sizes)
    if len(unknown) > 1:
        raise ArgumentError(
            f"rearrange() needs the sizes of all but one of {unknown} in {pattern!r}: "
            f"`rearrange(x, pattern, {unknown[0]}=...)`."
        )
    if unknown:
        sizes[unknown[0]] = size // known
        known = known * sizes[unknown[0]]
    if isinstance(size, int) and isinstance(known, int) and size != known:
        raise ShapeError(
            f"ops.rearrange cannot divide an axis of {size} as {pattern!r} and the sizes "
            f"{ {n: sizes[n] for n in axis} } say."
        )
