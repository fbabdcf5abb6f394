"""The training state: a pytree whose leaves have the addresses of the model's variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import numpy as np

from lamina.core.sharding import Layout, Placement, is_on_mesh, slot_layouts
from lamina.core.variable import Variable, copied, put, read, take

Arrays = dict[str, Any]
GROUPS = ("trainable", "non_trainable", "optimizer", "metrics")
NEVER = np.int32(np.iinfo(np.int32).max)  # a Python int is weakly typed: steps would recompile


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """The complete input and output state of a step.

    The order of the fields is that of the compiled step's parameters, by which XLA orders
    operations that do not depend on each other: with the key last, steps of convolutional models
    took up to 6 % longer on CPUs.

    Attributes:
        key: Raw data of the key from which, together with ``step``, the keys of random draws are
            derived; a typed key would add 0.1 ms to each dispatch.
        step: Number of the next step, an int32 scalar.
        first_nonfinite: Number of the first step whose loss was not finite; ``NEVER`` if there was
            none.
        trainable: The trainable weights, by address.
        non_trainable: All other variables that a call reads, by address.
        optimizer: The optimizer's variables, by address.
        metrics: The metrics' variables, by address.
    """

    key: Any
    step: Any
    first_nonfinite: Any = NEVER
    trainable: Arrays
    non_trainable: Arrays
    optimizer: Arrays
    metrics: Arrays

    def group(self, name: str) -> Arrays:
        """One of the four groups of arrays."""
        return _GROUP[name](self)

    def replace(self, **changes: Any) -> TrainState:
        """A copy of the state with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def on_mesh(self, placement: Placement) -> TrainState:
        """The state with its counters and fresh metrics, which come from the host, on the mesh."""
        counters = {"key": self.key, "step": self.step, "first_nonfinite": self.first_nonfinite}
        counters = {name: x for name, x in counters.items() if not is_on_mesh(x)}
        metrics = {a: x for a, x in self.metrics.items() if not is_on_mesh(x)}
        if not counters and not metrics:
            return self
        counters, metrics = placement.copies((counters, metrics))
        return self.replace(**counters, metrics={**self.metrics, **metrics})

    def step_key(self) -> Any:
        """The key for the random draws of the next step."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.key), self.step)


_GROUP: dict[str, Callable[[TrainState], Arrays]] = {
    "trainable": lambda s: s.trainable,
    "non_trainable": lambda s: s.non_trainable,
    "optimizer": lambda s: s.optimizer,
    "metrics": lambda s: s.metrics,
}


@dataclasses.dataclass(slots=True)
class Variables:
    """The variables whose arrays a :class:`TrainState` holds, by group and address.

    ``outside`` lists the addresses in ``non_trainable`` of variables that a call reads although
    the model does not hold them, such as a global one.
    """

    trainable: dict[str, Variable] = dataclasses.field(default_factory=dict)
    non_trainable: dict[str, Variable] = dataclasses.field(default_factory=dict)
    optimizer: dict[str, Variable] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Variable] = dataclasses.field(default_factory=dict)
    outside: frozenset[str] = frozenset()

    def groups(self) -> dict[str, dict[str, Variable]]:
        """The four groups."""
        return {
            "trainable": self.trainable,
            "non_trainable": self.non_trainable,
            "optimizer": self.optimizer,
            "metrics": self.metrics,
        }

    def place(self, placement: Placement) -> TrainState:
        """Lay out the variables for a placement; an optimizer's slots are laid out like weights.

        Returns:
            The sharding of each array of the state, as a :class:`TrainState`.
        """
        everywhere = Layout(placement.replicated, placement.replicated)
        weights = {**self.trainable, **self.non_trainable}
        layouts = placement.distribution.layouts(weights)
        for address, variable in weights.items():
            variable.lay_out(layouts.get(address, everywhere))
        on_host = placement.distribution.offload_optimizer
        layouts = slot_layouts(self.optimizer, self.trainable, on_host)
        for key, variable in self.optimizer.items():
            variable.lay_out(layouts.get(key, everywhere))
        for variable in self.metrics.values():
            variable.lay_out(everywhere)
        groups = {
            g: {a: v.layout.stored for a, v in variables.items() if v.layout is not None}
            for g, variables in self.groups().items()
        }
        single = placement.replicated
        return TrainState(**groups, key=single, step=single, first_nonfinite=single)

    def bound(self, state: TrainState) -> dict[Variable, Any]:
        """The value of each variable in ``state``."""
        return {
            v: values[a]
            for group, variables in self.groups().items()
            for values in (state.group(group),)
            for a, v in variables.items()
            if a in values
        }

    def read(self, key: Any, step: int) -> TrainState:
        """The current state, for reading only: its arrays must not be donated or kept."""
        return TrainState(
            key=key, step=np.int32(step), trainable=read(self.trainable),
            non_trainable=read(self.non_trainable), optimizer=read(self.optimizer),
            metrics=read(self.metrics),
        )  # fmt: skip

    def take(self, key: Any, step: int) -> TrainState:
        """The state, for a step to which its buffers are donated; :meth:`put` must follow."""
        groups = {g: take(variables) for g, variables in self.groups().items()}
        return TrainState(**groups, key=key, step=np.int32(step))

    def put(self, state: TrainState) -> None:
        """Write the arrays of ``state`` back to the variables."""
        for group, variables in self.groups().items():
            put(variables, state.group(group))

    def structs(self) -> TrainState:
        """The shapes and dtypes of the state."""
        groups = {
            g: {a: jax.ShapeDtypeStruct(v.shape, v.dtype) for a, v in variables.items()}
            for g, variables in self.groups().items()
        }
        integer = jax.ShapeDtypeStruct((), np.int32)
        key = jax.ShapeDtypeStruct((2,), np.uint32)
        return TrainState(**groups, key=key, step=integer, first_nonfinite=integer)


class Loose:
    """A state for single steps, which is written back to the variables explicitly."""

    def __init__(self, state: TrainState) -> None:
        self.state = state

    def advance(self, moved: Mapping[str, Any], metrics: Arrays, count: int) -> None:
        """Apply the changes of ``count`` steps of an evaluation."""
        weights = {**self.state.non_trainable, **moved} if moved else self.state.non_trainable
        self.state = self.state.replace(
            non_trainable=weights, metrics=metrics, step=np.int32(self.state.step + count)
        )

    def reclaim(self) -> TrainState:
        """The state, with copies of arrays that may be referenced elsewhere."""
        return self.state


class Live(Loose):
    """The state of a training run, to which the variables are bound while it lasts.

    Reading a variable returns its current value, and assigning to it affects the next step. Since
    buffers of the state are donated to steps, an array that a reader may have kept is copied first.

    Args:
        variables: The variables to bind; released by :meth:`close`.
        state: Their arrays, which are not referenced elsewhere.
    """

    def __init__(self, variables: Variables, state: TrainState) -> None:
        super().__init__(state)
        self._lent: set[tuple[str, str]] = set()
        self._releases = {
            (group, address): variable.bind(self, group, address)
            for group, table in variables.groups().items()
            for address, variable in table.items()
        }

    def get(self, group: str, address: str) -> Any:
        """The array, for immediate use only."""
        return self.state.group(group)[address]

    def lend(self, group: str, address: str) -> Any:
        """The array, for keeping: it will not be donated to a step."""
        self._lent.add((group, address))
        return self.state.group(group)[address]

    def replace(self, group: str, address: str, value: Any) -> None:
        """Replace the array; dictionaries that may be referenced elsewhere are not modified."""
        self._lent.discard((group, address))
        self.state = self.state.replace(**{group: {**self.state.group(group), address: value}})

    def reclaim(self) -> TrainState:
        """The state, with copies of arrays that may be referenced elsewhere."""
        if self._lent:
            changed: dict[str, Arrays] = {}
            for group, address in self._lent:
                values = changed.setdefault(group, dict(self.state.group(group)))
                values[address] = copied(values[address])
            self._lent.clear()
            self.state = self.state.replace(**changed)
        return self.state

    def close(self) -> None:
        """Write the values back to the variables."""
        for (group, address), release in self._releases.items():
            release(self.state.group(group)[address], (group, address) in self._lent)
        self._releases = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
