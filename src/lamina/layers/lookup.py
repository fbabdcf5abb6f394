"""Serialization of layers to JSON data, and deserialization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.errors import ArgumentError
from lamina.layers.base import Layer
from lamina.serialization.namespaces import accessors

_, _describe, _rebuild = accessors("layers", "layer", example="")


def serialize(layer: Layer) -> dict[str, Any]:
    """Describe a layer or model as JSON data, without its weights.

    Args:
        layer: The layer.

    Raises:
        SerializationError: A part of the layer cannot be described as data.

    >>> from lamina import layers
    >>> serialize(layers.Dense(2))["class_name"]
    'Dense'
    """
    return _describe(layer)


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Layer:
    """The layer or model that :func:`serialize` described, with new weights.

    Args:
        config: What :func:`serialize` returned.
        custom_objects: Your own classes and functions, by the names that the config uses.

    Raises:
        ArgumentError: The config describes something else.
        SerializationError: A class that is neither built in, registered nor passed.

    >>> from lamina import layers
    >>> deserialize(serialize(layers.Dense(2, name="two"))).name
    'two'
    """
    found = _rebuild(config, custom_objects) if isinstance(config, Mapping) else config
    if not isinstance(found, Layer) or isinstance(config, Layer):
        raise ArgumentError(
            "layers.deserialize() expects the config of a layer, as layers.serialize() returns it. "
            f"Received: {config!r}."
        )
    return found


__all__ = ["deserialize", "serialize"]
