"""Dicts whose keys are paths, or regular expressions that match paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from lamina.errors import ArgumentError

V = TypeVar("V")


class PatternMap(MutableMapping[str, V], Generic[V]):
    """Values by path. A key is a path, or a regular expression that matches it as a whole."""

    def __init__(self) -> None:
        self._entries: dict[str, V] = {}

    def _default_value(self) -> Any:
        """The value of a path that no key matches."""
        return None

    def _converted(self, value: Any) -> V:
        """A value that is being set."""
        return value

    def _ambiguous(self, path: str, keys: list[str]) -> ArgumentError:
        """The error for a path that several keys match."""
        return ArgumentError(
            f"{type(self).__name__} has several keys that match {path!r}: {keys}. Make them "
            "exclude one another, or add the whole path as a key."
        )

    def __getitem__(self, path: str) -> Any:
        if path in self._entries:
            return self._entries[path]
        matching = [key for key in self._entries if re.fullmatch(key, path)]
        if len(matching) > 1:
            raise self._ambiguous(path, matching)
        return self._entries[matching[0]] if matching else self._default_value()

    def __setitem__(self, key: str, value: Any) -> None:
        name = type(self).__name__
        if not isinstance(key, str) or key in self._entries:
            raise ArgumentError(
                f"{name} expects keys that are strings, each once. Received: {key!r}."
            )
        try:
            re.compile(key)
        except re.error as e:
            raise ArgumentError(f"{name}: {key!r} is not a regular expression: {e}.") from e
        self._entries[key] = self._converted(value)

    def __delitem__(self, key: str) -> None:
        if key not in self._entries:
            raise ArgumentError(
                f"{type(self).__name__} has no key {key!r}. It has: {list(self._entries)}."
            )
        del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
