"""Indices of strings and integers in a vocabulary, and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.spec import TensorSpec
from lamina.dtype_policies.dtypes import canonical
from lamina.errors import ArgumentError, DataError, DTypeError
from lamina.layers.arguments import call_signature
from lamina.layers.preprocessing.category_encoding import dense, mode
from lamina.layers.preprocessing.hashes import fingerprints, keyed
from lamina.layers.preprocessing.host import ArrayLike, as_bytes, integers_of, strings_of
from lamina.layers.preprocessing.vocabularies import VocabularyLayer
from lamina.serialization.fields import field, is_integer, number, one_of, optional, positive_int
from lamina.serialization.registry import builtin

_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


def salt(value: Any) -> list[int] | None:
    """The key of a hash: two integers, or one for both."""
    if value is None or is_integer(value):
        return None if value is None else [int(value)] * 2
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(is_integer, value)):
        raise ArgumentError(f"expected an integer, or a pair of them. Received: {value!r}.")
    return [int(v) for v in value]


def buckets(strings: list[bytes], count: int, key: Sequence[int] | None) -> np.ndarray:
    """The hash of each string modulo ``count``."""
    hashes = fingerprints(strings) if key is None else keyed(strings, key)
    return (hashes % np.uint64(count)).astype(np.int64)


@builtin()
class _Lookup(VocabularyLayer):
    """What lookups of strings and of integers have in common."""

    def numbers(self, inputs: Any) -> np.ndarray:
        self._need_vocabulary()
        values = self._tokens_in(inputs)
        found = self._found(values)
        unknown = found < 0
        if self.mask_token is not None:
            masked = values == self.mask_token
            unknown &= ~masked
            found = np.where(masked, 0 if self.output_mode == "int" else -1, found)
        if not unknown.any():
            return found
        if self.num_oov_indices == 0:
            raise DataError(
                f"Layer {self.name!r} ({type(self).__name__}) received tokens that are not in its "
                "vocabulary.",
                layer=self.name,
                expected="tokens of the vocabulary, because of `num_oov_indices=0`",
                received=f"{list(dict.fromkeys(values[unknown].tolist()))[:5]}",
                cure="Give unknown tokens an index of their own: `num_oov_indices=1`.",
            )
        bucket = 0 if self.num_oov_indices == 1 else self._buckets(values[unknown])
        found[unknown] = self._first_oov + bucket
        return found

    def call(self, inputs: Any) -> Any:
        if not self.invert:
            return super().call(inputs)
        self._need_vocabulary()
        tokens = self.get_vocabulary()
        indices = integers_of(inputs, self)
        valid = (indices >= 0) & (indices < len(tokens))
        fallback = len(tokens)
        table = np.array([*tokens, self.oov_token], object)
        found = table[np.where(valid, indices, fallback)]
        if self.vocabulary_dtype == "string":
            return found
        numbers, dtype = found.astype(np.int64), canonical("int64")
        if (numbers != numbers.astype(dtype)).any():
            raise DTypeError(
                f"Layer {self.name!r} ({type(self).__name__}) has integers in its vocabulary that "
                "JAX's default of 32 bits cannot hold.",
                layer=self.name,
                received=f"{numbers[numbers != numbers.astype(dtype)].ravel()[0]}",
                cure="Enable 64 bits: `jax.config.update('jax_enable_x64', True)`.",
            )
        return jnp.asarray(numbers, dtype)

    def _infer(self, arguments: dict[str, Any], training: bool | None) -> tuple[Any, Any]:
        if not self.invert or self.vocabulary_dtype != "string":
            return super()._infer(arguments, training)
        dims = self.dims(arguments[call_signature(type(self)).first or ""])
        return TensorSpec(dims, "string"), [None]

    def documents(self, data: Any) -> Iterable[Sequence[Any]]:
        values = self._tokens_in(data)
        # An array with one axis is a single document; the others have theirs along the first axis.
        return [values.ravel().tolist()] if values.ndim < 2 else values.reshape(
            len(values), -1
        ).tolist()  # fmt: skip

    def adapt(self, data: Any, steps: int | None = None) -> None:
        super().adapt(_as_column(data), steps)

    adapt.__doc__ = VocabularyLayer.adapt.__doc__

    def _tokens_in(self, inputs: Any) -> np.ndarray:
        raise NotImplementedError

    def _found(self, values: np.ndarray) -> np.ndarray:
        """The index of each token; negative for unknown ones."""
        found = map(self._index.get, values.ravel().tolist(), itertools.repeat(-1))
        return np.fromiter(found, np.int64, values.size).reshape(values.shape)

    def _buckets(self, values: np.ndarray) -> Any:
        raise NotImplementedError


def _as_column(data: Any) -> Any:
    """An array, list or column of single tokens, whose tokens are documents of their own."""
    if isinstance(data, (list, tuple)) and data and isinstance(data[0], (str, bytes, int)):
        data = np.array(data, object if isinstance(data[0], (str, bytes)) else None)
    if isinstance(data, ArrayLike):
        data = np.asarray(data)
        return data[:, None] if data.ndim == 1 else data
    return data


@builtin("layers")
class StringLookup(
    _Lookup,
    positional="max_tokens num_oov_indices mask_token oov_token vocabulary idf_weights invert "
    "output_mode pad_to_max_tokens sparse encoding name salt",
):
    """Replaces strings by their indices in a vocabulary, or by an encoding of these.

    Strings are arrays of NumPy (of any string dtype, or of objects), lists, or columns of pandas
    and polars. In a functional model with ``Input(shape, dtype="string")``, the layer runs on the
    host, ahead of the compiled step.

    Args:
        max_tokens: Largest size of the vocabulary, special tokens included.
        num_oov_indices: Number of indices for tokens that are not in the vocabulary. With several,
            a hash decides; with 0, such tokens are an error.
        mask_token: Token with index 0, or without an effect on encodings; None for none.
        oov_token: What stands for unknown tokens in the vocabulary, and with ``invert``.
        vocabulary: Tokens, or the path of a text file with one in each line; when None,
            :meth:`adapt` learns it.
        idf_weights: With ``output_mode="tf_idf"``: one weight for each token of ``vocabulary``.
        invert: Whether to replace indices by tokens instead.
        output_mode: ``"int"``: indices, in the shape of the input. ``"one_hot"``: a vector for each
            token. ``"multi_hot"``, ``"count"``, ``"tf_idf"``: a vector for those along the last
            axis, with 1 for each that occurs, how often it occurs, or that times its weight.
        pad_to_max_tokens: Whether vectors have ``max_tokens`` entries, however many tokens there
            are.
        sparse: Only False: results are dense.
        encoding: Encoding of tokens that are given as bytes.
        salt: Integer, or pair of them, for the hash of unknown tokens to depend on.

    Raises:
        NotBuiltError: A call without a vocabulary.
        DataError: An unknown token with ``num_oov_indices=0``.

    An index outside the vocabulary is replaced by ``oov_token`` with ``invert``.

    >>> layer = StringLookup(vocabulary=["a", "b"])
    >>> layer([["a", "z", "b"]]).tolist()
    [[1, 0, 2]]
    >>> StringLookup(vocabulary=["a", "b"], invert=True)([1, 0, 2]).tolist()
    ['a', '[UNK]', 'b']
    """

    vocabulary_dtype = "string"

    max_tokens: Any = field(default=None, convert=optional(positive_int))
    num_oov_indices: Any = field(default=1, convert=number("[0, inf)"))
    mask_token: Any = None
    oov_token: Any = "[UNK]"  # noqa: S105 - no password
    vocabulary: Any = None
    idf_weights: Any = None
    invert: Any = field(default=False, convert=bool)
    output_mode: Any = field(default="int", convert=mode(*_MODES))
    pad_to_max_tokens: Any = field(default=False, convert=bool)
    sparse: Any = field(default=False, convert=dense)
    encoding: Any = "utf-8"
    salt: Any = field(default=None, convert=salt)

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        extra.pop("oov_method", None)  # in files of Keras, without effect on strings
        return super()._accept_extra(extra)

    def _tokens_in(self, inputs: Any) -> np.ndarray:
        values = strings_of(inputs, self)
        if values.size and isinstance(values.ravel()[0], bytes):
            flat = [v.decode(self.encoding) for v in values.ravel()]
            values = np.array(flat, object).reshape(values.shape)
        return values

    def _buckets(self, values: np.ndarray) -> np.ndarray:
        return buckets(as_bytes(values.tolist()), self.num_oov_indices, self.salt)


@builtin("layers")
class IntegerLookup(
    _Lookup,
    positional="max_tokens num_oov_indices mask_token oov_token vocabulary vocabulary_dtype "
    "idf_weights invert output_mode sparse pad_to_max_tokens oov_method salt name",
):
    """Replaces integers, of up to 64 bits, by their indices in a vocabulary.

    As :class:`StringLookup`, with integers in place of strings.

    Args:
        max_tokens: Largest size of the vocabulary, special tokens included.
        num_oov_indices: Number of indices for integers that are not in the vocabulary; with 0, such
            integers are an error.
        mask_token: Integer with index 0, or without an effect on encodings; None for none.
        oov_token: What stands for unknown integers in the vocabulary, and with ``invert``.
        vocabulary: Integers, or the path of a text file with one in each line; when None,
            :meth:`adapt` learns it.
        vocabulary_dtype: Only ``"int64"``.
        idf_weights: With ``output_mode="tf_idf"``: one weight for each integer of ``vocabulary``.
        invert: Whether to replace indices by integers instead.
        output_mode: As for :class:`StringLookup`.
        sparse: Only False: results are dense.
        pad_to_max_tokens: Whether vectors have ``max_tokens`` entries.
        oov_method: With several ``num_oov_indices``: ``"floormod"`` takes the integer modulo their
            number, ``"farmhash"`` a hash of its decimal digits.
        salt: With ``"farmhash"``: integer, or pair of them, for the hash to depend on.

    Raises:
        NotBuiltError: A call without a vocabulary.
        DataError: An unknown integer with ``num_oov_indices=0``.

    >>> IntegerLookup(vocabulary=[12, 36])([[36, 7]]).tolist()
    [[2, 0]]
    """

    max_tokens: Any = field(default=None, convert=optional(positive_int))
    num_oov_indices: Any = field(default=1, convert=number("[0, inf)"))
    mask_token: Any = None
    oov_token: Any = -1
    vocabulary: Any = None
    vocabulary_dtype: Any = field(default="int64", convert=one_of("int64"))
    idf_weights: Any = None
    invert: Any = field(default=False, convert=bool)
    output_mode: Any = field(default="int", convert=mode(*_MODES))
    sparse: Any = field(default=False, convert=dense)
    pad_to_max_tokens: Any = field(default=False, convert=bool)
    oov_method: Any = field(default="floormod", convert=one_of("floormod", "farmhash"))
    salt: Any = field(default=None, convert=salt)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.salt is not None and self.oov_method != "farmhash":
            raise ArgumentError(
                "IntegerLookup(): `salt` is used only with `oov_method='farmhash'`. "
                f"Received: {self.oov_method!r}."
            )

    def _tokens_in(self, inputs: Any) -> np.ndarray:
        return integers_of(inputs, self)

    def _buckets(self, values: np.ndarray) -> np.ndarray:
        if self.oov_method == "floormod":
            return values % self.num_oov_indices
        return buckets(as_bytes(map(str, values.tolist())), self.num_oov_indices, self.salt)

    _token_type = int

    def _parsed(self, lines: list[str]) -> list[Any]:
        try:
            return [int(line) for line in lines]
        except ValueError as e:
            raise ArgumentError(
                f"Layer {self.name!r}: a vocabulary of text has one integer in each entry. {e}",
                layer=self.name,
            ) from None


__all__ = ["IntegerLookup", "StringLookup"]
