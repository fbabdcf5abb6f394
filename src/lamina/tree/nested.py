"""Nested structures of inputs and outputs: dicts, lists, tuples, named tuples, in their own order.

JAX's tree functions sort the keys of a dict. Here, a dict such as ``{"title": a, "body": b}``
keeps its own order, and dicts correspond by their keys.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lamina.errors import StructureError


def is_nested(x: Any) -> bool:
    """True for the containers that these functions traverse."""
    return _is_container(type(x))


@functools.lru_cache(maxsize=1024)
def _is_container(kind: type) -> bool:
    return issubclass(kind, (dict, list, tuple)) or (
        issubclass(kind, Mapping) and not hasattr(kind, "shape")
    )


def _children(x: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(x, (list, tuple)):
        return iter(x.items())
    names = getattr(x, "_fields", None)
    return iter(enumerate(x)) if names is None else zip(names, x, strict=True)


def rebuild(like: Any, values: list[Any]) -> Any:
    """A container with the type and keys of ``like`` and other values."""
    if not isinstance(like, (list, tuple)):
        return type(like)(zip(like, values, strict=True))
    return type(like)(*values) if hasattr(like, "_fields") else type(like)(values)


def flatten_with_path(x: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Leaves with their paths, in declaration order.

    >>> flatten_with_path({"b": 1, "a": [2, 3]})
    [(('b',), 1), (('a', 0), 2), (('a', 1), 3)]
    """
    if not is_nested(x):
        return [(path, x)]
    return [leaf for key, v in _children(x) for leaf in flatten_with_path(v, (*path, key))]


def flatten(x: Any) -> list[Any]:
    """Leaves in declaration order.

    >>> flatten({"b": 1, "a": (2, [3])})
    [1, 2, 3]
    """
    if not _is_container(type(x)):
        return [x]
    leaves: list[Any] = []
    for value in x if isinstance(x, (list, tuple)) else x.values():
        if _is_container(type(value)):
            leaves += flatten(value)
        else:
            leaves.append(value)
    return leaves


def unflatten(like: Any, leaves: list[Any]) -> Any:
    """The structure of ``like`` with its leaves replaced, in declaration order, by ``leaves``.

    >>> unflatten({"b": 0, "a": [0, 0]}, [1, 2, 3])
    {'b': 1, 'a': [2, 3]}
    """
    if not is_nested(like):
        return leaves[0]
    it = iter(leaves)
    return map_structure(lambda _: next(it), like)


def map_structure(fn: Callable[..., Any], x: Any, *rest: Any) -> Any:
    """Apply ``fn`` to corresponding leaves; dicts correspond by key.

    >>> map_structure(lambda a, b: a + b, {"x": 1, "y": [2]}, {"y": [20], "x": 10})
    {'x': 11, 'y': [22]}
    """
    if not is_nested(x):
        return fn(x, *rest)
    for other in rest:
        assert_same_structure(x, other, shallow=True)
    values = [
        map_structure(fn, v, *(o[k] if isinstance(o, Mapping) else list(o)[i] for o in rest))
        for i, (k, v) in enumerate(_children(x))
    ]
    return rebuild(x, values)


def assert_same_structure(a: Any, b: Any, *, shallow: bool = False) -> None:
    """Raise StructureError unless ``b`` has the structure of ``a`` (lists and tuples are alike)."""
    if not is_nested(a):
        if is_nested(b):
            raise StructureError(f"Expected one value. Received a {type(b).__name__}: {b!r}.")
        return
    if isinstance(a, Mapping) != isinstance(b, Mapping) or not is_nested(b):
        raise StructureError(
            f"Expected a {type(a).__name__} like {a!r}. Received a {type(b).__name__}: {b!r}."
        )
    if isinstance(a, Mapping):
        if set(a) != set(b):
            raise StructureError(f"Expected the keys {list(a)}. Received: {list(b)}.")
        pairs = [(a[k], b[k]) for k in a]
    else:
        if len(a) != len(b):
            raise StructureError(f"Expected {len(a)} entries. Received {len(b)}: {b!r}.")
        pairs = list(zip(a, b, strict=True))
    if not shallow:
        for x, y in pairs:
            assert_same_structure(x, y)
