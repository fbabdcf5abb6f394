"""Lookup of optimizers by name, config, class or optax transformation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lamina.errors import ArgumentError
from lamina.optimizers.base import BaseOptimizer
from lamina.optimizers.transformation import Optax, Transformation
from lamina.serialization import registry
from lamina.serialization.namespaces import accessors

_get, serialize, _ = accessors("optimizers", "optimizer", "SGD")


def get(identifier: Any) -> Any:
    """The optimizer that ``identifier`` stands for; None stays None.

    Args:
        identifier: A name, a config, a class (called without arguments), an optimizer, or an optax
            transformation.

    Raises:
        UnknownNameError: An unknown name; the message lists the closest ones.
        ArgumentError: Something that is not an optimizer.

    >>> get("sgd")
    SGD()
    """
    if isinstance(identifier, BaseOptimizer):
        return identifier
    if not inspect.isclass(identifier) and isinstance(identifier, Transformation):
        return Optax(identifier)
    found = _get(identifier)
    if found is not None and not isinstance(found, BaseOptimizer):
        raise ArgumentError(
            "Expected an optimizer, its name or config, or an optax transformation. "
            f"Received: {identifier!r}."
        )
    return found


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that :func:`serialize` described.

    Args:
        config: What :func:`serialize` returned.
        custom_objects: Your own classes and functions, by the names that the config uses.

    Raises:
        UnknownNameError: An unknown name; the message lists the closest ones.
        ArgumentError: The config describes something else.

    >>> deserialize({"class_name": "SGD", "config": {"learning_rate": 0.5}}).learning_rate.numpy()
    array(0.5, dtype=float32)
    """
    with registry.CustomObjectScope(custom_objects or {}):
        return get(config)
