"""What every metric shares: :class:`Metric`, its state, and sample weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypeVar

import jax.numpy as jnp

from lamina import initializers
from lamina.core import naming
from lamina.core.scope import Record, Scope, current, entered
from lamina.core.tracking import Owner, Trackable, held
from lamina.core.variable import Variable, value_of
from lamina.dtype_policies.dtypes import canonical, is_float
from lamina.errors import StructureError
from lamina.losses.base import DTYPE, Kind, pairwise, weights_like
from lamina.serialization import registry
from lamina.serialization.fields import Configurable
from lamina.serialization.namespaces import accessors
from lamina.serialization.registry import builtin
from lamina.tree import nested

_F = TypeVar("_F", bound=Callable[..., Any])


def metric_function(kind: Kind) -> Callable[[_F], _F]:
    """Decorator: register a metric function ``(y_true, y_pred, ...)`` with the shape rule.

    Configs may refer to it by name; in :func:`get` the name is that of the metric class.

    Args:
        kind: What the function compares: ``"elements"``, ``"vectors"`` or ``"classes"``.
    """

    def publish(fn: _F) -> _F:
        return registry.builtin("metric_functions")(pairwise(kind, fn))

    return publish


class _MetricAttributes:
    """The attributes that every metric has from its construction."""

    _own_variables: list[Variable]


@builtin("metrics")
class Metric(_MetricAttributes, Owner, Trackable, Configurable):
    """Base class of metrics: a number (or an array, or a dict of numbers) over many batches.

    A subclass creates its state with :meth:`add_variable` and implements :meth:`update_state` and
    :meth:`result`. In ``fit`` both are traced by JAX: shapes must not depend on values, and the
    state is only changed by ``assign`` and the like.

    Args:
        dtype: Dtype or policy of the state; ``floatx`` when None.
        name: Name of the metric; derived from that of the class when None.

    Attributes:
        direction: ``"max"`` if higher values are better and ``"min"`` if lower ones are, for
            callbacks such as ``EarlyStopping``; None if unknown.

    >>> class Largest(Metric):
    ...     def __init__(self, name="largest", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.largest = self.add_variable((), "zeros", name="largest")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         error = jnp.max(jnp.abs(y_true - y_pred))
    ...         self.largest.assign(jnp.maximum(self.largest, error))
    ...
    ...     def result(self):
    ...         return self.largest.value
    >>> metric = Largest()
    >>> metric.update_state(jnp.zeros(2), jnp.array([1.0, -3.0]))
    >>> metric.result()
    Array(3., dtype=float32)
    """

    dtype: Any = DTYPE
    name: str | None = None

    direction: ClassVar[Literal["min", "max"] | None] = None
    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "name": "Name of the metric; derived from that of the class when None.",
        "dtype": "Dtype or policy of the state; ``floatx`` when None.",
    }
    tracked_as: ClassVar[str] = "metric"
    _untracked = frozenset(("_captured", "_own_variables"))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._own_variables = []
        return self

    def __post_init__(self) -> None:
        if self.name is None:
            self.name = naming.auto_name(type(self).__name__)
        self.built = False

    # ---- state -----------------------------------------------------------------------------------

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Add a variable to the state of the metric.

        Args:
            shape: Shape of the variable.
            initializer: An initializer, its name, or a function ``(shape, dtype)``; it gives the
                initial value and the value after a reset.
            dtype: Dtype of the variable; that of the metric when None.
            aggregation: See :class:`lamina.Variable`.
            name: Name of the variable; automatic when None.

        Returns:
            The variable.
        """
        name = name or naming.auto_name("variable")
        variable = Variable(
            initializers.get(initializer),
            tuple(shape),
            dtype or self.dtype,
            trainable=False,
            autocast=False,
            aggregation=aggregation,
            synchronization="on_read",
            name=name,
            owner=self,
        )
        self._own_variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """:meth:`add_variable` with the defaults of a scalar 0."""
        return self.add_variable(shape, initializer or "zeros", dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The whole state, including that of metrics that are attributes."""
        found: dict[Variable, None] = dict.fromkeys(self._own_variables)
        for _, value in held(self):
            if isinstance(value, Metric):
                found |= dict.fromkeys(value.variables)
            elif isinstance(value, Variable):
                found[value] = None
        return list(found)

    @property
    def path(self) -> str:
        """The metric's name, which is the first part of the paths of its variables."""
        return str(self.name)

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        """Create the state that depends on the shapes of the data, unless it exists.

        Metrics with such a state call it in their first update.

        Args:
            y_true_shape: Shape of the targets.
            y_pred_shape: Shape of the predictions.
        """
        if not self.built:
            self._make_state(tuple(y_pred_shape))
            self.built = True

    def _make_state(self, y_pred_shape: tuple[int, ...]) -> None:
        """Create the state that depends on the shape of the predictions."""

    def reset_state(self) -> None:
        """Reset every variable to its initial value."""
        for variable in self.variables:
            start = variable.initializer or jnp.zeros
            variable.assign(start(variable.shape, dtype=variable.dtype))

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Update the state with a batch: ``update_state(y_true, y_pred, sample_weight=None)``.

        Args:
            y_true: Targets.
            y_pred: Predictions of the same shape, or differing by one trailing axis of size 1.
                Masked ones are ignored.
            sample_weight: Weights of that shape or of its first axes.

        Raises:
            ShapeError: Targets or weights whose shapes do not match those of the predictions.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not implement `update_state(self, y_true, y_pred, "
            "sample_weight=None)`."
        )

    def result(self) -> Any:
        """The metric of all batches since the last reset: a scalar, an array, or a dict of them."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `result(self)`.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Update the state and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    # ---- as pure functions -----------------------------------------------------------------------

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """:meth:`update_state` as a pure function of the state.

        Args:
            metric_variables: One array for each of :attr:`variables`.
            *args: Arguments of :meth:`update_state`.
            **kwargs: Keyword arguments of :meth:`update_state`.

        Returns:
            The new state, in the same order.
        """
        scope = self._bound(metric_variables)
        with entered(scope):
            self.update_state(*args, **kwargs)
        return self._state(scope)

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """:meth:`result` as a pure function of the state."""
        with entered(self._bound(metric_variables)):
            return nested.map_structure(value_of, self.result())

    def stateless_reset_state(self) -> list[Any]:
        """The initial state, as arrays."""
        scope = self._bound([v.value for v in self.variables])
        with entered(scope):
            self.reset_state()
        return self._state(scope)

    def _bound(self, values: Sequence[Any]) -> Scope:
        if len(values) != len(self.variables):
            raise StructureError(
                f"The state of metric {self.name!r} has one array for each of its variables, "
                f"{[v.path for v in self.variables]}. Received {len(values)}."
            )
        outer = current() or Scope()
        return dataclasses.replace(
            outer,
            values=dict(zip(self.variables, map(value_of, values), strict=True)),
            pure=True,
            record=Record(masks=outer.record.masks),
        )

    def _state(self, scope: Scope) -> list[Any]:
        # A variable that was created during the call has no bound value.
        return [scope.record.updates.get(v, scope.values.get(v, v.value)) for v in self.variables]

    # ---- what built-in metrics share -------------------------------------------------------------

    def _float_dtype(self) -> str:
        """The float dtype to compute in, since the state may consist of integers."""
        name = canonical(self.dtype)
        return name if is_float(name) else "float32"

    def _weights(self, values: Any, sample_weight: Any, mask: Any) -> Any:
        """The weight of each value, with their shape; None if all weights are 1."""
        weights = None if mask is None else weights_like(values, mask, "mask", str(self.name))
        if sample_weight is not None:
            given = weights_like(values, sample_weight, "sample_weight", str(self.name))
            weights = given if weights is None else given * weights
        return None if weights is None else jnp.broadcast_to(weights, values.shape)


get, serialize, deserialize = accessors("metrics", "metric", "MeanSquaredError")
