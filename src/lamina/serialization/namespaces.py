"""The functions ``get``, ``serialize`` and ``deserialize`` that every namespace has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lamina.serialization import registry


def accessors(family: str, what: str, default: Any = None) -> tuple[Callable[..., Any], ...]:
    """Create the functions with which a namespace converts names and configs to objects and back.

    Args:
        family: The namespace: ``"initializers"``, ``"regularizers"``, ...
        what: One of its members, for messages: ``"initializer"``.
        default: What ``get(None)`` returns.

    Returns:
        ``get(identifier)``, ``serialize(obj)`` and ``deserialize(config, custom_objects=None)``.

    >>> get, serialize, deserialize = accessors("activations", "activation")
    >>> get(abs)
    <built-in function abs>
    """

    def get(identifier: Any) -> Any:
        if identifier is None:
            return default
        if isinstance(identifier, Mapping) and identifier.get("module") is None:
            known = registry.find_builtin(family, identifier.get("class_name", ""))
            if isinstance(known, type):  # older files name no module: prefer its own class
                identifier = {**identifier, "module": f"keras.{family}"}
        return registry.resolve(family, identifier, what)

    def serialize(obj: Any) -> Any:
        return registry.serialize(obj)

    def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        with registry.CustomObjectScope(custom_objects or {}):
            return get(config)

    get.__doc__ = f"""The {what} that ``identifier`` stands for.

    Args:
        identifier: A name, a config, a class (called without arguments), a callable, or None.

    Raises:
        UnknownNameError: No such name; the message lists the closest ones.
    """
    serialize.__doc__ = f"Describe one {what} as JSON data."
    deserialize.__doc__ = f"""The {what} that :func:`serialize` described.

    Args:
        config: What :func:`serialize` returned.
        custom_objects: Your own classes and functions, by the names that the config uses.
    """
    return get, serialize, deserialize
