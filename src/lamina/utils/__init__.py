"""Utilities: downloads, conversions, random seeds, plots, registration of custom objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

if TYPE_CHECKING:
    from lamina.backend import clear_session as clear_session
    from lamina.backend import get_source_inputs as get_source_inputs
    from lamina.backend import is_keras_tensor as is_keras_tensor
    from lamina.backend import standardize_dtype as standardize_dtype
    from lamina.core.prng import set_random_seed as set_random_seed
    from lamina.execution.batches import pack_x_y_sample_weight as pack_x_y_sample_weight
    from lamina.execution.batches import unpack_x_y_sample_weight as unpack_x_y_sample_weight
    from lamina.serialization.namespaces import (
        serialize_keras_object as serialize_keras_object,
    )
    from lamina.serialization.registry import CustomObjectScope as CustomObjectScope
    from lamina.serialization.registry import CustomObjectScope as custom_object_scope
    from lamina.serialization.registry import deserialize as deserialize_keras_object
    from lamina.serialization.registry import get_custom_objects as get_custom_objects
    from lamina.serialization.registry import get_registered_name as get_registered_name
    from lamina.serialization.registry import get_registered_object as get_registered_object
    from lamina.serialization.registry import register_serializable as register_keras_serializable
    from lamina.settings import disable_interactive_logging as disable_interactive_logging
    from lamina.settings import enable_interactive_logging as enable_interactive_logging
    from lamina.settings import is_interactive_logging_enabled as is_interactive_logging_enabled
    from lamina.training.data.dataset import Dataset as Dataset
    from lamina.training.data.pydataset import PyDataset as PyDataset
    from lamina.training.data.pydataset import PyDataset as Sequence
    from lamina.utils import bounding_boxes as bounding_boxes
    from lamina.utils import legacy as legacy
    from lamina.utils.configuration import Config as Config
    from lamina.utils.feature_space import FeatureSpace as FeatureSpace
    from lamina.utils.files import get_file as get_file
    from lamina.utils.folders import audio_dataset_from_directory as audio_dataset_from_directory
    from lamina.utils.folders import image_dataset_from_directory as image_dataset_from_directory
    from lamina.utils.folders import text_dataset_from_directory as text_dataset_from_directory
    from lamina.utils.images import array_to_img as array_to_img
    from lamina.utils.images import img_to_array as img_to_array
    from lamina.utils.images import load_img as load_img
    from lamina.utils.images import save_img as save_img
    from lamina.utils.numerical import normalize as normalize
    from lamina.utils.numerical import to_categorical as to_categorical
    from lamina.utils.progbar import Progbar as Progbar
    from lamina.utils.sequences import pad_sequences as pad_sequences
    from lamina.utils.splitting import split_dataset as split_dataset
    from lamina.utils.timeseries import (
        timeseries_dataset_from_array as timeseries_dataset_from_array,
    )
    from lamina.visualization.plot import model_to_dot as model_to_dot
    from lamina.visualization.plot import plot_model as plot_model

__getattr__, __dir__ = names_of(
    __name__,
    {
        "lamina.backend": "clear_session get_source_inputs is_keras_tensor standardize_dtype",
        "lamina.core.prng": "set_random_seed",
        "lamina.execution.batches": "pack_x_y_sample_weight unpack_x_y_sample_weight",
        "lamina.serialization.namespaces": "serialize_keras_object",
        "lamina.serialization.registry": (
            "CustomObjectScope custom_object_scope=CustomObjectScope "
            "deserialize_keras_object=deserialize get_custom_objects get_registered_name "
            "get_registered_object register_keras_serializable=register_serializable"
        ),
        "lamina.settings": (
            "disable_interactive_logging enable_interactive_logging is_interactive_logging_enabled"
        ),
        "lamina.training.data.dataset": "Dataset",
        "lamina.training.data.pydataset": "PyDataset Sequence=PyDataset",
        "lamina.utils.configuration": "Config",
        "lamina.utils.feature_space": "FeatureSpace",
        "lamina.utils.files": "get_file",
        "lamina.utils.folders": (
            "audio_dataset_from_directory image_dataset_from_directory text_dataset_from_directory"
        ),
        "lamina.utils.images": "array_to_img img_to_array load_img save_img",
        "lamina.utils.numerical": "normalize to_categorical",
        "lamina.utils.progbar": "Progbar",
        "lamina.utils.sequences": "pad_sequences",
        "lamina.utils.splitting": "split_dataset",
        "lamina.utils.timeseries": "timeseries_dataset_from_array",
        "lamina.visualization.plot": "model_to_dot plot_model",
    },
    submodules="bounding_boxes legacy",
)
