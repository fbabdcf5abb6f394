"""Layers that move entries without computing: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from lamina import settings
from lamina.core.scope import current
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin


@builtin("layers")
class Flatten(Layer):
    """One row of features for each sample.

    Args:
        data_format: ``"channels_last"``, or ``"channels_first"`` to bring the channels to the end
            first, so that both layouts of an image give the same row; the default of
            ``lamina.config`` when None.

    Shapes: ``(batch, a, b, ...)`` to ``(batch, a * b * ...)``; ``(batch,)`` to ``(batch, 1)``.
    The dtype stays.

    Raises:
        ShapeError: no batch axis.

    >>> Flatten()(jnp.zeros((2, 3, 4))).shape
    (2, 12)
    """

    data_format: str = field(None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Put the entries of each sample in one row."""
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return jnp.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


def _read_target(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ArgumentError(
            f"expected a tuple of sizes without the batch. Received: {value!r}; for one axis "
            f"write ({value!r},)."
        )
    sizes = tuple(-1 if size is None else size for size in value)
    if any(not hasattr(size, "__index__") or size < -1 for size in sizes):
        raise ArgumentError(f"expected sizes >= 0, or -1 for an open one. Received: {value!r}.")
    if sizes.count(-1) > 1:
        raise ArgumentError(f"expected at most one open size (-1 or None). Received: {value!r}.")
    return sizes


@builtin("layers")
class Reshape(Layer):
    """The same entries in another shape, sample by sample and in the same order.

    Args:
        target_shape: the new sizes without the batch; one may be -1, to be found from the others.

    Shapes: ``(batch, ...)`` to ``(batch, *target_shape)``. The dtype stays. Open sizes stay open:
    ``(batch, time, 4)`` to ``(-1, 2)`` gives ``(batch, 2*time, 2)``.

    Raises:
        ArgumentError: two open sizes, or a negative one.
        ShapeError: another number of entries than each sample has.

    >>> Reshape((2, -1))(jnp.arange(6).reshape(1, 6)).tolist()
    [[[0, 1, 2], [3, 4, 5]]]
    """

    target_shape: tuple[int, ...] = field(convert=_read_target)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Give the entries their new shape."""
        batch, *sizes = inputs.shape
        entries = math.prod(sizes)
        known = math.prod(size for size in self.target_shape if size != -1)
        rest = entries // known if known else 0
        target = (batch, *(rest if size == -1 else size for size in self.target_shape))
        if math.prod(target[1:]) == entries:
            return jnp.reshape(inputs, target)
        scope = current()
        if scope is not None and scope.abstract and not isinstance(entries, int):
            # Whether an open size fits shows when it has a value; until then only shapes matter.
            return jnp.zeros(target, inputs.dtype)
        raise ShapeError(
            f"Layer {self.name!r} (Reshape) cannot give these entries that shape.\n"
            f"  expected: as many entries as {show_dims(self.target_shape)} has"
            f"{', or a multiple of them' if -1 in self.target_shape else ''}\n"
            f"  received: {show_dims(inputs.shape)}, {entries} entries in each sample\n"
            "`target_shape` is without the batch; one size may be -1, to be found."
        )


def _read_permutation(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or sorted(value) != list(range(1, len(value) + 1)):
        raise ArgumentError(
            "expected each axis from 1 on once, in their new order, such as (2, 1); the batch "
            f"axis 0 stays in front. Received: {value!r}."
        )
    return tuple(int(axis) for axis in value)


@builtin("layers")
class Permute(Layer):
    """The axes in another order.

    Args:
        dims: the old numbers of the axes in their new order, counted from 1; the batch stays first.

    Shapes: ``(batch, a, b)`` to ``(batch, b, a)`` with ``dims=(2, 1)``. The dtype stays.

    Raises:
        ArgumentError: ``dims`` that are no order of 1, 2, ..., n.
        ShapeError: an input without exactly n axes after the batch.

    >>> Permute((2, 1))(jnp.zeros((5, 3, 4))).shape
    (5, 4, 3)
    """

    dims: tuple[int, ...] = field(convert=_read_permutation)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        """Transpose."""
        return jnp.transpose(inputs, (0, *self.dims))


@builtin("layers")
class RepeatVector(Layer):
    """The same vector ``n`` times, as a sequence.

    Args:
        n: how many times.

    Shapes: ``(batch, features)`` to ``(batch, n, features)``. The dtype stays.

    Raises:
        ShapeError: an input without exactly two axes.

    >>> RepeatVector(2)(jnp.array([[1.0, 3.0]])).tolist()
    [[[1.0, 3.0], [1.0, 3.0]]]
    """

    n: int = field(convert=positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=2, layout="(batch, features)")

    def call(self, inputs: Any) -> Any:
        """Repeat along a new axis."""
        batch, features = inputs.shape
        return jnp.broadcast_to(inputs[:, None], (batch, self.n, features))


__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]
