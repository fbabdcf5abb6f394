"""What an object holds: variables, layers, metrics, generators; filled on attribute assignment.

The only code that looks into attributes. An attribute counts when it is trackable itself, or a
list, tuple, dict or set, which is searched when it is asked for (a list may have grown since).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from lamina.core.scope import current

Path = tuple[Any, ...]


class Trackable:
    """What owners find among their attributes.

    Attributes:
        tracked_as: The kind: ``"variable"``, ``"layer"``, ``"metric"``, ``"seed_generator"``.
    """

    __slots__ = ()
    tracked_as: ClassVar[str] = ""


_CONTAINERS = (list, tuple, dict, set)


# Attributes whose change leaves what a call computes as it is.
_NOT_COMPUTING = frozenset(("name", "trainable", "built", "stop_training", "history", "optimizer"))


class Versioned:
    """An object whose plain public attributes may decide what a compiled step computes.

    Setting one to another value, from outside of a call, is counted; :func:`version_of` reads the
    count, by which compiled steps are kept.
    """

    _change_count: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__["_change_count"] = 0
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_" and self._decides(name, value):
            self.__dict__["_change_count"] += 1
        object.__setattr__(self, name, value)

    def _decides(self, name: str, value: Any) -> bool:
        """Whether the public attribute, set to ``value``, changes what a call computes."""
        if name in _NOT_COMPUTING or isinstance(value, Trackable):
            return False
        scope = current()
        if scope is not None and scope.building is None:  # what a call sets itself
            return False
        if isinstance(getattr(type(self), name, None), property):  # it sets a variable
            return False
        old = self.__dict__.get(name)
        return old is not value and (type(old) is not type(value) or not same(old, value))


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; arrays never are."""
    try:
        return bool(a == b)
    except ValueError:  # the comparison of arrays is an array
        return False


class Owner(Versioned):
    """An object that knows what trackable objects its attributes hold.

    Its own bookkeeping has underscored names, which cannot collide with a user's attributes; the
    functions below read it.
    """

    # Attributes that are bookkeeping, and hold nothing of the object's own.
    _untracked: ClassVar[frozenset[str]] = frozenset()

    _tracked_attributes: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__["_tracked_attributes"] = {}
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._untracked:
            self._track(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._tracked_attributes.pop(name, None) is not None:
            self._change_count += 1
        object.__delattr__(self, name)

    def _track(self, name: str, value: Any) -> None:
        held = self._tracked_attributes
        if isinstance(value, Trackable) or (
            isinstance(value, _CONTAINERS)
            and not (isinstance(value, tuple) and next(_search(value), None) is None)
        ):
            if held.get(name) is not value:
                held.pop(name, None)
                held[name] = value
                self.__dict__["_change_count"] += 1
        elif name in held:
            del held[name]
            self.__dict__["_change_count"] += 1


def version_of(x: Versioned) -> int:
    """Grows when an attribute is set anew that decides what a call of ``x`` computes."""
    return x._change_count


def attributes_held(owner: Owner) -> Mapping[str, Any]:
    """The attributes that are trackable or containers, as they were assigned."""
    return owner._tracked_attributes


def held(owner: Owner) -> list[tuple[Path, Any]]:
    """Everything trackable among the attributes, with its path, in the order of assignment."""
    found: list[tuple[Path, Any]] = []
    for name, value in owner._tracked_attributes.items():
        if isinstance(value, Trackable):
            found.append(((name,), value))
        else:
            found.extend(_search(value, (name,)))
    return found


def held_as(owner: Owner, kind: str) -> list[Any]:
    """The objects of one kind among :func:`held`, each once."""
    return list(dict.fromkeys(x for _, x in held(owner) if x.tracked_as == kind))


def holds_containers(owner: Owner) -> bool:
    """Whether a container is among the attributes, whose content may change unnoticed."""
    return any(not isinstance(v, (Trackable, tuple)) for v in owner._tracked_attributes.values())


def _search(container: Any, path: Path = ()) -> Iterator[tuple[Path, Trackable]]:
    """Everything trackable in a nesting of containers; nothing recurses, cycles end."""
    stack: list[tuple[Path, Any]] = [(path, container)]
    seen: set[int] = set()
    while stack:
        path, x = stack.pop()
        if isinstance(x, Trackable):
            yield path, x
            continue
        if not isinstance(x, (*_CONTAINERS, Mapping)) or id(x) in seen:
            continue
        seen.add(id(x))
        items = x.items() if isinstance(x, Mapping) else enumerate(x)
        stack.extend(reversed([((*path, k), v) for k, v in items]))
