"""Functions on nestings for users, by Keras's rules: a dict's keys are taken in sorted order.

Nested are lists, tuples, named tuples, dicts, ``OrderedDict``, ``defaultdict`` and ``deque``; all
else is a leaf, subclasses of these among it. An ``OrderedDict`` keeps its own order. Inside of the
library names bind in the order of declaration instead: see :mod:`lamina.tree.nested`.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from lamina.errors import SignatureError, StructureError

Path: TypeAlias = tuple[Any, ...]

_DICTS = (dict, OrderedDict, defaultdict)
_SEQUENCES = (list, tuple, deque)


class MAP_TO_NONE:
    """What the function of :func:`traverse` returns for a part that is to become None.

    >>> traverse(lambda x: MAP_TO_NONE if x == 2 else None, [1, 2])
    [1, None]
    """


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and type(x) is not tuple and hasattr(type(x), "_fields")


def is_nested(structure: Any) -> bool:
    """Whether ``structure`` is a container that these functions look into.

    >>> is_nested([1]), is_nested("ab"), is_nested(None)
    (True, False, False)
    """
    return type(structure) in (*_DICTS, *_SEQUENCES) or _is_namedtuple(structure)


def _order(structure: Any) -> list[Any]:
    """The keys of a dict in the order in which its values are taken."""
    if type(structure) is OrderedDict:
        return list(structure)
    try:
        return sorted(structure)
    except TypeError:  # keys that do not compare
        pass
    try:
        return sorted(structure, key=lambda k: (type(k).__qualname__, k))
    except TypeError:
        return list(structure)


def _children(structure: Any) -> list[tuple[Any, Any]]:
    """The keys or positions of a nesting, and what stands there."""
    if type(structure) in _DICTS:
        return [(k, structure[k]) for k in _order(structure)]
    return list(enumerate(structure))


def _rebuilt(like: Any, children: list[tuple[Any, Any]]) -> Any:
    """A nesting like ``like`` with other content; a dict keeps the order of its keys."""
    kind = type(like)
    if kind in _DICTS:
        new = dict(children)
        items = [(k, new[k]) for k in like]
        return defaultdict(like.default_factory, items) if kind is defaultdict else kind(items)  # pyright: ignore[reportCallIssue, reportArgumentType]
    values = [v for _, v in children]
    if kind is deque:
        return deque(values, like.maxlen)
    return kind(*values) if _is_namedtuple(like) else kind(values)


def _check_callable(func: Any, function: str) -> None:
    if not callable(func):
        raise SignatureError(
            f"{function}() expects a function as `func`. Received: {func!r} "
            f"(of type {type(func).__name__})."
        )


def _at(path: Path) -> str:
    return f" at {list(path)}" if path else ""


def _check_alike(a: Any, b: Any, path: Path, check_types: bool = True) -> None:
    """Raise unless ``b`` is a container like ``a``, with the same keys or as many entries."""
    if type(a) in _DICTS:
        if type(b) not in _DICTS:
            fits = False
        elif a.keys() != b.keys():
            raise StructureError(
                f"The structures differ{_at(path)}. Expected the keys {list(a)}. "
                f"Received: {list(b)}."
            )
        else:
            return
    elif not check_types:
        fits = is_nested(b) and type(b) not in _DICTS
    else:
        fits = type(a) is type(b)
    if not fits:
        raise StructureError(
            f"The structures differ{_at(path)}. Expected a {type(a).__name__} like {a!r}. "
            f"Received a {type(b).__name__}: {b!r}."
        )
    if len(a) != len(b):
        raise StructureError(
            f"The structures differ{_at(path)}. Expected {len(a)} entries. "
            f"Received {len(b)}: {b!r}."
        )


def _map(
    func: Callable[..., Any],
    structures: tuple[Any, ...],
    *,
    none_is_leaf: bool = True,
    whole: bool = True,
    path: Path = (),
) -> Any:
    """Apply ``func`` at the leaves of the first structure.

    ``whole``: leaves must face leaves; otherwise whatever the others have there is passed.
    """
    first, *rest = structures
    if not is_nested(first):
        if whole and any(map(is_nested, rest)):
            other = next(x for x in rest if is_nested(x))
            raise StructureError(
                f"The structures differ{_at(path)}. Expected one value. "
                f"Received a {type(other).__name__}: {other!r}."
            )
        if first is None and not none_is_leaf:
            if any(x is not None for x in rest):
                raise StructureError(f"The structures differ{_at(path)}. Expected None.")
            return None
        return func(*((first, *rest) if whole else rest))
    for other in rest:
        _check_alike(first, other, path)
    return _rebuilt(
        first,
        [
            (
                k,
                _map(
                    func, (v, *(x[k] for x in rest)), none_is_leaf=none_is_leaf, whole=whole,
                    path=(*path, k),
                ),
            )
            for k, v in _children(first)
        ],
    )  # fmt: skip


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """The leaves of ``structure`` with their paths of keys and positions.

    >>> flatten_with_path({"b": 1, "a": [2, 3]})
    [(('a', 0), 2), (('a', 1), 3), (('b',), 1)]
    """
    found: list[tuple[Path, Any]] = []
    stack: list[tuple[Path, Any]] = [((), structure)]
    while stack:
        path, x = stack.pop()
        if is_nested(x):
            stack.extend(reversed([((*path, k), v) for k, v in _children(x)]))
        else:
            found.append((path, x))
    return found


def flatten(structure: Any) -> list[Any]:
    """The leaves of ``structure``, the values of a dict in the sorted order of its keys.

    >>> flatten({"b": 1, "a": [2, (3,)]})
    [2, 3, 1]
    """
    return [leaf for _, leaf in flatten_with_path(structure)]


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The structure with other leaves, which are given in the order of :func:`flatten`.

    Args:
        structure: Any nesting.
        flat_sequence: As many leaves as it has.

    Raises:
        StructureError: Another number of leaves.

    >>> pack_sequence_as({"b": 0, "a": [0, 0]}, [1, 2, 3])
    {'b': 3, 'a': [1, 2]}
    """
    try:
        leaves = list(flat_sequence)
    except TypeError:
        raise SignatureError(
            "pack_sequence_as() expects a sequence of leaves as `flat_sequence`. "
            f"Received: {flat_sequence!r}."
        ) from None
    count = len(flatten(structure))
    if len(leaves) != count:
        raise StructureError(
            f"pack_sequence_as() expects {count} leaves, as many as the structure has. "
            f"Received {len(leaves)}."
        )
    it = iter(leaves)
    return _map(lambda _: next(it), (structure,))


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """Apply ``func`` to the corresponding leaves of nestings; dicts correspond by key.

    Args:
        func: Takes one leaf of each structure.
        structures: At least one nesting; all have the same form.
        none_is_leaf: Whether None is a leaf that ``func`` receives; else it stays None.

    Returns:
        What ``func`` returned, in the form of the first structure.

    Raises:
        StructureError: No structure, or structures of different forms.
        SignatureError: ``func`` is no function.

    >>> map_structure(lambda a, b: a + b, {"x": 1, "y": [2]}, {"y": [20], "x": 10})
    {'x': 11, 'y': [22]}
    """
    _check_callable(func, "map_structure")
    if not structures:
        raise StructureError("map_structure() expects at least one structure. Received none.")
    return _map(func, structures, none_is_leaf=none_is_leaf)


def map_structure_up_to(
    shallow_structure: Any, func: Callable[..., Any], *structures: Any
) -> Any:  # fmt: skip
    """Apply ``func`` to what nestings hold where a shallow one has its leaves.

    Args:
        shallow_structure: Says how deep to go; its leaves are not used.
        func: Takes one part of each structure: a leaf or a nesting.
        structures: At least one nesting that begins like ``shallow_structure``.

    Returns:
        What ``func`` returned, in the form of ``shallow_structure``.

    Raises:
        StructureError: No structure, or one that does not begin like the shallow one.
        SignatureError: ``func`` is no function.

    >>> map_structure_up_to([0, 0], len, [[1, 2], [3]])
    [2, 1]
    """
    _check_callable(func, "map_structure_up_to")
    if not structures:
        raise StructureError("map_structure_up_to() expects at least one structure. Received none.")
    return _map(func, (shallow_structure, *structures), whole=False)


def _is_shape(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and all(d is None or isinstance(d, int) for d in x)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """Apply ``func`` to the shapes in a nesting: lists and tuples of integers and None are leaves.

    >>> map_shape_structure(len, {"a": (None, 3), "b": [(2, 3, 4)]})
    {'a': 2, 'b': [3]}
    """
    _check_callable(func, "map_shape_structure")
    if _is_shape(structure) or not is_nested(structure):
        return func(structure)
    parts = [(k, map_shape_structure(func, v)) for k, v in _children(structure)]
    return _rebuilt(structure, parts)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Offer every part of a nesting to ``func``, which may replace it.

    Args:
        func: Takes a leaf or nesting. It returns None to leave the part as it is,
            :class:`MAP_TO_NONE` to put None in its place, or what else to put there.
        structure: Any nesting.
        top_down: Whether a nesting is offered before its parts (and its parts only if it was left
            as it is), or after them, made of what they have become.

    Returns:
        A new nesting.

    Raises:
        SignatureError: ``func`` is no function.

    >>> traverse(lambda x: tuple(x) if isinstance(x, list) else None, [1, [2]], top_down=False)
    (1, (2,))
    """
    _check_callable(func, "traverse")
    return _traverse(func, structure, top_down)


def _traverse(func: Callable[[Any], Any], x: Any, top_down: bool) -> Any:
    if top_down:
        new = func(x)
        if new is not None:
            return None if new is MAP_TO_NONE else new
    if is_nested(x):
        x = _rebuilt(x, [(k, _traverse(func, v, top_down)) for k, v in _children(x)])
    if not top_down:
        new = func(x)
        if new is not None:
            return None if new is MAP_TO_NONE else new
    return x


def assert_same_structure(a: Any, b: Any, check_types: bool | None = None) -> None:
    """Raise unless two nestings have the same form, whatever their leaves are.

    Kinds of dicts are alike; so are all kinds of sequences where ``check_types`` is False.

    Args:
        a: A nesting.
        b: Another one.
        check_types: Whether a list and a tuple differ; they do unless it is False.

    Raises:
        StructureError: Something differs; the message tells where.

    >>> assert_same_structure({"a": [1, 2]}, {"a": [3, None]})
    >>> assert_same_structure([1, 2], (3, 4))
    Traceback (most recent call last):
    ...
    lamina.errors.StructureError: The structures differ. Expected a list like [1, 2]. ...
    """
    _compare(a, b, (), check_types is not False)


def _compare(a: Any, b: Any, path: Path, check_types: bool) -> None:
    if not is_nested(a):
        if is_nested(b):
            raise StructureError(
                f"The structures differ{_at(path)}. Expected one value. "
                f"Received a {type(b).__name__}: {b!r}."
            )
        return
    _check_alike(a, b, path, check_types)
    for k, v in _children(a):
        _compare(v, b[k], (*path, k), check_types)


def assert_same_paths(a: Any, b: Any) -> None:
    """Raise unless two nestings have leaves at the same paths, whatever their containers are.

    Raises:
        StructureError: A path is in one of them only.

    >>> assert_same_paths([1, {"x": 2}], (3, {"x": 4}))
    """
    paths = [{path for path, _ in flatten_with_path(x)} for x in (a, b)]
    only = [sorted(map(list, paths[i] - paths[1 - i]), key=repr) for i in (0, 1)]
    if only[0] or only[1]:
        raise StructureError(
            "`a` and `b` have leaves at different paths."
            + (f"\n  only in `a`: {only[0]}" if only[0] else "")
            + (f"\n  only in `b`: {only[1]}" if only[1] else "")
        )


def lists_to_tuples(structure: Any) -> Any:
    """The nesting with tuples in the place of all lists.

    >>> lists_to_tuples({"a": [1, [2]]})
    {'a': (1, (2,))}
    """
    return _traverse(lambda x: tuple(x) if isinstance(x, list) else None, structure, False)


__all__ = [
    "MAP_TO_NONE", "assert_same_paths", "assert_same_structure", "flatten", "flatten_with_path",
    "is_nested", "lists_to_tuples", "map_shape_structure", "map_structure", "map_structure_up_to",
    "pack_sequence_as", "traverse",
]  # fmt: skip
