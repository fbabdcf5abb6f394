"""The base class of optimizers with the parts of a step that all of them share."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.scope import Scope, entered
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.optimizers.base import Arrays, BaseOptimizer
from lamina.optimizers.schedules.base import LearningRateSchedule
from lamina.serialization.registry import builtin, serialize


@builtin()
class _WithLearningRate(BaseOptimizer):
    """What all optimizers but the wrappers of others begin with."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "learning_rate": "A number, a schedule, or a callable without arguments.",
        "beta_1": "Decay rate of ``m``.",
        "beta_2": "Decay rate of ``v``.",
        "epsilon": "Added to the denominator, so that the division is finite.",
    }

    learning_rate: Any


@builtin("optimizers")
class Optimizer(_WithLearningRate, trailing=True, kw_only=True):
    """Base class of optimizers that update each weight by a formula.

    Weights with ``overwrite_with_gradient`` are set to their gradients (to the largest, if these
    are accumulated). For all others, an update consists of these steps: divide the gradients by
    ``loss_scale_factor``; average them over ``gradient_accumulation_steps`` steps; clip them; apply
    ``weight_decay``; apply the formula; update the moving average of the weights; apply the
    weights' constraints.

    A subclass defines :attr:`slots` and :meth:`formula`. Subclasses written for Keras, with
    ``build(variables)`` and ``update_step(gradient, variable, learning_rate)``, work too.

    Args:
        learning_rate: A number, a schedule, or a callable without arguments.
        weight_decay: Fraction of the weights to subtract at each update, times the learning rate.
        clipnorm: Maximum norm of each gradient; larger ones are scaled down.
        clipvalue: Maximum absolute value of the elements of gradients; larger ones are clipped.
        global_clipnorm: Maximum norm of all gradients together; they are scaled down to it. Each
            of these limits is none if it is not positive.
        use_ema: Whether to compute an exponential moving average of the weights.
        ema_momentum: Decay rate of the moving average.
        ema_overwrite_frequency: Number of updates after which the weights are replaced by their
            average; None for only at the end of training.
        loss_scale_factor: Factor by which :meth:`scale_loss` multiplies the loss, so that small
            gradients do not underflow in float16; the update divides by it.
        gradient_accumulation_steps: Number of steps whose gradients are averaged for one update, >=
            2.
        name: Name of the optimizer; derived from that of the class when None.

    >>> class SignDescent(Optimizer):
    ...     learning_rate: float = 0.01
    ...
    ...     def formula(self, gradient, parameter, slots, learning_rate, step):
    ...         return parameter - learning_rate * jnp.sign(gradient), slots
    >>> w = Variable(np.float32([1.0, 1.0]))
    >>> SignDescent(0.25).apply([np.float32([2.0, -3.0])], [w])
    >>> w.value
    Array([0.75, 1.25], dtype=float32)
    """

    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None
    name: str | None = None

    # Names of the state arrays of each weight.
    slots: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        clips = {k: getattr(self, k) for k in ("clipnorm", "clipvalue", "global_clipnorm")}
        every = self.gradient_accumulation_steps
        if sum(value is not None for value in clips.values()) > 1:
            raise self._refuse("one of `clipnorm`, `clipvalue` and `global_clipnorm`", clips)
        if every is not None and (not isinstance(every, int) or every < 2):
            raise self._refuse("`gradient_accumulation_steps` >= 2, or None", every)
        if not 0 <= self.ema_momentum <= 1:
            raise self._refuse("`ema_momentum` between 0 and 1", self.ema_momentum)
        overwrite = self.ema_overwrite_frequency
        if overwrite is not None and (not isinstance(overwrite, int) or overwrite < 1):
            raise self._refuse("`ema_overwrite_frequency` >= 1, or None", overwrite)

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        if extra.pop("decay", None):  # of Keras 2; configs that have it are converted
            raise ArgumentError(
                f"{type(self).__name__}() has no argument `decay`, which Keras 3 ignores. For the "
                "decay of Keras 2, pass `learning_rate=schedules.InverseTimeDecay(learning_rate, "
                "decay_steps=1, decay_rate=decay)`."
            )
        return super()._accept_extra(extra)

    def _refuse(self, expected: str, received: Any) -> ArgumentError:
        return ArgumentError(f"{type(self).__name__}() takes {expected}. Received: {received}.")

    # ---- to be defined by subclasses -------------------------------------------------------------

    def formula(
        self,
        gradient: jax.Array,
        parameter: jax.Array,
        slots: Arrays,
        learning_rate: jax.Array,
        step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:
        """The new value of one weight.

        Args:
            gradient: Its gradient, of its shape and dtype.
            parameter: Its value.
            slots: Its state arrays by slot, and the arrays that :meth:`shared` returned.
            learning_rate: A float32 scalar.
            step: Number of this update, from 1; a float32 scalar.

        Returns:
            The new value and the new slots, which are cast to the dtypes of the old ones.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula. Define `formula(self, gradient, parameter, "
            "slots, learning_rate, step)`, or Keras's `update_step(self, gradient, variable, "
            "learning_rate)`."
        )

    def slot_groups(self) -> tuple[tuple[str, ...], ...]:
        """The slots that this configuration needs, grouped in the order of Keras's files.

        Within a group the slots of one weight come together, then those of the next.
        """
        return (self.slots,)

    def add_slot(self, slot: str, variable: Variable) -> None:
        """Create a slot of a weight: zeros of its shape and dtype."""
        self.add_variable_from_reference(variable, slot)

    def shared(self, state: Arrays, step: jax.Array) -> Arrays:
        """Compute the state that all weights share for ``step``."""
        return {}

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Keras's form of :meth:`formula`: assign the new value to ``variable``.

        Args:
            gradient: Gradient of ``variable``.
            variable: The weight, with its current value.
            learning_rate: A scalar.
        """
        address = self._address_of(variable)
        state = {k: v.value for k, v in self.state_variables.items()}
        step = jnp.asarray(self.iterations + 1, jnp.float32)
        slots = {**self._slots_of(address, state), **self.shared(state, step)}
        value, slots = self.formula(gradient, variable.value, slots, learning_rate, step)
        variable.assign(value)
        for slot, array in slots.items():
            key = f"{slot}/{address}"
            self._slots[key if key in self._slots else slot].assign(array)

    # ---- the step --------------------------------------------------------------------------------

    def make_state(self) -> None:
        common = [("average",)] * self.use_ema
        if self.gradient_accumulation_steps is not None:
            common.append(("gradient_accumulator",))
        for group in common:
            for variable in self._parameters.values():
                self.add_variable_from_reference(variable, group[0])
        for group in self.slot_groups():
            for variable in self._parameters.values():
                for slot in () if variable.overwrite_with_gradient else group:
                    self.add_slot(slot, variable)

    def update(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        given, fixed = self._read_gradients(gradients, parameters)
        factor = self.loss_scale_factor
        if factor is not None:
            given = {a: g / factor for a, g in given.items()}
        count, every = state["iteration"], self.gradient_accumulation_steps
        done = count if every is None else count // every
        rate = self._rate_at(count, state)
        if every is None:
            values, state = self._effective(given, {**parameters, **fixed}, state, done, rate)
        else:
            keys = {a: f"gradient_accumulator/{a}" for a in (*given, *fixed)}
            total = {a: g + state[keys[a]].astype(g.dtype) for a, g in given.items()}
            most = {a: jnp.maximum(g, state[keys[a]].astype(g.dtype)) for a, g in fixed.items()}

            def effective(parameters: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
                mean = {a: g / every for a, g in total.items()}
                parameters = {**parameters, **most}
                values, state = self._effective(mean, parameters, state, done, rate)
                return values, {**state, **{k: jnp.zeros_like(state[k]) for k in keys.values()}}

            def collect(parameters: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
                return parameters, {**state, **{keys[a]: g for a, g in (total | most).items()}}

            due = (count + 1) % every == 0
            values, state = jax.lax.cond(due, effective, collect, parameters, state)
        if self.use_ema:
            values, state = self._average(values, state, done)
        return self._constrain(values, given), {**state, "iteration": count + 1}

    def _effective(
        self, gradients: Arrays, parameters: Arrays, state: Arrays, done: jax.Array, rate: jax.Array
    ) -> tuple[Arrays, Arrays]:
        """Clip, decay and apply the formula; ``done`` is the number of previous updates."""
        gradients = self._clip(gradients)
        values = {a: self._decayed(a, parameters[a], rate) for a in gradients}
        formula = type(self).update_step is Optimizer.update_step
        apply = self._by_formula if formula else self._by_update_step
        values, state = apply(gradients, values, state, rate, jnp.asarray(done + 1, jnp.float32))
        return {**parameters, **values}, state

    def decay_of(self, address: str) -> float | None:
        """Weight decay of the weight at ``address``."""
        return self.weight_decay if self._decays(address) else None

    def _decayed(self, address: str, value: jax.Array, rate: jax.Array) -> jax.Array:
        decay = self.decay_of(address)
        return value if decay is None else (value - value * decay * rate).astype(value.dtype)

    def _by_formula(
        self, gradients: Arrays, parameters: Arrays, state: Arrays, rate: Any, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        shared = self.shared(state, step)
        values, state = {}, {**state, **shared}
        formula = self.formula
        if isinstance(step, jax.core.Tracer):
            # Trace the formula once for all weights of the same shape; XLA inlines the calls. A new
            # partial each time prevents cached traces from being used after attributes have
            # changed.
            formula = jax.jit(functools.partial(self.formula))
        for address, gradient in gradients.items():
            parameter, slots = parameters[address], self._slots_of(address, state)
            value, new = formula(gradient, parameter, {**slots, **shared}, rate, step)
            values[address] = value.astype(parameter.dtype)
            for slot, old in slots.items():
                state[f"{slot}/{address}"] = new[slot].astype(old.dtype)
        return values, state

    def _slots_of(self, address: str, state: Arrays) -> Arrays:
        keys = {slot: f"{slot}/{address}" for group in self.slot_groups() for slot in group}
        return {slot: state[key] for slot, key in keys.items() if key in state}

    def _by_update_step(
        self, gradients: Arrays, parameters: Arrays, state: Arrays, rate: Any, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        """Run a user's ``update_step``; the values that it assigns are the result."""
        weights = {self._parameters[a]: p for a, p in parameters.items()}
        slots = {key: v for key, v in self.state_variables.items() if key in state}
        own = {v: state[key] for key, v in slots.items()}
        with entered(Scope(values={**own, **weights}, pure=True)) as scope:
            for address, gradient in gradients.items():
                self.update_step(gradient, self._parameters[address], rate)
        new = scope.record.updates
        values = {a: new.get(self._parameters[a], p) for a, p in parameters.items()}
        return values, {key: new.get(v, own[v]) for key, v in slots.items()}

    def _clip(self, gradients: Arrays) -> Arrays:
        if (bound := self.clipvalue or 0) > 0:
            return {a: jnp.clip(g, -bound, bound) for a, g in gradients.items()}
        if (most := self.clipnorm or 0) > 0:
            return {a: _shorten(g, _norm([g]), most) for a, g in gradients.items()}
        if (most := self.global_clipnorm or 0) > 0:
            norm = _norm(gradients.values())
            return {a: _shorten(g, norm, most) for a, g in gradients.items()}
        return gradients

    def _average(self, values: Arrays, state: Arrays, done: jax.Array) -> tuple[Arrays, Arrays]:
        """Update the moving averages, which start with the weights of the first update."""
        keep = self.ema_momentum * (done > 0)
        averages = {}
        for address, value in values.items():
            old = state[f"average/{address}"]
            averages[address] = (keep * old + (1 - keep) * value).astype(old.dtype)
        if self.ema_overwrite_frequency is not None:
            due = (done + 1) % self.ema_overwrite_frequency == 0
            values = {a: jnp.where(due, averages[a], v) for a, v in values.items()}
        return values, {**state, **{f"average/{a}": v for a, v in averages.items()}}

    # ---- for ``update_step`` of users' subclasses ------------------------------------------------

    def assign(self, variable: Variable, value: Any) -> None:
        """``variable = value``, in an ``update_step``."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """``variable += value``, in an ``update_step``."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """``variable -= value``, in an ``update_step``."""
        variable.assign_sub(value)

    def _get_variable_index(self, variable: Variable) -> int:
        """Position of ``variable`` among those that the optimizer was built with."""
        return list(map(id, self._parameters.values())).index(id(variable))

    # ---- around the step -------------------------------------------------------------------------

    @property
    def iterations(self) -> Any:
        every = self.gradient_accumulation_steps
        return self._iteration if every is None else self._iteration.value // every

    def scale_loss(self, loss: Any) -> Any:
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    @property
    def moving_averages(self) -> dict[Variable, Variable]:
        if not self.use_ema:
            return {}
        return {
            weight: self._slots[key]
            for key, (name, weight) in self._slot_of.items()
            if name == "average" and weight is not None and key in self._slots
        }

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Replace variables by their moving averages, if any; called at the end of training."""
        averages = self.moving_averages
        for variable in var_list if self.use_ema else ():
            self._address_of(variable)  # raises if it is not a variable of this optimizer
            variable.assign(averages[variable].value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if "learning_rate" in config:
            if isinstance(self._rate, Variable):
                # The shortest decimal with the same float32 value: 0.001, not 0.001000000047.
                config["learning_rate"] = float(str(np.float32(self._rate.value)))
            else:
                schedule = isinstance(self._rate, LearningRateSchedule)
                config["learning_rate"] = serialize(self._rate) if schedule else self._rate
        return config

    def _repr_items(self) -> list[tuple[str, str]]:
        config, fields = self.get_config(), type(self)._fields
        if "learning_rate" in config and not isinstance(self._rate, Variable):
            config["learning_rate"] = self._rate
        hidden = {**{k: f.default for k, f in fields.items()}, "name": self.name}
        return [(k, repr(v)) for k, v in config.items() if k not in hidden or v != hidden[k]]


def _norm(arrays: Iterable[jax.Array]) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(a.astype(jnp.float32))) for a in arrays))


def _shorten(array: jax.Array, norm: jax.Array, most: float) -> jax.Array:
    return (array * (most / jnp.maximum(norm, most))).astype(array.dtype)
