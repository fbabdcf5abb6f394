"""Samples that a compiled loop reads in place, in any order, from the host's memory.

Where there are more samples than a block holds, copying them into blocks takes a tenth of a small
model's time (784-64-64-10, 48,000 samples), and the blocks take memory.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.runtime import xla
from lamina.tree import nested


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class _Samples:
    """The samples of one array, whose memory need not begin where XLA could read it.

    Attributes:
        first: The first sample.
        last: The last sample.
        entries: The entries of all samples in one row, from an address that XLA can read, so many
            that their number does not depend on the address.
        skipped: Number of entries before these; they and those left out at the end are no more than
            the first and the last sample have.
    """

    first: Any
    last: Any
    entries: Any
    skipped: Any

    def take(self, index: jax.Array) -> jax.Array:
        """Samples by their numbers."""
        size = math.prod(self.first.shape)
        starts = index * size - self.skipped

        def one(start: jax.Array) -> jax.Array:  # where it is outside, the nearest one inside
            return lax.dynamic_slice(self.entries, (start,), (size,), allow_negative_indices=False)

        found = jax.vmap(one)(starts)
        starts = starts[:, None]
        found = jnp.where(starts < 0, jnp.ravel(self.first), found)
        found = jnp.where(starts > self.entries.size - size, jnp.ravel(self.last), found)
        return jnp.reshape(found, (*index.shape, *self.first.shape))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class InPlace:
    """Batches of samples in a given order; stands in a compiled loop for a block of data.

    Attributes:
        order: Numbers of the samples, batch after batch.
        samples: The data, in its structure.
    """

    order: Any
    samples: Any

    def batch(self, i: Any, size: int) -> Any:
        """Batch ``i``."""
        index = lax.dynamic_slice_in_dim(self.order, i * size, size)
        return jax.tree.map(
            lambda s: s.take(index), self.samples, is_leaf=lambda s: isinstance(s, _Samples)
        )


def samples_in_place(data: Any, most_bytes: int) -> Any:
    """The samples of arrays for :class:`InPlace`; None where they cannot stay where they are.

    Args:
        data: NumPy or JAX arrays, or None, in any nesting.
        most_bytes: Arrays whose samples are too small to be read in place are copied up to this.
    """
    found = nested.map_structure(lambda a: None if a is None else _samples(a, most_bytes), data)
    whole = all(
        (a is None) == (s is None)
        for a, s in zip(nested.flatten(data), nested.flatten(found), strict=True)
    )
    return found if whole else None


def _samples(array: Any, most_bytes: int) -> _Samples | None:
    array = np.asarray(array)
    if array.size >= 2**31 or not (array.flags.c_contiguous and array.flags.aligned):
        return None
    skipped, left_out = xla.misaligned(array) // array.itemsize, xla.ALIGNMENT // array.itemsize
    if array[0].size < left_out:
        if array.nbytes > most_bytes:
            return None
        copy = xla.empty(array.shape, array.dtype)
        copy[:] = array
        array, skipped, left_out = copy, 0, 0
    entries = array.reshape(-1)[skipped : skipped + array.size - left_out]
    return _Samples(array[0], array[-1], entries, np.int32(skipped))
