"""Optimizers that follow the gradient or its sign: SGD, Lion, Muon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.variable import Variable
from lamina.errors import ShapeError
from lamina.optimizers.base import Arrays
from lamina.optimizers.optimizer import Optimizer
from lamina.serialization.registry import builtin


@builtin("optimizers")
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    ``velocity = momentum * velocity - learning_rate * gradient``, then ``weight += velocity``, or
    with ``nesterov`` ``weight += momentum * velocity - learning_rate * gradient``.
    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".

    Args:
        momentum: Fraction of the velocity that each update keeps, from 0 to 1.
        nesterov: Whether to use Nesterov momentum.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> SGD(0.5).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.500', '0.500']
    """

    learning_rate: Any = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum <= 1:
            raise self._refuse("`momentum` between 0 and 1", self.momentum)

    def slot_groups(self) -> tuple[tuple[str, ...], ...]:
        return (("momentum",),) if self.momentum else ()

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        if not self.momentum:
            return parameter - learning_rate * gradient, {}
        velocity = self.momentum * slots["momentum"] - learning_rate * gradient
        change = self.momentum * velocity - learning_rate * gradient if self.nesterov else velocity
        return parameter + change, {"momentum": velocity}


@builtin("optimizers")
class Lion(Optimizer):
    """Lion: updates by the sign of a momentum, so that every element changes by the learning rate.

    ``weight -= learning_rate * sign(beta_1 * m + (1 - beta_1) * gradient)``, then
    ``m = beta_2 * m + (1 - beta_2) * gradient``. Use a third to a tenth of Adam's learning rate.
    Chen et al. 2023, arXiv:2302.06675.

    Args:
        beta_1: Weight of the momentum relative to the gradient in the direction.
        beta_2: Decay rate of the momentum.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Lion(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.750', '0.750']
    """

    learning_rate: Any = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.99
    slots = ("momentum",)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        m = slots["momentum"]
        direction = jnp.sign(self.beta_1 * m + (1 - self.beta_1) * gradient)
        m = self.beta_2 * m + (1 - self.beta_2) * gradient
        return parameter - learning_rate * direction, {"momentum": m}


@builtin()
class _MuonArguments(Optimizer, trailing=True, kw_only=True):
    """The last arguments of Muon, after those of all optimizers."""

    exclude_layers: Sequence[str] | None = None
    exclude_embeddings: bool = True
    muon_a: float = 3.4445
    muon_b: float = -4.775
    muon_c: float = 2.0315
    adam_lr_ratio: float = 1
    momentum: float = 0.95
    ns_steps: int = 5
    nesterov: bool = True
    rms_rate: float | None = 0.2


@builtin("optimizers")
class Muon(_MuonArguments):
    """Muon: orthogonalized momentum for matrices, and AdamW for all other weights.

    The momentum of a weight with two axes is replaced by an approximation of the nearest orthogonal
    matrix, computed by ``ns_steps`` Newton-Schulz iterations ``x = a * x + (b * y + c * y @ y) @
    x`` with ``y = x @ x.T``; its elements then have the root mean square ``rms_rate``, like those
    of Adam. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scaling:
    Liu et al. 2025, arXiv:2502.16982.

    Args:
        adam_beta_1: Decay rate of AdamW's first moment.
        adam_beta_2: Decay rate of AdamW's second moment.
        adam_weight_decay: Weight decay of AdamW.
        epsilon: Added to AdamW's denominator, so that the division is finite.
        weight_decay: Weight decay of Muon.
        exclude_layers: Regular expressions; AdamW is used for weights whose address matches.
        exclude_embeddings: Whether to use AdamW for weights with "embedding" in their address.
        muon_a: First coefficient of the iteration.
        muon_b: Second coefficient of the iteration.
        muon_c: Third coefficient of the iteration.
        adam_lr_ratio: Ratio of AdamW's learning rate to Muon's.
        momentum: Decay rate of the momentum.
        ns_steps: Number of iterations.
        nesterov: Whether to use Nesterov momentum.
        rms_rate: Root mean square of the elements of an update; None leaves the orthogonal matrix
            as it is.
        **common: Arguments of all optimizers: see :class:`Optimizer`.

    >>> from lamina.core.variable import Variable
    >>> w = Variable(jnp.ones(2))
    >>> Muon(0.25).apply([jnp.ones(2)], [w])
    >>> [f"{v:.3f}" for v in w.value.tolist()]
    ['0.749', '0.749']
    """

    learning_rate: Any = 0.001
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_weight_decay: float | None = 0.004
    epsilon: float = 1e-7
    weight_decay: float | None = 0.004

    def slot_groups(self) -> tuple[tuple[str, ...], ...]:
        return (("momentum", "velocity"),)

    def decay_of(self, address: str) -> float | None:
        if self._by_adam(self._parameters[address]):
            return self.adam_weight_decay if self._decays(address) else None
        return super().decay_of(address)

    def _by_adam(self, variable: Variable) -> bool:
        address = self._address_of(variable)
        return (
            variable.ndim != 2
            or (self.exclude_embeddings and "embedding" in address.lower())
            or any(re.search(pattern, address) for pattern in self.exclude_layers or ())
        )

    def add_slot(self, slot: str, variable: Variable) -> None:
        if slot == "momentum" or self._by_adam(variable):
            super().add_slot(slot, variable)

    def formula(
        self, gradient: jax.Array, parameter: jax.Array, slots: Arrays,
        learning_rate: jax.Array, step: jax.Array,
    ) -> tuple[jax.Array, Arrays]:  # fmt: skip
        if "velocity" in slots:
            m = self.adam_beta_1 * slots["momentum"] + (1 - self.adam_beta_1) * gradient
            v = slots["velocity"]
            v = self.adam_beta_2 * v + (1 - self.adam_beta_2) * jnp.square(gradient)
            alpha = jnp.sqrt(1 - self.adam_beta_2**step) / (1 - self.adam_beta_1**step)
            rate = learning_rate * self.adam_lr_ratio * alpha
            return parameter - rate * m / (jnp.sqrt(v) + self.epsilon), {
                "momentum": m, "velocity": v,
            }  # fmt: skip
        m = self.momentum * slots["momentum"] + gradient
        ahead = gradient + self.momentum * m if self.nesterov else m
        update = self.lr_adjust(self.zeropower_via_newtonschulz5(ahead, self.ns_steps))
        return parameter - learning_rate * update, {"momentum": m}

    def lr_adjust(self, x: Any) -> Any:
        """Scale an orthogonal matrix as ``rms_rate`` says.

        Args:
            x: A matrix.
        """
        return x if self.rms_rate is None else x * (self.rms_rate * max(x.shape) ** 0.5)

    def transpose_last_axis(self, X: Any) -> Any:
        """Exchange the last two axes.

        Args:
            X: A matrix, or more of them along the axes in front.
        """
        return jnp.swapaxes(X, -2, -1)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """The nearest orthogonal matrix, approximately: Newton-Schulz iterations.

        Args:
            x: A matrix, or more of them along the axes in front.
            steps: Number of iterations.

        Raises:
            ShapeError: Fewer than two axes.
        """
        if x.ndim < 2:
            raise ShapeError(
                "zeropower_via_newtonschulz5() takes matrices.",
                expected="at least 2 axes", received=f"shape {x.shape}",
            )  # fmt: skip
        wide = x.shape[-2] <= x.shape[-1]
        x = x if wide else self.transpose_last_axis(x)
        x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
        for _ in range(steps):
            y = x @ self.transpose_last_axis(x)
            x = self.muon_a * x + (self.muon_b * y + self.muon_c * y @ y) @ x
        return x if wide else self.transpose_last_axis(x)
