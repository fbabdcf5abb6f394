"""Randomness as a function of (seed, path, step): nothing random depends on what ran before.

Initial values come from a counter-based NumPy generator, which needs no compilation; what a
compiled step draws (dropout, noise) comes from JAX keys.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.core import naming

_eager_draws: Counter[str] = Counter()


def digest(*parts: Any) -> int:
    """A 128-bit number that depends on every part and on nothing else."""
    text = "\x1f".join(str(p) for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def stream(*parts: Any) -> np.random.Generator:
    """The NumPy generator that belongs to ``parts``.

    >>> float(stream(0, "dense/kernel").random()) == float(stream(0, "dense/kernel").random())
    True
    """
    return np.random.Generator(np.random.Philox(key=digest(*parts)))


def base_key(*parts: Any) -> jax.Array:
    """A JAX key for ``parts``; the root that compiled steps derive theirs from."""
    return jax.random.key(digest(*parts) & 0x7FFFFFFF)


def key_data(*parts: Any) -> np.ndarray:
    """The bare data of a key for ``parts``, on the host; making a typed key costs a dispatch."""
    return np.frombuffer((digest(*parts) & (2**64 - 1)).to_bytes(8, "little"), np.uint32)


def derive(key: jax.Array, *parts: Any) -> jax.Array:
    """The key for ``parts`` under ``key``; parts are Python values, the key may be traced."""
    return jax.random.fold_in(key, digest(*parts) & 0x7FFFFFFF)


def eager_draw(path: str) -> int:
    """Counts the draws made outside of any compiled step, so that two calls differ."""
    n = _eager_draws[path]
    _eager_draws[path] += 1
    return n


def set_random_seed(seed: int) -> None:
    """Set the seed of initial values, dropout and shuffling, and start their counters anew.

    Python's and NumPy's own generators are seeded too, as users of Keras expect.

    Args:
        seed: An integer >= 0.

    >>> set_random_seed(0)
    """
    import random as python_random

    settings.set_global_seed(seed)
    _eager_draws.clear()
    naming.reset_draws()
    python_random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - users' own calls of np.random follow the seed
