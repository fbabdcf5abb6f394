"""IMDB: 50,000 movie reviews, half of them positive (Maas et al., ACL 2011)."""

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
    """Load 25,000 training reviews and 25,000 test reviews as lists of word numbers.

    The number of a word is its rank (1 is the most frequent word of the training data) plus
    ``index_from``. By default 0 is padding, 1 the start of a review, and 2 an omitted word.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``imdb.npz``.
        num_words: Words with this number or above are replaced by ``oov_char``; None keeps all
            words except that with the highest number.
        skip_top: Words with a number below this are replaced too.
        maxlen: Only reviews with fewer entries, including the start marker, are kept; None keeps
            all.
        seed: Seed of the shuffling.
        start_char: The start marker of each review; None for no marker.
        oov_char: The number of omitted words; None removes them.
        index_from: Offset that is added to ranks; None for 0.

    Returns: ``(x_train, y_train), (x_test, y_test)``: object arrays of shape ``(n,)`` of lists of
    int, and labels of shape ``(n,)``: 1 for positive, 0 for negative.
    :func:`lamina.utils.pad_sequences` converts the lists to one array.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist, or ``maxlen`` leaves no
            review.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not IMDB.
        UnsafeFileError: If the file contains objects other than lists of integers.

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
                f"{file} does not contain IMDB: expected a label for each of {len(x)} reviews, "
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
        path: A bare name is the file's name in the cache, downloaded if necessary. A path with a
            folder is a local copy of ``imdb_word_index.json``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged.

    Example::

        words = {rank + 3: word for word, rank in lamina.datasets.imdb.get_word_index().items()}
        text = " ".join(words.get(number, "?") for number in x_train[0])
    """
    return read_words(path, IMDB_WORDS)
