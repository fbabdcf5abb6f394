"""AdamW that needs no learning rate schedule."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.variable import Variable, copied
from lamina.optimizers.base import Arrays
from lamina.optimizers.optimizer import Optimizer
from lamina.serialization.registry import builtin


@builtin("optimizers")
class ScheduleFreeAdamW(Optimizer):
    """AdamW with averaging of the weights in place of a learning rate schedule.

    The steps are made at a point ``z``, which starts at the weight; with ``t`` the number of the
    update and ``v`` the moving average of squared gradients,
    ``z -= learning_rate * gradient / (sqrt(v / (1 - beta_2 ** t)) + epsilon)``. The mean ``x`` of
    all ``z`` so far is what is sought; the weight, where the gradients are taken, is
    ``(1 - beta_1) * z + beta_1 * x``. Defazio et al. 2024, arXiv:2405.15682, with equal weights of
    all ``z``; the weight decay of all optimizers is applied, to the weight.

    Args:
        beta_1: Fraction of ``x`` in the weight.
        warmup_steps: Number of updates in which the learning rate rises linearly from 0.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> w = Variable(jnp.ones(2))
    >>> ScheduleFreeAdamW(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.0025
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    warmup_steps: int = 0
    slots = ("momentum", "velocity")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta_1 <= 1:
            raise self._refuse("`beta_1` above 0, up to 1", self.beta_1)

    def add_slot(self, slot: str, variable: Variable) -> None:
        if slot == "momentum":  # the name of `z` in Keras's files
            self.add_variable_from_reference(
                variable, slot, lambda shape, dtype: copied(variable.value)
            )
        else:
            super().add_slot(slot, variable)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        if self.warmup_steps:
            learning_rate = learning_rate * jnp.minimum(step / self.warmup_steps, 1)
        v = slots["velocity"]
        beta_2 = jnp.asarray(self.beta_2, v.dtype)  # rounded once, so that both below agree
        v = v + (jnp.square(gradient) - v) * (1 - beta_2)
        scale = jnp.sqrt(v / (1 - beta_2**step)) + self.epsilon
        before = slots["momentum"]
        z = before - learning_rate * gradient / scale
        x = (parameter - (1 - self.beta_1) * before) / self.beta_1
        x = (1 - 1 / step) * x + z / step
        return (1 - self.beta_1) * z + self.beta_1 * x, {"momentum": z, "velocity": v}
