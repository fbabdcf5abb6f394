"""An embedding that also projects back to its integers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina.core.variable import Variable
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.layers.adapters import Matrix
from lamina.layers.core import Embedding
from lamina.ops.lowering.matmul import matmul
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
        lora_rank: If given, freeze the table and train a difference of this rank to it: see
            :meth:`enable_lora`.
        lora_alpha: The difference is multiplied by ``lora_alpha / lora_rank``; ``lora_rank`` when
            None.
        quantization_config: How to quantize the tables, where the dtype policy is a quantized one.

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

    def _names_of_matrices(self) -> tuple[str, ...]:
        return ("embeddings",) if self.tie_weights else ("embeddings", "reverse_embeddings")

    def _matrices_of(self, shape: tuple[int, ...]) -> tuple[Matrix, ...]:
        tables = super()._matrices_of(shape)
        if self.tie_weights:
            return tables
        turned = (shape[1], shape[0])
        return (*tables, Matrix("reverse_embeddings", turned, (0,), turned, packed=0))

    def _add_floats(self, m: Matrix) -> Variable:
        if m.name == "embeddings":
            return super()._add_floats(m)
        return self.add_weight(m.shape, self.embeddings_initializer, name=m.name)

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Look up the vectors, or compute the scores."""
        if not reverse:
            return super().call(inputs)
        scores = self._scores(inputs, self.reverse_dtype or self.compute_dtype)
        cap = self.logit_soft_cap
        return scores if cap is None else cap * jnp.tanh(scores / cap)

    def _scores(self, x: Any, dtype: Any) -> Any:
        m, tied = self._matrices[-1], self.tie_weights

        def project(x: Any, table: Any, to: Any = None) -> Any:
            if to is None:
                x, table = x.astype(dtype), table.astype(dtype)
            return matmul(x, table.T if tied else table, dtype=to)

        scores = self._product_with(x, m, project)
        if tied and self.lora_enabled:
            a, b, factor = self._adapter()
            scores = scores + factor * matmul(matmul(x, b.T), a.T)
        return scores.astype(dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where the integer is not 0; the mask of vectors is passed on."""
        if jnp.issubdtype(inputs.dtype, jnp.floating):
            return mask
        return super().compute_mask(inputs, mask)


__all__ = ["ReversibleEmbedding"]
