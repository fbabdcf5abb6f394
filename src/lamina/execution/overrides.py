"""Adapters for a user's ``train_step``, ``test_step`` and ``predict_step``.

These have the same signature as in Keras with JAX: pure functions of a tuple of lists of arrays and
a batch. They may call the library's steps, which are therefore available in that form too.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.scope import Scope, current, entered, random_key
from lamina.core.variable import Variable, value_of
from lamina.errors import ArgumentError, StructureError
from lamina.execution import steps
from lamina.execution.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
from lamina.execution.protocols import Executable
from lamina.execution.state import NEVER, Arrays, TrainState, Variables
from lamina.serialization.registry import defined_by_user

# The groups of a step's lists, and their names in messages.
_LISTS = {
    "train_step": ("trainable", "non_trainable", "optimizer", "metrics"),
    "test_step": ("trainable", "non_trainable", "metrics"),
    "predict_step": ("trainable", "non_trainable"),
}


def _described(name: str) -> str:
    return f"({', '.join(f'{group}_variables' for group in _LISTS[name])})"


def _tables(variables: Variables, name: str) -> dict[str, dict[str, Variable]]:
    """The variables of a step's lists, in order: those that the model itself holds."""
    groups = variables.groups()
    return {
        g: {a: v for a, v in groups[g].items() if a not in variables.outside} for g in _LISTS[name]
    }


def check_signature(model: Executable, name: str) -> None:
    """Check that a step takes a state and data.

    Raises:
        ArgumentError: The step has a different signature.
    """
    method = {"train_step": model.train_step, "test_step": model.test_step,
              "predict_step": model.predict_step}[name]  # fmt: skip
    try:
        inspect.signature(method).bind(None, None)
    except TypeError:
        raise ArgumentError(
            f"{type(model).__name__}.{name} must take the arguments `(self, state, data)`. "
            "Steps are pure functions: `state` is the tuple of lists "
            f"{_described(name)}, and the step returns `logs, state`. Use `self.stateless_call`, "
            "`self.optimizer.stateless_apply` and `metric.stateless_update_state` inside."
        ) from None


def make_function(model: Executable, purpose: str) -> None:
    """Call a user's ``make_train_function``, ``make_test_function`` or ``make_predict_function``.

    Raises:
        ArgumentError: It has set a function of the user's own, which is not used.
    """
    hook = f"make_{purpose}_function"
    if not defined_by_user(type(model), hook):
        return
    {"train": model.make_train_function, "test": model.make_test_function,
     "predict": model.make_predict_function}[purpose]()  # fmt: skip
    if vars(model).get(f"{purpose}_function") is not None:
        raise ArgumentError(
            f"{type(model).__name__}.{hook} has set `self.{purpose}_function`, which is not called "
            f"here. Override `{purpose}_step(self, state, data)`, which is compiled and run for "
            f"each batch, and do not set `self.{purpose}_function`."
        )


def users_step(model: Executable, name: str, variables: Variables) -> steps.Step:
    """Adapt a user's training or test step; values assigned to variables count as returned."""
    method = model.train_step if name == "train_step" else model.test_step
    training = name == "train_step"

    def step(state: TrainState, batch: Any) -> tuple[TrainState, None, steps.Logs]:
        tables = _tables(variables, name)
        lists = tuple([state.group(g)[a] for a in table] for g, table in tables.items())
        with steps.pure_scope(variables, state, training or None) as scope:
            result = method(lists, pack_x_y_sample_weight(*batch))
        lengths = tuple(map(len, lists))
        if (
            not (isinstance(result, tuple) and len(result) == 2)
            or not isinstance(result[1], (tuple, list))
            or tuple(map(_length, result[1])) != lengths
        ):
            raise StructureError(
                f"{type(model).__name__}.{name} must return `logs, state`: a dict of scalars, and "
                f"lists as long as those it received, {_described(name)} of lengths {lengths}. "
                f"Received: {jax.tree.map(jnp.shape, result)!r}."
            )
        logs = steps.arrays_in(result[0])
        new = steps.after(variables, state, scope.record)
        for (group, table), values in zip(tables.items(), result[1], strict=True):
            returned = {
                a: scope.record.updates.get(v, value_of(x))
                for (a, v), x in zip(table.items(), values, strict=True)
            }
            new = new.replace(**{group: {**new.group(group), **returned}})
        if training:
            total = jnp.mean(jnp.asarray(logs.get("loss", 0.0)))
            new = new.replace(first_nonfinite=steps.watched(state, total))
        return new, None, logs

    return step


def users_predict_step(model: Executable, variables: Variables) -> steps.Step:
    """Adapt a user's prediction step."""

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Any, steps.Logs]:
        tables = _tables(variables, "predict_step")
        lists = tuple([state.group(g)[a] for a in table] for g, table in tables.items())
        with steps.pure_scope(variables, state, None) as scope:
            outputs, moved = model.predict_step(lists, batch)
        new = steps.after(variables, state, scope.record)
        returned = dict(zip(tables["non_trainable"], map(value_of, moved), strict=True))
        return new.replace(non_trainable={**new.non_trainable, **returned}), outputs, {}

    return step


def _length(x: Any) -> int:
    return len(x) if isinstance(x, (list, tuple)) else -1


def standard_step(
    model: Executable, name: str, lists: Any, data: Any, variables: Variables
) -> tuple[steps.Logs, tuple[Any, ...]]:
    """The library's step, with the signature of a user's step.

    Args:
        model: The model.
        name: ``"train_step"`` or ``"test_step"``.
        lists: Lists of arrays.
        data: A batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        variables: The variables whose values the lists contain.

    Returns:
        Logs by name, and the new lists.
    """
    tables = _tables(variables, name)
    groups: dict[str, Arrays] = {g: {} for g in ("trainable", "non_trainable", "optimizer",
                                                 "metrics")}  # fmt: skip
    for (group, table), values in zip(tables.items(), lists, strict=True):
        groups[group] = dict(zip(table, map(value_of, values), strict=True))
    scope = current()
    outer = Scope() if scope is None else scope
    key = random_key(name=name) if outer.key is None else outer.key
    step = jnp.zeros((), "int32") if outer.step is None else outer.step
    state = TrainState(
        **groups, key=jax.random.key_data(key), step=step,
        first_nonfinite=jnp.asarray(NEVER, "int32"),
    )  # fmt: skip
    batch = unpack_x_y_sample_weight(data)
    if name == "train_step":
        run = steps.training_step(model, model.optimizer, variables, key)
    else:
        run = steps.evaluation_step(model, variables, key)
    new, _, logs = run(state, batch)
    with entered(Scope()):
        report = steps.results(model, model.metrics, variables)
    return report(new.metrics, logs), tuple(
        [new.group(group)[a] for a in table] for group, table in tables.items()
    )
