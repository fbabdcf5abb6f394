"""The part of a graph that runs on the host, ahead of the compiled step: text and its like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.core.graph import Plan, Slot, Step
from lamina.execution.batches import Prepared
from lamina.layers.preprocessing.host import HostLayer
from lamina.tree import nested


class HostPart:
    """A plan cut in two, at the tensors between layers of the host and the others.

    The layers of the host and all that their inputs depend on run outside the compiled step, where
    batches are made.

    Args:
        plan: The plan of the whole graph.
        bind: Gives a value for each input of the graph, from data in any form.

    Attributes:
        rest: The plan of the compiled part, whose inputs are the values that :meth:`prepare` gives.
    """

    def __init__(self, plan: Plan, bind: Any) -> None:
        made_by = {slot: step for step in plan.steps for slot in step.outputs}
        ahead: set[int] = set()
        stack = [step for step in plan.steps if isinstance(step.operation, HostLayer)]
        while stack:
            step = stack.pop()
            if id(step) not in ahead:
                ahead.add(id(step))
                stack.extend(made_by[s] for s in _read(step) if s in made_by)
        first = tuple(step for step in plan.steps if id(step) in ahead)
        rest = tuple(step for step in plan.steps if id(step) not in ahead)
        known = [*plan.inputs, *(s for step in first for s in step.outputs if s >= 0)]
        needed = {s for step in rest for s in _read(step)} | set(plan.outputs)
        between = tuple(dict.fromkeys(s for s in known if s in needed))
        self._plan = Plan(plan.inputs, between, first, plan.size)
        self._bind = bind
        self.rest = Plan(between, plan.outputs, rest, plan.size)

    def prepare(self, data: Any) -> Prepared:
        """The values that the compiled part takes, for the inputs of the model."""
        if isinstance(data, Prepared):
            return data
        return Prepared(self._plan.run(self._bind(_texts(data)), call))


def _texts(data: Any) -> Any:
    """The data with an array for each list of strings, which is one input."""
    if isinstance(data, (str, bytes)):
        return np.array(data, object)
    if not isinstance(data, (list, tuple, Mapping)):
        return data
    leaves = nested.flatten(data) if isinstance(data, (list, tuple)) else []
    if leaves and all(isinstance(x, (str, bytes)) for x in leaves):
        return np.array(data, object)
    items = list(data.values()) if isinstance(data, Mapping) else data
    return nested.rebuild(data, [_texts(x) for x in items])


def call(step: Step, args: Any, kwargs: Any) -> Any:
    """Run a step of a plan."""
    operation: Any = step.operation
    return operation(*args, **kwargs)


def host_part(plan: Plan, bind: Any) -> HostPart | None:
    """The part of a plan that runs on the host; None if all of it can be compiled."""
    found = any(isinstance(step.operation, HostLayer) for step in plan.steps)
    return HostPart(plan, bind) if found else None


def _read(step: Step) -> list[int]:
    return [x.index for x in nested.flatten((step.args, step.kwargs)) if isinstance(x, Slot)]


__all__ = ["HostPart", "call", "host_part"]
