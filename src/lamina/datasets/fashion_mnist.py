"""Fashion-MNIST: 70,000 images of clothes (Xiao, Rasul and Vollgraf, arXiv:1708.07747)."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.datasets._formats import Data, read_idx_folder
from lamina.datasets._sources import FASHION_MNIST, own_copy


def load_data(path: str | os.PathLike[str] = "fashion-mnist") -> Data:
    """Load 60,000 training images and 10,000 test images of 28x28 grayscale pixels, in ten classes.

    The classes are 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt,
    7 sneaker, 8 bag and 9 ankle boot.

    Args:
        path: A bare name is the folder's name in the cache (``~/.lamina/datasets``), to which the
            four files are downloaded if necessary. A path with a folder is a local copy of them: a
            folder with ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
            ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images from 0 to 255 of shape
        ``(n, 28, 28)`` and uint8 classes of shape ``(n,)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If a file is not cached and cannot be downloaded.
        CorruptFileError: If a file is damaged or is not Fashion-MNIST.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.fashion_mnist.load_data()

    License of the data: MIT.
    """
    own = own_copy(path)
    if own is None:
        files = [source.fetch(Path(path, source.name)) for source in FASHION_MNIST]
        own = files[0].parent
    return read_idx_folder(own)
