"""Optimizers that scale each element by moments of its gradient: Adam and its variants."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina.optimizers.base import Arrays
from lamina.optimizers.optimizer import Optimizer
from lamina.serialization.registry import builtin


def _blend(old: jax.Array, new: jax.Array, keep: float) -> jax.Array:
    """The moving average ``keep * old + (1 - keep) * new``."""
    return old + (new - old) * (1 - keep)


@builtin("optimizers")
class Adam(Optimizer):
    """Gradient descent scaled by moving averages of the gradient and of its square.

    ``m`` and ``v`` are these averages; with ``t`` the number of the update,
    ``weight -= alpha * m / (sqrt(v) + epsilon)`` where
    ``alpha = learning_rate * sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t)``.
    With ``amsgrad``, ``v`` is the maximum so far. Kingma and Ba 2015, arXiv:1412.6980 (``epsilon``
    is the paper's "epsilon hat"); Reddi et al. 2018, arXiv:1904.09237.

    Args:
        amsgrad: Whether to use the maximum of ``v`` so far.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Adam(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    slots = ("momentum", "velocity")

    def slot_groups(self) -> tuple[tuple[str, ...], ...]:
        return (self.slots, ("velocity_hat",)) if self.amsgrad else (self.slots,)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        m = _blend(slots["momentum"], gradient, self.beta_1)
        v = _blend(slots["velocity"], jnp.square(gradient), self.beta_2)
        new = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = new["velocity_hat"] = jnp.maximum(slots["velocity_hat"], v)
        alpha = learning_rate * jnp.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        return parameter - alpha * m / (jnp.sqrt(v) + self.epsilon), new


@builtin("optimizers")
class AdamW(Adam, positional="learning_rate weight_decay beta_1 beta_2 epsilon amsgrad"):
    """:class:`Adam` with decoupled weight decay.

    Before the step, ``weight -= learning_rate * weight_decay * weight``. Exclude biases and
    normalization weights with :meth:`exclude_from_weight_decay`. Loshchilov and Hutter 2019,
    arXiv:1711.05101.

    Args:
        weight_decay: Fraction of the weights to subtract at each update, times the learning rate.
        amsgrad: Whether to use the maximum of ``v`` so far.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> AdamW(0.25, weight_decay=0.1).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.725', '0.725']
    """

    weight_decay: float | None = 0.004

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight_decay is None:
            raise self._refuse("a number for `weight_decay`", None)


@builtin("optimizers")
class Adamax(Optimizer):
    """:class:`Adam` with the infinity norm of past gradients in place of the mean square.

    ``u = max(beta_2 * u, |gradient|)``,
    ``weight -= learning_rate / (1 - beta_1 ** t) * m / (u + epsilon)``.
    Kingma and Ba 2015, arXiv:1412.6980, section 7.

    Args:
        beta_2: Decay rate of ``u``.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Adamax(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    slots = ("momentum", "norm")

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        m = _blend(slots["momentum"], gradient, self.beta_1)
        u = jnp.maximum(self.beta_2 * slots["norm"], jnp.abs(gradient))
        change = learning_rate / (1 - self.beta_1**step) * m / (u + self.epsilon)
        return parameter - change, {"momentum": m, "norm": u}


def _seen(keep: float, step: jax.Array) -> jax.Array:
    """``1 - keep ** step``, accurate also if ``keep ** step`` is close to 1."""
    return -jnp.expm1(step * math.log(keep)) if keep else jnp.ones_like(step)


@builtin("optimizers")
class Nadam(Optimizer):
    """:class:`Adam` with Nesterov momentum.

    With ``mu(t) = beta_1 * (1 - 0.96 ** t / 2)`` and ``p(t) = mu(1) * ... * mu(t)``, the ``m`` of
    Adam is ``mu(t+1) * m / (1 - p(t+1)) + (1 - mu(t)) * gradient / (1 - p(t))``.
    Dozat 2016, "Incorporating Nesterov momentum into Adam".

    Args:
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Nadam(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.734', '0.734']
    """

    learning_rate: Any = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    slots = ("momentum", "velocity")

    def make_state(self) -> None:
        super().make_state()
        self.add_variable((), "ones", "float32", name="u_product")

    def _mu(self, step: jax.Array) -> jax.Array:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def product_after(self, steps: int) -> float:
        """``p`` after a number of steps, which files of old versions do not contain.

        >>> Nadam(beta_1=0.5).product_after(2)  # 0.26 * 0.2696
        0.070096
        """
        exactly = min(steps, 1000)  # after that, mu is beta_1
        product = math.prod(self.beta_1 * (1 - 0.5 * 0.96**t) for t in range(1, exactly + 1))
        return product * self.beta_1 ** max(steps - 1000, 0)

    def shared(self, state: Arrays, step: jax.Array) -> Arrays:
        return {"u_product": state["u_product"] * self._mu(step)}

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        m = _blend(slots["momentum"], gradient, self.beta_1)
        v = _blend(slots["velocity"], jnp.square(gradient), self.beta_2)
        now, ahead, product = self._mu(step), self._mu(step + 1), slots["u_product"]
        forward = ahead * m / (1 - product * ahead) + (1 - now) * gradient / (1 - product)
        seen = _seen(self.beta_2, step)
        root = jnp.sqrt(v / seen) + self.epsilon
        return parameter - learning_rate * forward / root, {"momentum": m, "velocity": v}


@builtin("optimizers")
class Lamb(Optimizer):
    """:class:`Adam` with steps proportional to the norm of each weight, for large batches.

    With ``r`` the direction of Adam, ``weight -= learning_rate * norm(weight) / norm(r) * r``.
    You et al. 2020, arXiv:1904.00962.

    Args:
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Lamb(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    slots = ("momentum", "velocity")

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        m = _blend(slots["momentum"], gradient, self.beta_1)
        v = _blend(slots["velocity"], jnp.square(gradient), self.beta_2)
        root = jnp.sqrt(v / (1 - self.beta_2**step)) + self.epsilon
        direction = m / (1 - self.beta_1**step) / root
        weight_norm, norm = jnp.linalg.norm(parameter), jnp.linalg.norm(direction)
        ratio = jnp.where((weight_norm > 0) & (norm > 0), weight_norm / norm, 1.0)
        return parameter - learning_rate * ratio * direction, {"momentum": m, "velocity": v}
