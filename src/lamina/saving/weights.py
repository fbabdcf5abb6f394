"""Which array of a file belongs to which variable: the tree of layers, as Keras 3 lays it out.

A model's layers lie under ``layers/<class in snake_case>``, numbered where a class occurs again; a
custom layer's inner layers under the names of its attributes; a layer's own variables under
``vars/0``, ``vars/1``, ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lamina.core.registry import snake_case
from lamina.core.variable import Variable
from lamina.layers import Layer


def locate(model: Layer) -> dict[str, Variable]:
    """Path in the file to variable, for all weights of ``model``; each variable once.

    >>> from lamina import layers
    >>> dense = layers.Dense(2)
    >>> dense.build((None, 3))
    >>> list(locate(dense))
    ['vars/0', 'vars/1']
    """
    found: dict[str, Variable] = {}
    seen: set[Any] = set()
    stack: list[tuple[str, Layer]] = [("", model)]
    while stack:
        prefix, layer = stack.pop()
        if layer in seen:
            continue
        seen.add(layer)
        for i, variable in enumerate(layer._own_variables()):
            if variable not in seen:
                seen.add(variable)
                found[f"{prefix}vars/{i}"] = variable
        stack.extend(reversed([(f"{prefix}{path}/", sub) for path, sub in _children(layer)]))
    return found


def _children(layer: Layer) -> Iterator[tuple[str, Layer]]:
    """Inner layers with their paths; a graph's or a stack's layers first."""
    listed = getattr(layer, "layers", None) if _is_model(layer) else None
    if listed is not None and (getattr(layer, "graph", None) or hasattr(layer, "add")):
        graph = getattr(layer, "graph", None)
        entries = list(listed)
        if graph is not None and getattr(layer, "_hide_inputs", False):
            entries = [graph.inputs[0].node.operation, *entries]
        for name, sub in _numbered(entries):
            yield f"layers/{name}", sub
    for attribute, value in list(layer.__dict__.items()):
        if attribute in ("nodes", "_captured", "_stack", "_tensors", "_graph"):
            continue
        yield from _in(attribute, value)


def _is_model(layer: Layer) -> bool:
    return hasattr(layer, "compile_config")


def _in(path: str, value: Any) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, Layer):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _in(f"{path}/{str(key).replace('/', '_')}", inner)
    elif isinstance(value, (list, tuple)):
        for name, sub in _numbered([x for x in value if isinstance(x, Layer)]):
            yield f"{path}/{name}", sub
        for i, inner in enumerate(value):
            if isinstance(inner, (list, tuple, Mapping)):
                yield from _in(f"{path}/{i}", inner)


def _numbered(layers: list[Layer]) -> Iterator[tuple[str, Layer]]:
    counts: dict[str, int] = {}
    for layer in layers:
        name = snake_case(type(layer).__name__)
        n = counts.get(name, 0)
        counts[name] = n + 1
        yield (f"{name}_{n}" if n else name), layer
