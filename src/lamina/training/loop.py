"""Fit, evaluate and predict: loops of pure steps over data, with reports."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

import jax
import numpy as np

from lamina.callbacks.base import History
from lamina.callbacks.callback_list import CallbackList, callback_list
from lamina.callbacks.progress import Progress
from lamina.core.boundary import warn
from lamina.errors import ArgumentError, TrainingWarning
from lamina.execution.batches import Batch, unpack_x_y_sample_weight
from lamina.execution.program import Program, struct_of
from lamina.execution.state import Live, Loose
from lamina.serialization.registry import defined_by_user
from lamina.training.checks import check_ids, check_images
from lamina.training.data.opening import limited, one_batch, open_data
from lamina.training.data.passes import Pass, whole_number
from lamina.training.data.samples import ArrayData
from lamina.training.data.stream import StreamData
from lamina.training.report import Report, report
from lamina.training.run import Run
from lamina.training.runner import Runner, build, program_of
from lamina.tree import nested

if TYPE_CHECKING:
    from lamina.training.resuming import Checkpoints

_BATCHES_WORTH_A_LOOP = 16


def _check_values(model: Any, data: ArrayData | StreamData) -> None:
    """Check the values of the data: all of arrays in memory, and the first batch of streams."""
    x, y, _ = data.batch if isinstance(data, ArrayData) and data.in_memory else data.peek()
    check_ids(model.layer_graph, x)
    check_images(model.layer_graph, x)
    by_user = model.has_own_loss or defined_by_user(type(model), "train_step")
    if y is not None and not by_user:
        model.training_objective.check_values(y)


@contextlib.contextmanager
def _testing(program: Program) -> Iterator[Live]:
    """Context manager with the state of an evaluation, in which the metrics are reset."""
    model = program.model
    state = program.variables.read(model.run_key("test"), 0)
    with Live(program.variables, state.replace(metrics=program.fresh_metrics())) as live:
        yield live


# ---- fit ---------------------------------------------------------------------------------------


def fit(model: Any, data: Batch, over: Pass, validation: Any, check: Pass, run: Run) -> Any:
    """See :meth:`lamina.Model.fit`.

    Args:
        model: A compiled model.
        data: ``x``, ``y`` and ``sample_weight`` as passed by the user.
        over: Settings of the pass over the data in an epoch.
        validation: Validation data of the user, or None.
        check: Settings of the pass over the validation data.
        run: The other arguments.
    """
    objective = model.training_objective  # raises if the model is not compiled
    whole_number(run.epochs, "epochs", least=0)
    epochs = run.validation_freq
    if not isinstance(epochs, Collection):
        whole_number(epochs, "validation_freq")
    elif isinstance(epochs, str) or not all(isinstance(e, SupportsIndex) for e in epochs):
        raise ArgumentError(
            "`validation_freq` is a positive integer, or a list of the epochs after which to "
            f"validate, counted from 1, such as [1, 5]. Received: {epochs!r}."
        )
    with contextlib.ExitStack() as opened:
        checkpoints = None
        if run.asks_for_checkpoints:
            from lamina.training.resuming import checkpoints_of  # it imports `lamina.saving`

            checkpoints = checkpoints_of(model, run)
        if checkpoints is not None:
            opened.enter_context(checkpoints)
            run = checkpoints.place_model(run)
        training = open_data(data, over.of(model))
        if run.validation_split and validation is None:
            if not isinstance(training, ArrayData):
                raise ArgumentError(
                    "`validation_split` needs arrays. Pass `validation_data` instead."
                )
            training, validation = training.split(run.validation_split)
        training, run = limited(training), run.limited()
        opened.callback(training.close)
        if run.class_weight is not None:
            training = training.weighted(objective.weigh_classes(run.class_weight))
        held = None
        if validation is not None:
            if isinstance(validation, list):
                validation = tuple(validation)  # a list `[x, y]`, as Keras takes it here
            held = limited(open_data(unpack_x_y_sample_weight(validation), check.of(model)))
            opened.callback(held.close)
            if isinstance(held, StreamData):
                held.keep()
        if checkpoints is not None:
            checkpoints.place_data(training, held)
        if run.dry_run:
            if held is not None:
                program_of(model, held.peek(), "test")
            return _report(model, training)
        return _train(model, training, held, run, checkpoints)


def check(model: Any, data: Batch, over: Pass) -> Report:
    """See :meth:`lamina.Model.check`."""
    over.training = model.compiled
    opened = open_data(data, over.of(model))
    with contextlib.closing(opened):
        return _report(model, opened)


def _report(model: Any, data: ArrayData | StreamData) -> Report:
    batch = data.peek()
    if model.compiled:
        program = program_of(model, batch, "train")
        _check_values(model, data)
        return report(model, program, batch)
    return report(model, program_of(model, batch, "predict"), batch)


def _train(
    model: Any, data: ArrayData | StreamData, validation: ArrayData | StreamData | None, run: Run,
    checkpoints: Checkpoints | None,
) -> History:  # fmt: skip
    first = data.peek()
    if checkpoints is not None and checkpoints.resumes:
        build(model, first)
        checkpoints.prepare_optimizer()
    program = program_of(model, first, "train")
    if not program.variables.trainable and not defined_by_user(type(model), "train_step"):
        warn(
            f"{model.name!r} has no trainable weights: every layer has `trainable=False`, or none "
            "has weights. To train some, set `layer.trainable = True` before fit().",
            TrainingWarning,
        )
    _check_values(model, data)
    if validation is not None:
        program_of(model, validation.peek(), "test")
        _check_values(model, validation)
    steps = data.steps
    names = program.log_names()
    names += [f"val_{n}" for n in names] if validation is not None else []
    params = {"epochs": run.epochs, "steps": steps, "verbose": run.verbose, "metrics": names}
    hooks = callback_list(run.callbacks, add_history=True, model=model, **params)
    progress = Progress(0 if hooks.shows_progress else run.verbose, run.epochs, steps)
    model.stop_training = False
    with contextlib.ExitStack() as bound, contextlib.closing(progress):
        runner = Runner(program, data, bound, hooks, progress, first, run.check_nans, checkpoints)
        if checkpoints is not None:
            checkpoints.begin(program.variables.outside, runner)
        hooks.on_train_begin()
        progress.train_begin()
        logs = {} if checkpoints is None else dict(checkpoints.resume(hooks))
        for epoch in range(run.initial_epoch, run.epochs):
            if checkpoints is not None and model.stop_training and not runner.done:
                break  # it had been stopped before the interruption
            runner.renew()
            if not runner.done:
                runner.reset_metrics()
                hooks.on_epoch_begin(epoch)
                runner.renew()
            progress.epoch_begin(epoch)
            runner.epoch(epoch)
            logs = runner.logs()
            runner.warn_of_nan()
            due = validation is not None and run.validates(epoch)
            if due and isinstance(validation, StreamData) and validation.is_used_up:
                warn(
                    f"The validation data ended before epoch {epoch + 1}: there are no `val_` logs "
                    "from here on. Provide more data, or reduce `validation_steps`.",
                    TrainingWarning,
                )
                validation, due = None, False
            if validation is not None and due:
                count = validation.steps
                progress.validating(0, count)
                if checkpoints is not None:
                    checkpoints.validation_begins()
                found = _evaluate(
                    model, validation, hooks, functools.partial(runner.validated, count)
                )
                logs |= {f"val_{k}": v for k, v in found.items()}
            progress.epoch_end(logs)
            logs = dict(sorted(logs.items()))
            hooks.on_epoch_end(epoch, logs)
            stops = runner.program.must_stop(True)
            if checkpoints is not None:
                checkpoints.epoch_ended(epoch, logs, stops or epoch + 1 == run.epochs)
            if stops:
                break
        trained = runner.program.variables.trainable
        model.optimizer.finalize_variable_values(list(trained.values()))
        hooks.on_train_end(logs)
    model.history = hooks.history or History()  # there is one: `add_history`
    return model.history


# ---- evaluate and predict ----------------------------------------------------------------------


def _evaluate(
    model: Any, data: Any, hooks: CallbackList, progress: Callable[..., Any]
) -> dict[str, float]:
    """The logs of a pass over ``data``; the metrics keep their state."""
    program = program_of(model, data.peek(), "test")
    by_batch = program.any_wants(hooks.wants_batches("test"))
    with _testing(program) as live:
        hooks.on_test_begin()
        logs: Any = {}

        def seen() -> dict[str, float]:
            return program.results(live.state, logs)

        def report(step: int) -> None:
            if by_batch:
                hooks.on_test_batch_end(step - 1, seen)
            progress(step, seen)

        done, batches = 0, data.batches
        if (
            isinstance(data, ArrayData) and data.has_blocks and not by_batch
            and program.loops(live.state, jax.tree.map(struct_of, data.peek())) is not None
        ):  # fmt: skip
            batches = data.rest
            for block, count in data.blocks():
                logs = program.test_many(live, block, data.batch_size, count)
                done += count
                report(done)
        for i, batch in enumerate(program.watched(batches()), done):
            if by_batch:
                hooks.on_test_batch_begin(i)
            logs = program.test(live, batch)
            report(i + 1)
        results = seen()
        hooks.on_test_end(results)
    return results


def evaluate(
    model: Any, given: Batch, over: Pass, verbose: Any, callbacks: Any, return_dict: bool
) -> Any:
    """See :meth:`lamina.Model.evaluate`."""
    data = limited(open_data(given, over.of(model)))
    with contextlib.ExitStack() as opened:
        opened.callback(data.close)
        hooks = callback_list(callbacks, model=model, epochs=1, steps=data.steps, verbose=verbose)
        progress = Progress(0 if hooks.shows_progress else verbose, 1, data.steps)
        opened.callback(progress.close)
        program_of(model, data.peek(), "test")
        _check_values(model, data)
        progress.epoch_begin(0)
        logs = _evaluate(model, data, hooks, progress.update)
        progress.epoch_end(logs)
    return logs if return_dict else _as_list(model, logs)


def _as_list(model: Any, logs: dict[str, float]) -> Any:
    """The loss, then the metrics: of one output as in ``compile``, of several by their names.

    Other metrics follow in the order of ``model.metrics``, then what a user's step adds, by name.
    """
    first = {m.name: logs[m.name] for m in model.metrics if m.name in logs}
    logs = first | logs
    values = [logs[n] for n in model.training_objective.in_order(logs)]
    return values[0] if len(values) == 1 else values


def predict(model: Any, x: Any, over: Pass, verbose: Any, callbacks: Any) -> Any:
    """See :meth:`lamina.Model.predict`."""
    data = limited(open_data((x, None, None), over.of(model)))
    with contextlib.closing(data):
        return _predict(model, data, verbose, callbacks)


def _predict(model: Any, data: ArrayData | StreamData, verbose: Any, callbacks: Any) -> Any:
    program = program_of(model, data.peek(), "predict")
    if isinstance(data, ArrayData) and data.in_memory:
        check_ids(model.layer_graph, data.batch[0])
    hooks = callback_list(callbacks, model=model, epochs=1, steps=data.steps, verbose=verbose)
    progress = Progress(0 if hooks.shows_progress else verbose, 1, data.steps)
    hooks.on_predict_begin()
    progress.epoch_begin(0)
    parts = list(_on_host(_predictions(program, data, hooks, progress)))
    leaves = [np.concatenate(same) for same in zip(*parts, strict=True)]
    outputs = nested.unflatten(program.output_structure, leaves)
    progress.epoch_end({})
    hooks.on_predict_end()
    return outputs


def _predictions(
    program: Program, data: ArrayData | StreamData, hooks: CallbackList, progress: Progress
) -> Iterator[tuple[list[Any], int | None]]:
    """The leaves of the outputs, by groups of batches, with the number of valid rows."""
    by_batch = program.any_wants(hooks.wants_batches("predict"))
    key = program.model.run_key("predict")
    done, batches = 0, data.batches
    if (
        isinstance(data, ArrayData) and data.has_blocks and not by_batch
        and data.size >= _BATCHES_WORTH_A_LOOP * data.batch_size
    ):  # fmt: skip
        state = program.variables.read(key, 0)
        shapes = program.loops(state, data.peek()[0])
        if shapes is not None:
            batches = data.rest
            for (x, _, _), count in data.blocks():
                now = state.replace(step=np.int32(done))
                outputs = program.predict_many(now, x, shapes, data.batch_size, count)
                done += count
                progress.update(done, dict)
                yield outputs, count * data.batch_size
    for i, (x, _, _) in enumerate(program.watched(batches()), done):
        if by_batch:
            hooks.on_predict_batch_begin(i)
        outputs = program.predict(x, key, i)
        if by_batch:
            shown = nested.unflatten(program.output_structure, jax.device_get(outputs))
            hooks.on_predict_batch_end(i, {"outputs": shown})
        progress.update(i + 1, dict)
        yield outputs, None


def _on_host(results: Iterator[tuple[list[Any], int | None]]) -> Iterator[list[np.ndarray]]:
    """The valid rows of each result, fetched while the next one is computed."""
    for (outputs, rows), _ in itertools.pairwise(itertools.chain(results, [([], None)])):
        yield [np.asarray(a)[:rows] for a in outputs]


# ---- single batches ------------------------------------------------------------------------------


def train_on_batch(
    model: Any, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
) -> Any:
    """See :meth:`lamina.Model.train_on_batch`."""
    weigh = None if class_weight is None else model.training_objective.weigh_classes(class_weight)
    batch = one_batch(x, y, sample_weight, model, weigh)
    program = program_of(model, batch, "train")
    variables = program.variables
    state = variables.take(model.run_key("train"), model.steps_taken)
    loose = Loose(state.replace(metrics=program.fresh_metrics()))
    logs, _ = program.train(loose, batch)
    variables.put(loose.state)
    model.took_steps(model.steps_taken + 1)
    found = program.results(loose.state, logs)
    return found if return_dict else _as_list(model, found)


def test_on_batch(model: Any, x: Any, y: Any, sample_weight: Any, return_dict: bool) -> Any:
    """See :meth:`lamina.Model.test_on_batch`."""
    batch = one_batch(x, y, sample_weight, model)
    program = program_of(model, batch, "test")
    state = program.variables.read(model.run_key("test"), 0)
    loose = Loose(state.replace(metrics=program.fresh_metrics()))
    logs = program.test(loose, batch)
    program.variables.put(loose.state)
    found = program.results(loose.state, logs)
    return found if return_dict else _as_list(model, found)


def predict_on_batch(model: Any, x: Any) -> Any:
    """See :meth:`lamina.Model.predict_on_batch`."""
    x, *_ = one_batch(x, None, None, model)
    program = program_of(model, (x, None, None), "predict")
    outputs = program.predict(x)
    return nested.unflatten(program.output_structure, [np.array(a) for a in outputs])
