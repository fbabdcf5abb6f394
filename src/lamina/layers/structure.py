"""What layers hold, for those who go through models: the engine's loop, files, pictures."""

from __future__ import annotations

from typing import Any

from lamina.core.tracking import holds_containers, version_of
from lamina.core.variable import Variable
from lamina.layers.state import LayerState
from lamina.serialization.registry import stem_of


def own_variables(layer: LayerState) -> list[Variable]:
    """The variables of a layer itself, weights first."""
    return layer._own_variables()


def saved_variables(layer: LayerState) -> list[Variable]:
    """The own variables of a layer that a file holds."""
    return layer._saved_variables()


def sublayers(layer: LayerState) -> list[Any]:
    """The layers directly inside."""
    return layer._sublayers()


def listed_layers(layer: LayerState) -> list[Any]:
    """The layers that files number in this order, rather than name by their attributes."""
    return layer._listed_layers()


def flatten_layers(layer: LayerState) -> list[Any]:
    """A layer and all inside, each once, outer before inner."""
    return layer._flatten_layers()


def has_automatic_name(layer: LayerState) -> bool:
    """Whether the layer's name was made from its class's."""
    return layer._has_automatic_name


def name_automatically(layer: LayerState, flags: Any) -> None:
    """Take names for automatic again that were so when the layers were described as data.

    Args:
        layer: The outermost layer.
        flags: Whether the name is automatic, for each of :func:`flatten_layers`; anything else, as
            a file may hold, changes nothing.
    """
    layers = flatten_layers(layer)
    if isinstance(flags, list) and len(flags) == len(layers):
        for x, automatic in zip(layers, flags, strict=True):
            x.__dict__["_has_automatic_name"] = automatic is True
            if automatic is True:
                x.__dict__["_draw_name"] = stem_of(type(x))
            x.__dict__["_inner_names"] = (-1, {})


def saved_addresses(layer: LayerState) -> dict[str, Variable]:
    """Address to variable, for what a file holds."""
    return layer._saved_addresses()


class Snapshot:
    """The layers of a model and their arguments at a time, to tell whether they have changed."""

    __slots__ = ("_containers", "_inside", "_layers", "_variables", "_versions")

    def __init__(self, root: LayerState) -> None:
        self._layers = flatten_layers(root)
        self._variables = [v for v, _ in root.named_variables().values() if v.is_weight]
        self._versions = [version_of(x) for x in self._layers]
        self._containers = [x for x in self._layers if holds_containers(x)]
        self._inside = [self._content(x) for x in self._containers]

    @staticmethod
    def _content(layer: LayerState) -> list[Any]:
        return [*layer._sublayers(), *layer._own_variables()]

    def is_current(self) -> bool:
        """Whether the same layers have the same arguments, and hold the same, as then."""
        for layer, version in zip(self._layers, self._versions, strict=True):
            if layer._change_count != version:
                return False
        return all(
            self._content(x) == before
            for x, before in zip(self._containers, self._inside, strict=True)
        )

    def trains(self) -> tuple[bool, ...]:
        """What may train now: each weight by itself, and the model as a whole."""
        return (self._layers[0]._trainable, *[v.trainable for v in self._variables])
