"""Random numbers that are the same with NumPy and with JAX: all derived from Threefry's bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Shape = tuple[Any, ...]

# Of the rejection method for gamma variates: at least 95 % of the candidates are accepted, so the
# probability that none of eight is accepted is below 4e-11; the distribution's mode is used then.
_CANDIDATES = 8


def threefry(key: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """Encrypt counters with Threefry-2x32 in 20 rounds, as ``jax.random`` does.

    Args:
        key: The two words of a key, of dtype uint32.
        high: The upper words of the counters, an array of dtype uint32.
        low: The lower words, of the same shape.

    Returns:
        The two words of each block.

    Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405

    >>> [int(word) for word in threefry(*np.zeros((3, 2), "uint32"))[0]]
    [1797259609, 1797259609]
    """
    first, second = (np.uint32(word) for word in key)
    keys = first, second, np.uint32(first ^ second ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        x, y = np.add(high, first, dtype="uint32"), np.add(low, second, dtype="uint32")
        for group in range(5):
            for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
                x = x + y
                y = ((y << np.uint32(turn)) | (y >> np.uint32(32 - turn))) ^ x
            x = x + keys[(group + 1) % 3]
            y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def key_of(seed: int) -> np.ndarray:
    """The words of ``jax.random.key(seed)``.

    >>> key_of(3).tolist()
    [0, 3]
    """
    return np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], "uint32")


def fold_in(key: Any, number: int) -> np.ndarray:
    """The words of ``jax.random.fold_in(key, number)``.

    >>> fold_in(key_of(0), 1).dtype
    dtype('uint32')
    """
    x, y = threefry(key, *np.array([[number >> 32], [number & 0xFFFFFFFF]], "uint32"))
    return np.concatenate([x, y])


class Draws:
    """A sequence of random arrays, determined by a key.

    Args:
        key: The two words of a key.

    Attributes:
        xp: The array module that results belong to.
    """

    xp: Any = np

    def __init__(self, key: Any) -> None:
        self._key, self._count = key, 0

    def child(self) -> Draws:
        """An independent sequence, for a part of a transform."""
        self._count += 1
        return type(self)(self._folded(self._count))

    def _folded(self, number: int) -> Any:
        return fold_in(self._key, number)

    def bits(self, shape: Shape) -> Any:
        """Independent bits: an array of uint32."""
        self._count += 1
        counts = np.arange(math.prod(shape), dtype="uint64")
        high, low = ((counts >> np.uint64(n)).astype("uint32") for n in (32, 0))
        x, y = threefry(self._folded(self._count), high, low)
        return (x ^ y).reshape(shape)

    def unit(self, shape: Shape) -> Any:
        """Uniform in [0, 1), of dtype float32 with 23 random bits."""
        return (self.bits(shape) >> 9).astype("float32") * np.float32(2**-23)

    def uniform(self, shape: Shape, low: float, high: float) -> Any:
        """Uniform in ``[low, high)``."""
        return self.unit(shape) * np.float32(high - low) + np.float32(low)

    def integers(self, shape: Shape, low: int, high: int) -> Any:
        """Integers in ``[low, high)``."""
        found = (self.unit(shape) * np.float32(high - low)).astype("int32")
        return self.xp.minimum(found, high - low - 1) + low

    def happens(self, shape: Shape, probability: tuple[float, float]) -> Any:
        """Booleans, each true with a probability that is itself uniform between two numbers."""
        drawn = self.uniform(shape, *probability)
        return self.unit(shape) < drawn

    def signs(self, shape: Shape) -> Any:
        """1 or -1."""
        return self.xp.where(self.unit(shape) > 0.5, np.float32(-1), np.float32(1))

    def normal(self, shape: Shape) -> Any:
        """Standard normal numbers, by the method of Box and Muller."""
        radius = self.xp.sqrt(-2 * self.xp.log(1 - self.unit(shape)))
        return radius * self.xp.cos(np.float32(2 * math.pi) * self.unit(shape))

    def permutation(self, size: Any) -> Any:
        """The integers below ``size`` in random order."""
        return self.xp.argsort(self.bits((size,)), stable=True).astype("int32")

    def log_gamma(self, shape: Shape, alpha: Any) -> Any:
        """Logarithms of gamma variates, by rejection with a fixed number of candidates.

        Marsaglia and Tsang 2000, https://doi.org/10.1145/358407.358414
        """
        xp = self.xp
        # For alpha + 1, from which a power of a uniform number leads to alpha.
        d = xp.asarray(alpha + 1 - 1 / 3, "float32")
        normal, unit = self.normal((_CANDIDATES, *shape)), self.unit((_CANDIDATES, *shape))
        cube = (1 + normal / xp.sqrt(9 * d)) ** 3
        log_cube = xp.log(xp.where(cube > 0, cube, 1))
        accepted = (cube > 0) & (xp.log(1 - unit) < normal**2 / 2 + d * (1 - cube + log_cube))
        log = xp.zeros(shape, "float32")
        for i in reversed(range(_CANDIDATES)):
            log = xp.where(accepted[i], log_cube[i], log)
        return xp.log(d) + log + xp.log(1 - self.unit(shape)) / alpha

    def beta(self, shape: Shape, alpha: Any) -> Any:
        """Variates of the symmetric beta distribution with both parameters ``alpha``."""
        return 1 / (1 + self.xp.exp(self.log_gamma(shape, alpha) - self.log_gamma(shape, alpha)))

    def dirichlet(self, size: int, alpha: float) -> Any:
        """Weights with sum 1, of the symmetric Dirichlet distribution."""
        logs = self.log_gamma((size,), alpha)
        weights = self.xp.exp(logs - logs.max())
        return weights / weights.sum()


__all__ = ["Draws", "fold_in", "key_of", "threefry"]
