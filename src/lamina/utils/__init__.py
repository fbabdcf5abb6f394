"""Utilities: downloads, conversions, random seeds, plots, registration of custom objects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.backend import (
        clear_session,
        get_source_inputs,
        is_keras_tensor,
        standardize_dtype,
    )
    from lamina.core.prng import set_random_seed
    from lamina.execution.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
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
    from lamina.settings import (
        disable_interactive_logging,
        enable_interactive_logging,
        is_interactive_logging_enabled,
    )
    from lamina.training.data.dataset import Dataset
    from lamina.training.data.pydataset import PyDataset
    from lamina.training.data.pydataset import PyDataset as Sequence
    from lamina.utils import bounding_boxes, legacy
    from lamina.utils.configuration import Config
    from lamina.utils.feature_space import FeatureSpace
    from lamina.utils.files import get_file
    from lamina.utils.folders import (
        audio_dataset_from_directory,
        image_dataset_from_directory,
        text_dataset_from_directory,
    )
    from lamina.utils.images import array_to_img, img_to_array, load_img, save_img
    from lamina.utils.numerical import normalize, to_categorical
    from lamina.utils.progbar import Progbar
    from lamina.utils.sequences import pad_sequences
    from lamina.utils.splitting import split_dataset
    from lamina.utils.timeseries import timeseries_dataset_from_array
    from lamina.visualization.plot import model_to_dot, plot_model

__all__ = [
    "Config", "CustomObjectScope", "Dataset", "FeatureSpace",
    "Progbar", "PyDataset", "Sequence", "array_to_img",
    "audio_dataset_from_directory", "bounding_boxes", "clear_session", "custom_object_scope",
    "deserialize_keras_object", "disable_interactive_logging", "enable_interactive_logging",
    "get_custom_objects", "get_file", "get_registered_name", "get_registered_object",
    "get_source_inputs", "image_dataset_from_directory", "img_to_array",
    "is_interactive_logging_enabled", "is_keras_tensor", "legacy", "load_img", "model_to_dot",
    "normalize", "pack_x_y_sample_weight", "pad_sequences", "plot_model",
    "register_keras_serializable", "save_img", "serialize_keras_object", "set_random_seed",
    "split_dataset", "standardize_dtype", "text_dataset_from_directory",
    "timeseries_dataset_from_array", "to_categorical", "unpack_x_y_sample_weight",
]  # fmt: skip

# From each name to its module, and to its name there if that differs.
_MODULES = {
    "Config": "lamina.utils.configuration",
    "CustomObjectScope": "lamina.serialization.registry",
    "FeatureSpace": "lamina.utils.feature_space",
    "Dataset": "lamina.training.data.dataset",
    "PyDataset": "lamina.training.data.pydataset",
    "array_to_img": "lamina.utils.images",
    "audio_dataset_from_directory": "lamina.utils.folders",
    "image_dataset_from_directory": "lamina.utils.folders",
    "img_to_array": "lamina.utils.images",
    "load_img": "lamina.utils.images",
    "save_img": "lamina.utils.images",
    "text_dataset_from_directory": "lamina.utils.folders",
    "timeseries_dataset_from_array": "lamina.utils.timeseries",
    "clear_session": "lamina.backend",
    "Progbar": "lamina.utils.progbar",
    "Sequence": "lamina.training.data.pydataset:PyDataset",
    "custom_object_scope": "lamina.serialization.registry:CustomObjectScope",
    "disable_interactive_logging": "lamina.settings",
    "enable_interactive_logging": "lamina.settings",
    "deserialize_keras_object": "lamina.serialization.registry:deserialize",
    "get_custom_objects": "lamina.serialization.registry",
    "get_file": "lamina.utils.files",
    "get_registered_name": "lamina.serialization.registry",
    "get_registered_object": "lamina.serialization.registry",
    "get_source_inputs": "lamina.backend",
    "is_interactive_logging_enabled": "lamina.settings",
    "is_keras_tensor": "lamina.backend",
    "model_to_dot": "lamina.visualization.plot",
    "normalize": "lamina.utils.numerical",
    "pack_x_y_sample_weight": "lamina.execution.batches",
    "pad_sequences": "lamina.utils.sequences",
    "plot_model": "lamina.visualization.plot",
    "register_keras_serializable": "lamina.serialization.registry:register_serializable",
    "serialize_keras_object": "lamina.serialization.registry:serialize",
    "set_random_seed": "lamina.core.prng",
    "standardize_dtype": "lamina.backend",
    "split_dataset": "lamina.utils.splitting",
    "to_categorical": "lamina.utils.numerical",
    "unpack_x_y_sample_weight": "lamina.execution.batches",
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
