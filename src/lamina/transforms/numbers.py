"""Numbers that are scaled, normalized or divided into bins, over NumPy or ``jax.numpy``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.errors import StructureError
from lamina.transforms.base import Transform, cast


class Values(Transform):
    """Base of the transforms of a single array, which are the same in training and inference."""

    def values(self, xp: Any, x: Any) -> Any:
        """The result for an array."""
        raise NotImplementedError

    def apply(self, xp: Any, data: Any, draws: Any, training: bool) -> Any:
        if isinstance(data, Mapping):
            raise StructureError(
                f"{self.name} expects one array. Received a dict with {list(data)}.",
                cure="Apply it to one entry.",
            )
        return self.values(xp, xp.asarray(data))


class Rescale(Values):
    """``x * scale + offset``."""

    scale: Any
    offset: Any

    def values(self, xp: Any, x: Any) -> Any:
        x = cast(xp, x, self.dtype)
        return x * xp.asarray(self.scale, x.dtype) + xp.asarray(self.offset, x.dtype)


class Normalize(Values):
    """``(x - mean) / deviation``, or the inverse; both broadcast to the array."""

    mean: Any
    deviation: Any
    invert: bool

    def values(self, xp: Any, x: Any) -> Any:
        x = x if str(x.dtype) == "float64" else x.astype("float32")
        mean, deviation = (xp.asarray(v, x.dtype) for v in (self.mean, self.deviation))
        y = x * deviation + mean if self.invert else (x - mean) / deviation
        return cast(xp, y, self.dtype)


def deviation(xp: Any, variance: Any, smallest: float) -> Any:
    """The standard deviation to divide by: 1 for constant features, which are only centered."""
    return xp.where(variance == 0, 1, xp.maximum(xp.sqrt(variance), smallest))


class Discretize(Values):
    """The number of the bin, or an encoding of it."""

    bin_boundaries: list[float]
    output_mode: str

    def values(self, xp: Any, x: Any) -> Any:
        bins = xp.asarray(self.bin_boundaries, "float32")
        found = xp.searchsorted(bins, x.astype("float32"), side="right").astype("int32")
        dtype = "int32" if self.output_mode == "int" else self.dtype
        return encode(xp, found, len(self.bin_boundaries) + 1, self.output_mode, dtype)


def counts(xp: Any, values: Any, size: int, weights: Any = None) -> Any:
    """How often each integer below ``size`` occurs along the last axis; others are left out.

    Args:
        xp: The array module.
        values: Integers ``(..., n)``.
        size: Length of the new last axis.
        weights: How much each of them counts, in the dtype of the result; 1 when None.
    """
    rows = values.reshape(math.prod(values.shape[:-1]), values.shape[-1])
    one = xp.ones((), "int32") if weights is None else weights.reshape(rows.shape)
    n = rows.shape[0]
    if xp is np:
        rows = np.where((rows < 0) | (rows >= size), size, rows)
        places = rows + (np.arange(n) * (size + 1))[:, None]
        given = None if weights is None else one.ravel()
        found = np.bincount(places.ravel(), given, n * (size + 1)).reshape(n, size + 1)[:, :size]
        found = found.astype(one.dtype)
    else:
        rows = xp.where(rows < 0, size, rows)  # JAX counts negative indices from the end
        found = xp.zeros((n, size), one.dtype)
        found = found.at[xp.arange(n)[:, None], rows].add(one, mode="drop")
    return found.reshape(*values.shape[:-1], size)


def encode(xp: Any, indices: Any, size: int, mode: str, dtype: str, weights: Any = None) -> Any:
    """Encode class indices; those outside ``[0, size)`` count nowhere.

    With three or more axes, Keras's numbers are those along the second axis, in a shape that its
    documentation contradicts; here they are those along the last axis, as it says.

    Args:
        xp: The array module.
        indices: Integers ``(..., n)`` or ``()``.
        size: Number of classes.
        mode: ``"int"`` for the indices themselves; ``"one_hot"`` for shape ``(..., n, size)``, or
            ``(..., size)`` if ``n`` is 1 and not the only axis; ``"multi_hot"`` or ``"count"`` for
            shape ``(..., size)``.
        dtype: Dtype of the result.
        weights: What each index counts, for ``"count"``.
    """
    if mode == "int":
        return cast(xp, indices, dtype)
    if indices.ndim == 0:
        indices = indices[None]
    if mode == "one_hot":
        if indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        return cast(xp, indices[..., None] == xp.arange(size), dtype)
    found = counts(xp, indices, size, weights)
    return cast(xp, found > 0 if mode == "multi_hot" else found, dtype)


# ---- what data is summarized by ------------------------------------------------------------------


class Moments:
    """Mean and population variance of all but some axes, of arrays one after the other.

    Chan et al. 1983, https://doi.org/10.1080/00031305.1983.10483115

    >>> moments = Moments((0,))
    >>> moments.add(np.ones((2, 3)))
    >>> moments.add(np.full((1, 3), 4.0))
    >>> moments.mean.tolist(), moments.variance.tolist()
    ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    """

    _CHUNK = 2**20  # elements, of which copies are made in double precision

    def __init__(self, axes: tuple[int, ...]) -> None:
        self._axes = axes
        self.count, self.mean, self._squares = 0, np.float64(0), np.float64(0)

    def add(self, x: np.ndarray) -> None:
        """Add an array."""
        rows = x.shape[0] if 0 in self._axes else 1
        step = max(1, self._CHUNK * rows // max(x.size, 1)) if 0 in self._axes else 1
        for start in range(0, rows, step):
            part = x[start : start + step] if 0 in self._axes else x
            part = part.astype("float64")
            count = int(np.prod([part.shape[a] for a in self._axes]))
            if not count:
                continue
            mean = part.mean(self._axes, keepdims=True)
            squares = ((part - mean) ** 2).sum(self._axes)
            mean = mean.squeeze(self._axes)
            total, moved = self.count + count, mean - self.mean
            self._squares = self._squares + squares + moved**2 * self.count * count / total
            self.mean = self.mean + moved * count / total
            self.count = total

    @property
    def variance(self) -> Any:
        """The population variance."""
        return self._squares / max(self.count, 1)


class Quantiles:
    """Approximate quantiles of numbers that arrive in batches: a weighted sample of them.

    Args:
        epsilon: The fraction of all numbers that each number of the sample stands for.
    """

    def __init__(self, epsilon: float) -> None:
        self._epsilon = epsilon
        self._sample = np.zeros((2, 0), "float32")  # increasing numbers, and their weights

    def add(self, x: np.ndarray) -> None:
        """Add a batch of any shape."""
        ordered = np.sort(x.astype("float32"), axis=None)
        step = max(ordered.size * self._epsilon, 1)
        chosen = ordered[int(step - 1) :: int(step)]
        new = np.stack([chosen, np.full_like(chosen, step)])
        both = np.concatenate([new, self._sample], 1)
        self._sample = self._thinned(both[:, np.argsort(both[0])], self._epsilon)

    def boundaries(self, bins: int) -> list[float]:
        """The numbers between bins of about equal weight."""
        return self._thinned(self._sample, 1 / bins)[0, :-1].tolist()

    @staticmethod
    def _thinned(sample: np.ndarray, epsilon: float) -> np.ndarray:
        """A sample with a number for each fraction ``epsilon`` of the weight."""
        numbers, weights = sample
        if numbers.size * epsilon < 1:
            return sample
        reached = weights.cumsum()
        fractions = epsilon + np.arange(0.0, 1.0, epsilon)
        kept, upto = (np.interp(fractions, reached / reached[-1], v) for v in (numbers, reached))
        return np.stack([kept, np.diff(upto, prepend=0)]).astype("float32")


__all__ = [
    "Discretize", "Moments", "Normalize", "Quantiles", "Rescale", "Values", "counts", "deviation",
    "encode",
]  # fmt: skip
