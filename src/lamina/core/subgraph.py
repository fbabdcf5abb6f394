"""Functions as data: the bodies of ``cond``, ``scan`` and similar ops, as ops on slots.

A body is traced once on symbolic placeholders for its arguments. The nodes between these and its
result are its steps; every other symbolic tensor that it uses is captured and becomes an input of
the node that represents the whole call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from lamina.core import symbolic
from lamina.core.graph import Node, Slot, is_symbolic, topological_order
from lamina.core.operation import Op, Operation
from lamina.core.spec import is_array, spec_of
from lamina.core.symbolic import OPERATIONS, SymbolicTensor
from lamina.errors import GraphError, SymbolicTensorError
from lamina.tree import nested


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SubgraphStep:
    """Call an op on arguments whose tensors are slots, and store the results."""

    op_name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Subgraph:
    """The steps of a function.

    Attributes:
        steps: The calls of ops, in topological order. The first slots are the leaves of the
            arguments, followed by those of the captured tensors.
        result: The result of the function, with slots in place of tensors.
    """

    steps: tuple[SubgraphStep, ...]
    result: Any

    def run(self, values: list[Any]) -> Any:
        """Execute the steps on the values of the first slots."""
        slots = dict(enumerate(values))

        def fill(x: Any) -> Any:
            return slots[x.index] if isinstance(x, Slot) else x

        for step in self.steps:
            args, kwargs = nested.map_structure(fill, (step.args, step.kwargs))
            returned = nested.flatten(OPERATIONS[step.op_name](*args, **kwargs))
            slots.update(zip(step.outputs, returned, strict=True))
        return nested.map_structure(fill, self.result)


class Body(NamedTuple):
    """A function in a graph: its steps, and the tensors that it captures.

    As a tuple it is part of the nesting of a node's arguments, so the captured tensors are inputs
    of the node and are replaced by arrays when the node runs.
    """

    captures: tuple[Any, ...]
    graph: Subgraph

    def __call__(self, *args: Any) -> Any:
        """Evaluate the function on these arguments."""
        return self.graph.run([*nested.flatten(args), *self.captures])

    def __repr__(self) -> str:
        reads = f" reads {[x.name for x in self.captures]}" if self.captures else ""
        return f"<function of {len(self.graph.steps)} ops{reads}>"


class _Arguments(Operation):
    """The operation that produces the placeholders."""

    def __init__(self) -> None:
        self.name = "argument"
        self._inbound_nodes = []


class Traced:
    """A function that is traced to data when JAX first calls it, during abstract evaluation.

    Args:
        fn: Function of the user.
        where: Name of the op that takes the function, for messages.

    Attributes:
        body: The function as data; None before the first call, and for a function that calls JAX or
            NumPy directly.
    """

    def __init__(self, fn: Callable[..., Any], where: str) -> None:
        self.fn, self.where = fn, where
        self.body: Body | None = None

    def __call__(self, *args: Any) -> Any:
        """Arrays with the shapes and dtypes of the function's results."""
        try:
            body, result = trace(self.fn, args, self.where)
        except SymbolicTensorError:
            return self._run_directly(args)
        self.body = self.body or body
        return nested.map_structure(
            lambda x: jnp.zeros(x.spec.dims_raw, x.dtype) if is_symbolic(x) else x, result
        )

    def _run_directly(self, args: tuple[Any, ...]) -> Any:
        result = self.fn(*args)
        if any(is_symbolic(x) for x in nested.flatten(result)):
            raise GraphError(
                f"A function passed to {self.where} uses symbolic tensors from outside and calls "
                "functions that only take arrays. Use only functions of `lamina.ops`, or pass "
                "the tensors to it as arguments."
            )
        return result

    @property
    def found(self) -> Any:
        """The body, or the function itself if it could not be traced."""
        return self.fn if self.body is None else self.body


def trace(fn: Callable[..., Any], args: tuple[Any, ...], where: str) -> tuple[Body, Any]:
    """Call a function on placeholders, and return it as data, with its symbolic result.

    Args:
        fn: Function of the user.
        args: Arrays or symbolic tensors like those that the function will be called with.
        where: What takes the function, for messages.
    """
    origin = Node(_Arguments(), (), {}, where)

    def stand_in(x: Any) -> Any:
        if not (is_array(x) or is_symbolic(x)):
            return x
        spec = x.spec if is_symbolic(x) else spec_of(x)
        return SymbolicTensor.of(spec, origin, 0, "argument")

    arguments = nested.map_structure(stand_in, args)
    leaves = nested.flatten(arguments)
    known = {x for x in leaves if is_symbolic(x)}
    first = symbolic.next_number()
    result = fn(*arguments)
    outputs = [x for x in nested.flatten(result) if is_symbolic(x)]

    captures: dict[SymbolicTensor, None] = {}
    queue, seen = list(outputs), set(known)
    for x in queue:
        if x in seen:
            continue
        seen.add(x)
        if x.number < first or not x.node.inputs:  # created outside the function
            captures[x] = None
        else:
            queue.extend(x.node.inputs)

    slots = {x: i for i, x in enumerate(leaves) if is_symbolic(x)}
    slots |= {x: i for i, x in enumerate(captures, len(leaves))}
    size = len(leaves) + len(captures)

    def slotted(x: Any) -> Any:
        return Slot(slots[x]) if is_symbolic(x) else x

    steps = []
    for node in topological_order(outputs, [*known, *captures]):
        operation = node.operation
        if not isinstance(operation, Op):
            raise GraphError(
                f"A function passed to {where} calls {operation.name!r} (at {node.location}). "
                "Expected only functions of `lamina.ops`, because the model would not track the "
                "weights inside. Call it outside, or write a layer whose `call` does all of it."
            )
        made = node.output_leaves
        args, kwargs = nested.map_structure(slotted, (node.args, node.kwargs))
        steps.append(
            SubgraphStep(operation.op_name, args, kwargs, tuple(range(size, size + len(made))))
        )
        slots |= {x: size + i for i, x in enumerate(made)}
        size += len(made)
    graph = Subgraph(tuple(steps), nested.map_structure(slotted, result))
    return Body(tuple(captures), graph), result
