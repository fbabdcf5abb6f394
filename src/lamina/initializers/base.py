"""The base of initializers: how initial values are drawn, by a variable or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import prng
from lamina.dtype_policies.dtypes import canonical, standardize_dtype
from lamina.errors import ArgumentError
from lamina.serialization.fields import Configurable
from lamina.serialization.registry import builtin


@builtin("initializers")
class Initializer(Configurable):
    """What makes the first value of a weight.

    Subclasses write :meth:`draw`, or, as in Keras, ``__call__(self, shape, dtype=None)``.

    A weight draws from a generator made of the global seed and the weight's own path, so that
    adding a layer changes no other layer's values; with an integer ``seed``, from that seed alone.
    NumPy draws the values: JAX would compile a program for each shape first.

    >>> class Ramp(Initializer):
    ...     def draw(self, rng, shape, dtype):
    ...         return np.arange(np.prod(shape)).reshape(shape)
    >>> Ramp()((3,))
    Array([0., 1., 2.], dtype=float32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """The values; the caller casts them.

        Args:
            rng: The only source of randomness.
            shape: Shape of the result.
            dtype: Dtype that the result will be cast to.
        """
        if type(self).__call__ is Initializer.__call__:
            raise NotImplementedError(
                f"{type(self).__name__} makes no values. Write its `draw(self, rng, shape, dtype)`."
            )
        return np.asarray(self(shape, dtype=dtype))

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> jax.Array:
        """An array of initial values.

        Args:
            shape: Shape of the result.
            dtype: Dtype of the result, ``floatx`` by default.

        Returns:
            With an integer ``seed`` the same values at each call; without one, new values.
        """
        name = canonical(standardize_dtype(dtype))
        count = prng.eager_draw("initializer") if self._seed() is None else 0
        parts = (settings.global_seed(), "initializer", count)
        return jnp.asarray(self.draw_for(parts, tuple(shape), name), name)

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        """The values of one weight.

        Args:
            parts: What the weight is; an integer ``seed`` is used in its place.
            shape: Shape of the result.
            dtype: Dtype that the result will be cast to.
        """
        seed = self._seed()
        return self.draw(
            prng.stream(*(parts if seed is None else ("initializer", seed))), shape, dtype
        )

    def _seed(self) -> int | None:
        seed = getattr(self, "seed", None)  # a field of those that draw
        return seed if isinstance(seed, int) else None

    def clone(self) -> Self:
        """Another initializer of the same configuration."""
        return self.from_config(self.get_config())


def read_seed(value: Any) -> int | None:
    """Read a seed: an integer or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"expected an integer or None. Received: {value!r}.")
    return int(value)


def working_dtype(dtype: str) -> Any:
    """What to draw in for ``dtype``: float64 for itself, float32 for everything narrower."""
    return np.float64 if dtype == "float64" else np.float32
