"""The training steps of successive epochs, on the state to which the variables are bound."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.callbacks.callback_list import CallbackList
from lamina.callbacks.progress import Progress
from lamina.core import prng
from lamina.core.boundary import warn
from lamina.core.scope import Scope, entered
from lamina.core.variable import copied
from lamina.errors import NonFiniteError, TrainingWarning
from lamina.execution.overrides import make_function
from lamina.execution.program import Program, struct_of
from lamina.execution.state import NEVER, Live
from lamina.layers.state import flatten_layers
from lamina.runtime import xla
from lamina.serialization.registry import defined_by_user
from lamina.training.data.inplace import InPlace
from lamina.training.data.samples import MOST_STEPS, ArrayData
from lamina.training.nonfinite import first_nonfinite

if TYPE_CHECKING:
    from lamina.training.resuming import Checkpoints

_SECONDS_PER_DISPATCH = 0.1


def build(model: Any, batch: Any) -> None:
    """Create the weights that are missing, from the shapes of a batch."""
    if model.built and (model.layer_graph or all(x.built for x in flatten_layers(model))):
        return
    own_call = defined_by_user(type(model), "call")
    if defined_by_user(type(model), "train_step") and not (own_call or model.layer_graph):
        model.built = True  # its step calls inner models, which are already built
    elif model.run_eagerly and model.layer_graph is None:
        with entered(Scope(pure=True, key=prng.base_key(0))):  # its computation depends on values
            model(batch[0])
    else:
        model.build_from_batch(batch[0])


def program_of(model: Any, batch: Any, purpose: Any) -> Program:
    """The compiled steps of the model, checked with a batch."""
    build(model, batch)
    # The graph of a Sequential may have just been created.
    if purpose != "predict" and model.layer_graph is not None:
        model.training_objective.bind(
            model.layer_graph.output_names, model.layer_graph.output_structure
        )
    make_function(model, purpose)
    program = model.program_for(purpose)
    if program.check(batch):
        model.keep_program(program)
    return program


@contextlib.contextmanager
def _training(program: Program) -> Iterator[Live]:
    """Context manager with the state to which all variables are bound until its end."""
    model = program.model
    with Live(program.variables, program.variables.take(model.run_key("train"),
                                                        model.steps_taken)) as live:  # fmt: skip
        model.follow(live)
        try:
            yield live
        finally:
            model.follow(None)


def _rows(order: np.ndarray | None, start: int, stop: int) -> np.ndarray | slice:
    return slice(start, stop) if order is None else order[start:stop]


class Runner:
    """Runs the steps of successive epochs."""

    def __init__(
        self, program: Program, data: Any, bound: contextlib.ExitStack, hooks: CallbackList,
        progress: Progress, first: Any, check_nans: bool, checkpoints: Checkpoints | None,
    ) -> None:  # fmt: skip
        self.data, self.bound, self.first = data, bound, first
        self.hooks, self.progress = hooks, progress
        self.check_nans, self.checkpoints = check_nans, checkpoints
        self.warned = False
        self.done = 0  # batches of the next epoch that were trained on before an interruption
        self.trained = False  # whether these are all of its batches
        self.last_logs: Any = {}
        self._follow(program)

    def _follow(self, program: Program) -> None:
        """Bind the variables to a state for the steps of ``program``."""
        self.program, self.live = program, self.bound.enter_context(_training(program))
        self.compiled, self.token = False, None
        self.by_batch = program.any_wants(self.hooks.wants_batches("train"))
        data = self.data
        self.loops = (
            isinstance(data, ArrayData) and data.has_blocks
            and not self.check_nans
            and (not self.by_batch or self.hooks.model.steps_per_execution > 1)
            and program.loops(self.live.state, jax.tree.map(struct_of, self.first)) is not None
        )  # fmt: skip
        self.place = data.in_place if self.loops and program.placement is None else None
        if self.place is not None and not program.takes_in_place(self.place):
            self.place = None

    def renew(self) -> None:
        """Continue with the optimizer, the losses or the ``trainable`` that a hook has set."""
        if self.program.is_outdated:
            if self.checkpoints is not None:
                warn(
                    "A callback changed the optimizer, the losses or `trainable`. If this run is "
                    "interrupted, a call that resumes it does not repeat the change. Call fit() "
                    "once for each phase instead, with a `resume` folder of its own.",
                    TrainingWarning,
                )
            self.bound.close()  # hands the state back
            self._follow(program_of(self.hooks.model, self.first, "train"))

    def reset_metrics(self) -> None:
        """Set the metrics to their initial state, before an epoch."""
        self.live.state = self.live.state.replace(metrics=self.program.fresh_metrics())

    def epoch(self, number: int) -> None:
        """Run all steps of an epoch."""
        if self.checkpoints is not None:
            self.checkpoints.epoch_begins(number)
        if not (self.compiled or self.trained):
            self.progress.compiling()
        if self.trained:
            pass
        elif self.loops:
            self._epoch_in_loops()
        else:
            self._epoch_in_steps()
        self.compiled = self.compiled or not self.trained
        self.done, self.trained = 0, False
        jax.block_until_ready(self.live.state.step)

    def logs(self) -> dict[str, float]:
        """The current results of the metrics, fetched from the device."""
        return self.program.results(self.live.state, self.last_logs)

    def warn_of_nan(self) -> None:
        """Warn once, with the number of the first step whose loss was not finite."""
        step = int(self.live.state.first_nonfinite)
        if step != NEVER and not self.warned:
            self.warned = True
            warn(
                f"The loss has not been finite since training step {step} (counted from 0). Common "
                "causes: a learning rate that is too high, NaN in the data, a logarithm or "
                "division without `epsilon`.",
                TrainingWarning,
            )

    def _run(self, dispatch: Callable[..., Any], *args: Any) -> None:
        """Dispatch while the previous dispatch may still run; wait for any earlier one."""
        self.last_logs, token = dispatch(self.live, *args)
        if self.token is not None:
            jax.block_until_ready(self.token)
        elif not self.program.ran:
            self.program.ran = True
            jax.block_until_ready(token)
            xla.give_back_memory()  # used by the compilation
        self.token = token

    def _step(self, step: int, batch: Any) -> None:
        """Run one step with its hooks."""
        if self.by_batch:
            self.hooks.on_train_batch_begin(step)
        self._run(self._checked_step if self.check_nans else self.program.train, batch)
        if self.by_batch:
            self.hooks.on_train_batch_end(step, self.logs)
        self.progress.update(step + 1, self.logs)
        self._after_steps(step + 1)

    def _after_steps(self, done: int) -> None:
        """Let checkpoints be written after a number of steps of the epoch."""
        if self.checkpoints is not None:
            if self.loops:
                self.data.taken = done
            self.checkpoints.after_steps(done)

    def validated(self, count: int | None, done: int, logs: Any) -> None:
        """Report ``done`` of ``count`` steps of a validation."""
        self.progress.validating(done, count)
        if self.checkpoints is not None:
            self.checkpoints.in_validation()

    def _checked_step(self, live: Live, batch: Any) -> tuple[Any, Any]:
        """Run a step that raises an error before values that are not finite change the weights."""
        before = copied(live.reclaim())
        logs, token = self.program.train(live, batch)
        finite = [jnp.isfinite(x).all() for x in live.state.trainable.values()]
        if int(live.state.first_nonfinite) == NEVER and all(map(bool, finite)):
            return logs, token
        live.state = before
        raise NonFiniteError(
            f"Training step {int(before.step)} (counted from 0) is not finite. "
            f"{first_nonfinite(self.program, before, batch)}",
            cure="The weights are those from before the step.",
        )

    def _epoch_in_loops(self) -> None:
        """Run an epoch by dispatches that take a tenth of a second or one block of data."""
        data, program = self.data, self.program
        size, place = data.batch_size, self.place
        full, rest = divmod(data.size, size)
        most = data.steps_in_block if place is None else min(MOST_STEPS, full)
        order = data.over.order(data.size)
        at, began = self.done, 0.0
        while at < full and not program.must_stop(self.by_batch):
            wanted = self.hooks.model.steps_per_execution if self.by_batch else program.chunk
            count = min(wanted, most, full - at)
            if self.checkpoints is not None:
                count = min(count, self.checkpoints.most_steps(at))
            if self.by_batch:
                self.hooks.on_train_batch_begin(at)
            start, stop = at * size, (at + count) * size
            if place is None:
                block = data.block(_rows(order, start, stop), most * size)
            else:
                rows = np.arange(start, stop, dtype="int32") if order is None else order[start:stop]
                block = InPlace(np.resize(rows, most * size), place)
            self._run(program.train_many, block, size, count)
            if began and count == program.chunk and not (self.by_batch or program.keeps_chunk):
                rate = count / (time.perf_counter() - began)
                program.chunk = int(np.clip(rate * _SECONDS_PER_DISPATCH, 1, 4 * count))
            began = time.perf_counter()
            at += count
            self.progress.update(at, self.logs)
            self.hooks.on_train_batch_end(at - 1, self.logs)
            self._after_steps(at)
        if rest and at <= full and not program.must_stop(self.by_batch):
            self._step(full, data.block(_rows(order, full * size, data.size), rest))
        data.over.position += full + bool(rest)
        data.taken = 0

    def _epoch_in_steps(self) -> None:
        count = self.done
        batches = self.program.watched(self.data.batches())
        for count, batch in enumerate(batches, self.done + 1):
            self._step(count - 1, batch)
            if self.by_batch and self.program.must_stop(True):
                break
        steps = self.data.over.steps
        if steps is not None and count < steps and not self.hooks.model.stop_training:
            warn(
                f"The data ended after {count} of {steps} steps. Provide more data, or reduce "
                "`steps_per_epoch`.",
                TrainingWarning,
            )
            self.hooks.model.stop_training = True
