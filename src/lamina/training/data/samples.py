"""Samples in arrays: a pass over them in batches, or in blocks of batches for a compiled loop."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import ArgumentError, DataError
from lamina.execution.batches import Batch
from lamina.runtime import xla
from lamina.training.data.arrays import Rows, arrays_of
from lamina.training.data.batches import Weigh, common_length, describe, map_arrays
from lamina.training.data.inplace import samples_in_place
from lamina.training.data.passes import Pass
from lamina.training.data.sources import Source, rows_source
from lamina.training.data.stream import ahead
from lamina.tree import nested

# Data up to this many bytes goes to a GPU or TPU once, whole.
_RESIDENT_BYTES = 2 * 2**30
# The batches of one dispatch: small enough to be made while the one before is computed with.
_BLOCK_BYTES = 16 * 2**20
MOST_STEPS = 1024


class ArrayData:
    """Samples in arrays.

    Args:
        data: Inputs, targets and sample weights, each in any nesting or None.
        over: Batch size, order and steps.

    Attributes:
        taken: Number of batches of the pass that a loop over blocks has used; None without one.

    Raises:
        DataError: No samples, or arrays of different length; all are listed.
    """

    def __init__(self, data: Batch, over: Pass) -> None:
        self.over = over
        x, y, sample_weight = data
        raw = over.prepare is not None
        self.batch: Batch = (arrays_of(x, raw), arrays_of(y), arrays_of(sample_weight))
        self.size = common_length(self.batch)
        arrays = [a for a in nested.flatten(self.batch) if a is not None]
        self._nbytes = sum(a.nbytes for a in arrays)
        self._has_rows = any(isinstance(a, Rows) for a in arrays)
        self.batch_size = over.batch_size
        self._source: Source | None = None
        self._running: Any = None
        self._on_device: Any = None
        self.taken: int | None = None
        if self.size == 0:
            raise DataError(f"There are no samples: {describe(self.batch)}.")

    @property
    def steps(self) -> int:
        """Batches in a pass; unless their number was asked for, the last may be smaller."""
        return self.over.steps or -(-self.size // self.batch_size)

    @property
    def in_memory(self) -> bool:
        """Whether passes are over all samples, as they are in memory."""
        return self.over.steps is None and not self._has_rows and self.over.prepare is None

    @property
    def steps_in_block(self) -> int:
        """Batches that go into one dispatch, whatever the number of samples."""
        bytes_of_step = self.batch_size * self._nbytes // self.size
        return max(1, min(MOST_STEPS, _BLOCK_BYTES // max(1, bytes_of_step)))

    @functools.cached_property
    def in_place(self) -> Any:
        """The samples for :class:`InPlace`, where that saves copies; else None."""
        if xla.has_own_memory() or self._has_rows or self._nbytes <= _BLOCK_BYTES:
            return None
        return samples_in_place(self.batch, _BLOCK_BYTES)

    def block(self, rows: np.ndarray | slice, length: int) -> Batch:
        """Samples by their numbers, padded up to ``length`` with arbitrary ones.

        On a GPU or TPU they come from its memory, if the data fits there. Consecutive samples that
        need no others are a view of the data.
        """
        may_move = not (self._has_rows or self.over.distributed) and self.over.prepare is None
        if xla.has_own_memory() and self._on_device is None and may_move:
            self._on_device = jax.device_put(self.batch) if self._nbytes <= _RESIDENT_BYTES else ()
        if self._on_device:
            index = np.arange(self.size)[rows] if isinstance(rows, slice) else rows
            return _taken(self._on_device, np.resize(index, length))
        return map_arrays(lambda a: _copied(a, rows, length), self.batch)

    def take(self, rows: np.ndarray | slice) -> Batch:
        """Samples by their numbers."""
        count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        return self._prepared(self.block(rows, count))

    def _prepared(self, batch: Batch) -> Batch:
        prepare = self.over.prepare
        return batch if prepare is None else (prepare(batch[0]), *batch[1:])

    @property
    def has_blocks(self) -> bool:
        """Whether several batches can go into one dispatch."""
        return self.in_memory and self.steps_in_block > 1

    def blocks(self) -> Iterator[tuple[Batch, int]]:
        """All full batches in the samples' own order, in blocks, with their number in each."""
        size, most = self.batch_size, self.steps_in_block
        full = self.size // size
        for at in range(0, full, most):
            count = min(most, full - at)
            yield self.block(slice(at * size, (at + count) * size), most * size), count

    def rest(self) -> Iterator[Batch]:
        """The last batch, where it is smaller than the others."""
        rest = self.size % self.batch_size
        if rest:
            yield self.block(slice(self.size - rest, self.size), rest)

    def peek(self) -> Batch:
        """The first batch, of samples in their own order."""
        if self.size <= self.batch_size and not self._has_rows:
            return self._prepared(self.batch)
        return self._prepared(map_arrays(lambda a: a[: self.batch_size], self.batch))

    def batches(self) -> Iterator[Batch]:
        """The batches of one pass."""
        # Numbering the rows of a single batch would take as long as a small model's prediction.
        if (
            self.in_memory
            and self._source is None
            and self.steps == 1
            and not self.over.shuffle
            and not xla.has_own_memory()
        ):
            return iter((map_arrays(np.asarray, self.batch),))

        source = self._rows()
        made = source.batches(self.over)
        # What is in memory already is taken in less time than a thread needs to hand it over.
        takes_long = self._has_rows or self.over.prepare is not None
        made = ahead(made) if takes_long and self.steps > 1 else made
        self._running = _used(made, source, self.over)
        return self._running

    def _rows(self) -> Source:
        if self._source is None:
            self._source = rows_source(self.size, self.take, self.over)
        return self._source

    def track(self) -> None:
        """Keep what :meth:`get_state` needs; to be called before the first batch is made."""
        self._rows()

    def get_state(self) -> dict[str, Any]:
        """The position after the batches that were used, as JSON has it."""
        if self.taken is None:
            state = self._rows().get_state(self.over)
        else:
            state = {"taken": self.taken, "position": self.over.position, "iterator": None}
        size = {"samples": self.size, "batch_size": self.batch_size, "steps": self.steps}
        return {**state, "data": size}

    def set_state(self, state: Mapping[str, Any], done: int) -> None:
        """Go to the position that :meth:`get_state` returned, before anything is drawn.

        Args:
            state: What it returned.
            done: Number of batches used in the current pass.
        """
        self._rows().set_state(state, done, again=0)

    def split(self, share: float) -> tuple[ArrayData, Batch]:
        """The first part for training, and the last ``share`` of the samples for validation."""
        if not 0 < share < 1:
            raise ArgumentError(f"`validation_split` is between 0 and 1. Received: {share}.")
        at = int(self.size * (1.0 - share))
        if at == 0 or at == self.size:
            raise DataError(
                f"`validation_split={share}` of {self.size} samples leaves "
                f"{'none to train on' if at == 0 else 'none to validate on'}."
            )

        def part(start: int, stop: int) -> Batch:
            return map_arrays(
                lambda a: a.part(start, stop) if isinstance(a, Rows) else a[start:stop], self.batch
            )

        return ArrayData(part(0, at), self.over), part(at, self.size)

    def weighted(self, weigh: Weigh) -> ArrayData:
        """The same samples, with the sample weights that ``weigh`` makes of targets and weights."""
        x, y, sample_weight = self.batch
        return ArrayData((x, y, weigh(y, sample_weight)), self.over)

    def limit(self, steps: int) -> None:
        """Make passes of that many batches, which are fewer than there are."""
        self.over.steps = steps

    def close(self) -> None:
        """End the thread of a pass that was not finished."""
        if self._running is not None:
            self._running.close()


def _copied(a: Any, rows: np.ndarray | slice, length: int) -> np.ndarray:
    if isinstance(a, Rows):
        return a[rows]
    a = np.asarray(a)
    if (isinstance(rows, slice) and rows.stop - rows.start == length) or a.dtype.kind in "OUST":
        return a[rows]
    copy = xla.empty((length, *a.shape[1:]), a.dtype)
    if isinstance(rows, slice):
        copy[: rows.stop - rows.start] = a[rows]
    else:
        np.take(a, rows, axis=0, out=copy[: len(rows)], mode="clip")
    return copy


@jax.jit
def _taken(data: Any, index: Any) -> Any:
    return jax.tree.map(lambda a: jnp.take(a, index, axis=0), data)


def _used(batches: Any, source: Source, over: Pass) -> Iterator[Batch]:
    """The batches of one pass, counted as they are used."""
    source.begin_pass()
    try:
        for batch in batches:
            source.given += 1
            yield batch
    finally:
        batches.close()
        source.end_pass(over)
