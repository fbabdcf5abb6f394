"""Dynamic loss scaling: float16 gradients that neither vanish nor overflow."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.variable import Variable
from lamina.initializers import Constant
from lamina.optimizers.base import Arrays, BaseOptimizer
from lamina.optimizers.lookup import get
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin


@builtin("optimizers")
class LossScaleOptimizer(BaseOptimizer):
    """Multiplies the loss by a scale that adapts to the magnitude of the gradients.

    :meth:`scale_loss` multiplies the loss, and the update divides the gradients again. If a
    gradient is not finite, the update is skipped and the scale is halved; after
    ``dynamic_growth_steps`` consecutive updates the scale is doubled. Micikevicius et al. 2018,
    arXiv:1710.03740.

    Args:
        inner_optimizer: The optimizer that receives the unscaled gradients.
        initial_scale: The initial scale.
        dynamic_growth_steps: Number of consecutive finite updates after which the scale is doubled.
        name: Name of the optimizer.

    >>> from lamina.optimizers.descent import SGD
    >>> w = Variable(np.float32([1.0]))
    >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0)
    >>> optimizer.apply([jnp.array([8.0])], [w])  # 8 times the true gradient
    >>> float(w.value[0])
    0.5
    >>> optimizer.apply([jnp.array([jnp.inf])], [w])  # left out
    >>> float(w.value[0]), float(optimizer.scale_loss(1.0))
    (0.5, 4.0)
    """

    inner_optimizer: Any = field(convert=get)
    initial_scale: float = 2.0**15
    dynamic_growth_steps: int = field(default=2000, convert=positive_int)
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        # Keras's files have an entry for it; the learning rate is the inner optimizer's.
        self._rate = Variable(np.float32(0), trainable=False, name="learning_rate", owner=self)

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        """The number of updates of the inner optimizer."""
        return self.inner_optimizer.iterations

    @property
    def dynamic_scale(self) -> Variable:
        """The scale; there is none before the optimizer is built."""
        return self._slots["dynamic_scale"]

    @property
    def step_counter(self) -> Variable:
        """The number of finite updates since the scale changed; as for :attr:`dynamic_scale`."""
        return self._slots["step_counter"]

    def make_state(self) -> None:
        self.inner_optimizer.build(self._current)
        self.add_variable((), "zeros", "int32", name="step_counter")
        self.add_variable((), Constant(self.initial_scale), "float32", name="dynamic_scale")
        inner = self.inner_optimizer
        for key, v in inner.state_variables.items():
            self._slots[f"inner/{key}"] = v

    def state_of(self, variables: Mapping[str, Variable]) -> dict[str, Variable]:
        inner = {f"inner/{key}" for key in self.inner_optimizer.state_of(variables)}
        return {
            key: v for key, v in super().state_of(variables).items()
            if key in inner or not key.startswith("inner/")
        }  # fmt: skip

    def update(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        given, fixed = self._read_gradients(gradients, parameters)
        scale, counter = state["dynamic_scale"], state["step_counter"]
        inner = {k.removeprefix("inner/"): v for k, v in state.items() if k.startswith("inner/")}
        finite = self.check_finite([*given.values(), *fixed.values()])
        given = {a: (g / scale).astype(g.dtype) for a, g in given.items()} | fixed
        values, inner = jax.lax.cond(
            finite,
            lambda parameters, inner: self.inner_optimizer.take_step(given, parameters, inner),
            lambda parameters, inner: (parameters, inner),
            parameters,
            inner,
        )
        grow = counter + 1 >= self.dynamic_growth_steps
        grown = jnp.where(grow, scale * 2, scale)
        return values, {
            **state,
            **{f"inner/{key}": v for key, v in inner.items()},
            "iteration": state["iteration"] + 1,
            "step_counter": jnp.where(finite & ~grow, counter + 1, 0).astype(counter.dtype),
            "dynamic_scale": jnp.where(finite, grown, scale / 2),
        }

    def check_finite(self, grads: Iterable[Any]) -> jax.Array:
        """Whether all elements of all gradients are finite: a boolean scalar.

        Args:
            grads: Arrays; None is left out.
        """
        finite = [jnp.all(jnp.isfinite(g)) for g in grads if g is not None]
        return functools.reduce(jnp.logical_and, finite, jnp.asarray(True))

    def scale_loss(self, loss: Any) -> Any:
        scale = self._slots["dynamic_scale"].value if self.built else self.initial_scale
        return self.inner_optimizer.scale_loss(loss) * scale

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    @property
    def moving_averages(self) -> dict[Variable, Variable]:
        return self.inner_optimizer.moving_averages

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)
