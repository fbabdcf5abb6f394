"""JSON texts of untrusted files."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from lamina.errors import LaminaError
from lamina.runtime import budget


def parse(text: str | bytes, where: str, error: type[LaminaError], *, finite: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: The text; bytes are UTF-8.
        where: Its name in messages.
        error: The class of the error for a text that is not valid.
        finite: Whether NaN and infinity, which are not JSON, are errors.

    Raises:
        UnsafeFileError: The text is nested more deeply, or has more values, than the budget of the
            load allows.

    >>> from lamina.errors import CorruptFileError
    >>> parse('{"units": 3}', "config.json", CorruptFileError)
    {'units': 3}
    """
    budget.charge(json=len(text))
    try:
        text = text.decode() if isinstance(text, bytes) else text
        # Before anything is allocated: each value but the first follows one of these.
        budget.charge(nodes=sum(map(text.count, ",[{")))
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_not_finite if finite else None
        )
        _check(value)
        if "\\ud" in text or "\\uD" in text:  # halves of a character are not text
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as e:
        raise error(f"{where} is nested too deeply.") from e
    except (ValueError, TypeError) as e:
        if isinstance(e, LaminaError):
            raise
        raise error(f"{where} is not valid JSON: {e}") from e
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check(value: Any) -> None:
    """Raise an error for a value that is nested too deeply, or with an integer above 64 bits."""
    level, depth = [value], 0
    while level:
        depth += 1
        budget.check_depth(depth)
        if any(type(x) is int and not -(2**63) <= x < 2**64 for x in level):
            raise ValueError("an integer has more than 64 bits")
        level = [
            inner for x in level if isinstance(x, (dict, list))
            for inner in (x.values() if isinstance(x, dict) else x)
        ]  # fmt: skip
