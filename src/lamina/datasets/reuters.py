"""Reuters: 11,228 short newswires of 1987 in 46 topics (from the collection Reuters-21578)."""

from __future__ import annotations

import os

from lamina.datasets._formats import Data, read_arrays
from lamina.datasets._sources import REUTERS, REUTERS_WORDS, own_copy
from lamina.datasets._tables import check_split, generator, shuffled, split
from lamina.datasets._texts import Vocabulary, as_objects, read_words
from lamina.errors import CorruptFileError

_TOPICS = (
    "cocoa", "grain", "veg-oil", "earn", "acq", "wheat", "copper", "housing", "money-supply",
    "coffee", "sugar", "trade", "reserves", "ship", "cotton", "carcass", "crude", "nat-gas", "cpi",
    "money-fx", "interest", "gnp", "meal-feed", "alum", "oilseed", "gold", "tin",
    "strategic-metal", "livestock", "retail", "ipi", "iron-steel", "rubber", "heat", "jobs", "lei",
    "bop", "zinc", "orange", "pet-chem", "dlr", "gas", "silver", "wpi", "hog", "lead",
)  # fmt: skip


def load_data(
    path: str | os.PathLike[str] = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> Data:
    """Load the texts as lists of word numbers, and their topics.

    The number of a word is its rank (1 is the most frequent one) plus ``index_from``. By default 0
    is padding, 1 the start of a text, and 2 an omitted word.

    Args:
        path: A bare name is the file's name in the cache (``~/.lamina/datasets``), downloaded if
            necessary. A path with a folder is a local copy of ``reuters.npz``.
        num_words: Words with this number or above are replaced by ``oov_char``; None keeps all
            words except that with the highest number.
        skip_top: Words with a number below this are replaced too.
        maxlen: Only texts with fewer entries, including the start marker, are kept; None keeps all.
        test_split: Fraction of the texts for testing.
        seed: Seed of the shuffling.
        start_char: The start marker of each text; None for no marker.
        oov_char: The number of omitted words; None removes them.
        index_from: Offset that is added to ranks; None for 0.

    Returns: ``(x_train, y_train), (x_test, y_test)``: object arrays of shape ``(n,)`` of lists of
    int, and topics from 0 to 45 of shape ``(n,)``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist, ``maxlen`` leaves no text,
            or ``test_split`` is not in ``[0, 1)``.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged or is not Reuters.
        UnsafeFileError: If the file contains objects other than lists of integers.

    Example::

        (x_train, y_train), (x_test, y_test) = lamina.datasets.reuters.load_data(num_words=10_000)
    """
    check_split(test_split)
    vocabulary = Vocabulary(num_words, skip_top, maxlen, start_char, oov_char, index_from)
    file = own_copy(path) or REUTERS.fetch(path)
    x, y = read_arrays(file, "x", "y", texts=("x",))
    if y.shape != x.shape or y.dtype.kind not in "iu":
        raise CorruptFileError(
            f"{file} does not contain Reuters: expected a topic for each of {len(x)} texts, "
            f"received {y.dtype}{y.shape}."
        )
    texts, topics = vocabulary.started(*shuffled(generator(seed), x, y))
    return split(as_objects(vocabulary.selected(texts)), topics, test_split)


def get_word_index(path: str | os.PathLike[str] = "reuters_word_index.json") -> dict[str, int]:
    """The rank of each word; :func:`load_data` adds ``index_from`` to it.

    Args:
        path: A bare name is the file's name in the cache, downloaded if necessary. A path with a
            folder is a local copy of ``reuters_word_index.json``.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If the file is damaged.

    Example::

        words = {rank + 3: word for word, rank in lamina.datasets.reuters.get_word_index().items()}
    """
    return read_words(path, REUTERS_WORDS)


def get_label_names() -> tuple[str, ...]:
    """The names of the 46 topics, in the order of their numbers.

    >>> get_label_names()[:4]
    ('cocoa', 'grain', 'veg-oil', 'earn')
    """
    return _TOPICS
