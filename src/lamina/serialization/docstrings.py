"""Docstrings of families: descriptions that several classes or functions share are written once.

A class inherits the entries of ``Args:`` that it does not write itself: from the function or cell
that it wraps, and from the ``_shared_arguments`` of its base classes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SECTIONS = ("Args:\n", "Shapes: ", "Takes images ", "Returns:\n", "Raises:\n")
_WRAPPED = ("fn", "_function", "cell_class")
_ENTRY = re.compile(r"^ {4}(\S+): ", re.MULTILINE)


def entries(text: str | None) -> dict[str, str]:
    r"""The descriptions of the arguments in a docstring, by their names.

    >>> entries('''Do it.
    ...
    ...     Args:
    ...         x: A number.
    ...         y: Another
    ...             number.
    ...     ''')
    {'x': 'A number.', 'y': 'Another\n        number.'}
    """
    return _entries(_split(text)[0])


def _entries(paragraphs: Iterable[str]) -> dict[str, str]:
    parts = _ENTRY.split(next((p for p in paragraphs if p.startswith("Args:\n")), ""))
    return dict(zip(parts[1::2], map(str.rstrip, parts[2::2]), strict=True))


def _split(text: str | None) -> tuple[list[str], str]:
    """The paragraphs and the example."""
    body, mark, example = inspect.cleandoc(text or "").partition("\n\n>>> ")
    return body.split("\n\n"), mark + example


def completed(
    text: str | None, order: Iterable[str], shared: Mapping[str, str], **sections: str
) -> str:
    """A docstring with the descriptions that it lacks.

    Args:
        text: The docstring.
        order: The names of the arguments in order.
        shared: Descriptions of arguments. Those that ``text`` has itself take precedence.
        **sections: Other sections, such as ``Returns``, for a text that lacks them.

    >>> print(completed("Do it.", ["x"], {"x": "A number."}, Returns="    The same number."))
    Do it.
    <BLANKLINE>
    Args:
        x: A number.
    <BLANKLINE>
    Returns:
        The same number.
    """
    paragraphs, example = _split(text)
    written = _entries(paragraphs)
    names = [n for n in order if n in shared or n in written]
    names += [n for n in written if n not in names]
    arguments = "\n".join(f"    {n}: {written.get(n, shared.get(n))}" for n in names)
    at = next((i for i, p in enumerate(paragraphs) if p.startswith(_SECTIONS)), len(paragraphs))
    for title, lines in {"Args": arguments, **sections}.items():
        own = next((i for i, p in enumerate(paragraphs) if p.startswith(f"{title}:\n")), None)
        if own is not None and title != "Args":
            at = own + 1
        elif lines:
            paragraphs[at : at + (own is not None)] = [f"{title}:\n{lines}"]
            at += 1
    return "\n\n".join(paragraphs) + example


def complete_class(cls: type) -> None:
    """Complete the docstring of a class from what it wraps and from its base classes."""
    shared: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        shared |= vars(base).get("_shared_arguments", {})
    if shared:
        wrapped: Any = next((vars(cls)[n] for n in _WRAPPED if n in vars(cls)), None)
        shared = entries(inspect.unwrap(wrapped).__doc__) | shared
        cls.__doc__ = completed(cls.__doc__, inspect.signature(cls).parameters, shared)
