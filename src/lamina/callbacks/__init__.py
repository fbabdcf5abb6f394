"""Callbacks: code that runs during training, evaluation and prediction."""

from lamina.callbacks.base import Callback as Callback
from lamina.callbacks.base import CallbackList as CallbackList
from lamina.callbacks.base import History as History
from lamina.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
from lamina.callbacks.learning_rate import LearningRateScheduler as LearningRateScheduler
from lamina.callbacks.learning_rate import ReduceLROnPlateau as ReduceLROnPlateau
from lamina.callbacks.reporting import CSVLogger as CSVLogger
from lamina.callbacks.reporting import LambdaCallback as LambdaCallback
from lamina.callbacks.stopping import EarlyStopping as EarlyStopping
from lamina.callbacks.stopping import TerminateOnNaN as TerminateOnNaN
