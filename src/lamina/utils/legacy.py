"""The legacy serialization of Keras, which looks up class names in the caller's dict.

Use :func:`lamina.saving.serialize_keras_object` in new programs: its records contain the module of
a class too, and it knows the built-in classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lamina.errors import ArgumentError, SerializationError, unknown_name
from lamina.serialization import registry, text

__all__ = ["deserialize_keras_object", "serialize_keras_object"]


def serialize_keras_object(instance: Any) -> Any:
    """Convert an object to ``{"class_name": ..., "config": ...}``, and a function to its name.

    Args:
        instance: An object with ``get_config``, a named function, or None.

    Returns:
        A dict of JSON data; the name of a function; None for None.

    Raises:
        SerializationError: If ``instance`` has neither a config nor a name.

    >>> import lamina
    >>> serialize_keras_object(lamina.regularizers.L2(0.1))
    {'class_name': 'L2', 'config': {'l2': 0.1}}
    >>> serialize_keras_object(lamina.activations.relu)
    'relu'
    """
    if instance is None:
        return None
    if inspect.isclass(instance) or not hasattr(instance, "get_config"):
        name = getattr(instance, "__name__", "<lambda>")
        if inspect.isclass(instance) or not callable(instance) or name == "<lambda>":
            raise SerializationError(
                "serialize_keras_object() expects an object with `get_config`, or a function with "
                f"a name. Received: {instance!r} (of type {type(instance).__name__})."
            )
        return registry.get_registered_name(instance)
    return {
        "class_name": registry.get_registered_name(type(instance)),
        "config": registry.serialize(instance.get_config()),
    }


def deserialize_keras_object(
    identifier: Any,
    module_objects: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    printable_module_name: str = "object",
) -> Any:
    """Create the object from the data that :func:`serialize_keras_object` returned.

    A name is looked up in ``custom_objects``, the scope of
    :class:`lamina.utils.custom_object_scope`, the registered objects and ``module_objects``, and
    nowhere else. Only classes with a ``get_config`` are instantiated: other entries of a dict like
    ``globals()`` are not called.

    Args:
        identifier: The serialized object, or the name of a function or of a class, which is called
            without arguments. Functions and None are returned unchanged.
        module_objects: Dict of names to your classes and functions, such as ``globals()``.
        custom_objects: Dict of names to further classes and functions.
        printable_module_name: The kind of object, for error messages, such as ``"layer"``.

    Raises:
        UnknownNameError: If the name is unknown.
        SerializationError: If the config does not match the class, or the name is not that of a
            class with a ``get_config``.
        ArgumentError: If ``identifier`` is none of these.

    >>> import lamina
    >>> config = {"class_name": "L2", "config": {"l2": 0.1}}
    >>> deserialize_keras_object(config, vars(lamina.regularizers)).get_config()
    {'l2': 0.1}
    """
    if identifier is None or (callable(identifier) and not inspect.isclass(identifier)):
        return identifier
    if isinstance(identifier, str):
        found = _find(identifier, module_objects, custom_objects, printable_module_name)
        return _make(identifier, found, {}, custom_objects) if inspect.isclass(found) else found
    if not isinstance(identifier, Mapping) or not {"class_name", "config"} <= set(identifier):
        raise ArgumentError(
            f"This {printable_module_name} expects a dict with 'class_name' and 'config', a name, "
            f"a function or None. Received: {identifier!r} (of type {type(identifier).__name__})."
        )
    name = identifier["class_name"]
    found = _find(name, module_objects, custom_objects, printable_module_name)
    return _make(name, found, identifier["config"], custom_objects)


def _find(
    name: Any,
    module_objects: Mapping[str, Any] | None,
    custom_objects: Mapping[str, Any] | None,
    what: str,
) -> Any:
    found = None
    if isinstance(name, str):
        found = registry.get_registered_object(name, custom_objects, module_objects)
    if found is None:
        tables = (custom_objects, registry.get_custom_objects(), module_objects)
        raise unknown_name(what, name, [key for table in tables for key in table or ()])
    return found


def _make(name: str, cls: Any, config: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if not inspect.isclass(cls) or not hasattr(cls, "get_config"):
        raise SerializationError(
            f"The config of {name!r} expects a class with a `get_config` method. Received: {cls!r}."
        )
    if not isinstance(config, Mapping):
        raise SerializationError(
            f"The config of {name!r} expects a dict of arguments. Received: {config!r}."
        )
    make = getattr(cls, "from_config", None) or (lambda arguments: cls(**arguments))
    with (
        text.reading(config, f"The config of {name!r}"),
        registry.CustomObjectScope(custom_objects or {}),
    ):
        try:
            return make(dict(config))
        except TypeError as error:
            raise SerializationError(
                f"{name!r} cannot be created from {config!r}: {error}"
            ) from error
