"""Layers that rearrange elements: Flatten, Reshape, Permute, RepeatVector."""

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
from lamina.serialization.fields import field, is_integer, positive_int
from lamina.serialization.registry import builtin


@builtin("layers")
class Flatten(Layer):
    """Flatten each sample to a vector.

    Args:
        data_format: ``"channels_last"``, or ``"channels_first"`` to move the channels to the end
            before flattening, so that both layouts of an image give the same vector; the default
            of ``lamina.config`` when None.

    Shapes: ``(batch, a, b, ...)`` to ``(batch, a * b * ...)``; ``(batch,)`` to ``(batch, 1)``.
    The dtype stays the same.

    Raises:
        ShapeError: No batch axis.

    >>> Flatten()(jnp.zeros((2, 3, 4))).shape
    (2, 12)
    """

    data_format: str = field(default=None, convert=settings.standardize_data_format)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Flatten each sample."""
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return jnp.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


def _read_target(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ArgumentError(
            f"expected a shape without the batch dimension. Received: {value!r}. For one axis "
            f"write ({value!r},)."
        )
    sizes = tuple(-1 if size is None else size for size in value)
    if any(not is_integer(size) or size < -1 for size in sizes):
        raise ArgumentError(
            f"expected integers >= 0, or -1 for a size to be inferred. Received: {value!r}."
        )
    if sizes.count(-1) > 1:
        raise ArgumentError(
            f"expected at most one size to be inferred (-1 or None). Received: {value!r}."
        )
    return sizes


@builtin("layers")
class Reshape(Layer):
    """Reshape each sample, keeping the order of its elements.

    Args:
        target_shape: The new shape without the batch dimension; one size may be -1, to be inferred
            from the others.

    Shapes: ``(batch, ...)`` to ``(batch, *target_shape)``. The dtype stays the same. Named
    dimensions are kept: ``(batch, time, 4)`` to ``(-1, 2)`` gives ``(batch, 2*time, 2)``.

    Raises:
        ArgumentError: Two sizes to be inferred, or a negative one.
        ShapeError: A shape with a different number of elements than each sample has.

    >>> Reshape((2, -1))(jnp.arange(6).reshape(1, 6)).tolist()
    [[[0, 1, 2], [3, 4, 5]]]
    """

    target_shape: tuple[int, ...] = field(convert=_read_target)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Reshape."""
        batch, *sizes = inputs.shape
        entries = math.prod(sizes)
        known = math.prod(size for size in self.target_shape if size != -1)
        rest = entries // known if known else 0
        target = (batch, *(rest if size == -1 else size for size in self.target_shape))
        if math.prod(target[1:]) == entries:
            return jnp.reshape(inputs, target)
        scope = current()
        if scope is not None and scope.abstract and not isinstance(entries, int):
            # Whether an unknown size fits is checked when it has a value.
            return jnp.zeros(target, inputs.dtype)
        raise ShapeError(
            f"Layer {self.name!r} (Reshape) cannot reshape this input.",
            layer=self.name,
            expected=(
                f"as many elements as {show_dims(self.target_shape)} has"
                f"{', or a multiple of them' if -1 in self.target_shape else ''}"
            ),
            received=f"{show_dims(inputs.shape)}, with {entries} elements in each sample",
            cure=("`target_shape` does not include the batch; one size may be -1, to be inferred."),
        )


def _read_permutation(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or sorted(value) != list(range(1, len(value) + 1)):
        raise ArgumentError(
            "expected a permutation of the axes 1, 2, ..., such as (2, 1); axis 0, the batch, "
            f"stays first. Received: {value!r}."
        )
    return tuple(int(axis) for axis in value)


@builtin("layers")
class Permute(Layer):
    """Permute the axes of each sample.

    Args:
        dims: Which axis of the input each axis of the output is, counted from 1; the batch axis
            stays first.

    Shapes: ``(batch, a, b)`` to ``(batch, b, a)`` with ``dims=(2, 1)``. The dtype stays the same.

    Raises:
        ArgumentError: ``dims`` that are not a permutation of 1, 2, ..., n.
        ShapeError: An input without exactly n axes after the batch.

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
    """Repeat each vector ``n`` times, as a sequence.

    Args:
        n: Number of repetitions, which is the sequence length.

    Shapes: ``(batch, features)`` to ``(batch, n, features)``. The dtype stays the same.

    Raises:
        ShapeError: An input without exactly two axes.

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
