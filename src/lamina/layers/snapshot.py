"""Detection of changes of layers, after which compiled programs are out of date."""

from __future__ import annotations

import operator

from lamina.core import tracking
from lamina.layers.state import LayerState, flatten_layers

_trains = operator.attrgetter("trainable")


class Structure:
    """The layers inside a layer and their arguments, to detect changes.

    It does not refer to the layer itself, which may hold it.

    Args:
        root: The layer.
    """

    __slots__ = ("_containers", "_contents", "_inner", "_versions")

    def __init__(self, root: LayerState) -> None:
        layers = flatten_layers(root)
        self._inner = layers[1:]
        self._versions = tracking.versions_of(layers)
        self._containers = [c for x in layers for c in tracking.containers(x)]
        self._contents = [tracking.contents(x) for x in self._containers]

    def is_current(self, root: LayerState) -> bool:
        """Whether the layers, their arguments and their content are still the same."""
        return tracking.versions_of((root, *self._inner)) == self._versions and all(
            map(tracking.hold_same, self._containers, self._contents)
        )


class Snapshot(Structure):
    """What the compiled steps of a model depend on, to detect changes.

    Args:
        root: The model.
    """

    __slots__ = ("_variables", "supports_jit", "uses_host")

    def __init__(self, root: LayerState) -> None:
        super().__init__(root)
        layers = (root, *self._inner)
        self._variables = [v for v, _ in root.named_variables().values() if v.is_weight]
        self.supports_jit = all(x.supports_jit for x in layers)
        self.uses_host = any(x.runs_on_host for x in layers)

    def trains(self, root: LayerState) -> tuple[bool, ...]:
        """The current values of ``trainable``: that of the model, and that of each weight."""
        return tuple(map(_trains, (root, *self._variables)))
