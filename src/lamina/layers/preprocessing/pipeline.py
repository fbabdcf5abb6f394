"""Preprocessing layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lamina.core.scope import entered, get_mask
from lamina.errors import ArgumentError
from lamina.layers.arguments import call_signature
from lamina.layers.base import Layer
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.serialization.fields import as_data, field
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.transforms.policies import Compose
from lamina.transforms.seeding import InTurn
from lamina.tree import nested


def _read_layers(value: Any) -> list[Layer]:
    found = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(layer, Layer) for layer in found):
        raise ArgumentError(f"expected a list of layers. Received: {value!r}.")
    return found


@builtin("layers")
class Pipeline(PreprocessingLayer, positional="layers name"):
    """Call layers one after the other, in training mode unless ``training=False`` is passed.

    Args:
        layers: The layers, each of which takes what the one before returns.

    Attributes:
        transform: The same computation on NumPy arrays, for data pipelines, if all layers are
            preprocessing layers.

    >>> import numpy as np
    >>> from lamina.layers import CenterCrop, Rescaling
    >>> Pipeline([CenterCrop(2, 2), Rescaling(1 / 255)])(np.ones((4, 5, 3), "uint8")).shape
    (2, 2, 3)
    """

    takes_text = True  # if its first layer does

    layers: Any = field(convert=_read_layers)

    @property
    def transform(self) -> Compose:
        """The computation, for NumPy in any process."""
        other = [x for x in self.layers if not isinstance(x, PreprocessingLayer)]
        if other:
            raise ArgumentError(
                f"Layer {self.name!r} (Pipeline) contains {other[0].name!r} "
                f"({type(other[0]).__name__}), which runs in models only, not in data pipelines.",
                layer=self.name,
            )
        return Compose(transforms=tuple(layer.transform for layer in self.layers))

    def for_worker(self) -> Callable[..., Any] | None:
        """The calls as one function, if all layers have one."""
        with entered(self._scope()):
            calls = [layer.for_worker() for layer in self.layers]
        takes = ["training" in call_signature(type(layer)).names for layer in self.layers]
        return None if None in calls else InTurn([*zip(calls, takes, strict=True)])

    def _on_host(self, data: Any, training: bool = True, mask: Any = None) -> Any:
        return self.call(data, training, mask)

    def call(self, inputs: Any, training: bool = True, mask: Any = None) -> Any:
        """Call the layers."""
        for layer in self.layers:
            signature = call_signature(type(layer))
            known = {"training": training, "mask": mask}
            given = {k: v for k, v in known.items() if k in signature.names}
            inputs = layer(inputs, **given)
            mask = nested.map_structure(get_mask, inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The layers and the name, which are all that Keras takes."""
        return {"layers": as_data(self.layers), "name": self.name}

    @classmethod
    @reads_config
    def from_config(cls, config: Mapping[str, Any]) -> Pipeline:
        """The pipeline that :meth:`get_config` described."""
        return super().from_config({k: config[k] for k in ("layers", "name") if k in config})


__all__ = ["Pipeline"]
