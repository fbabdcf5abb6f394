"""Seed generators: a seed and a counter, from which random functions draw."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core import naming, prng
from lamina.core.scope import current, random_key
from lamina.core.tracking import Trackable
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, StateError
from lamina.serialization.fields import is_integer
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config

_LIMIT = 2**32
_IMPLEMENTATION = "threefry2x32"
_ONE = np.array([0, 1], np.uint32)


@builtin("random")
class SeedGenerator(Trackable):
    """A sequence of seeds: each draw uses the next one.

    Its state is a variable that each draw advances, also inside a compiled step. If the generator
    is an attribute of a layer or model, its state is among the ``non_trainable_variables`` and is
    saved.

    Two generators with the same seed return the same seeds in the same order, like those of Keras:
    ``(seed, 0)``, ``(seed, 1)``, ...

    Args:
        seed: Integer from 0 to 2^32 - 1. When None, a different seed for each generator is derived
            from the global seed, so that ``lamina.utils.set_random_seed`` makes it reproducible.
        name: Name of the generator; ``seed_generator``, ``seed_generator_1``, ... when None.

    Attributes:
        state: Variable of shape (2,) and dtype uint32: the seed and the number of draws so far.

    Raises:
        ArgumentError: An invalid ``seed``.

    >>> from lamina import random
    >>> generator = SeedGenerator(7)
    >>> bool((random.normal((3,), seed=generator) == random.normal((3,), seed=generator)).all())
    False
    >>> generator.state.numpy().tolist()
    [7, 2]
    """

    __slots__ = ("__weakref__", "_seed", "name", "state")
    tracked_as = "seed_generator"

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self._seed = None if seed is None else check_seed(seed, "SeedGenerator(seed=...)")
        automatic = naming.auto_name("seed_generator") if name is None else name
        self.name = naming.check_name(automatic, "seed generator")
        start = self._seed
        if start is None:
            own = naming.draw_name("seed_generator")
            start = prng.digest(settings.seed_of_new(), "seed_generator", own) % _LIMIT
        self.state = Variable(
            np.array([start, 0], np.uint32), trainable=False, name="seed_generator_state",
            owner=self,
        )  # fmt: skip

    @property
    def path(self) -> str:
        """The generator's name, which is the first part of the path of its state."""
        return self.name

    def next(self, ordered: bool = True) -> jax.Array:
        """The next seed, an array of shape (2,) and dtype uint32.

        Args:
            ordered: Kept for compatibility: seeds are always given in order.

        Raises:
            StateError: It was called inside your own ``jax.jit``, where the new state would be
                lost.
        """
        scope = current()
        if scope is not None and scope.abstract and not scope.pure:
            return jnp.zeros((2,), "uint32")  # only the shape is needed
        if (scope is None or not scope.pure) and isinstance(jnp.zeros(()), jax.core.Tracer):
            raise StateError(
                f"The seed generator {self.name!r} is advanced inside your own `jax.jit`, "
                "where its new state would be lost and every run would repeat the same draw. Pass "
                "the state through `model.stateless_call(...)`, or draw with an integer `seed` "
                "that you pass in."
            )
        seed = self.state.value
        self.state.assign(seed + _ONE)
        return seed

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"seed": self._seed, "name": self.name}

    @classmethod
    @reads_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A generator with the same arguments, in its initial state."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<SeedGenerator name={self.name}, seed={self._seed}>"


class DerivedSeeds:
    """The seeds of a layer, which has no state for them: ``random`` functions take it as a seed.

    Each draw depends on the seed of the layer (or the global seed and the layer's path), on the
    step and on the number of earlier draws, like those of the layer itself.

    Args:
        seed: The layer's seed, or None.

    >>> from lamina import layers, random
    >>> random.normal((2,), seed=layers.Dropout(0.5).seed_generator).shape
    (2,)
    """

    def __init__(self, seed: int | None) -> None:
        self._seed = seed

    def next(self, ordered: bool = True) -> jax.Array:
        """The next seed, an array of shape (2,) and dtype uint32.

        Args:
            ordered: Kept for compatibility: seeds are always given in order.
        """
        return jax.random.key_data(random_key(self._seed, "seed_generator"))


class Seeded:
    """A layer that draws random numbers, with a seed or without."""

    seed: int | None

    @property
    def seed_generator(self) -> DerivedSeeds:
        """The seeds of this layer, for what a subclass draws."""
        return DerivedSeeds(self.seed)


def check_seed(seed: Any, where: str) -> int:
    """Return ``seed`` if it is an integer from 0 to 2^32 - 1.

    Args:
        seed: The value to check.
        where: Name of the argument, for the message.

    Raises:
        ArgumentError: It is not.

    >>> check_seed(3, "seed")
    3
    """
    if not is_integer(seed) or not 0 <= seed < _LIMIT:
        raise ArgumentError(
            f"{where} expects an integer from 0 to 2^32 - 1, or None. Received: {seed!r} "
            f"(of type {type(seed).__name__})."
        )
    return int(seed)


def key_of(seed: Any, function: str) -> jax.Array:
    """The JAX key of one draw.

    Args:
        seed: An integer (for the same key each time), a :class:`SeedGenerator` (which is advanced),
            or None for a key derived from the current step and layer, or from the global seed and a
            counter.
        function: Name of the random function, for messages.

    Raises:
        ArgumentError: An invalid ``seed``.
        StateError: ``seed`` is None or a generator inside the user's own ``jax.jit``.

    >>> key_of(1, "normal") == key_of(1, "normal")
    Array(True, dtype=bool)
    """
    if seed is None:
        return random_key(name="random")
    if isinstance(seed, (SeedGenerator, DerivedSeeds)):
        data: Any = seed.next()
    elif is_integer(seed) and 0 <= seed < _LIMIT:
        data = np.array([int(seed), 0], np.uint32)
    else:
        raise ArgumentError(
            f"{function}() expects a `seed` that is an integer from 0 to 2^32 - 1, a "
            f"`SeedGenerator` or None. Received: {seed!r} (of type {type(seed).__name__})."
        )
    return jax.random.wrap_key_data(data, impl=_IMPLEMENTATION)
