"""Batches that are joined from the batches of several processes, each with its own data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina.execution.batches import Batch
from lamina.runtime import processes
from lamina.training.data.batches import common_length, map_arrays
from lamina.training.data.samples import ArrayData
from lamina.training.data.sources import Source
from lamina.training.data.stream import StreamData


class JoinedData(StreamData):
    """Batches of which each process gives a part, from data of its own.

    A batch consists of the next batch of process 0, of process 1, and so on. Processes may have
    different numbers of samples: a pass ends when the data of all of them has ended, and a process
    whose data ends earlier gives no more samples.

    Args:
        source: Gives the batches of this process.
        over: The settings of the pass.
    """

    def get_state(self) -> dict[str, Any]:
        state = super().get_state()
        # Another number of processes would not have the same data.
        return {**state, "data": {**state["data"], "processes": processes.count()}}

    def batches(self) -> Iterator[Batch]:
        """The joined batches of one pass."""
        own, last = super().batches(), self.peek()
        while True:
            batch = next(own, None)
            # Its structure and types are needed, without samples.
            last = map_arrays(lambda a: np.asarray(a)[:0], last) if batch is None else batch
            counts = processes.gather(
                np.asarray(0 if batch is None else common_length(batch), np.int32)
            )
            if not counts.any():
                return
            yield map_arrays(lambda a, n=counts: _joined(np.asarray(a), n), last)


def own_arrays(data: ArrayData) -> Source:
    """The batches of arrays, as a source."""
    return Source(data.batches, data.steps)


def _joined(array: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rows of all processes in order, padded for the transfer only."""
    padded = np.zeros((int(counts.max()), *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    parts = processes.gather(padded)
    return np.concatenate([part[:n] for part, n in zip(parts, counts, strict=True)])
