"""What the data sets of numbers share: a table of figures, and a target for each row."""

from __future__ import annotations

import os

import numpy as np

from lamina.datasets._formats import Data, read_arrays
from lamina.datasets._sources import Source, own_copy
from lamina.errors import ArgumentError, CorruptFileError


def load_table(
    path: str | os.PathLike[str],
    source: Source,
    columns: int,
    rows: int | None,
    test_split: float,
    seed: int,
) -> Data:
    """Read ``x`` and ``y`` of a ``.npz`` file, shuffled and cut in two.

    Args:
        path: A name in the cache, or a local copy.
        source: Where the file is published.
        columns: How many figures a row has.
        rows: How many rows to keep; None for all.
        test_split: The fraction of them to test with.
        seed: Of their order.
    """
    check_split(test_split)
    file = own_copy(path) or source.fetch(path)
    x, y = read_arrays(file, "x", "y")
    if x.shape != (len(y), columns) or y.ndim != 1 or {x.dtype.kind, y.dtype.kind} != {"f"}:
        raise CorruptFileError(
            f"{file} does not hold this data set: expected floats of shape (n, {columns}) and n "
            f"targets, received {x.dtype}{x.shape} and {y.dtype}{y.shape}."
        )
    return split(*shuffled(generator(seed), x[:rows], y[:rows]), test_split)


def check_split(test_split: float) -> None:
    """Refuse a fraction outside of [0, 1)."""
    if not 0 <= test_split < 1:
        raise ArgumentError(
            "`test_split` expects a fraction of at least 0 and less than 1. "
            f"Received: {test_split!r}."
        )


def generator(seed: int) -> np.random.RandomState:
    """NumPy's older generator, so that the order is that of every other program with the seed."""
    return np.random.RandomState(seed)


def shuffled(
    random: np.random.RandomState, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Samples and targets in one random order."""
    order = np.arange(len(x))
    random.shuffle(order)
    return x[order], y[order]


def split(x: np.ndarray, y: np.ndarray, test_split: float) -> Data:
    """The first samples to train with, the others to test with."""
    size = int(len(x) * (1 - test_split))
    return (x[:size], y[:size]), (x[size:], y[size:])
