"""A model as an interactive HTML page with expandable boxes, edges, and search.

The page is self-contained. Its content, including the layout by Graphviz, is computed here and
embedded as data; ``page.js`` inserts it as text, never as markup, and a content security policy
allows only its own scripts and styles.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from pathlib import Path
from string import Template
from typing import Any

from rich.cells import cell_len

from lamina.core.operation import Op
from lamina.core.variable import Variable
from lamina.layers import InputLayer, Layer
from lamina.layers.arguments import call_signature
from lamina.runtime import cost
from lamina.runtime.files import replacing
from lamina.serialization.fields import arguments_shown
from lamina.visualization.devices import axes_of, device_bytes, mesh_of, notes
from lamina.visualization.diagram import (
    Box,
    Diagram,
    End,
    Port,
    activation_of,
    expression,
    graph_of,
    make_diagram,
    state_of,
    trainability,
)
from lamina.visualization.graphviz import Graph
from lamina.visualization.plot import numbers, points_along, square_loops
from lamina.visualization.summary import summarize

# Sizes in pixels. Names and shapes are in a monospaced font, so that the width of a box follows
# from the number of characters.
_HEAD, _CALLS, _PORTS, _MARGIN, _GAP = 48, 18, 24, 24, 36
_NAME_CHARACTER, _CHARACTER = 8, 7
_NARROWEST, _WIDEST = 132, 600
_TOLD = (
    "name",
    "activation",
    "dtype",
    "trainable",
    "autocast",
)  # shown elsewhere, or not at all
_TRAINABLE = {
    "trainable": "yes", "frozen": "no", "partly frozen": "partly", None: "no trainable weights",
}  # fmt: skip


# Start and end: the index of a box (-1 for the border) and of a port; and whether there is a mask.
_Wire = tuple[tuple[int, int], tuple[int, int], bool]


def to_html(model: Any, path: str | os.PathLike[str] | None = None) -> str:
    """Show a model as a self-contained HTML page, which loads no other files.

    Boxes are layers, edges are tensors from port to port, and nested models can be expanded. The
    box under the mouse or with the keyboard focus shows its parameters, shapes, dtypes, masks,
    weights and arguments; the search finds layers by name or class. The page follows the reader's
    light or dark mode.

    Args:
        model: A built model of any kind; one without a graph becomes a single box.
        path: File to save the page to, which is replaced when the new page is complete.

    Returns:
        The page as a string.

    Raises:
        NotBuiltError: The model has not been built.
        ArgumentError: Something that is not a model.

    >>> from lamina import Sequential, layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(3)])
    >>> to_html(model).splitlines()[0]
    '<!doctype html>'
    """
    diagram = make_diagram(model, expand_nested=True)
    saved = set(model.weights)
    weights = [(v, t) for v, t in model.named_variables().values() if v in saved]
    total = sum(v.size for v, _ in weights)
    trains = sum(v.size for v, t in weights if t)
    facts = [type(model).__name__, f"{total:,} parameters"]
    if trains != total:
        facts.append(f"{trains:,} of them trainable")
    distributed = bool(mesh_of(model))
    facts += notes(model) if distributed else []
    graph = graph_of(model)
    outputs = graph.output_names if graph is not None and len(graph.outputs) > 1 else []
    data = {
        "sizes": {"head": _HEAD, "calls": _CALLS, "ports": _PORTS, "gap": _GAP},
        "diagram": _describe(diagram, trainability(model), outputs),
    }
    # ASCII only, and no "<", so that no name can end the element that contains it.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    style, script, page = (
        Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js", "html")
    )
    page = Template(page).substitute(
        name=html.escape(model.name), facts=html.escape(" · ".join(facts)), data=text,
        style=style, script=script, table=_table(model, distributed),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
               "base-uri 'none'; form-action 'none'",
    )  # fmt: skip
    if path is not None:
        with replacing(path) as part:
            part.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))
    return page


def repr_html(model: Any) -> str:
    """Show a model in a notebook cell: the table of its layers in a scrollable frame.

    Args:
        model: A model of any kind, built or not.

    >>> from lamina import Sequential, layers
    >>> "dense" in repr_html(Sequential([layers.Input((4,)), layers.Dense(3)]))
    True
    """
    return _table(model, show_sharding=False)


def _table(model: Any, show_sharding: bool) -> str:
    summary = summarize(model, expand_nested=True, show_sharding=show_sharding)
    return f'<div style="max-height: 32em; overflow: auto">{summary._repr_html_()}</div>'


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# ---- data ----------------------------------------------------------------------------------------


def _describe(diagram: Diagram, trains: dict[Variable, bool], outputs: list[str]) -> dict[str, Any]:
    """The data of one diagram for the page; ``outputs`` are the names to show at its border."""
    boxes = [_describe_box(box, trains) for box in diagram.boxes]
    index = {box: i for i, box in enumerate(diagram.boxes)}
    for j, name in enumerate(outputs):
        source = diagram.sources.get(j)
        if isinstance(source, End):
            port = boxes[index[source.box]]["gives"][_number(source, "out")]
            port["output"] = f"{port['output']}, {name}" if "output" in port else name
    for box in boxes:
        box |= _size(box)

    def place(end: End | int, side: str) -> tuple[int, int]:
        return (index[end.box], _number(end, side)) if isinstance(end, End) else (-1, end)

    wires = [
        (place(start, "out"), place(stop, "in"), _is_masked(diagram, start))
        for stop, start in diagram.sources.items()
        if diagram.owner is not None or (isinstance(start, End) and isinstance(stop, End))
    ]
    return _lay_out(diagram, boxes, wires)


def _is_masked(diagram: Diagram, start: End | int) -> bool:
    if isinstance(start, End):
        return start.box.calls[start.call].outputs[start.port].masked
    return diagram.owner is not None and diagram.owner.calls[0].inputs[start].masked


def _number(end: End, side: str) -> int:
    """The index of a port among all ports on that side of its box."""
    before = end.box.calls[: end.call]
    return sum(len(c.inputs if side == "in" else c.outputs) for c in before) + end.port


def _describe_box(box: Box, trains: dict[Variable, bool]) -> dict[str, Any]:
    operation = box.operation
    layer = operation if isinstance(operation, Layer) else None
    saved = set(layer.weights) if layer is not None else set()
    named = layer.named_variables().items() if layer is not None else ()
    variables = [(a, (v, t)) for a, (v, t) in named if v in saved]
    state = state_of(operation, trains)
    kind = box.kind + (expression(box.calls[0]) if box.calls else "")
    activation = activation_of(operation)
    activation = None if activation == "linear" else activation
    params = sum(v.size for _, (v, _) in variables)
    mask = _mask_role(box)
    frozen = None if state == "trainable" else state
    turn = "call {} of {}".format(*box.turn) if box.turn[1] > 1 else None
    several = len(box.calls) > 1
    gives = [
        ({"call": k + 1} if several else {}) | {"shape": p.shape, "dtype": p.dtype}
        for k, call in enumerate(box.calls)
        for p in call.outputs
    ]
    return {
        "name": box.name,
        "path": box.path,
        "role": _role(box),
        "kind": f"{kind} · {activation}" if activation else kind,
        "params": f"{params:,}" if params else "",
        "chips": [c for c in (turn, frozen, mask and mask[0]) if c],
        "reads": [k + 1 for k, call in enumerate(box.calls) for _ in call.inputs] if several
        else [0] * max(1, sum(len(c.inputs) for c in box.calls)),
        "gives": gives,
        "facts": _facts(box, params, state, mask, activation),
        "calls": [
            {
                "reads": [
                    _tensor(p) | {"from": _source_name(box, End(box, k, i))}
                    for i, p in enumerate(call.inputs)
                ],
                "gives": [_tensor(p) for p in call.outputs],
            }
            for k, call in enumerate(box.calls)
        ],
        "weights": [
            {"name": name, "text": f"{tuple(v.shape)} {v.dtype}", "trains": trains.get(v, False)}
            | ({"split": axes} if (axes := axes_of(v)) else {})
            for name, (v, _) in variables
        ],
        "inside": None if box.inside is None else _describe(box.inside, trains, []),
    }  # fmt: skip


def _tensor(port: Port) -> dict[str, Any]:
    return {"text": f"{port.shape} {port.dtype}", "masked": port.masked}


def _role(box: Box) -> str:
    if box.operation is None or isinstance(box.operation, InputLayer):
        return "input"
    if isinstance(box.operation, Op):
        return "op"
    return "model" if graph_of(box.operation) is not None else "layer"


def _source_name(box: Box, end: End) -> str:
    source = box.parent.sources.get(end)
    if isinstance(source, End):
        return source.box.name
    return "" if source is None else "outside"


def _mask_role(box: Box) -> tuple[str, str] | None:
    """A label and a description of what happens to masks in a box; None without a mask."""
    masked_in = any(p.masked for c in box.calls for p in c.inputs)
    masked_out = any(p.masked for c in box.calls for p in c.outputs)
    if masked_in and masked_out:
        return ("mask propagated", "propagated")
    if masked_out:
        return ("mask created", "created here")
    if not masked_in:
        return None
    operation = box.operation
    used = isinstance(operation, Layer) and call_signature(type(operation)).takes_mask
    return ("mask ends", "used, not propagated" if used else "neither used nor propagated")


def _facts(
    box: Box, params: int, state: str | None, mask: tuple[str, str] | None, activation: str | None
) -> list[tuple[str, str]]:
    operation = box.operation
    layer = operation if isinstance(operation, Layer) else None
    facts: list[tuple[str, Any]] = [("Class", box.kind)]
    if box.parent.owner is not None:
        facts.append(("Inside", box.parent.owner.path))
    if box.turn[1] > 1:
        facts.append(("Call", "{} of {} of this model".format(*box.turn)))
    if layer is not None and params:
        facts += [("Parameters", f"{params:,}"), ("Trainable", _TRAINABLE[state])]
    if layer is not None and any(v.layout is not None for v in layer.weights):
        facts.append(("Per device", cost.readable(device_bytes(layer.weights))))
    if layer is not None and layer.output_sharding is not None:
        facts.append(("Output split", tuple(layer.output_sharding.spec)))
    if activation:
        facts.append(("Activation", activation))
    if layer is not None and not isinstance(layer, InputLayer):
        facts.append(("Dtype", layer.dtype_policy.name))
        arguments = [(k, v) for k, v in arguments_shown(layer) if k not in _TOLD]
        facts.append(("Arguments", ", ".join(f"{k}={v}" for k, v in arguments)))
    elif isinstance(operation, Op):
        facts += [("Function", f"ops.{operation.op_name}"), ("Arguments", expression(box.calls[0]))]
    if mask is not None:
        facts.append(("Mask", mask[1]))
    # Only the name of the file: its folder is private when the page is shared.
    places = [Path(call.node.location).name for call in box.calls]
    facts.append(("Called at", ", ".join(dict.fromkeys(places))))
    return [(k, str(v)) for k, v in facts if v]


# ---- layout --------------------------------------------------------------------------------------


def _size(box: dict[str, Any]) -> dict[str, int]:
    """Width and height of a collapsed box, from its text."""
    opener = 18 if box["inside"] is not None else 0
    left = max(opener + _NAME_CHARACTER * cell_len(box["name"]), _CHARACTER * cell_len(box["kind"]))
    chips = sum(16 + _CHARACTER * cell_len(chip) for chip in box["chips"])
    right = max(chips, _CHARACTER * cell_len(box["params"]))
    gives, reads = box["gives"], box["reads"]
    width = min(max(36 + left + right, _NARROWEST), _WIDEST)
    width = max(width, len(gives) * _port_width(gives), 24 * len(reads))
    height = _HEAD + _CALLS * any(reads) + _PORTS * bool(gives)
    return {"w": width, "h": height}


def _port_width(gives: list[dict[str, Any]]) -> int:
    """Width of the output cells of a box."""
    texts = ["".join(map(str, p.values())) for p in gives]
    return 40 + _CHARACTER * max(map(cell_len, texts), default=0)


def _lay_out(diagram: Diagram, boxes: list[dict[str, Any]], wires: list[_Wire]) -> dict[str, Any]:
    """Lay out the collapsed boxes and the edges with Graphviz; in the result, y grows downwards.

    The border of an inner diagram consists of two rows, of input ports and of output cells.
    """
    graph: Any = Graph(directed=True, strict=False)
    graph.graph_attr.update(rankdir="TB", nodesep="0.4", ranksep=str(_GAP / 72))
    graph.node_attr.update(shape="plain")
    graph.edge_attr.update(dir="none")
    for i, box in enumerate(boxes):
        graph.add_node(i, label=_blank(box["w"], box["h"], len(box["reads"]), len(box["gives"])))
    entries = exits = cell = 0
    if diagram.owner is not None:
        call = diagram.owner.calls[0]
        entries, exits = len(call.inputs), len(call.outputs)
        cell = _port_width([{"text": f"{p.shape} {p.dtype}"} for p in call.outputs])
        graph.add_node("top", label=_blank(24 * entries, 3, 1, entries))
        graph.add_node("bottom", label=_blank(cell * exits, 3, exits, 1))
        graph.add_subgraph(["top"], rank="source")
        graph.add_subgraph(["bottom"], rank="sink")
    for k, (start, stop, _) in enumerate(wires):
        graph.add_edge(
            *_nodes(start, stop), key=k,
            tailport=f"out{start[1]}:s", headport=f"in{stop[1]}:n",
        )  # fmt: skip
    graph.layout(prog="dot")
    square_loops(graph)

    _, _, width, height = numbers(graph.graph_attr["bb"])
    # An inner diagram has rows of ports at the upper and the lower border, others have a margin.
    margin = 0 if diagram.owner is not None else _MARGIN

    def place(points: Any) -> list[list[float]]:
        return [[round(x + _MARGIN, 1), round(height - y + margin, 1)] for x, y in points]

    for i, box in enumerate(boxes):
        ((box["x"], box["y"]),) = place([numbers(graph.get_node(i).attr["pos"])])
    curves = [
        place(points_along(graph.get_edge(*_nodes(start, stop), key=k).attr["pos"]))
        for k, (start, stop, _) in enumerate(wires)
    ]
    # There is nothing between adjacent rows: the page draws such edges itself.
    curves = [[] if 0 < curve[-1][1] - curve[0][1] < 3 * _GAP else curve for curve in curves]
    strips = {}
    for side, count, step in (("top", entries, 24), ("bottom", exits, cell)):
        middle = numbers(graph.get_node(side).attr["pos"])[0] + _MARGIN if count else 0
        strips[side] = [middle + step * (i - (count - 1) / 2) for i in range(count)]
    return {
        "w": width + 2 * _MARGIN, "h": height + 2 * margin, "boxes": boxes, "cell": cell, **strips,
        "wires": [
            {"start": start, "stop": stop, "masked": masked, "curve": curve}
            for (start, stop, masked), curve in zip(wires, curves, strict=True)
        ],
    }  # fmt: skip


def _nodes(start: tuple[int, int], stop: tuple[int, int]) -> tuple[Any, Any]:
    return "top" if start[0] < 0 else start[0], "bottom" if stop[0] < 0 else stop[0]


def _blank(width: float, height: float, entries: int, exits: int) -> str:
    """An empty box of this size for Graphviz, with ports at its upper and its lower side."""
    table = '<table border="0" cellborder="0" cellspacing="0" cellpadding="0">'

    def cell(w: float, h: float, port: str = "") -> str:
        return f'<td fixedsize="true" width="{w}" height="{h}" {port}></td>'

    def ports(name: str, count: int) -> str:
        cells = (cell(width / count, 1, f'port="{name}{i}"') for i in range(count))
        return f"<tr><td>{table}<tr>{''.join(cells)}</tr></table></td></tr>"

    middle = f"<tr>{cell(width, height - 2)}</tr>"
    return f"<{table}{ports('in', max(entries, 1))}{middle}{ports('out', max(exits, 1))}</table>>"
