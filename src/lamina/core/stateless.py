"""A scope in which variables are read from a mapping and assignments have no side effects."""

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
    """Context manager in which calls have no side effects, so JAX transformations apply to them.

    Inside, variables have the values given by the mapping (or else their own). Assigned values are
    kept in the scope and are the values of the variables from then on; outside, nothing changes.
    The method ``stateless_call`` of layers and models does the same for a single call.

    Args:
        state_mapping: Pairs of a variable and its value.
        collect_losses: Whether :attr:`losses` holds what layers add with ``add_loss``.
        initialize_variables: Without effect, for compatibility: the values of variables created
            inside are initialized when they are first read.

    Attributes:
        losses: The losses added inside, if ``collect_losses``.

    Raises:
        ArgumentError: A key of the mapping is not a variable.
        ShapeError: A value has a different shape than its variable.

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
        """The losses that layers added with ``add_loss`` inside."""
        return self._record.losses if self.collect_losses else []

    def add_loss(self, loss: Any) -> None:
        """Add a loss to :attr:`losses`."""
        self._record.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Assign a value to a variable within the scope.

        Args:
            update: The variable and its value.
        """
        variable, value = update
        self._record.updates[variable] = jnp.asarray(value, variable.dtype)

    def get_current_value(self, variable: Variable) -> Any:
        """The value assigned to a variable inside, or given by the mapping; None if there is none.

        Args:
            variable: The variable.
        """
        return self._record.updates.get(variable, self._values.get(variable))


class SymbolicScope:
    """Context manager in which calls on arrays compute shapes and dtypes only.

    Variables read as zeros, and assigned values, losses and masks are dropped at the end. Building
    a graph needs no such scope: symbolic tensors have no values.

    >>> v = Variable(np.ones(2, "float32"))
    >>> with SymbolicScope():
    ...     _ = v.assign(v.value + 2)
    ...     inside = v.value
    >>> inside, v.value
    (Array([2., 2.], dtype=float32), Array([1., 1.], dtype=float32))
    """

    def __enter__(self) -> Self:
        around = current() or Scope()
        self._entered = ExitStack()
        self._entered.enter_context(
            entered(dataclasses.replace(around, pure=True, abstract=True, record=Record()))
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()
