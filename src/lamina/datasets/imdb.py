"""IMDB: 50,000 reviews of films, half of them in favour (Maas et al., ACL 2011)."""

from __future__ import annotations

import os

import numpy as np

from lamina.datasets._formats import Data, read_arrays
from lamina.datasets._sources import IMDB, IMDB_WORDS, own_copy
from lamina.datasets._tables import generator, shuffled
from lamina.datasets._texts import Vocabulary, as_objects, read_words
from lamina.errors import CorruptFileError


def load_data(
    path: str | os.PathLike[str] = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> Data:
    """Load the reviews, 25,000 to train and 25,000 to test, as lists of the numbers of words.

    The number of a word is its rank (1 is the most frequent word of the training data) plus
    ``index_from``. That leaves 0 for padding, 1 for the start of a review and 2 for words left out.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded when
            it is not there. A path with a folder in it is a local copy of ``imdb.npz``.
        num_words: Words of this number and above are replaced by ``oov_char``; None keeps all but
            the one of the highest number.
        skip_top: Words below this number are replaced too.
        maxlen: Only reviews with fewer entries are kept, the start among them; None keeps all.
        seed: Of the order of the reviews.
        start_char: The number that begins each review; None for no such entry.
        oov_char: What stands for words left out; None leaves nothing in their place.
        index_from: What is added to ranks; None for nothing.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of objects of shape ``(n,)``, each a list
        of int, and labels of shape ``(n,)``, 1 for praise and 0 for blame.
        :func:`lamina.utils.pad_sequences` makes one array of the lists.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist, or ``maxlen`` leaves no
            review.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not IMDB.
        UnsafeFileError: If the file holds other objects than lists of integers.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.imdb.load_data(num_words=10_000)
    """
    vocabulary = Vocabulary(num_words, skip_top, maxlen, start_char, oov_char, index_from)
    file = own_copy(path) or IMDB.fetch(path)
    arrays = read_arrays(
        file, "x_train", "y_train", "x_test", "y_test", texts=("x_train", "x_test")
    )
    random = generator(seed)
    halves = []
    for x, y in (arrays[:2], arrays[2:]):
        if y.shape != x.shape or y.dtype.kind not in "iu":
            raise CorruptFileError(
                f"{file} does not hold IMDB: expected a label for each of {len(x)} reviews, "
                f"received {y.dtype}{y.shape}."
            )
        halves.append(vocabulary.started(*shuffled(random, x, y)))
    (train, y_train), (test, y_test) = halves
    chosen = vocabulary.selected(train + test)
    return (
        (as_objects(chosen[: len(train)]), np.asarray(y_train)),
        (as_objects(chosen[len(train) :]), np.asarray(y_test)),
    )


def get_word_index(path: str | os.PathLike[str] = "imdb_word_index.json") -> dict[str, int]:
    """The rank of each of the 88,584 words; :func:`load_data` adds ``index_from`` to it.

    Args:
        path: A bare name is the file's name in the cache, downloaded when it is not there. A path
            with a folder in it is a local copy of ``imdb_word_index.json``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged.

    Example::

        words = {rank + 3: word for word, rank in lamina.datasets.imdb.get_word_index().items()}
        text = " ".join(words.get(number, "?") for number in x_train[0])
    """
    return read_words(path, IMDB_WORDS)
