"""Attention of queries to keys, as an op."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.lowering.attention import attend, flash_attend, flash_by_default, window_mask
from lamina.ops.templates import as_array, floating

FILE_MODULE = "nn"  # of Keras's files


@op
def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    scale: Tensor | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> jax.Array:
    """``softmax(scale * query @ key^T + bias) @ value``, for each head.

    Args:
        query: ``(batch, targets, heads, size)``.
        key: ``(batch, sources, groups, size)``; ``heads`` is a multiple of ``groups``.
        value: ``(batch, sources, groups, size)``.
        bias: Added to the products; broadcasts to ``(batch, heads, targets, sources)``.
        mask: True where a query may attend to a source; broadcasts likewise.
        scale: Factor of the products, ``1 / sqrt(size)`` when None.
        is_causal: Whether a query attends only to its own and earlier positions.
        flash_attention: Whether to use cuDNN's fused kernel, which stores no attention matrix but
            supports neither a bias nor a cap. When None, it is used if possible after
            ``lamina.config.enable_flash_attention()``.
        attn_logits_soft_cap: Replace the products ``x`` by ``cap * tanh(x / cap)``.

    Returns:
        Tensor ``(batch, targets, heads, size)``.

    Vaswani et al. 2017, arXiv:1706.03762; cap: Gemma Team 2024, arXiv:2408.00118.

    >>> x = jnp.ones((1, 3, 2, 4))
    >>> dot_product_attention(x, x, x).shape
    (1, 3, 2, 4)
    """
    query, key, value = floating(query), floating(key), floating(value)
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ShapeError(
            "ops.dot_product_attention expects an axis of heads.",
            expected="(batch, positions, heads, size)",
            received=", ".join(show_dims(x.shape) for x in (query, key, value)),
        )
    factor: Any = query.shape[-1] ** -0.5 if scale is None else scale
    mask = None if mask is None else as_array(mask).astype(bool)
    if flash_attention is None:
        flash_attention = (
            flash_by_default() and bias is None and attn_logits_soft_cap is None
        )  # fmt: skip
    if flash_attention:
        if bias is not None or attn_logits_soft_cap is not None:
            raise ArgumentError(
                "dot_product_attention(): the fused kernel supports neither `bias` nor "
                "`attn_logits_soft_cap`. Leave out flash_attention=True, or these."
            )
        return flash_attend(query, key, value, scale=float(factor), mask=mask, causal=is_causal)
    if is_causal:
        causal = window_mask(query.shape[1], key.shape[1], causal=True, window=None)
        mask = causal[None, None] if mask is None else mask & causal

    def adjust(products: jax.Array) -> jax.Array:
        if attn_logits_soft_cap is not None:
            products = attn_logits_soft_cap * jnp.tanh(products / attn_logits_soft_cap)
        return products if bias is None else products + as_array(bias)

    adjusted = None if bias is None and attn_logits_soft_cap is None else adjust
    return attend(query, key, value, scale=factor, mask=mask, adjust=adjusted)[0]
