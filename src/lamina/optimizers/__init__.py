"""Optimizers: they update weights from gradients."""

from lamina.optimizers import schedules
from lamina.optimizers.adagrad import Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from lamina.optimizers.descent import SGD, Lion, Muon
from lamina.optimizers.lookup import deserialize, get, serialize
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.multi import MultiOptimizer, OptimizerMap
from lamina.optimizers.optimizer import Optimizer
from lamina.optimizers.schedule_free import ScheduleFreeAdamW
from lamina.optimizers.transformation import Optax

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion",
    "LossScaleOptimizer", "MultiOptimizer", "Muon", "Nadam", "Optax", "Optimizer", "OptimizerMap",
    "RMSprop", "ScheduleFreeAdamW", "deserialize", "get", "schedules", "serialize",
]  # fmt: skip
