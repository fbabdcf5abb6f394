"""Reshaping, joining, splitting, repeating, padding, flipping and sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.declaration import Tensor, as_op, op
from lamina.errors import ArgumentError
from lamina.ops.templates import Axes, as_array, as_axes, tensor, unary

FILE_MODULE = "numpy"  # of Keras's files


def _arrays(xs: Any) -> Any:
    """The operands of a concatenation: a sequence of tensors, or a tensor's slices."""
    return [as_array(x) for x in xs] if isinstance(xs, (list, tuple)) else as_array(xs)


# ---- shapes --------------------------------------------------------------------------------------


@op
def reshape(x: Tensor, newshape: int | Sequence[int | None]) -> jax.Array:
    """Reshape a tensor, in row-major order.

    Args:
        x: Tensor.
        newshape: The new dimensions; one may be -1 (or None) to be inferred.

    >>> reshape([1, 2, 3, 4], (2, -1))
    Array([[1, 2],
           [3, 4]], dtype=int32)
    """
    if isinstance(newshape, np.ndarray):
        newshape = newshape.tolist()
    dims = newshape if isinstance(newshape, (list, tuple)) else (newshape,)
    return jnp.reshape(as_array(x), tuple(-1 if d is None else d for d in dims))


ravel = unary("ravel", jnp.ravel, "Flatten a tensor to one axis.",
    "[[1, 2], [3, 4]] -> [1, 2, 3, 4]", elementwise=False)  # fmt: skip


@op
def transpose(x: Tensor, axes: Sequence[int] | None = None) -> jax.Array:
    """Permute the axes.

    Args:
        x: Tensor.
        axes: The axis of ``x`` for each axis of the result; all reversed when None.

    >>> transpose([[1, 2], [3, 4]])
    Array([[1, 3],
           [2, 4]], dtype=int32)
    """
    return jnp.transpose(as_array(x), None if axes is None else tuple(axes))


@op
def swapaxes(x: Tensor, axis1: int, axis2: int) -> jax.Array:
    """Exchange two axes.

    Args:
        x: Tensor.
        axis1: An axis.
        axis2: The axis to exchange it with.

    >>> swapaxes([[1, 2]], 0, 1).shape
    (2, 1)
    """
    return jnp.swapaxes(as_array(x), axis1, axis2)


@op
def moveaxis(x: Tensor, source: Axes, destination: Axes) -> jax.Array:
    """Move axes to other positions; the others keep their order.

    Args:
        x: Tensor.
        source: The axis or axes to move.
        destination: Their positions in the result, in the same order.

    >>> moveaxis([[[1, 2, 3]]], 2, 0).shape
    (3, 1, 1)
    """
    return jnp.moveaxis(as_array(x), as_axes(source), as_axes(destination))  # pyright: ignore[reportArgumentType]


@op
def expand_dims(x: Tensor, axis: Axes) -> jax.Array:
    """Insert axes of size 1 at the positions ``axis`` of the result.

    Args:
        x: Tensor.
        axis: Position or positions in the result.

    >>> expand_dims([1, 2], -1).shape
    (2, 1)
    """
    return jnp.expand_dims(as_array(x), as_axes(axis))  # pyright: ignore[reportArgumentType]


@op
def squeeze(x: Tensor, axis: Axes = None) -> jax.Array:
    """Remove axes of size 1: those of ``axis``, or all of them.

    Args:
        x: Tensor.
        axis: The axis or axes to remove; all of size 1 when None.

    >>> squeeze([[1, 2]], 0).shape
    (2,)
    """
    return jnp.squeeze(as_array(x), as_axes(axis))


@op
def broadcast_to(x: Tensor, shape: Sequence[int]) -> jax.Array:
    """Broadcast ``x`` to a shape.

    Args:
        x: Tensor whose sizes are 1 or those of the last axes of ``shape``.
        shape: Shape of the result.

    >>> broadcast_to([1, 2], (2, 2))
    Array([[1, 2],
           [1, 2]], dtype=int32)
    """
    return jnp.broadcast_to(as_array(x), tuple(shape))


def _size(x: jax.Array) -> Any:
    n = math.prod(x.shape)
    return n if isinstance(n, int) else jnp.asarray(n, "int32")  # of unknown dimensions


ndim = unary("ndim", lambda x: x.ndim, "The number of axes.", "ndim([[1, 2, 3]]) -> 2",
    elementwise=False)  # fmt: skip
size = unary("size", _size, "The number of elements.", "size([[1, 2, 3]]) -> 3", elementwise=False)

# ---- joining and splitting -----------------------------------------------------------------------


@op
def concatenate(xs: Sequence[Tensor], axis: int | None = 0) -> jax.Array:
    """Join tensors along an existing axis.

    Args:
        xs: Tensors of the same shape except along ``axis``.
        axis: The axis to join along; the flattened tensors when None.

    >>> concatenate([[1, 2], [3]])
    Array([1, 2, 3], dtype=int32)
    """
    return jnp.concatenate(_arrays(xs), axis)


@op
def stack(x: Sequence[Tensor], axis: int = 0) -> jax.Array:
    """Join tensors along a new axis.

    Args:
        x: Tensors of the same shape.
        axis: Position of the new axis in the result.

    >>> stack([[1, 2], [3, 4]], axis=1)
    Array([[1, 3],
           [2, 4]], dtype=int32)
    """
    return jnp.stack(_arrays(x), axis)


def _stacking(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(xs: Sequence[Tensor]) -> jax.Array:
        return fn(_arrays(xs))

    text = f"""{line}

    Args:
        xs: Tensors of the same shape except along that axis.
    """
    return as_op(apply, name, text, example, __name__)


hstack = _stacking("hstack", jnp.hstack,
    "Join tensors horizontally: along axis 1, or 0 if they have one axis.",
    "[[1, 2], [3]] -> [1, 2, 3]")  # fmt: skip
vstack = _stacking("vstack", jnp.vstack, "Join tensors vertically: along axis 0; vectors are rows.",
    "[[1, 2], [3, 4]] -> [[1, 2], [3, 4]]")  # fmt: skip
dstack = _stacking("dstack", jnp.dstack, "Join tensors along axis 2, which is added if necessary.",
    "[[1, 2], [3, 4]] -> [[[1, 3], [2, 4]]]")  # fmt: skip


@op
def append(x1: Tensor, x2: Tensor, axis: int | None = None) -> jax.Array:
    """Append ``x2`` to ``x1`` along ``axis``; both are flattened when it is None.

    Args:
        x1: Tensor.
        x2: Tensor with the shape of ``x1`` except along ``axis``.
        axis: The axis to join along; the flattened tensors when None.

    >>> append([1, 2], [[3]])
    Array([1, 2, 3], dtype=int32)
    """
    return jnp.append(as_array(x1), as_array(x2), axis)


_SPLIT = """{line}

    Args:
        x: Tensor.
        indices_or_sections: {sections}; or the positions at which further parts start.{axis}

    Returns:
        List of tensors.
    """


def _sections(given: Any) -> Any:
    return tuple(int(i) for i in given) if isinstance(given, Sequence) else given


def _splitting(name: str, fn: Any, line: str, sections: str, example: str) -> Any:
    def apply(x: Tensor, indices_or_sections: int | Sequence[int], axis: int = 0) -> Any:
        return list(fn(as_array(x), _sections(indices_or_sections), axis))

    axis = "\n        axis: The axis to split."
    text = _SPLIT.format(line=line, sections=sections, axis=axis)
    return as_op(apply, name, text, example, __name__)


split = _splitting("split", jnp.split, "Split ``x`` along an axis.",
    "The number of parts of equal size",
    "[part.tolist() for part in split([1, 2, 3], [1])] -> [[1], [2, 3]]")  # fmt: skip
array_split = _splitting("array_split", jnp.array_split,
    "Split ``x`` along an axis into parts as equal as possible.", "The number of parts",
    "[part.tolist() for part in array_split([1, 2, 3], 2)] -> [[1, 2], [3]]")  # fmt: skip


def _splitting_an_axis(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(x: Tensor, indices_or_sections: int | Sequence[int]) -> Any:
        return list(fn(as_array(x), _sections(indices_or_sections)))

    text = _SPLIT.format(line=line, sections="The number of parts of equal size", axis="")
    return as_op(apply, name, text, example, __name__)


hsplit = _splitting_an_axis("hsplit", jnp.hsplit,
    "Split ``x`` along axis 1, or 0 if it has one axis.",
    "[part.tolist() for part in hsplit([[1, 2, 3]], [1])] -> [[[1]], [[2, 3]]]")  # fmt: skip
vsplit = _splitting_an_axis("vsplit", jnp.vsplit, "Split ``x`` along axis 0.",
    "[part.tolist() for part in vsplit([[1, 2], [3, 4]], 2)] -> [[[1, 2]], [[3, 4]]]")  # fmt: skip
dsplit = _splitting_an_axis("dsplit", jnp.dsplit, "Split ``x`` along axis 2.",
    "[part.tolist() for part in dsplit([[[1, 2]]], 2)] -> [[[[1]]], [[[2]]]]")  # fmt: skip


@op
def meshgrid(*x: Tensor, indexing: str = "xy") -> list[jax.Array]:
    """The coordinates of the points of a grid.

    Args:
        x: The coordinates along each axis, ``(n,)`` each.
        indexing: ``"xy"`` to exchange the first two axes of the results, as in images; ``"ij"`` for
            the order of the arguments.

    Returns:
        One tensor for each argument.

    >>> meshgrid([1, 2], [3, 4, 5], indexing="ij")[0].shape
    (2, 3)
    """
    return list(jnp.meshgrid(*map(as_array, x), indexing=indexing))


# ---- repeating and padding -----------------------------------------------------------------------


@op
def repeat(x: Tensor, repeats: int | Sequence[int], axis: int | None = None) -> jax.Array:
    """Repeat each element.

    Args:
        x: Tensor.
        repeats: Number of repetitions, or one number for each position along ``axis``.
        axis: The axis to repeat along; the flattened tensor when None.

    >>> repeat([1, 2], 2)
    Array([1, 1, 2, 2], dtype=int32)
    """
    counts: Any = np.asarray(repeats) if isinstance(repeats, (list, tuple)) else repeats
    return jnp.repeat(as_array(x), counts, axis)


@op
def tile(x: Tensor, repeats: int | Sequence[int]) -> jax.Array:
    """Repeat the whole tensor along each axis.

    Args:
        x: Tensor.
        repeats: Number of repetitions for each axis; missing ones are 1, at the front.

    >>> tile([1, 2], 2)
    Array([1, 2, 1, 2], dtype=int32)
    """
    times = tuple(repeats) if isinstance(repeats, (list, tuple)) else repeats
    return jnp.tile(as_array(x), times)  # pyright: ignore[reportArgumentType]


_PAD_MODES = (
    "constant", "edge", "empty", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect",
    "symmetric", "wrap",
)  # fmt: skip


@op
def pad(
    x: Tensor,
    pad_width: int | Sequence[Any],
    mode: str = "constant",
    constant_values: Tensor | None = None,
) -> jax.Array:
    """Pad a tensor along each axis.

    Args:
        x: Tensor.
        pad_width: ``((before, after), ...)`` for each axis, one such pair for all axes, or one
            number for all; ``(width,)`` is a pair of equal numbers.
        mode: ``"constant"``, ``"reflect"`` (without the edge), ``"symmetric"`` (with the edge), or
            another mode of NumPy.
        constant_values: Padding value in mode ``"constant"``; 0 when None.

    >>> pad([1, 2], (1, 0))
    Array([0, 1, 2], dtype=int32)
    """
    x = as_array(x)
    if constant_values is not None and mode != "constant":
        raise ArgumentError(
            "pad(): `constant_values` is only for mode 'constant'. "
            f"Received: mode={mode!r}, constant_values={constant_values!r}."
        )
    if mode not in _PAD_MODES:
        raise ArgumentError(f"pad(): `mode` expects one of {_PAD_MODES}. Received: {mode!r}.")
    widths: Any = pad_width
    if not isinstance(widths, int):
        widths = tuple(tuple(w) if isinstance(w, (list, tuple)) else w for w in widths)
        if len(widths) == 2 and all(isinstance(w, int) for w in widths):
            widths = (widths,) * x.ndim
        widths = tuple(w * 2 if isinstance(w, tuple) and len(w) == 1 else w for w in widths)
    known = {} if mode != "constant" else {"constant_values": tensor(constant_values or 0)}
    if constant_values is not None:
        known = {"constant_values": tensor(constant_values)}
    return jnp.pad(x, widths, mode, **known)


# ---- order ---------------------------------------------------------------------------------------


@op
def flip(x: Tensor, axis: Axes = None) -> jax.Array:
    """Reverse the order of the elements along ``axis``, or along all axes.

    Args:
        x: Tensor.
        axis: The axis or axes to reverse; all of them when None.

    >>> flip([1, 2, 3])
    Array([3, 2, 1], dtype=int32)
    """
    return jnp.flip(as_array(x), as_axes(axis))


fliplr = unary("fliplr", jnp.fliplr, "Reverse axis 1.", "[[1, 2], [3, 4]] -> [[2, 1], [4, 3]]",
    elementwise=False)  # fmt: skip
flipud = unary("flipud", jnp.flipud, "Reverse axis 0.", "[[1, 2], [3, 4]] -> [[3, 4], [1, 2]]",
    elementwise=False)  # fmt: skip


@op
def roll(x: Tensor, shift: int | Sequence[int], axis: Axes = None) -> jax.Array:
    """Shift elements along an axis cyclically.

    Args:
        x: Tensor.
        shift: Number of positions, for each axis.
        axis: The axis or axes to shift along; the flattened tensor when None.

    >>> roll([1, 2, 3], 1)
    Array([3, 1, 2], dtype=int32)
    """
    shift = tuple(shift) if isinstance(shift, (list, tuple)) else shift
    return jnp.roll(as_array(x), shift, as_axes(axis))  # pyright: ignore[reportArgumentType]


@op
def rot90(array: Tensor, k: int = 1, axes: tuple[int, int] = (0, 1)) -> jax.Array:
    """Rotate ``array`` ``k`` times by 90 degrees, from the first axis towards the second.

    Args:
        array: Tensor of at least two axes.
        k: Number of rotations; negative for the other direction.
        axes: The two axes of the plane.

    >>> rot90([[1, 2], [3, 4]])
    Array([[2, 4],
           [1, 3]], dtype=int32)
    """
    first, second = axes
    return jnp.rot90(as_array(array), k, (first, second))


@op
def sort(x: Tensor, axis: int | None = -1) -> jax.Array:
    """Sort the elements in increasing order along ``axis``; the flattened tensor when None.

    Args:
        x: Tensor.
        axis: The axis to sort along; the flattened tensor when None.

    >>> sort([3, 1, 2])
    Array([1, 2, 3], dtype=int32)
    """
    return jnp.sort(as_array(x), axis)


@op
def argsort(x: Tensor, axis: int | None = -1) -> jax.Array:
    """The positions that sort the elements along ``axis``; equal elements keep their order.

    Args:
        x: Tensor.
        axis: The axis to sort along; the flattened tensor when None.

    >>> argsort([3, 1, 2])
    Array([1, 2, 0], dtype=int32)
    """
    x = as_array(x)
    return jnp.argsort(x, axis if x.ndim else None)


@op
def argpartition(x: Tensor, kth: int, axis: int | None = -1) -> jax.Array:
    """Positions that partition the elements around the ``kth`` smallest one.

    Args:
        x: Tensor.
        kth: Position, in sorted order, of the element that no earlier one exceeds and no later one
            is below.
        axis: The axis to partition along; the flattened tensor when None.

    >>> int(argpartition([3, 1, 2], 0)[0])
    1
    """
    x = as_array(x)
    if axis is None:
        x, axis = jnp.ravel(x), 0
    return jnp.argpartition(x, kth, axis).astype("int32")


@op
def diff(a: Tensor, n: int = 1, axis: int = -1) -> jax.Array:
    """The differences of adjacent elements, ``a[i + 1] - a[i]``, taken ``n`` times.

    Args:
        a: Tensor.
        n: How often differences are taken; each time, the size is one less.
        axis: The axis of adjacent elements.

    >>> diff([1, 4, 9])
    Array([3, 5], dtype=int32)
    """
    return jnp.diff(as_array(a), n, axis)
