"""Layers with a vocabulary: learned from data or given, saved as a text file in the archive."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core.tracking import count_change
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    DataError,
    NotBuiltError,
    UnsafeFileError,
)
from lamina.layers.base import Layer
from lamina.layers.preprocessing.adapting import AdaptingLayer
from lamina.layers.preprocessing.host import HostLayer
from lamina.serialization.fields import is_integer
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.transforms.numbers import encode

_FILE, _FULL = "vocabulary.txt", "vocabulary.json"


class _Arguments:
    """Constructor arguments of all subclasses, or constants."""

    max_tokens: Any
    num_oov_indices: Any
    mask_token: Any
    oov_token: Any
    vocabulary: Any
    vocabulary_dtype: Any
    idf_weights: Any
    invert: Any
    output_mode: Any
    pad_to_max_tokens: Any


@builtin()
class VocabularyLayer(_Arguments, HostLayer, AdaptingLayer):
    """Base of layers that give each token of a vocabulary an index.

    Indices begin with that of the mask token (only in mode ``"int"``), then come those of tokens
    that are not in the vocabulary, then the tokens.
    """

    _untracked = Layer._untracked | {
        "vocabulary", "idf_weights", "_tokens", "_index", "_idf", "_counts", "_document_counts",
    }  # fmt: skip

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        # Keras's files have these entries besides the arguments.
        self.__dict__["_given_size"] = extra.pop("vocabulary_size", None)
        extra.pop("has_input_vocabulary", None)
        return super()._accept_extra(extra)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tokens: list[Any] | None = None
        self._index: Mapping[Any, int] = {}
        self._idf: np.ndarray | None = None
        self._given_size: int | None = self.__dict__.get("_given_size")
        self.reset_state()
        given, self.vocabulary = self.vocabulary, None
        if self.max_tokens is not None and self.max_tokens <= 1:
            raise ArgumentError(f"`max_tokens` is at least 2. Received: {self.max_tokens!r}.")
        for name, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token)):
            if token is not None and not self._is_token(token):
                raise ArgumentError(
                    f"{type(self).__name__}(): `{name}` is of the type of the tokens, "
                    f"{self._token_type.__name__}, or None. Received: {token!r}."
                )
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ArgumentError("`pad_to_max_tokens=True` needs `max_tokens`.")
        if self.invert and self.output_mode != "int":
            raise ArgumentError(
                f"`invert=True` gives tokens, so `output_mode` is 'int'. "
                f"Received: {self.output_mode!r}."
            )
        if self.idf_weights is not None and (self.output_mode != "tf_idf" or given is None):
            raise ArgumentError(
                "`idf_weights` belong to a `vocabulary`, with `output_mode='tf_idf'`."
            )
        if given is not None:
            idf = self.idf_weights
            self.set_vocabulary(given, idf)
            if not isinstance(given, (str, Path)):  # from a file, it is saved as a file again
                self.vocabulary = _plain(given)
                self.idf_weights = None if idf is None else np.asarray(idf).tolist()

    _token_type: type = str

    def _is_token(self, value: Any) -> bool:
        return is_integer(value) if self._token_type is int else isinstance(value, self._token_type)

    # ---- the vocabulary ------------------------------------------------------------------------

    @property
    def _first_token(self) -> int:
        return self.num_oov_indices + self._first_oov

    @property
    def _first_oov(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _specials(self) -> list[Any]:
        return [self.mask_token] * self._first_oov + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their indices.

        Args:
            include_special_tokens: Whether the mask token and the token for unknown ones come
                first, so that positions in the list are indices.
        """
        return [*(self._specials if include_special_tokens else ()), *(self._tokens or ())]

    def vocabulary_size(self) -> int:
        """The number of indices, special tokens included."""
        if self._tokens is None and self._given_size is not None:
            return self._given_size
        return self._first_token + len(self._tokens or ())

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Replace the vocabulary.

        Args:
            vocabulary: Tokens, with or without the special tokens in front; or the path of a text
                file with one token in each line.
            idf_weights: With ``output_mode="tf_idf"``: one weight for each token.

        Raises:
            ArgumentError: No tokens, repeated ones, a special token among them, more than
                ``max_tokens``, or weights that do not match.
        """
        if isinstance(vocabulary, (str, Path)):
            vocabulary = self._parsed(_lines_of(Path(vocabulary)))
        given = _plain(vocabulary)
        if self._token_type is int and all(isinstance(t, str) for t in given):
            given = self._parsed(given)
        specials = self._specials
        has_specials = bool(specials) and given[: len(specials)] == specials
        tokens = given[len(specials) :] if has_specials else given
        self._check(tokens, given)
        idf = None
        if (idf_weights is not None) != (self.output_mode == "tf_idf"):
            needed = "needs" if idf_weights is None else "has no use for"
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) {needed} `idf_weights`, one number "
                f"for each token, with `output_mode={self.output_mode!r}`.",
                layer=self.name,
            )
        if idf_weights is not None:
            idf = np.asarray(idf_weights, np.float64)
            if idf.shape != (len(given),):
                raise ArgumentError(
                    f"Layer {self.name!r}: `idf_weights` has one number for each token.",
                    layer=self.name,
                    expected=f"shape ({len(given)},)",
                    received=f"shape {idf.shape}",
                )
            if not has_specials:
                idf = np.concatenate([np.full(len(specials), idf.mean()), idf])
        self._take(tokens, idf)
        self.vocabulary = self.idf_weights = None

    def _check(self, tokens: list[Any], given: list[Any]) -> None:
        problem = ""
        kind = self._token_type
        wrong = [t for t in tokens if not self._is_token(t)]
        if not given:
            problem = "The vocabulary is empty."
        elif wrong:
            cure = f"Use {'StringLookup' if kind is int else 'IntegerLookup'} for these."
            problem = (
                f"The vocabulary consists of values of type {kind.__name__}. Received: "
                f"{wrong[0]!r}. {'Leave it out.' if wrong[0] is None else cure}"
            )
        elif len(set(tokens)) < len(tokens):
            repeated = [t for t, n in Counter(tokens).items() if n > 1]
            problem = f"The vocabulary contains some tokens several times: {repeated[:5]}."
        elif self.mask_token is not None and self.mask_token in tokens:
            problem = f"The vocabulary contains the mask token {self.mask_token!r}"
        elif self.invert and self.oov_token in tokens:
            problem = f"The vocabulary contains the token for unknown ones, {self.oov_token!r}"
        elif self.max_tokens is not None and self._first_token + len(tokens) > self.max_tokens:
            problem = (
                f"The vocabulary has {self._first_token + len(tokens)} entries with the special "
                f"tokens, more than `max_tokens={self.max_tokens}`."
            )
        if problem:
            at = "" if problem[-1] == "." else f" anywhere but at the start: {self._specials}."
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}): {problem}{at}", layer=self.name
            )

    def _take(self, tokens: list[Any], idf: np.ndarray | None) -> None:
        self._tokens, self._idf = tokens, idf
        self._index = {t: i for i, t in enumerate(tokens, self._first_token)}
        self._vocabulary_changed()

    def _vocabulary_changed(self) -> None:
        """Forget what was derived from an earlier vocabulary; traced programs, too."""
        count_change(self)

    def _need_vocabulary(self) -> None:
        if self._tokens is None:
            raise NotBuiltError(
                f"Layer {self.name!r} ({type(self).__name__}) has no vocabulary yet.",
                layer=self.name,
                cure=f"Call `{self.name}.adapt(data)` on the training data, or pass `vocabulary`.",
            )

    # ---- adapting ------------------------------------------------------------------------------

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Replace the vocabulary by the tokens of ``data``, the most frequent first.

        Of tokens that are equally frequent, those that sort last come first. With ``max_tokens``,
        the rarest are left out. In mode ``"tf_idf"``, the weight of a token is
        ``log(1 + documents / (1 + documents that contain it))``; unknown tokens have the mean.

        Args:
            data: Strings or integers in arrays, lists, columns of data frames; or batches of them:
                a data set, a generator or another iterable. Of a batch ``(x, y, ...)``, ``x`` is
                used.
            steps: Number of batches to read; all when None.

        Raises:
            ArgumentError: The layer was given a ``vocabulary``.
            DataError: There are no batches, or no tokens in them.
        """
        if self.vocabulary is not None:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) was given a `vocabulary`, which "
                "adapt() would replace. Leave it out, or do not adapt.",
                layer=self.name,
            )
        super().adapt(data, steps)

    def reset_state(self) -> None:
        self._counts: Counter[Any] = Counter()
        self._document_counts: Counter[Any] = Counter()
        self._documents = 0

    def documents(self, data: Any) -> Iterable[Sequence[Any]]:
        """The tokens of each sample of a batch, in the form in which they are counted."""
        raise NotImplementedError

    def update_state(self, data: Any) -> None:
        if self.output_mode != "tf_idf":
            self._counts.update(itertools.chain.from_iterable(self.documents(data)))
            return
        for document in self.documents(data):
            self._counts.update(document)
            self._document_counts.update(set(document))
            self._documents += 1

    def finalize_state(self) -> None:
        counts = {self._decoded(t): n for t, n in self._counts.items()}
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        if not counts:
            raise DataError(f"{self.name}.adapt() found no tokens in the data.", layer=self.name)
        tokens = sorted(counts, key=lambda t: (counts[t], t), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: self.max_tokens - self._first_token]
        idf = None
        if self.output_mode == "tf_idf":
            found = {self._decoded(t): n for t, n in self._document_counts.items()}
            idf = np.log(1 + self._documents / (1 + np.array([found[t] for t in tokens])))
            idf = np.concatenate([np.full(self._first_token, idf.mean()), idf])
        self._take(tokens, idf)
        self.reset_state()

    def _decoded(self, token: Any) -> Any:
        """The token of the vocabulary for one that was counted."""
        return token

    # ---- the outputs ---------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """The length of an encoded vector."""
        if self.pad_to_max_tokens:
            return self.max_tokens
        if self._given_size is None:
            self._need_vocabulary()
        return self.vocabulary_size()

    def encode(self, numbers: jax.Array) -> jax.Array:
        if self.output_mode == "int":
            return numbers
        if self.output_mode != "tf_idf":
            return encode(jnp, numbers, self.depth, self.output_mode, "int32")
        floatx = settings.floatx()
        counts = encode(jnp, numbers, self.depth, "count", floatx)
        weights = np.zeros(self.depth) if self._idf is None else self._idf
        return counts * jnp.asarray(np.pad(weights, (0, self.depth - len(weights))), floatx)

    # ---- files ---------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        size = self.vocabulary_size() if self._tokens is not None else self._given_size
        return {**super().get_config(), "vocabulary_size": size}

    @classmethod
    @reads_config
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Create a layer from the result of :meth:`get_config`, which refers to no other file."""
        if isinstance(config.get("vocabulary"), str):
            raise UnsafeFileError(
                f"The config of a {cls.__name__} names the file {config['vocabulary']!r} for its "
                "vocabulary. Loading a model reads no other file.",
                cure="Create the layer with `vocabulary=path` in your program instead.",
            )
        return super().from_config(config)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        if self.output_mode == "tf_idf" and self._idf is not None:
            store["idf_weights"] = np.asarray(self._idf, settings.floatx())

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        if self.output_mode == "tf_idf" and "idf_weights" in store:
            idf = np.asarray(store["idf_weights"], np.float64)
            if idf.ndim != 1 or len(idf) < self.vocabulary_size():
                raise CorruptFileError(
                    f"The weights of layer {self.name!r} do not match its vocabulary.",
                    layer=self.name,
                    expected=f"{self.vocabulary_size()} numbers",
                    received=f"shape {idf.shape}",
                )
            self._idf = idf[: self.vocabulary_size()]

    def save_assets(self, dir_path: Any) -> None:
        """Write the vocabulary as a text file, unless it is in the config.

        Tokens that contain line breaks are written as JSON, too.
        """
        if self._tokens is None or self.vocabulary is not None:
            return
        tokens = [str(t) for t in self.get_vocabulary()]
        Path(dir_path, _FILE).write_bytes("\n".join(tokens).encode())
        if any("\n" in t or "\r" in t for t in tokens) or tokens[-1] == "":
            Path(dir_path, _FULL).write_bytes(json.dumps(tokens).encode())

    def load_assets(self, dir_path: Any) -> None:
        """Read what :meth:`save_assets` or Keras wrote.

        Raises:
            CorruptFileError: There is no vocabulary, or its size is wrong.
        """
        if self.vocabulary is not None:
            return
        full, path = Path(dir_path, _FULL), Path(dir_path, _FILE)
        if not path.exists():
            if self._given_size is None or self._given_size == self._first_token:
                return  # it was saved without a vocabulary
            raise CorruptFileError(
                f"The file has no vocabulary for layer {self.name!r} ({type(self).__name__}).",
                layer=self.name,
                expected=f"{_FILE} with {self._given_size} lines",
            )
        if full.exists():
            lines = _json_lines(full)
        else:
            lines = _lines_of(path, self._given_size)
        if self._given_size is not None and len(lines) != self._given_size:
            raise CorruptFileError(
                f"The vocabulary of layer {self.name!r} ({type(self).__name__}) has another size "
                "than the layer.",
                layer=self.name,
                expected=f"{self._given_size} tokens",
                received=f"{len(lines)} lines in {_FILE}",
                cure="The file was altered, or written by a version of Keras that splits lines at "
                "other characters: save the model again.",
            )
        tokens = self._parsed(lines)[self._first_token :]
        if len(set(tokens)) < len(tokens):
            raise CorruptFileError(
                f"The vocabulary of layer {self.name!r} contains tokens several times.",
                layer=self.name,
            )
        self._take(tokens, self._idf)

    def _parsed(self, lines: list[str]) -> list[Any]:
        """The tokens in the lines of a vocabulary file."""
        return lines


def _plain(tokens: Any) -> list[Any]:
    """Tokens as Python's strings and integers."""
    if not isinstance(tokens, (list, tuple)):
        tokens = np.asarray(tokens).tolist()
    return [
        t.decode() if isinstance(t, bytes) else t.item() if isinstance(t, np.generic) else t
        for t in tokens
    ]


def _lines_of(path: Path, size: int | None = None) -> list[str]:
    """The lines of a text file; a last one that is empty is a token if there are ``size`` then."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as e:
        raise CorruptFileError(f"{path} is not text in UTF-8.") from e
    except OSError as e:
        raise ArgumentError(f"The vocabulary file {str(path)!r} cannot be read: {e}") from e
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" and len(lines) != size else lines


def _json_lines(path: Path) -> list[str]:
    try:
        lines = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as e:
        raise CorruptFileError(f"{_FULL} in the file is not JSON.") from e
    if not isinstance(lines, list) or not all(isinstance(t, str) for t in lines):
        raise CorruptFileError(f"{_FULL} in the file is not a list of tokens.")
    return lines


__all__ = ["VocabularyLayer"]
