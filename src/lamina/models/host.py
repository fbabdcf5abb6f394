"""The part of a model that runs on the host, ahead of the compiled step: text and its like."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.graph import Plan, Slot, Step, make_plan
from lamina.core.operation import any_symbolic, nodes_of, stand_in
from lamina.core.scope import Scope, current, entered
from lamina.core.spec import BATCH, TensorSpec
from lamina.core.symbolic import HostText, is_text
from lamina.dtype_policies.dtypes import exceeds
from lamina.errors import ArgumentError
from lamina.execution.batches import Prepared
from lamina.training.data.arrays import arrays_of
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
        stack = [step for step in plan.steps if step.operation.runs_on_host]
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


class HostCalls:
    """The calls of layers of the host in the ``call`` of a model that is no graph.

    An abstract call, of the specs of the first batch, records them: these layers take text and
    integers that are inputs of the model, or what ops on text make of these.

    Args:
        build: Calls the model abstractly, on specs in the structure of its inputs.
    """

    def __init__(self, build: Callable[[Any], None]) -> None:
        self._build = build
        self._seen: Any = None
        self._structure: Any = None
        self._plan: Plan | None = None
        self._layers: list[Any] = []

    def prepare(self, data: Any) -> Any:
        """What the compiled call takes: the numbers among the inputs, and what layers return."""
        if isinstance(data, Prepared):
            return data
        data = _texts(data)
        given = nested.flatten(data)
        numbers = [None if is_text(x) else arrays_of(x) for x in given]
        seen = [(path, is_text(x), np.ndim(x)) for path, x in nested.flatten_with_path(data)]
        if seen != self._seen:
            dtypes = ["string" if x is None else x.dtype for x in numbers]
            specs = [TensorSpec((BATCH, *np.shape(x)[1:]), dtype)
                     for x, dtype in zip(given, dtypes, strict=True)]  # fmt: skip
            self._build(nested.unflatten(data, specs))
            self._seen = seen
        if self._plan is None:
            return nested.unflatten(data, numbers)
        made = self._plan.run([np.asarray(x) for x in given], call)
        return Prepared((*(x for x in numbers if x is not None), *made))

    @contextlib.contextmanager
    def recorded(self, structure: Any, arrays: Sequence[Any]) -> Iterator[Any]:
        """Context manager of the abstract call, with its inputs.

        Args:
            structure: Specs in the structure of the inputs; text has the dtype ``"string"``.
            arrays: An array for each of them, whose values do not count.
        """
        specs = nested.flatten(structure)
        symbols = [stand_in(TensorSpec(x.shape, s.dtype))
                   for x, s in zip(arrays, specs, strict=True)]  # fmt: skip
        layers, outputs = [], []

        def compute(layer: Any, output: Any) -> Any:
            layers.append(layer)
            outputs.append(output)
            return jnp.zeros(output.spec.dims_raw, output.dtype)

        with self._entered(symbols, list(arrays), compute) as leaves:
            yield nested.unflatten(structure, leaves)
        self._structure, self._layers = structure, layers
        self._plan = make_plan(symbols, outputs) if outputs else None

    @contextlib.contextmanager
    def opened(self, prepared: Prepared) -> Iterator[Any]:
        """Context manager of a call on what :meth:`prepare` gave, with the model's inputs."""
        values = iter(prepared)
        specs = nested.flatten(self._structure)
        arrays = [None if s.dtype == "string" else jnp.asarray(next(values)) for s in specs]
        made = iter(zip(self._layers, values, strict=True))

        def compute(layer: Any, output: Any) -> Any:
            expected, value = next(made, (None, None))
            if layer is not expected:
                raise ArgumentError(
                    f"Layer {layer.name!r} ({type(layer).__name__}) computes on the host. The call "
                    "of a model has to call such layers in the same order each time.",
                    layer=layer.name,
                    expected="no layer" if expected is None else repr(expected.name),
                    cure="Call them on the data instead: `data.map(layer)`.",
                )
            return value

        symbols = [stand_in(TensorSpec(s.dims_raw if x is None else x.shape, s.dtype))
                   for x, s in zip(arrays, specs, strict=True)]  # fmt: skip
        with self._entered(symbols, arrays, compute) as leaves:
            yield nested.unflatten(self._structure, leaves)

    @contextlib.contextmanager
    def _entered(
        self, symbols: list[Any], arrays: list[Any], compute: Callable[[Any, Any], Any]
    ) -> Iterator[list[Any]]:
        by_array = {id(a): s for a, s in zip(arrays, symbols, strict=True) if s.dtype != "string"}

        def known(x: Any) -> Any:
            return x.symbol if isinstance(x, HostText) else by_array.get(id(x), x)

        def run(layer: Any, arguments: Mapping[str, Any]) -> Any:
            arguments = nested.map_structure(known, dict(arguments))
            leaves = nested.flatten(arguments)
            if not any_symbolic(leaves) or any(isinstance(x, jax.core.Tracer) for x in leaves):
                return None  # it depends on constants only, or on the compiled part
            output = layer(**arguments)
            nodes_of(layer).pop()  # this call belongs to no graph of the user
            return HostText(output) if output.dtype == "string" else compute(layer, output)

        leaves = [HostText(s) if s.dtype == "string" else a
                  for a, s in zip(arrays, symbols, strict=True)]  # fmt: skip
        with entered(dataclasses.replace(current() or Scope(), host=run)):
            yield leaves


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


def has_large_integers(data: Any) -> bool:
    """Whether integers need 64 bits, which JAX has no dtype for, by default."""
    return any(isinstance(x, np.ndarray) and exceeds(x) for x in nested.flatten(data))


def call(step: Step, args: Any, kwargs: Any) -> Any:
    """Run a step of a plan."""
    operation: Any = step.operation
    return operation(*args, **kwargs)


def host_part(plan: Plan, bind: Any) -> HostPart | None:
    """The part of a plan that runs on the host; None if all of it can be compiled."""
    found = any(step.operation.runs_on_host for step in plan.steps)
    return HostPart(plan, bind) if found else None


def _read(step: Step) -> list[int]:
    return [x.index for x in nested.flatten((step.args, step.kwargs)) if isinstance(x, Slot)]


__all__ = ["HostCalls", "HostPart", "call", "has_large_integers", "host_part"]
