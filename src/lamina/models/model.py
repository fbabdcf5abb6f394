"""The model: layers and their state, with methods for training, description and saving."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from lamina import saving, settings, visualization
from lamina.core import naming
from lamina.core.boundary import public
from lamina.core.operation import Op, Operation, any_symbolic
from lamina.core.scope import current
from lamina.core.tracking import replaceable
from lamina.errors import ArgumentError, GraphError, NotBuiltError, unknown_name
from lamina.execution.batches import Prepared
from lamina.execution.program import Program
from lamina.layers import Lambda, Layer
from lamina.layers.arguments import call_signature, is_plain_array
from lamina.layers.calibration import quantize_blocks
from lamina.layers.state import flatten_layers, has_automatic_name, set_trainable_alone
from lamina.models.building import Buildable
from lamina.models.cloning import graph_config, graph_from_config
from lamina.models.functional import Graph
from lamina.models.host import has_large_integers
from lamina.quantizers.configs import CalibratedConfig, read_config
from lamina.runtime.budget import Budget
from lamina.serialization import registry
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.tree import nested


@builtin("models", file_module="keras")
class Model(Buildable):
    """A trainable graph of layers, or a subclass with its own ``call``.

    There are three ways to create a model:

    * ``Model(inputs, outputs)``: the graph between symbolic tensors, in any nesting;
    * :class:`Sequential`: a plain stack of layers;
    * a subclass that creates layers in ``__init__`` and calls them in ``call``.

    Args:
        inputs: Results of ``Input``, or any tensors of a graph; the keys of a dict are the names.
        outputs: Tensors computed from ``inputs``.
        name: Name of the model.
        trainable: Whether the optimizer may change the weights.

    Raises:
        GraphError: The outputs depend on an input that is not listed, or a layer was passed
            instead of its output.

    >>> from lamina import layers
    >>> inputs = layers.Input((784,))
    >>> outputs = layers.Dense(10)(layers.Dense(64, activation="relu")(inputs))
    >>> model = Model(inputs, outputs, name="mnist_model")
    >>> model.count_params()
    50890
    """

    lists_input: ClassVar[bool] = True  # whether the input is one of `layers`
    _untracked = Layer._untracked | {
        "_layer_graph", "_bound_losses", "_step_programs", "_layer_snapshot",
        "_live_state", "_held_before_graph", "_host_calls", "_input_dtypes", "optimizer", "history",
    }  # fmt: skip

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = Functional if cls is Model and (args or "inputs" in kwargs) else cls
        self = super().__new__(made, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        self._layer_graph, self._bound_losses, self.optimizer = None, None, None
        self._run_eagerly, self._jit_compile, self.steps_per_execution = False, "auto", 1
        self.stop_training, self.history = False, None
        self._step_programs, self._layer_snapshot, self._program_of_calls = {}, None, None
        self._draw_seed, self._times_seeded = settings.seed_of_new(), settings.times_seeded()
        self._steps_taken = self._draw_runs = 0
        self._live_state = self._host_calls = self._input_dtypes = None
        self._held_before_graph = ()
        return self  # pyright: ignore[reportReturnType]

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)  # pyright: ignore[reportCallIssue]
        if (inputs is None) != (outputs is None):
            raise GraphError("A functional model needs both `inputs` and `outputs`.")
        if inputs is not None:
            self._held_before_graph = tuple(super()._sublayers())
            self._set_graph(Graph(inputs, outputs))
            if not trainable:
                self.trainable = False

    def _set_graph(self, graph: Graph | None) -> None:
        self._layer_graph = graph
        self._graph_generators = () if graph is None else graph.seed_generators
        self.built = graph is not None
        self.supports_masking = True
        self._layer_snapshot = None
        self._forget_programs()
        self._inner_names = (-1, {})

    # ---- the graph -----------------------------------------------------------------------------

    @property
    def layer_graph(self) -> Graph | None:
        """Inputs, outputs and plan of a functional model; None for other models."""
        return self._layer_graph

    def _need_graph(self, what: str) -> Graph:
        if self._layer_graph is None:
            raise NotBuiltError(
                f"`{what}` of {self.name!r} is only defined for functional models. "
                f"{type(self).__name__} has "
                + ("no input yet: start it with an `Input`, or build it with a shape."
                   if not self.lists_input else "its own `call`.")
            )  # fmt: skip
        return self._layer_graph

    @property
    def input(self) -> Any:
        """The inputs, in the structure in which they were given."""
        return self._need_graph("input").input_structure

    @property
    def output(self) -> Any:
        """The outputs, in the structure in which they were given."""
        return self._need_graph("output").output_structure

    @replaceable
    def inputs(self) -> list[Any]:
        """A flat list of the input tensors."""
        return list(self._need_graph("inputs").inputs)

    @replaceable
    def outputs(self) -> list[Any]:
        """A flat list of the output tensors."""
        return list(self._need_graph("outputs").outputs)

    @replaceable
    def input_names(self) -> list[str]:
        """The names of the inputs, which are the keys of data passed to ``fit`` as a dict."""
        return list(self._need_graph("input_names").input_names)

    @replaceable
    def output_names(self) -> list[str]:
        """The names of the outputs, used for losses, metrics, targets and logs."""
        return list(self._need_graph("output_names").output_names)

    @replaceable
    def input_shape(self) -> Any:
        """The shapes of the inputs, in the same structure."""
        return nested.map_structure(lambda x: x.shape, self.input)

    @replaceable
    def output_shape(self) -> Any:
        """The shapes of the outputs, in the same structure."""
        return nested.map_structure(lambda x: x.shape, self.output)

    def sizes(self, data: Any) -> dict[str, int]:
        """The size of each named dimension of the inputs in ``data``, including the batch.

        Args:
            data: Arrays in the structure of the inputs, or a dict by name.

        Raises:
            ShapeError: An array does not match its input, or a named dimension has two sizes.

        >>> import numpy as np
        >>> from lamina import layers
        >>> x = layers.Input(("time", 8))
        >>> Model(x, layers.LSTM(4)(x)).sizes(np.zeros((2, 30, 8)))
        {'batch': 2, 'time': 30}
        """
        return self._need_graph("sizes").sizes(data)

    @replaceable
    def operations(self) -> list[Operation]:
        """Layers and ops of the graph, in the order of the summary."""
        return self._layer_graph.operations if self._layer_graph is not None else list(self.layers)

    @property
    def layers(self) -> list[Layer]:
        """The direct inner layers, those farthest from the outputs first."""
        if self._layer_graph is None:
            return self._sublayers()
        return list(dict.fromkeys([*self._layer_graph.layers, *super()._sublayers()]))

    @layers.setter
    def layers(self, _: Any) -> None:
        raise AttributeError("`Model.layers` cannot be set. Use another name for your attribute.")

    def _listed_layers(self) -> tuple[list[Layer], bool]:
        return (
            (self.layers, False) if self._layer_graph is None else (self._layer_graph.layers, True)
        )

    def _name_inner(self) -> dict[Any, tuple[str, str]]:
        layers = [] if self._layer_graph is None else self._layer_graph.layers
        plain = naming.numbered(
            registry.stem_of(type(x)) if has_automatic_name(x) else x.name for x in layers
        )
        names = {x: (x.name, name) for x, name in zip(layers, plain, strict=True)}
        return {**super()._name_inner(), **names}

    def _sublayers(self) -> list[Layer]:
        """In the order of the weights, as in Keras: the graph's when a subclass has made it."""
        if self._layer_graph is None:
            return super()._sublayers()
        return list(dict.fromkeys([*self._held_before_graph, *self.layers]))

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with a name, or at an index of :attr:`layers`.

        Raises:
            UnknownNameError: There is no layer of that name; similar names are listed.
            ArgumentError: Neither or both were given, or the index is out of range.
        """
        if (name is None) == (index is None):
            raise ArgumentError("get_layer() takes either a `name` or an `index`.")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ArgumentError(
                    f"{self.name!r} has {len(layers)} layers. Received index {index}."
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        if isinstance(name, int):
            raise ArgumentError(
                f"The first argument of get_layer() is a name. Received: {name}. "
                f"Write `get_layer(index={name})`."
            )
        raise unknown_name(f"layer of {self.name!r}", name, [x.name for x in layers])

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for tensors or arrays, in the structure of the outputs.

        On arrays, a functional model or :class:`Sequential` of built-in layers runs compiled, as in
        :meth:`predict`. A model with custom layers runs layer by layer, built-in layers compiled; a
        call with ``training=True`` runs operation by operation.
        """
        graph = self.layer_graph
        if graph is None:
            x = args[0] if args else None
            if current() is None and has_large_integers(x) and (host := self.host_part) is not None:
                x = host.prepare(x)
            calls = self._host_calls
            if calls is None or not isinstance(x, Prepared):
                return super().__call__(*args, **kwargs)
            with calls.opened(x) as inputs:
                return super().__call__(inputs, *args[1:], **kwargs)
        if graph.host is not None and any_symbolic(args):
            return graph.inlined(args[0])
        if (
            current() is None and len(args) == 1
            and not kwargs.get("training") and not kwargs.keys() - {"training"}
            and (graph.host is not None or all(map(is_plain_array, nested.flatten(args[0]))))
            and (program := self._program_of_call()) is not None
        ):  # fmt: skip
            x = args[0] if graph.host is None else graph.host.prepare(args[0])
            leaves = program.predict(x)  # which may determine the structure
            outputs = nested.unflatten(program.output_structure, leaves)
            self.__dict__["_losses_of_call"] = []  # quicker than an attribute
            return outputs
        return super().__call__(*args, **kwargs)

    def _program_of_call(self) -> Program | None:
        """What computes a call; None if a call may have side effects, which it would lose."""
        known, around = self._program_of_calls, self._surroundings()
        if known is not None:
            snapshot, before, program = known
            if around == before and snapshot is self._layer_snapshot and snapshot.is_current(self):
                return program
        program = self.program_for("predict")  # and discards what is out of date
        snapshot = self._layer_snapshot
        graph = self._need_graph("layers")
        is_pure = (
            not self._run_eagerly
            and not any(x.mask is not None or x.dtype == "string" for x in graph.outputs)
            and all(isinstance(x, (Layer, Op)) for x in graph.operations)
            and not registry.defined_by_user(type(self), "call")
            and not registry.defined_by_user(type(self), "predict_step")
            and all(
                registry.registration_of(type(x)) is not None
                and x.activity_regularizer is None and not isinstance(x, Lambda)
                # Layers that augment do so in calls, unless these say otherwise.
                and not call_signature(type(x)).training_default
                for x in flatten_layers(self) if x is not self
            )
        )  # fmt: skip
        # What is trainable makes no difference to the inference of built-in layers.
        self._program_of_calls = snapshot, around, program if is_pure else None
        return program if is_pure else None

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Run the graph; a subclass without a graph overrides this."""
        if self._layer_graph is None:
            raise NotBuiltError(
                f"{type(self).__name__} has neither a graph nor a `call`. Pass `inputs` and "
                "`outputs` to its constructor, or define `def call(self, inputs): ...`."
            )
        return self._layer_graph.run(inputs, mask)

    def _propagate_mask(self, inputs: Any, previous: Any, outputs: Any) -> None:
        """The inner layers have already propagated the masks, unless the user's class does."""
        if registry.defined_by_user(type(self), "compute_mask"):
            super()._propagate_mask(inputs, previous, outputs)

    @replaceable
    def _loss_tracker(self) -> Any:
        """The metric of the loss, by the name under which steps of users' classes know it."""
        return self.training_objective.trackers["loss"]

    # ---- description ---------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
        show_cost: bool = False,
        show_sharding: bool = False,
    ) -> None:
        """Print the table of layers, output shapes and parameter counts.

        Args:
            line_length: Width in characters; that of the terminal when None.
            positions: End of each column in characters, or as fractions of the width if none is
                above 1; when None, the columns are as wide as their content.
            print_fn: Function that receives the text, instead of the standard output.
            expand_nested: Whether to show the layers of nested models.
            show_trainable: Whether to add a column that shows what is trainable.
            layer_range: First and last layer to show, as names or regular expressions.
            show_cost: Whether to add columns with the arithmetic operations and the memory of the
                outputs for one sample.
            show_sharding: Whether to show how a distribution splits the weights over devices, the
                bytes on each, and what the compiler says about the communication of a step.

        ``lamina.visualization.summarize(model)`` returns the same table as an object.
        """
        visualization.print_summary(
            self, line_length=line_length, positions=positions, print_fn=print_fn,
            expand_nested=expand_nested, show_trainable=show_trainable, layer_range=layer_range,
            show_cost=show_cost, show_sharding=show_sharding,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return visualization.repr_html(self)

    @public
    def quantize(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        mode: str | None = None,
        config: Any = None,
        filters: str | Sequence[str] | Callable[[Layer], bool] | None = None,
        type_check: bool = True,
    ) -> None:
        """Quantize the weights of all inner layers that support it: see :meth:`Layer.quantize`.

        Other layers stay as they are, and so do layers that are quantized already. GPTQ and AWQ run
        the model on data, and quantize only the layers of its blocks, in their order.

        Args:
            mode: ``"int8"``, ``"int4"``, ``"gptq"``, ``"awq"``, or ``"float8"`` for training with
                8-bit products.
            config: Such as :class:`lamina.quantizers.Int8QuantizationConfig`, instead of a mode;
                :class:`lamina.quantizers.GPTQConfig` and ``AWQConfig`` are needed for their modes.
            filters: A regular expression, or several, one of which is found in a layer's name, or a
                function from a layer to whether to quantize it; None for all.
            type_check: Whether to leave out users' subclasses of layers.

        Raises:
            ArgumentError: An unknown mode, no layer to quantize, or for GPTQ and AWQ no blocks.

        >>> from lamina import Sequential, layers
        >>> model = Sequential([layers.Input((2,)), layers.Dense(1, name="out")])
        >>> model.quantize("int8")
        >>> model.get_layer("out").dtype_policy.name
        'int8_from_float32'
        """
        config = read_config(mode, config)
        names = [filters] if isinstance(filters, str) else filters

        def is_chosen(layer: Layer) -> bool:
            if names is None or callable(names):
                return names is None or names(layer)
            return any(re.search(pattern, layer.name) for pattern in names)

        if isinstance(config, CalibratedConfig):
            structure = config.quantization_layer_structure
            if structure is None:
                structure = self.get_quantization_layer_structure(config.mode)
            count = quantize_blocks(config, structure, is_chosen, type_check, self.name)
        else:
            chosen = [
                x for x in flatten_layers(self)
                if x is not self and x.can_be_quantized(config.mode, type_check) and is_chosen(x)
            ]  # fmt: skip
            count = len(chosen)
            for layer in chosen:
                layer.quantize(config.mode, type_check, config)
        if not count:
            raise ArgumentError(
                f"Model {self.name!r} has no layer to quantize to {config.mode!r}"
                + (f" that `filters={filters!r}` selects." if filters is not None else ".")
                + " Dense, EinsumDense, Embedding and ReversibleEmbedding can be, once."
            )

    def get_quantization_layer_structure(self, mode: str | None = None) -> dict[str, Any] | None:
        """The layers that GPTQ and AWQ run and quantize one after another; override it.

        Args:
            mode: ``"gptq"`` or ``"awq"``.

        Returns:
            A dict of lists of layers, ``{"pre_block_layers": [...], "sequential_blocks": [...]}``;
            None if the config has to name them.
        """
        return None

    # ---- files ---------------------------------------------------------------------------------

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        zipped: bool | None = None,
        include_optimizer: bool = True,
        *,
        probe: Any = None,
    ) -> None:
        """Save architecture, weights, compile arguments and optimizer state.

        An existing file is replaced only once all is written. See :func:`lamina.saving.save_model`.
        """
        saving.archive.save_model(self, filepath, overwrite, zipped, include_optimizer, probe=probe)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Save only the weights, as ``.weights.h5`` or ``.safetensors``, in one or several files.

        See :func:`lamina.saving.save_weights`.
        """
        saving.weight_files.save_weights(self, filepath, overwrite, max_shard_size)

    def load_weights(
        self,
        filepath: Any,
        skip_mismatch: bool = False,
        by_name: bool = False,
        *,
        budget: Budget | None = None,
    ) -> None:
        """Load the weights that :meth:`save_weights` saved; on an error the model is unchanged.

        See :func:`lamina.saving.load_weights`.
        """
        saving.weight_files.load_weights(self, filepath, skip_mismatch, by_name, budget=budget)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as a JSON string, for ``lamina.models.model_from_json``.

        It contains the arguments of :meth:`compile` too, if the model is compiled.

        Args:
            kwargs: Arguments of ``json.dumps``, such as ``indent=2``.
        """
        record = registry.serialize(self)
        if self.compiled:
            record["compile_config"] = saving.archive.compile_config(self)
        return json.dumps(record, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The graph as data; for a subclass, the arguments of its constructor."""
        if self._layer_graph is None or not _is_plain_functional(type(self)):
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **graph_config(self._layer_graph)}

    @classmethod
    @reads_config
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """Create a model from the result of :meth:`get_config`, with newly initialized weights.

        Args:
            config: The result of :meth:`get_config`, of Lamina or of Keras 1.1 to 3.
            custom_objects: Custom classes and functions by name.
        """
        config = saving.upgrade.upgrade_config("Functional", config, custom_objects)["config"]
        if "layers" not in config or "input_layers" not in config:
            return super().from_config(config)
        graph = graph_from_config(config, custom_objects)
        made: Any = Functional if cls is Model else cls
        model = made(graph.input_structure, graph.output_structure, name=config.get("name"))
        model.layer_graph.list_as(record["name"] for record in config["layers"])
        if config.get("trainable") is False:  # inner layers have their own configs
            set_trainable_alone(model, False)
        return model

    def _own_objects(self) -> dict[str, Any]:
        """The custom classes and functions that the model uses, by name."""
        parts: list[Any] = flatten_layers(self)
        given: list[Any] = []
        if self._bound_losses is not None:
            own = () if self.optimizer is None else (self.optimizer,)
            parts = [*parts, *own, *self._bound_losses.parts()]
            given = nested.flatten(self._bound_losses.given)
        found: list[Any] = [type(x) for x in (*parts, *given) if not inspect.isfunction(x)]
        found += [v for x in parts for v in vars(x).values() if inspect.isfunction(v)]
        found += [x for x in given if inspect.isfunction(x)]
        return {x.__name__: x for x in found
                if registry.registration_of(x) is None and x.__module__ != "builtins"}  # fmt: skip

    def __reduce__(self) -> Any:
        """Pickle and copy the model as the bytes of its ``.keras`` file, which contain no code."""
        return saving.archive.from_bytes, (saving.archive.to_bytes(self), self._own_objects())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """An independent copy with the same weights, compile settings and optimizer state."""
        copy = saving.archive.from_bytes(saving.archive.to_bytes(self), self._own_objects())
        memo[id(self)] = copy
        return copy


@builtin("models", file_module="keras.src.models.functional")
class Functional(Model):
    """A model defined by ``inputs`` and ``outputs``; ``Model(inputs, outputs)`` returns it.

    >>> from lamina import layers
    >>> x = layers.Input((3,))
    >>> Functional(x, layers.Dense(2)(x)).output_shape
    (None, 2)
    """


def _is_plain_functional(cls: type) -> bool:
    """Whether the constructor takes ``inputs`` and ``outputs``, as rebuilding a graph requires."""
    return cls.__init__ is Model.__init__


__all__ = ["Functional", "Model"]
