"""Fit, evaluate and predict: they drive the pure steps over data and report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import tree
from lamina.core import random
from lamina.core.boundary import warn
from lamina.core.variable import Cell
from lamina.errors import ArgumentError, NonFiniteError, TrainingWarning
from lamina.training.callbacks import CallbackList, History
from lamina.training.checks import check_ids
from lamina.training.data import ArrayData, StreamData, adapt, one_batch, unpack_x_y_sample_weight
from lamina.training.nonfinite import first_nonfinite
from lamina.training.progress import Progress
from lamina.training.report import Report, report
from lamina.training.step import (
    NEVER,
    Program,
    State,
    Static,
    build,
    contains,
    is_own,
    predict_program,
)

_SECONDS_PER_DISPATCH = 0.1
_BATCHES_WORTH_A_LOOP = 16
_BYTES_OF_BLOCK = 8 * 2**20


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
    x, y, _ = data.batch if isinstance(data, ArrayData) and data.fits_device else data.peek()
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
    cell = Cell({group: {} for group in groups})
    for group, variables in groups.items():
        for address, variable in variables.items():
            # A copy, because the steps take the buffers for their results.
            value = jnp.array(variable.value, variable.dtype, copy=True)
            cell.state[group][address] = value
            variable.bind(cell, group, address)
    cell.state |= {
        "metrics": program.fresh_metrics(),
        "monitor": jnp.array(NEVER, "int32"),
        "key": random.base_key(program.model.seed, "fit"),
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
    names = list(jax.eval_shape(program.results, program.fresh_metrics()))
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
        self.resident = isinstance(data, ArrayData) and data.fits_device and not check_nans
        self.warned = False
        self.compiled = False
        self.chunk = 1
        self.by_batch = hooks.wants_batches("train")
        if self.resident:
            self.on_device = data.on_device()
            self.iteration = int(cell.state["optimizer"]["iteration"])
            self.single = program.wants_single_steps(cell.state, jax.tree.map(jnp.asarray, first))

    def epoch(self) -> None:
        """All steps of an epoch."""
        if not self.compiled:
            self.progress.compiling()
        if self.resident:
            self._resident_epoch()
        else:
            self._streamed_epoch()
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

    def _step(self, step: int, run: Callable[[State], Any]) -> None:
        """One step with its hooks."""
        if self.by_batch:
            self.hooks.on_train_batch_begin(step)
        result = run(self.cell.state)
        self.cell.state = result[0] if isinstance(result, tuple) else result
        if self.by_batch:
            self.hooks.on_train_batch_end(step, self.logs)
        self.progress.update(step + 1, self.logs)

    def _checked_step(self, state: State, batch: Any) -> State:
        """A step that stops before anything that is not finite gets into the weights."""
        before = jax.tree.map(jnp.copy, state)
        new = self.program.train(state, batch)
        finite = [jnp.isfinite(x).all() for x in new["trainable"].values()]
        if int(new["monitor"]) == NEVER and bool(jnp.stack(finite).all()):
            return new
        self.cell.state = before
        step = int(before["optimizer"]["iteration"])
        raise NonFiniteError(
            f"Training step {step} (counted from 0) is not finite. "
            f"{first_nonfinite(self.program, before, batch)}\nThe weights are those before the "
            "step."
        )

    def _resident_epoch(self) -> None:
        data, program = self.data, self.program
        size = min(data.batch_size, data.size)
        full = data.size // size
        order = jnp.asarray(data.order(self.iteration))
        window, device = Static(size), self.on_device
        if self.single or self.by_batch:
            for i in range(full):
                self._step(i, lambda s, i=i: program.train_at(
                    s, device, order, window, np.int32(i)))  # fmt: skip
                if self.hooks.model.stop_training and self.by_batch:
                    break
        else:
            self._chunks(full, order, window)
        rest = data.size - full * size
        if rest:
            index = order[full * size :]
            batch = jax.tree.map(lambda a: jnp.take(a, index, axis=0), device)
            self._step(full, lambda s: program.train(s, batch))
        self.compiled = True
        self.iteration += full + bool(rest)

    def _chunks(self, full: int, order: Any, window: Static) -> None:
        """Dispatches of as many steps as fill a tenth of a second, one dispatch ahead."""
        at, token = 0, None
        while at < full:
            to = min(full, at + self.chunk)
            began = time.perf_counter()
            self.cell.state, next_token = self.program.train_many(
                self.cell.state, self.on_device, order, window, np.int32(at), np.int32(to)
            )
            if token is not None:
                token.block_until_ready()
            if not self.compiled:  # the first call compiled; only later ones can be timed
                next_token.block_until_ready()
                self.compiled = True
            elif token is not None or to - at == self.chunk:
                next_token.block_until_ready() if self.chunk < 32 else None
                spent = max(time.perf_counter() - began, 1e-6)
                rate = (to - at) / spent
                self.chunk = int(np.clip(rate * _SECONDS_PER_DISPATCH, 1, 4 * self.chunk))
            token, at = next_token, to
            self.progress.update(at, self.logs)
            self.hooks.on_train_batch_end(at - 1, self.logs)
            if self.hooks.model.stop_training:
                break

    def _streamed_epoch(self) -> None:
        count = 0
        for count, batch in enumerate(self.data.batches(), 1):
            run = self._checked_step if self.check_nans else self.program.train
            self._step(count - 1, lambda s, b=batch, run=run: run(s, b))
            if self.hooks.model.stop_training and self.by_batch:
                break
        if self.steps is not None and count < self.steps and not self.hooks.model.stop_training:
            warn(
                f"The data ended after {count} of {self.steps} steps. Make the data longer, or "
                "`steps_per_epoch` smaller.",
                TrainingWarning,
            )
            self.hooks.model.stop_training = True
        self.compiled = True


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

    if isinstance(data, ArrayData) and data.fits_device and not by_batch:
        size = min(data.batch_size, data.size)
        full, window = data.size // size, Static(size)
        device, order = data.on_device(), jnp.arange(data.size, dtype="int32")
        single = program.eager or (
            jax.default_backend() == "cpu" and _has_convolution(program, weights, carry, data)
        )
        if single:
            for i in range(full):
                carry = program.test_at(weights, carry, device, order, window, np.int32(i))
                report(i + 1)
        else:
            carry = program.test_many(
                weights, carry, device, order, window, np.int32(0), np.int32(full)
            )
        if data.size % size:
            rest = jax.tree.map(lambda a: a[full * size :], device)
            carry = program.test(weights, carry, rest)
        report(data.steps)
    else:
        for i, batch in enumerate(data.batches()):
            if by_batch:
                hooks.on_test_batch_begin(i)
            carry = program.test(weights, carry, batch)
            report(i + 1)
    logs = _floats(program, carry["metrics"])
    hooks.on_test_end(logs)
    return logs, carry["moving"]


def _has_convolution(program: Program, weights: State, carry: Any, data: ArrayData) -> bool:
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), data.peek())
    return contains(
        program._inner_test.trace(weights, carry, batch).jaxpr.jaxpr, "conv_general_dilated"
    )


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
    if isinstance(data, ArrayData) and data.fits_device:
        check_ids(model.graph, data.batch[0])
    weights = program.weights()
    params = {"steps": data.steps, "verbose": verbose}
    hooks = CallbackList(callbacks, model=model, params=params)
    progress = Progress(verbose, 1, data.steps)
    by_batch = hooks.wants_batches("predict")
    hooks.on_predict_begin()
    progress.epoch_begin(0)
    parts = None if by_batch else _predict_in_loop(program, weights, data, progress)
    done = parts is not None
    parts = parts or []
    for i, (inputs, _, _) in enumerate(() if done else data.batches()):
        if by_batch:
            hooks.on_predict_batch_begin(i)
        outputs, moved = program.predict(weights, inputs)
        if moved:
            weights["non_trainable"] |= moved
            program.keep(moved)
        parts.append(outputs)
        if by_batch:
            outputs = tree.unflatten(program.output_structure, jax.device_get(parts[-1]))
            hooks.on_predict_batch_end(i, {"outputs": outputs})
        progress.update(i + 1, dict)
    leaves = [np.concatenate([np.asarray(a) for a in same]) for same in zip(*parts, strict=True)]
    outputs = tree.unflatten(program.output_structure, leaves)
    progress.epoch_end({})
    hooks.on_predict_end()
    return outputs


def _predict_in_loop(
    program: Program, weights: State, data: ArrayData | StreamData, progress: Progress
) -> list[Any] | None:
    """The outputs for data on the device in a few dispatches; None where that is not faster."""
    if not isinstance(data, ArrayData) or not data.fits_device:
        return None
    size = data.batch_size
    full = data.size // size
    if full < _BATCHES_WORTH_A_LOOP:
        return None
    first = data.peek()[0]
    shapes = program.outputs_in_loop(weights, first)
    if shapes is None:
        return None
    x = data.batch[0]
    bytes_of_batch = sum(a.nbytes for a in jax.tree.leaves(first))
    block = min(full, max(1, _BYTES_OF_BLOCK // max(1, bytes_of_batch)))
    parts = []
    for at in range(0, full, block):
        count = min(block, full - at)
        rows = jax.tree.map(lambda a, at=at, n=count: a[at * size : (at + n) * size], x)
        if count < block:  # the program is compiled for one size of block
            rows = jax.tree.map(lambda a, n=block - count: _lengthened(a, n * size), rows)
        outputs = program.predict_many(weights, rows, Static(shapes), Static(size), np.int32(count))
        parts.append([a[: count * size] for a in map(np.asarray, outputs)])
        progress.update(at + count, dict)
    if data.size % size:
        parts.append(program.predict(weights, jax.tree.map(lambda a: a[full * size :], x))[0])
    return parts


def _lengthened(a: Any, count: int) -> Any:
    return np.concatenate([np.asarray(a), np.zeros((count, *a.shape[1:]), a.dtype)])


# ---- single batches ------------------------------------------------------------------------------


def train_on_batch(
    model: Any, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
) -> Any:
    """See :meth:`lamina.Model.train_on_batch`."""
    batch = one_batch(x, y, sample_weight, class_weight)
    program = _program(model, batch, training=True)
    with _training_state(program) as cell:
        cell.state = program.train({**cell.state, "metrics": program.current_metrics()}, batch)
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
    return tree.unflatten(program.output_structure, [np.asarray(x) for x in leaves])
