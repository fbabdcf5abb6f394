"""Unique names: ``dense``, ``dense_1``, ... counted per prefix, the same for the same script."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container
from contextvars import ContextVar, Token
from typing import Any, Self

import jax

from lamina.errors import ArgumentError

_BAD = re.compile(r"[/\\\x00-\x1f:]|^\.+$|^\s*$")
_NUMBER = re.compile(r"(_\d+)?")
_counts: Counter[str] = Counter()
_draws: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """``"MaxPooling2D"`` to ``"max_pooling2d"``: how automatic names are spelled.

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
    """A number for ``prefix`` that was not given before: 1, 2, ...; automatic names count too.

    >>> uid("made_in_an_example"), uid("made_in_an_example")
    (1, 2)
    """
    _counts[prefix] += 1
    return _counts[prefix]


def is_automatic(name: str, prefix: str) -> bool:
    """Whether :func:`auto_name` could have made ``name`` from ``prefix``."""
    start = snake_case(prefix)
    return name.startswith(start) and _NUMBER.fullmatch(name, len(start)) is not None


def name_of(fn: Callable[..., Any]) -> str:
    """A function's own name; a callable object's is that of its class.

    >>> import functools
    >>> name_of(len), name_of(functools.partial(len))
    ('len', 'partial')
    """
    return getattr(fn, "__name__", snake_case(type(fn).__name__))


def free(taken: Container[str], name: str) -> str:
    """``name``, with a number if it is among ``taken``."""
    n, candidate = 0, name
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    return candidate


def draw_name(name: str) -> str:
    """A name for random draws: equal ones are numbered, counted since the seed was last set.

    So the same code draws the same numbers after the same seed, whatever ran before.
    """
    n = _draws[name]
    _draws[name] += 1
    return f"{name}:{n}" if n else name


def reset_draws() -> None:
    """Start numbering draws anew; called when the seed is set."""
    _draws.clear()


def reset() -> None:
    """Start counting anew, as in a fresh process."""
    _counts.clear()
    _draws.clear()


_scopes: ContextVar[tuple[str, ...]] = ContextVar("lamina_name_scopes", default=())


class name_scope:
    """Context that puts a name before the paths of the variables that are made inside.

    Profiles and XLA's programs show it too.

    Args:
        name: A text without slashes; scopes within scopes are joined by slashes.

    Raises:
        ArgumentError: Another name.

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
    """The names of the scopes in progress, outermost first."""
    return _scopes.get()


def check_name(name: Any, what: str) -> str:
    """Refuse a name that could not be part of an address in a file."""
    if not isinstance(name, str) or len(name) > 200 or _BAD.search(name):
        raise ArgumentError(
            f"The name of a {what} is a non-empty text of at most 200 characters without slashes, "
            f"colons or control characters. Received: {name!r}."
        )
    return name
