"""Layers that occur more than once in a config: they are numbered, and become one layer again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from lamina.errors import SerializationError

_T = TypeVar("_T")


class _Occurrences:
    """The objects with weights in one config; those that occur more than once are numbered."""

    def __init__(self, shared: dict[int, int]) -> None:
        self.seen: dict[int, Any] = {}
        self.shared = shared

    def count(self, obj: Any) -> int | None:
        """The number of ``obj`` if it occurs more than once, else None."""
        if id(obj) in self.seen:
            self.shared.setdefault(id(obj), len(self.shared) + 1)
        self.seen[id(obj)] = obj
        return self.shared.get(id(obj))


_described: ContextVar[_Occurrences | None] = ContextVar("lamina_described", default=None)
described_so_far = _described.get  # None outside of `describe_together`
_rebuilt: ContextVar[dict[int, Any] | None] = ContextVar("lamina_rebuilt", default=None)


def describe_together(describe: Callable[[], _T]) -> _T:
    """Call a function that serializes several objects, and number layers that occur repeatedly.

    All records of such a layer have the same ``shared_object_id``, so that ``deserialize``
    creates one layer for them.
    """
    if _described.get() is not None:
        return describe()
    shared: dict[int, int] = {}
    while True:
        known = len(shared)
        token = _described.set(_Occurrences(shared))
        try:
            description = describe()
        except RecursionError:
            raise SerializationError("A config contains itself, or is nested too deeply.") from None
        finally:
            _described.reset(token)
        if len(shared) == known:
            return description


@contextmanager
def rebuild_together() -> Iterator[dict[int, Any]]:
    """Context in which records with the same ``shared_object_id`` become one object."""
    table = _rebuilt.get()
    if table is not None:
        yield table
        return
    table = {}
    token = _rebuilt.set(table)
    try:
        yield table
    finally:
        _rebuilt.reset(token)
