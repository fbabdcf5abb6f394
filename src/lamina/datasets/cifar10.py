"""CIFAR-10: 60,000 small color images in ten classes (Krizhevsky, 2009)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data, read_cifar
from lamina.datasets._sources import CIFAR10, own_copy

_FOLDER = "cifar-10-batches-py"


def load_data(path: str | os.PathLike[str] = "cifar-10-python.tar.gz") -> Data:
    """Load 50,000 training images and 10,000 test images of 32x32 RGB pixels.

    The classes are 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship
    and 9 truck. The archive is read in memory: nothing is extracted and nothing is unpickled.

    Args:
        path: A bare name is the archive's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``cifar-10-python.tar.gz``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images from 0 to 255 of shape
        ``(n, 32, 32, 3)``, or ``(n, 3, 32, 32)`` when the default layout is ``"channels_first"``,
        and uint8 classes of shape ``(n, 1)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the archive is not cached and cannot be downloaded.
        CorruptFileError: If the archive is damaged or is not CIFAR-10.
        UnsafeFileError: If the archive contains more than arrays.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.cifar10.load_data()
    """
    return read_cifar(
        own_copy(path) or CIFAR10.fetch(path),
        train=[f"{_FOLDER}/data_batch_{number}" for number in range(1, 6)],
        test=[f"{_FOLDER}/test_batch"],
        labels="labels",
    )
