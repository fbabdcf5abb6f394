"""California housing: prices in 20,640 districts in 1990 (Pace and Barry, 1997)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data
from lamina.datasets._sources import CALIFORNIA_HOUSING
from lamina.datasets._tables import load_table
from lamina.errors import ArgumentError

_SIZES = {"large": None, "small": 600}


def load_data(
    version: str = "large",
    path: str | os.PathLike[str] = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Data:
    """Load 8 features of each district, and the median price of its houses in dollars.

    The features: median income, median age of the houses, rooms and bedrooms per household,
    population, people per household, latitude, longitude.

    Args:
        version: ``"large"`` for all districts, ``"small"`` for the first 600 of the file.
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``california_housing.npz``.
        test_split: Fraction of the samples for testing.
        seed: Seed of the shuffling.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: float arrays of shapes ``(n, 8)`` and ``(n,)``.

    Raises:
        ArgumentError: If ``version`` is unknown, ``path`` is a local copy that does not exist, or
            ``test_split`` is not in ``[0, 1)``.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not this data set.
        UnsafeFileError: If the file contains Python objects.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.california_housing.load_data()
    """
    if version not in _SIZES:
        raise ArgumentError(f"`version` expects 'large' or 'small'. Received: {version!r}.")
    return load_table(path, CALIFORNIA_HOUSING, 8, _SIZES[version], test_split, seed)
