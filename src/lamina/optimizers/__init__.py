"""Optimizers: they update weights from gradients."""

from lamina.optimizers import schedules
from lamina.optimizers.adagrad import Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from lamina.optimizers.descent import SGD, Lion, Muon
from lamina.optimizers.lookup import deserialize, get, serialize
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.optimizer import Optimizer
from lamina.optimizers.transformation import Optax

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion",
    "LossScaleOptimizer", "Muon", "Nadam", "Optax", "Optimizer", "RMSprop", "deserialize", "get",
    "schedules", "serialize",
]  # fmt: skip
