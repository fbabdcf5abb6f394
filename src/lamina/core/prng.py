"""Random numbers as a function of (seed, path, step), independent of what ran before.

Initial values come from a counter-based NumPy generator, which needs no compilation; the random
numbers of compiled steps (dropout, noise) come from JAX keys.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from lamina import settings
from lamina.core import naming
from lamina.transforms.draws import key_of
from lamina.transforms.seeding import (
    digest,
    drawing_for,
    eager_draw,
    eager_seed,
    forget_draws,
    is_drawing_for,
    small_seed,
    stream,
)


def base_key(*parts: Any) -> jax.Array:
    """The JAX key for ``parts``, from which compiled steps derive their keys."""
    return key(small_seed(*parts))


def key(seed: int) -> jax.Array:
    """The key ``jax.random.key(seed)`` of a seed of 31 bits.

    For JAX's default generator it is made on the host; ``jax.random.key`` compiles two programs at
    its first call, which takes longer than building a small model.
    """
    config: Any = jax.config  # its attributes are not declared
    if config.jax_default_prng_impl != "threefry2x32" or config.jax_random_seed_offset:
        return jax.random.key(seed)
    words: Any = key_of(seed)
    return jax.random.wrap_key_data(words)


@functools.cache
def abstract_key() -> jax.Array:
    """A key for calls whose values do not matter, also inside a JAX transformation."""
    with jax.ensure_compile_time_eval():
        return base_key(0)


@functools.lru_cache(maxsize=64)
def key_data(*parts: Any) -> np.ndarray:
    """The raw data of the key for ``parts``, on the host: a typed key would cost a dispatch."""
    return np.frombuffer((digest(*parts) & (2**64 - 1)).to_bytes(8, "little"), np.uint32)


def derive(key: jax.Array, *parts: Any) -> jax.Array:
    """Derive a key from ``key`` and ``parts``, which are Python values; the key may be traced."""
    return jax.random.fold_in(key, small_seed(*parts))


def set_random_seed(seed: int) -> None:
    """Set the seed of initial values, dropout and shuffling, and reset their counters.

    As in Keras, the global generators of Python and NumPy are seeded too.

    Args:
        seed: An integer >= 0.

    >>> set_random_seed(0)
    """
    import random as python_random

    settings.set_global_seed(seed)
    forget_draws()
    naming.reset_draws()
    python_random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - users' own calls of np.random use the seed too


__all__ = [
    "abstract_key", "base_key", "derive", "digest", "drawing_for", "eager_draw", "eager_seed",
    "is_drawing_for", "key", "key_data", "set_random_seed", "stream",
]  # fmt: skip
