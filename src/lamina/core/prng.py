"""Random numbers as a function of (seed, path, step), independent of what ran before.

Initial values come from a counter-based NumPy generator, which needs no compilation; the random
numbers of compiled steps (dropout, noise) come from JAX keys.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.core import naming

_eager_draws: Counter[str] = Counter()
_drawing_for: ContextVar[tuple[tuple[Any, ...], Counter[str]] | None] = ContextVar(
    "lamina_drawing_for", default=None
)


def digest(*parts: Any) -> int:
    """A 128-bit hash of the parts."""
    text = "\x1f".join(str(p) for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def stream(*parts: Any) -> np.random.Generator:
    """The NumPy generator that is seeded with ``parts``.

    >>> float(stream(0, "dense/kernel").random()) == float(stream(0, "dense/kernel").random())
    True
    """
    return np.random.Generator(np.random.Philox(key=digest(*parts)))


def base_key(*parts: Any) -> jax.Array:
    """The JAX key for ``parts``, from which compiled steps derive their keys."""
    return jax.random.key(digest(*parts) & 0x7FFFFFFF)


def key_data(*parts: Any) -> np.ndarray:
    """The raw data of the key for ``parts``, on the host: a typed key would cost a dispatch."""
    return np.frombuffer((digest(*parts) & (2**64 - 1)).to_bytes(8, "little"), np.uint32)


def derive(key: jax.Array, *parts: Any) -> jax.Array:
    """Derive a key from ``key`` and ``parts``, which are Python values; the key may be traced."""
    return jax.random.fold_in(key, digest(*parts) & 0x7FFFFFFF)


def eager_draw(path: str) -> Any:
    """What distinguishes a draw outside compiled steps from others: the number of earlier ones.

    Inside :func:`drawing_for` it is the number of earlier draws there, after the parts.
    """
    parts, draws = _drawing_for.get() or ((), _eager_draws)
    n = draws[path]
    draws[path] += 1
    return (*parts, n) if parts else n


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


def set_random_seed(seed: int) -> None:
    """Set the seed of initial values, dropout and shuffling, and reset their counters.

    As in Keras, the global generators of Python and NumPy are seeded too.

    Args:
        seed: An integer >= 0.

    >>> set_random_seed(0)
    """
    import random as python_random

    settings.set_global_seed(seed)
    _eager_draws.clear()
    naming.reset_draws()
    python_random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - users' own calls of np.random use the seed too
