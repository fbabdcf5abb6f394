"""CIFAR-100: 60,000 small color images in a hundred classes (Krizhevsky, 2009)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data, read_cifar
from lamina.datasets._sources import CIFAR100, own_copy
from lamina.errors import ArgumentError


def load_data(
    label_mode: str = "fine", path: str | os.PathLike[str] = "cifar-100-python.tar.gz"
) -> Data:
    """Load 50,000 training images and 10,000 test images of 32x32 RGB pixels.

    The archive is read in memory: nothing is extracted and nothing is unpickled.

    Args:
        label_mode: ``"fine"`` for the 100 classes, ``"coarse"`` for the 20 superclasses.
        path: A bare name is the archive's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``cifar-100-python.tar.gz``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images from 0 to 255 of shape
        ``(n, 32, 32, 3)``, or ``(n, 3, 32, 32)`` when the default layout is ``"channels_first"``,
        and uint8 classes of shape ``(n, 1)``.

    Raises:
        ArgumentError: If ``label_mode`` is unknown, or ``path`` is a local copy that
            does not exist.
        DownloadError: If the archive is not cached and cannot be downloaded.
        CorruptFileError: If the archive is damaged or is not CIFAR-100.
        UnsafeFileError: If the archive contains more than arrays.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.cifar100.load_data("coarse")
    """
    if label_mode not in ("fine", "coarse"):
        raise ArgumentError(f"`label_mode` expects 'fine' or 'coarse'. Received: {label_mode!r}.")
    return read_cifar(
        own_copy(path) or CIFAR100.fetch(path),
        train=["cifar-100-python/train"],
        test=["cifar-100-python/test"],
        labels=f"{label_mode}_labels",
    )
