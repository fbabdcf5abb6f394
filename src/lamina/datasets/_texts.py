"""Text data sets: encoding of words as numbers, and selection of words."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamina.datasets._sources import Source, own_copy
from lamina.errors import ArgumentError, CorruptFileError
from lamina.utils._archive import reading

Texts = list[list[int]]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The encoding of texts: the arguments that all functions ``load_data`` have.

    Raises:
        ArgumentError: A number out of range.
    """

    num_words: int | None
    skip_top: int
    maxlen: int | None
    start_char: int | None
    oov_char: int | None
    index_from: int | None

    def __post_init__(self) -> None:
        for name, smallest in (("num_words", 1), ("maxlen", 1), ("skip_top", 0)):
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, (int, np.integer)) and value >= smallest
            ):
                raise ArgumentError(
                    f"`{name}` expects an integer >= {smallest}. Received: {value!r}."
                )

    def started(self, texts: np.ndarray, labels: np.ndarray) -> tuple[Texts, np.ndarray]:
        """Add the start marker, shift the word numbers, and remove texts that are too long.

        Raises:
            ArgumentError: If all texts are too long.
        """
        start = [] if self.start_char is None else [self.start_char]
        shift = self.index_from or 0
        encoded = [start + [word + shift for word in text] for text in texts]
        if self.maxlen is None:
            return encoded, labels
        kept = [number for number, text in enumerate(encoded) if len(text) < self.maxlen]
        if not kept:
            shortest = min(map(len, encoded), default=0)
            raise ArgumentError(
                f"`maxlen={self.maxlen}` leaves no text, since only shorter ones are kept. The "
                f"shortest has {shortest} entries. Raise `maxlen`."
            )
        return [encoded[number] for number in kept], labels[kept]

    def selected(self, texts: Texts) -> Texts:
        """Replace or remove the words that are too rare or too frequent."""
        stop = self.num_words
        if stop is None:
            stop = max((max(text) for text in texts if text), default=0)
        start, other = self.skip_top, self.oov_char
        if other is None:
            return [[word for word in text if start <= word < stop] for text in texts]
        return [[word if start <= word < stop else other for word in text] for text in texts]


def as_objects(texts: Texts) -> np.ndarray:
    """An object array of lists of any length."""
    return np.fromiter(texts, dtype=object, count=len(texts))


def read_words(path: str | os.PathLike[str], source: Source) -> dict[str, int]:
    """Read the JSON file with the number of each word.

    Raises:
        ArgumentError: If ``path`` is a local copy that does not exist.
        DownloadError: If the file is not cached and cannot be downloaded.
        CorruptFileError: If it is not a dict of words and numbers.
    """
    file = Path(own_copy(path) or source.fetch(path))
    content = file.read_bytes()
    with reading(file):
        words = json.loads(content)
    if not isinstance(words, dict) or not all(type(number) is int for number in words.values()):
        raise CorruptFileError(f"{file} is not a word index: expected a dict of numbers.")
    return words
