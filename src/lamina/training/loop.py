"""Fit, evaluate and predict: they drive the pure steps over data and report."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.callbacks import CallbackList, History
from lamina.core import prng
from lamina.core.boundary import warn
from lamina.core.variable import Cell, copied, read
from lamina.errors import ArgumentError, NonFiniteError, TrainingWarning
from lamina.runtime import xla
from lamina.training.checks import check_ids
from lamina.training.data import (
    MOST_STEPS,
    ArrayData,
    StreamData,
    adapt,
    one_batch,
    unpack_x_y_sample_weight,
)
from lamina.training.inplace import InPlace
from lamina.training.nonfinite import first_nonfinite
from lamina.training.progress import Progress
from lamina.training.report import Report, report
from lamina.training.step import (
    NEVER,
    Program,
    State,
    Static,
    build,
    is_own,
    predict_program,
    struct_of,
)
from lamina.tree import nested

_SECONDS_PER_DISPATCH = 0.1
_BATCHES_WORTH_A_LOOP = 16


def _program(model: Any, batch: Any, training: bool) -> Program:
    """The model's compiled steps; made anew when what trains has changed."""
    build(model, batch)
    optimizer = model.optimizer if training else None
    objective = model.objective
    if model.graph is not None:  # of a Sequential, perhaps only since now
        objective.bind(model.graph.output_names, model.graph.output_structure)
    key = ("train" if training else "test",
           tuple((a, trains) for a, (_, trains) in model.named_variables().items()))  # fmt: skip
    programs = model.programs()
    program = programs.get(key)
    if program is None:
        program = Program(model, objective, optimizer, model.run_eagerly)
        programs[key] = program
    shapes = jax.tree.map(lambda a: (a.shape[1:], str(a.dtype)), batch)
    if programs.get((key, "checked")) != repr(shapes):
        program.check(batch, training)
        programs[key, "checked"] = repr(shapes)
    return program


def _look_at(model: Any, data: ArrayData | StreamData) -> None:
    """Check the numbers of the data: all of them in memory, of a stream those of one batch."""
    x, y, _ = data.batch if isinstance(data, ArrayData) and data.in_memory else data.peek()
    check_ids(model.graph, x)
    if y is not None and not any(is_own(model, m) for m in ("compute_loss", "train_step")):
        model.objective.check_values(y)


@contextlib.contextmanager
def _training_state(program: Program) -> Iterator[Cell]:
    """The state in one cell that all variables read from; given back to them at the end."""
    optimizer = program.build_optimizer()
    groups = {
        "trainable": program.trainable, "non_trainable": program.non_trainable,
        "optimizer": optimizer.state_variables,
    }  # fmt: skip
    values = {group: read(variables) for group, variables in groups.items()}
    cell = Cell(copied(values))  # the steps take the buffers for their results
    for group, variables in groups.items():
        for address, variable in variables.items():
            variable.bind(cell, group, address)
    cell.state |= {
        "metrics": program.current_metrics(),
        "monitor": jnp.asarray(np.int32(NEVER)),
        "key": jax.random.key_data(prng.base_key(program.model.seed, "fit")),
    }
    try:
        yield cell
    finally:
        for variables in groups.values():
            for variable in variables.values():
                variable.bind(None)


def _floats(program: Program, metrics: Any) -> dict[str, float]:
    results = jax.device_get(program.results(metrics))
    return {k: float(v) if np.ndim(v) == 0 else v for k, v in sorted(results.items())}


# ---- fit ---------------------------------------------------------------------------------------


def fit(
    model: Any, x: Any, y: Any, *, batch_size: int | None, epochs: int, verbose: Any,
    callbacks: Any, validation_split: float, validation_data: Any, shuffle: bool,
    class_weight: Mapping[int, float] | None, sample_weight: Any, initial_epoch: int,
    steps_per_epoch: int | None, validation_steps: int | None, validation_batch_size: int | None,
    validation_freq: Any, dry_run: bool, check_nans: bool,
) -> Any:  # fmt: skip
    """See :meth:`lamina.Model.fit`."""
    _ = model.objective  # compiled?
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if value is not None and (not hasattr(value, "__index__") or value < 1):
            raise ArgumentError(f"`{name}` is a positive integer. Received: {value!r}.")
    data = adapt(model, (x, y, sample_weight), batch_size=batch_size, steps=steps_per_epoch,
                 training=True, shuffle=shuffle)  # fmt: skip
    if validation_split:
        if not isinstance(data, ArrayData):
            raise ArgumentError("`validation_split` works on arrays. Pass `validation_data`.")
        data, held_out = data.split(validation_split)
        validation_data = held_out if validation_data is None else validation_data
    if class_weight is not None:
        data = data.weighted(class_weight)
    with contextlib.ExitStack() as opened:
        opened.callback(data.close)
        validation = None
        if validation_data is not None:
            validation = adapt(
                model,
                unpack_x_y_sample_weight(validation_data),
                batch_size=validation_batch_size or batch_size,
                steps=validation_steps,
            )
            opened.callback(validation.close)
        if dry_run:
            if validation is not None:
                _program(model, validation.peek(), training=False)
            return _report(model, data)
        return _train(model, data, validation, epochs, initial_epoch, verbose, callbacks,
                      steps_per_epoch, validation_freq, check_nans)  # fmt: skip


def check(model: Any, x: Any, y: Any, sample_weight: Any, batch_size: int | None) -> Report:
    """See :meth:`lamina.Model.check`."""
    data = adapt(model, (x, y, sample_weight), batch_size=batch_size, steps=None,
                 training=model.compiled)  # fmt: skip
    with contextlib.closing(data):
        return _report(model, data)


def _report(model: Any, data: ArrayData | StreamData) -> Report:
    batch = data.peek()
    if model.compiled:
        program = _program(model, batch, training=True)
        _look_at(model, data)
        return report(model, program, batch)
    return report(model, predict_program(model, batch), batch)


def _train(
    model: Any, data: ArrayData | StreamData, validation: ArrayData | StreamData | None,
    epochs: int, initial_epoch: int, verbose: Any, callbacks: Any, steps_per_epoch: int | None,
    validation_freq: Any, check_nans: bool,
) -> History:  # fmt: skip
    first = data.peek()
    program = _program(model, first, training=True)
    _look_at(model, data)
    if validation is not None:
        _program(model, validation.peek(), training=False)
        _look_at(model, validation)
    steps = data.steps
    names = program.log_names()
    names += [f"val_{n}" for n in names] if validation is not None else []
    params = {"epochs": epochs, "steps": steps, "verbose": verbose, "metrics": names}
    hooks = CallbackList(callbacks, model=model, params=params)
    progress = Progress(verbose, epochs, steps)
    model.stop_training = False
    with _training_state(program) as cell, contextlib.closing(progress):
        runner = _Runner(program, data, cell, hooks, progress, steps_per_epoch, first, check_nans)
        hooks.on_train_begin()
        progress.train_begin()
        logs: dict[str, float] = {}
        for epoch in range(initial_epoch, epochs):
            cell.state = {**cell.state, "metrics": program.fresh_metrics()}
            hooks.on_epoch_begin(epoch)
            progress.epoch_begin(epoch)
            runner.epoch()
            logs = _floats(program, cell.state["metrics"])
            runner.warn_of_nan()
            if validation is not None and _is_due(epoch, validation_freq):
                count = validation.steps
                progress.validating(0, count)
                found, moved = _evaluate(
                    model, validation, hooks, lambda i, _, n=count: progress.validating(i, n),
                    cell.state,
                )  # fmt: skip
                program.keep(moved)
                logs |= {f"val_{k}": v for k, v in found.items()}
            progress.epoch_end(logs)
            hooks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        program.optimizer.finalize_variable_values(list(program.trainable.values()))
        hooks.on_train_end(logs)
    model.history = hooks.history
    return hooks.history


def _is_due(epoch: int, freq: Any) -> bool:
    return (epoch + 1) % freq == 0 if isinstance(freq, int) else (epoch + 1) in freq


class _Runner:
    """Runs the steps of one epoch after the other."""

    def __init__(
        self, program: Program, data: Any, cell: Cell, hooks: CallbackList, progress: Progress,
        steps: int | None, first: Any, check_nans: bool,
    ) -> None:  # fmt: skip
        self.program, self.data, self.cell = program, data, cell
        self.hooks, self.progress, self.steps = hooks, progress, steps
        self.check_nans = check_nans
        self.warned = False
        self.compiled = False
        self.by_batch = hooks.wants_batches("train")
        self.token: Any = None
        self.iteration = int(cell.state["optimizer"]["iteration"])
        self.loops = (
            isinstance(data, ArrayData) and data.has_blocks
            and not check_nans and not self.by_batch
            and program.loops("train", cell.state, jax.tree.map(struct_of, first))
        )  # fmt: skip
        self.place = data.in_place if self.loops else None
        if self.place is not None and not program.takes_in_place(self.place):
            self.place = None

    def epoch(self) -> None:
        """All steps of an epoch."""
        if not self.compiled:
            self.progress.compiling()
        if self.loops:
            self._epoch_in_loops()
        else:
            self._epoch_in_steps()
        self.compiled = True
        jax.block_until_ready(self.cell.state["monitor"])

    def logs(self) -> dict[str, float]:
        """The metrics so far, read from the device."""
        return _floats(self.program, self.cell.state["metrics"])

    def warn_of_nan(self) -> None:
        """Say once, with its number, at which step the loss stopped being a number."""
        step = int(self.cell.state["monitor"])
        if step != NEVER and not self.warned:
            self.warned = True
            warn(
                f"The loss is not finite since training step {step} (counted from 0). Common "
                "causes: a learning rate that is too high, NaN in the data, a logarithm or "
                "division without `epsilon`.",
                TrainingWarning,
            )

    def _run(self, run: Callable[..., Any], *args: Any) -> None:
        """A dispatch, while the one before may still run; it waits for any earlier one."""
        self.cell.state, token = run(self.cell.state, *args)
        if self.token is not None:
            jax.block_until_ready(self.token)
        elif not self.program.ran:
            self.program.ran = True
            jax.block_until_ready(token)
            xla.give_back_memory()  # what the compilation has used
        self.token = token

    def _step(self, step: int, batch: Any) -> None:
        """One step with its hooks."""
        if self.by_batch:
            self.hooks.on_train_batch_begin(step)
        self._run(self._checked_step if self.check_nans else self.program.train, batch)
        if self.by_batch:
            self.hooks.on_train_batch_end(step, self.logs)
        self.progress.update(step + 1, self.logs)

    def _checked_step(self, state: State, batch: Any) -> tuple[State, Any]:
        """A step that stops before anything that is not finite gets into the weights."""
        before = copied(state)
        new, token = self.program.train(state, batch)
        finite = [jnp.isfinite(x).all() for x in new["trainable"].values()]
        if int(new["monitor"]) == NEVER and bool(jnp.stack(finite).all()):
            return new, token
        self.cell.state = before
        step = int(before["optimizer"]["iteration"])
        raise NonFiniteError(
            f"Training step {step} (counted from 0) is not finite. "
            f"{first_nonfinite(self.program, before, batch)}\nThe weights are those before the "
            "step."
        )

    def _epoch_in_loops(self) -> None:
        """Dispatches of as many steps as fill a tenth of a second, or a block of data."""
        data, program = self.data, self.program
        size, place = data.batch_size, self.place
        full, rest = divmod(data.size, size)
        most = data.steps_in_block if place is None else min(MOST_STEPS, full)
        order = data.order(self.iteration)
        at, began = 0, 0.0
        while at < full and not self.hooks.model.stop_training:
            count = min(program.chunk, most, full - at)
            rows = order[at * size : (at + count) * size]
            if place is None:
                block = data.block(rows, most * size)
            else:
                block = InPlace(np.resize(rows.astype("int32"), most * size), place)
            self._run(program.train_many, block, Static(size), np.int32(count))
            if began and count == program.chunk:
                rate = count / (time.perf_counter() - began)
                program.chunk = int(np.clip(rate * _SECONDS_PER_DISPATCH, 1, 4 * count))
            began = time.perf_counter()
            at += count
            self.progress.update(at, self.logs)
            self.hooks.on_train_batch_end(at - 1, self.logs)
        if rest and not self.hooks.model.stop_training:
            self._step(full, data.block(order[full * size :], rest))
        self.iteration += full + bool(rest)

    def _epoch_in_steps(self) -> None:
        count = 0
        for count, batch in enumerate(self.data.batches(), 1):
            self._step(count - 1, batch)
            if self.hooks.model.stop_training and self.by_batch:
                break
        if self.steps is not None and count < self.steps and not self.hooks.model.stop_training:
            warn(
                f"The data ended after {count} of {self.steps} steps. Make the data longer, or "
                "`steps_per_epoch` smaller.",
                TrainingWarning,
            )
            self.hooks.model.stop_training = True


# ---- evaluate and predict ----------------------------------------------------------------------


def _evaluate(
    model: Any, data: Any, hooks: CallbackList, tell: Callable[..., Any], weights: State
) -> tuple[dict[str, float], dict[str, Any]]:  # fmt: skip
    """The logs, and the weights that moved on the way, by address."""
    program = _program(model, data.peek(), training=False)
    weights = {k: weights[k] for k in ("trainable", "non_trainable")}
    carry = program.carry(program.fresh_metrics(), weights)
    by_batch = hooks.wants_batches("test")
    hooks.on_test_begin()

    def report(step: int) -> None:
        if by_batch:
            hooks.on_test_batch_end(step - 1, lambda: _floats(program, carry["metrics"]))
        tell(step, lambda: _floats(program, carry["metrics"]))

    done, batches = 0, data.batches
    if (
        isinstance(data, ArrayData) and data.has_blocks and not by_batch
        and program.loops("test", weights, carry, jax.tree.map(struct_of, data.peek()))
    ):  # fmt: skip
        size, batches = Static(data.batch_size), data.rest
        for block, count in data.blocks():
            carry = program.test_many(weights, carry, block, size, np.int32(count))
            done += count
            report(done)
    for i, batch in enumerate(batches(), done):
        if by_batch:
            hooks.on_test_batch_begin(i)
        carry = program.test(weights, carry, batch)
        report(i + 1)
    logs = _floats(program, carry["metrics"])
    hooks.on_test_end(logs)
    return logs, carry["moving"]


def evaluate(
    model: Any, x: Any, y: Any, *, batch_size: int | None, verbose: Any, sample_weight: Any,
    steps: int | None, callbacks: Any, return_dict: bool,
) -> Any:  # fmt: skip
    """See :meth:`lamina.Model.evaluate`."""
    data = adapt(model, (x, y, sample_weight), batch_size=batch_size, steps=steps)
    with contextlib.closing(data), contextlib.closing(Progress(verbose, 1, data.steps)) as progress:
        program = _program(model, data.peek(), training=False)
        _look_at(model, data)
        params = {"steps": data.steps, "verbose": verbose}
        hooks = CallbackList(callbacks, model=model, params=params)
        progress.epoch_begin(0)
        logs, moved = _evaluate(model, data, hooks, progress.update, program.weights())
        program.keep(moved)
        progress.epoch_end(logs)
    return logs if return_dict else _as_list(model, logs)


def _as_list(model: Any, logs: dict[str, float]) -> Any:
    """The loss first, then the metrics in the order of ``compile``; a number if it is alone."""
    names = list(model.objective.trackers)
    values = [logs[n] for n in names if n in logs] + [v for k, v in logs.items() if k not in names]
    return values[0] if len(values) == 1 else values


def predict(
    model: Any, x: Any, *, batch_size: int | None, verbose: Any, steps: int | None, callbacks: Any
) -> Any:
    """See :meth:`lamina.Model.predict`."""
    data = adapt(model, (x, None, None), batch_size=batch_size, steps=steps)
    with contextlib.closing(data):
        return _predict(model, data, verbose, callbacks)


def _predict(model: Any, data: ArrayData | StreamData, verbose: Any, callbacks: Any) -> Any:
    program = predict_program(model, data.peek())
    if isinstance(data, ArrayData) and data.in_memory:
        check_ids(model.graph, data.batch[0])
    weights = program.weights()
    params = {"steps": data.steps, "verbose": verbose}
    hooks = CallbackList(callbacks, model=model, params=params)
    progress = Progress(verbose, 1, data.steps)
    hooks.on_predict_begin()
    progress.epoch_begin(0)
    results = _predictions(program, weights, data, hooks, progress)
    parts = list(_on_host(results))
    leaves = [np.concatenate(same) for same in zip(*parts, strict=True)]
    outputs = nested.unflatten(program.output_structure, leaves)
    progress.epoch_end({})
    hooks.on_predict_end()
    return outputs


def _predictions(
    program: Program, weights: State, data: ArrayData | StreamData, hooks: CallbackList,
    progress: Progress,
) -> Iterator[tuple[list[Any], int | None]]:  # fmt: skip
    """The outputs' leaves, some batches at a time, and how many rows of them count."""
    by_batch = hooks.wants_batches("predict")
    done, batches = 0, data.batches
    if isinstance(data, ArrayData) and data.has_blocks and not by_batch:
        many = data.size >= _BATCHES_WORTH_A_LOOP * data.batch_size
        shapes = program.outputs_in_loop(weights, data.peek()[0]) if many else None
        if shapes is not None:
            size, batches = Static(data.batch_size), data.rest
            for (x, _, _), count in data.blocks():
                outputs = program.predict_many(weights, x, Static(shapes), size, np.int32(count))
                done += count
                progress.update(done, dict)
                yield outputs, count * data.batch_size
    for i, (x, _, _) in enumerate(batches(), done):
        if by_batch:
            hooks.on_predict_batch_begin(i)
        outputs, moved = program.predict(weights, x)
        if moved:
            weights["non_trainable"] |= moved
            program.keep(moved)
        if by_batch:
            shown = nested.unflatten(program.output_structure, jax.device_get(outputs))
            hooks.on_predict_batch_end(i, {"outputs": shown})
        progress.update(i + 1, dict)
        yield outputs, None


def _on_host(
    results: Iterator[tuple[list[Any], int | None]],
) -> Iterator[list[np.ndarray]]:
    """The rows that count of each result, fetched while the one after it is computed."""
    for (outputs, rows), _ in itertools.pairwise(itertools.chain(results, [([], None)])):
        yield [np.asarray(a)[:rows] for a in outputs]


# ---- single batches ------------------------------------------------------------------------------


def train_on_batch(
    model: Any, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
) -> Any:
    """See :meth:`lamina.Model.train_on_batch`."""
    batch = one_batch(x, y, sample_weight, class_weight)
    program = _program(model, batch, training=True)
    with _training_state(program) as cell:
        cell.state, _ = program.train(cell.state, batch)
        for address, variable in program.metric_variables.items():
            variable.assign(cell.state["metrics"][address])
        logs = _floats(program, cell.state["metrics"])
    return logs if return_dict else _as_list(model, logs)


def test_on_batch(model: Any, x: Any, y: Any, sample_weight: Any, return_dict: bool) -> Any:
    """See :meth:`lamina.Model.test_on_batch`."""
    batch = one_batch(x, y, sample_weight)
    program = _program(model, batch, training=False)
    weights = program.weights()
    carry = program.carry(program.current_metrics(), weights)
    carry = program.test(weights, carry, batch)
    program.keep(carry["moving"])
    for address, variable in program.metric_variables.items():
        variable.assign(carry["metrics"][address])
    logs = _floats(program, carry["metrics"])
    return logs if return_dict else _as_list(model, logs)


def predict_on_batch(model: Any, x: Any) -> Any:
    """See :meth:`lamina.Model.predict_on_batch`."""
    batch = one_batch(x, None, None)
    program = predict_program(model, batch)
    leaves, moved = program.predict(program.weights(), batch[0])
    program.keep(moved)
    return nested.unflatten(program.output_structure, [np.asarray(x) for x in leaves])
