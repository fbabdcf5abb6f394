"""Snapshots of the layers of a model, to detect changes."""

from __future__ import annotations

from typing import Any

from lamina.core.tracking import holds_containers, version_of
from lamina.layers.state import LayerState, flatten_layers


class Snapshot:
    """A snapshot of the layers of a model and their arguments, to detect changes."""

    __slots__ = (
        "_containers", "_inside", "_layers", "_variables", "_versions", "supports_jit",
    )  # fmt: skip

    def __init__(self, root: LayerState) -> None:
        self._layers = flatten_layers(root)
        self._variables = [v for v, _ in root.named_variables().values() if v.is_weight]
        self._versions = [version_of(x) for x in self._layers]
        self.supports_jit = all(x.supports_jit for x in self._layers)
        self._containers = [x for x in self._layers if holds_containers(x)]
        self._inside = [self._content(x) for x in self._containers]

    @staticmethod
    def _content(layer: LayerState) -> list[Any]:
        return [*layer._sublayers(), *layer._own_variables()]

    def is_current(self) -> bool:
        """Whether the layers, their arguments and their content are still the same."""
        for layer, version in zip(self._layers, self._versions, strict=True):
            if version_of(layer) != version:
                return False
        return all(
            self._content(x) == before
            for x, before in zip(self._containers, self._inside, strict=True)
        )

    def trains(self) -> tuple[bool, ...]:
        """The current values of ``trainable``: that of each weight, and that of the model."""
        return (self._layers[0]._trainable, *[v.trainable for v in self._variables])
