"""Indices of categories as one-hot vectors, or as counts."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina.errors import ArgumentError
from lamina.layers.base import Layer
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms.numbers import encode

_SPELLINGS = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def mode(*choices: str) -> Any:
    """The field of an output mode; ``"binary"`` and ``"tf-idf"`` are older spellings."""

    def read(value: Any) -> Any:
        value = _SPELLINGS.get(value, value)
        if value not in choices:
            raise ArgumentError(f"expected one of {list(choices)}. Received: {value!r}.")
        return value

    return read


def dense(value: Any) -> bool:
    """Refuse an argument that asks for tensors that are not dense."""
    if value:
        raise ArgumentError(
            f"expected False: there are no sparse or ragged tensors in JAX. Received: {value!r}."
        )
    return False


@builtin("layers")
class CategoryEncoding(Layer):
    """Encodes integers in ``[0, num_tokens)`` as vectors of that length.

    Other integers are left out.

    Args:
        num_tokens: Number of categories.
        output_mode: ``"one_hot"``: a vector for each integer; a last axis of size 1 is replaced,
            otherwise an axis is added. ``"multi_hot"``: one vector for those along the last axis,
            with 1 for each that occurs. ``"count"``: how often each occurs.
        sparse: Only False: results are dense.

    Call arguments:
        inputs: Integers of shape ``(..., n)``.
        count_weights: Numbers of the same shape, which each integer counts as, in mode ``"count"``.

    With three or more axes, Keras adds along the second axis; here it is always the last one, as
    its documentation says.

    Raises:
        ArgumentError: ``count_weights`` in a mode other than ``"count"``.

    >>> CategoryEncoding(3, output_mode="count")(jnp.array([[0, 2, 2], [1, 1, 7]])).tolist()
    [[1.0, 0.0, 2.0], [0.0, 2.0, 0.0]]
    """

    num_tokens: int = field(default=None, convert=positive_int)
    output_mode: str = field(default="multi_hot", convert=mode("count", "one_hot", "multi_hot"))
    sparse: bool = field(default=False, convert=dense)

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        """Encode."""
        if count_weights is not None and self.output_mode != "count":
            raise ArgumentError(
                f"Layer {self.name!r} (CategoryEncoding) uses `count_weights` only with "
                f"`output_mode='count'`. Its mode is {self.output_mode!r}.",
                layer=self.name,
            )
        weights = None
        if count_weights is not None:
            weights = jnp.asarray(count_weights, self.compute_dtype)
        indices = jnp.asarray(inputs).astype("int32")
        return encode(jnp, indices, self.num_tokens, self.output_mode, self.compute_dtype, weights)


__all__ = ["CategoryEncoding"]
