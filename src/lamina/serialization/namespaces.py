"""The functions ``get``, ``serialize`` and ``deserialize`` that every namespace has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lamina.serialization import registry


def accessors(
    family: str, what: str, default: Any = None, config: str = "config"
) -> tuple[Callable[..., Any], ...]:
    """Create the functions with which a namespace converts names and configs to objects and back.

    Args:
        family: The namespace: ``"initializers"``, ``"regularizers"``, ...
        what: One of its members, for messages: ``"initializer"``.
        default: What ``get(None)`` returns.
        config: Name of the first argument of ``deserialize``.

    Returns:
        ``get(identifier)``, ``serialize(<what>)`` and ``deserialize(config, custom_objects=None)``.

    >>> get, serialize, deserialize = accessors("activations", "activation")
    >>> get(abs)
    <built-in function abs>
    """

    def get(identifier: Any) -> Any:
        if identifier is None:
            return default
        if (
            not callable(identifier)
            and isinstance(identifier, Mapping)
            and identifier.get("module") is None
        ):
            known = registry.find_builtin(family, str(identifier.get("class_name", "")))
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
        {config}: What :func:`serialize` returned.
        custom_objects: Your own classes and functions, by the names that the config uses.
    """
    return get, renamed(serialize, obj=what.replace(" ", "_")), renamed(deserialize, config=config)


def renamed(function: Callable[..., Any], **names: str) -> Callable[..., Any]:
    """``function`` with other names of some parameters.

    Args:
        function: Any function.
        **names: The new names, by the old ones.

    >>> renamed(lambda x: x + 1, x="number")(number=1)
    2
    """
    old = inspect.signature(function)
    new = old.replace(
        parameters=[p.replace(name=names.get(p.name, p.name)) for p in old.parameters.values()]
    )
    if new == old:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = new.bind(*args, **kwargs)
        return function(*bound.args, **bound.kwargs)

    call.__signature__ = new  # pyright: ignore[reportAttributeAccessIssue]
    return call
