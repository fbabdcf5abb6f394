"""Random multipliers that drop entries and keep the expected value."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def keep_factors(key: jax.Array, rate: float, shape: tuple[Any, ...], dtype: Any) -> jax.Array:
    """Zeros with probability ``rate``, elsewhere ``1 / (1 - rate)``.

    Args:
        key: a JAX random key.
        rate: probability of a zero, from 0 to 1.
        shape: shape of the result; sizes may be symbolic.
        dtype: dtype of the result.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> sorted(set(keep_factors(jax.random.key(0), 0.75, (100,), "float32").tolist()))
    [0.0, 4.0]
    """
    if rate >= 1:
        return jnp.zeros(shape, dtype)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, jnp.asarray(1 / (1 - rate), dtype), jnp.zeros((), dtype))
