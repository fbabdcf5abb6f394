"""Callbacks: what is to happen while a model trains, besides training."""

from lamina.training.callbacks.base import Callback as Callback
from lamina.training.callbacks.base import CallbackList as CallbackList
from lamina.training.callbacks.base import History as History
from lamina.training.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
from lamina.training.callbacks.learning_rate import LearningRateScheduler as LearningRateScheduler
from lamina.training.callbacks.learning_rate import ReduceLROnPlateau as ReduceLROnPlateau
from lamina.training.callbacks.reporting import CSVLogger as CSVLogger
from lamina.training.callbacks.reporting import LambdaCallback as LambdaCallback
from lamina.training.callbacks.stopping import EarlyStopping as EarlyStopping
from lamina.training.callbacks.stopping import TerminateOnNaN as TerminateOnNaN
