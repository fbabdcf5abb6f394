"""Models as files: one archive for everything, or weights alone; and what configs may name."""

from lamina.core.registry import CustomObjectScope as CustomObjectScope
from lamina.core.registry import get_custom_objects as get_custom_objects
from lamina.core.registry import get_registered_name as get_registered_name
from lamina.core.registry import get_registered_object as get_registered_object
from lamina.core.registry import register_serializable as register_serializable
from lamina.saving.archive import load_model as load_model
from lamina.saving.archive import load_weights as load_weights
from lamina.saving.archive import save_model as save_model
from lamina.saving.archive import save_weights as save_weights

register_keras_serializable = register_serializable
custom_object_scope = CustomObjectScope
