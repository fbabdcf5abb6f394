"""Schedules: learning rates that depend on the number of updates."""

from lamina.optimizers.schedules.base import LearningRateSchedule
from lamina.optimizers.schedules.decay import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from lamina.serialization import registry
from lamina.serialization.namespaces import renamed
from lamina.serialization.registry import deserialize

serialize = renamed(registry.serialize, obj="learning_rate_schedule")

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay",
    "LearningRateSchedule", "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize",
]  # fmt: skip
