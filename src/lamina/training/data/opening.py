"""What the user has passed as data, recognized and opened."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lamina import settings
from lamina.errors import ArgumentError, DataError
from lamina.execution.batches import Batch
from lamina.training.data.arrays import Rows, arrays_of, holds_arrays
from lamina.training.data.batches import Weigh, common_length, describe, map_arrays, separate
from lamina.training.data.joined import JoinedData, own_arrays
from lamina.training.data.passes import Pass, prepare_of
from lamina.training.data.samples import ArrayData
from lamina.training.data.sources import source_of
from lamina.training.data.stream import StreamData


def open_data(data: Batch, over: Pass) -> ArrayData | StreamData:
    """The data that ``fit``, ``evaluate`` or ``predict`` was given.

    Args:
        data: ``x``, ``y`` and ``sample_weight``, as the user gave them.
        over: What is asked of it.

    Raises:
        DataError: Nothing, or a kind of object that holds no batches.
        ArgumentError: ``y`` or ``sample_weight`` beside a stream, whose batches carry them.
    """
    x, y, sample_weight = data
    if x is None:
        raise DataError("There is no data. Received x=None; pass arrays or an iterable of batches.")
    if holds_arrays(x) or isinstance(x, (str, bytes)):
        arrays = ArrayData(separate(data, over), over)
        if not over.joined:
            return arrays
        # What is prepared by the arrays is not prepared again.
        return JoinedData(own_arrays(arrays), dataclasses.replace(over, prepare=None))
    if y is not None or sample_weight is not None:
        raise ArgumentError(
            "`y` and `sample_weight` come with `x` only when `x` is arrays. An iterable yields "
            "tuples (x, y) or (x, y, sample_weight) instead."
        )
    return (JoinedData if over.joined else StreamData)(source_of(x, over), over)


def limited(data: ArrayData | StreamData) -> ArrayData | StreamData:
    """The data in passes of no more steps than ``lamina.config.max_steps_per_epoch()`` allows."""
    most = settings.max_steps_per_epoch()
    if most is not None and (data.steps is None or data.steps > most):
        data.limit(most)
    return data


def one_batch(x: Any, y: Any, sample_weight: Any, model: Any, weigh: Weigh | None = None) -> Batch:
    """The single batch of ``train_on_batch`` and its like."""
    prepare = prepare_of(model)
    raw = prepare is not None
    batch: Batch = (arrays_of(x, raw), arrays_of(y), arrays_of(sample_weight))
    if weigh is None and not raw and type(batch[0]) is np.ndarray and batch[0].size:
        same = batch[0].shape[:1]
        if same and all(a is None or (type(a) is np.ndarray and a.shape[:1] == same)
                        for a in batch[1:]):  # fmt: skip
            return batch  # the common case, without what the others need
    if common_length(batch) == 0:
        raise DataError(f"There are no samples: {describe(batch)}.")
    batch = map_arrays(lambda a: a[:] if isinstance(a, Rows) else a, batch)
    if weigh is not None:
        batch = (*batch[:2], weigh(*batch[1:]))
    return batch if prepare is None else (prepare(batch[0]), *batch[1:])


__all__ = ["limited", "one_batch", "open_data"]
