"""Optimizers from gradient transformations of optax, which Lamina itself never imports."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import naming
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, SerializationError, StructureError
from lamina.optimizers.base import Arrays, BaseOptimizer
from lamina.serialization.registry import builtin


@runtime_checkable
class Transformation(Protocol):
    """A gradient transformation of optax."""

    def init(self, params: Any) -> Any:
        """The initial state for parameters."""
        ...

    def update(self, updates: Any, state: Any, params: Any = None) -> Any:
        """The new updates and the new state."""
        ...


@builtin("optimizers")
class Optax(BaseOptimizer):
    """A gradient transformation as an optimizer: ``compile(optimizer=optax.adam(1e-3))``.

    Each leaf of the transformation's state is a variable, named by its path in the state, such as
    ``"0/mu/dense/kernel"``. A parameter without a gradient is treated as if its gradient were 0,
    but is not updated. The learning rate can be read and set if ``optax.inject_hyperparams`` has
    added it to the state.

    Args:
        transformation: An object with optax's ``init(parameters)`` and
            ``update(gradients, state, parameters)``.
        name: Name of the optimizer.

    >>> import optax
    >>> w = Variable(jnp.ones(2))
    >>> Optax(optax.sgd(0.5)).apply([jnp.ones(2)], [w])
    >>> w.value
    Array([0.5, 0.5], dtype=float32)
    """

    transformation: Any
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._structure: Any = None
        self._leaves: list[str] = []

    def _injected(self) -> Variable:
        for key, variable in self._slots.items():
            if key.endswith("hyperparams/learning_rate"):
                return variable
        raise ArgumentError(
            "The learning rate of an optax transformation is not accessible. To read and set it, "
            "create the transformation with `optax.inject_hyperparams(optax.adam)("
            "learning_rate=1e-3)`, and build the optimizer first."
        )

    @property
    def learning_rate(self) -> Any:
        """The variable that ``optax.inject_hyperparams`` has added to the state."""
        return self._injected()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._injected().assign(value)

    def make_state(self) -> None:
        parameters = {address: v.value for address, v in self._current.items()}
        state = self.transformation.init(parameters)
        leaves, self._structure = jax.tree_util.tree_flatten_with_path(state)
        self._leaves = []
        for path, leaf in leaves:
            key = jax.tree_util.keystr(path, simple=True, separator="/")
            name, reference = key, None
            for address, variable in self._current.items():
                if key.endswith(f"/{address}"):
                    name, reference = key.removesuffix(f"/{address}"), variable
            key = naming.free(self._slots, key)
            self._leaves.append(key)
            self._enter(key, name, reference, functools.partial(self._leaf, leaf))
        # The state of weights that are not trained now is kept in case they are trained again.
        for (name, reference), variable in self._earlier.items():
            if reference is not None and reference not in set(self._current.values()):
                key = naming.free(self._slots, f"{name}/{self._address_of(reference)}")
                self._slots[key], self._slot_of[key] = variable, (name, reference)

    def _leaf(self, value: Any) -> Variable:
        return Variable(
            np.asarray(value), dtype=str(jnp.asarray(value).dtype), trainable=False, name="optax",
            owner=self, autocast=False,
        )  # fmt: skip

    def update(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        if set(parameters) != set(self._current):
            raise StructureError(
                "An optax transformation updates all parameters that it was built with. Missing: "
                f"{sorted(set(self._current) - set(parameters))[:10]}. Build it with all "
                "parameters to train."
            )
        given, fixed = self._read_gradients(gradients, parameters)
        everything = {a: given.get(a, jnp.zeros_like(p)) for a, p in parameters.items()}
        inner = jax.tree.unflatten(self._structure, [state[key] for key in self._leaves])
        changes, inner = self.transformation.update(everything, inner, parameters)
        moved = {a: (parameters[a] + changes[a]).astype(parameters[a].dtype) for a in given}
        values = self._constrain({**parameters, **moved, **fixed}, given)
        new = dict(zip(self._leaves, jax.tree.leaves(inner), strict=True))
        return values, {**state, **new, "iteration": state["iteration"] + 1}

    def get_config(self) -> dict[str, Any]:
        raise SerializationError(
            "An optax transformation consists of functions, which cannot be saved. Save the "
            "model with `include_optimizer=False`, and compile it again after loading."
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)
