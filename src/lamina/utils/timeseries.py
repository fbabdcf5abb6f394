"""Windows of a time series, as a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.boundary import public
from lamina.errors import ArgumentError
from lamina.training.data.chain import SlidingWindows
from lamina.training.data.dataset import Dataset, drawn_seed
from lamina.training.data.passes import whole_number
from lamina.utils.folders import check_format


@public
def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Any:
    """Windows of consecutive time steps.

    Window ``i`` has the time steps ``i * sequence_stride + [0, sampling_rate, ...]`` of ``data``,
    and the target at its first one. To predict the step after the window, pass
    ``targets=data[sequence_length:]``.

    Args:
        data: Array whose first axis is time.
        targets: Array whose entry ``i`` belongs to the window that begins at time step ``i``; None
            for windows alone. Windows without a target are left out.
        sequence_length: Time steps in a window.
        sequence_stride: Time steps between the beginnings of windows.
        sampling_rate: Time steps between those of a window.
        batch_size: Windows in a batch; None for single windows.
        shuffle: Whether to shuffle the windows in each epoch.
        seed: Seed of the order; drawn from NumPy's global generator when None.
        start_index: The first time step to use; 0 when None.
        end_index: The time step after the last one to use; all when None.
        format: For compatibility with Keras; both ``"tf"`` and ``"grain"`` give the same.

    Returns:
        A :class:`lamina.utils.Dataset` of ``(windows, targets)``, or of windows.

    Raises:
        ArgumentError: Sizes that leave no window.

    >>> import numpy as np
    >>> series = np.arange(8)
    >>> windows = timeseries_dataset_from_array(series, series[3:], sequence_length=3)
    >>> for x, y in windows:
    ...     print(x[:2].tolist(), y.tolist())
    [[0, 1, 2], [1, 2, 3]] [3, 4, 5, 6, 7]
    """
    check_format(format)
    for name, value in (
        ("sequence_length", sequence_length), ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
    ):  # fmt: skip
        whole_number(value, name)
    data = np.asarray(data)
    targets = None if targets is None else np.asarray(targets)
    start = start_index or 0
    end = len(data) if end_index is None else end_index
    if not 0 <= start < end <= len(data):
        raise ArgumentError(
            f"`start_index` and `end_index` are a range of the {len(data)} time steps. "
            f"Received: {start_index} and {end_index}."
        )
    count = end - start - (sequence_length - 1) * sampling_rate
    if targets is not None:
        count = min(count, len(targets))
    if count <= 0:
        raise ArgumentError(
            f"No window fits: {sequence_length} steps, {sampling_rate} apart, span "
            f"{(sequence_length - 1) * sampling_rate + 1} of {end - start} time steps"
            + ("." if targets is None else f", for {len(targets)} targets.")
        )
    starts = np.arange(0, count, sequence_stride)
    if shuffle:
        seed = drawn_seed() if seed is None else seed
        np.random.RandomState(seed).shuffle(starts)
    offsets = np.arange(sequence_length) * sampling_rate
    of_range = None if targets is None else targets[start:end]
    dataset = Dataset(SlidingWindows(data[start:end], of_range, starts, offsets))
    if shuffle:
        dataset = dataset.shuffle(seed=seed)
    return dataset if batch_size is None else dataset.batch(batch_size)


__all__ = ["timeseries_dataset_from_array"]
