"""Learning rate decay: stepwise, exponential, polynomial, along a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.errors import ArgumentError
from lamina.optimizers.schedules.base import LearningRateSchedule
from lamina.serialization.fields import field, number
from lamina.serialization.registry import builtin


def _progress(step: Any, steps: Any, staircase: bool = False) -> jax.Array:
    passed = jnp.asarray(step, jnp.float32) / steps
    return jnp.floor(passed) if staircase else passed


@builtin("optimizers.schedules")
class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: Learning rate at the start.
        decay_steps: Number of updates in which the learning rate decays by ``decay_rate``.
        decay_rate: Factor of the decay.
        staircase: Whether to decay only after every ``decay_steps`` updates.
        name: Name of the schedule.

    >>> float(ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5)(20))
    0.125
    """

    initial_learning_rate: float = field(convert=number("(-inf, inf)"))
    decay_steps: int = field(convert=number("(0, inf)"))
    decay_rate: float = field(convert=number("(-inf, inf)"))
    staircase: bool = False
    name: str = "ExponentialDecay"

    def __call__(self, step: Any) -> jax.Array:
        periods = _progress(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate * jnp.power(self.decay_rate, periods)


@builtin("optimizers.schedules")
class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: Learning rate at the start.
        decay_steps: Number of updates after which ``decay_rate`` is added to the denominator.
        decay_rate: Rate of the decay.
        staircase: Whether to decay only after every ``decay_steps`` updates.
        name: Name of the schedule.

    >>> float(InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)(10))
    0.25
    """

    initial_learning_rate: float = field(convert=number("(-inf, inf)"))
    decay_steps: int = field(convert=number("(0, inf)"))
    decay_rate: float = field(convert=number("(-inf, inf)"))
    staircase: bool = False
    name: str = "InverseTimeDecay"

    def __call__(self, step: Any) -> jax.Array:
        periods = _progress(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (1 + self.decay_rate * periods)


@builtin("optimizers.schedules")
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` while ``boundaries[i - 1] < step <= boundaries[i]``.

    Args:
        boundaries: Increasing numbers of updates.
        values: Learning rates, one more than ``boundaries``.
        name: Name of the schedule.

    >>> schedule = PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.25])
    >>> [float(schedule(step)) for step in (100, 101, 201)]
    [1.0, 0.5, 0.25]
    """

    boundaries: Sequence[int]
    values: Sequence[float]
    name: str = "PiecewiseConstant"

    def __post_init__(self) -> None:
        if len(self.values) != len(self.boundaries) + 1:
            raise ArgumentError(
                "PiecewiseConstantDecay() expects one more value than boundaries. Received: "
                f"{len(self.boundaries)} boundaries and {len(self.values)} values."
            )

    def __call__(self, step: Any) -> jax.Array:
        passed = jnp.sum(jnp.asarray(step) > jnp.asarray(self.boundaries))
        return jnp.asarray(self.values, jnp.float32)[passed]


@builtin("optimizers.schedules")
class PolynomialDecay(LearningRateSchedule):
    """Polynomial decay from an initial to a final learning rate.

    ``end + (initial - end) * (1 - step / decay_steps) ** power``, and ``end`` from ``decay_steps``
    on; with ``cycle``, ``decay_steps`` is increased to its next multiple whenever it is reached.

    Args:
        initial_learning_rate: Learning rate at the start.
        decay_steps: Number of updates of the decay.
        end_learning_rate: Learning rate at the end.
        power: Power of the polynomial; 1 for linear decay.
        cycle: Whether to start again, each time from a lower value, instead of staying at the end.
        name: Name of the schedule.

    >>> float(PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.5)(5))
    0.75
    """

    initial_learning_rate: float = field(convert=number("(-inf, inf)"))
    decay_steps: int = field(convert=number("(0, inf)"))
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False
    name: str = "PolynomialDecay"

    def __call__(self, step: Any) -> jax.Array:
        passed = _progress(step, self.decay_steps)
        if self.cycle:
            passed = passed / jnp.maximum(jnp.ceil(passed), 1)
        left = 1 - jnp.minimum(passed, 1)
        fall = self.initial_learning_rate - self.end_learning_rate
        return self.end_learning_rate + fall * left**self.power


@builtin("optimizers.schedules")
class CosineDecay(LearningRateSchedule):
    """Linear warmup, if ``warmup_target`` is given, and then cosine decay.

    ``top * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)``, where ``top`` is
    ``warmup_target`` (with ``step`` counted from the end of the warmup) or
    ``initial_learning_rate``.
    Loshchilov and Hutter 2017, arXiv:1608.03983.

    Args:
        initial_learning_rate: Learning rate at the start.
        decay_steps: Number of updates of the decay.
        alpha: Final learning rate as a fraction of ``top``.
        name: Name of the schedule.
        warmup_target: Learning rate at the end of the warmup, or None for no warmup.
        warmup_steps: Number of updates of the warmup.

    >>> schedule = CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=4)
    >>> [float(schedule(step)) for step in (0, 2, 4, 14)]
    [0.0, 0.5, 1.0, 0.0]
    """

    initial_learning_rate: float = field(convert=number("(-inf, inf)"))
    decay_steps: int = field(convert=number("(0, inf)"))
    alpha: float = 0.0
    name: str = "CosineDecay"
    warmup_target: float | None = None
    warmup_steps: int = 0

    def __call__(self, step: Any) -> jax.Array:
        if self.warmup_target is None:
            passed = _progress(step, self.decay_steps)
            return _cosine(self.initial_learning_rate, passed, self.alpha)
        rise = self.warmup_target - self.initial_learning_rate
        rising = self.initial_learning_rate + rise * _progress(step, max(1, self.warmup_steps))
        after = _progress(jnp.asarray(step) - self.warmup_steps, self.decay_steps)
        falling = _cosine(self.warmup_target, after, self.alpha)
        return jnp.where(jnp.asarray(step) < self.warmup_steps, rising, falling)


def _cosine(top: Any, passed: jax.Array, alpha: float) -> jax.Array:
    wave = 0.5 * (1 + jnp.cos(math.pi * jnp.minimum(passed, 1)))
    return top * ((1 - alpha) * wave + alpha)


@builtin("optimizers.schedules")
class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay with warm restarts: each period is ``t_mul`` times as long as the last.

    Loshchilov and Hutter 2017, arXiv:1608.03983.

    Args:
        initial_learning_rate: Learning rate at the start.
        first_decay_steps: Number of updates of the first period.
        t_mul: Factor of the length of each period, relative to the one before.
        m_mul: Factor of the initial learning rate of each period, relative to the one before.
        alpha: Final learning rate as a fraction of ``initial_learning_rate``.
        name: Name of the schedule.

    >>> schedule = CosineDecayRestarts(1.0, first_decay_steps=10, m_mul=0.5)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 20)]
    [1.0, 0.5, 0.5, 0.25]
    """

    initial_learning_rate: float = field(convert=number("(-inf, inf)"))
    first_decay_steps: int = field(convert=number("(0, inf)"))
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0
    name: str = "SGDRDecay"

    def __call__(self, step: Any) -> jax.Array:
        passed = _progress(step, self.first_decay_steps)
        if self.t_mul == 1:
            restarts = jnp.floor(passed)
            passed = passed - restarts
        else:  # the first n periods are (t_mul ** n - 1) / (t_mul - 1) times as long as the first
            growth = self.t_mul - 1
            restarts = jnp.floor(jnp.log1p(growth * passed) / math.log(self.t_mul))
            start = (self.t_mul**restarts - 1) / growth
            passed = (passed - start) / self.t_mul**restarts
        wave = 0.5 * self.m_mul**restarts * (1 + jnp.cos(math.pi * passed))
        return self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha)
