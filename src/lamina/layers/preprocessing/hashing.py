"""Indices of strings and integers by hashing, without a vocabulary."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.spec import agree, show_dims
from lamina.dtype_policies import dtypes
from lamina.errors import ArgumentError, DTypeError, ShapeError, StructureError
from lamina.layers.arguments import dims_of
from lamina.layers.preprocessing.category_encoding import dense, mode
from lamina.layers.preprocessing.hashes import crossed, fingerprints
from lamina.layers.preprocessing.host import HostLayer, as_bytes, integers_of, strings_of
from lamina.layers.preprocessing.lookups import buckets, salt
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms.numbers import encode


class _Arguments:
    num_bins: Any
    output_mode: Any


@builtin()
class _HashLayer(_Arguments, HostLayer):
    """What layers have in common that hash to a number of bins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_mode != "int":
            return
        if self._captured[1].get("dtype") is None:
            self.dtype = "int64"
        elif not dtypes.is_int(self.compute_dtype):
            raise ArgumentError(
                f"{type(self).__name__}(): with `output_mode='int'`, `dtype` is an integer dtype. "
                f"Received: {self.compute_dtype!r}."
            )

    def encode(self, numbers: jax.Array) -> jax.Array:
        dtype = dtypes.canonical(self.compute_dtype)
        return encode(jnp, numbers, self.num_bins, self.output_mode, dtype)


def _is_text(x: Any) -> bool:
    return isinstance(x, (str, bytes)) or np.asarray(x).dtype.kind in "OUST"


@builtin("layers")
class Hashing(_HashLayer):
    """Assigns strings or integers to a number of bins, by a hash.

    The hashes are those of TensorFlow: FarmHash's fingerprint, or SipHash with a ``salt``. Integers
    are hashed as their decimal digits.

    Args:
        num_bins: Number of bins, that of ``mask_value`` included.
        mask_value: A string or integer that bin 0 is reserved for; None for none.
        salt: An integer, or a pair of them, which the hash depends on.
        output_mode: ``"int"``: indices of bins, in the shape of the input. ``"one_hot"``,
            ``"multi_hot"``, ``"count"``: as for :class:`CategoryEncoding`.
        sparse: Only False: results are dense.

    Floating-point numbers are truncated to integers first; booleans are hashed as ``"true"`` and
    ``"false"``.

    Raises:
        DTypeError: ``mask_value`` is a string and the inputs are integers, or the other way round.

    >>> layer = Hashing(num_bins=3)
    >>> layer([["A"], ["B"], ["C"], ["D"], ["E"]]).tolist()
    [[1], [0], [1], [1], [2]]
    """

    num_bins: Any = field(convert=positive_int)
    mask_value: Any = None
    salt: Any = field(default=None, convert=salt)
    output_mode: Any = field(default="int", convert=mode("int", "one_hot", "multi_hot", "count"))
    sparse: Any = field(default=False, convert=dense)

    def numbers(self, inputs: Any) -> np.ndarray:
        if _is_text(inputs):
            values = strings_of(inputs, self)
            found = as_bytes(values.ravel().tolist())
            self._check_mask_value((str, bytes), "strings")
            wanted = None if self.mask_value is None else as_bytes([self.mask_value])[0]
            masked = np.array([v == wanted for v in found], bool)
        else:
            values = np.asarray(inputs)
            if values.dtype.kind == "f":
                values = values.astype(np.int64)
            self._check_mask_value((int, np.integer), "integers")
            found = as_bytes(str(v).lower() for v in values.ravel().tolist())
            values = integers_of(values, self)
            masked = values.ravel() == self.mask_value
        if self.mask_value is None or self.num_bins == 1:
            return buckets(found, self.num_bins, self.salt).reshape(values.shape)
        bins = np.where(masked, 0, 1 + buckets(found, self.num_bins - 1, self.salt))
        return bins.reshape(values.shape)

    def _check_mask_value(self, kind: tuple[type, ...], inputs: str) -> None:
        if self.mask_value is not None and not isinstance(self.mask_value, kind):
            raise DTypeError(
                f"Layer {self.name!r} (Hashing) has a `mask_value` that is not among its inputs.",
                layer=self.name,
                expected=f"`mask_value` to be one of the {inputs} that the layer receives, or None",
                received=f"mask_value={self.mask_value!r}",
            )


@builtin("layers")
class HashedCrossing(_HashLayer, positional="num_bins output_mode sparse name dtype"):
    """Assigns combinations of features to a number of bins, by a hash.

    The hash is that of TensorFlow's crosses of sparse columns.

    Args:
        num_bins: Number of bins.
        output_mode: ``"int"``: the index of a bin for each sample; ``"one_hot"``: a vector.
        sparse: Only False: results are dense.

    Inputs are a list of at least two features, strings or integers, of shapes ``(batch,)`` or
    ``(batch, 1)``.

    Raises:
        StructureError: A single feature.
        ShapeError: Features of other or different shapes.
        DTypeError: Features that are neither strings nor integers.

    >>> layer = HashedCrossing(num_bins=5)
    >>> layer([["A", "B", "A", "B", "A"], [101, 101, 101, 102, 102]]).tolist()
    [1, 4, 1, 1, 3]
    """

    num_bins: Any = field(convert=positive_int)
    output_mode: Any = field(default="int", convert=mode("int", "one_hot"))
    sparse: Any = field(default=False, convert=dense)

    def _features(self, inputs: Any) -> list[Any]:
        features = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(features) < 2:
            raise StructureError(
                f"Layer {self.name!r} (HashedCrossing) crosses a list of at least two features. "
                f"Received {len(features)}.",
                layer=self.name,
            )
        return features

    def _check_shapes(self, shapes: list[Any]) -> None:
        first = shapes[0]
        fits = len(first) < 2 or (len(first) == 2 and first[1] == 1)
        if not fits or any(not agree(s, first) for s in shapes):
            raise ShapeError(
                f"Layer {self.name!r} (HashedCrossing) crosses one value of each feature.",
                layer=self.name,
                expected="features of one shape, (batch,) or (batch, 1)",
                received=", ".join(map(show_dims, shapes)),
            )

    def dims(self, inputs: Any) -> tuple[Any, ...]:
        features = self._features(inputs)
        for x in features:
            if x.dtype != "string" and not dtypes.is_int(str(x.dtype)):
                raise self._of_other_dtype(x.dtype)
        shapes = [dims_of(x) for x in features]
        self._check_shapes(shapes)
        return shapes[0]

    def _of_other_dtype(self, dtype: Any) -> DTypeError:
        return DTypeError(
            f"Layer {self.name!r} (HashedCrossing) crosses strings and integers.",
            layer=self.name,
            received=f"an array of dtype {dtype}",
            cure="For other numbers, apply Discretization first.",
        )

    def numbers(self, inputs: Any) -> np.ndarray:
        columns = []
        for x in self._features(inputs):
            if _is_text(x):
                values = strings_of(x, self)
                hashes = fingerprints(as_bytes(values.ravel().tolist()))
                columns.append(hashes.reshape(values.shape))
            elif np.asarray(x).dtype.kind in "iu":
                columns.append(integers_of(x, self))
            else:
                raise self._of_other_dtype(np.asarray(x).dtype)
        self._check_shapes([c.shape for c in columns])
        return (crossed(columns) % np.uint64(self.num_bins)).astype(np.int64)


__all__ = ["HashedCrossing", "Hashing"]
