"""Sums and means of values, and of the results of functions of targets and predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from lamina.core.operation import merge_masks
from lamina.core.scope import get_mask
from lamina.errors import StructureError
from lamina.losses.base import DTYPE, kind_of, safe_divide, tensors, values_of, weighted
from lamina.metrics.base import Metric
from lamina.serialization import registry
from lamina.serialization.fields import field, fields_of
from lamina.serialization.registry import builtin
from lamina.tree import nested


@builtin("metrics")
class Sum(Metric):
    """``sum(sample_weight * values)`` over all batches.

    >>> metric = Sum()
    >>> metric.update_state([1.0, 2.0])
    >>> metric.update_state([4.0], sample_weight=[0.5])
    >>> metric.result()
    Array(5., dtype=float32)
    """

    name: str | None = "sum"
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = self.add_weight(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        mask, values = get_mask(values), tensors(values, self._float_dtype())
        weights = self._weights(values, sample_weight, mask)
        self.total.assign_add(jnp.sum(values if weights is None else weighted(values, weights)))

    def result(self) -> Any:
        return self.total.value


@builtin("metrics")
class Mean(Metric):
    """``sum(sample_weight * values) / sum(sample_weight)`` over all batches; 0 without values.

    >>> metric = Mean()
    >>> metric.update_state([1.0, 3.0])
    >>> metric.update_state([5.0], sample_weight=[2.0])
    >>> metric.result()
    Array(3.5, dtype=float32)
    """

    name: str | None = "mean"
    dtype: Any = DTYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.total = self.add_weight(name="total")
        self.count = self.add_weight(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Update the state with values.

        Args:
            values: A tensor of any shape. Masked entries are ignored.
            sample_weight: Weights of the shape of ``values`` or of its first axes.
        """
        self._add(values, sample_weight, get_mask(values))

    def _add(self, values: Any, sample_weight: Any, mask: Any) -> None:
        values = tensors(values, self._float_dtype())
        weights = self._weights(values, sample_weight, mask)
        if weights is None:
            self.total.assign_add(jnp.sum(values))
            self.count.assign_add(values.size)
        else:
            self.total.assign_add(jnp.sum(weighted(values, weights)))
            self.count.assign_add(jnp.sum(weights))

    def result(self) -> Any:
        return safe_divide(self.total.value, self.count.value)


@builtin("metrics")
class FunctionMetric(Mean):
    """The mean of a function of targets and predictions: the base class of many metrics."""

    _function: ClassVar[Any]
    name: str | None = None

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the function besides targets and predictions."""
        return {name: vars(self)[name] for name in fields_of(type(self), beyond=Metric)}

    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        mask = None if nested.is_nested(y_pred) else get_mask(y_pred)
        classes = kind_of(self._function) in ("classes", "labels")
        y_pred = tensors(y_pred, self._float_dtype())
        y_true = tensors(y_true, None if classes else self._float_dtype())
        values = values_of(self._function, y_true, y_pred, **self._arguments())
        if values is None:
            raise StructureError(
                f"The function of metric {self.name!r} returned None.",
                expected="a number, or one for each sample",
                cure="Is a `return` missing?",
            )
        self._add(values, sample_weight, merge_masks([mask, get_mask(values)]))


def _read_function(value: Any) -> Callable[..., Any]:
    """A function, or a loss function by name."""
    return registry.resolve("losses", value, "loss function")


FUNCTION: Any = field(convert=_read_function)


@builtin("metrics")
class MeanMetricWrapper(FunctionMetric):
    """Any function ``(y_true, y_pred) -> values`` as a metric: the mean of its values.

    Args:
        fn: The function, or the name of a built-in loss function.
        name: Name; derived from that of the class when None.
        **kwargs: Other arguments of the function.

    >>> metric = MeanMetricWrapper("huber", delta=2.0)
    >>> metric.update_state([[0.0]], [[3.0]])
    >>> metric.result()
    Array(4., dtype=float32)
    """

    fn: Any = FUNCTION
    name: str | None = None
    dtype: Any = DTYPE

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        self._extra = extra
        return {}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._function = self.fn  # pyright: ignore[reportAttributeAccessIssue]

    def _arguments(self) -> dict[str, Any]:
        return self._extra

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._extra}
