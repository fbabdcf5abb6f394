"""Detection of changes of the layers of a model, after which compiled programs are out of date."""

from __future__ import annotations

import operator

from lamina.core import tracking
from lamina.core.tracking import containers
from lamina.layers.state import LayerState, flatten_layers

_trains = operator.attrgetter("trainable")


class Snapshot:
    """A snapshot of the layers of a model and their arguments, to detect changes."""

    __slots__ = (
        "_containers", "_inside", "_layers", "_variables", "_versions", "supports_jit", "uses_host",
    )  # fmt: skip

    def __init__(self, root: LayerState) -> None:
        self._layers = flatten_layers(root)
        self._variables = [v for v, _ in root.named_variables().values() if v.is_weight]
        self._versions = tracking.versions_of(self._layers)
        self.supports_jit = all(x.supports_jit for x in self._layers)
        self.uses_host = any(x.runs_on_host for x in self._layers)
        self._containers = [c for x in self._layers for c in containers(x)]
        self._inside = [tracking.contents(x) for x in self._containers]

    def is_current(self) -> bool:
        """Whether the layers, their arguments and their content are still the same."""
        return tracking.versions_of(self._layers) == self._versions and all(
            tracking.hold_same(x, before)
            for x, before in zip(self._containers, self._inside, strict=True)
        )

    def trains(self) -> tuple[bool, ...]:
        """The current values of ``trainable``: that of each weight, and that of the model."""
        return tuple(map(_trains, (self._layers[0], *self._variables)))
