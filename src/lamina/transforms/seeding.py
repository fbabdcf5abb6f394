"""Seeds as a function of what is drawn: the same in any process, and without JAX."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

_eager_draws: Counter[str] = Counter()
_drawing_for: ContextVar[tuple[tuple[Any, ...], Counter[str]] | None] = ContextVar(
    "lamina_drawing_for", default=None
)


def digest(*parts: Any) -> int:
    """A 128-bit hash of the parts."""
    text = "\x1f".join(str(p) for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def small_seed(*parts: Any) -> int:
    """A hash of the parts of 31 bits, which ``jax.random.key`` takes."""
    return digest(*parts) & 0x7FFFFFFF


def stream(*parts: Any) -> np.random.Generator:
    """The NumPy generator that is seeded with ``parts``.

    >>> float(stream(0, "dense/kernel").random()) == float(stream(0, "dense/kernel").random())
    True
    """
    return np.random.Generator(np.random.Philox(key=digest(*parts)))


def eager_draw(path: str) -> Any:
    """What distinguishes a draw outside compiled steps from others: the number of earlier ones.

    Inside :func:`drawing_for` it is the number of earlier draws there, after the parts.
    """
    parts, draws = _drawing_for.get() or ((), _eager_draws)
    n = draws[path]
    draws[path] += 1
    return (*parts, n) if parts else n


def eager_seed(seed: int | None, global_seed: int, path: str) -> int:
    """The seed of a draw outside compiled steps, which ``jax.random.key`` takes.

    Args:
        seed: The seed of the layer that draws, or None.
        global_seed: The seed that is used where the layer has none.
        path: The layer's path of random draws.
    """
    n = eager_draw(path)
    return small_seed(global_seed, path, n) if seed is None else small_seed(seed, n)


class Seeded:
    """A transform with the random numbers that the call of its layer draws.

    Args:
        transform: Takes the data, a key and whether to change the data at random.
        path: The layer's path of random draws; None if it draws none.
        seed: The seed of the layer, or None.
        global_seed: The seed that is used where the layer has none.
    """

    def __init__(
        self, transform: Any, path: str | None, seed: int | None, global_seed: int
    ) -> None:
        self._transform, self._drawn = transform, (seed, global_seed, path)

    def __call__(self, data: Any, training: bool = True) -> Any:
        seed, global_seed, path = self._drawn
        if path is None or not training:
            return self._transform(data, 0, training)
        return self._transform(data, eager_seed(seed, global_seed, path), training)


class InTurn:
    """Functions of data, each of which takes what the one before returns.

    Args:
        functions: The functions, with whether each takes ``training``.
    """

    def __init__(self, functions: Sequence[tuple[Any, bool]]) -> None:
        self._functions = functions

    def __call__(self, data: Any, training: bool = True) -> Any:
        for function, takes_training in self._functions:
            data = function(data, training) if takes_training else function(data)
        return data


@contextlib.contextmanager
def drawing_for(*parts: Any) -> Iterator[None]:
    """Context in which draws outside compiled steps depend on ``parts``, not on earlier draws.

    >>> with drawing_for("element", 3):
    ...     eager_draw("layer"), eager_draw("layer")
    (('element', 3, 0), ('element', 3, 1))
    """
    token = _drawing_for.set((parts, Counter()))
    try:
        yield
    finally:
        _drawing_for.reset(token)


def is_drawing_for() -> bool:
    """Whether the code runs inside :func:`drawing_for`, as functions of a data set do.

    >>> is_drawing_for()
    False
    """
    return _drawing_for.get() is not None


def forget_draws() -> None:
    """Count the draws outside :func:`drawing_for` from zero again."""
    _eager_draws.clear()


__all__ = [
    "InTurn", "Seeded", "digest", "drawing_for", "eager_draw", "eager_seed", "forget_draws",
    "is_drawing_for", "small_seed", "stream",
]  # fmt: skip
