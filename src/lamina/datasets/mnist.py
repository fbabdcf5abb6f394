"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges, 1998)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data, read_idx_folder, read_npz
from lamina.datasets._sources import MNIST, own_copy


def load_data(path: str | os.PathLike[str] = "mnist.npz") -> Data:
    """Load 60,000 training images and 10,000 test images of 28x28 grayscale pixels, in ten classes.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy: a ``.npz`` file with ``x_train``,
            ``y_train``, ``x_test`` and ``y_test``, or a folder with the four original files
            ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
            ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images from 0 to 255 of shape
        ``(n, 28, 28)`` and uint8 digits from 0 to 9 of shape ``(n,)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not MNIST.
        UnsafeFileError: If the file contains Python objects.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.mnist.load_data()

    License of the data: CC BY-SA 3.0.
    """
    own = own_copy(path)
    if own is not None and own.is_dir():
        return read_idx_folder(own)
    return read_npz(own or MNIST.fetch(path))
