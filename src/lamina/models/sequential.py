"""A plain stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from lamina import saving
from lamina.core import spec
from lamina.core.graph import is_symbolic
from lamina.core.operation import nodes_of
from lamina.core.tracking import count_change
from lamina.errors import (
    ArgumentError,
    GraphError,
    LaminaError,
    ShapeError,
    StructureError,
    unknown_name,
)
from lamina.layers import Input, InputLayer, Layer
from lamina.layers.state import given_batch_shape, set_trainable_alone
from lamina.models.functional import Graph
from lamina.models.model import Model
from lamina.serialization import registry
from lamina.serialization.fields import as_data
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.tree import nested


def _instead_of(given: Any) -> str:
    """What to add to a stack instead of something that is not a layer."""
    if isinstance(given, type):
        return f"Did you write `{given.__name__}` instead of `{given.__name__}(...)`?"
    if is_symbolic(given):
        return "Add the layer itself, not what a call of it returned."
    if isinstance(given, (list, tuple)):
        return "Add the layers one by one, or pass one list of all to `Sequential`."
    if callable(given):
        return "`lamina.layers.Lambda(function)` makes a layer of a function."
    return ""


@builtin("models", file_module="keras")
class Sequential(Model):
    """Layers applied one after the other.

    If the first layer is an ``Input`` or has an ``input_shape``, the graph is created at once;
    otherwise it is created by the first call or by :meth:`build`.

    Args:
        layers: The layers, first to last.
        trainable: Whether the optimizer may change the weights.
        name: Name of the model.

    >>> from lamina import layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    >>> model.output_shape, model.count_params()
    ((None, 2), 23)
    """

    lists_input = False
    _stack: list[Layer]  # the layers
    _tensors: list[Any]  # the input, then the output of each layer
    _untracked = Model._untracked | {"_stack", "_tensors", "_names"}
    _made_by_data: bool  # whether the input's dimensions are those of the first data
    _awaits_graph: bool  # whether the graph is made when it is needed
    _names: set[str]  # those that layers had when they were added

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._stack, self._tensors, self._made_by_data = [], [], False
        self._names = set()
        return self

    @property
    def _layer_graph(self) -> Graph | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        # Made when it is needed, not by each `add`, which would take time for all layers before.
        if self._awaits_graph:
            self._set_graph(Graph(self._tensors[0], self._tensors[-1]))
        return self.__dict__["_layer_graph"]

    @_layer_graph.setter
    def _layer_graph(self, graph: Graph | None) -> None:
        self._awaits_graph = False
        self.__dict__["_layer_graph"] = graph

    def __init__(
        self,
        layers: Iterable[Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        several = isinstance(trainable, Layer)
        if several or (layers is not None and not isinstance(layers, Iterable)):
            raise ArgumentError(
                "Sequential() takes its layers in one list: `Sequential([a, b])`. "
                f"Received: {layers!r}{', ...' if several else ''}."
            )
        for layer in layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer.

        Args:
            layer: A layer, a model, or (only as the first one) the result of ``Input``.
            rebuild: Whether to extend the graph at once. False defers it to :meth:`build` or the
                next call, and leaves the model unbuilt until then.

        Raises:
            GraphError: The argument is not a layer, is an ``Input`` after other layers, or has a
                name that is already used.
        """
        if is_symbolic(layer) and isinstance(layer.node.operation, InputLayer):
            layer = layer.node.operation
        if not isinstance(layer, Layer):
            raise GraphError(
                f"Sequential.add() takes a layer. Received: {layer!r}.", cure=_instead_of(layer)
            )
        if isinstance(layer, InputLayer):
            if self._stack or self._tensors:
                count = len(self._stack)
                has = f"{count} layer{'s' * (count > 1)}" if count else "an Input"
                raise GraphError(
                    f"An Input can only come first. {self.name!r} already has {has}.",
                    cure="For several inputs, use `Model(inputs, outputs)`." if not count else "",
                )
            self._tensors = [layer.output]
            self._names.add(layer.name)
            return
        if layer.name in self._names and any(layer.name == x.name for x in self._operations()):
            raise GraphError(
                f"{self.name!r} already has a layer called {layer.name!r}. Give one another `name`."
            )
        self._names.add(layer.name)
        given = given_batch_shape(layer)
        if not self._tensors and not self._stack and given is not None:
            self._tensors = [Input(batch_shape=given)]
        elif (
            not self._tensors and not self._stack and isinstance(layer, Model) and layer.layer_graph
        ):
            self._tensors = [Input(tensor=layer.inputs[0])]
        self._stack.append(layer)
        count_change(self)  # models that contain this one are compiled anew
        if not rebuild:
            self._set_graph(None)
        elif self._tensors:
            self._extend()

    def _extend(self) -> None:
        """Call the layers that have not been called yet, and update the graph."""
        for layer in self._stack[len(self._tensors) - 1 :]:
            output = layer(self._tensors[-1])
            if not is_symbolic(output):
                self._stack.remove(layer)
                raise GraphError(
                    f"A layer of a Sequential must return one tensor. {layer.name!r} returned "
                    f"{len(nested.flatten(output))}. Use `Model(inputs, outputs)` instead."
                )
            self._tensors.append(output)
        if self._stack:
            self._set_graph(None)
            self.built = self._awaits_graph = True

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it.

        Args:
            rebuild: Whether to update the graph at once; see :meth:`add`.
        """
        if not self._stack:
            raise GraphError(f"{self.name!r} has no layer to remove.")
        layer = self._stack.pop()
        count_change(self)
        if self._tensors:
            del self._tensors[len(self._stack) + 1 :]
            self._set_graph(None)
            if self._stack and rebuild:
                self._extend()
        return layer

    @property
    def layers(self) -> list[Layer]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The layers, first to last, without the input."""
        return list(self._stack)

    def _sublayers(self) -> list[Layer]:
        return list(self._stack)

    def _operations(self) -> list[Any]:
        """The input, if there is one, and the layers."""
        return [*(x.node.operation for x in self._tensors[:1]), *self._stack]

    def _listed_layers(self) -> tuple[list[Layer], bool]:
        return list(self._stack), True

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with a name, or at an index."""
        if isinstance(name, str) and index is None and all(x.name != name for x in self._stack):
            raise unknown_name(f"layer of {self.name!r}", name, [x.name for x in self._stack])
        return super().get_layer(name, index)

    @property
    def layer_graph(self) -> Graph | None:
        """The graph; that of a model which begins with adapted text needs no data to be created."""
        first = self._stack[0] if self._stack and not self._tensors else None
        if first is not None and first.only_input is not None:
            self._tensors = [Input(**first.only_input)]
            self._extend()
        return self._layer_graph

    def build(self, input_shape: Any = None) -> None:
        """Create all weights for an input shape with the batch (None for unknown dimensions).

        Raises:
            ShapeError: The model is built for another shape already.
        """
        if self.layer_graph is None and not self._tensors and input_shape is not None:
            self._tensors = [Input(batch_shape=tuple(input_shape))]
        elif input_shape is not None and self._tensors:
            shape = (None, *tuple(input_shape)[1:])
            if not spec.agree(shape, self._tensors[0].shape):
                raise ShapeError(
                    f"Model {self.name!r} is built for another input shape already.",
                    expected=spec.show_dims((None, *self._tensors[0].shape[1:])),
                    received=spec.show_dims(shape),
                    cure="Create another model for it. Dimensions that vary are None.",
                )
        if self._layer_graph is None and self._tensors:
            self._extend()

    def build_from_specs(self, specs: Any) -> None:
        self._start(specs)

    def _widen(self, inputs: Any) -> None:
        """Let a model that was built by data take data of other dimensions, if its layers do."""
        shape = np.shape(inputs)
        dims = self._tensors[0].spec.dims_raw
        if len(shape) != len(dims) or all(
            not isinstance(d, int) or not isinstance(n, int) or d == n
            for d, n in zip(dims[1:], shape[1:], strict=True)
        ):
            return
        tensors, graph, dtype = self._tensors, self._layer_graph, self._tensors[0].dtype
        assert graph is not None  # noqa: S101 - it was built
        try:
            for wanted in (
                shape,
                [d if d == n else None for d, n in zip(dims, shape, strict=True)],
            ):
                self._forget_calls()
                self._tensors = [Input(batch_shape=(None, *wanted[1:]), dtype=dtype)]
                self._extend()
        except LaminaError:  # which is told when the data is bound
            self._forget_calls()
            self._tensors = tensors[:1]
            self._extend()

    def _forget_calls(self) -> None:
        for before, layer in zip(self._tensors[1:], self._stack, strict=False):
            nodes_of(layer).remove(before.node)

    def _start(self, specs: Any) -> None:
        if self._tensors:  # the graph was not rebuilt after a change
            self._extend()
            return
        self._made_by_data = True
        leaves = nested.flatten(specs)
        if len(leaves) != 1:
            raise StructureError(f"{self.name!r} takes one tensor. Received {len(leaves)}.")
        dims = leaves[0].dims_raw
        self._tensors = [Input(batch_shape=(None, *dims[1:]), dtype=leaves[0].dtype)]
        self._extend()

    def _build_for(self, arguments: Any) -> None:
        if self._layer_graph is None:
            inputs = arguments["inputs"]
            specs = nested.map_structure(
                lambda x: x.spec if is_symbolic(x) else spec.spec_of(x), inputs
            )
            self._start(specs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply the layers in order."""
        if self._layer_graph is None:
            if self._stack:
                self._build_for({"inputs": inputs})
            else:
                return inputs
        elif self._made_by_data and not is_symbolic(inputs) and not nested.is_nested(inputs):
            self._widen(inputs)
        return super().call(inputs, training, mask)

    def get_config(self) -> dict[str, Any]:
        """The layers as data, starting with the input if there is one."""
        layers = self._operations()
        config: dict[str, Any] = {
            "name": self.name, "trainable": self.trainable, "dtype": as_data(self.dtype_policy),
            "layers": [{**registry.serialize(x), "name": x.name} for x in layers],
        }  # fmt: skip
        if self._tensors:
            config["build_input_shape"] = tuple(self._tensors[0].shape)
        return config

    @classmethod
    def from_config(cls, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Create a model from the result of :meth:`get_config`, with new weights.

        Args:
            config: The result of :meth:`get_config`, of Lamina or of Keras 1.1 to 3.
            custom_objects: Custom classes and functions by name.
        """
        if isinstance(config, list):  # of Keras 1, and 2.0 to 2.2
            config = {"name": None, "layers": config}
        return cls._from_layers(config, custom_objects)

    @classmethod
    @reads_config
    def _from_layers(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
    ) -> Any:
        record = saving.upgrade.upgrade_config("Sequential", config, custom_objects)
        if record["class_name"] != "Sequential":  # a stack of Keras 1 with several inputs
            return registry.deserialize(record, custom_objects)
        config = record["config"]
        model = cls(name=config.get("name"))
        for record in config["layers"]:
            layer = registry.deserialize(record, custom_objects)
            layer.name = record.get("name") or record["config"].get("name", layer.name)
            model.add(layer)
        shape = config.get("build_input_shape")
        if shape and model.layer_graph is None:
            model.build(tuple(shape))
        if config.get("trainable") is False:  # inner layers have their own configs
            set_trainable_alone(model, False)
        return model
