"""The interface that all optimizers share: variables, ``apply``, saving and loading."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np

from lamina import initializers
from lamina.core import naming
from lamina.core.naming import snake_case
from lamina.core.scope import Scope, entered
from lamina.core.sharding import on_devices
from lamina.core.tracking import Owner, Trackable, held
from lamina.core.variable import Variable, read, value_of
from lamina.errors import ArgumentError, NotBuiltError, ShapeError, StructureError
from lamina.optimizers.schedules.base import LearningRateSchedule
from lamina.serialization import registry
from lamina.serialization.fields import Configurable
from lamina.serialization.registry import builtin, defined_by_user

Arrays = dict[str, jax.Array]


def _read_rate(value: Any) -> Any:
    """Convert a learning rate to a float, a schedule or a callable without arguments."""
    value = registry.deserialize(value) if isinstance(value, Mapping) else value
    if isinstance(value, LearningRateSchedule) or callable(value):
        return value
    try:
        rate = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise ArgumentError(
            "A learning rate is a number >= 0, a LearningRateSchedule, or a callable without "
            f"arguments. Received: {value!r}."
        )
    return rate


def _are_same(a: Mapping[str, Variable], b: Mapping[str, Variable]) -> bool:
    """Whether two mappings have the same variables under the same addresses."""
    return a.keys() == b.keys() and all(v is b[address] for address, v in a.items())


@builtin()
class BaseOptimizer(Owner, Trackable, Configurable):
    """Base class of all optimizers: state, ``apply``, saving. Subclasses define the update.

    Attributes:
        built: Whether the state has been created.
        state_variables: The state by address, in the order of Keras's files: ``"iteration"``,
            ``"learning_rate"`` (unless it is a schedule), then ``"<slot>/<address>"``.
    """

    tracked_as = "optimizer"
    _untracked = frozenset(
        ("_iteration", "_rate", "_slots", "_slot_of", "_earlier", "_parameters", "_addresses",
         "_current", "_wanted", "_undecayed")
    )  # fmt: skip
    _rate = cast(Any, None)  # a variable, a schedule or a callable of an instance

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        build = cls.__dict__.get("build")
        if build is not None:  # users' classes, written for Keras, expect a list

            @functools.wraps(build)
            def with_list(self: BaseOptimizer, variables: Any) -> None:
                if isinstance(variables, Mapping):
                    if self.built and _are_same(variables, self._current):
                        return
                    self._wanted = {v: address for address, v in variables.items()}
                    variables = list(variables.values())
                build(self, variables)

            cls.build = with_list  # pyright: ignore[reportAttributeAccessIssue]

    def __post_init__(self) -> None:
        self.name = self.name or snake_case(type(self).__name__)
        self.built = False
        self._iteration = Variable(
            np.zeros((), "int32"), trainable=False, name="iteration", owner=self
        )
        self._slots: dict[str, Variable] = {}
        # For each key of the state: the name of the slot, and its weight (None if shared).
        self._slot_of: dict[str, tuple[str, Variable | None]] = {}
        self._earlier: dict[tuple[str, Variable | None], Variable] = {}
        # All weights that have slots, in the order in which they were added, and the current ones.
        self._parameters: dict[str, Variable] = {}
        self._addresses: dict[Variable, str] = {}
        self._current: dict[str, Variable] = {}
        self._wanted: dict[Variable, str] = {}
        self._undecayed: tuple[list[Variable], list[str]] = ([], [])

    def _repr_items(self) -> list[tuple[str, str]]:
        given = ("name", repr(snake_case(type(self).__name__)))
        return [item for item in super()._repr_items() if item != given]

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """An optimizer from the data that :meth:`get_config` returned.

        Args:
            config: The data.
            custom_objects: Your own classes of schedules and optimizers, by name.
        """
        with registry.CustomObjectScope(custom_objects or {}):
            return super().from_config(config)

    # ---- the pure step, implemented by subclasses ------------------------------------------------

    def update(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """One step as a pure function, which can be traced and compiled.

        Args:
            gradients: Gradients of the loss by address; a parameter whose gradient is None or
                missing is not updated.
            parameters: Values by address.
            state: The arrays of :attr:`state_variables`, by the same keys.

        Returns:
            The new parameters and the new state, with the keys, shapes and dtypes of the old ones.
        """
        raise NotImplementedError

    def take_step(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        """:meth:`update`, or a subclass's ``stateless_apply`` or ``apply`` as a pure function."""
        if not defined_by_user(type(self), "stateless_apply"):
            return self._apply_to_arrays(gradients, parameters, state)
        keys = list(self.state_of(self._current))
        values, new = self.stateless_apply(
            [state[k] for k in keys],
            [gradients.get(a) for a in self._current],
            [parameters[a] for a in self._current],
        )
        changed = dict(zip(self._current, map(value_of, values), strict=True))
        return {**parameters, **changed}, dict(zip(keys, map(value_of, new), strict=True))

    def _apply_to_arrays(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        if not defined_by_user(type(self), "apply"):
            return self.update(gradients, parameters, state)
        weights = {v: parameters[a] for a, v in self._current.items()}
        own = {v: state[k] for k, v in self.state_of(self._current).items()}
        with entered(Scope(values={**own, **weights}, pure=True)) as scope:
            self.apply([gradients.get(a) for a in self._current], list(weights))
        new = scope.record.updates
        changed = {a: new.get(v, weights[v]) for a, v in self._current.items()}
        return {**parameters, **changed}, {
            k: new.get(v, own[v]) for k, v in self.state_of(self._current).items()
        }

    def make_state(self) -> None:
        """Create the slots of the variables passed to :meth:`build`."""

    # ---- learning rate and count -----------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a variable, or the current value of the schedule."""
        if isinstance(self._rate, LearningRateSchedule):
            return self._rate(self._iteration.value)
        return self._rate if isinstance(self._rate, Variable) else self._rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        old = self._rate
        rate = _read_rate(value)
        if not isinstance(rate, float):
            self._rate = rate
        elif old is None:
            self._rate = Variable(
                np.float32(rate), trainable=False, name="learning_rate", owner=self
            )
        elif isinstance(old, Variable):
            old.assign(np.float32(rate))
        else:
            raise ArgumentError(
                f"This optimizer takes its learning rate from {old!r}, so it cannot be set to a "
                f"number. Received: {rate}. Create the optimizer with a number to set it later."
            )

    def _rate_at(self, step: jax.Array, state: Mapping[str, Any]) -> jax.Array:
        rate = type(self).learning_rate
        if isinstance(rate, property) and rate is not BaseOptimizer.learning_rate:
            bound = {v: state[key] for key, v in self.state_variables.items() if key in state}
            with entered(Scope(values={**bound, self._iteration: step}, pure=True)):
                return jnp.asarray(value_of(self.learning_rate), jnp.float32)
        if isinstance(self._rate, LearningRateSchedule):
            return jnp.asarray(self._rate(step), jnp.float32)
        rate = state["learning_rate"] if isinstance(self._rate, Variable) else self._rate()
        return jnp.asarray(rate, jnp.float32)

    @property
    def iterations(self) -> Any:
        """The number of updates so far, as an integer variable."""
        return self._iteration

    # ---- state -----------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The optimizer's name, with which the paths of its variables begin."""
        return self.name

    @property
    def state_variables(self) -> dict[str, Variable]:
        """The state by address, in the order of Keras's files."""
        rate = {"learning_rate": self._rate} if isinstance(self._rate, Variable) else {}
        state = {"iteration": self._iteration, **rate}
        known = {*state.values(), *self._slots.values(), *self._addresses}
        for _, x in held(self):  # variables that a subclass has created itself
            if isinstance(x, Variable) and x.owner in (None, self) and x not in known:
                state[naming.free({**state, **self._slots}, x.name)] = x
        return {**state, **self._slots}

    @property
    def variables(self) -> list[Variable]:
        """The state as a list, in the order of Keras's files."""
        return list(self.state_variables.values())

    @property
    def parameters(self) -> list[Variable]:
        """All weights that have state, in the order of their slots."""
        return list(self._parameters.values())

    @property
    def moving_averages(self) -> dict[Variable, Variable]:
        """The moving average of each weight that has one, with ``use_ema``."""
        return {}

    def state_of(self, variables: Mapping[str, Variable]) -> dict[str, Variable]:
        """The :attr:`state_variables` that an update of ``variables`` reads and changes."""
        mine = set(variables.values())
        return {
            key: v for key, v in self.state_variables.items()
            if (weight := self._slot_of.get(key, (key, None))[1]) is None or weight in mine
        }  # fmt: skip

    def build(self, variables: Mapping[str, Variable] | Iterable[Variable]) -> None:
        """Create the state of ``variables``; existing state is kept.

        Call it again to train other weights (after unfreezing a layer), or after their addresses
        have changed: each weight keeps its slots.

        Args:
            variables: The variables to train, by address or as a list (addresses are then the
                variables' paths).
        """
        named = self._by_address(variables)
        if self.built and _are_same(named, self._current):
            return
        self._current = named
        given = {v: address for address, v in named.items()}
        known: dict[str, Variable] = {}
        for variable in dict.fromkeys([*self._parameters.values(), *given]):
            if variable in given:
                known[given[variable]] = variable
            else:  # not trained now, but keeps its slots
                taken = {**known, **named}
                known[naming.free(taken, self._addresses[variable])] = variable
        self._parameters = known
        self._addresses = {v: address for address, v in known.items()}
        self._earlier = {
            self._slot_of[key]: v for key, v in self._slots.items() if key in self._slot_of
        }
        self._slots, self._slot_of = {}, {}
        self.__dict__.pop("_compiled", None)
        self.make_state()
        self.built = True

    def _by_address(self, variables: Any) -> dict[str, Variable]:
        if isinstance(variables, Mapping):
            return dict(variables)
        named: dict[str, Variable] = {}
        for variable in variables:
            named[naming.free(named, self._wanted.get(variable) or variable.path)] = variable
        return named

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = "none",
        layout: Any = None,
        name: str | None = None,
        reference: Variable | None = None,
    ) -> Variable:
        """Create a variable of the optimizer's state.

        Args:
            shape: Its shape.
            initializer: Its initial value.
            dtype: Its dtype.
            aggregation: See :class:`lamina.Variable`.
            layout: See :class:`lamina.Variable`.
            name: Its key in :attr:`state_variables`, or the first part of the key.
            reference: The weight that it belongs to; its address is the rest of the key.
        """
        name = name or "variable"
        if reference is None:
            own = full = key = naming.free(self._slots, name)
        else:
            own, address = name, self._address_of(reference)
            key, full = naming.free(self._slots, f"{name}/{address}"), f"{address}_{name}"
        return self._enter(
            key, own, reference,
            lambda: Variable(
                initializers.get(initializer), tuple(shape), dtype, trainable=False,
                aggregation=aggregation, layout=layout, name=full.replace("/", "_"), owner=self,
                autocast=False,
            ),
        )  # fmt: skip

    def _enter(
        self, key: str, name: str, reference: Variable | None, make: Callable[[], Variable]
    ) -> Variable:
        """Add the slot of that name under ``key``: the existing one or a new one."""
        variable = self._earlier.get((name, reference))
        if variable is None:
            variable = make()
            if reference is not None and reference.shape == variable.shape:
                variable.lay_out(reference.layout)
        self._slots[key], self._slot_of[key] = variable, (name, reference)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """Create a slot with the shape and dtype of a trained variable.

        Args:
            reference_variable: One of the variables that the optimizer was built with.
            name: Name of the slot, ``"slot"`` by default.
            initializer: Its initial value.
        """
        return self.add_variable(
            reference_variable.shape,
            initializer,
            reference_variable.dtype,
            name=name or "slot",
            reference=reference_variable,
        )

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Create one slot for each variable; for a list of names, a tuple of such lists."""
        one = isinstance(name, str)
        names = [name] if one else list(name)
        firsts = [initializer] * len(names) if isinstance(initializer, str) else list(initializer)
        made: list[list[Variable]] = [[] for _ in names]
        for variable in trainable_variables:
            for slot, first, group in zip(names, firsts, made, strict=True):
                group.append(self.add_variable_from_reference(variable, slot, first))
        return made[0] if one else tuple(made)

    def _address_of(self, variable: Any) -> str:
        if variable not in self._addresses:
            raise StructureError(
                f"Optimizer {self.name!r} was built for other variables than {variable!r}. "
                f"Expected one of {list(self._parameters)[:10]}. Create a new optimizer for other "
                "variables, or build this one with all of them."
            )
        return self._addresses[variable]

    # ---- parts of the pure step ------------------------------------------------------------------

    def _read_gradients(
        self, gradients: Mapping[str, Any], parameters: Arrays
    ) -> tuple[Arrays, Arrays]:
        """The gradients that are not None, cast to the dtypes of their parameters.

        Returns:
            Those to descend along, and those that are the new values of their parameters.
        """
        given, fixed = {}, {}
        for address, gradient in gradients.items():
            if gradient is None:
                continue
            parameter = parameters[address]
            if jnp.shape(gradient) != parameter.shape:
                raise ShapeError(
                    f"The gradient of {address!r} has shape {jnp.shape(gradient)}. "
                    f"Expected the shape of the weight, {parameter.shape}."
                )
            to = fixed if self._parameters[address].overwrite_with_gradient else given
            to[address] = jnp.asarray(gradient, parameter.dtype)
        return given, fixed

    def _constrain(self, values: Arrays, addresses: Iterable[str]) -> Arrays:
        """``values`` with the constraints of the variables at ``addresses`` applied."""
        new = dict(values)
        for address in addresses:
            constraint = self._parameters[address].constraint
            if constraint is not None:
                new[address] = jnp.asarray(constraint(values[address]), values[address].dtype)
        return new

    # ---- applying gradients ----------------------------------------------------------------------

    @functools.cached_property
    def _compiled(self) -> Callable[..., tuple[Arrays, Arrays]]:
        return jax.jit(self.update)

    def apply(self, grads: Sequence[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update variables from their gradients.

        Args:
            grads: One gradient for each variable; None to skip it.
            trainable_variables: The variables; those of :meth:`build` when None.

        Raises:
            StructureError: The numbers of gradients and variables differ, all gradients are None,
                or the optimizer was not built for one of the variables.
        """
        if trainable_variables is None and not self.built:
            raise StructureError(
                f"Optimizer {self.name!r} has no variables yet. Pass them to apply(), or call "
                "`optimizer.build(variables)` first."
            )
        targets = list(
            self._current.values() if trainable_variables is None else trainable_variables
        )
        if not self.built:
            self.build(targets)
        if len(grads) != len(targets):
            raise StructureError(
                f"apply() expects one gradient for each variable. Received: {len(grads)} gradients "
                f"for {len(targets)} variables."
            )
        gradients = {
            self._address_of(v): g for g, v in zip(grads, targets, strict=True) if g is not None
        }
        if not gradients:
            raise StructureError(
                "apply() received no gradient for any variable. Does the loss depend on them? "
                f"Variables: {[v.path for v in targets][:10]}."
            )
        state = self.state_variables
        values = {self._address_of(v): v.value for v in targets}
        slots = {a: on_devices(x, state[a].layout) for a, x in read(state).items()}
        values, new_state = self._compiled(gradients, values, slots)
        for address, value in values.items():
            self._parameters[address].assign(value)
        for address, value in new_state.items():
            state[address].assign(value)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """:meth:`apply` for pairs ``(gradient, variable)``; returns :attr:`iterations`."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)
        return self._iteration

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[jax.Array], list[jax.Array]]:  # fmt: skip
        """:meth:`update` on lists.

        Args:
            optimizer_variables: Arrays in the order of :attr:`variables`.
            grads: Gradients (or None) in the order of the variables of :meth:`build`.
            trainable_variables: Arrays in the same order.

        Returns:
            The new values of ``trainable_variables`` and of ``optimizer_variables``.
        """
        if not self.built:
            raise NotBuiltError(
                f"Optimizer {self.name!r} has no state yet. Call `build(variables)` first."
            )
        keys = list(self.state_of(self._current))
        expected = (len(keys), len(self._current), len(self._current))
        received = (len(optimizer_variables), len(grads), len(trainable_variables))
        if expected != received:
            raise StructureError(
                "stateless_apply() expects optimizer_variables, grads and trainable_variables of "
                f"lengths {expected}. Received: {received}."
            )
        parameters, state = self._apply_to_arrays(
            dict(zip(self._current, grads, strict=True)),
            dict(zip(self._current, map(jnp.asarray, trainable_variables), strict=True)),
            dict(zip(keys, map(jnp.asarray, optimizer_variables), strict=True)),
        )
        return [parameters[a] for a in self._current], [state[k] for k in keys]

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Set the final values of variables; called at the end of training."""

    def scale_loss(self, loss: Any) -> Any:
        """Scale the loss before differentiation; :meth:`update` divides the gradients again.

        Args:
            loss: A scalar.
        """
        return loss

    # ---- weight decay ----------------------------------------------------------------------------

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exclude variables from weight decay; call it before :meth:`build`.

        Args:
            var_list: The variables.
            var_names: Regular expressions such as ``"bias"``, which are searched for in names and
                addresses.
        """
        if self.built:
            raise ArgumentError(
                "exclude_from_weight_decay() was called after the optimizer was built. "
                "Call it before `build` and before the first `fit`."
            )
        variables, patterns = self._undecayed
        self._undecayed = ([*variables, *(var_list or [])], [*patterns, *(var_names or [])])

    def _decays(self, address: str) -> bool:
        variables, patterns = self._undecayed
        variable = self._parameters[address]
        return not (
            any(v is variable for v in variables)
            or any(re.search(p, variable.name) or re.search(p, address) for p in patterns)
        )

    # ---- saving and loading ----------------------------------------------------------------------

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Save the state to ``store`` under ``"0"``, ``"1"``, ..., like Keras."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Load the state that :meth:`save_own_variables` saved.

        Raises:
            StructureError: ``store`` contains another number of variables.
            ShapeError: A variable has another shape.
        """
        if len(store) != len(self.variables):
            raise StructureError(
                f"Optimizer {self.name!r} has {len(self.variables)} variables; the file contains "
                f"{len(store)}. Was it saved with another optimizer, or other trainable weights?"
            )
        for i, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(i)]))

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set :attr:`variables` from arrays in their order."""
        self.load_own_variables({str(i): w for i, w in enumerate(weights)})
