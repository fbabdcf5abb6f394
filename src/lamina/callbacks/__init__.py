"""Callbacks: code that runs during training, evaluation and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

if TYPE_CHECKING:
    from lamina.callbacks.averaging import SwapEMAWeights as SwapEMAWeights
    from lamina.callbacks.backup import BackupAndRestore as BackupAndRestore
    from lamina.callbacks.base import Callback as Callback
    from lamina.callbacks.base import History as History
    from lamina.callbacks.callback_list import CallbackList as CallbackList
    from lamina.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
    from lamina.callbacks.learning_rate import LearningRateScheduler as LearningRateScheduler
    from lamina.callbacks.learning_rate import ReduceLROnPlateau as ReduceLROnPlateau
    from lamina.callbacks.orbax import OrbaxCheckpoint as OrbaxCheckpoint
    from lamina.callbacks.progress import ProgbarLogger as ProgbarLogger
    from lamina.callbacks.reporting import CSVLogger as CSVLogger
    from lamina.callbacks.reporting import LambdaCallback as LambdaCallback
    from lamina.callbacks.reporting import RemoteMonitor as RemoteMonitor
    from lamina.callbacks.stopping import EarlyStopping as EarlyStopping
    from lamina.callbacks.stopping import TerminateOnNaN as TerminateOnNaN
    from lamina.callbacks.tensorboard import TensorBoard as TensorBoard

__getattr__, __dir__ = names_of(
    __name__,
    {
        "lamina.callbacks.averaging": "SwapEMAWeights",
        "lamina.callbacks.backup": "BackupAndRestore",
        "lamina.callbacks.base": "Callback History",
        "lamina.callbacks.callback_list": "CallbackList",
        "lamina.callbacks.checkpoint": "ModelCheckpoint",
        "lamina.callbacks.learning_rate": "LearningRateScheduler ReduceLROnPlateau",
        "lamina.callbacks.orbax": "OrbaxCheckpoint",
        "lamina.callbacks.progress": "ProgbarLogger",
        "lamina.callbacks.reporting": "CSVLogger LambdaCallback RemoteMonitor",
        "lamina.callbacks.stopping": "EarlyStopping TerminateOnNaN",
        "lamina.callbacks.tensorboard": "TensorBoard",
    },
)
