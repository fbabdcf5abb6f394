"""A model as a diagram of boxes and edges, which the plot and the HTML page draw.

A box is a layer, an op or an input; its ports are its input and output tensors. The box of an
expanded nested model contains a :class:`Diagram`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from lamina.core.graph import Node, Slot, Step, is_symbolic
from lamina.core.operation import Op, nodes_of
from lamina.core.spec import BATCH, TensorSpec, is_array, show_dim
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, NotBuiltError
from lamina.layers import InputLayer, Layer
from lamina.tree import nested


@runtime_checkable
class _HasGraph(Protocol):
    layer_graph: Any


@runtime_checkable
class _Wraps(Protocol):
    layer: Layer


def graph_of(x: Any) -> Any:
    """The graph of a model; None for layers and for models without one."""
    return x.layer_graph if isinstance(x, _HasGraph) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    """An input or output tensor of a call: its shape as text, its dtype, whether it is masked."""

    shape: str
    dtype: str
    masked: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A call of an operation: its inputs, its outputs, and the node that recorded it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    node: Node


@dataclasses.dataclass(eq=False, slots=True)
class Box:
    """A layer, an op or an input, with all its calls in one graph.

    Attributes:
        operation: The layer or op; None for an input that is an intermediate tensor of another
            model.
        name: The name of the operation.
        kind: Its class; for an op, the name of the function in camel case.
        parent: The diagram that contains the box.
        calls: The calls, in the execution order of the model.
        turn: ``(2, 3)`` for the second of three calls of an expanded nested model, where each call
            has its own box.
        inside: The diagram of an expanded nested model.
    """

    operation: Any
    name: str
    kind: str
    parent: Diagram
    calls: list[Call] = dataclasses.field(default_factory=list)
    turn: tuple[int, int] = (1, 1)
    inside: Diagram | None = None

    @property
    def path(self) -> str:
        """The names from the outermost model to this box: unique, as no name contains ``:``.

        The second call of a nested model is ``name:2``, a tensor used as an input ``input:name``.
        """
        name = self.name if self.operation is not None else f"input:{self.name}"
        name = f"{name}:{self.turn[0]}" if self.turn[0] > 1 else name
        owner = self.parent.owner
        return name if owner is None else f"{owner.path}/{name}"


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """An end of an edge: port number ``port`` of call number ``call`` of ``box``."""

    box: Box
    call: int
    port: int


class Diagram:
    """The boxes of a model, and the source of each of their inputs.

    Attributes:
        owner: The box that contains this diagram; None for the outermost model.
        boxes: The boxes in topological order.
        sources: Dict of the inputs of boxes to the outputs that they are connected to. A number is
            an output (as a key) or an input (as a value) of the diagram itself.
    """

    def __init__(self, owner: Box | None) -> None:
        self.owner = owner
        self.boxes: list[Box] = []
        self.sources: dict[End | int, End | int] = {}

    def add(self, operation: Any, name: str) -> Box:
        """Add a box to the diagram."""
        box = Box(operation, name, kind_of(operation), self)
        self.boxes.append(box)
        return box

    def walk(self) -> Iterator[Diagram]:
        """This diagram and all diagrams it contains, outer before inner."""
        yield self
        for box in self.boxes:
            if box.inside is not None:
                yield from box.inside.walk()

    def edges(self) -> Iterator[tuple[End, End]]:
        """Pairs of output and input, between boxes that are not expanded, at any depth."""
        for diagram in self.walk():
            for stop, source in diagram.sources.items():
                if isinstance(stop, End) and stop.box.inside is None:
                    start = _origin(diagram, source)
                    if start is not None:
                        yield start, stop


def _origin(diagram: Diagram, source: End | int | None) -> End | None:
    """Trace a value to the box that computes it; None for an input of the outermost diagram."""
    while source is not None:
        if isinstance(source, int):
            owner = diagram.owner
            if owner is None:
                return None
            diagram, source = owner.parent, owner.parent.sources.get(End(owner, 0, source))
        elif source.box.inside is not None:
            diagram = source.box.inside
            source = diagram.sources[source.port]
        else:
            return source
    return None


def make_diagram(model: Any, *, expand_nested: bool) -> Diagram:
    """Convert a model to a diagram.

    Args:
        model: A model of any kind; one without a graph becomes a single box.
        expand_nested: Whether each call of a nested model is a box that contains its diagram.

    Raises:
        NotBuiltError: A model that has not been built.
        ArgumentError: Something that is not a model.
    """
    if not isinstance(model, Layer):
        raise ArgumentError(
            "Expected a model or a layer to draw. "
            f"Received: {model!r} (of type {type(model).__name__})."
        )
    graph = graph_of(model)
    if graph is not None:
        return _read(model, None, list(range(len(graph.inputs))), expand_nested)
    if not model.built:
        raise NotBuiltError(
            f"{model.name!r} cannot be drawn: it has not been built, so its layers have neither "
            "shapes nor weights. Start it with an `Input`, call `model.build(input_shape)`, or "
            "call it once on data."
        )
    diagram = Diagram(None)
    diagram.add(model, model.name).calls += [_call(node) for node in nodes_of(model)]
    return diagram


def _read(model: Any, owner: Box | None, order: list[int | None], expand_nested: bool) -> Diagram:
    """The diagram of a graph model; its inputs are those of ``owner``, in ``order``."""
    graph = model.layer_graph
    diagram = Diagram(owner)
    made: dict[int, End | int | None] = {}  # the source of each slot of the execution plan
    for border, slot, x in zip(order, graph.plan.inputs, graph.inputs, strict=True):
        maker = x.node.operation
        if isinstance(maker, InputLayer) and maker not in model.layers:  # of a sequential model
            made[slot] = border
            continue
        is_layer = isinstance(x.node.operation, InputLayer)
        box = diagram.add(x.node.operation if is_layer else None, x.name)
        box.calls.append(Call((), (_port(x),), x.node))
        made[slot] = end = End(box, 0, 0)
        if owner is not None and border is not None:
            diagram.sources[end] = border

    boxes: dict[Any, Box] = {}
    for step in graph.plan.steps:
        inner_order = _inner_order(step) if expand_nested else None
        box = boxes.get(step.operation)
        if box is None or inner_order is not None:
            box = boxes[step.operation] = diagram.add(step.operation, step.operation.name)
        number = len(box.calls)
        box.calls.append(_call(step.node))
        for i, slot in enumerate(_slots(step)):
            if (source := made[slot]) is not None:
                diagram.sources[End(box, number, i)] = source
        for j, slot in enumerate(step.outputs):
            if slot >= 0:
                made[slot] = End(box, number, j)
        if inner_order is not None:
            box.inside = _read(step.operation, box, inner_order, expand_nested)
    for j, slot in enumerate(graph.plan.outputs):
        if (source := made[slot]) is not None:
            diagram.sources[j] = source

    totals = Counter(box.operation for box in diagram.boxes)
    turns: Counter[Any] = Counter()
    for box in diagram.boxes:
        if box.inside is not None:
            turns[box.operation] += 1
            box.turn = (turns[box.operation], totals[box.operation])
    return diagram


def _inner_order(step: Step) -> list[int | None] | None:
    """Which input of the call each input of a nested model is; None if it cannot be expanded."""
    graph = graph_of(step.operation)
    if graph is None or len(step.node.output_leaves) != len(graph.outputs):
        return None
    arguments = [*step.args, *step.kwargs.values()]
    numbers = iter(range(len(step.node.inputs)))
    numbered = nested.map_structure(
        lambda x: next(numbers) if isinstance(x, Slot) else None, arguments
    )
    order = graph.arrange(numbered[0])
    # Tensors besides the inputs, such as a mask, are connected to nothing inside.
    return order if sum(i is not None for i in order) == len(step.node.inputs) else None


def _slots(step: Step) -> list[int]:
    return [x.index for x in nested.flatten((step.args, step.kwargs)) if isinstance(x, Slot)]


def _call(node: Node) -> Call:
    return Call(tuple(map(_port, node.inputs)), tuple(map(_port, node.output_leaves)), node)


def _port(x: Any) -> Port:
    return Port(show_shape(x.spec), x.dtype, x.mask is not None)


def show_shape(spec: TensorSpec) -> str:
    """A shape as text, with None for the batch, as in Keras's plots.

    >>> show_shape(TensorSpec(("batch", "time", 64)))
    '(None, time, 64)'
    """
    sizes = ["None" if str(d) == str(BATCH) else show_dim(d) for d in spec.dims_raw]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def kind_of(operation: Any) -> str:
    """The class of a layer, followed by that of a wrapped layer; an op's name in camel case."""
    if operation is None:
        return "Input"
    if isinstance(operation, Op):
        return "".join(word.capitalize() for word in operation.op_name.split("_"))
    kind = type(operation).__name__
    return f"{kind}({kind_of(operation.layer)})" if isinstance(operation, _Wraps) else kind


def activation_of(operation: Any) -> str | None:
    """The name of a layer's activation, or None."""
    activation = vars(operation).get("activation") if isinstance(operation, Layer) else None
    if activation is None:
        return None
    return activation.__name__ if inspect.isroutine(activation) else type(activation).__name__


def expression(call: Call) -> str:
    """The arguments of an op, with ``·`` for each tensor; empty if all are tensors.

    For ``x + 1`` it is ``(·, 1)``, for ``x[:, 0]`` it is ``[:, 0]``.
    """
    node = call.node
    if not isinstance(node.operation, Op):
        return ""
    if node.operation.op_name == "get_item" and len(node.args) == 2 and is_symbolic(node.args[0]):
        return f"[{_index(node.args[1])}]"
    positional = [_argument(x) for x in node.args]
    named = [f"{k}={_argument(v)}" for k, v in node.kwargs.items()]
    text = f"({', '.join([*positional, *named])})"
    return "" if set(text) <= set("(·, [])") else text


def _argument(x: Any) -> str:
    if is_symbolic(x):
        return "·"
    if isinstance(x, (list, tuple)):
        return f"[{', '.join(map(_argument, x))}]"
    if isinstance(x, Variable) or (is_array(x) and x.shape != ()):
        return f"array{tuple(x.shape)}"
    return str(x)


def _index(x: Any) -> str:
    if isinstance(x, tuple):
        return ", ".join(map(_index, x))
    if isinstance(x, slice):
        parts = ["" if v is None else str(v) for v in (x.start, x.stop, x.step)]
        return ":".join(parts[: 2 + (x.step is not None)])
    return "..." if x is Ellipsis else "None" if x is None else _argument(x)


def trainability(model: Any) -> dict[Variable, bool]:
    """For each trainable weight, whether it is trained in the model as a whole."""
    return {v: trains for v, trains in model.named_variables().values() if v.is_weight}


def state_of(operation: Any, trains: dict[Variable, bool]) -> str | None:
    """``trainable``, ``frozen`` or ``partly frozen``; None without trainable weights."""
    if not isinstance(operation, Layer):
        return None
    mine = {trains[v] for v in operation.variables if v in trains}
    return {(True,): "trainable", (False,): "frozen", (False, True): "partly frozen"}.get(
        tuple(sorted(mine))
    )
