"""Lamina: deep learning in which a model is a graph of layers, checked while it is built.

``import lamina as keras`` runs what a user of Keras 3 knows. Everything is loaded on first use, so
the import costs little more than JAX's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

__version__ = "0.1.0"


def version() -> str:
    """The version of Lamina.

    >>> version() == __version__
    True
    """
    return __version__


if TYPE_CHECKING:
    from lamina import activations as activations
    from lamina import applications as applications
    from lamina import backend as backend
    from lamina import callbacks as callbacks
    from lamina import config as config
    from lamina import constraints as constraints
    from lamina import datasets as datasets
    from lamina import distillation as distillation
    from lamina import distribution as distribution
    from lamina import dtype_policies as dtype_policies
    from lamina import errors as errors
    from lamina import initializers as initializers
    from lamina import layers as layers
    from lamina import losses as losses
    from lamina import metrics as metrics
    from lamina import mixed_precision as mixed_precision
    from lamina import models as models
    from lamina import ops as ops
    from lamina import optimizers as optimizers
    from lamina import preprocessing as preprocessing
    from lamina import quantizers as quantizers
    from lamina import random as random
    from lamina import regularizers as regularizers
    from lamina import saving as saving
    from lamina import tree as tree
    from lamina import utils as utils
    from lamina import visualization as visualization
    from lamina import wrappers as wrappers
    from lamina.alias import alias_keras as alias_keras
    from lamina.core.naming import name_scope as name_scope
    from lamina.core.operation import Operation as Operation
    from lamina.core.rematerialization import RematScope as RematScope
    from lamina.core.rematerialization import remat as remat
    from lamina.core.stateless import StatelessScope as StatelessScope
    from lamina.core.stateless import SymbolicScope as SymbolicScope
    from lamina.core.symbolic import SymbolicTensor as KerasTensor  # noqa: F401
    from lamina.core.variable import Variable as Variable
    from lamina.dtype_policies import DTypePolicy as DTypePolicy
    from lamina.dtype_policies import FloatDTypePolicy as FloatDTypePolicy
    from lamina.initializers import Initializer as Initializer
    from lamina.layers import Input as Input
    from lamina.layers import InputSpec as InputSpec
    from lamina.layers import Layer as Layer
    from lamina.losses import Loss as Loss
    from lamina.metrics import Metric as Metric
    from lamina.models import Functional as Functional
    from lamina.models import Model as Model
    from lamina.models import Sequential as Sequential
    from lamina.models.function import Function as Function
    from lamina.optimizers import Optimizer as Optimizer
    from lamina.quantizers import Quantizer as Quantizer
    from lamina.regularizers import Regularizer as Regularizer
    from lamina.runtime.devices import device as device
    from lamina.saving import inspect as inspect

__getattr__, __dir__ = names_of(
    __name__,
    {
        "lamina.alias": "alias_keras",
        "lamina.core.naming": "name_scope",
        "lamina.core.operation": "Operation",
        "lamina.core.rematerialization": "RematScope remat",
        "lamina.core.stateless": "StatelessScope SymbolicScope",
        "lamina.core.symbolic": "KerasTensor=SymbolicTensor",
        "lamina.core.variable": "Variable",
        "lamina.dtype_policies": "DTypePolicy FloatDTypePolicy",
        "lamina.initializers": "Initializer",
        "lamina.layers": "Input InputSpec Layer",
        "lamina.losses": "Loss",
        "lamina.metrics": "Metric",
        "lamina.models": "Functional Model Sequential",
        "lamina.models.function": "Function",
        "lamina.optimizers": "Optimizer",
        "lamina.quantizers": "Quantizer",
        "lamina.regularizers": "Regularizer",
        "lamina.runtime.devices": "device",
        "lamina.saving": "inspect",
    },
    submodules=(
        "activations applications backend callbacks config constraints datasets distillation "
        "distribution dtype_policies errors initializers layers losses metrics "
        "mixed_precision models ops optimizers preprocessing quantizers random regularizers "
        "saving tree utils visualization wrappers"
    ),
    defined="__version__ version",
)
