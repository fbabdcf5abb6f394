"""Lamina: deep learning in which a model is a graph of layers, checked while it is built.

``import lamina as keras`` runs what a user of Keras 3 knows. Everything is loaded on first use, so
the import costs little more than JAX's own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lamina import activations as activations
    from lamina import applications as applications
    from lamina import callbacks as callbacks
    from lamina import config as config
    from lamina import constraints as constraints
    from lamina import datasets as datasets
    from lamina import dtype_policies as dtype_policies
    from lamina import errors as errors
    from lamina import initializers as initializers
    from lamina import layers as layers
    from lamina import losses as losses
    from lamina import metrics as metrics
    from lamina import models as models
    from lamina import ops as ops
    from lamina import optimizers as optimizers
    from lamina import regularizers as regularizers
    from lamina import saving as saving
    from lamina import tree as tree
    from lamina import utils as utils
    from lamina import visualization as visualization
    from lamina.alias import alias_keras as alias_keras
    from lamina.core.variable import Variable as Variable
    from lamina.dtype_policies import DTypePolicy as DTypePolicy
    from lamina.initializers import Initializer as Initializer
    from lamina.layers import Input as Input
    from lamina.layers import InputSpec as InputSpec
    from lamina.layers import Layer as Layer
    from lamina.losses import Loss as Loss
    from lamina.metrics import Metric as Metric
    from lamina.models import Functional as Functional
    from lamina.models import Model as Model
    from lamina.models import Sequential as Sequential
    from lamina.optimizers import Optimizer as Optimizer
    from lamina.regularizers import Regularizer as Regularizer

_MODULES = {
    name: f"lamina.{name}"
    for name in (
        "activations", "applications", "callbacks", "config", "constraints", "datasets",
        "dtype_policies", "errors", "initializers", "layers", "losses", "metrics", "models", "ops",
        "optimizers", "regularizers", "saving", "tree", "utils", "visualization",
    )
}  # fmt: skip
_OBJECTS = {
    "DTypePolicy": "lamina.dtype_policies",
    "Functional": "lamina.models",
    "Initializer": "lamina.initializers",
    "Input": "lamina.layers",
    "InputSpec": "lamina.layers",
    "Layer": "lamina.layers",
    "Loss": "lamina.losses",
    "Metric": "lamina.metrics",
    "Model": "lamina.models",
    "Optimizer": "lamina.optimizers",
    "Regularizer": "lamina.regularizers",
    "Sequential": "lamina.models",
    "Variable": "lamina.core.variable",
    "alias_keras": "lamina.alias",
}

__all__ = [*_MODULES, *_OBJECTS, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _OBJECTS:
        value = getattr(importlib.import_module(_OBJECTS[name]), name)
    else:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
