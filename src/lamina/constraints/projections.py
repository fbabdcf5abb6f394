"""The constraints: bounds on the norm or the sign of weights.

``axis`` is the axis or the axes of one vector: 0 for the ``Dense``
kernel ``(inputs, outputs)``, ``(0, 1, 2)`` for a kernel ``(height, width, inputs, outputs)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina import ops, settings
from lamina.serialization.fields import Configurable, field, number
from lamina.serialization.registry import builtin

Axes = int | Sequence[int] | None


@builtin("constraints")
class Constraint(Configurable):
    """Base class of constraints: functions of a weight that return its projected value.

    Subclasses implement ``__call__``. A plain function may be used in place of a constraint.

    >>> class AtMostOne(Constraint):
    ...     def __call__(self, w):
    ...         return ops.minimum(w, 1.0)
    >>> float(AtMostOne()(ops.full((), 3.0)))
    1.0
    """

    def __call__(self, w: Any) -> Any:
        """The projected value of ``w``, with the same shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `__call__(self, w)`.")


def _axes(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


_bound = number("[0, inf)")


def _norm(w: Any, axis: Axes) -> Any:
    axes = tuple(axis) if isinstance(axis, list) else axis
    return ops.sqrt(ops.sum(ops.square(w), axis=axes, keepdims=True))


@builtin("constraints")
class MaxNorm(Constraint):
    """Limit the norm of every vector to ``max_value``: ``w * min(norm, max_value) / norm``.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    Args:
        max_value: Upper bound of the norm.
        axis: Axis or axes of one vector.

    >>> MaxNorm(1.0)(ops.full((4, 1), 2.0)).round(3).tolist()
    [[0.5], [0.5], [0.5], [0.5]]
    """

    max_value: float = field(default=2, convert=_bound)
    axis: Axes = field(default=0, convert=_axes)

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        return w * (ops.clip(norm, 0, self.max_value) / (settings.epsilon() + norm))


@builtin("constraints")
class NonNeg(Constraint):
    """Set negative weights to 0.

    >>> NonNeg()(ops.convert_to_tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0)


@builtin("constraints")
class UnitNorm(Constraint):
    """Scale every vector to norm 1: ``w / norm``.

    Args:
        axis: Axis or axes of one vector.

    >>> UnitNorm()(ops.full((4, 1), 2.0)).round(3).tolist()
    [[0.5], [0.5], [0.5], [0.5]]
    """

    axis: Axes = field(default=0, convert=_axes)

    def __call__(self, w: Any) -> Any:
        return w / (settings.epsilon() + _norm(w, self.axis))


@builtin("constraints")
class MinMaxNorm(Constraint):
    """Move the norm of every vector towards the interval ``[min_value, max_value]``.

    The new norm is ``rate * clip(norm, min_value, max_value) + (1 - rate) * norm``.

    Args:
        min_value: Lower bound of the norm.
        max_value: Upper bound of the norm.
        rate: Fraction of the distance to the interval to move at each update; 1 enforces it.
        axis: Axis or axes of one vector.

    >>> MinMaxNorm(4.0, 8.0)(ops.full((4, 1), 1.0)).round(3).tolist()
    [[2.0], [2.0], [2.0], [2.0]]
    """

    min_value: float = field(default=0.0, convert=_bound)
    max_value: float = field(default=1.0, convert=_bound)
    rate: float = field(default=1.0, convert=_bound)
    axis: Axes = field(default=0, convert=_axes)

    def __call__(self, w: Any) -> Any:
        norm = _norm(w, self.axis)
        bounded = ops.clip(norm, self.min_value, self.max_value)
        length = self.rate * bounded + (1 - self.rate) * norm
        return w * (length / (settings.epsilon() + norm))
