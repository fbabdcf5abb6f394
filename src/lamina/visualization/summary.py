"""The table of a model's layers: as data, as text, in color, and as HTML.

:func:`summarize` converts a model to a :class:`ModelSummary`; ``model.summary()`` calls
:func:`print_summary`. Text is never truncated: cells wrap if the line is too short.
"""

from __future__ import annotations

import dataclasses
import html
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from lamina.core.graph import Node
from lamina.core.operation import Op
from lamina.core.scope import Scope, entered
from lamina.core.spec import BATCH, TensorSpec, is_anonymous, show_dim
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, UnknownNameError
from lamina.layers import InputLayer
from lamina.runtime import cost, messages
from lamina.tree import nested
from lamina.visualization.cells import JOINED, coloured, in_ascii, shrink, wrap
from lamina.visualization.devices import device_bytes, layouts_of, notes
from lamina.visualization.diagram import graph_of

Shape = tuple[Any, ...]
_BATCH = show_dim(BATCH)
_NUMBERS = (f"Param{JOINED}#", "FLOPs", "Activations")  # the columns of numbers


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        name: The layer's or op's name.
        type: Its class; for an op, the name of the function in camel case.
        output_shapes: One entry for each distinct output: a shape, or a list of shapes if a call
            returns several tensors. Dimensions are numbers, names, or None. Empty if unknown.
        params: Number of elements of the layer's weights.
        built: Whether the weights have been created.
        connected_to: The inputs of each call, as ``layer[node][output]``.
        trainable: Whether any weight is trained; None without weights.
        depth: 0 for the model's own layers, 1 for those inside a nested model, ...
        frame: The lines that connect a nested model to this row.
        operations: Arithmetic operations of all calls for one sample: a number, a formula of named
            dimensions, or None if unknown or not requested.
        activation_bytes: Size of the outputs for one sample in bytes, likewise.
        sharding: For each weight that is split its name and the axis of the mesh that splits each
            dimension; the same for the output if it has a layout. Empty if not requested.
        device_bytes: Size of the weights on each device in bytes.

    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> summarize(model).rows[-1].output_shapes
    ((None, 2),)
    """

    name: str
    type: str
    output_shapes: tuple[Shape | list[Shape], ...]
    params: int
    built: bool
    connected_to: tuple[str, ...]
    trainable: bool | None
    depth: int
    frame: str = ""
    operations: Any = None
    activation_bytes: Any = None
    sharding: tuple[str, ...] = ()
    device_bytes: int = 0

    @property
    def shape_text(self) -> str:
        """The output shapes as shown in the table."""
        return ", ".join(map(_show_output, self.output_shapes)) or "?"

    @property
    def params_text(self) -> str:
        """The number of parameters as shown in the table."""
        return f"{self.params:,}" + ("" if self.built else " (unbuilt)")

    @property
    def trainable_text(self) -> str:
        """``Y``, ``N``, or ``-`` without weights."""
        return "-" if self.trainable is None else "NY"[self.trainable]


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """A number of parameters and their memory.

    Args:
        params: Number of elements.
        bytes: Their size in bytes.

    >>> str(Weights(55_050, 220_200))
    '55,050 (215.04 KB)'
    """

    params: int
    bytes: int

    @classmethod
    def of(cls, variables: Iterable[Variable]) -> Weights:
        """Count ``variables``, which must be distinct."""
        sizes = [(v.size, v.size * jnp.dtype(v.dtype).itemsize) for v in variables]
        return cls(sum(n for n, _ in sizes), sum(b for _, b in sizes))

    def __add__(self, other: Weights) -> Weights:
        return Weights(self.params + other.params, self.bytes + other.bytes)

    def __str__(self) -> str:
        return f"{self.params:,} ({cost.readable(self.bytes)})"


@dataclasses.dataclass(frozen=True)
class ModelSummary:
    """The table of a model's layers, as data that can be displayed.

    ``print(table)`` prints text, a notebook shows HTML, and rich consoles show it in color.

    Attributes:
        name: The model's name.
        rows: One for each layer or op.
        trainable: The weights that are trained.
        non_trainable: The other weights.
        optimizer: The optimizer's state, if it exists.
        show_connections: Whether to show the inputs of each layer, which a linear stack does not
            need.
        show_trainable: Whether to show what is trained.
        show_cost: Whether to show the cost of one sample.
        show_sharding: Whether to show how weights are split over devices.
        notes: Lines below the totals.
        line_length: Width in characters; when None, as wide as necessary up to the width of the
            terminal.
        positions: End of each column, in characters or as fractions of the width.

    >>> from lamina import layers, models
    >>> summarize(models.Sequential([layers.Input((3,)), layers.Dense(2)])).trainable
    Weights(params=8, bytes=32)
    """

    name: str
    rows: tuple[Row, ...]
    trainable: Weights
    non_trainable: Weights
    optimizer: Weights
    show_connections: bool = False
    show_trainable: bool = False
    show_cost: bool = False
    show_sharding: bool = False
    notes: tuple[str, ...] = ()
    line_length: int | None = None
    positions: tuple[float, ...] = ()

    @property
    def total(self) -> Weights:
        """All parameters in memory: weights and optimizer state."""
        return self.trainable + self.non_trainable + self.optimizer

    @property
    def totals(self) -> dict[str, Weights]:
        """The totals below the table, by name."""
        lines = {
            "Total params": self.total,
            "Trainable params": self.trainable,
            "Non-trainable params": self.non_trainable,
        }
        return lines | ({"Optimizer params": self.optimizer} if self.optimizer.params else {})

    @property
    def _columns(self) -> list[tuple[str, Callable[[Row], str]]]:
        columns: list[tuple[str, Callable[[Row], str]]] = [
            ("Layer (type)", lambda row: f"{row.name} ({row.type})"),
            ("Output Shape", lambda row: row.shape_text),
            (f"Param{JOINED}#", lambda row: row.params_text),
        ]
        if self.show_connections:
            columns.append(("Connected to", lambda row: "\n".join(row.connected_to) or "-"))
        if self.show_trainable:
            columns.append(("Trainable", lambda row: row.trainable_text))
        if self.show_cost:
            columns.append(("FLOPs", lambda row: _show_amount(row.operations)))
            columns.append(("Activations", lambda row: _show_amount(row.activation_bytes, "B")))
        if self.show_sharding:
            columns.append(("Sharding", lambda row: "\n".join(row.sharding) or "-"))
            columns.append(("Per device", lambda row: cost.readable(row.device_bytes)))
        return columns

    def _widths(self, cells: list[list[str]], available: int) -> list[int]:
        """Widths of the columns: those of their text, or less if the line is too short."""
        limit = available - 3 * len(cells) - 1
        lines = [[line for cell in column for line in cell.split("\n")] for column in cells]
        if self.positions:
            return self._widths_at(available, len(cells))
        widths = [max(map(cell_len, column)) for column in lines]
        if sum(widths) > limit:
            minimums = [
                max(cell_len(word) for line in column for word in line.split(" "))
                for column in lines
            ]
            widths = shrink(widths, minimums, limit)
        elif self.line_length is not None:
            for i in range(limit - sum(widths)):
                widths[i % len(widths)] += 1
        return widths

    def _widths_at(self, available: int, count: int) -> list[int]:
        """Widths of columns that end at :attr:`positions`."""
        scale = available if max(self.positions) <= 1 else 1
        ends = [round(p * scale) for p in self.positions[:count]]
        return [max(1, b - a - 3) for a, b in itertools.pairwise([0, *ends])]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        columns = self._columns
        frames = [in_ascii(r.frame) if options.ascii_only else r.frame for r in self.rows]
        cells = [[title, *map(show, self.rows)] for title, show in columns]
        framed = [f.replace(" ", JOINED) + c for f, c in zip(frames, cells[0][1:], strict=True)]
        available = self.line_length or options.max_width
        widths = self._widths([[cells[0][0], *framed], *cells[1:]], available)
        table = Table(show_lines=True, header_style="bold")
        table.width = sum(widths) + 3 * len(widths) + 1
        for (title, _), width in zip(columns, widths, strict=True):
            header = Text("\n".join(wrap(title, width)))
            justify = "right" if title in _NUMBERS else "left"
            table.add_column(header, justify=justify, width=width, overflow="fold")
        for frame, first, *rest in zip(frames, *(column[1:] for column in cells), strict=True):
            others = [wrap(text, width) for text, width in zip(rest, widths[1:], strict=True)]
            tallest = max(map(len, others))
            texts = [wrap(first, widths[0], frame, tallest), *others]
            table.add_row(*(coloured("\n".join(lines)) for lines in texts))
        yield Text(f'Model: "{self.name}"', style="bold")
        yield table
        for label, weights in self.totals.items():
            yield Text.assemble(" ", (f"{label}: ", "bold"), coloured(str(weights)))
        for note in self.notes:
            yield Text(f" {note}")

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=self.line_length, color_system=None)
        with console.capture() as capture:
            console.print(self, crop=False)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _repr_html_(self) -> str:
        columns = self._columns

        # Inline styles, so that nothing outside this table is affected.
        def row(tag: str, texts: Iterable[str], line: str = "") -> str:
            look = f"vertical-align: top; padding: 0.15em 0.8em; white-space: nowrap{line}"
            cells = (html.escape(t).replace("\n", "<br>").replace("  ", "&nbsp; ") for t in texts)
            aligned = (
                f'<{tag} style="text-align: {"right" if title in _NUMBERS else "left"}; {look}">'
                f"{c}</{tag}>"
                for (title, _), c in zip(columns, cells, strict=True)
            )
            return f"<tr>{''.join(aligned)}</tr>"

        body = []
        for r in self.rows:
            first, *rest = (show(r) for _, show in columns)
            body.append(row("td", [r.frame + first, *rest]))
        head = row("th", [title for title, _ in columns], "; border-bottom: 1px solid")
        lines = [f"<b>{label}:</b> {weights}" for label, weights in self.totals.items()]
        totals = "<br>".join([*lines, *map(html.escape, self.notes)])
        return (
            f"<p><b>Model: {html.escape(self.name)}</b></p>"
            '<table style="border-collapse: collapse; font-variant-numeric: tabular-nums">'
            f"<thead>{head}</thead><tbody>{''.join(body)}</tbody></table><p>{totals}</p>"
        )


def summarize(
    model: Any,
    *,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
    show_cost: bool = False,
    show_sharding: bool = False,
) -> ModelSummary:
    """Create the table of a model's layers.

    Args:
        model: A model of any kind; unbuilt layers show ``?`` and no parameters.
        line_length: Width of the table in characters; when None, as wide as its text up to the
            width of the terminal.
        positions: End of each column, in characters or as fractions of the width when none is above
            1. When None, columns have the width of their text.
        expand_nested: Whether to list the layers of nested models too, below them.
        show_trainable: Whether to add a column that shows what is trained.
        layer_range: ``(first, last)`` to list only a range of layers, from the first layer whose
            name equals or matches ``first`` to the last one whose name equals or matches ``last``.
            The totals are still those of the whole model.
        show_cost: Whether to add columns with the cost of one sample: the arithmetic operations of
            the forward pass, where a multiplication and an addition count as two, and the bytes of
            the outputs. They are formulas of unknown named dimensions, such as ``128*time``.
        show_sharding: Whether to add columns that show how a distribution splits each weight, and
            the bytes on each device; and, once the model was trained, what the compiler says about
            the memory and the communication of a training step.

    Returns:
        The table, with its ``rows`` and totals.

    Raises:
        UnknownNameError: No layer's name matches ``layer_range``.
        ArgumentError: ``layer_range`` is not a pair, or ``line_length`` is not a positive number.

    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> [(row.type, row.params) for row in summarize(model).rows]
    [('Dense', 8)]
    """
    if line_length is not None and line_length < 1:
        raise ArgumentError(f"`line_length` is a positive number. Received: {line_length!r}.")
    ends = () if positions is None else tuple(positions)
    weights = set(model.weights)  # the states of seed generators are not parameters
    trains = {v: t for v, t in model.named_variables().values() if v in weights}
    costs = _operations(model) if show_cost else None
    reader = _Reader(trains, expand_nested, costs, show_sharding)
    rows = list(reader.rows(model, 0, "", layer_range))
    optimizer = model.optimizer
    state = optimizer.state_variables if optimizer is not None and optimizer.built else {}
    columns = 3 + reader.branches + show_trainable + 2 * show_cost + 2 * show_sharding
    if ends and (len(ends) < columns or list(ends) != sorted(ends) or ends[0] <= 0):
        raise ArgumentError(
            f"`positions` are {columns} increasing numbers here, one for each column. "
            f"Received: {positions!r}."
        )
    return ModelSummary(
        name=model.name,
        rows=tuple(rows),
        trainable=Weights.of(v for v, t in trains.items() if t),
        non_trainable=Weights.of(v for v, t in trains.items() if not t),
        optimizer=Weights.of(state.values()),
        show_connections=reader.branches,
        show_trainable=show_trainable,
        show_cost=show_cost,
        show_sharding=show_sharding,
        notes=tuple(notes(model)) if show_sharding else (),
        line_length=line_length,
        positions=ends,
    )


def print_summary(
    model: Any,
    *,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
    show_cost: bool = False,
    show_sharding: bool = False,
) -> None:
    """Print the table of :func:`summarize`, in color on a terminal.

    Args:
        model: A model of any kind.
        line_length: See :func:`summarize`.
        positions: End of each column, in characters or as fractions of the width when none is above
            1. When None, columns have the width of their text.
        print_fn: Function that is called once with the whole text, without colors, instead of
            printing.
        expand_nested: See :func:`summarize`.
        show_trainable: See :func:`summarize`.
        layer_range: See :func:`summarize`.
        show_cost: See :func:`summarize`.
        show_sharding: See :func:`summarize`.

    >>> from lamina import layers, models
    >>> model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    >>> print_summary(model, print_fn=lambda text: print("Dense" in text))
    True
    """
    if print_fn is not None and not callable(print_fn):
        raise ArgumentError(f"`print_fn` is a function of the text. Received: {print_fn!r}.")
    summary = summarize(
        model, line_length=line_length, positions=positions, expand_nested=expand_nested,
        show_trainable=show_trainable, layer_range=layer_range, show_cost=show_cost,
        show_sharding=show_sharding,
    )  # fmt: skip
    if print_fn is not None:
        print_fn(str(summary))
    else:
        Console(file=messages.stream(), width=line_length).print(summary, crop=False)


# ---- reading a model -----------------------------------------------------------------------------


class _Reader:
    """Creates the rows, and records whether any graph has branches."""

    def __init__(
        self, trains: dict[Variable, bool], expand_nested: bool, costs: dict[str, Any] | None,
        show_sharding: bool,
    ) -> None:  # fmt: skip
        self.trains, self.expand_nested, self.branches = trains, expand_nested, False
        self.costs, self.show_sharding = costs, show_sharding

    def rows(
        self, model: Any, depth: int, frame: str, layer_range: Sequence[str] | None = None,
        path: str = "",
    ) -> Iterator[Row]:  # fmt: skip
        """The rows of a model's layers, each followed by those inside it."""
        graph = graph_of(model)
        nodes = _nodes_by_operation(graph)
        self.branches |= graph is not None and not graph.is_chain
        operations = model.layers if graph is None else model.operations
        if not any(isinstance(x, InputLayer) for x in model.layers):  # of a sequential model
            operations = [x for x in operations if not isinstance(x, InputLayer)]
        operations = _within(operations, layer_range)
        for i, operation in enumerate(operations):
            last = i == len(operations) - 1
            lines = frame + ("└ " if last else "├ ") * (depth > 0)
            where = f"{path}{operation.name}"
            yield self._row(operation, nodes, depth, lines, where)
            if self.expand_nested and operation.layer_graph is not None:
                inner = frame + ("  " if last else "│ ") * (depth > 0)
                yield from self.rows(operation, depth + 1, inner, path=f"{where}/")

    def _row(
        self, operation: Any, nodes: dict[Any, list[Node]], depth: int, frame: str, path: str
    ) -> Row:
        calls = nodes.get(operation, [])
        is_op = isinstance(operation, Op)
        variables = [] if is_op else [v for v in operation.variables if v in self.trains]
        return Row(
            name=operation.name,
            type=_camel_case(operation.op_name) if is_op else type(operation).__name__,
            output_shapes=_output_shapes(calls) if calls or is_op else _shapes_of_build(operation),
            params=sum(v.size for v in variables),
            built=operation.built,
            connected_to=tuple(
                f"{x.node.operation.name}[{x.node.index}][{x.index}]"
                for node in calls for x in node.inputs
            ),
            trainable=any(self.trains.get(v, False) for v in variables) if variables else None,
            depth=depth,
            frame=frame,
            operations=_total(self.costs, path) if calls and self.costs is not None else None,
            activation_bytes=_bytes_of_outputs(calls) if self.costs is not None else None,
            sharding=tuple(layouts_of(operation)) if self.show_sharding else (),
            device_bytes=device_bytes(variables),
        )  # fmt: skip


def _operations(model: Any) -> dict[str, Any]:
    """Arithmetic operations for one sample, by the path of the layer in ``model``."""
    graph = graph_of(model)
    if graph is None:
        return {}
    structs = [TensorSpec((1, *x.spec.dims_raw[1:]), x.spec.dtype).struct for x in graph.inputs]

    def run(*arrays: Any) -> Any:
        with entered(Scope(pure=True, abstract=True)):
            return graph.run(nested.unflatten(graph.input_structure, list(arrays)))

    return cost.operations(run, *structs)


def _total(costs: dict[str, Any], path: str) -> Any:
    return sum(n for p, n in costs.items() if p == path or p.startswith(f"{path}/"))


def _bytes_of_outputs(calls: list[Node]) -> Any:
    return sum(
        math.prod(x.spec.dims_raw[1:]) * jnp.dtype(x.spec.dtype).itemsize
        for node in calls for x in node.output_leaves
    )  # fmt: skip


def _nodes_by_operation(graph: Any) -> dict[Any, list[Node]]:
    """The calls that belong to this graph: a layer may have others in other graphs."""
    found: dict[Any, list[Node]] = {}
    if graph is not None:
        inputs = (x.node for x in graph.inputs if isinstance(x.node.operation, InputLayer))
        for node in (*inputs, *(step.node for step in graph.plan.steps)):
            found.setdefault(node.operation, []).append(node)
    return {k: sorted(v, key=lambda node: node.index) for k, v in found.items()}


def _within(operations: Sequence[Any], layer_range: Sequence[str] | None) -> list[Any]:
    if layer_range is None:
        return list(operations)
    if isinstance(layer_range, str) or len(layer_range) != 2:
        raise ArgumentError(
            "`layer_range` is a pair (first, last) of names or patterns. "
            f"Received: {layer_range!r}."
        )
    names = [x.name for x in operations]
    first, last = (_places(names, pattern) for pattern in layer_range)
    return list(operations[min(first[0], last[0]) : max(first[-1], last[-1]) + 1])


def _places(names: list[str], pattern: str) -> list[int]:
    """The position of the layer of that name, or those of all that match it as a pattern."""
    if pattern in names:
        return [names.index(pattern)]
    found = [i for i, name in enumerate(names) if re.match(pattern, name)]
    if not found:
        raise UnknownNameError(
            f"`layer_range`: no layer name equals or matches {pattern!r}. The layers are {names}."
        )
    return found


def _output_shapes(calls: list[Node]) -> tuple[Shape | list[Shape], ...]:
    """The distinct output shapes of the calls."""
    found: list[Any] = []
    for node in calls:
        shapes = [_shape_of(x) for x in node.output_leaves]
        shape = shapes[0] if len(shapes) == 1 else shapes
        if shape not in found:
            found.append(shape)
    return tuple(found)


def _shape_of(tensor: Any) -> Shape:
    """Dimensions with names; the batch is None, as in Keras's tables."""
    return tuple(None if d == _BATCH else d for d in tensor.dims)


def _shapes_of_build(layer: Any) -> tuple[Shape | list[Shape], ...]:
    """The output shape of a layer that is not in a graph, from its own or what it was built for."""
    graph = graph_of(layer)
    if graph is not None:
        shapes = [_shape_of(x) for x in graph.outputs]
        return (shapes[0] if len(shapes) == 1 else shapes,)
    config = layer.get_build_config()
    if not config:
        return ()
    try:
        shape = layer.compute_output_shape(*map(_open_batch, config.values()))
    except (TypeError, ValueError):  # the layer needs more than shapes
        return ()
    return (_open_batch(shape),)


def _open_batch(shape: Any) -> Any:
    if isinstance(shape, dict):
        return [_open_batch(s) for s in shape.values()]
    if isinstance(shape, (list, tuple)):
        if all(d is None or isinstance(d, int) for d in shape):
            return (None, *shape[1:])
        shapes = [_open_batch(s) for s in shape if s is not None]
        return shapes[0] if len(shapes) == 1 else shapes
    return shape


def _camel_case(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


# ---- text ----------------------------------------------------------------------------------------


def _show_output(output: Shape | list[Shape]) -> str:
    if isinstance(output, list):
        return f"[{', '.join(map(_show_output, output))}]"
    inner = f",{JOINED}".join(map(str, output))
    return f"({inner},)" if len(output) == 1 else f"({inner})"


def _show_amount(amount: Any, unit: str = "") -> str:
    """A number of operations or bytes; a formula with unknown dimensions; ``?`` if unknown."""
    if amount is None or not isinstance(amount, int):
        named = amount is not None and not is_anonymous(amount)
        return f"{show_dim(amount)} {unit}".strip() if named else "?"
    return cost.readable(amount) if unit else f"{amount:,}"
