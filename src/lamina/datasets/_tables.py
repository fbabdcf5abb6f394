"""Tabular data sets: a table of features, and a target for each row."""

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
    """Read ``x`` and ``y`` from a ``.npz`` file, shuffle and split them.

    Args:
        path: A name in the cache, or a local copy.
        source: The published file.
        columns: Number of features.
        rows: Number of rows to use; None for all.
        test_split: Fraction of the rows for testing.
        seed: Seed of the shuffling.
    """
    check_split(test_split)
    file = own_copy(path) or source.fetch(path)
    x, y = read_arrays(file, "x", "y")
    if x.shape != (len(y), columns) or y.ndim != 1 or {x.dtype.kind, y.dtype.kind} != {"f"}:
        raise CorruptFileError(
            f"{file} does not contain this data set: expected floats of shape (n, {columns}) and n "
            f"targets, received {x.dtype}{x.shape} and {y.dtype}{y.shape}."
        )
    return split(*shuffled(generator(seed), x[:rows], y[:rows]), test_split)


def check_split(test_split: float) -> None:
    """Raise an error for a fraction outside [0, 1)."""
    if not 0 <= test_split < 1:
        raise ArgumentError(f"`test_split` expects a number in [0, 1). Received: {test_split!r}.")


def generator(seed: int) -> np.random.RandomState:
    """NumPy's legacy generator, for the same order as in other programs with the same seed."""
    return np.random.RandomState(seed)


def shuffled(
    random: np.random.RandomState, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Samples and targets in the same random order."""
    order = np.arange(len(x))
    random.shuffle(order)
    return x[order], y[order]


def split(x: np.ndarray, y: np.ndarray, test_split: float) -> Data:
    """Split into training samples, which come first, and test samples."""
    size = int(len(x) * (1 - test_split))
    return (x[:size], y[:size]), (x[size:], y[size:])
