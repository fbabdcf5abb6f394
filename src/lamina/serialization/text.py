"""JSON texts and configs of untrusted files."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from lamina.errors import LaminaError, SerializationError
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
    try:
        text = text.decode() if isinstance(text, bytes) else text
        # Before anything is allocated: each value but the first follows one of these.
        budget.charge(json=len(text), nodes=sum(map(text.count, ",[{")))
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_not_finite if finite else None
        )
        _check(value)
        if "\\ud" in text or "\\uD" in text:  # halves of a character are not text
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as e:
        raise error(f"{where} is nested too deeply.") from e
    except (ValueError, TypeError, AttributeError) as e:
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


def _check(value: Any, *, counts: bool = False) -> None:
    """Raise an error for a value that is nested too deeply, or with an integer above 64 bits.

    Args:
        value: The value.
        counts: Whether to charge the values inside to the budget of the load.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        budget.check_depth(depth)
        if counts:
            budget.charge(nodes=len(level), json=16 * len(level))
        if any(type(x) is int and not -(2**63) <= x < 2**64 for x in level):
            raise SerializationError("A config contains an integer of more than 64 bits.")
        level = [
            inner for x in level if isinstance(x, (dict, list, tuple))
            for inner in (x.values() if isinstance(x, dict) else x)
        ]  # fmt: skip


@contextmanager
def reading(config: Any, where: str) -> Iterator[None]:
    """Context in which an untrusted config becomes objects.

    Args:
        config: The config.
        where: What it describes, in messages.

    Raises:
        LaminaError: Any error in it; see :func:`lamina.runtime.budget.loading`.
    """
    is_outermost = not budget.is_loading()
    with budget.loading(where):
        if is_outermost:
            _check(config, counts=True)
        yield


def reads_config(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of ``from_config``, below ``@classmethod``: its config is not trusted."""

    @functools.wraps(method)
    def from_config(cls: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
        where = f"The config of {cls.__name__}"
        if not isinstance(config, Mapping):
            raise SerializationError(
                f"{where} is a dict, as `get_config` returns it. Received: a "
                f"{type(config).__name__}."
            )
        with reading(config, where):
            return method(cls, config, *args, **kwargs)

    return from_config
