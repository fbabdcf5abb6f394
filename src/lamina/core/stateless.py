"""A context in which variables are read from a mapping, and assignments go into another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from lamina.core.scope import Record, Scope, current, entered
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError


class StatelessScope:
    """Context in which calls have no side effects: any JAX transformation works on what it holds.

    Variables read the values that the mapping gives them (else their own); what is assigned to
    them is kept here, and is what they read from then on, inside. Outside nothing changes. Layers
    and models have ``stateless_call``, which does this for a single call.

    Args:
        state_mapping: Pairs of a variable and the array that it is to hold.
        collect_losses: Whether :attr:`losses` holds what layers add with ``add_loss``.
        initialize_variables: Kept for compatibility: variables made inside make their values when
            they are first read.

    Attributes:
        losses: What was added inside, if ``collect_losses``.

    Raises:
        ArgumentError: What is no variable in the mapping.
        ShapeError: An array of another shape than its variable.

    >>> v = Variable(np.zeros(2, "float32"))
    >>> with StatelessScope([(v, jnp.ones(2))]) as scope:
    ...     _ = v.assign(v.value + 1)
    >>> scope.get_current_value(v), v.value
    (Array([2., 2.], dtype=float32), Array([0., 0.], dtype=float32))
    """

    def __init__(
        self,
        state_mapping: Iterable[tuple[Variable, Any]] | None = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ) -> None:
        self.collect_losses, self.initialize_variables = collect_losses, initialize_variables
        self._values: dict[Variable, Any] = {}
        self._record = Record()
        self._entered = ExitStack()
        for variable, value in state_mapping or ():
            if not isinstance(variable, Variable):
                raise ArgumentError(
                    "StatelessScope() expects `state_mapping` to be pairs of a variable and its "
                    f"value. Received: {variable!r} (of type {type(variable).__name__})."
                )
            if tuple(np.shape(value)) != variable.shape:
                raise ShapeError(
                    f"Variable {variable.path!r} has shape {variable.shape}. Received a value of "
                    f"shape {tuple(np.shape(value))} in `state_mapping`."
                )
            self._values[variable] = jnp.asarray(value, variable.dtype)

    def __enter__(self) -> Self:
        around = current() or Scope()
        inside = dataclasses.replace(
            around, values={**around.values, **around.record.updates, **self._values},
            pure=True, record=self._record,
        )  # fmt: skip
        self._entered.enter_context(entered(inside))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    @property
    def losses(self) -> list[Any]:
        """What layers have added with ``add_loss`` inside."""
        return self._record.losses if self.collect_losses else []

    def add_loss(self, loss: Any) -> None:
        """Add to :attr:`losses`."""
        self._record.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Assign a value to a variable, inside.

        Args:
            update: The variable and its value.
        """
        variable, value = update
        self._record.updates[variable] = jnp.asarray(value, variable.dtype)

    def get_current_value(self, variable: Variable) -> Any:
        """What was assigned to a variable inside, or what the mapping gives it; None for neither.

        Args:
            variable: The variable.
        """
        return self._record.updates.get(variable, self._values.get(variable))
