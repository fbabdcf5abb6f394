"""The graph as data: nodes, their topological order, and the immutable plan that a model runs.

Nothing here is recursive, so the depth of a graph is not limited by Python's stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lamina.errors import GraphError
from lamina.tree import nested


class Node:
    """One call of an operation on symbolic tensors.

    Args:
        operation: The layer or op that was called.
        args: Positional arguments in any nesting, with symbolic tensors among the leaves.
        kwargs: Keyword arguments, likewise.
        location: ``file:line`` of the user's call.
        index: Number of earlier calls of the operation.
    """

    __slots__ = ("args", "index", "inputs", "kwargs", "location", "operation", "outputs")

    def __init__(
        self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], location: str,
        index: int = 0,
    ) -> None:  # fmt: skip
        self.operation, self.args, self.kwargs, self.location = operation, args, kwargs, location
        self.inputs = [x for x in nested.flatten((args, kwargs)) if is_symbolic(x)]
        self.outputs: Any = None
        self.index = index

    @property
    def output_leaves(self) -> list[Any]:
        """A flat list of the symbolic tensors that the call returned."""
        return [x for x in nested.flatten(self.outputs) if is_symbolic(x)]

    @property
    def parents(self) -> list[Node]:
        """The nodes whose outputs are inputs of this one."""
        return [x.node for x in self.inputs]

    def __repr__(self) -> str:
        return f"<Node {self.operation.name}[{self.index}] from {self.location}>"


def is_symbolic(x: Any) -> bool:
    """True for a symbolic tensor."""
    return getattr(x, "is_symbolic_tensor", False)


def topological_order(outputs: Iterable[Any], inputs: Iterable[Any]) -> list[Node]:
    """The nodes between ``inputs`` and ``outputs`` in topological order.

    The traversal stops at the tensors of ``inputs``, even intermediate ones, so that a model can be
    a part of another.
    """
    stop = set(inputs)
    order: list[Node] = []
    done: set[Node] = set()
    for output in outputs:
        if output in stop:
            continue
        stack: list[tuple[Node, int]] = [(output.node, 0)]
        opened = {output.node}
        while stack:
            node, i = stack.pop()
            if node in done:
                continue
            while i < len(node.inputs):
                parent = node.inputs[i]
                i += 1
                if parent in stop or parent.node in done:
                    continue
                if parent.node in opened:
                    raise GraphError(f"The graph has a cycle through {parent.node}.")
                stack.append((node, i))
                stack.append((parent.node, 0))
                opened.add(parent.node)
                break
            else:
                done.add(node)
                order.append(node)
    return order


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A reference to the value in slot ``index`` of a running plan."""

    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Call ``operation`` on arguments whose tensors are slots, and store the results."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]
    node: Node


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The program of a functional model: numbered slots, and steps in topological order."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]
    size: int

    def run(self, values: list[Any], call: Any) -> list[Any]:
        """Execute on input values; ``call(step, args, kwargs)`` performs one step."""
        slots: list[Any] = [None] * self.size
        for index, value in zip(self.inputs, values, strict=True):
            slots[index] = value

        def fill(x: Any) -> Any:
            return slots[x.index] if isinstance(x, Slot) else x

        for step in self.steps:
            args, kwargs = nested.map_structure(fill, (step.args, step.kwargs))
            result = call(step, args, kwargs)
            leaves = nested.flatten(result)
            if len(leaves) != len(step.outputs):  # else None is a value, of a declared output
                leaves = [x for x in leaves if x is not None]
            for index, value in zip(step.outputs, leaves, strict=True):
                if index >= 0:
                    slots[index] = value
        return [slots[i] for i in self.outputs]


def make_plan(inputs: list[Any], outputs: list[Any]) -> Plan:
    """Order the graph between ``inputs`` and ``outputs`` (symbolic tensors) into a plan.

    Raises:
        GraphError: An output depends on an ``Input`` that is not among ``inputs``; the message
            names it and the path from it to the output.
    """
    slot_of: dict[Any, int] = {}
    for x in inputs:
        if x in slot_of:
            raise GraphError(f"The input {x.name!r} is listed twice. List each input once.")
        slot_of[x] = len(slot_of)
    steps: list[Step] = []

    def slotted(x: Any) -> Any:
        return Slot(slot_of[x]) if is_symbolic(x) else x

    for node in topological_order(outputs, inputs):
        if not node.inputs:
            raise GraphError(_unreached(node, outputs, inputs))
        args, kwargs = nested.map_structure(slotted, (node.args, node.kwargs))
        indices = []
        for x in node.output_leaves:
            # A tensor that is also an input of the model keeps the value passed in: -1 drops this.
            fed = x in slot_of
            indices.append(-1 if fed else slot_of.setdefault(x, len(slot_of)))
        steps.append(Step(node.operation, args, kwargs, tuple(indices), node))
    plan = Plan(
        tuple(slot_of[x] for x in inputs),
        tuple(slot_of[x] for x in outputs),
        tuple(steps),
        len(slot_of),
    )
    verify(plan)
    return plan


def verify(plan: Plan) -> None:
    """Check the invariants of a plan: every slot is written exactly once, before it is read.

    Raises:
        GraphError: An invariant is violated (a bug in Lamina, never in the user's model).
    """
    written = set(plan.inputs)
    for step in plan.steps:
        for x in nested.flatten((step.args, step.kwargs)):
            if isinstance(x, Slot) and x.index not in written:
                raise GraphError(f"Plan reads slot {x.index} in {step.node} before it is written.")
        fresh = [i for i in step.outputs if i >= 0]
        if set(fresh) & written or len(set(fresh)) != len(fresh):
            raise GraphError(f"Plan writes a slot twice in {step.node}.")
        written |= set(fresh)
    if not set(plan.outputs) <= written:
        raise GraphError("Plan returns a slot that no step writes.")


def _unreached(node: Node, outputs: list[Any], inputs: list[Any]) -> str:
    chain = _path(node, outputs)
    names = [x.name for x in inputs]
    return (
        f"The outputs depend on the input {node.operation.name!r}, which is not among the model's "
        f"inputs.\n  Given inputs: {names}\n  The path from it to the output: {chain}\n"
        f"  {node.operation.name!r} was made at {node.location}\n"
        + (
            "Are `inputs` and `outputs` swapped? The order is Model(inputs, outputs)."
            if any(x.node is node for x in outputs)
            else "Add it to `inputs`, or compute the outputs from the given inputs only."
        )
    )


def _path(start: Node, outputs: list[Any]) -> str:
    """The names on the path from ``start`` to an output, for messages."""
    towards: dict[Node, Node | None] = {x.node: None for x in outputs}
    queue = [x.node for x in outputs]
    for node in queue:
        for parent in node.parents:
            if parent not in towards:
                towards[parent] = node
                queue.append(parent)
    names, node = [], start
    while node is not None:
        names.append(node.operation.name)
        node = towards.get(node)
    return " -> ".join(names if len(names) < 12 else [*names[:5], "...", *names[-5:]])


def depths(order: list[Node]) -> dict[Node, int]:
    """Distance of each node from the outputs: the number of calls on the longest path to them."""
    inside = set(order)
    depth: dict[Node, int] = {}
    for node in reversed(order):
        here = depth.setdefault(node, 0)
        for parent in node.parents:
            if parent in inside:
                depth[parent] = max(depth.get(parent, 0), here + 1)
    return depth
