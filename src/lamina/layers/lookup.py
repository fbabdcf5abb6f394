"""From configs and names to layers, and back."""

from __future__ import annotations

from lamina.serialization.namespaces import accessors

_, serialize, deserialize = accessors("layers", "layer")

__all__ = ["deserialize", "serialize"]
