"""Activation functions as layers: those with arguments, or with a weight."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import activations
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.layers.weights import add_weight, constraint, initializer, regularizer
from lamina.serialization.fields import axis_or_axes, field, integers, number, optional
from lamina.serialization.registry import builtin

_non_negative = number("[0, inf)")


@builtin()
class _Activation(Layer):
    """Base class: shapes are unchanged, and masks are propagated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True


@builtin("layers")
class ReLU(_Activation):
    """Rectified linear unit, ``max(x, 0)`` with the defaults.

    ``max_value`` where ``x >= max_value``; ``x`` where ``x >= threshold``; elsewhere
    ``negative_slope * (x - threshold)``.

    Args:
        max_value: Upper bound of the result, >= 0; None for no bound.
        negative_slope: Slope below the threshold, >= 0.
        threshold: Where the linear part begins, >= 0.

    Shapes: any, unchanged.

    >>> ReLU(max_value=6)(jnp.array([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    max_value: float | None = field(default=None, convert=optional(_non_negative))
    negative_slope: float = field(default=0.0, convert=_non_negative)
    threshold: float = field(default=0.0, convert=_non_negative)

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@builtin("layers")
class LeakyReLU(_Activation):
    """``x`` where positive, else ``negative_slope * x``.

    Args:
        negative_slope: Slope below 0, >= 0; also accepted under its former name ``alpha``.

    Shapes: any, unchanged. Integers become floats.

    Maas et al. 2013, https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf

    >>> LeakyReLU(0.5)(jnp.array([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    negative_slope: float = field(default=0.3, convert=_non_negative)

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        self._alpha = extra.pop("alpha", None)
        return super()._accept_extra(extra)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._alpha is not None:
            self.negative_slope = _non_negative(self._alpha)

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.leaky_relu(inputs, self.negative_slope)


@builtin("layers")
class ELU(_Activation):
    """Exponential linear unit: ``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        alpha: Scale of the negative part, whose limit is ``-alpha``.

    Shapes: any, unchanged. Integers become floats.

    Clevert et al. 2016, arXiv:1511.07289.

    >>> [f"{x:.3f}" for x in ELU()(jnp.array([-1.0, 2.0]))]
    ['-0.632', '2.000']
    """

    alpha: float = field(default=1.0, convert=number("(-inf, inf)"))

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return activations.elu(inputs, self.alpha)


def _read_shared(value: Any) -> tuple[int, ...]:
    axes = integers(value)
    if min(axes, default=1) < 1:
        raise ArgumentError(
            f"expected axes counted from 1 (axis 0 is the batch). Received: {value!r}."
        )
    return axes


@builtin("layers")
class PReLU(_Activation):
    """A leaky ReLU with a learned slope: ``x`` where positive, else ``alpha * x``.

    Args:
        alpha_initializer: Initializer of ``alpha``, which has the shape of one sample.
        alpha_regularizer: Penalty on ``alpha``, added to the loss.
        alpha_constraint: Projection of ``alpha`` after each update.
        shared_axes: Axes, counted from 1, along which ``alpha`` has size 1: ``(1, 2)`` gives each
            channel of an image one slope.

    Shapes: ``(batch, ...)``, unchanged.

    Raises:
        ShapeError: An unknown size of an axis that is not shared, or a different shape than when
            the layer was built.

    He et al. 2015, arXiv:1502.01852.

    >>> PReLU("ones", shared_axes=[1, 2])(jnp.array([[[[-1.0]]]])).tolist()
    [[[[-1.0]]]]
    """

    alpha_initializer: Any = initializer("Zeros")
    alpha_regularizer: Any = regularizer()
    alpha_constraint: Any = constraint()
    shared_axes: tuple[int, ...] | None = field(default=None, convert=optional(_read_shared))

    def build(self, input_shape: Any) -> None:
        """Add ``alpha``."""
        rank, shared = len(input_shape), set(self.shared_axes or ())
        unknown = {a for a, size in enumerate(input_shape) if a and size is None} - shared
        if unknown or max(shared, default=0) >= rank:
            raise ShapeError(
                f"Layer {self.name!r} (PReLU) has a weight for each element along the "
                "axes that are not shared.",
                layer=self.name,
                expected=f"known sizes there, and shared_axes={sorted(shared)} below {rank}",
                received=show_dims(tuple(input_shape)),
                cure=(
                    "Give the `Input` numbers there, or share the axes of unknown size: "
                    f"`PReLU(shared_axes={sorted(a for a in shared | unknown if a < rank)}"
                    ")`."
                ),
            )
        shape = [1 if a in shared else size for a, size in enumerate(input_shape)][1:]
        self.alpha = add_weight(self, "alpha", shape)
        axes = {a: size for a, size in enumerate(input_shape) if a and a not in shared}
        self.input_spec = InputSpec(ndim=rank, axes=axes)

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        return jnp.where(inputs > 0, inputs, self.alpha.value * inputs)


@builtin("layers")
class Softmax(_Activation):
    """``exp(x) / sum(exp(x), axis)``: positive numbers that sum to 1 along ``axis``.

    Where a mask is False the result is 0, and the other elements sum to 1.

    Args:
        axis: Axis or axes to sum over.

    Shapes: any, unchanged. A mask broadcasts to the input, and may have only its first axes, such
        as a
    mask of time steps. Integers become floats.

    Raises:
        ShapeError: A mask that does not broadcast to the input.

    >>> Softmax()(jnp.zeros((1, 3)), mask=jnp.array([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """

    axis: int | tuple[int, ...] = field(default=-1, convert=axis_or_axes)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Exponentiate and normalize."""
        if mask is None:
            return activations.softmax(inputs, self.axis)
        mask = jnp.asarray(mask, bool)
        sizes = zip(mask.shape, inputs.shape, strict=False)
        if mask.ndim > inputs.ndim or any(n not in (1, size) for n, size in sizes):
            raise ShapeError(
                f"Layer {self.name!r} (Softmax) cannot apply this mask.",
                layer=self.name,
                expected=f"a shape that broadcasts to the inputs', {show_dims(inputs.shape)}",
                received=show_dims(mask.shape),
            )
        mask = jnp.reshape(mask, (*mask.shape, *[1] * (inputs.ndim - mask.ndim)))
        return jax.nn.softmax(inputs, self.axis, where=mask)


__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"]
