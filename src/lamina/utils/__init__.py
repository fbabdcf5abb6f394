"""Utilities: downloads, conversions, random seeds, plots, registration of custom objects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.core.naming import reset as clear_session
    from lamina.core.prng import set_random_seed
    from lamina.serialization.registry import (
        CustomObjectScope,
        get_custom_objects,
        get_registered_name,
        get_registered_object,
    )
    from lamina.serialization.registry import CustomObjectScope as custom_object_scope
    from lamina.serialization.registry import deserialize as deserialize_keras_object
    from lamina.serialization.registry import register_serializable as register_keras_serializable
    from lamina.serialization.registry import serialize as serialize_keras_object
    from lamina.training.data import pack_x_y_sample_weight, unpack_x_y_sample_weight
    from lamina.training.pydataset import PyDataset
    from lamina.training.pydataset import PyDataset as Sequence
    from lamina.utils import bounding_boxes, legacy
    from lamina.utils.configuration import Config
    from lamina.utils.files import get_file
    from lamina.utils.numerical import normalize, to_categorical
    from lamina.utils.progbar import Progbar
    from lamina.utils.sequences import pad_sequences
    from lamina.utils.splitting import split_dataset
    from lamina.visualization.plot import model_to_dot, plot_model

__all__ = [
    "Config", "CustomObjectScope", "Progbar", "PyDataset", "Sequence", "bounding_boxes",
    "clear_session", "custom_object_scope", "deserialize_keras_object", "get_custom_objects",
    "get_file", "get_registered_name", "get_registered_object", "legacy", "model_to_dot",
    "normalize", "pack_x_y_sample_weight", "pad_sequences", "plot_model",
    "register_keras_serializable", "serialize_keras_object", "set_random_seed", "split_dataset",
    "to_categorical", "unpack_x_y_sample_weight",
]  # fmt: skip

# From each name to its module, and to its name there if that differs.
_MODULES = {
    "Config": "lamina.utils.configuration",
    "CustomObjectScope": "lamina.serialization.registry",
    "Progbar": "lamina.utils.progbar",
    "PyDataset": "lamina.training.pydataset",
    "Sequence": "lamina.training.pydataset:PyDataset",
    "clear_session": "lamina.core.naming:reset",
    "custom_object_scope": "lamina.serialization.registry:CustomObjectScope",
    "deserialize_keras_object": "lamina.serialization.registry:deserialize",
    "get_custom_objects": "lamina.serialization.registry",
    "get_file": "lamina.utils.files",
    "get_registered_name": "lamina.serialization.registry",
    "get_registered_object": "lamina.serialization.registry",
    "model_to_dot": "lamina.visualization.plot",
    "normalize": "lamina.utils.numerical",
    "pack_x_y_sample_weight": "lamina.training.data",
    "pad_sequences": "lamina.utils.sequences",
    "plot_model": "lamina.visualization.plot",
    "register_keras_serializable": "lamina.serialization.registry:register_serializable",
    "serialize_keras_object": "lamina.serialization.registry:serialize",
    "set_random_seed": "lamina.core.prng",
    "split_dataset": "lamina.utils.splitting",
    "to_categorical": "lamina.utils.numerical",
    "unpack_x_y_sample_weight": "lamina.training.data",
}
_SUBMODULES = ("bounding_boxes", "legacy")


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _MODULES[name].partition(":")
    return getattr(importlib.import_module(module), own_name or name)


def __dir__() -> list[str]:
    return sorted(__all__)
