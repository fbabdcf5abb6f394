"""Saving and loading of models and weights, and registration of custom objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

if TYPE_CHECKING:
    from lamina.runtime.budget import Budget as Budget
    from lamina.saving import archive as archive
    from lamina.saving import operations as operations
    from lamina.saving import upgrade as upgrade
    from lamina.saving import weight_files as weight_files
    from lamina.saving.archive import load_model as load_model
    from lamina.saving.archive import save_model as save_model
    from lamina.saving.editor import KerasFileEditor as KerasFileEditor
    from lamina.saving.inspection import FileReport as FileReport
    from lamina.saving.inspection import inspect as inspect
    from lamina.saving.weight_files import load_weights as load_weights
    from lamina.saving.weight_files import save_weights as save_weights
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
    from lamina.serialization.registry import register_serializable as register_serializable

__getattr__, __dir__ = names_of(
    __name__,
    {
        "lamina.runtime.budget": "Budget",
        "lamina.saving.archive": "load_model save_model",
        "lamina.saving.editor": "KerasFileEditor",
        "lamina.saving.inspection": "FileReport inspect",
        "lamina.saving.weight_files": "load_weights save_weights",
        "lamina.serialization.namespaces": "serialize_keras_object",
        "lamina.serialization.registry": (
            "CustomObjectScope custom_object_scope=CustomObjectScope "
            "deserialize_keras_object=deserialize get_custom_objects get_registered_name "
            "get_registered_object register_keras_serializable=register_serializable "
            "register_serializable"
        ),
    },
    submodules="archive operations upgrade weight_files",
)
