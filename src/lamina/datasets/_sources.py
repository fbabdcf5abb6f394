"""The published files of the data sets, and local copies of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lamina.errors import ArgumentError
from lamina.utils.files import get_file


@dataclass(frozen=True, slots=True)
class Source:
    """A published file: its URL, its digest in hexadecimal and its size in bytes.

    The digest is SHA-256, or MD5 if the publisher provides no other.
    """

    origin: str
    digest: str
    size: int

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.origin.rpartition("/")[2]

    def fetch(self, path: str | os.PathLike[str]) -> Path:
        """Download the file to ``path`` in the folder ``datasets`` of the cache, and verify it."""
        return Path(get_file(path, self.origin, file_hash=self.digest, max_bytes=self.size))


_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_ZALANDO = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"

MNIST = Source(
    _KERAS + "mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    11_490_434,
)
FASHION_MNIST = (
    Source(
        _ZALANDO + "train-images-idx3-ubyte.gz",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        26_421_880,
    ),
    Source(
        _ZALANDO + "train-labels-idx1-ubyte.gz",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        29_515,
    ),
    Source(
        _ZALANDO + "t10k-images-idx3-ubyte.gz",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        4_422_102,
    ),
    Source(
        _ZALANDO + "t10k-labels-idx1-ubyte.gz",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        5_148,
    ),
)
CIFAR10 = Source(
    _TORONTO + "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    170_498_071,
)
CIFAR100 = Source(
    _TORONTO + "cifar-100-python.tar.gz",
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    169_001_437,
)
IMDB = Source(
    _KERAS + "imdb.npz",
    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    17_464_789,
)
IMDB_WORDS = Source(
    _KERAS + "imdb_word_index.json",
    "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
    1_641_221,
)
REUTERS = Source(
    _KERAS + "reuters.npz",
    "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    2_110_848,
)
REUTERS_WORDS = Source(
    _KERAS + "reuters_word_index.json", "4d44cc38712099c9e383dc6e5f11a921", 550_378
)
BOSTON_HOUSING = Source(
    _KERAS + "boston_housing.npz",
    "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
    57_026,
)
CALIFORNIA_HOUSING = Source(
    _KERAS + "california_housing.npz",
    "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
    743_530,
)


def own_copy(path: str | os.PathLike[str]) -> Path | None:
    """Return the local file or folder that ``path`` names, or None for a name in the cache.

    A bare name (``"mnist.npz"``) is a name in the cache; a path with a folder is a local file,
    which is read without verification: only published files have a digest.

    Raises:
        ArgumentError: If ``path`` has a folder and does not exist.
    """
    own = Path(path).expanduser()
    if str(path) == own.name:
        return None
    if not own.exists():
        raise ArgumentError(
            f"`path` expects a bare name in the cache, or a file that exists. Received: "
            f"{str(path)!r}, which does not exist."
        )
    return own
