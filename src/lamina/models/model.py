"""The user's object: a model holds layers and state; its verbs are delegated downwards."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.core
import numpy as np

from lamina import optimizers, settings, visualization
from lamina.core import naming, prng, spec
from lamina.core.boundary import public
from lamina.core.operation import Operation
from lamina.core.scope import Scope, current, entered, get_mask
from lamina.core.tracking import held_as, version_of
from lamina.errors import ArgumentError, GraphError, NotBuiltError, NotCompiledError, unknown_name
from lamina.execution.batches import unpack_x_y_sample_weight
from lamina.execution.overrides import standard_step
from lamina.execution.program import Program, Purpose
from lamina.execution.state import Loose, Variables
from lamina.layers import Lambda, Layer
from lamina.layers.arguments import call_signature, shapes_of
from lamina.layers.structure import Snapshot, flatten_layers, has_automatic_name
from lamina.models.cloning import graph_config, graph_from_config
from lamina.models.functional import Graph
from lamina.saving import archive
from lamina.serialization import registry
from lamina.serialization.registry import builtin
from lamina.training import loop
from lamina.training.data import Pass, whole_number
from lamina.training.objective import Objective
from lamina.tree import nested

# Programs that a model keeps, for each purpose and each set of weights that trained lately.
_MOST_PROGRAMS = 12


class _Attributes:
    """What every model has from its making on."""

    _graph: Graph | None
    _objective: Objective | None
    _programs: dict[Any, Any]
    _structure: Snapshot | None  # what `_programs` were made for
    _call_is_pure: bool | None  # None: not yet found out
    _stack: list[Layer]  # of a Sequential
    _tensors: list[Any]  # of a Sequential: the input, then each layer's output
    optimizer: Any
    stop_training: bool
    history: Any
    _seed: int
    _steps_taken: int
    _training: Loose | None
    _seeded: int
    _runs: int


@builtin("models", file_module="keras")
class Model(_Attributes, Layer):
    """A graph of layers, or a subclass with a ``call``, that can be trained.

    Three ways to make one:

    * ``Model(inputs, outputs)``: the graph between symbolic tensors, in any nesting;
    * :class:`Sequential`: a plain stack of layers;
    * a subclass that makes layers in ``__init__`` and calls them in ``call``.

    Args:
        inputs: what ``Input`` returned, or any tensor of a graph; a dict names its entries.
        outputs: tensors computed from ``inputs``.
        name: the model's name.
        trainable: whether the optimizer may change the weights.

    Raises:
        GraphError: the outputs need an input that is not listed; a layer was passed uncalled.

    >>> from lamina import layers
    >>> inputs = layers.Input((784,))
    >>> outputs = layers.Dense(10)(layers.Dense(64, activation="relu")(inputs))
    >>> model = Model(inputs, outputs, name="mnist_model")
    >>> model.count_params()
    50890
    """

    _lists_input: ClassVar[bool] = True  # whether the input is one of `layers`
    _untracked = Layer._untracked | {
        "_graph", "_objective", "_programs", "_structure", "_training", "optimizer", "history",
    }  # fmt: skip

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = Functional if cls is Model and (args or "inputs" in kwargs) else cls
        self = super().__new__(made, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        self._graph, self._objective, self.optimizer = None, None, None
        self._run_eagerly, self.stop_training, self.history = False, False, None
        self._programs, self._structure, self._call_is_pure = {}, None, None
        self._seed, self._seeded = settings.global_seed(), settings.times_seeded()
        self._steps_taken = self._runs = 0
        self._training = None
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
            self._set_graph(Graph(inputs, outputs))
            if not trainable:
                self.trainable = False

    def _set_graph(self, graph: Graph | None) -> None:
        self._graph = graph
        self._graph_generators = () if graph is None else graph.seed_generators
        self.built = graph is not None
        self.supports_masking = True
        self._programs, self._structure, self._call_is_pure = {}, None, None
        self._inner_names = (-1, {})

    def _trains(self) -> tuple[bool, ...]:
        """What trains, by variable; also sees to it that the programs are those of this model."""
        if self._structure is None or not self._structure.is_current():
            self._structure = Snapshot(self)
            self._programs, self._call_is_pure = {}, None
        return self._structure.trains()

    @property
    def run_seed(self) -> int:
        """The seed of shuffling and of draws in steps.

        It is that of the model's making or of its file, or the one that was set since.
        """
        if self._seeded != settings.times_seeded():
            self._seed, self._seeded = settings.global_seed(), settings.times_seeded()
        return self._seed

    @property
    def steps_taken(self) -> int:
        """How many training steps the model has taken, those before it was saved included."""
        return self._steps_taken if self._training is None else int(self._training.state.step)

    def took_steps(self, step: int) -> None:
        """Note the number of the next training step."""
        self._steps_taken = step

    def follow(self, training: Loose | None) -> None:
        """Count steps as ``training`` does, until called with None."""
        if training is None:
            self._steps_taken = self.steps_taken
        self._training = training

    def resume_at(self, seed: int, step: int) -> None:
        """Draw from now on what a model of this seed draws after so many training steps."""
        self._seed, self._seeded, self._steps_taken = seed, settings.times_seeded(), step

    def run_key(self, purpose: Purpose) -> Any:
        """Bare key data for the random draws of a run.

        Training draws by the seed and the number of the step; other runs draw anew each time.
        """
        if purpose == "train":
            return prng.key_data(self.run_seed, "fit")
        self._runs += 1
        return prng.key_data(self.run_seed, purpose, self._runs)

    def program_for(self, purpose: Purpose) -> Program:
        """The compiled steps for a purpose, kept until what they were made for changes.

        What trains is part of the key: toggling ``trainable`` back finds the earlier program.
        """
        # A prediction does not depend on what trains, but for layers that look at it.
        compiled = () if purpose == "predict" else self._compiled_versions()
        key = purpose, self._trains(), self._run_eagerly, compiled
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= _MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            program = self._programs[key] = Program(self, purpose, self._run_eagerly)
        return program

    def _compiled_versions(self) -> tuple[int, ...]:
        """Counts of changes of what the model was compiled with."""
        if self._objective is None:
            return ()
        return tuple(version_of(x) for x in (self.optimizer, *self._objective.parts()))

    # ---- the graph -----------------------------------------------------------------------------

    @property
    def graph(self) -> Graph | None:
        """Nodes, inputs, outputs and plan; None for a model that is not a graph."""
        return self._graph

    def _need_graph(self, what: str) -> Graph:
        if self._graph is None:
            raise NotBuiltError(
                f"`{what}` of {self.name!r} is known only for a model that is a graph. "
                f"{type(self).__name__} has "
                + ("seen no input yet: start it with an `Input`, or build it with a shape."
                   if not self._lists_input else "a `call` of its own.")
            )  # fmt: skip
        return self._graph

    @property
    def input(self) -> Any:
        """The model's inputs, in the nesting they were given in."""
        return self._need_graph("input").input_structure

    @property
    def output(self) -> Any:
        """The model's outputs, in the nesting they were given in."""
        return self._need_graph("output").output_structure

    @property
    def inputs(self) -> list[Any]:
        """The input tensors, flat."""
        return list(self._need_graph("inputs").inputs)

    @property
    def outputs(self) -> list[Any]:
        """The output tensors, flat."""
        return list(self._need_graph("outputs").outputs)

    @property
    def input_names(self) -> list[str]:
        """One name for each input: by these, ``fit`` finds its data in a dict."""
        return list(self._need_graph("input_names").input_names)

    @property
    def output_names(self) -> list[str]:
        """One name for each output: by these, losses, metrics, targets and logs are named."""
        return list(self._need_graph("output_names").output_names)

    @property
    def input_shape(self) -> Any:
        """The inputs' shapes, in their nesting."""
        return nested.map_structure(lambda x: x.shape, self.input)

    @property
    def output_shape(self) -> Any:
        """The outputs' shapes, in their nesting."""
        return nested.map_structure(lambda x: x.shape, self.output)

    def sizes(self, data: Any) -> dict[str, int]:
        """What each named size of the inputs is in ``data``, the batch among them.

        Args:
            data: arrays in the nesting of the inputs, or a dict by name.

        Raises:
            ShapeError: they do not fit, or one name has two sizes.

        >>> from lamina import layers
        >>> x = layers.Input(("time", 8))
        >>> Model(x, layers.LSTM(4)(x)).sizes(np.zeros((2, 30, 8)))
        {'batch': 2, 'time': 30}
        """
        return self._need_graph("sizes").sizes(data)

    @property
    def operations(self) -> list[Operation]:
        """Layers and ops of the graph, in the order of the summary."""
        return self._graph.operations if self._graph is not None else list(self.layers)

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, those farthest from the outputs first."""
        return self._sublayers()

    @layers.setter
    def layers(self, _: Any) -> None:
        raise AttributeError("`Model.layers` cannot be set. Use another name for your attribute.")

    def _listed_layers(self) -> list[Layer]:
        return self._graph.layers if self._graph is not None else []

    def _name_inner(self) -> dict[Any, tuple[str, str]]:
        names: dict[Any, tuple[str, str]] = {}
        taken: dict[str, None] = {}
        for x in self._graph.layers if self._graph is not None else ():
            prefix = registry.stem_of(type(x))
            name = naming.free(taken, prefix if has_automatic_name(x) else x.name)
            taken[name] = None
            names[x] = x.name, name
        return {**super()._name_inner(), **names}

    def _sublayers(self) -> list[Layer]:
        own = super()._sublayers()
        return list(dict.fromkeys([*(self._graph.layers if self._graph else ()), *own]))

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that place of :attr:`layers`.

        Raises:
            UnknownNameError: no such name; the closest ones are listed.
            ArgumentError: neither or both were given, or the index is out of range.
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
        raise unknown_name(f"layer of {self.name!r}", name, [x.name for x in layers])

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for tensors or arrays, in the nesting of the outputs.

        On arrays a graph of the library's own layers runs compiled, as in :meth:`predict`; a graph
        with layers of yours, or with ``training=True``, runs layer by layer.
        """
        if (
            self._graph is not None and current() is None and len(args) == 1
            and not kwargs.get("training") and not kwargs.keys() - {"training"}
            and all(isinstance(x, (np.ndarray, jax.Array)) and not isinstance(x, jax.core.Tracer)
                    and get_mask(x) is None for x in nested.flatten(args[0]))
            and self._may_run_compiled()
        ):  # fmt: skip
            outputs = loop.predict_now(self, args[0])
            self._losses_of_call = []
            return outputs
        return super().__call__(*args, **kwargs)

    def _may_run_compiled(self) -> bool:
        """Whether a call leaves nothing behind that a compiled run would lose."""
        self._trains()
        if self._call_is_pure is None:
            graph = self._need_graph("layers")
            self._call_is_pure = (
                not any(x.mask is not None for x in graph.outputs)
                and type(self).call is Model.call
                and not registry.defined_by_user(type(self), "predict_step")
                and all(
                    registry.registration_of(type(x)) is not None
                    and x.activity_regularizer is None and not isinstance(x, Lambda)
                    for x in flatten_layers(self) if x is not self
                )
            )  # fmt: skip
        return self._call_is_pure and not self._run_eagerly

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Run the graph; a subclass that is no graph defines its own."""
        if self._graph is None:
            raise NotBuiltError(
                f"{type(self).__name__} has neither a graph nor a `call`. Pass `inputs` and "
                "`outputs` to its constructor, or define `def call(self, inputs): ...`."
            )
        return self._graph.run(inputs, mask)

    def _propagate_mask(self, inputs: Any, previous: Any, outputs: Any) -> None:
        """The layers inside have already said which masks go on, unless the user's class does."""
        if registry.defined_by_user(type(self), "compute_mask"):
            super()._propagate_mask(inputs, previous, outputs)

    def build(self, input_shape: Any) -> None:
        """Make all weights for inputs of this shape (batch included, None for open sizes).

        Args:
            input_shape: a tuple, or a list or dict of them for several inputs.
        """
        if self._graph is None:
            self.build_from_specs(_specs_from_shapes(input_shape, self.compute_dtype))

    def _build_for(self, arguments: Mapping[str, Any]) -> None:
        """Let the first call make the weights, unless the class has a ``build`` of its own."""
        if type(self).build is not Model.build:
            super()._build_for(arguments)
        elif self._graph is None:
            inputs = arguments[call_signature(type(self)).first or ""]
            self._build_shapes = {"input_shape": shapes_of(inputs)}
        self.built = True

    def build_from_specs(self, specs: Any) -> None:
        """Make all weights by running ``call`` abstractly on specs."""
        leaves = nested.flatten(specs)

        def run(*arrays: Any) -> Any:
            with entered(Scope(pure=True, abstract=True, key=prng.base_key(0))):
                return self(nested.unflatten(specs, list(arrays)))

        self.built = True  # for a `build` of the user's own that has called this one
        try:
            spec.evaluate(run, leaves)
            if "_build_shapes" not in self.__dict__:
                shapes = nested.map_structure(lambda s: s.shape, specs)
                self._build_shapes = {"input_shape": shapes}
        except BaseException:
            self.built = False
            raise

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
    ) -> None:
        """Print the table of layers, output shapes and parameter counts.

        Args:
            line_length: width in characters; the terminal's when None.
            positions: kept for compatibility: columns find their own widths.
            print_fn: receives the text instead of the standard output.
            expand_nested: also show the layers inside of nested models.
            show_trainable: add a column that says what trains.
            layer_range: first and last layer to show, by name or regular expression.
            show_cost: add columns for one sample: arithmetic operations, memory of the outputs.

        ``lamina.visualization.summarize(model)`` returns the same table as an object.
        """
        visualization.print_summary(
            self, line_length=line_length, positions=positions, print_fn=print_fn,
            expand_nested=expand_nested, show_trainable=show_trainable, layer_range=layer_range,
            show_cost=show_cost,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return visualization.repr_html(self)

    # ---- training ------------------------------------------------------------------------------

    @public
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | None = None,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose what to minimise, how, and what to report.

        Args:
            optimizer: a name, an :mod:`lamina.optimizers` object, or an optax transformation.
            loss: a name, object or function; a list in the order of the outputs, or a dict by
                output name, for several outputs (None: no loss for that output).
            loss_weights: a number for each loss, as a list or dict.
            metrics: names, objects or functions; ``"accuracy"`` takes the kind that fits the
                output. A list for one output; a list of lists or a dict for several.
            weighted_metrics: the same, for metrics that use sample weights.
            run_eagerly: run layer by layer with real values, for debugging.
            steps_per_execution: kept for compatibility: the loop finds how many steps to run in
                one dispatch by itself.
            jit_compile: kept for compatibility: everything is compiled.
            auto_scale_loss: under the policy ``"mixed_float16"``, scale the loss so that small
                gradients do not vanish (:class:`~lamina.optimizers.LossScaleOptimizer`).

        Raises:
            UnknownNameError: a name that no table knows, or no output has.
        """
        objective = Objective(loss, loss_weights, metrics, weighted_metrics)
        if self._graph is not None:
            objective.bind(self._graph.output_names, self._graph.output_structure)
        self.optimizer = optimizers.get(optimizer)
        scales = isinstance(self.optimizer, optimizers.LossScaleOptimizer)
        if auto_scale_loss and not scales and self.dtype_policy.name == "mixed_float16":
            self.optimizer = optimizers.LossScaleOptimizer(self.optimizer)
        self._objective = objective
        self._run_eagerly = run_eagerly
        self._programs = {}

    @property
    def objective(self) -> Objective:
        """Losses and metrics bound to outputs; set by :meth:`compile`."""
        if self._objective is None:
            raise NotCompiledError(
                f"Model {self.name!r} has no loss or optimizer yet. Call "
                '`model.compile(optimizer="adam", loss=...)` first.'
            )
        return self._objective

    @property
    def compiled(self) -> bool:
        """Whether :meth:`compile` was called."""
        return self._objective is not None

    @property
    def run_eagerly(self) -> bool:
        """Whether training runs layer by layer, uncompiled."""
        return self._run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._run_eagerly = bool(value)
        self._programs = {}

    @property
    def metrics(self) -> list[Any]:
        """The metric objects: the loss's, those given to :meth:`compile`, those that layers hold.

        A metric that is an attribute of this model or of a layer inside is reset and reported with
        the others; update it in ``call``, ``compute_metrics`` or a step of your own.
        """
        compiled = [] if self._objective is None else list(self._objective.trackers.values())
        held = (x for layer in flatten_layers(self) for x in held_as(layer, "metric"))
        return list({id(m): m for m in (*compiled, *held)}.values())

    @property
    def metrics_names(self) -> list[str]:
        """Their names in the logs."""
        return list(self.get_metrics_result())

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of all metrics, in the order of :attr:`metrics`."""
        return [v for metric in self.metrics for v in metric.variables]

    def get_metrics_result(self) -> dict[str, Any]:
        """What the metrics say now, by log name."""
        return self.objective.results(self.metrics)

    def reset_metrics(self) -> None:
        """Forget what the metrics have accumulated."""
        for metric in self.metrics:
            metric.reset_state()

    @public
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        dry_run: bool = False,
        check_nans: bool = False,
    ) -> Any:
        """Train for a number of passes over the data.

        Everything is checked before the first step: names, shapes, dtypes, targets against outputs.

        ``x`` is one of these; none of the libraries is imported that does not come with it:

        * Arrays in the nesting of the inputs (a dict by name always works): of NumPy or JAX,
          tensors, pandas and polars frames and columns, lists of numbers. What is memory-mapped,
          in HDF5 or a SciPy sparse matrix is read and made dense a batch at a time.
        * A :class:`lamina.utils.PyDataset`.
        * A PyTorch ``DataLoader``, a ``tf.data.Dataset``, or a grain ``DataLoader``,
          ``MapDataset`` or ``IterDataset``, whose elements are batches.
        * A Hugging Face ``datasets.Dataset`` or ``IterableDataset``. The columns named like inputs
          and outputs are taken; the first kind is batched and shuffled like arrays.
        * A generator or another iterable of batches.

        A batch is ``x``, ``(x, y)`` or ``(x, y, sample_weight)``. One dict may hold inputs and
        targets together: then the entries named like outputs are the targets.

        Batches of iterables are made by one background thread, at most two ahead of need and never
        beyond ``steps_per_epoch``: a generator's rest is still there afterwards.

        Args:
            x: inputs, or batches.
            y: targets, in the nesting of the outputs or a dict by name; not for iterables.
            batch_size: samples in a step, of arrays and tables; 32 when None.
            epochs: index of the last epoch, counted from 1.
            verbose: 0 silent, 1 progress line, 2 one line an epoch, ``"auto"``.
            callbacks: :class:`~lamina.callbacks.Callback` objects.
            validation_split: share of the samples, from the end, kept apart for validation.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or an iterable of batches.
            shuffle: whether each epoch takes the samples, of a ``PyDataset`` the batches, in a new
                order. Other iterables keep their own.
            class_weight: weight of each class number in the loss.
            sample_weight: weight of each sample in the loss.
            initial_epoch: epoch to begin with.
            steps_per_epoch: steps that make an epoch; needed for data without end. The next epoch
                goes on where this one stopped. Data that ends begins anew; a generator cannot.
            validation_steps: batches of the validation data to use.
            validation_batch_size: ``batch_size`` when None.
            validation_freq: validate every so many epochs, or a list of epochs.
            dry_run: check everything and return the report of :meth:`check`, without a step.
            check_nans: stop at the first step that is not finite, before it changes the weights,
                and say which layer, loss or gradient it began with. Slower: it waits for each step.

        Returns:
            A ``History``; ``history.history`` maps each log name to a list, one entry an epoch.

        Raises:
            DataError: no samples, or arrays of different length.
            ShapeError, StructureError, UnknownNameError: data that does not fit the model.
            NonFiniteError: with ``check_nans``, a step that is not finite.
        """
        run = loop.Run(epochs, initial_epoch, validation_freq, verbose, callbacks, class_weight,
                       validation_split, dry_run, check_nans)  # fmt: skip
        over = _pass(batch_size, steps_per_epoch, "steps_per_epoch", training=True, shuffle=shuffle)
        check = _pass(validation_batch_size or batch_size, validation_steps, "validation_steps")
        return loop.fit(self, (x, y, sample_weight), over, validation_data, check, run)

    @public
    def check(
        self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int | None = None
    ) -> Any:
        """Look at a training step without taking it.

        Names, shapes and dtypes are checked as :meth:`fit` would; of a model that is not compiled,
        the forward pass alone.

        Args:
            x: as for :meth:`fit`.
            y: as for :meth:`fit`.
            sample_weight: as for :meth:`fit`.
            batch_size: samples in the step; 32 when None.

        Returns:
            A report to print: each layer's output, mask, parameters, operations and memory; which
            target and loss belong to which output; weights that no loss reaches; lost masks.

        >>> from lamina import layers
        >>> x = layers.Input((4,))
        >>> model = Model(x, layers.Dense(1, name="out")(x))
        >>> model.compile("sgd", "mse")
        >>> found = model.check(np.ones((8, 4)), np.ones(8))
        >>> found.operations, found.unreached, found.bindings[0][:4]
        (72, [], ('out', '(8, 1) float32', '(8,) float32', 'mean_squared_error'))
        """
        return loop.check(self, (x, y, sample_weight), _pass(batch_size))

    @public
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data, without training.

        Args:
            x: as for :meth:`fit`.
            y: as for :meth:`fit`.
            batch_size: samples in a step; 32 when None.
            verbose: as for :meth:`fit`.
            sample_weight: weight of each sample.
            steps: batches to use; all when None.
            callbacks: callbacks with test hooks.
            return_dict: return a dict by name instead of a list.

        Returns:
            The loss, or the list of loss and metrics, or a dict.
        """
        over = _pass(batch_size, steps)
        return loop.evaluate(self, (x, y, sample_weight), over, verbose, callbacks, return_dict)

    @public
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for all samples, as NumPy arrays in the nesting of the outputs.

        Args:
            x: as for :meth:`fit`.
            batch_size: samples in a step; 32 when None.
            verbose: as for :meth:`fit`.
            steps: batches to use; all when None.
            callbacks: callbacks with predict hooks.
        """
        return loop.predict(self, x, _pass(batch_size, steps), verbose, callbacks)

    @public
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; returns the loss and the metrics accumulated since the reset."""
        return loop.train_on_batch(self, x, y, sample_weight, class_weight, return_dict)

    @public
    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch, without training."""
        return loop.test_on_batch(self, x, y, sample_weight, return_dict)

    @public
    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        return loop.predict_on_batch(self, x)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The scalar that training minimises; override it to minimise something else.

        The default is the weighted sum of the compiled losses, plus :attr:`losses`: what layers
        added with ``add_loss``, and the penalties of regularizers.

        Args:
            x: a batch of inputs.
            y: its targets.
            y_pred: the model's outputs for ``x``.
            sample_weight: weights of the samples, or None.
            training: whether this is a training step.
        """
        return sum(self.losses, self.objective.loss(y, y_pred, sample_weight))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Let the metrics see a batch; what it returns is reported as the logs.

        Override it to report more: call ``super().compute_metrics(...)`` and add to its dict.

        Args:
            x: a batch of inputs.
            y: its targets.
            y_pred: the model's outputs for ``x``.
            sample_weight: weights of the samples, or None.

        Returns:
            A dict of scalars by log name.
        """
        self.objective.update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def losses(self) -> list[Any]:
        """What was added to the loss in the running step or the last call, then the penalties."""
        scope = current()
        added = self._losses_of_call if scope is None else scope.record.losses
        return [*added, *self.weight_penalties()]

    def train_step(self, state: Any, data: Any) -> Any:
        """One step of training, as a pure function; override it for an algorithm of your own.

        It is traced and compiled by :meth:`fit`. A step of your own calls ``self.stateless_call``
        (under ``jax.value_and_grad``), ``self.optimizer.stateless_apply`` and
        ``metric.stateless_update_state``; or ``super().train_step(state, data)``.

        Args:
            state: ``(trainable_variables, non_trainable_variables, optimizer_variables,
                metrics_variables)``: lists of arrays in the order of these properties of the model
                and of ``optimizer.variables``.
            data: a batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Returns:
            ``(logs, state)``: scalars by name, and the new lists.
        """
        return standard_step(self, "train_step", state, data, self._bindings("train"))

    def test_step(self, state: Any, data: Any) -> Any:
        """One step of :meth:`evaluate`, as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables, metrics_variables)``.
            data: a batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Returns:
            ``(logs, state)``: scalars by name, and the new lists.
        """
        return standard_step(self, "test_step", state, data, self._bindings("test"))

    def predict_step(self, state: Any, data: Any) -> Any:
        """One step of :meth:`predict`, as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables)``.
            data: a batch of inputs.

        Returns:
            ``(outputs, non_trainable_variables)``.
        """
        return self.stateless_call(*state, unpack_x_y_sample_weight(data)[0], training=False)

    def _bindings(self, purpose: Purpose) -> Variables:
        """The variables of the lists that a step is given."""
        return Program(self, purpose, eager=True).variables

    def get_compile_config(self) -> dict[str, Any]:
        """What :meth:`compile` was told, by argument name."""
        given = {"optimizer": self.optimizer, **self.objective.given}
        return {**given, "run_eagerly": True} if self._run_eagerly else given

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as :meth:`get_compile_config` says."""
        known = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly")
        self.compile(**{k: config[k] for k in known if k in config})

    # ---- files ---------------------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Save architecture, weights, compile settings and optimizer state in one ``.keras`` file.

        The file appears whole or not at all. See :func:`lamina.saving.save_model`.
        """
        archive.save_model(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Save the weights alone, as ``.weights.h5`` or ``.safetensors``."""
        archive.save_weights(self, filepath, overwrite)

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, by_name: bool = False
    ) -> None:
        """Read what :meth:`save_weights` wrote; all weights, or the model stays as it was.

        See :func:`lamina.saving.load_weights`.
        """
        archive.load_weights(self, filepath, skip_mismatch, by_name)

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON text; ``lamina.models.model_from_json`` reads it.

        Args:
            kwargs: for ``json.dumps``, such as ``indent=2``.
        """
        return json.dumps(registry.serialize(self), **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The graph as data; of a subclass, its constructor's arguments."""
        if self._graph is None or not _is_plain_functional(type(self)):
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **graph_config(self._graph)}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """A new model from :meth:`get_config`'s data, with newly drawn weights.

        Args:
            config: the data.
            custom_objects: your own classes and functions by name.
        """
        if "layers" not in config or "input_layers" not in config:
            return super().from_config(config)
        graph = graph_from_config(config, custom_objects)
        made: Any = Functional if cls is Model else cls
        model = made(graph.input_structure, graph.output_structure, name=config.get("name"))
        model.graph.list_as(record["name"] for record in config["layers"])
        if config.get("trainable") is False:  # the layers inside have been told by their own
            model._trainable = False
        return model

    def _own_objects(self) -> dict[str, Any]:
        """The user's classes and functions that the model is made of, by name."""
        parts: list[Any] = flatten_layers(self)
        given: list[Any] = []
        if self._objective is not None:
            parts = [*parts, self.optimizer, *self._objective.parts()]
            given = nested.flatten(self._objective.given)
        found: list[Any] = [type(x) for x in (*parts, *given) if not inspect.isfunction(x)]
        found += [v for x in parts for v in vars(x).values() if inspect.isfunction(v)]
        found += [x for x in given if inspect.isfunction(x)]
        return {x.__name__: x for x in found
                if registry.registration_of(x) is None and x.__module__ != "builtins"}  # fmt: skip

    def __reduce__(self) -> Any:
        """Pickled and copied as the bytes of its ``.keras`` file, which hold no code."""
        return archive.from_bytes, (archive.to_bytes(self), self._own_objects())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A model with the same weights, compile settings and optimizer state, of its own."""
        copy = archive.from_bytes(archive.to_bytes(self), self._own_objects())
        memo[id(self)] = copy
        return copy


@builtin("models", file_module="keras.src.models.functional")
class Functional(Model):
    """A model made of ``inputs`` and ``outputs``; what ``Model(inputs, outputs)`` returns."""


def _is_plain_functional(cls: type) -> bool:
    """Whether the constructor takes ``inputs`` and ``outputs``, so that a graph can rebuild it."""
    return cls.__init__ is Model.__init__


def _pass(
    batch_size: Any, steps: Any = None, name: str = "steps", training: bool = False,
    shuffle: bool = False,
) -> Pass:  # fmt: skip
    """How to pass over data, from a user's numbers."""
    return Pass(
        32 if batch_size is None else whole_number(batch_size, "batch_size"),
        None if steps is None else whole_number(steps, name),
        training=training,
        shuffle=shuffle,
    )


def _specs_from_shapes(shape: Any, dtype: str) -> Any:
    if isinstance(shape, Mapping):
        return {k: _specs_from_shapes(v, dtype) for k, v in shape.items()}
    if all(d is None or isinstance(d, (int, str, np.integer)) for d in shape):
        dims = (spec.BATCH if shape[0] is None else shape[0], *shape[1:])
        return spec.TensorSpec(dims, dtype)
    return [_specs_from_shapes(s, dtype) for s in shape]


__all__ = ["Functional", "Model"]
