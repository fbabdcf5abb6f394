"""Tracking of the variables, layers, metrics and seed generators assigned to attributes.

Only this module inspects attributes. It tracks attributes that are trackable objects, and lists,
tuples, dicts and sets, whose content is searched on each query because it may change.

Objects are in the order in which they were assigned to attributes or added to containers.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from lamina.core.scope import current

Path = tuple[Any, ...]
_T = TypeVar("_T")


class Trackable:
    """An object that owners track when it is assigned to an attribute.

    Attributes:
        tracked_as: The kind: ``"variable"``, ``"layer"``, ``"metric"``, ``"optimizer"``,
            ``"seed_generator"``.
    """

    __slots__ = ()
    tracked_as: ClassVar[str] = ""

    def _belongs_to(self, owner: Any) -> bool:
        """Whether its path begins with that of ``owner``."""
        return False

    def _join(self, owner: Any) -> None:
        """Belong to ``owner``, the copy of the owner of which this is a copy."""


_created = itertools.count(1)
_CONTAINERS = (list, tuple, dict, set)
# The types of most attributes, so that their values need no further checks.
PLAIN = frozenset((type(None), bool, int, float, str))


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return kind in PLAIN or (kind is tuple and PLAIN.issuperset(map(type, value)))


class replaceable(Generic[_T]):
    """A read-only property that can be replaced by assigning to an attribute of its name.

    Programs written for Keras may assign attributes to names that Keras does not use, such as
    ``self.input_shape`` of a model.

    Args:
        fget: The method that computes the value.
    """

    def __init__(self, fget: Callable[[Any], _T]) -> None:
        self._fget = fget
        functools.update_wrapper(self, fget)  # pyright: ignore[reportArgumentType]

    @overload
    def __get__(self, obj: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, obj: object, owner: Any = None) -> _T: ...
    def __get__(self, obj: Any, owner: Any = None) -> Any:
        return self if obj is None else self._fget(obj)


# Attributes that do not affect what a call computes.
_NOT_COMPUTING = frozenset(("name", "trainable", "built", "stop_training", "history", "optimizer"))


class Versioned:
    """An object whose public attributes may determine what a compiled step computes.

    Each change of such an attribute outside a call increments a version number, which
    :func:`version_of` returns and which is part of the cache key of compiled steps.
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
        """Whether setting the public attribute to ``value`` changes what a call computes."""
        old = self.__dict__.get(name)
        if old is value or name in _NOT_COMPUTING or isinstance(value, Trackable):
            return False
        scope = current()
        if scope is not None and scope.building is None:  # set by the call itself
            return False
        if isinstance(getattr(type(self), name, None), property):  # it sets a variable
            return False
        return type(old) is not type(value) or not (hold_same(old, value) and same(old, value))


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; arrays never are."""
    try:
        return bool(a == b)
    except ValueError:  # the comparison of arrays is an array
        return False


class Owner(Versioned):
    """An object that tracks the trackable objects among its attributes.

    Internal attributes have underscored names, so that they do not collide with those of users; the
    functions below read them.
    """

    # Internal attributes, whose content does not belong to the object.
    _untracked: ClassVar[frozenset[str]] = frozenset()

    _tracked_attributes: dict[str, Any]
    _tracking_order: dict[Any, None] | None  # None until there is a container
    _creation_number: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__.update(
            _tracked_attributes={}, _tracking_order=None, _creation_number=next(_created)
        )
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, to copy or pickle; and which of these objects belong to this one."""
        parts = [x for x in contents(self.__dict__) if x._belongs_to(self)]
        return {**self.__dict__, "_parts": parts}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        for part in self.__dict__.pop("_parts", ()):
            part._join(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            type(value) not in PLAIN or name in self._tracked_attributes
        ) and name not in self._untracked:
            self._track(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._tracked_attributes.pop(name, None) is not None or name[0] != "_":
            self.__dict__["_change_count"] += 1
        object.__delattr__(self, name)

    def _track(self, name: str, value: Any) -> None:
        held = self._tracked_attributes
        if not _is_plain(value) and (
            isinstance(value, Trackable)
            or (
                isinstance(value, _CONTAINERS)
                and not (isinstance(value, tuple) and next(_search(value), None) is None)
            )
        ):
            if held.get(name) is not value:
                held.pop(name, None)
                if self._tracking_order is not None or not isinstance(value, Trackable):
                    _note_order(self, _found(self))  # what containers have gained comes first
                held[name] = value
                self.__dict__["_change_count"] += 1
        elif name in held:
            del held[name]
            self.__dict__["_change_count"] += 1


def only_stores(cls: type, name: str) -> bool:
    """Whether setting an attribute for the first time, to a plain value, does no more than that."""
    own = cls.__setattr__ not in (object.__setattr__, Owner.__setattr__)
    return not own and not inspect.isdatadescriptor(inspect.getattr_static(cls, name, None))


_version_of = operator.attrgetter("_change_count")


def version_of(x: Versioned) -> int:
    """Version number, incremented whenever an attribute that affects the calls of ``x`` changes."""
    return x._change_count


def count_change(x: Versioned) -> None:
    """Increment the version number of ``x``, for a change that sets none of its attributes."""
    x.__dict__["_change_count"] += 1


def versions_of(objects: Sequence[Versioned]) -> list[int]:
    """The version numbers of several objects, as a list that is cheap to compare."""
    return list(map(_version_of, objects))


def attributes_held(owner: Owner) -> Mapping[str, Any]:
    """The attributes that are trackable objects or containers."""
    return owner._tracked_attributes


def held(owner: Owner) -> list[tuple[Path, Any]]:
    """All trackable objects among the attributes with their paths, in the order of tracking."""
    found = _found(owner)
    if owner._tracking_order is not None:
        ranks = {x: i for i, x in enumerate(_note_order(owner, found))}
        found.sort(key=lambda item: ranks[item[1]])
    return found


def _found(owner: Owner) -> list[tuple[Path, Any]]:
    """All trackable objects with their paths, in the order of the attributes."""
    found: list[tuple[Path, Any]] = []
    for name, value in owner._tracked_attributes.items():
        if isinstance(value, Trackable):
            found.append(((name,), value))
        else:
            found.extend(_search(value, (name,)))
    return found


def _note_order(owner: Owner, found: list[tuple[Path, Any]]) -> Iterable[Any]:
    """Note in which order an owner with containers has come to hold what it holds; return it.

    Containers do not tell when they change, but this is called before each assignment. What several
    of them have gained since is taken in the order of creation, which is the right one for loops
    such as ``for ...: self.a.append(A()); self.b.append(B())``.
    """
    known = owner._tracking_order or {}
    new = [(path, x) for path, x in found if x not in known]
    assigned = [x for path, x in new if len(path) == 1]
    contained = (item for item in new if len(item[0]) > 1)
    gains = [[x for _, x in group] for _, group in itertools.groupby(contained, _attribute_of)]
    present = {x for _, x in found}
    order = dict.fromkeys(
        [*(x for x in known if x in present), *assigned, *heapq.merge(*gains, key=_number_of)]
    )
    owner.__dict__["_tracking_order"] = order
    return order


def _attribute_of(item: tuple[Path, Any]) -> Any:
    return item[0][0]


def _number_of(x: Any) -> int:
    """When an object was created, in terms of other objects; 0 if unknown."""
    return x._creation_number if isinstance(x, Owner) else 0


def held_as(owner: Owner, kind: str) -> list[Any]:
    """The objects of one kind among those of :func:`held`, without duplicates."""
    return list(dict.fromkeys(x for _, x in held(owner) if x.tracked_as == kind))


def containers(owner: Owner) -> list[Any]:
    """The containers among the attributes, whose content may change without notice."""
    values = owner._tracked_attributes.values()
    return [x for x in values if not isinstance(x, (Trackable, tuple))]


def contents(container: Any) -> list[Any]:
    """All trackable objects in nested containers."""
    return [x for _, x in _search(container)]


def hold_same(a: Any, b: Any) -> bool:
    """Whether two containers hold the same trackable objects, in the same order."""
    return list(map(id, contents(a))) == list(map(id, contents(b)))


def _search(container: Any, path: Path = ()) -> Iterator[tuple[Path, Trackable]]:
    """All trackable objects in nested containers, without recursion; cycles are handled."""
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
