"""Public functions on nested structures. As in Keras, the keys of a dict are sorted.

The containers are lists, tuples, named tuples, dicts, ``OrderedDict``, ``defaultdict`` and
``deque``; all other objects are leaves, including instances of subclasses of these. An
``OrderedDict`` keeps its own order. The library itself uses :mod:`lamina.tree.nested`, where dicts
keep their order.
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
    """Returned by the function of :func:`traverse` to replace a part by None.

    >>> traverse(lambda x: MAP_TO_NONE if x == 2 else None, [1, 2])
    [1, None]
    """


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and type(x) is not tuple and hasattr(type(x), "_fields")


def is_nested(structure: Any) -> bool:
    """Whether ``structure`` is a container that these functions traverse.

    Args:
        structure: Any object.

    >>> is_nested([1]), is_nested("ab"), is_nested(None)
    (True, False, False)
    """
    return type(structure) in (*_DICTS, *_SEQUENCES) or _is_namedtuple(structure)


def _order(structure: Any) -> list[Any]:
    """The keys of a dict in the order in which its values are traversed."""
    if type(structure) is OrderedDict:
        return list(structure)
    try:
        return sorted(structure)
    except TypeError:  # keys that are not comparable
        pass
    try:
        return sorted(structure, key=lambda k: (type(k).__qualname__, k))
    except TypeError:
        return list(structure)


def _children(structure: Any) -> list[tuple[Any, Any]]:
    """The keys or positions of a container, and its content."""
    if type(structure) in _DICTS:
        return [(k, structure[k]) for k in _order(structure)]
    return list(enumerate(structure))


def _rebuilt(like: Any, children: list[tuple[Any, Any]]) -> Any:
    """A container like ``like`` with other content; a dict keeps the order of its keys."""
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
    """Raise an error unless ``b`` is a container like ``a``, with equal keys or length."""
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

    If ``whole``, the other structures must have leaves at the same paths; otherwise they may have
    nested structures there, which are passed to ``func``.
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

    Args:
        structure: Nested lists, tuples and dicts.

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
    """The leaves of ``structure``, with the values of a dict in the sorted order of its keys.

    Args:
        structure: Nested lists, tuples and dicts.

    >>> flatten({"b": 1, "a": [2, (3,)]})
    [2, 3, 1]
    """
    return [leaf for _, leaf in flatten_with_path(structure)]


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """Replace the leaves of a structure by others, given in the order of :func:`flatten`.

    Args:
        structure: Any nested structure.
        flat_sequence: The new leaves, as many as the structure has.

    Raises:
        StructureError: The number of leaves differs.

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
    """Apply ``func`` to the corresponding leaves of structures; dicts correspond by key.

    Args:
        func: A function of one leaf of each structure.
        structures: One or more nested structures of the same form.
        none_is_leaf: Whether None is a leaf, which ``func`` receives; otherwise it is kept.

    Returns:
        The results of ``func``, in the form of the first structure.

    Raises:
        StructureError: There is no structure, or the structures differ in form.
        SignatureError: ``func`` is not a function.

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
    """Apply ``func`` to the parts of structures at the leaves of a shallower structure.

    Args:
        shallow_structure: Structure that determines the depth; its leaves are not used.
        func: A function of one part of each structure, which is a leaf or a nested structure.
        structures: One or more nested structures whose upper levels have the form of
            ``shallow_structure``.

    Returns:
        The results of ``func``, in the form of ``shallow_structure``.

    Raises:
        StructureError: There is no structure, or the upper levels of one differ in form.
        SignatureError: ``func`` is not a function.

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
    """Apply ``func`` to shapes in a structure: tuples and lists of integers and None are leaves.

    Args:
        func: Function of one shape.
        structure: Nested lists, tuples and dicts of shapes.

    >>> map_shape_structure(len, {"a": (None, 3), "b": [(2, 3, 4)]})
    {'a': 2, 'b': [3]}
    """
    _check_callable(func, "map_shape_structure")
    if _is_shape(structure) or not is_nested(structure):
        return func(structure)
    parts = [(k, map_shape_structure(func, v)) for k, v in _children(structure)]
    return _rebuilt(structure, parts)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Call ``func`` on every part of a structure, and replace the parts by the results.

    Args:
        func: A function of a leaf or a nested structure. It returns None to keep the part,
            :class:`MAP_TO_NONE` to replace it by None, or the replacement.
        structure: Any nested structure.
        top_down: Whether a container is visited before its parts, which are then visited only if
            it was kept; otherwise it is visited after its parts, which may have been replaced.

    Returns:
        A new structure.

    Raises:
        SignatureError: ``func`` is not a function.

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
    """Raise an error unless two structures have the same form, regardless of their leaves.

    All types of dicts are equivalent, as are all types of sequences if ``check_types`` is False.

    Args:
        a: A nested structure.
        b: Another nested structure.
        check_types: Whether a list and a tuple differ; they do unless it is False.

    Raises:
        StructureError: The structures differ; the message contains the path.

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
    """Raise an error unless two structures have leaves at the same paths, in any containers.

    Args:
        a: Nested lists, tuples and dicts.
        b: Nested lists, tuples and dicts.

    Raises:
        StructureError: A path is in only one of them.

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
    """The structure with all lists replaced by tuples.

    Args:
        structure: Nested lists, tuples and dicts.

    >>> lists_to_tuples({"a": [1, [2]]})
    {'a': (1, (2,))}
    """
    return _traverse(lambda x: tuple(x) if isinstance(x, list) else None, structure, False)


__all__ = [
    "MAP_TO_NONE", "assert_same_paths", "assert_same_structure", "flatten", "flatten_with_path",
    "is_nested", "lists_to_tuples", "map_shape_structure", "map_structure", "map_structure_up_to",
    "pack_sequence_as", "traverse",
]  # fmt: skip
