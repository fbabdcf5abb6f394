"""Training of models: compile, fit, evaluate, predict; compiled steps and seeds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from lamina import optimizers, settings
from lamina.core import prng
from lamina.core.boundary import public
from lamina.core.scope import current
from lamina.core.tracking import version_of
from lamina.errors import NotCompiledError
from lamina.execution.batches import unpack_x_y_sample_weight
from lamina.execution.overrides import standard_step
from lamina.execution.program import Program, Purpose
from lamina.execution.state import Loose, Variables
from lamina.layers.snapshot import Snapshot
from lamina.models.distributed import Distributed
from lamina.models.functional import Graph
from lamina.serialization import registry
from lamina.training import loop
from lamina.training.data.passes import pass_over, whole_number
from lamina.training.objective import Objective
from lamina.training.run import Run

_MOST_PROGRAMS = 12  # that are cached, for each purpose and set of trainable weights


class _Attributes:
    """The internal attributes of all models."""

    _layer_graph: Graph | None
    _bound_losses: Objective | None
    loss: Any
    _step_programs: dict[Any, Any]
    _layer_snapshot: Snapshot | None  # the structure for which `_step_programs` were created
    # What a call depended on and, if it had no side effects, the program that computed it.
    _program_of_calls: tuple[Any, Any, Program | None] | None
    optimizer: Any
    stop_training: bool
    steps_per_execution: int
    _run_eagerly: bool
    _jit_compile: Any
    history: Any
    _draw_seed: int
    _steps_taken: int
    _live_state: Loose | None
    _times_seeded: int
    _draw_runs: int


@registry.builtin()
class Trainer(_Attributes, Distributed):
    """The training methods of models, implemented by pure steps that are compiled once."""

    def trainable_flags(self) -> tuple[bool, ...]:
        """Whether each variable is trainable; discards the programs if the model has changed."""
        snapshot = self._layer_snapshot
        if snapshot is None or not snapshot.is_current(self):
            snapshot = self._layer_snapshot = Snapshot(self)
            self._forget_programs()
        return snapshot.trains(self)

    def _forget_programs(self, *purposes: Purpose) -> None:
        kept = self._step_programs.items() if purposes else ()
        self._step_programs = {k: program for k, program in kept if k[0] not in purposes}
        self._program_of_calls = None

    @property
    def run_seed(self) -> int:
        """The seed of shuffling and draws: the model's own, or the one that was set afterwards."""
        return self._as_seeded()._draw_seed

    def _as_seeded(self) -> Self:
        """This model, whose draws begin again if a seed was set since the last ones."""
        if self._times_seeded != settings.times_seeded():
            self.resume_at(settings.global_seed(), 0, 0)
        return self

    @property
    def steps_taken(self) -> int:
        """Number of training steps since the seed was set, and those before the model was saved."""
        live = self._live_state
        return self._as_seeded()._steps_taken if live is None else int(live.state.step)

    def took_steps(self, step: int) -> None:
        """Set the number of the next training step."""
        self._steps_taken = step

    def follow(self, training: Loose | None) -> None:
        """Use the step counter of ``training``, until called with None."""
        if training is None:
            self._steps_taken = self.steps_taken
        self._live_state = training

    @property
    def runs_taken(self) -> int:
        """Number of evaluations and predictions so far, each of which draws other numbers."""
        return self._as_seeded()._draw_runs

    def resume_at(self, seed: int, step: int, runs: int | None = None) -> None:
        """Continue the random draws after that many steps, evaluations and predictions."""
        self._draw_seed, self._times_seeded, self._steps_taken = seed, settings.times_seeded(), step
        self._draw_runs = self._draw_runs if runs is None else runs

    def run_key(self, purpose: Purpose) -> Any:
        """Raw key data for the draws of a run: training's repeat, others differ each time."""
        if purpose == "train":
            return prng.key_data(self.run_seed, "fit")
        first, second = prng.key_data(self.run_seed, purpose).tolist()
        self._draw_runs += 1
        return np.array((first, (second + self._draw_runs) & 0xFFFFFFFF), np.uint32)

    def program_for(self, purpose: Purpose) -> Program:
        """The compiled steps for a purpose, cached until the model changes.

        Setting ``trainable`` to a former value reuses the program of that value.
        """
        key = self._program_key(purpose)
        program = self._step_programs.get(key)
        if program is None:
            for oldest in list(self._step_programs)[: 1 - _MOST_PROGRAMS]:
                del self._step_programs[oldest]
            self.lay_out()
            program = self._step_programs[key] = Program(self, purpose, key[2])
        return program

    def keep_program(self, program: Program) -> None:
        """Cache a program after its first batch, which may have created metrics."""
        self._step_programs[self._program_key(program.purpose)] = program

    def _program_key(self, purpose: Any) -> tuple[Any, tuple[bool, ...], bool, Any, Any]:
        """What a program depends on, and keeps; the third entry says whether it runs eagerly."""
        losses = None if purpose == "predict" else self._bound_losses
        parts = () if losses is None else (self.optimizer, *losses.parts())
        compiled = tuple((id(x), version_of(x)) for x in parts if x is not None)
        trains = self.trainable_flags()  # which also brings `_layer_snapshot` up to date
        return purpose, trains, self._runs_uncompiled(), compiled, self._surroundings()

    def _runs_uncompiled(self) -> bool:
        if self._jit_compile == "auto" and self._layer_snapshot is not None:
            return self._run_eagerly or not self._layer_snapshot.supports_jit
        return self._run_eagerly or not self._jit_compile

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
        *,
        distribution: Any = None,
    ) -> None:
        """Set the optimizer, the losses and the metrics.

        Args:
            optimizer: A name, an :mod:`lamina.optimizers` object, or an optax transformation.
            loss: A name, object or function; for several outputs a list in their order, or a dict
                by output name (None for an output without a loss).
            loss_weights: A number for all losses, or for each, as a list or dict.
            metrics: Names, objects or functions; ``"accuracy"`` selects the variant for the shape
                of the output. A list for one output; a list of lists or a dict for several.
            weighted_metrics: Likewise, for metrics that use sample weights.
            run_eagerly: Whether to run layer by layer with concrete values, for debugging.
            steps_per_execution: Number of steps per dispatch if a callback has batch hooks, which
                are then called before the first and after the last of these steps; for data in
                arrays. Without such callbacks, :meth:`fit` chooses the number of steps itself.
            jit_compile: False to run layer by layer, like ``run_eagerly``. ``"auto"`` compiles
                unless a layer has ``supports_jit = False``.
            auto_scale_loss: Whether to scale the loss under the policy ``"mixed_float16"``, so that
                small gradients do not vanish (:class:`~lamina.optimizers.LossScaleOptimizer`).
            distribution: ``"data"``, ``"fsdp"``, ``"tensor"``, ``"fsdp+tensor"``, or an object of
                :mod:`lamina.distribution` that splits batches and weights over devices.

        Raises:
            UnknownNameError: An unknown name of an optimizer, loss, metric or output.
        """
        objective = Objective(loss, loss_weights, metrics, weighted_metrics)
        if self._layer_graph is not None:
            objective.bind(self._layer_graph.output_names, self._layer_graph.output_structure)
        self.optimizer = optimizers.get(optimizer)
        scales = isinstance(self.optimizer, optimizers.LossScaleOptimizer)
        if auto_scale_loss and not scales and self.dtype_policy.name == "mixed_float16":
            self.optimizer = optimizers.LossScaleOptimizer(self.optimizer)
        self._bound_losses = objective
        self.__dict__["loss"] = loss  # unless the user's class has a property of that name
        self._run_eagerly = run_eagerly
        self._jit_compile = jit_compile
        self.steps_per_execution = whole_number(
            1 if steps_per_execution is None else steps_per_execution, "steps_per_execution"
        )
        self._forget_programs()
        self.distribute(distribution)

    @property
    def training_objective(self) -> Objective:
        """Losses and metrics bound to outputs; set by :meth:`compile`."""
        if self._bound_losses is None:
            raise NotCompiledError(
                f"Model {self.name!r} is not compiled yet. Call "
                '`model.compile(optimizer="adam", loss=...)` first.'
            )
        return self._bound_losses

    @property
    def compiled(self) -> bool:
        """Whether :meth:`compile` was called."""
        return self._bound_losses is not None

    @property
    def run_eagerly(self) -> bool:
        """Whether steps run layer by layer instead of compiled."""
        return self._run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._run_eagerly = bool(value)
        self._forget_programs()

    @property
    def jit_compile(self) -> Any:
        """Whether steps are compiled; they are if it is ``"auto"`` or True."""
        return self._jit_compile

    @jit_compile.setter
    def jit_compile(self, value: Any) -> None:
        self._jit_compile = value
        self._program_of_calls = None

    @property
    def metrics(self) -> list[Any]:
        """The metrics: that of the loss, those passed to :meth:`compile`, and those of layers.

        Those of ``compile`` are a single one, ``compile_metrics``, for the targets and outputs of
        the whole model. A metric that is an attribute of this model or of an inner layer is reset
        and reported with the others; update it in ``call``, ``compute_metrics`` or your own step.
        """
        compiled = () if self._bound_losses is None else self._bound_losses.public_trackers()
        return list({id(m): m for m in (*compiled, *super().metrics)}.values())

    @property
    def metrics_names(self) -> list[str]:
        """The names of the metrics in the logs, in the order of the lists of :meth:`evaluate`."""
        return self.training_objective.in_order(self.get_metrics_result()) if self.compiled else []

    def make_train_function(self, force: bool = False) -> None:
        """Have the training step compiled by the next run; with ``force``, although it was."""
        self._make("train", force)

    def make_test_function(self, force: bool = False) -> None:
        """Have the step of evaluation compiled by the next run; see :meth:`make_train_function`."""
        self._make("test", force)

    def make_predict_function(self, force: bool = False) -> None:
        """Have the step of prediction compiled by the next run; see :meth:`make_train_function`."""
        self._make("predict", force)

    def _make(self, purpose: Purpose, force: bool) -> None:
        if force:
            self._forget_programs(purpose)
        self.program_for(purpose)

    def get_metrics_result(self) -> dict[str, Any]:
        """The current results of the metrics, by log name."""
        return {} if self._bound_losses is None else self._bound_losses.results(self.metrics)

    def reset_metrics(self) -> None:
        """Reset the state of all metrics."""
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
        resume: Any = None,
        checkpoint_every: Any = "epoch",
    ) -> Any:
        """Train for a number of passes over the data.

        Names, shapes and dtypes, and targets against outputs, are checked before the first step.

        ``x`` is one of the following; other libraries are only imported with data of theirs:

        * Arrays in the structure of the inputs (or a dict by name): of NumPy or JAX, tensors,
          pandas and polars frames and columns, lists of numbers. Memory-mapped arrays, HDF5
          datasets and SciPy sparse matrices are read and converted to dense arrays by batches.
        * A :class:`lamina.utils.Dataset` of batches, or a :class:`lamina.utils.PyDataset`.
        * A PyTorch ``DataLoader``, a ``tf.data.Dataset``, or a grain ``DataLoader``,
          ``MapDataset`` or ``IterDataset``, whose elements are batches.
        * A Hugging Face ``datasets.Dataset`` or ``IterableDataset``, whose columns are used if they
          have the name of an input or output. The former is batched and shuffled like arrays.
        * A generator or another iterable of batches.

        A batch is ``x``, ``(x, y)`` or ``(x, y, sample_weight)``. A single dict may contain inputs
        and targets; the entries with names of outputs are the targets.

        Batches of iterables are prepared by a background thread, at most two ahead of time and
        never beyond ``steps_per_epoch``, so that a generator can be used further afterwards.

        Args:
            x: Inputs, or batches.
            y: Targets in the structure of the outputs, or a dict by name; not for iterables.
            batch_size: Number of samples per step, for arrays and tables; 32 when None.
            epochs: Number of the last epoch, counted from 1.
            verbose: 0 for no output, 1 for a progress line, 2 for one line per epoch, ``"auto"``.
            callbacks: :class:`~lamina.callbacks.Callback` objects.
            validation_split: Fraction of the samples, at the end, that is used for validation.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or an iterable of batches.
            shuffle: Whether to shuffle the samples (or the batches of a ``PyDataset``) in each
                epoch. Other iterables keep their order.
            class_weight: Weight of each class index in the loss.
            sample_weight: Weight of each sample in the loss.
            initial_epoch: Epoch at which to start, counted from 0.
            steps_per_epoch: Number of steps per epoch; required for infinite data. The next epoch
                continues where the previous one stopped. Data that ends is restarted, except for
                generators. (Keras ends such an epoch early.)
            validation_steps: Number of batches of the validation data to use.
            validation_batch_size: Batch size of the validation; ``batch_size`` when None.
            validation_freq: Number of epochs between validations, or a list of epochs.
            dry_run: Whether to check everything and return the report of :meth:`check`, without
                taking a step.
            check_nans: Whether to stop at the first step that is not finite, before it changes the
                weights, and to report the layer, loss or gradient where this began. This is slower,
                since it waits for each step.
            resume: Folder of checkpoints, for this training alone. The same call with the same data
                continues after the last one as if nothing had happened; SIGTERM and Ctrl-C save
                another first. See :class:`~lamina.callbacks.BackupAndRestore`.
            checkpoint_every: When to save one: ``"epoch"``, a number of steps, or a ``timedelta``.

        Returns:
            A ``History``; ``history.history`` maps each log name to a list with one entry per
            epoch.

        Raises:
            DataError: There are no samples, or the lengths of arrays differ.
            ShapeError, StructureError, UnknownNameError: The data does not match the model.
            NonFiniteError: A step is not finite, with ``check_nans``.
        """
        run = Run(epochs, initial_epoch, validation_freq, verbose, callbacks, class_weight,
                  validation_split, dry_run, check_nans, resume, checkpoint_every)  # fmt: skip
        over = pass_over(
            batch_size, steps_per_epoch, "steps_per_epoch", training=True, shuffle=shuffle
        )
        check = pass_over(validation_batch_size or batch_size, validation_steps, "validation_steps")
        return loop.fit(self, (x, y, sample_weight), over, validation_data, check, run)

    @public
    def check(
        self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int | None = None
    ) -> Any:
        """Analyze a training step without taking it.

        Names, shapes and dtypes are checked as in :meth:`fit`; for a model that is not compiled,
        only the forward pass is analyzed.

        Args:
            x: See :meth:`fit`.
            y: See :meth:`fit`.
            sample_weight: See :meth:`fit`.
            batch_size: Number of samples in the step; 32 when None.

        Returns:
            A printable report: output, mask, parameters, operations and memory of each layer;
            target and loss of each output; weights without a gradient; masks that are not
            propagated.

        >>> import numpy as np
        >>> from lamina import Model, layers
        >>> x = layers.Input((4,))
        >>> model = Model(x, layers.Dense(1, name="out")(x))
        >>> model.compile("sgd", "mse")
        >>> found = model.check(np.ones((8, 4)), np.ones(8))
        >>> found.operations, found.unreached, found.bindings[0][:4]
        (72, [], ('out', '(8, 1) float32', '(8,) float32', 'mean_squared_error'))
        """
        return loop.check(self, (x, y, sample_weight), pass_over(batch_size))

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
        """Compute the loss and metrics on data.

        Args:
            x: See :meth:`fit`.
            y: See :meth:`fit`.
            batch_size: Number of samples per step; 32 when None.
            verbose: See :meth:`fit`.
            sample_weight: Weight of each sample.
            steps: Number of batches to use; all when None.
            callbacks: Callbacks with test hooks.
            return_dict: Whether to return a dict by name instead of a list.

        Returns:
            The loss, or a list of the loss and the metrics, or a dict.
        """
        over = pass_over(batch_size, steps)
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
        """The outputs for all samples, as NumPy arrays in the structure of the outputs.

        Args:
            x: See :meth:`fit`.
            batch_size: Number of samples per step; 32 when None.
            verbose: See :meth:`fit`.
            steps: Number of batches to use; all when None.
            callbacks: Callbacks with predict hooks.
        """
        return loop.predict(self, x, pass_over(batch_size, steps), verbose, callbacks)

    @public
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step; returns what :meth:`evaluate` does, for the batch."""
        return loop.train_on_batch(self, x, y, sample_weight, class_weight, return_dict)

    @public
    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and metrics of a batch without training: see :meth:`evaluate`."""
        return loop.test_on_batch(self, x, y, sample_weight, return_dict)

    @public
    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        return loop.predict_on_batch(self, x)

    @property
    def has_own_loss(self) -> bool:
        """Whether the class overrides :meth:`compute_loss`."""
        return type(self).compute_loss is not Trainer.compute_loss

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The scalar that training minimizes; override it to define your own.

        The default is the weighted sum of the compiled losses, plus :attr:`losses`: those that
        layers added with ``add_loss``, and the penalties of regularizers.

        Args:
            x: A batch of inputs.
            y: The targets.
            y_pred: The outputs of the model for ``x``.
            sample_weight: Weights of the samples, or None.
            training: Whether this is a training step.
        """
        return sum(self.losses, self.training_objective.loss(y, y_pred, sample_weight))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Update the metrics with a batch; the result is reported as the logs.

        Override it to report more: call ``super().compute_metrics(...)`` and add to its dict.

        Args:
            x: A batch of inputs.
            y: The targets.
            y_pred: The outputs of the model for ``x``.
            sample_weight: Weights of the samples, or None.

        Returns:
            A dict of scalars by log name.
        """
        self.training_objective.update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def losses(self) -> list[Any]:
        """The losses added in the current step or the last call, followed by the penalties."""
        scope = current()
        added = self._losses_of_call if scope is None else scope.record.losses
        return [*added, *self.weight_penalties()]

    def train_step(self, state: Any, data: Any) -> Any:
        """One training step as a pure function; override it to implement your own algorithm.

        It is traced and compiled by :meth:`fit`. Your own step calls ``self.stateless_call``
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
        """One step of :meth:`evaluate` as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables, metrics_variables)``.
            data: A batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

        Returns:
            ``(logs, state)``: scalars by name, and the new lists.
        """
        return standard_step(self, "test_step", state, data, self._bindings("test"))

    def predict_step(self, state: Any, data: Any) -> Any:
        """One step of :meth:`predict` as a pure function; override it like :meth:`train_step`.

        Args:
            state: ``(trainable_variables, non_trainable_variables)``.
            data: A batch of inputs.

        Returns:
            ``(outputs, non_trainable_variables)``.
        """
        return self.stateless_call(*state, unpack_x_y_sample_weight(data)[0], training=False)

    def _bindings(self, purpose: Purpose) -> Variables:
        """The variables whose values a step receives as lists."""
        return Program(self, purpose, eager=True).variables

    def compile_arguments(self) -> dict[str, Any]:
        """The arguments of :meth:`compile`, by name: the objects that were given."""
        steps, jit = self.steps_per_execution, self._jit_compile
        how = {"run_eagerly": self._run_eagerly, "steps_per_execution": steps, "jit_compile": jit}
        return {"optimizer": self.optimizer, **self.training_objective.given, **how}

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of :meth:`compile` as data; empty before it was called."""
        return registry.serialize(self.compile_arguments()) if self.compiled else {}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile with the arguments of :meth:`get_compile_config` that ``compile`` takes."""
        config, taken = registry.deserialize(config), inspect.signature(self.compile).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in taken.values())
        self.compile(**{k: v for k, v in config.items() if takes_all or k in taken})
