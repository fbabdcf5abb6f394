"""Saving and loading of models and weights, and registration of custom objects."""

from lamina.runtime.budget import Budget as Budget
from lamina.saving.archive import load_model as load_model
from lamina.saving.archive import save_model as save_model
from lamina.saving.editor import KerasFileEditor as KerasFileEditor
from lamina.saving.inspection import FileReport as FileReport
from lamina.saving.inspection import inspect as inspect
from lamina.saving.weight_files import load_weights as load_weights
from lamina.saving.weight_files import save_weights as save_weights
from lamina.serialization.registry import CustomObjectScope as CustomObjectScope
from lamina.serialization.registry import deserialize as deserialize_keras_object
from lamina.serialization.registry import get_custom_objects as get_custom_objects
from lamina.serialization.registry import get_registered_name as get_registered_name
from lamina.serialization.registry import get_registered_object as get_registered_object
from lamina.serialization.registry import register_serializable as register_serializable
from lamina.serialization.registry import serialize as serialize_keras_object

register_keras_serializable = register_serializable
custom_object_scope = CustomObjectScope

__all__ = [
    "Budget", "CustomObjectScope", "FileReport", "KerasFileEditor", "custom_object_scope",
    "deserialize_keras_object", "get_custom_objects", "get_registered_name",
    "get_registered_object", "inspect", "load_model", "load_weights",
    "register_keras_serializable", "register_serializable", "save_model", "save_weights",
    "serialize_keras_object",
]  # fmt: skip
