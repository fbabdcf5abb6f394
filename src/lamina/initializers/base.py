"""The base class of initializers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import prng
from lamina.dtype_policies.dtypes import canonical, standardize_dtype
from lamina.errors import ArgumentError
from lamina.serialization.fields import Configurable, is_integer
from lamina.serialization.registry import builtin


@builtin("initializers")
class Initializer(Configurable):
    """Base class of the objects that create the initial value of a weight.

    Subclasses implement :meth:`draw`, or, as in Keras, ``__call__(self, shape, dtype=None)``.

    The random numbers of a weight depend on the global seed and on the path of the weight, so that
    adding a layer does not change the values of other layers; with an integer ``seed``, on that
    seed alone. They are drawn with NumPy, since JAX would compile a program for each shape.

    >>> class Ramp(Initializer):
    ...     def draw(self, rng, shape, dtype):
    ...         return np.arange(np.prod(shape)).reshape(shape)
    >>> Ramp()((3,))
    Array([0., 1., 2.], dtype=float32)
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """The initial values, which the caller casts.

        Args:
            rng: Random number generator to use.
            shape: Shape of the result.
            dtype: Dtype to which the result will be cast.

        Returns:
            An array of the given shape.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not implement `draw(self, rng, shape, dtype)`."
        )

    def __call__(self, shape: Sequence[int] | int, dtype: Any = None) -> jax.Array:
        """An array of initial values.

        Args:
            shape: Shape of the result; an integer for one axis.
            dtype: Dtype of the result; ``floatx`` when None.

        Returns:
            The array: with an integer ``seed`` the same one in each call, otherwise a new one.
        """
        name = canonical(standardize_dtype(dtype))
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        weight = vars(self).get("_weight")
        if weight is not None:  # called by a subclass's `__call__`, for a weight
            return jnp.asarray(self._draw_for(weight, shape, name), name)
        numbered = self._seed() is None and settings.times_seeded()
        count = prng.eager_draw("initializer") if numbered else 0
        parts = (settings.seed_of_new(), "initializer", count)
        return jnp.asarray(self._draw_for(parts, shape, name), name)

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        """The values of one weight.

        Args:
            parts: What the weight is; an integer ``seed`` is used in its place.
            shape: Shape of the result.
            dtype: Dtype that the result will be cast to.
        """
        if not _overrides_call(type(self)):
            return self._draw_for(parts, shape, dtype)
        outer, vars(self)["_weight"] = vars(self).get("_weight"), parts
        try:
            return np.asarray(self(shape, dtype=dtype))
        finally:
            vars(self)["_weight"] = outer

    def _draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        seed = self._seed()
        return self.draw(
            prng.stream(*(parts if seed is None else ("initializer", seed))), shape, dtype
        )

    def _seed(self) -> int | None:
        seed = vars(self).get("seed")  # random initializers have this field
        return seed if isinstance(seed, int) else None

    def clone(self) -> Self:
        """A new initializer with the same configuration."""
        return self.from_config(self.get_config())


@functools.cache
def _overrides_call(cls: type) -> bool:
    """Whether a class defines ``__call__`` for values other than those of an inherited ``draw``."""
    return "draw" not in next(
        names for c in cls.__mro__ if (names := vars(c).keys() & {"draw", "__call__"})
    )


def read_seed(value: Any) -> int | None:
    """Read a seed: an integer or None."""
    if value is None:
        return None
    if not is_integer(value):
        raise ArgumentError(f"expected an integer or None. Received: {value!r}.")
    return int(value)


def working_dtype(dtype: str) -> Any:
    """The dtype to draw in: float64 for float64, float32 for everything else."""
    return np.float64 if dtype == "float64" else np.float32
