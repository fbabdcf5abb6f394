"""Text as indices of its words, or as an encoding of these."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from lamina.core import spec
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.arguments import dims_of
from lamina.layers.base import Layer
from lamina.layers.preprocessing.category_encoding import dense, mode
from lamina.layers.preprocessing.host import strings_of
from lamina.layers.preprocessing.vocabularies import VocabularyLayer
from lamina.serialization.fields import field, is_integer, optional, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested

_PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
# For each method of standardization: a table of bytes, and bytes to delete.
_STANDARDIZE: dict[str, tuple[bytes | None, bytes]] = {
    "lower_and_strip_punctuation": (_LOWER, _PUNCTUATION),
    "lower": (_LOWER, b""),
    "strip_punctuation": (None, _PUNCTUATION),
}
_SPLIT = ("whitespace", "character")


def _words(table: bytes | None, delete: bytes, text: bytes) -> list[bytes]:
    return text.translate(table, delete).split()


def _characters(table: bytes | None, delete: bytes, text: bytes) -> list[bytes]:
    return [c.encode() for c in text.translate(table, delete).decode("utf-8", "replace")]


def _whole(table: bytes | None, delete: bytes, text: bytes) -> list[bytes]:
    return [text.translate(table, delete)]


def _choice_or_function(choices: Iterable[str]) -> Any:
    known = list(choices)

    def read(value: Any) -> Any:
        if value is None or callable(value) or (isinstance(value, str) and value in known):
            return value
        raise ArgumentError(f"expected one of {known}, a function or None. Received: {value!r}.")

    return read


def _ngrams(value: Any) -> Any:
    if value is None or is_integer(value):
        return value
    if isinstance(value, (list, tuple)) and value and all(map(is_integer, value)):
        return tuple(int(v) for v in value)
    raise ArgumentError(f"expected an integer, a tuple of integers or None. Received: {value!r}.")


@builtin(stem="string_lookup")
class _SavedLookup(Layer):
    """Stands in for the inner layer in which Keras keeps the vocabulary, and saves it there too."""

    _untracked = Layer._untracked | {"_outer"}

    def __init__(self, outer: VocabularyLayer) -> None:
        super().__init__()
        self._outer, self.built = outer, True

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        self._outer.save_own_variables(store)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Nothing to do: the layer around it has loaded the same."""

    def save_assets(self, dir_path: Any) -> None:
        """Write what the layer around it writes."""
        self._outer.save_assets(dir_path)

    def load_assets(self, dir_path: Any) -> None:
        """Nothing to do: the layer around it has loaded the same."""


@builtin("layers")
class TextVectorization(
    VocabularyLayer,
    positional="max_tokens standardize split ngrams output_mode output_sequence_length "
    "pad_to_max_tokens vocabulary idf_weights sparse ragged encoding name",
):
    """Splits text into tokens, and replaces these by their indices in a vocabulary.

    In a functional model with ``Input((1,), dtype="string")``, the layer runs on the host, ahead of
    the compiled step.

    Args:
        max_tokens: Largest size of the vocabulary, special tokens included.
        standardize: ``"lower_and_strip_punctuation"``, ``"lower"`` or ``"strip_punctuation"`` (of
            ASCII); None; or a function of a NumPy array of strings that returns another one.
        split: ``"whitespace"`` (of ASCII), ``"character"``; None for texts that are tokens, of
            which those along the last axis are a sequence; or a function of a NumPy array of
            strings that returns a list of tokens for each.
        ngrams: ``n`` to add sequences of 2 to ``n`` tokens, joined by spaces, after the single
            ones; a tuple for sequences of exactly these lengths, in its order.
        output_mode: ``"int"``: the index of each token, padded with 0; ``""`` has index 0 and
            unknown tokens have 1. ``"one_hot"``, ``"multi_hot"``, ``"count"``, ``"tf_idf"``: a
            vector for each text, as for :class:`StringLookup`; unknown tokens have index 0.
        output_sequence_length: Number of tokens that texts are padded or cut off to, in mode
            ``"int"``; when None, texts of a batch are padded to the longest.
        pad_to_max_tokens: Whether vectors have ``max_tokens`` entries.
        vocabulary: Tokens, or the path of a text file with one in each line; when None,
            :meth:`adapt` learns it.
        idf_weights: With ``output_mode="tf_idf"``: one weight for each token of ``vocabulary``.
        sparse: Only False: results are dense.
        ragged: Only False: results are padded.
        encoding: Encoding of texts that are given as bytes.

    Inputs have the shape ``(batch,)`` or ``(batch, 1)``; without ``split`` any shape.

    Raises:
        NotBuiltError: A call without a vocabulary.
        ShapeError: Texts along a last axis that is not of size 1.

    >>> layer = TextVectorization(vocabulary=["new", "york"])
    >>> layer(["New York!", "new"]).tolist()
    [[2, 3], [2, 0]]
    >>> layer.adapt(["to be", "or not to be"])
    Traceback (most recent call last):
    ...
    lamina.errors.ArgumentError: ...
    >>> layer = TextVectorization(output_sequence_length=3)
    >>> layer.adapt(["to be", "or not to be"])
    >>> layer.get_vocabulary(), layer(["to be!"]).tolist()
    (['', '[UNK]', 'to', 'be', 'or', 'not'], [[2, 3, 0]])
    """

    num_oov_indices = 1
    mask_token = ""
    oov_token = "[UNK]"  # noqa: S105 - no password
    invert = False

    max_tokens: Any = field(default=None, convert=optional(positive_int))
    standardize: Any = field(
        default="lower_and_strip_punctuation", convert=_choice_or_function(_STANDARDIZE)
    )
    split: Any = field(default="whitespace", convert=_choice_or_function(_SPLIT))
    ngrams: Any = field(default=None, convert=_ngrams)
    output_mode: Any = field(
        default="int", convert=mode("int", "one_hot", "multi_hot", "count", "tf_idf")
    )
    output_sequence_length: Any = field(default=None, convert=optional(positive_int))
    pad_to_max_tokens: Any = field(default=False, convert=bool)
    vocabulary: Any = None
    idf_weights: Any = None
    sparse: Any = field(default=False, convert=dense)
    ragged: Any = field(default=False, convert=dense)
    encoding: Any = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lookup_layer = _SavedLookup(self)
        self._split_text = self._splitter()
        if self.output_sequence_length is not None and self.output_mode != "int":
            raise ArgumentError(
                "TextVectorization(): `output_sequence_length` is used only with "
                f"`output_mode='int'`. Received: {self.output_mode!r}."
            )

    def adapt(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, data: Any, batch_size: int | None = None, steps: int | None = None
    ) -> None:
        """Replace the vocabulary by the tokens of ``data``, as :meth:`StringLookup.adapt` does.

        Args:
            data: Texts, or batches of them.
            batch_size: For programs of Keras. Batches have the size that ``data`` gives them, and
                the vocabulary does not depend on it.
            steps: Number of batches to read; all when None.

        Raises:
            ArgumentError: The layer was given a ``vocabulary``.
            DataError: There are no batches, or no tokens in them.
        """
        super().adapt(data, steps)

    @property
    def only_input(self) -> dict[str, Any] | None:
        """One text for each sample, if these are split into tokens of a known vocabulary."""
        ready = self.split is not None and self.get_vocabulary(False)
        return {"shape": (1,), "dtype": "string"} if ready else None

    def _vocabulary_changed(self) -> None:
        super()._vocabulary_changed()
        # Empty tokens are the mask token: they have index 0, or count nowhere.
        masked = {b"": 0 if self.output_mode == "int" else -1}
        self._index = {t.encode(): i for t, i in self._index.items()} | masked

    # ---- text to tokens ------------------------------------------------------------------------

    def _splitter(self) -> Callable[[bytes], list[bytes]]:
        """The tokens of one text, as far as bytes suffice for it."""
        table, delete = self._bytes_to_change()
        if self.split == "whitespace":
            if table is None and not delete:
                return bytes.split
            return functools.partial(_words, table, delete)
        if self.split == "character":
            return functools.partial(_characters, table, delete)
        return functools.partial(_whole, table, delete)

    def _bytes_to_change(self) -> tuple[bytes | None, bytes]:
        name = self.standardize
        return _STANDARDIZE[name] if isinstance(name, str) else (None, b"")

    def _tokens_of(self, texts: np.ndarray) -> Iterator[list[bytes]]:
        """The tokens of each text, or without ``split`` the texts along the last axis, as rows.

        They are made one after the other: few objects are fast.
        """
        values: Any = texts.ravel().tolist()
        if self.encoding.lower().replace("-", "") != "utf8" or callable(self.standardize):
            values = [v.decode(self.encoding) if isinstance(v, bytes) else v for v in values]
        if callable(self.standardize):
            values = np.asarray(self.standardize(np.array(values, np.str_))).tolist()
        if callable(self.split):
            table, delete = self._bytes_to_change()
            raw = [v.encode() if isinstance(v, str) else v for v in values]
            ready = np.array([v.translate(table, delete).decode() for v in raw], np.str_)
            rows: Any = self.split(ready)
            tokens = ([t if isinstance(t, bytes) else str(t).encode() for t in row] for row in rows)
        else:
            split = self._split_text
            tokens = (split(v.encode() if isinstance(v, str) else v) for v in values)
        if self.split is None:
            whole, size = list(itertools.chain.from_iterable(tokens)), max(1, texts.shape[-1])
            tokens = (whole[i : i + size] for i in range(0, len(whole), size))
        if self.ngrams is None:
            return tokens
        widths = self._widths
        return (
            [b" ".join(row[i : i + n]) for n in widths for i in range(len(row) - n + 1)]
            for row in tokens
        )

    @property
    def _widths(self) -> Sequence[int]:
        return range(1, self.ngrams + 1) if is_integer(self.ngrams) else self.ngrams

    def _texts(self, inputs: Any) -> np.ndarray:
        texts = strings_of(inputs, self)
        if self.split is not None and texts.ndim > 1:
            if texts.shape[-1] != 1:
                raise ShapeError(
                    f"Layer {self.name!r} (TextVectorization) splits one text for each sample.",
                    layer=self.name,
                    expected="shape (batch,) or (batch, 1)",
                    received=texts.shape,
                )
            texts = texts[..., 0]
        return texts

    def documents(self, data: Any) -> Iterable[Sequence[Any]]:
        texts = self._texts(data)
        if self.split is None and texts.ndim > 2:
            return (list(itertools.chain.from_iterable(self._tokens_of(t))) for t in texts)
        return self._tokens_of(texts[..., None] if texts.ndim < 2 else texts)

    def _decoded(self, token: Any) -> Any:
        return token.decode("utf-8", "replace")

    # ---- tokens to numbers ---------------------------------------------------------------------

    def numbers(self, inputs: Any) -> np.ndarray:
        self._need_vocabulary()
        texts = self._texts(inputs)
        lengths: list[int] = []

        def rows() -> Iterator[list[bytes]]:
            for row in self._tokens_of(texts if texts.ndim else texts[None]):
                lengths.append(len(row))
                yield row

        tokens = itertools.chain.from_iterable(rows())
        unknown = itertools.repeat(self._first_oov)
        found = np.fromiter(map(self._index.get, tokens, unknown), np.int32)
        padding = 0 if self.output_mode == "int" else -1
        length = self.output_sequence_length
        if self.split is None and self.ngrams is None and length is None:
            return found.reshape(texts.shape)
        if length is None:
            length = max(lengths, default=0)
        sizes = np.array(lengths, np.intp)[:, None]
        places = (sizes.cumsum()[:, None] - sizes) + np.arange(length)
        used = np.arange(length) < sizes
        result = np.full(used.shape, padding, np.int32)
        result[used] = found[places[used]]
        return result.reshape(*(texts.shape if self.split else texts.shape[:-1]), length)

    def dims(self, inputs: Any) -> tuple[Any, ...]:
        dims = dims_of(nested.flatten(inputs)[0])
        length = self.output_sequence_length
        if self.split is None:
            if self.ngrams is None and length is None:
                return dims
            if length is None and isinstance(dims[-1], int):
                length = sum(max(0, dims[-1] - n + 1) for n in self._widths)
        batch = dims[:-1] if len(dims) > 1 or self.split is None else dims
        return (*batch, spec.anonymous() if length is None else length)


__all__ = ["TextVectorization"]
