"""An embedding that also projects back to its integers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.layers.core import Embedding
from lamina.serialization.fields import field, number, optional
from lamina.serialization.registry import builtin


@builtin("layers")
class ReversibleEmbedding(
    Embedding,
    positional="input_dim output_dim tie_weights embeddings_initializer embeddings_regularizer "
    "embeddings_constraint mask_zero reverse_dtype logit_soft_cap",
):
    """An :class:`Embedding` that also maps vectors to a score (logit) for each integer.

    ``layer(ids)`` is ``embeddings[ids]``, and ``layer(x, reverse=True)`` is ``x @ embeddings.T``,
    or ``x @ reverse_embeddings`` without ``tie_weights``. Press and Wolf 2017, arXiv:1608.05859.

    Args:
        input_dim: Number of different integers, 0 included.
        output_dim: Length of the vectors.
        tie_weights: Whether both directions have the same weights.
        embeddings_initializer: Initializer of the tables.
        embeddings_regularizer: Penalty on the table, added to the loss.
        embeddings_constraint: Projection of the table after each update.
        mask_zero: Whether the integer 0 is padding, which later layers are to ignore.
        reverse_dtype: Dtype of the computation of the scores; the compute dtype when None.
        logit_soft_cap: Bound of the scores: they become ``cap * tanh(score / cap)``. Gemma Team
            2024, arXiv:2408.00118.
        activity_regularizer: Penalty on the output, added to the loss.
        weights: Initial table, as an array or a list of one array.

    Call arguments:
        inputs: Integers, or with ``reverse`` vectors ``(..., output_dim)``.
        reverse: Whether to compute scores ``(..., input_dim)``.

    >>> layer = ReversibleEmbedding(1000, 64)
    >>> x = layer(jnp.array([[1, 2, 3]]))
    >>> x.shape, layer(x, reverse=True).shape
    ((1, 3, 64), (1, 3, 1000))
    """

    tie_weights: bool = True
    reverse_dtype: Any = field(default=None, convert=optional(standardize_dtype))
    logit_soft_cap: float | None = field(default=None, convert=optional(number("(0, inf)")))

    def build(self, input_shape: Any = None) -> None:
        """Add the tables."""
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                (self.output_dim, self.input_dim), self.embeddings_initializer,
                name="reverse_embeddings",
            )  # fmt: skip

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Look up the vectors, or compute the scores."""
        if not reverse:
            return super().call(inputs)
        dtype = self.reverse_dtype or self.compute_dtype
        if self.tie_weights:
            table = self.embeddings.value.astype(dtype).T
        else:
            table = self.reverse_embeddings.value.astype(dtype)
        scores = jnp.matmul(inputs.astype(dtype), table)
        cap = self.logit_soft_cap
        return scores if cap is None else cap * jnp.tanh(scores / cap)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True where the integer is not 0; the mask of vectors is passed on."""
        if jnp.issubdtype(inputs.dtype, jnp.floating):
            return previous_mask
        return super().compute_mask(inputs, previous_mask)


__all__ = ["ReversibleEmbedding"]
