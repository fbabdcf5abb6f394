"""The compiled steps of a model for one purpose, and their dispatch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import naming, prng
from lamina.core.boundary import warn
from lamina.core.scope import Record, Scope, entered
from lamina.core.sharding import Placement
from lamina.core.variable import put, values_of
from lamina.errors import ArgumentError, TrainingWarning
from lamina.execution import overrides, steps
from lamina.execution.batches import Static, batch_of
from lamina.execution.interrupts import Uninterrupted
from lamina.execution.protocols import Executable, Objective
from lamina.execution.state import Arrays, Loose, TrainState, Variables
from lamina.runtime import processes, stalls, xla
from lamina.runtime.cost import inputs_of, uses
from lamina.serialization.registry import defined_by_user
from lamina.tree import nested

Purpose = Literal["train", "test", "predict"]
_CONVOLUTION = "conv_general_dilated"
# Primitives that call Python while a program runs, and so may raise errors.
_CALLBACKS = ("pure_callback", "io_callback", "debug_callback", "debug_print")
_MANY_SHAPES = 6
_STEPS_OF_PROCESSES = 8
_NO_KEY = np.zeros(2, np.uint32)
_METHOD_NAMES = {"train": "The training step", "test": "evaluate()", "predict": "predict()"}


class Program:
    """One kind of step of one model, compiled once and cached.

    A user's ``train_step``, ``test_step`` or ``predict_step`` replaces the library's.

    Args:
        model: The model, which is built.
        purpose: ``"train"``, ``"test"`` or ``"predict"``.
        eager: Whether to run layer by layer instead of compiling.

    Attributes:
        variables: The variables of the state; complete after the first batch (:meth:`check`).
        metrics: The metrics whose state is part of the training state.
        output_structure: The structure of the outputs of a prediction, after the first one.
        chunk: Number of steps of a loop that take about as long as a dispatch should.
        keeps_chunk: Whether it is fixed, as several processes must run the same steps.
        ran: Whether a step was compiled.
        seen: Shapes and dtypes of the batch that was checked last.
        placement: Where the arrays lie, if the model is distributed over devices; else None.
    """

    def __init__(self, model: Executable, purpose: Purpose, eager: bool) -> None:
        self.model, self.purpose, self.eager = model, purpose, eager
        self.objective: Objective | None = (
            None if purpose == "predict" else model.training_objective
        )
        if purpose != "predict":
            self._made_for = self._settings()
        named = model.named_variables()
        self.variables = Variables(
            trainable={a: v for a, (v, trains) in named.items() if trains},
            non_trainable={a: v for a, (v, trains) in named.items() if not trains},
        )
        distribution = model.distributed_by
        self.placement = None if distribution is None else Placement(distribution)
        self.by_user = defined_by_user(type(model), f"{purpose}_step")
        self.metrics: list[Any] = []
        self.output_structure: Any = None
        self.keeps_chunk = self.placement is not None and self.placement.spans_processes
        self._offloads = purpose == "train" and bool(
            distribution and distribution.offload_optimizer
        )
        self.chunk, self.ran = _STEPS_OF_PROCESSES if self.keeps_chunk else 1, False
        self.seen: Any = None
        self._reports: dict[str, jax.ShapeDtypeStruct] = {}
        self._checked: dict[Any, dict[str, jax.ShapeDtypeStruct]] = {}  # the reports of batches
        self._bound: list[tuple[str, Any]] | None = None
        self._moving: tuple[str, ...] = ()
        # Whether outputs depend on inputs and weights only, until a trace shows that they do not.
        self._is_function = purpose == "predict" and not eager and self.placement is None
        self._fresh: Arrays | None = None
        self._names: list[str] | None = None
        self._in_place: Any = None
        self._traces: dict[Any, _Traced] = {}
        self._shapes: list[str] = []
        self._shardings: TrainState | None = None
        self._bind()

    def _settings(self) -> tuple[Any, Any, tuple[bool, ...]]:
        return self.model.optimizer, self.model.training_objective, self.model.trainable_flags()

    @property
    def is_outdated(self) -> bool:
        """Whether the optimizer, the losses and metrics, or what is trained is another one now."""
        before, now = self._made_for, self._settings()
        return before[0] is not now[0] or before[1] is not now[1] or before[2] != now[2]

    # ---- what the state holds ------------------------------------------------------------------

    def _bind(self) -> None:
        """Update the metrics and the optimizer's variables; new ones need new steps."""
        if self.objective is not None:
            self.metrics = self._metrics(self.objective)
            self.variables.metrics = {
                f"{i}_{metric.name}/{j}_{v.name}": v
                for i, metric in enumerate(self.metrics)
                for j, v in enumerate(metric.variables)
            }
        if self.purpose == "train":
            if self.model.optimizer is None:
                raise ArgumentError(
                    f"Model {self.model.name!r} has no optimizer: it was compiled with "
                    '`optimizer=None`. To train it, compile it with one, such as "adam".'
                )
            self.model.optimizer.build(self.variables.trainable)
            self.variables.optimizer = self.model.optimizer.state_of(self.variables.trainable)
        bound = [("", metric) for metric in self.metrics]
        bound += [item for table in self.variables.groups().values() for item in table.items()]
        if bound == self._bound:
            return  # what is compiled stays valid
        self._bound, self._fresh, self._traces, self._names = bound, None, {}, None
        if self.placement is not None:
            self._shardings = self.variables.place(self.placement)
        self._step = self._make_step()
        jit: Any = (lambda fn, **_: fn) if self.eager else jax.jit
        compiled: Any = (lambda fn, **_: fn) if self.eager else xla.jit
        self._inner = jit(self._recorded_step)
        self._train = compiled(_called("train_step", self._train_one))
        self._train_consuming = compiled(_called("train_step", self._train_one), donate_argnums=0)
        self._train_many = compiled(_called("train_steps", self._train_loop), donate_argnums=0)
        self._other = compiled(_called(f"{self.purpose}_step", self._other_one))
        self._test_many = compiled(_called("test_steps", self._test_loop))
        self._predict_many = compiled(_called("predict_steps", self._predict_loop))
        self._outputs = compiled(_called("predict_step", self._outputs_only))
        weights = self.variables.trainable, self.variables.non_trainable
        self._weights = [v for table in weights for v in table.values()]
        if self.objective is not None:
            own = defined_by_user(type(self.model), "metrics")
            reported = list(self.model.metrics) if own else self.metrics
            self._results = compiled(steps.results(self.model, reported, self.variables))

    def _metrics(self, objective: Objective) -> list[Any]:
        """The compiled metrics, followed by those that the model holds.

        For a model with its own step these are ``model.metrics``, whose order that step relies on.
        """
        held = list(self.model.metrics)
        if self.by_user:
            return held
        known = {id(m) for m in objective.public_trackers()}
        return [*objective.trackers.values(), *(m for m in held if id(m) not in known)]

    def _make_step(self) -> steps.Step:
        model, variables = self.model, self.variables
        if self.purpose == "train":
            if self.by_user:
                return overrides.users_step(model, "train_step", variables)
            return steps.training_step(model, model.optimizer, variables)
        if self.purpose == "test":
            if self.by_user:
                return overrides.users_step(model, "test_step", variables)
            return steps.evaluation_step(model, variables)
        if self.by_user:
            return overrides.users_predict_step(model, variables)
        return steps.prediction_step(model, variables)

    def log_names(self) -> list[str]:
        """The names of the reported logs, in order."""
        if self._names is None:
            metrics = self.variables.structs().metrics
            self._names = list(jax.eval_shape(self._results, metrics, self._reports))
        return list(self._names)

    def results(self, state: TrainState, logs: steps.Logs) -> dict[str, Any]:
        """The reported values, fetched from the device: numbers, or arrays for some metrics."""
        metrics = state.metrics
        if self.placement is not None:
            metrics, logs = processes.local((metrics, logs))
        found = jax.device_get(self._results(metrics, logs))
        return {k: float(v) if np.ndim(v) == 0 else v for k, v in sorted(found.items())}

    def fresh_metrics(self) -> Arrays:
        """The initial state of the metrics."""
        own = defined_by_user(type(self.model), "reset_metrics")
        by_user = own or any(defined_by_user(type(m), "reset_state") for m in self.metrics)
        if self._fresh is None or by_user:
            scope = Scope(pure=True)
            with entered(scope):
                if own:
                    self.model.reset_metrics()
                else:
                    for metric in self.metrics:
                        metric.reset_state()
                new = scope.record.updates
                self._fresh = {
                    a: np.asarray(new.get(v, v.value), v.dtype)
                    for a, v in self.variables.metrics.items()
                }
        return dict(self._fresh)

    # ---- checking ------------------------------------------------------------------------------

    def check(self, batch: Any) -> bool:
        """Evaluate the step abstractly, which reports any mismatch of names, shapes and dtypes.

        It also discovers what attributes do not contain: variables that a call reads or changes
        although the model does not hold them, state of metrics that is created with the first
        batch, and the names of logs.

        Returns:
            Whether a check was necessary; it is not for a batch like an earlier one.
        """
        if self.purpose == "predict":
            return False
        arrays = (None if a is None else (a.shape[1:], a.dtype) for a in nested.flatten(batch))
        key = (*arrays, jax.tree.structure(batch))
        if key in self._checked:
            if self._reports is not self._checked[key]:
                self._reports, self._names = self._checked[key], None
            return False
        self._names = None
        if self.by_user:
            overrides.check_signature(self.model, f"{self.purpose}_step")
        self.seen = structs = jax.tree.map(struct_of, batch)
        objective = self.objective
        if not self.by_user or (objective is not None and objective.waits_for_shapes):
            self._add_found(self._check_forward(batch if self.eager else structs))
        if self.by_user:
            for _ in range(2):  # some metrics create their state with the first batch
                self._add_found(self._check_own_step(structs))
        self._checked[key] = self._reports
        return True

    def _check_forward(self, batch: Any) -> Record:
        """Run the forward pass without keeping its values: abstractly, unless eager."""
        training = self.purpose == "train"
        scope = Scope(
            training=training, pure=True, abstract=not self.eager, key=prng.abstract_key()
        )

        def run(b: Any) -> steps.Logs:
            with entered(scope):
                steps.forward(self.model, b, training)
            return steps.arrays_in(scope.record.logs)

        logs = run(batch) if self.eager else jax.eval_shape(run, batch)
        self._reports = {k: struct_of(x) for k, x in logs.items()}
        return scope.record

    def _check_own_step(self, structs: Any) -> Record:
        """Evaluate a user's step abstractly."""
        scope = Scope(pure=True, abstract=True, key=prng.abstract_key())

        def run(state: TrainState, batch: Any) -> steps.Logs:
            with entered(scope):
                return self._step(state, batch)[2]

        logs = jax.eval_shape(run, self.variables.structs(), structs)
        self._reports = {k: struct_of(x) for k, x in logs.items()}
        return scope.record

    def _add_found(self, record: Record) -> None:
        """Add variables that a call reads or changes although the model does not hold them."""
        known = {v for table in self.variables.groups().values() for v in table.values()}
        # The first batch may just have created metrics.
        metrics = self.metrics if self.objective is None else self._metrics(self.objective)
        known |= {v for m in metrics for v in m.variables}
        if self.purpose == "train":
            known |= set(self.model.optimizer.variables)
        for variable in {**record.unbound, **dict.fromkeys(record.updates)}:
            if variable not in known:
                table = self.variables.non_trainable
                address = naming.free(table, f"outside/{variable.path}")
                table[address] = variable
                self.variables.outside |= {address}
        self._bind()

    # ---- the functions that are compiled -------------------------------------------------------

    def _recorded_step(self, state: TrainState, batch: Any) -> Any:
        """The step; while it is traced, the changed variables are recorded."""
        if self.placement is not None:
            state = self.placement.fetch(state, self._shardings)
        new, outputs, logs = self._step(state, batch)
        moving = (a for a, x in state.non_trainable.items() if new.non_trainable[a] is not x)
        self._moving = tuple(moving)
        # JAX would sort the keys of a dict, so the structure is kept apart from the arrays.
        self.output_structure = nested.map_structure(lambda _: None, outputs)
        self._note_shapes(batch)
        leaves = nested.flatten(outputs)
        if self.placement is not None:
            new = self.placement.constrain(new, self._shardings)
            leaves, logs = self.placement.replicate((leaves, logs))
        return new, leaves, logs

    def _train_one(self, state: TrainState, batch: Any) -> Any:
        """One step; returns a token to wait on, too, as the state is donated to the next step."""
        new, _, logs = self._inner(state, batch)
        return new, logs, jnp.copy(new.step)

    def _train_loop(self, state: TrainState, block: Any, size: Static, count: Any) -> Any:
        """Steps over the first ``count`` batches of a block of data."""
        logs = {k: jnp.zeros(x.shape, x.dtype) for k, x in self._reports.items()}

        def body(i: Any, carry: Any) -> Any:
            new, _, logs = self._inner(carry[0], batch_of(block, i, size))
            return new, logs

        new, logs = jax.lax.fori_loop(0, count, body, (state, logs))
        return new, logs, jnp.copy(new.step)

    def _other_one(self, state: TrainState, batch: Any) -> Any:
        """One step of an evaluation or prediction: changed variables, outputs and logs."""
        new, leaves, logs = self._inner(state, batch)
        return {a: new.non_trainable[a] for a in self._moving}, new.metrics, leaves, logs

    def _outputs_only(self, weights: list[Any], batch: Any) -> list[Any]:
        """The leaves of the outputs, of a call that neither draws nor changes variables.

        A dispatch with a list of arrays takes half the time of one with the whole state.

        Raises:
            _NeedsState: If the call draws or changes variables.
        """
        values = iter(weights)
        groups = {
            group: {a: next(values) for a in self.variables.groups()[group]}
            for group in ("trainable", "non_trainable")
        }
        state = TrainState(key=_NO_KEY, step=np.int32(0), **groups, optimizer={}, metrics={})
        if self._trace(state, batch).draws or self._moving:
            raise _NeedsState
        return self._inner(state, batch)[1]

    def _test_loop(self, state: TrainState, block: Any, size: Static, count: Any) -> Any:
        logs = {k: jnp.zeros(x.shape, x.dtype) for k, x in self._reports.items()}
        moving = {a: state.non_trainable[a] for a in self._moving}

        def body(i: Any, carry: Any) -> Any:
            moving, metrics, _ = carry
            now = state.replace(
                non_trainable={**state.non_trainable, **moving}, metrics=metrics,
                step=state.step + i,
            )  # fmt: skip
            new, _, logs = self._inner(now, batch_of(block, i, size))
            return {a: new.non_trainable[a] for a in moving}, new.metrics, logs

        return jax.lax.fori_loop(0, count, body, (moving, state.metrics, logs))

    def _predict_loop(
        self, state: TrainState, x: Any, shapes: Static, size: Static, count: Any
    ) -> list[Any]:
        block = nested.flatten(x)[0].shape[0]
        outputs = [jnp.zeros((block, *s.shape[1:]), s.dtype) for s in shapes.value]

        def body(i: Any, outputs: Any) -> Any:
            now = state.replace(step=state.step + i)
            _, leaves, _ = self._inner(now, batch_of(x, i, size))
            return [
                jax.lax.dynamic_update_slice_in_dim(whole, new, i * size.value, 0)
                for whole, new in zip(outputs, leaves, strict=True)
            ]

        return jax.lax.fori_loop(0, count, body, outputs)

    # ---- dispatches ----------------------------------------------------------------------------

    def _placed(
        self, state: TrainState, batch: Any, size: int | None = None
    ) -> tuple[TrainState, Any]:  # fmt: skip
        """The state and a batch where they belong; a block of batches if ``size`` is given."""
        to = self.placement
        if to is None:
            return state, batch
        return state.on_mesh(to), to.batch(batch) if size is None else to.block(batch, size)

    def train(self, live: Loose, batch: Any) -> tuple[steps.Logs, Any]:
        """One training step; returns its logs and a token to wait on."""
        # A program that calls Python may raise after its buffers are donated, so they are not.
        may_raise = not self.eager and self._trace(live.state, batch).calls_python
        run = self._train if may_raise else self._train_consuming
        live.state, batch = self._placed(live.state, batch)
        with Uninterrupted():
            state = live.state if may_raise else live.reclaim()
            new, logs, token = run(state, batch)
            if may_raise:
                jax.block_until_ready(token)
            live.state = new
        return logs, token

    def train_many(
        self, live: Loose, block: Any, size: int, count: int
    ) -> tuple[steps.Logs, Any]:  # fmt: skip
        """Training steps over the first ``count`` batches of a block of data."""
        live.state, block = self._placed(live.state, block, size)
        with Uninterrupted():
            live.state, logs, token = self._train_many(
                live.reclaim(), block, Static(size), np.int32(count)
            )
        return logs, token

    def test(self, live: Loose, batch: Any) -> steps.Logs:
        """One step of an evaluation."""
        live.state, batch = self._placed(live.state, batch)
        moved, metrics, _, logs = self._other(live.state, batch)
        live.advance(moved, metrics, 1)
        return logs

    def test_many(self, live: Loose, block: Any, size: int, count: int) -> steps.Logs:
        """Steps of an evaluation over the first ``count`` batches of a block of data."""
        live.state, block = self._placed(live.state, block, size)
        moved, metrics, logs = self._test_many(live.state, block, Static(size), np.int32(count))
        live.advance(moved, metrics, count)
        return logs

    def predict(self, x: Any, key: Any = None, step: int = 0) -> list[Any]:
        """The leaves of the outputs for a batch, with the current weights; writes what changes.

        Args:
            x: The inputs.
            key: The key of the run; by default a new one of the model.
            step: The number of the batch in the run.
        """
        if self._is_function:
            try:
                return self._outputs(values_of(self._weights), x)
            except _NeedsState:
                self._is_function = False
        if key is None:
            key = self.model.run_key("predict")
        state, x = self._placed(self.variables.read(key, step), x)
        moved, _, leaves, _ = self._other(state, x)
        if moved:
            put({a: self.variables.non_trainable[a] for a in moved}, moved)
        return leaves

    def predict_many(
        self, state: TrainState, x: Any, shapes: Any, size: int, count: int
    ) -> list[Any]:  # fmt: skip
        """The leaves of the outputs for the first ``count`` batches of a block of inputs."""
        return self._predict_many(state, x, Static(shapes), Static(size), np.int32(count))

    def lower(self, batch: Any) -> Any:
        """The training step for arrays of given shapes and dtypes, ready to be compiled."""
        self.check(batch)
        state = self.variables.structs()
        if self.placement is not None:
            state = jax.tree.map(_with_sharding, state, self._shardings)
            batch = self.placement.structs(batch)
        return self._train_consuming.lower(state, batch)

    def watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, for which other processes wait."""
        return stalls.each(batches, "making a batch") if self.keeps_chunk else batches

    def any_wants(self, value: bool) -> bool:
        """Whether ``value`` is true, in any of several processes."""
        return processes.any_of(value) if self.keeps_chunk else value

    def must_stop(self, together: bool) -> bool:
        """Whether training is to stop: several processes stop if one of them wants to.

        Args:
            together: Whether several processes agree on it here; otherwise they go on.
        """
        if self.placement is not None and self.placement.spans_processes:
            if not together:
                return False
            self.model.stop_training = processes.any_of(bool(self.model.stop_training))
        return self.model.stop_training

    # ---- one step or a loop --------------------------------------------------------------------

    def loops(self, state: TrainState, batch: Any) -> tuple[Any, ...] | None:
        """The shapes of the outputs if many steps per dispatch are faster than one, or else None.

        Args:
            state: The initial state of the steps.
            batch: A batch, or its shapes.
        """
        if self.eager:
            return None
        traced = self._trace(state, batch)
        if traced.slow_in_loop or traced.calls_python or self._offloads:
            return None
        if self.purpose == "predict":
            size = nested.flatten(batch)[0].shape[0]
            if (
                self._moving or self.placement is not None
                or any(s.shape[:1] != (size,) for s in traced.outputs)
            ):  # fmt: skip
                return None
        return traced.outputs

    def _trace(self, state: TrainState, batch: Any) -> _Traced:
        key = tuple((x.shape, x.dtype) for x in jax.tree.leaves(batch))
        if key not in self._traces:
            traced = self._inner.trace(state, batch)
            program = traced.jaxpr.jaxpr
            self._traces[key] = _Traced(
                tuple(traced.out_info[1]),
                # XLA:CPU runs a convolution inside a loop up to 60 times slower than outside.
                jax.default_backend() == "cpu" and uses(program, _CONVOLUTION),
                any(uses(program, name) for name in _CALLBACKS),
                self._draws(traced),
            )
        return self._traces[key]

    @staticmethod
    def _draws(traced: Any) -> bool:
        """Whether the outputs of a traced step depend on its key or its number."""
        state, leaves, _ = traced.out_info
        before = len(jax.tree.leaves(state))
        outputs = range(before, before + len(jax.tree.leaves(leaves)))
        return any(inputs_of(traced.jaxpr.jaxpr, outputs)[:2])  # the first fields of the state

    def takes_in_place(self, samples: Any) -> bool:
        """Whether to train on samples in place, with a loop that is compiled for their number.

        Samples of a different number are copied to blocks, whose shape does not depend on it.
        """
        shapes = jax.tree.map(jnp.shape, samples)
        self._in_place = self._in_place or shapes
        return self._in_place == shapes

    def _note_shapes(self, batch: Any) -> None:
        """Warn once if a step is compiled repeatedly, and for which shapes."""
        now = ", ".join(str(tuple(x.shape)) for x in jax.tree.leaves(batch))
        if now in self._shapes or self.eager:
            return
        self._shapes.append(now)
        if len(self._shapes) == _MANY_SHAPES:
            warn(
                f"{_METHOD_NAMES[self.purpose]} of {self.model.name!r} is compiled again for each "
                f"batch shape, so far for {'; '.join(self._shapes)}. Batches of equal shape "
                "(padded, or without the trailing batch) need one compilation. This warning is "
                "shown once.",
                TrainingWarning,
            )


class _NeedsState(Exception):
    """Raised while a call is traced that draws or changes variables."""


@dataclasses.dataclass(frozen=True)
class _Traced:
    """Properties of a traced step that determine its dispatch."""

    outputs: tuple[Any, ...]
    slow_in_loop: bool
    calls_python: bool
    draws: bool


def _called(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Rename the function, for profiles and XLA's dumps."""

    @functools.wraps(fn)
    def call(*args: Any) -> Any:
        return fn(*args)

    call.__name__ = name
    return call


def struct_of(x: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _with_sharding(struct: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=sharding)
