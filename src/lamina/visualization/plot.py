"""Plots of models as PNG, SVG and PDF files, laid out by the Graphviz bundled with pygraphviz."""

from __future__ import annotations

import functools
import html
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pygraphviz
from rich.cells import cell_len

from lamina.core.boundary import warn
from lamina.core.operation import Op
from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.layers import InputLayer, Layer
from lamina.runtime import cost
from lamina.runtime.files import replacing
from lamina.visualization.devices import device_bytes, layouts_of, notes
from lamina.visualization.diagram import (
    Box,
    Diagram,
    End,
    activation_of,
    expression,
    graph_of,
    make_diagram,
    state_of,
    trainability,
)
from lamina.visualization.graphviz import Graph

_FONT = "Helvetica,Arial,sans-serif"
_INK, _MUTED, _LINE = "#1f2328", "#57606a", "#8c959f"
_INPUT, _LAYER, _MODEL, _OP = "#e6f0fb", "#f6f8fa", "#f1ebfb", "#ffffff"
_FORMATS = {"": "png", ".png": "png", ".svg": "svg", ".pdf": "pdf"}
_LARGEST_PNG = 32_767  # pixels in either direction: Cairo's limit

# For each direction: the sides at which edges leave and enter a box, as compass points.
_SIDES = {"TB": ("s", "n"), "BT": ("n", "s"), "LR": ("e", "w"), "RL": ("w", "e")}
_SPLINES = ("spline", "curved", "polyline", "line", "ortho")


class _Options(NamedTuple):
    shapes: bool
    dtype: bool
    names: bool
    activations: bool
    trains: dict[Variable, bool] | None
    rankdir: str
    sharding: bool


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "spline",
    show_sharding: bool = False,
) -> pygraphviz.AGraph:
    """Convert a model to a Graphviz graph: a box for each layer, an edge for each tensor.

    An edge connects ports: output ``j`` of a call and input ``i`` of another. A layer that is
    called several times is one box, whose ports show the number of the call.

    Args:
        model: A built model of any kind; one without a graph becomes a single box.
        show_shapes: Whether to show the shape of each port, with the names of named dimensions.
        show_dtype: Whether to show the dtype of each port.
        show_layer_names: Whether to show the name of each layer above its class.
        rankdir: Direction of the graph: ``"TB"`` down, ``"BT"`` up, ``"LR"`` right, ``"RL"`` left.
        expand_nested: Whether to draw each call of a nested model as a frame around its layers.
        dpi: Resolution of bitmaps.
        subgraph: Whether to draw a frame with the name of the model around everything.
        show_layer_activations: Whether to show the activation after the class.
        show_trainable: Whether to show if layers with weights are ``trainable``, ``frozen`` or
            ``partly frozen``.
        splines: How edges are drawn: ``"spline"``, ``"curved"``, ``"polyline"``, ``"line"`` or
            ``"ortho"``. Keras's default is ``"ortho"``, for which Graphviz ignores the ports.
        show_sharding: Whether to show how a distribution splits the weights of each layer, their
            bytes on each device, and below the graph the memory of each device; once the model was
            trained, also the communication of a training step.

    Returns:
        The graph; its nodes are named by the path of layer names, such as ``"encoder/dense"``.
        ``graph.draw("model.png", prog="dot")`` renders it, ``str(graph)`` is its text.

    Raises:
        NotBuiltError: A model that has not been built.
        ArgumentError: Something that is not a model, or an unknown ``rankdir`` or ``splines``.

    >>> from lamina import Sequential, layers
    >>> stack = [layers.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(1, name="head")]
    >>> model_to_dot(Sequential(stack), show_shapes=True).edges()
    [('hidden', 'head')]
    """
    if rankdir not in _SIDES:
        raise ArgumentError(f"`rankdir` must be one of {list(_SIDES)}. Received: {rankdir!r}.")
    if splines not in _SPLINES:
        raise ArgumentError(f"`splines` must be one of {list(_SPLINES)}. Received: {splines!r}.")
    diagram = make_diagram(model, expand_nested=expand_nested)
    options = _Options(
        show_shapes, show_dtype, show_layer_names, show_layer_activations,
        trainability(model) if show_trainable else None, rankdir, show_sharding,
    )  # fmt: skip
    graph: Any = Graph(directed=True, strict=False, name="model")
    graph.graph_attr.update(
        rankdir=rankdir, splines=splines, dpi=str(dpi), nodesep="0.3", ranksep="0.45", pad="0.15",
        bgcolor="white", fontname=_FONT, fontsize="11", fontcolor=_INK,
    )  # fmt: skip
    graph.node_attr.update(shape="plain", fontname=_FONT, fontsize="11", fontcolor=_INK)
    graph.edge_attr.update(color=_MUTED, arrowsize="0.6")
    if show_sharding:
        lines = (f'{_small(note)}<br align="left"/>' for note in notes(model))
        graph.graph_attr.update(label=f"<{''.join(lines)}>", labeljust="l")
    frame = _frame(graph, "", model.name) if subgraph else graph
    _draw_boxes(frame, diagram, options)
    leave, enter = _SIDES[rankdir]
    for start, stop in diagram.edges():
        graph.add_edge(
            _name(start.box), _name(stop.box),
            tailport=f"{_place(start, 'out', options)}:{leave}",
            headport=f"{_place(stop, 'in', options)}:{enter}",
        )  # fmt: skip
    return graph


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "spline",
    show_sharding: bool = False,
) -> Any:
    """Draw a model as a PNG, SVG or PDF file, depending on the suffix.

    No system package is needed: pygraphviz bundles Graphviz.

    Args:
        model: A built model of any kind; one without a graph becomes a single box.
        to_file: Path of the file, which is replaced when the new file is complete.
        show_shapes: Whether to show the shape of each port, with the names of named dimensions.
        show_dtype: Whether to show the dtype of each port.
        show_layer_names: Whether to show the name of each layer above its class.
        rankdir: Direction of the graph: ``"TB"`` down, ``"BT"`` up, ``"LR"`` right, ``"RL"`` left.
        expand_nested: Whether to draw each call of a nested model as a frame around its layers.
        dpi: Resolution of a PNG; lower if the picture would exceed the largest possible PNG.
        show_layer_activations: Whether to show the activation after the class.
        show_trainable: Whether to show if layers with weights are ``trainable``, ``frozen`` or
            ``partly frozen``.
        splines: How edges are drawn: ``"spline"``, ``"curved"``, ``"polyline"``, ``"line"`` or
            ``"ortho"``. Keras's default is ``"ortho"``, for which Graphviz ignores the ports.
        show_sharding: Whether to show how a distribution splits the weights of each layer, their
            bytes on each device, and below the graph the memory of each device; once the model was
            trained, also the communication of a training step.

    Returns:
        In a notebook, an object that displays the picture; otherwise None.

    Raises:
        ArgumentError: An unknown suffix, ``rankdir`` or ``splines``, or something that is not a
            model.
        NotBuiltError: A model that has not been built.

    >>> import tempfile
    >>> from lamina import Sequential, layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_model(model, f"{folder}/model.svg", show_shapes=True)
    """
    path = Path(to_file)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ArgumentError(
            f"plot_model() saves .png, .svg and .pdf. Received: {str(path)!r}. Rename the file; "
            'for other formats of Graphviz use `model_to_dot(model).draw(path, prog="dot")`.'
        )
    graph = model_to_dot(
        model, show_shapes=show_shapes, show_dtype=show_dtype, show_layer_names=show_layer_names,
        rankdir=rankdir, expand_nested=expand_nested, dpi=dpi,
        show_layer_activations=show_layer_activations, show_trainable=show_trainable,
        splines=splines, show_sharding=show_sharding,
    )  # fmt: skip
    picture = _render(graph, kind, dpi)
    with replacing(path) as part:
        part.write_bytes(picture)
    return _for_notebook(kind, picture)


def _render(graph: Any, kind: str, dpi: int) -> bytes:
    graph.graph_attr["dpi"] = "72"  # SVG and PDF have sizes in points
    graph.layout(prog="dot")
    square_loops(graph)
    _clear_titles(graph)
    if kind != "svg" and not _has_fonts():
        warn(
            "This machine has no fonts, so every letter of the plot is an empty box. Install "
            "a font (`apt-get install fonts-dejavu-core`), or save an .svg file, which is shown "
            "with the fonts of its viewer.",
            UserWarning,
        )
    if kind == "png":
        inches = max(numbers(graph.graph_attr["bb"])) / 72 + 1
        if inches * dpi > _LARGEST_PNG:
            fitting = int(_LARGEST_PNG / inches)
            warn(
                f"The plot is {inches:.0f} inches long, and a PNG has at most {_LARGEST_PNG:,} "
                f"pixels: it is drawn at {fitting} dpi instead of {dpi}. Save an .svg or .pdf "
                "file for full resolution.",
                UserWarning,
            )
            dpi = fitting
        graph.graph_attr["dpi"] = str(dpi)
    return graph.draw(format=kind)


@functools.cache
def _has_fonts() -> bool:
    """Whether letters differ in width: without fonts, all of them are the same empty box."""
    graph: Any = Graph()
    for text in ("iiiiiiii", "WWWWWWWW"):
        graph.add_node(text, shape="plain", fontname=_FONT)
    graph.layout(prog="dot")
    widths = {node.attr["width"] for node in graph.nodes()}
    return len(widths) == 2


def square_loops(graph: Any) -> None:
    """Route edges from a box to itself at right angles, instead of Graphviz's arcs."""
    along = 1 if graph.graph_attr["rankdir"] in ("TB", "BT") else 0
    for node in graph.nodes():
        loops = [edge for edge in graph.out_edges(node) if edge[1] == node]
        if not loops:
            continue
        arcs = [points_along(edge.attr["pos"]) for edge in loops]
        middle = np.array(numbers(node.attr["pos"]))
        across = np.concatenate(arcs)[:, 1 - along] - middle[1 - along]
        far = across[np.abs(across).argmax()]
        outwards = np.sign(far)
        # The farther the ends of an edge are from the side that it passes, the farther out it is,
        # so # that edges do not cross.
        starts, stops = (np.array([arc[i, 1 - along] for arc in arcs]) for i in (0, -1))
        order = np.lexsort([-outwards * stops, -outwards * starts])
        for rank, k in enumerate(order):
            tip = loops[k].attr["pos"].split()[0]
            head, shaft = ("", 0.0) if tip[0] != "e" else (f"{tip} ", 6.0)
            start, stop = arcs[k][0], np.array(numbers(tip[2:])) if head else arcs[k][-1]
            ahead = np.zeros(2)
            ahead[along] = np.sign(start - middle)[along]
            corners = [start, start + (5 + 4 * rank) * ahead, stop - (13 + 4 * rank) * ahead]
            corners += [corners[-1], stop - shaft * ahead]
            side = middle[1 - along] + far + 4 * rank * outwards
            corners[2:3] = [_shifted(c, 1 - along, side) for c in corners[1:3]]
            path = (f"{x:.2f},{y:.2f}" for x, y in _rounded(corners, 5))
            loops[k].attr["pos"] = head + " ".join(path)


def _shifted(point: np.ndarray, axis: int, to: float) -> np.ndarray:
    point = point.copy()
    point[axis] = to
    return point


def _rounded(corners: list[np.ndarray], radius: float) -> list[np.ndarray]:
    """Control points of Bézier curves along straight lines that meet in rounded corners."""
    control = [corners[0]]

    def straight(to: np.ndarray) -> list[np.ndarray]:
        here = control[-1]
        return [here + (to - here) / 3, to + (here - to) / 3, to]

    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        enters, leaves = (
            corner + (end - corner) * min(radius / float(np.abs(end - corner).sum()), 0.5)
            for end in (before, after)
        )
        control += straight(enters)
        control += [(enters + corner) / 2, (leaves + corner) / 2, leaves]
    return control + straight(corners[-1])


def _clear_titles(graph: Any) -> None:
    """Move the titles of frames sideways, each to the first position that no edge crosses."""
    frames = graph.subgraphs()
    strokes = np.concatenate([_strokes(e.attr["pos"]) for e in graph.edges()]) if frames else None
    while frames and strokes is not None:
        frame = frames.pop()
        frames += frame.subgraphs()
        left, _, right, _ = numbers(frame.graph_attr["bb"])
        x, y = numbers(frame.graph_attr["lp"])
        title_width = float(frame.graph_attr["comment"])
        width, height = (72 * float(frame.graph_attr[k]) for k in ("lwidth", "lheight"))
        width -= title_width
        x -= title_width / 2
        near = (strokes[..., 1].min(1) < y + height / 2) & (strokes[..., 1].max(1) > y - height / 2)
        taken = strokes[near][..., 0]
        low, high = taken.min(1) - width / 2 - 2, taken.max(1) + width / 2 + 2
        for place in (x, *np.sort(high)):
            fits = left + width / 2 < place < right - width / 2 - 6
            if fits and not np.any((low < place) & (place < high)):
                frame.graph_attr["lp"] = f"{place + title_width / 2:.2f},{y:.2f}"
                break


def _strokes(pos: str) -> np.ndarray:
    """An edge as short line segments ``[segment, end, (x, y)]``."""
    points = points_along(pos)
    return np.stack([points[:-1], points[1:]], axis=1)


def points_along(pos: str) -> np.ndarray:
    """Points ``[point, (x, y)]`` along the Bézier curves of an edge; ``pos``: Graphviz's format."""
    control = np.array([numbers(p) for p in pos.split() if p[0] not in "es"])
    t = np.linspace(0, 1, 17)[1:, None]
    curves = [
        (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
        for a, b, c, d in (control[i : i + 4] for i in range(0, len(control) - 3, 3))
    ]
    return np.concatenate([control[:1], *curves])


def numbers(text: str) -> list[float]:
    """Parse numbers in Graphviz's format ``"1.5,2"``."""
    return [float(v) for v in text.split(",")]


def _for_notebook(kind: str, picture: bytes) -> Any:
    """An IPython object that displays the plot, if this is a notebook; else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if kind == "pdf" or not hasattr(shell, "kernel"):
        return None
    from IPython import display  # pyright: ignore[reportMissingImports]

    return display.SVG(picture) if kind == "svg" else display.Image(picture, format="png")


# ---- boxes ---------------------------------------------------------------------------------------


def _draw_boxes(graph: Any, diagram: Diagram, options: _Options) -> None:
    for box in diagram.boxes:
        if box.inside is None:
            graph.add_node(_name(box), label=_label(box, options), tooltip=_name(box))
            continue
        turn = "  call {} of {}".format(*box.turn) if box.turn[1] > 1 else ""
        _draw_boxes(_frame(graph, _name(box), box.name, turn), box.inside, options)


def _name(box: Box) -> str:
    """The path of a box as a name for Graphviz, which would interpret markup in it."""
    return html.escape(box.path)


def _frame(graph: Any, name: str, title: str, note: str = "") -> Any:
    """A frame at least twice as wide as its title, so that an edge can pass in the middle."""
    title_width = 6 * cell_len(title) + 5 * cell_len(note) + 10
    label = (
        '<table border="0" cellborder="0" cellspacing="0" cellpadding="0"><tr>'
        f"<td><b>{html.escape(title)}</b>{_small(note) if note else ''}</td>"
        f'<td width="{title_width}"></td></tr></table>'
    )
    return graph.add_subgraph(
        name=f"cluster_{name}", label=f"<{label}>", labeljust="l", style="rounded,filled",
        color="#c9bfe0", fillcolor="#faf8fe", margin="14", tooltip=name,
        comment=str(title_width),  # for _clear_titles
    )  # fmt: skip


def _ports(box: Box, side: str, options: _Options) -> list[tuple[str, str]]:
    """Name and text of each port on one side; empty if the side is a single port without text."""
    ports = []
    for k, call in enumerate(box.calls):
        for i, port in enumerate(call.inputs if side == "in" else call.outputs):
            text = " ".join([port.shape] * options.shapes + [port.dtype] * options.dtype)
            if len(box.calls) > 1:
                text = f"{k + 1}: {text}" if text else str(k + 1)
            ports.append((f"{side}{k}_{i}", text))
    return [] if len(ports) == 1 and not ports[0][1] else ports


def _place(end: End, side: str, options: _Options) -> str:
    """The name of the port at the end of an edge, or of the box if that side has no ports."""
    call = end.box.calls[end.call]
    count = len(call.inputs if side == "in" else call.outputs)
    several = count > 1 or len(end.box.calls) > 1
    shown = several or (count == 1 and (options.shapes or options.dtype))
    return f"{side}{end.call}_{end.port}" if shown else "head"


def _label(box: Box, options: _Options) -> str:
    """A table in Graphviz's HTML: input ports, the title of the box, and output ports."""
    upright = options.rankdir in ("TB", "BT")
    head = f'<td port="head" cellpadding="4">{_head(box, options)}</td>'
    cells = [(head, True)]  # and whether it is separated by a line
    for side, place in (("in", 0), ("out", 2)):
        if ports := _ports(box, side, options):
            cell = f'<td cellpadding="0">{_port_table(ports, upright)}</td>'
            cells.insert(place, (cell, any(text for _, text in ports)))
    if options.rankdir in ("BT", "RL"):
        cells.reverse()
    body = ""
    for i, (cell, lined) in enumerate(cells):
        line = "<hr/>" if upright else "<vr/>"
        body += line * (i > 0 and lined and cells[i - 1][1])
        body += f"<tr>{cell}</tr>" if upright else cell
    return (
        f'<<table border="1" cellborder="0" cellspacing="0" cellpadding="0" color="{_LINE}" '
        f'bgcolor="{_fill(box)}" style="rounded">{body if upright else f"<tr>{body}</tr>"}</table>>'
    )


def _port_table(ports: list[tuple[str, str]], upright: bool) -> str:
    silent = not any(text for _, text in ports)
    cells = [
        f'<td port="{name}" width="24" height="2"></td>' if silent
        else f'<td port="{name}" cellpadding="5">{_small(text)}</td>'
        for name, text in ports
    ]  # fmt: skip
    if upright:
        body = f"<tr>{('' if silent else '<vr/>').join(cells)}</tr>"
    else:
        body = ("" if silent else "<hr/>").join(f"<tr>{cell}</tr>" for cell in cells)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="0">{body}</table>'


def _head(box: Box, options: _Options) -> str:
    arguments = expression(box.calls[0]) if box.calls else ""
    facts = [
        box.kind + arguments if options.names else arguments,
        activation_of(box.operation) if options.activations else None,
        _state(box, options),
    ]
    lines = [f"<b>{html.escape(box.name if options.names else box.kind)}</b>"]
    if any(facts):
        lines.append(_small(" · ".join(filter(None, facts))))
    lines += map(_small, _sharding(box.operation) if options.sharding else ())
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in lines)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>'


def _state(box: Box, options: _Options) -> str | None:
    return None if options.trains is None else state_of(box.operation, options.trains)


def _sharding(operation: Any) -> list[str]:
    if not isinstance(operation, Layer) or not operation.weights:
        return []
    size = cost.readable(device_bytes(operation.weights))
    return [*layouts_of(operation), f"{size} per device"]


def _small(text: str) -> str:
    return f'<font point-size="9" color="{_MUTED}">{html.escape(text)}</font>'


def _fill(box: Box) -> str:
    if box.operation is None or isinstance(box.operation, InputLayer):
        return _INPUT
    if isinstance(box.operation, Op):
        return _OP
    return _MODEL if graph_of(box.operation) is not None else _LAYER
