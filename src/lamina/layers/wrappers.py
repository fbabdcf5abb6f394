"""Layers that wrap another layer."""

from __future__ import annotations

from typing import Any

from lamina import ops
from lamina.core.scope import get_mask, set_mask
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.arguments import autocast, map_shapes
from lamina.layers.base import Layer
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin
from lamina.tree import nested


def _read_layer(value: Any) -> Layer:
    if not isinstance(value, Layer):
        raise ArgumentError(
            f"expected a layer. Received: {value!r} (of type {type(value).__name__})."
        )
    return value


@builtin("layers")
class Wrapper(Layer):
    """Base class of layers that wrap another one: override ``call`` and use ``self.layer``.

    Args:
        layer: The wrapped layer.

    >>> from lamina.layers import Dense
    >>> class Residual(Wrapper):
    ...     def call(self, inputs):
    ...         return inputs + self.layer(inputs)
    >>> import jax.numpy as jnp
    >>> Residual(Dense(3))(jnp.ones((2, 3))).shape
    (2, 3)
    """

    layer: Any = field(convert=_read_layer)

    def build(self, input_shape: Any = None) -> None:
        """Build the wrapped layer."""
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True


@builtin("layers")
class TimeDistributed(Wrapper):
    """Apply a layer to each time step: to ``x[:, t]`` for all ``t``, with the same weights.

    The batch and time axes are merged and the layer is called once, so a layer that works across
    the batch (batch normalization during training) sees all time steps of all samples together.

    Args:
        layer: The layer to apply.

    Call arguments:
        inputs: Tensor of shape ``(batch, time, ...)``, or a nested structure of such tensors.
        mask: ``(batch, time, ...)``; a mask with more than two axes is passed to the layer, and
            reduced to ``(batch, time)`` for the outputs unless the layer propagates it.
        training: Whether the wrapped layer is called in training mode.

    Shapes: ``(batch, time, ...)`` to ``(batch, time, ...)``, where the layer maps ``(batch, ...)``
    to ``(batch, ...)``.

    Raises:
        ShapeError: Fewer than three axes.

    >>> import jax.numpy as jnp
    >>> from lamina.layers import Dense
    >>> TimeDistributed(Dense(8))(jnp.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def _merged(self, shape: Any) -> tuple[Any, ...]:
        """The shape with batch and time merged into one axis; None for an unknown size."""
        if len(shape) < 3:
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot take this input.",
                layer=self.name,
                expected="at least 3 axes, (batch, time, ...)",
                received=show_dims(shape),
            )
        batch, time = shape[:2]
        return (None if batch is None or time is None else batch * time, *shape[2:])

    def build(self, input_shape: Any = None) -> None:
        """Build the wrapped layer for one time step."""
        if not self.layer.built:
            self.layer.build(map_shapes(self._merged, input_shape))
            self.layer.built = True

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Merge batch and time, call the layer, split them again."""
        batch, time = nested.flatten(inputs)[0].shape[:2]
        merged = nested.map_structure(lambda x: x.reshape(self._merged(x.shape)), inputs)
        for x, m in zip(nested.flatten(merged), nested.flatten(mask), strict=False):
            if m is not None and m.ndim > 2:
                set_mask(x, m.reshape(self._merged(m.shape)))

        def split(y: Any) -> Any:
            result = autocast(y.reshape(batch, time, *y.shape[1:]), self.compute_dtype)
            inner = get_mask(y)
            if inner is not None:
                set_mask(result, inner.reshape(batch, time, *inner.shape[1:]))
            return result

        return nested.map_structure(split, self.layer(merged, training=training))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the time steps: True for steps with at least one unmasked position.

        If the wrapped layer propagates masks, the mask of the positions is kept instead.
        """
        return nested.map_structure(
            lambda m: m if m is None or m.ndim <= 2 else ops.any(m, axis=tuple(range(2, m.ndim))),
            previous_mask,
        )


__all__ = ["TimeDistributed", "Wrapper"]
