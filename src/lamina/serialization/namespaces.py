"""The functions ``get``, ``serialize`` and ``deserialize`` that every namespace has."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lamina.core.declaration import described
from lamina.serialization import registry, shared


def serialize_keras_object(obj: Any) -> Any:
    """Convert ``obj`` to JSON data: numbers, strings, lists, dicts, and ``class_name`` records.

    Functions are records too, so that ``deserialize_keras_object`` returns functions; in configs of
    layers, built-in functions are names.

    Args:
        obj: An object with ``get_config``, a function with a name, a value, or a nesting of these.

    Raises:
        SerializationError: An object without ``get_config``, or a function without a name.

    >>> from lamina import activations
    >>> serialize_keras_object((1, "a", activations.relu))[2]["config"]
    'relu'
    """
    return shared.describe_together(lambda: _with_functions(obj))


def _with_functions(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return [_with_functions(v) for v in x]
    if type(x) is dict:
        return {str(k): _with_functions(v) for k, v in x.items()}
    data = registry.serialize(x)
    if inspect.isroutine(x) and isinstance(data, str):
        module = {"module": "builtins", "class_name": "function"}
        return {**module, "config": data, "registered_name": "function"}
    return data


def accessors(
    family: str, what: str, example: str, default: Any = None, config: str = "config"
) -> tuple[Callable[..., Any], ...]:
    """Create the functions with which a namespace converts names and configs to objects and back.

    Args:
        family: The namespace: ``"initializers"``, ``"regularizers"``, ...
        what: One of its members, for messages: ``"initializer"``.
        example: The class or function of a member, for the docstrings: ``"Zeros"``; may be empty.
        default: What ``get(None)`` returns.
        config: Name of the first argument of ``deserialize``.

    Returns:
        ``get(identifier)``, ``serialize(<what>)`` and ``deserialize(config, custom_objects=None)``.

    >>> get, serialize, deserialize = accessors("activations", "activation", "relu")
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

    member, module = what.replace(" ", "_"), sys._getframe(1).f_globals["__name__"]
    found = f"{example}()"
    config_of_it = f'{{"class_name": "{example}", "config": {{}}}}'
    examples = (f'get("{example}") -> {found}',
                f"serialize(get(\"{example}\"))[\"class_name\"] -> '{example}'",
                f"deserialize({config_of_it}) -> {found}")  # fmt: skip
    if not example:
        examples = ("", "", "")
    elif example.islower():  # a function, which its name describes
        examples = (f"get(\"{example}\").__name__ -> '{example}'",
                    f"serialize(get(\"{example}\")) -> '{example}'",
                    f"deserialize(\"{example}\").__name__ -> '{example}'")  # fmt: skip
    texts = f"""The {what} that ``identifier`` stands for.

    Args:
        identifier: A name, a config, a class (called without arguments), a callable, or None.

    Raises:
        UnknownNameError: No such name; the message lists the closest ones.
    """, f"""Describe one {what} as JSON data.

    Args:
        obj: The {what}.

    Raises:
        SerializationError: An object without ``get_config``, or a function without a name.
    """, f"""The {what} that :func:`serialize` described.

    Args:
        config: What :func:`serialize` returned.
        custom_objects: Your own classes and functions, by the names that the config uses.

    Raises:
        UnknownNameError: No such name; the message lists the closest ones.
    """  # fmt: skip
    for function, text, shown in zip((get, serialize, deserialize), texts, examples, strict=True):
        described(function, function.__name__, text, shown, module)
    return get, renamed(serialize, obj=member), renamed(deserialize, config=config)


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

    text = inspect.cleandoc(function.__doc__ or "")
    for before, after in names.items():
        text = text.replace(f"\n    {before}: ", f"\n    {after}: ")
        text = text.replace(f"``{before}``", f"``{after}``")
    call.__doc__ = text
    call.__signature__ = new  # pyright: ignore[reportAttributeAccessIssue]
    return call
