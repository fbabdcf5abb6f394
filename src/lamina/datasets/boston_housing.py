"""Boston housing: prices in 506 towns of the 1970s (Harrison and Rubinfeld, 1978)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data
from lamina.datasets._sources import BOSTON_HOUSING
from lamina.datasets._tables import load_table


def load_data(
    path: str | os.PathLike[str] = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> Data:
    """Load 13 features of each town, and the median price of its houses in thousands of dollars.

    One of the features is based on the assumption that racial segregation raises prices, so use
    this data set only to compare with older results; the small version of
    :mod:`lamina.datasets.california_housing` can replace it.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``boston_housing.npz``.
        test_split: Fraction of the samples for testing.
        seed: Seed of the shuffling.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: float64 arrays of shapes ``(n, 13)`` and ``(n,)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist, or ``test_split`` is not in
            ``[0, 1)``.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not this data set.
        UnsafeFileError: If the file contains Python objects.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.boston_housing.load_data()
    """
    return load_table(path, BOSTON_HOUSING, 13, None, test_split, seed)
