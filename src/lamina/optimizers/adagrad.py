"""Optimizers that scale each element by its squared gradients: Adagrad and its variants."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.variable import Variable
from lamina.initializers import Constant
from lamina.optimizers.base import Arrays
from lamina.optimizers.optimizer import Optimizer
from lamina.serialization.registry import builtin


@builtin("optimizers")
class Adagrad(Optimizer):
    """Gradient descent scaled by the sum of all squared gradients of each element.

    ``total += gradient ** 2``, ``weight -= learning_rate * gradient / sqrt(total + epsilon)``.
    Duchi et al. 2011, "Adaptive subgradient methods for online learning".

    Args:
        initial_accumulator_value: Initial value of ``total``, >= 0.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Adagrad(0.25, initial_accumulator_value=0.0).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    slots = ("accumulator",)

    def add_slot(self, slot: str, variable: Variable) -> None:
        self.add_variable_from_reference(variable, slot, Constant(self.initial_accumulator_value))

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        total = slots["accumulator"] + jnp.square(gradient)
        change = learning_rate * gradient / jnp.sqrt(total + self.epsilon)
        return parameter - change, {"accumulator": total}


@builtin("optimizers")
class Adadelta(Optimizer):
    """Gradient descent scaled by the ratio of the root mean squares of steps and of gradients.

    ``g2`` and ``d2`` are moving averages of squared gradients and steps;
    ``step = -sqrt(d2 + epsilon) / sqrt(g2 + epsilon) * gradient``,
    ``weight += learning_rate * step``; the paper's learning rate is 1.
    Zeiler 2012, arXiv:1212.5701.

    Args:
        rho: Decay rate of the moving averages.
        epsilon: Added to both averages, so that the first steps are not zero.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Adadelta(250.0).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.646', '0.646']
    """

    learning_rate: Any = 0.001
    rho: float = 0.95
    epsilon: float = 1e-7
    slots = ("accumulated_grad", "accumulated_delta_var")

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        g2 = self.rho * slots["accumulated_grad"] + (1 - self.rho) * jnp.square(gradient)
        d2 = slots["accumulated_delta_var"]
        change = -jnp.sqrt(d2 + self.epsilon) / jnp.sqrt(g2 + self.epsilon) * gradient
        d2 = self.rho * d2 + (1 - self.rho) * jnp.square(change)
        new = {"accumulated_grad": g2, "accumulated_delta_var": d2}
        return parameter + learning_rate * change, new


@builtin("optimizers")
class RMSprop(Optimizer):
    """Gradient descent scaled by the root of a moving average of squared gradients.

    ``v = rho * v + (1 - rho) * gradient ** 2``,
    ``weight -= learning_rate * gradient / sqrt(v + epsilon)``; ``centered`` subtracts the square of
    the moving average of the gradient from ``v``; ``momentum`` accumulates steps. Hinton
    2012, Coursera lecture 6e; centered: Graves 2013, arXiv:1308.0850.

    Args:
        rho: Decay rate of the moving averages.
        momentum: Fraction of the previous step to add to each step.
        centered: Whether to scale by the variance of the gradient instead of its mean square.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> RMSprop(0.25, rho=0.75).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.500', '0.500']
    """

    learning_rate: Any = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def slot_groups(self) -> tuple[tuple[str, ...], ...]:
        wanted = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return tuple((slot,) for slot, used in wanted.items() if used)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        v = self.rho * slots["velocity"] + (1 - self.rho) * jnp.square(gradient)
        new, spread = {"velocity": v}, v
        if self.centered:
            mean = self.rho * slots["average_gradient"] + (1 - self.rho) * gradient
            new["average_gradient"], spread = mean, v - jnp.square(mean)
        change = learning_rate * gradient / jnp.sqrt(spread + self.epsilon)
        if self.momentum:
            change = new["momentum"] = self.momentum * slots["momentum"] + change
        return parameter - change, new


@builtin("optimizers")
class Ftrl(Optimizer):
    """Follow the regularized leader: sparse weights for many rare features.

    ``z += gradient - (n_new ** -p - n ** -p) / learning_rate * weight`` with ``n`` the sum of
    squared gradients and ``p = learning_rate_power``; then ``weight = 0`` where ``|z| <= l1``, else
    ``(sign(z) * l1 - z) / (n_new ** -p / learning_rate + 2 * l2 + beta / learning_rate)``.
    McMahan et al. 2013, "Ad click prediction: a view from the trenches".

    Args:
        learning_rate_power: ``p``, <= 0; 0 for a constant learning rate.
        initial_accumulator_value: Initial value of ``n``, >= 0.
        l1_regularization_strength: ``l1``, >= 0.
        l2_regularization_strength: ``l2``, >= 0.
        l2_shrinkage_regularization_strength: Adds ``2 * this * weight`` to the gradient in ``z``.
        beta: Beta in the paper.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Ftrl(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.460', '0.460']
    """

    learning_rate: Any = 0.001
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0
    slots = ("accumulator", "linear")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate_power > 0:
            raise self._refuse("`learning_rate_power` <= 0", self.learning_rate_power)
        for name in (
            "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength",
        ):  # fmt: skip
            if vars(self)[name] < 0:
                raise self._refuse(f"`{name}` >= 0", vars(self)[name])

    def add_slot(self, slot: str, variable: Variable) -> None:
        first = self.initial_accumulator_value if slot == "accumulator" else 0.0
        self.add_variable_from_reference(variable, slot, Constant(first))

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        n, power = slots["accumulator"], -self.learning_rate_power
        n_new = n + jnp.square(gradient)
        l1, shrink = self.l1_regularization_strength, self.l2_shrinkage_regularization_strength
        slope = gradient + 2 * shrink * parameter
        z = slots["linear"] + slope - (n_new**power - n**power) / learning_rate * parameter
        l2 = self.l2_regularization_strength + self.beta / (2 * learning_rate)
        value = (jnp.clip(z, -l1, l1) - z) / (n_new**power / learning_rate + 2 * l2)
        return value, {"accumulator": n_new, "linear": z}


@builtin("optimizers")
class Adafactor(Optimizer):
    """Adam without a first moment and with a factored second moment, which needs little memory.

    For a weight with at least two axes, ``v = outer(rows, columns) / mean(rows)`` with moving
    averages of ``gradient ** 2 + epsilon_1``; the direction ``gradient / sqrt(v)`` is scaled
    down to a root mean square (``rms``) of ``clip_threshold``; the step is
    ``max(epsilon_2, rms(weight))`` times ``min(learning_rate, 1 / sqrt(t))``.
    Shazeer and Stern 2018, arXiv:1804.04235.

    Args:
        beta_2_decay: The decay rate of the moving averages is ``1 - t ** beta_2_decay``.
        epsilon_1: Added to squared gradients.
        epsilon_2: Lower bound of the root mean square of a weight.
        clip_threshold: Upper bound of the root mean square of a direction.
        relative_step: Whether to bound the learning rate by ``1 / sqrt(t)``.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Adafactor(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0
    relative_step: bool = True
    slots = ("r", "c", "velocity")

    def add_slot(self, slot: str, variable: Variable) -> None:
        shape, dtype = variable.shape, variable.dtype
        if slot != "velocity":
            cut = {"r": shape[:-1], "c": (*shape[:-2], *shape[-1:])}
            # In Keras's files every weight has both, even without rows and columns.
            shape, dtype = (cut[slot], dtype) if len(shape) > 1 else ((), "int32")
        self.add_variable(shape, "zeros", dtype, name=slot, reference=variable)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        keep = 1 - step**self.beta_2_decay
        square = jnp.square(gradient) + self.epsilon_1
        new = dict(slots)
        if gradient.ndim > 1:
            r = keep * slots["r"] + (1 - keep) * jnp.mean(square, -1)
            c = keep * slots["c"] + (1 - keep) * jnp.mean(square, -2)
            v = (r / jnp.mean(r, -1, keepdims=True))[..., None] * c[..., None, :]
            new = {"r": r, "c": c, "velocity": v}
        else:
            v = new["velocity"] = keep * slots["velocity"] + (1 - keep) * square
        direction = gradient / jnp.sqrt(v)
        direction = direction / jnp.maximum(1.0, _rms(direction) / self.clip_threshold)
        bound = 1 / jnp.sqrt(step) if self.relative_step else jnp.inf
        size = jnp.maximum(self.epsilon_2, _rms(parameter)) * jnp.minimum(learning_rate, bound)
        return parameter - size * direction, new


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))
