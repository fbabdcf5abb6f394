"""Unique names: ``dense``, ``dense_1``, ... counted per prefix, the same for the same script."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from contextvars import ContextVar, Token
from typing import Any, Self

import jax

from lamina import settings
from lamina.errors import ArgumentError

_BAD = re.compile(r"[/\\\x00-\x1f]|^\.+$|^\s*$")
_counts: Counter[str] = Counter()
_draws: Counter[str] = Counter()


@functools.lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """Convert a class name to the spelling of automatic names: ``"max_pooling2d"``.

    >>> snake_case("Conv2DTranspose"), snake_case("BatchNormalization")
    ('conv2d_transpose', 'batch_normalization')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """The next free name for ``prefix``: ``dense``, then ``dense_1``, ``dense_2``, ..."""
    prefix = snake_case(prefix)
    n = _counts[prefix]
    _counts[prefix] += 1
    return f"{prefix}_{n}" if n else prefix


def uid(prefix: str) -> int:
    """The next unused number for ``prefix``: 1, 2, ...; the counter is shared with automatic names.

    >>> uid("made_in_an_example"), uid("made_in_an_example")
    (1, 2)
    """
    _counts[prefix] += 1
    return _counts[prefix]


def name_of(fn: Callable[..., Any]) -> str:
    """The name of a function, or of the class of another callable object.

    >>> import functools
    >>> name_of(len), name_of(functools.partial(len))
    ('len', 'partial')
    """
    return getattr(fn, "__name__", snake_case(type(fn).__name__))


def free(taken: Container[str], name: str) -> str:
    """``name``, with a number appended if it is among ``taken``."""
    n, candidate = 0, name
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    return candidate


def numbered(names: Iterable[str]) -> list[str]:
    """The names in their order; those that are taken by earlier ones get a number.

    >>> numbered(["a", "b", "a", "a_1", "a"])
    ['a', 'b', 'a_1', 'a_1_1', 'a_2']
    """
    taken: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for name in names:
        candidate = name
        while candidate in taken:
            counts[name] += 1
            candidate = f"{name}_{counts[name]}"
        taken[candidate] = None
    return list(taken)


def draw_name(name: str) -> str:
    """A unique name for random draws: equal names are numbered since the seed was last set.

    Hence the same code draws the same numbers after the same seed, whatever ran before. Before a
    seed is set, nothing is numbered: every weight has a seed of its own.
    """
    name = name.replace(":", "\x1f")  # not in names; what follows a colon is the number
    if not settings.times_seeded():
        return name
    n = _draws[name]
    _draws[name] += 1
    return f"{name}:{n}" if n else name


def is_numbered(name: str, stem: str) -> bool:
    """Whether ``name`` is ``stem`` with a number, as :func:`auto_name` makes it."""
    start, _, number = name.rpartition("_")
    return start == stem and number.isdecimal()


def reset_draws() -> None:
    """Reset the numbering of draws; called when the seed is set."""
    _draws.clear()


def reset() -> None:
    """Reset all counters, as in a new process."""
    _counts.clear()
    _draws.clear()


_scopes: ContextVar[tuple[str, ...]] = ContextVar("lamina_name_scopes", default=())


class name_scope:
    """Context manager that prefixes the paths of the variables created inside with a name.

    Profiles and compiled XLA programs show the name too.

    Args:
        name: A string without slashes; the names of nested scopes are joined by slashes.

    Raises:
        ArgumentError: The name is not valid.

    >>> from lamina import Variable
    >>> with name_scope("encoder"):
    ...     Variable(0.0, name="total").path
    'encoder/total'
    """

    def __init__(self, name: str) -> None:
        self.name = check_name(name, "name scope")
        self._entered: list[tuple[Token[tuple[str, ...]], Any]] = []

    def __enter__(self) -> Self:
        shown = jax.named_scope(self.name)
        shown.__enter__()
        self._entered.append((_scopes.set((*_scopes.get(), self.name)), shown))
        return self

    def __exit__(self, *_: object) -> None:
        token, shown = self._entered.pop()
        _scopes.reset(token)
        shown.__exit__(None, None, None)


def current_name_scopes() -> tuple[str, ...]:
    """The names of the active scopes, outermost first."""
    return _scopes.get()


def check_name(name: Any, what: str) -> str:
    """Raise an error if a name cannot be part of an address in a file."""
    if not isinstance(name, str) or len(name) > 200 or _BAD.search(name):
        raise ArgumentError(
            f"The name of a {what} is a non-empty string of at most 200 characters without "
            f"slashes or control characters. Received: {name!r}."
        )
    return name
