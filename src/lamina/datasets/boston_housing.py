"""Boston housing: prices in 506 towns of the 1970s (Harrison and Rubinfeld, 1978)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data
from lamina.datasets._sources import BOSTON_HOUSING
from lamina.datasets._tables import load_table


def load_data(
    path: str | os.PathLike[str] = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> Data:
    """Load 13 figures for each town, and the median price of its houses in thousands of dollars.

    One of the figures was made on the assumption that segregation by race raises prices, so this
    data set is for comparisons with older results only;
    :mod:`lamina.datasets.california_housing` has a small version to use in its place.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded when
            it is not there. A path with a folder in it is a local copy of ``boston_housing.npz``.
        test_split: The fraction of the samples to test with.
        seed: Of the order of the samples.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: float64 of the shapes ``(n, 13)`` and ``(n,)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist, or ``test_split`` is no
            fraction.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not this data set.
        UnsafeFileError: If the file holds Python objects.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.boston_housing.load_data()
    """
    return load_table(path, BOSTON_HOUSING, 13, None, test_split, seed)
