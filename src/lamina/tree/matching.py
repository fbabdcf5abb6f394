"""Data in the order of a declared structure: the inputs or outputs of a model, matched by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from lamina.errors import StructureError
from lamina.tree import nested


def leaf_names(structure: Any, name: Callable[[Any], str]) -> list[str]:
    """The name of each leaf: its path of keys, with ``name`` of the leaf for a position in a list.

    >>> leaf_names({"heads": ["a", "b"], "mean": "c"}, str.upper)
    ['heads/A', 'heads/B', 'mean']
    """
    return [
        "/".join(map(str, path if path and isinstance(path[-1], str) else (*path[:-1], name(x))))
        for path, x in nested.flatten_with_path(structure)
    ]


class Matched(NamedTuple):
    """Entries in the order of the leaves.

    Attributes:
        entries: One for each leaf; None where there is none.
        missing: Names of the leaves without an entry.
        unknown: Keys that are neither in the structure nor names.
    """

    entries: list[Any]
    missing: list[str]
    unknown: list[str]


class NamedLeaves:
    """The leaves of a nested structure, and a name for each.

    Args:
        structure: The structure. Its leaves are not looked at.
        names: A unique name for each leaf, in declaration order.
        aliases: Another name for each leaf, or None.

    >>> leaves = NamedLeaves({"p": ["u", "v"], "q": "w"}, ["p/u", "p/v", "q"])
    >>> leaves.match({"q": 3, "p": [1, 2]}, "The target data").entries
    [1, 2, 3]
    >>> leaves.match({"p/v": 2, "p/u": 1, "r": 0}, "The target data")
    Matched(entries=[1, 2, None], missing=['q'], unknown=['r'])
    """

    def __init__(
        self, structure: Any, names: list[str], aliases: list[str | None] | None = None
    ) -> None:
        self.names = names
        self._aliases = aliases or [None] * len(names)
        self._tree = nested.unflatten(structure, list(range(len(names))))
        # Of a dict or list without inner ones, which is matched in a tenth of the time.
        self._keys: Any = None
        if nested.is_nested(self._tree) and not any(map(nested.is_nested, _values(self._tree))):
            self._keys = list(self._tree) if isinstance(self._tree, Mapping) else len(self._tree)

    def match(self, given: Any, subject: str, *, arrays: bool = False) -> Matched:
        """The entry of ``given`` for each leaf.

        Dicts correspond by key; their keys may also be names of leaves. Lists correspond by
        position, either to a list in the structure or to all leaves below a place in it. A value
        other than a container, or a dict with a ``"class_name"``, is the entry of all leaves there.

        Args:
            given: A value, list, tuple or dict, in any compatible nesting.
            subject: What ``given`` is, which begins the message of an error.
            arrays: Whether every entry is an array or None: other nestings of the same number of
                arrays are matched by position, and one array is not the entry of several leaves.

        Raises:
            StructureError: The number of entries of a list differs.
        """
        if self._keys is not None and self._corresponds(given):
            return Matched(list(_values(given, self._keys)), [], [])
        pairs = dict(self._pairs(given, self._tree, "", subject, arrays))
        missing = [n for i, n in enumerate(self.names) if i not in pairs]
        entries = [pairs.pop(i, None) for i in range(len(self.names))]
        return Matched(entries, missing, list(map(str, pairs)))

    def _corresponds(self, given: Any) -> bool:
        """Whether ``given`` has the same entries as a structure without inner ones."""
        if isinstance(given, Mapping):
            same = isinstance(self._keys, list) and given.keys() == self._tree.keys()
        else:
            same = isinstance(given, (list, tuple)) and len(given) == self._keys
        return same and not any(map(nested.is_nested, _values(given)))

    def by_key(self) -> list[str]:
        """The names, those below a dict in the order of its sorted keys."""

        def walk(tree: Any) -> Iterator[int]:
            if not nested.is_nested(tree):
                yield tree
            elif isinstance(tree, Mapping):
                for key in sorted(tree, key=str):
                    yield from walk(tree[key])
            else:
                for inner in tree:
                    yield from walk(inner)

        return [self.names[i] for i in walk(self._tree)]

    def _pairs(
        self, given: Any, tree: Any, place: str, subject: str, arrays: bool
    ) -> Iterator[tuple[Any, Any]]:
        """Leaves, by number, with their entries; unknown keys instead of numbers."""
        below = nested.flatten(tree)
        if isinstance(given, Mapping) and (arrays or "class_name" not in given):
            named = self._named(below, place)
            for key, value in given.items():
                if isinstance(tree, Mapping) and key in tree:
                    yield from self._pairs(value, tree[key], f"{place}{key}/", subject, arrays)
                elif key in named:
                    yield named[key], value
                elif isinstance(value, Mapping):
                    yield from ((f"{place}{key}/{inner}", x) for inner, x in value.items())
                else:
                    yield f"{place}{key}", value
        elif not isinstance(given, (list, tuple)):
            if arrays and len(below) > 1 and given is not None:
                self._refuse(subject, place, 1, below)
            yield from ((i, given) for i in below)
        elif isinstance(tree, (list, tuple)) and len(given) == len(tree):
            for i, (value, inner) in enumerate(zip(given, tree, strict=True)):
                yield from self._pairs(value, inner, f"{place}{i}/", subject, arrays)
        elif not nested.is_nested(tree) and not arrays:
            yield tree, given
        else:
            values = nested.flatten(given) if arrays else list(given)
            if len(values) != len(below):
                self._refuse(subject, place, len(values), below)
            yield from zip(below, values, strict=True)

    def _named(self, below: list[int], place: str) -> dict[str, int]:
        """The leaves below a place by all their names."""
        named = {self.names[i]: i for i in below}
        for i in below:
            for name in (self.names[i].removeprefix(place), self._aliases[i]):
                if name is not None:
                    named.setdefault(name, i)
        return named

    def _refuse(self, subject: str, place: str, count: int, below: list[int]) -> None:
        names = [self.names[i] for i in below]
        at = f" for {place.rstrip('/')!r}" if place else ""
        raise StructureError(
            f"{subject} has {count} {'entry' if count == 1 else 'entries'}{at}. Expected "
            f"{len(below)}, one for each of {names}, or a dict by these names."
        )


def _values(container: Any, keys: Any = None) -> Any:
    """The entries of a container, those of a dict in the order of ``keys``."""
    if not isinstance(container, Mapping):
        return container
    return container.values() if keys is None else [container[k] for k in keys]


__all__ = ["Matched", "NamedLeaves", "leaf_names"]
