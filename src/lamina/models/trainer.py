"""What a model does with data: compile, fit, evaluate, predict; its compiled steps and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina import optimizers, settings
from lamina.core import prng
from lamina.core.boundary import public
from lamina.core.scope import current
from lamina.core.tracking import held_as, version_of
from lamina.errors import NotCompiledError
from lamina.execution.batches import unpack_x_y_sample_weight
from lamina.execution.overrides import standard_step
from lamina.execution.program import Program, Purpose
from lamina.execution.state import Loose, Variables
from lamina.layers import Layer
from lamina.layers.state import Snapshot, flatten_layers
from lamina.models.functional import Graph
from lamina.serialization.registry import builtin
from lamina.training import loop
from lamina.training.data.passes import Pass, whole_number
from lamina.training.objective import Objective

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
    steps_per_execution: int
    _run_eagerly: bool
    _jit_compile: Any
    history: Any
    _seed: int
    _steps_taken: int
    _training: Loose | None
    _seeded: int
    _runs: int


@builtin()
class Trainer(_Attributes, Layer):
    """The verbs of training, over pure steps that are compiled once for what trains."""

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
        key = self._program_key(purpose)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= _MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            program = self._programs[key] = Program(self, purpose, key[2])
        return program

    def keep_program(self, program: Program) -> None:
        """Keep a program that has seen its first batch: that may have made metrics."""
        self._programs[self._program_key(program.purpose)] = program

    def _program_key(self, purpose: Any) -> tuple[Any, tuple[bool, ...], bool, Any]:
        """The purpose, what trains, whether to run uncompiled, what the model was compiled with."""
        # A prediction does not depend on what trains, but for layers that look at it.
        compiled: tuple[int, ...] = ()
        if purpose != "predict" and self._objective is not None:
            compiled = tuple(version_of(x) for x in (self.optimizer, *self._objective.parts()))
        return purpose, self._trains(), self._run_eagerly or not self._jit_compile, compiled

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
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose what to minimise, how, and what to report.

        Args:
            optimizer: A name, an :mod:`lamina.optimizers` object, or an optax transformation.
            loss: A name, object or function; a list in the order of the outputs, or a dict by
                output name, for several outputs (None: no loss for that output).
            loss_weights: A number for each loss, as a list or dict.
            metrics: Names, objects or functions; ``"accuracy"`` takes the kind that fits the
                output. A list for one output; a list of lists or a dict for several.
            weighted_metrics: The same, for metrics that use sample weights.
            run_eagerly: Run layer by layer with real values, for debugging.
            steps_per_execution: Steps in one dispatch where a callback listens to batches, whose
                hooks are then called once for so many: at the first and after the last of them. Of
                arrays only. Where none listens, fit() finds how many are worth a dispatch.
            jit_compile: False: run layer by layer, like ``run_eagerly``.
            auto_scale_loss: Under the policy ``"mixed_float16"``, scale the loss so that small
                gradients do not vanish (:class:`~lamina.optimizers.LossScaleOptimizer`).

        Raises:
            UnknownNameError: A name that no table knows, or no output has.
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
        self._jit_compile = jit_compile
        self.steps_per_execution = whole_number(
            1 if steps_per_execution is None else steps_per_execution, "steps_per_execution"
        )
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
    def jit_compile(self) -> Any:
        """Whether steps are compiled: ``"auto"`` and True, they are."""
        return self._jit_compile

    @jit_compile.setter
    def jit_compile(self, value: Any) -> None:
        self._jit_compile = value

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
            x: Inputs, or batches.
            y: Targets, in the nesting of the outputs or a dict by name; not for iterables.
            batch_size: Samples in a step, of arrays and tables; 32 when None.
            epochs: Index of the last epoch, counted from 1.
            verbose: 0 silent, 1 progress line, 2 one line an epoch, ``"auto"``.
            callbacks: :class:`~lamina.callbacks.Callback` objects.
            validation_split: Share of the samples, from the end, kept apart for validation.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or an iterable of batches.
            shuffle: Whether each epoch takes the samples, of a ``PyDataset`` the batches, in a new
                order. Other iterables keep their own.
            class_weight: Weight of each class number in the loss.
            sample_weight: Weight of each sample in the loss.
            initial_epoch: Epoch to begin with.
            steps_per_epoch: Steps that make an epoch; needed for data without end. The next epoch
                goes on where this one stopped. Data that ends begins anew; a generator cannot.
            validation_steps: Batches of the validation data to use.
            validation_batch_size: ``batch_size`` when None.
            validation_freq: Validate every so many epochs, or a list of epochs.
            dry_run: Check everything and return the report of :meth:`check`, without a step.
            check_nans: Stop at the first step that is not finite, before it changes the weights,
                and say which layer, loss or gradient it began with. Slower: it waits for each step.

        Returns:
            A ``History``; ``history.history`` maps each log name to a list, one entry an epoch.

        Raises:
            DataError: No samples, or arrays of different length.
            ShapeError, StructureError, UnknownNameError: Data that does not fit the model.
            NonFiniteError: With ``check_nans``, a step that is not finite.
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
            x: As for :meth:`fit`.
            y: As for :meth:`fit`.
            sample_weight: As for :meth:`fit`.
            batch_size: Samples in the step; 32 when None.

        Returns:
            A report to print: each layer's output, mask, parameters, operations and memory; which
            target and loss belong to which output; weights that no loss reaches; lost masks.

        >>> import numpy as np
        >>> from lamina import Model, layers
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
            x: As for :meth:`fit`.
            y: As for :meth:`fit`.
            batch_size: Samples in a step; 32 when None.
            verbose: As for :meth:`fit`.
            sample_weight: Weight of each sample.
            steps: Batches to use; all when None.
            callbacks: Callbacks with test hooks.
            return_dict: Return a dict by name instead of a list.

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
            x: As for :meth:`fit`.
            batch_size: Samples in a step; 32 when None.
            verbose: As for :meth:`fit`.
            steps: Batches to use; all when None.
            callbacks: Callbacks with predict hooks.
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
            x: A batch of inputs.
            y: Its targets.
            y_pred: The model's outputs for ``x``.
            sample_weight: Weights of the samples, or None.
            training: Whether this is a training step.
        """
        return sum(self.losses, self.objective.loss(y, y_pred, sample_weight))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Let the metrics see a batch; what it returns is reported as the logs.

        Override it to report more: call ``super().compute_metrics(...)`` and add to its dict.

        Args:
            x: A batch of inputs.
            y: Its targets.
            y_pred: The model's outputs for ``x``.
            sample_weight: Weights of the samples, or None.

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
            data: A batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Returns:
            ``(logs, state)``: scalars by name, and the new lists.
        """
        return standard_step(self, "train_step", state, data, self._bindings("train"))

    def test_step(self, state: Any, data: Any) -> Any:
        """One step of :meth:`evaluate`, as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables, metrics_variables)``.
            data: A batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Returns:
            ``(logs, state)``: scalars by name, and the new lists.
        """
        return standard_step(self, "test_step", state, data, self._bindings("test"))

    def predict_step(self, state: Any, data: Any) -> Any:
        """One step of :meth:`predict`, as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables)``.
            data: A batch of inputs.

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


__all__ = ["Trainer"]
