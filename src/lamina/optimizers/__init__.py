"""Optimizers: how weights follow their gradients."""

from lamina.optimizers import schedules
from lamina.optimizers.adagrad import Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from lamina.optimizers.descent import SGD, Lion, Muon
from lamina.optimizers.optimizer import Optimizer
