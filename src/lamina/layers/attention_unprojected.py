"""Attention without projections: Attention (Luong) and AdditiveAttention (Bahdanau)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.scope import random_key
from lamina.core.spec import agree, show_dims
from lamina.core.variable import Variable
from lamina.errors import ShapeError, StructureError
from lamina.initializers.base import read_seed
from lamina.layers.base import Layer
from lamina.layers.core import known_size
from lamina.layers.regularization import dropout_rate
from lamina.ops.lowering.attention import window_mask
from lamina.ops.lowering.dropout import keep_factors
from lamina.random.seed_generator import Seeded
from lamina.serialization.fields import field, one_of
from lamina.serialization.registry import builtin
from lamina.tree import nested


@builtin()
class _Unprojected(Seeded, Layer):
    """``softmax(scores(query, key)) @ value``, for the scores of a subclass."""

    dropout: float = field(default=0.0, convert=dropout_rate, kw_only=True)
    seed: int | None = field(default=None, convert=read_seed, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.scale: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Add the weights of the scores."""
        self._unpack(input_shape, of_shapes=True)
        self._add_weights(input_shape)

    def _add_weights(self, input_shape: Any) -> None:
        raise NotImplementedError

    def _scores(self, query: Any, key: Any) -> Any:
        """``(..., targets, sources)``: how well each key matches each query."""
        raise NotImplementedError

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend."""
        query, value, key = self._unpack(inputs)
        query_mask, value_mask = self._masks(mask, query, value)
        scores = self._scores(query, key)
        allowed = None if value_mask is None else value_mask[..., None, :]
        if use_causal_mask:
            near = window_mask(*scores.shape[-2:], causal=True, window=None)
            allowed = near if allowed is None else allowed & near
        if allowed is not None:
            lowest = 65504 if scores.dtype == jnp.float16 else 1e9
            scores = jnp.where(allowed, scores, jnp.asarray(-lowest, scores.dtype))
        weights = jax.nn.softmax(scores)
        if training and self.dropout:
            key = random_key(self.seed, "dropout")
            weights = weights * keep_factors(key, self.dropout, weights.shape, weights.dtype)
        output = jnp.matmul(weights, value)
        if query_mask is not None:
            output = output * query_mask[..., None].astype(output.dtype)
        return (output, weights) if return_attention_scores else output

    def _unpack(self, inputs: Any, of_shapes: bool = False) -> tuple[Any, Any, Any]:
        """Query, value and key, checked against one another."""
        is_list = isinstance(inputs, (list, tuple)) and all(
            nested.is_nested(x) == of_shapes for x in inputs
        )
        if not is_list or len(inputs) not in (2, 3):
            count = f"{len(inputs)} tensors" if is_list else "one tensor"
            raise StructureError(
                f"Layer {self.name!r} ({type(self).__name__}) takes a list of tensors.",
                layer=self.name,
                expected="[query, value] or [query, value, key]",
                received=count,
            )
        query, value, key = inputs if len(inputs) == 3 else (*inputs, inputs[1])
        q, v, k = (x if of_shapes else x.shape for x in (query, value, key))
        if (
            min(len(q), len(v)) < 2
            or not agree(k, (*q[:-2], *v[-2:-1], q[-1]))
            or not agree(v[:-1], k[:-1])
        ):
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot take these inputs.",
                layer=self.name,
                expected=(
                    "query (batch, targets, features), value (batch, sources, "
                    "value_features), key (batch, sources, features)"
                ),
                received=f"{show_dims(tuple(q))}, {show_dims(tuple(v))}, {show_dims(tuple(k))}",
            )
        return query, value, key

    def _masks(self, mask: Any, query: Any, value: Any) -> tuple[Any, Any]:
        if mask is None:
            return None, None
        if not isinstance(mask, (list, tuple)) or len(mask) < 2:
            raise StructureError(
                f"Layer {self.name!r} ({type(self).__name__}) takes a list of masks.",
                layer=self.name,
                expected="[query_mask, value_mask]",
                received=f"{mask!r}",
            )
        for what, m, x in (("query", mask[0], query), ("value", mask[1], value)):
            if m is not None and not agree(m.shape, x.shape[:-1]):
                raise ShapeError(
                    f"Layer {self.name!r} ({type(self).__name__}) cannot use this mask of the "
                    f"{what}.",
                    layer=self.name,
                    expected=f"{show_dims(x.shape[:-1])}",
                    received=show_dims(m.shape),
                )
        first, second = (m if m is None else m.astype(bool) for m in mask[:2])
        return first, second

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The mask of the query is that of the output; scores have none."""
        if mask is None or mask[0] is None:
            return None
        return [mask[0], None]


@builtin("layers")
class Attention(_Unprojected, positional="use_scale score_mode dropout seed"):
    """Dot-product attention: ``softmax(scores) @ value``.

    The scores are ``scale * query @ key^T``, or, with ``score_mode="concat"``,
    ``weight * sum(tanh(scale * (query + key)))``, summed over the features.

    Args:
        use_scale: Whether to learn the scalar ``scale``, which otherwise is 1.
        score_mode: ``"dot"`` or ``"concat"``.
        dropout: Fraction of the attention weights to drop during training.
        seed: Integer that, with the global seed, determines what is dropped.

    Call arguments:
        inputs: ``[query, value]`` or ``[query, value, key]``; the values are the keys by default.
        mask: ``[query_mask, value_mask]``, ``(batch, targets)`` and ``(batch, sources)``: results
            of masked queries are zeros, and masked values are not attended to.
        training: Whether dropout is active.
        return_attention_scores: Whether to return ``(output, weights)``.
        use_causal_mask: Whether no position may attend to later ones.

    Shapes: ``[(batch, targets, features), (batch, sources, value_features),
    (batch, sources, features)]`` to ``(batch, targets, value_features)``; the weights have the
    shape ``(batch, targets, sources)``.

    Raises:
        StructureError: Not a list of two or three tensors, or not a list of masks.
        ShapeError: Inputs or masks whose shapes do not match.

    Luong et al. 2015, https://arxiv.org/abs/1508.04025

    >>> query, value = jnp.ones((2, 4, 8)), jnp.ones((2, 6, 8))
    >>> Attention()([query, value]).shape
    (2, 4, 8)
    """

    use_scale: bool = False
    score_mode: str = field(default="dot", convert=one_of("dot", "concat"))

    def _add_weights(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _scores(self, query: Any, key: Any) -> Any:
        scale = 1 if self.scale is None else self.scale.value
        if self.score_mode == "dot":
            return scale * jnp.matmul(query, jnp.swapaxes(key, -1, -2))
        sums = query[..., :, None, :] + key[..., None, :, :]
        return self.concat_score_weight.value * jnp.tanh(scale * sums).sum(axis=-1)


@builtin("layers")
class AdditiveAttention(_Unprojected, positional="use_scale dropout"):
    """Additive attention: ``softmax(sum(scale * tanh(query + key))) @ value``.

    The sum is over the features.

    Args:
        use_scale: Whether to learn ``scale``, of shape ``(features,)``, which otherwise is 1.
        dropout: Fraction of the attention weights to drop during training.
        seed: Integer that, with the global seed, determines what is dropped.

    Call arguments: see :class:`Attention`.

    Shapes: ``[(batch, targets, features), (batch, sources, value_features),
    (batch, sources, features)]`` to ``(batch, targets, value_features)``; the weights have the
    shape ``(batch, targets, sources)``.

    Raises:
        StructureError: Not a list of two or three tensors, or not a list of masks.
        ShapeError: Inputs or masks whose shapes do not match.

    Bahdanau et al. 2014, https://arxiv.org/abs/1409.0473

    >>> query, value = jnp.ones((2, 4, 8)), jnp.ones((2, 6, 8))
    >>> AdditiveAttention()([query, value]).shape
    (2, 4, 8)
    """

    use_scale: bool = True

    def _add_weights(self, input_shape: Any) -> None:
        if self.use_scale:
            features = known_size(self, input_shape[0], -1)
            self.scale = self.add_weight((features,), "glorot_uniform", name="scale")

    def _scores(self, query: Any, key: Any) -> Any:
        terms = jnp.tanh(query[..., :, None, :] + key[..., None, :, :])
        return (terms if self.scale is None else self.scale.value * terms).sum(axis=-1)


__all__ = ["AdditiveAttention", "Attention"]
