"""The library's own steps: pure functions ``(state, batch) -> (state, outputs, logs)``.

A batch is ``(x, y, sample_weight)``. Reported values are accumulated in the state of the metrics,
so nothing needs to be fetched from the device in each step; ``logs`` are further values that a
user's code reports.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.scope import Record, Scope, current, entered
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.execution.protocols import Executable, Updater
from lamina.execution.state import NEVER, TrainState, Variables
from lamina.serialization.registry import defined_by_user
from lamina.tree import nested

Logs = dict[str, Any]
Step = Callable[[TrainState, Any], tuple[TrainState, Any, Logs]]


@contextmanager
def pure_scope(
    variables: Variables,
    state: TrainState,
    training: bool | None,
    hook: Any = None,
    key: Any = None,
) -> Iterator[Scope]:
    """A scope in which ``variables`` have the values of ``state``; it records all changes.

    Args:
        variables: The variables.
        state: Their values.
        training: Whether layers are in training mode; None if unspecified.
        hook: Called with each layer, its arguments and its outputs.
        key: The key for the random draws of the step; that of the state when None.
    """
    outer = current()
    values, record = variables.bound(state), Record()
    if outer is not None and outer.pure:  # a user's step calls the library's step
        values = {**outer.values, **values}
        record.unbound = outer.record.unbound
    scope = Scope(
        values=values, training=training, key=state.step_key() if key is None else key,
        step=state.step, pure=True,
        hook=hook, record=record, abstract=outer is not None and outer.abstract,
    )  # fmt: skip
    with entered(scope):
        yield scope


def updated(variables: Mapping[str, Variable], old: Mapping[str, Any], record: Record) -> Any:
    """The arrays of a group after a call; unchanged arrays are the same objects."""
    new = record.updates
    return {a: new.get(variables[a], x) for a, x in old.items()} if new else dict(old)


def takes(fn: Callable[..., Any], argument: str) -> bool:
    """Whether a user's function accepts a keyword argument."""
    parameters = inspect.signature(fn).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def forward(model: Executable, batch: Any, training: bool) -> Any:
    """The total loss of a batch; updates the metrics too. To be called inside a pure scope."""
    scope = current()
    record = Record() if scope is None else scope.record
    x, y, sample_weight = batch
    objective = model.training_objective
    outputs = model(x, training=training)
    objective.outputs_of(outputs)
    has_loss = objective.has_loss or record.losses or model.has_own_loss
    if training and not (has_loss or model.weight_penalties()):
        raise ArgumentError(
            "There is nothing to minimize: pass `loss=` to compile(), or call `self.add_loss` "
            "in a layer."
        )
    told = not model.has_own_loss or takes(model.compute_loss, "training")
    mode = {"training": training} if told else {}
    total = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight, **mode)
    total = jnp.mean(jnp.asarray(0.0 if total is None else total, "float32"))
    objective.track(total, record.parts, nested.flatten(x)[0].shape[0])
    if defined_by_user(type(model), "compute_metrics"):
        record.logs |= model.compute_metrics(x, y, outputs, sample_weight) or {}
    else:
        objective.update_metrics(y, outputs, sample_weight)
    return total


def arrays_in(logs: Any) -> Logs:
    """The values that a user's code reports, as arrays by name; a single number is the loss."""
    if not isinstance(logs, Mapping):
        logs = {"loss": logs}
    found: Logs = {}
    for name, x in logs.items():
        if isinstance(x, Mapping):  # the result of several metrics, by their names
            found |= arrays_in(x)
        else:
            found[name] = jnp.asarray(x.value if isinstance(x, Variable) else x)
    return found


def watched(state: TrainState, total: Any) -> Any:
    """The number of the first step whose loss was not finite."""
    bad = jnp.where(jnp.isfinite(total), NEVER, jnp.asarray(state.step, "int32"))
    return jnp.minimum(state.first_nonfinite, bad)


def training_step(
    model: Executable, optimizer: Updater, variables: Variables, key: Any = None
) -> Step:
    """The training step: forward, gradients, update."""

    def step(state: TrainState, batch: Any) -> tuple[TrainState, None, Logs]:
        optimizer.build(variables.trainable)  # another model may have used it in the meantime

        def loss(trainable: Any) -> Any:
            now = state.replace(trainable=trainable)
            with pure_scope(variables, now, True, key=key) as scope:
                total = forward(model, batch, True)
                scaled = optimizer.scale_loss(total)
            after = {
                group: updated(table, now.group(group), scope.record)
                for group, table in variables.groups().items()
            }
            # If a call assigns to a weight, the update is applied to the new value.
            assigned = {
                a: x for a, x in after.pop("trainable").items() if x is not now.trainable[a]
            }
            return scaled, (total, assigned, after, arrays_in(scope.record.logs))

        (_, (total, assigned, after, logs)), gradients = jax.value_and_grad(loss, has_aux=True)(
            state.trainable
        )
        trainable, slots = optimizer.take_step(
            gradients, {**state.trainable, **assigned}, after.pop("optimizer")
        )
        return state.replace(
            trainable=trainable, optimizer=slots, **after, step=state.step + 1,
            first_nonfinite=watched(state, total),
        ), None, logs  # fmt: skip

    return step


def evaluation_step(model: Executable, variables: Variables, key: Any = None) -> Step:
    """A step of an evaluation: forward pass, loss and metrics."""

    def step(state: TrainState, batch: Any) -> tuple[TrainState, None, Logs]:
        with pure_scope(variables, state, False, key=key) as scope:
            forward(model, batch, False)
        return after(variables, state, scope.record), None, arrays_in(scope.record.logs)

    return step


def prediction_step(model: Executable, variables: Variables) -> Step:
    """A step of a prediction; a batch consists of the inputs only."""

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Any, Logs]:
        with pure_scope(variables, state, False) as scope:
            outputs = model(batch, training=False)
        return after(variables, state, scope.record), outputs, {}

    return step


def after(variables: Variables, state: TrainState, record: Record) -> TrainState:
    """The state after a call that is not a training step."""
    changes = {
        group: updated(table, state.group(group), record)
        for group, table in variables.groups().items()
    }
    return state.replace(**changes, step=state.step + 1)


def results(model: Executable, metrics: list[Any], variables: Variables) -> Callable[..., Logs]:
    """A function that computes the reported values from a state and logs."""

    def report(state: Any, logs: Logs) -> Logs:
        if logs:
            return logs
        values = {variables.metrics[a]: x for a, x in state.items()}
        with entered(Scope(values=values, pure=True)):
            if defined_by_user(type(model), "get_metrics_result"):
                return arrays_in(model.get_metrics_result())
            return model.training_objective.results(metrics)

    return report
