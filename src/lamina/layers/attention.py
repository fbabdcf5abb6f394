"""Attention with learned projections: MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import functools
import math
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.scope import random_key
from lamina.core.spec import agree, show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.base import read_seed
from lamina.layers.activation import Softmax
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.einsum import EinsumDense
from lamina.layers.regularization import Dropout, dropout_rate
from lamina.layers.weights import KernelAndBias
from lamina.ops.lowering.attention import attend, flash_attend, flash_by_default, window_mask
from lamina.ops.lowering.dropout import keep_factors
from lamina.random.seed_generator import Seeded
from lamina.serialization.fields import field, fields_of, integers, optional, positive_int
from lamina.serialization.registry import builtin

# ---- reshaping to (batch, sequence) and back -----------------------------------------------------


class _Layout:
    """The attention axes, which become one sequence, and the others, which become one batch.

    Args:
        ndim: Number of axes of queries and keys without the features.
        attended: The axes along which positions attend to one another.
    """

    def __init__(self, ndim: int, attended: tuple[int, ...]) -> None:
        self.ndim, self.attended = ndim, attended
        self.others = tuple(a for a in range(ndim) if a not in attended)

    def sizes(self, x: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The dimensions of the other axes and of the attention axes."""
        return tuple(x.shape[a] for a in self.others), tuple(x.shape[a] for a in self.attended)

    def gather(self, x: Any) -> Any:
        """``(*axes, ...)`` to ``(batch, sequence, ...)``."""
        others, attended = self.sizes(x)
        x = jnp.transpose(x, (*self.others, *self.attended, *range(self.ndim, x.ndim)))
        return x.reshape(math.prod(others), math.prod(attended), *x.shape[self.ndim :])

    def restore(self, x: Any, like: Any) -> Any:
        """``(batch, sequence, ...)`` to ``(*axes, ...)``, with the dimensions of ``like``."""
        others, attended = self.sizes(like)
        x = x.reshape(*others, *attended, *x.shape[2:])
        back = np.argsort((*self.others, *self.attended)).tolist()
        return jnp.transpose(x, (*back, *range(self.ndim, x.ndim)))

    def position_mask(self, mask: Any, x: Any) -> Any | None:
        """``(batch, sequence)`` from a mask with the axes of ``x``, or batch and attention axes.

        None if the mask has neither shape.
        """
        if mask.ndim != self.ndim:
            kept = [n if a == 0 or a in self.attended else 1 for a, n in enumerate(x.shape[:-1])]
            if not agree(mask.shape, [n for a, n in enumerate(kept) if a in (0, *self.attended)]):
                return None
            mask = jnp.broadcast_to(mask.reshape(kept), x.shape[:-1])
        elif not agree(mask.shape, x.shape[:-1]):
            return None
        return self.gather(mask.astype(bool))

    def pair_mask(self, mask: Any, query: Any, key: Any) -> Any | None:
        """``(batch, heads, targets, sources)``, or 1 for a size, from a mask with these axes.

        The axes of batch and heads may be missing; None if the mask has another shape.
        """
        others, targets = self.sizes(query)
        pairs = (*targets, *self.sizes(key)[1])
        leading, tail = mask.shape[: mask.ndim - len(pairs)], mask.shape[-len(pairs) :]
        heads = leading[-1] if len(leading) > len(others) else 1
        batch = leading[: len(others)]
        batch = (*batch, *(1,) * (len(others) - len(batch)))
        if len(leading) > len(others) + 1 or not (
            agree(tail, pairs, broadcast=True) and agree(batch, others, broadcast=True)
        ):
            return None
        mask = mask.astype(bool).reshape(*batch, heads, *tail)
        if len(others) > 1 or len(targets) > 1:
            mask = jnp.broadcast_to(mask, (*others, heads, *pairs))
        n, t = len(others), len(others) + 1 + len(targets)
        parts = (mask.shape[:n], mask.shape[n + 1 : t], mask.shape[t:])
        batch_size, target_size, source_size = map(math.prod, parts)
        return mask.reshape(batch_size, heads, target_size, source_size)


# ---- the layers ----------------------------------------------------------------------------------


def _alias(name: str) -> Any:
    """A second name of an attribute."""
    return property(attrgetter(name), lambda self, value: setattr(self, name, value))


class _Heads(NamedTuple):
    """The dimensions that the two layers define under different names."""

    queries: int
    groups: int
    size: int
    value_size: int
    use_bias: bool
    dropout: float
    window: int | None
    flash: bool | None


_SEED: Any = field(default=None, convert=read_seed)


@builtin()
class _Attention(Seeded, KernelAndBias, trailing=True, kw_only=True):
    """Attention between projections of queries, keys and values."""

    _untracked = KernelAndBias._untracked | {"_features"}
    use_gate: bool = False
    seed: int | None = _SEED
    _masks_queries: ClassVar[bool]  # whether masked queries do not attend to any key

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)
        if self._heads.flash and self._heads.dropout:
            raise ArgumentError(
                f"{type(self).__name__}(): `flash_attention` does not support dropout. "
                f"Received: flash_attention=True, dropout={self._heads.dropout}."
            )

    @property
    def _heads(self) -> _Heads:
        raise NotImplementedError

    def _attended(self, ndim: int) -> tuple[int, ...]:
        """The axes, out of ``ndim``, along which positions attend to one another."""
        return tuple(range(1, ndim - 1))

    def _output_sizes(self, features: int) -> tuple[int, ...]:
        return (features,)

    def _attribute(self, role: str) -> str:
        """The attribute that holds a projection; files use this name."""
        return f"_{role}_dense"

    def _project(self, role: str, x: Any) -> Any:
        return vars(self)[self._attribute(role)](x)

    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Create the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        query, key, value = (known_size(self, s, -1) for s in (query_shape, key_shape, value_shape))
        heads = self._heads
        results = (heads.queries, heads.value_size)
        columns = {
            "query": (query_shape, (heads.queries, heads.size)),
            "key": (key_shape, (heads.groups, heads.size)),
            "gate": (query_shape, results),
            "value": (value_shape, (heads.groups, heads.value_size)),
            "output": ((*query_shape[:-1], *results), self._output_sizes(query)),
        }
        arguments = self._get_common_kwargs_for_sublayer()
        for role, (shape, sizes) in columns.items():
            if role == "gate" and not self.use_gate:
                continue
            rows = "xy" if role == "output" else "x"
            made = "abcdefgh"[: len(sizes)]
            projection = EinsumDense(
                f"...{rows},{rows}{made}->...{made}", sizes, **arguments,
                bias_axes=made if heads.use_bias else None,
                name="attention_output" if role == "output" else role,
            )  # fmt: skip
            setattr(self, self._attribute(role), projection)
            projection.build(shape)
        self._features = {"query": query, "key": key, "value": value}
        self.input_spec = InputSpec(min_ndim=3, axes={-1: query})

    def _get_common_kwargs_for_sublayer(self) -> dict[str, Any]:
        """The arguments that all projections share; subclasses use this name of Keras's."""
        shared = {n: vars(self)[n] for n in fields_of(KernelAndBias, beyond=Layer)}
        return {**shared, "dtype": self.dtype_policy}

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Project, attend, project the result."""
        key = value if key is None else key
        heads, layout = self._heads, _Layout(query.ndim - 1, self._attended(query.ndim))
        self._check(query, value, key, layout)
        q, k, v = (
            layout.gather(self._project(role, x))
            for role, x in (("query", query), ("key", key), ("value", value))
        )
        given = (("value", value_mask, value), ("key", key_mask, key), ("query", query_mask, query))
        mask = self._mask(layout, given, attention_mask, query, key)
        flash = heads.flash
        if flash is None:
            flash = flash_by_default() and not heads.dropout and not return_attention_scores
        causal = use_causal_mask and (mask is not None or not flash)
        if causal or heads.window is not None:
            near = window_mask(q.shape[1], k.shape[1], causal=causal, window=heads.window)
            mask = near[None, None] if mask is None else mask & near
        scale, scores = heads.size**-0.5, None
        if flash:
            self._check_flash(return_attention_scores)
            result = flash_attend(q, k, v, scale=scale, mask=mask, causal=use_causal_mask)
        else:
            drop = self._drop if training and heads.dropout else None
            result, scores = attend(
                q, k, v, scale=scale, mask=mask, drop=drop, return_scores=return_attention_scores
            )
        result = layout.restore(result, query)
        if self.use_gate:
            result = result * jax.nn.sigmoid(self._project("gate", query))
        output = self._project("output", result)
        if scores is None:
            return output
        (others, targets), sources = layout.sizes(query), layout.sizes(key)[1]
        return output, scores.reshape(*others, heads.queries, *targets, *sources)

    def _drop(self, weights: Any) -> Any:
        key = random_key(self.seed, "dropout")
        return weights * keep_factors(key, self._heads.dropout, weights.shape, weights.dtype)

    def _mask(
        self, layout: _Layout, given: Any, attention_mask: Any, query: Any, key: Any
    ) -> Any | None:
        """Which query may attend to which key: where all masks are True; None without masks."""
        masks = []
        for role, mask, x in given:
            if mask is None or (role == "query" and not self._masks_queries):
                continue
            mask = jnp.asarray(mask)
            positions = layout.position_mask(mask, x)
            if positions is None:
                raise self._shape_error(f"{role}_mask", mask.shape, x.shape[:-1])
            axis = (1, 3) if role == "query" else (1, 2)
            masks.append(jnp.expand_dims(positions, axis))
        if attention_mask is not None:
            attention_mask = jnp.asarray(attention_mask)
            pairs = layout.pair_mask(attention_mask, query, key)
            if pairs is None:
                (others, targets), sources = layout.sizes(query), layout.sizes(key)[1]
                wanted = (*others, *targets, *sources)
                raise self._shape_error("attention_mask", attention_mask.shape, wanted)
            masks.append(pairs)
        return functools.reduce(jnp.logical_and, masks) if masks else None

    def _shape_error(self, what: str, shape: Any, wanted: Any) -> ShapeError:
        return ShapeError(
            f"Layer {self.name!r} ({type(self).__name__}) cannot use this `{what}`.",
            layer=self.name,
            expected=show_dims(tuple(wanted)),
            received=show_dims(tuple(shape)),
        )

    def _check(self, query: Any, value: Any, key: Any, layout: _Layout) -> None:
        """Check that keys and values have the query's shape except along the attention axes."""
        for role, x in (("value", value), ("key", key)):
            wanted = [*query.shape[:-1], self._features[role]]
            for axis in layout.attended:
                wanted[axis] = None if role == "value" else value.shape[axis]
            if not agree(x.shape, wanted):
                raise self._shape_error(role, x.shape, wanted)

    def _check_flash(self, return_attention_scores: bool) -> None:
        if return_attention_scores:
            raise ArgumentError(
                f"Layer {self.name!r}: flash attention has no scores to return. Expected "
                "return_attention_scores=False. Received: True, with "
                "flash_attention=True.",
                layer=self.name,
            )
        if jax.default_backend() != "gpu":
            raise ArgumentError(
                f"Layer {self.name!r}: flash_attention=True needs a GPU with cuDNN. "
                f"Received: platform {jax.default_backend()!r}. Leave `flash_attention` "
                "as None.",
                layer=self.name,
            )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the query is that of the output; scores have none."""
        return None if previous_mask is None else [previous_mask, None]


@builtin("layers")
class MultiHeadAttention(_Attention):
    """Multi-head attention: in each head, every query attends to all keys.

    ``softmax(q @ k^T / sqrt(key_dim)) @ v`` for each head, where ``q``, ``k`` and ``v`` are learned
    projections of ``query``, ``key`` and ``value``; the results of the heads are concatenated and
    projected.

    Args:
        num_heads: Number of heads.
        key_dim: Number of features of the queries and keys of each head.
        value_dim: Number of features of the values of each head; ``key_dim`` when None.
        dropout: Fraction of the attention weights to drop during training.
        use_bias: Whether the projections have a bias.
        output_shape: Shape of each output vector, an integer or several; that of the query when
            None.
        attention_axes: Axes along which positions attend to one another; all but the first and the
            last when None.
        sliding_window: Attend only to positions at a distance of less than this.
        flash_attention: Whether to use cuDNN's fused kernel, which needs a GPU and supports neither
            dropout nor returned scores. None is the same as False.
        kernel_initializer: Initializer of the kernels; that of ``query`` has the shape
            ``(features, heads, key_dim)``.
        bias_initializer: Initializer of the biases, of shape ``(heads, key_dim)`` and so on.
        kernel_regularizer: Penalty on the kernels, added to the loss.
        bias_regularizer: Penalty on the biases, added to the loss.
        kernel_constraint: Projection of the kernels after each update.
        bias_constraint: Projection of the biases after each update.
        use_gate: Whether to multiply the results of the heads by the sigmoid of another projection
            of the query.
        seed: Integer that, with the global seed, determines what is dropped.

    Call arguments:
        query: ``(batch, targets, features)``, or more axes.
        value: ``(batch, sources, features)``, where the number of features may differ.
        key: Like ``value``, which is used when None.
        query_mask: ``(batch, targets)``; becomes the mask of the output and has no other effect.
        value_mask: ``(batch, sources)``, True where a value may be attended to.
        key_mask: Likewise; both must be True.
        attention_mask: ``(batch, targets, sources)``, True where a query may attend to a value. The
            batch may be missing, or heads may follow it; sizes of 1 are broadcast.
        return_attention_scores: Whether to return ``(output, scores)``, where the scores are the
            attention weights of shape ``(batch, heads, targets, sources)``.
        training: Whether dropout is active.
        use_causal_mask: Whether no position may attend to later ones.

    Shapes: ``(batch, targets, features)`` to the same, or to ``(batch, targets, *output_shape)``.

    Raises:
        ShapeError: Inputs or masks whose shapes do not match.
        ArgumentError: Flash attention where it is not supported.

    For a query that may not attend to any key the result is zero (to which the output projection
    adds its bias), with and without ``return_attention_scores``; Keras averages all values in the
    first case.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; the gate: Qiu et al. 2025,
    https://arxiv.org/abs/2505.06708

    >>> x = jnp.ones((2, 5, 16))
    >>> output, scores = MultiHeadAttention(4, 8)(x, x, return_attention_scores=True)
    >>> output.shape, scores.shape
    ((2, 5, 16), (2, 4, 5, 5))
    """

    num_heads: int = field(convert=positive_int)
    key_dim: int = field(convert=positive_int)
    value_dim: int | None = field(default=None, convert=optional(positive_int))
    dropout: float = field(default=0.0, convert=dropout_rate)
    use_bias: bool = True
    output_shape: Any = field(default=None, convert=optional(integers))
    attention_axes: Any = field(default=None, convert=optional(integers))
    sliding_window: int | None = field(default=None, convert=optional(positive_int))
    flash_attention: bool | None = None
    _masks_queries: ClassVar[bool] = False

    # The layers that project; None until they are built.
    query_dense: ClassVar[Any] = None
    key_dense: ClassVar[Any] = None
    value_dense: ClassVar[Any] = None
    output_dense: ClassVar[Any] = None

    def __post_init__(self) -> None:
        if self.value_dim is None:
            self.value_dim = self.key_dim
        super().__post_init__()

    @property
    def _heads(self) -> _Heads:
        return _Heads(
            self.num_heads, self.num_heads, self.key_dim, self.value_dim or self.key_dim,
            self.use_bias, self.dropout, self.sliding_window, self.flash_attention,
        )  # fmt: skip

    def _attended(self, ndim: int) -> tuple[int, ...]:
        if self.attention_axes is None:
            return super()._attended(ndim)
        axes = tuple(a + ndim if a < 0 else a for a in self.attention_axes)
        if any(not 0 < a < ndim - 1 for a in axes) or len(set(axes)) != len(axes):
            raise ShapeError(
                f"Layer {self.name!r} (MultiHeadAttention) has attention_axes="
                f"{self.attention_axes}, which the input does not have.",
                layer=self.name,
                expected="distinct axes between the first and the last one",
                received=f"an input with {ndim} axes",
            )
        return axes

    def _output_sizes(self, features: int) -> tuple[int, ...]:
        return self.output_shape or (features,)

    def _attribute(self, role: str) -> str:
        return f"_{role}_dense" if role == "gate" else f"{role}_dense"

    # What subclasses that make their projections, compute keys and values from a cache, or change
    # the scores use of Keras's layer, beside second names of attributes.
    @property
    def _value_dim(self) -> int:
        return self._heads.value_size

    def _build_attention(self, rank: int) -> None:
        """Prepare the products as equations, the dropout and the softmax, for a subclass's call."""
        axes = self._attended(rank - 1)
        query = "abcdefghijklm"[:rank]
        key = "".join(x.upper() if i in axes else x for i, x in enumerate(query))
        others = "".join(x for i, x in enumerate(query[:-1]) if i not in axes)
        scores = others + "".join(x[i] for x in (query, key) for i in axes)
        self._dot_product_equation = f"{key},{query}->{scores}"
        self._combine_equation = f"{scores},{key}->{query}"
        self._scores_axes = tuple(range(-len(axes), 0))
        self._softmax = Softmax(self._scores_axes, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)

    def _masked_softmax(self, attention_scores: Any, attention_mask: Any = None) -> Any:
        """The attention weights of scores; a mask may lack the axis of the heads."""
        if attention_mask is not None:
            heads = len(self._scores_axes) * -2 - 1
            missing = range(attention_scores.ndim - attention_mask.ndim)
            attention_mask = jnp.expand_dims(attention_mask, [heads - i for i in missing])
        return self._softmax(attention_scores, mask=attention_mask)

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, Any]:
        """The attention between projections ``(batch, sequence, heads, size)``, and its scores."""
        mask = attention_mask
        if mask is not None:
            mask = jnp.asarray(mask, bool)
            mask = mask[:, None] if mask.ndim == 3 else mask
        return attend(
            query, key, value, scale=self._heads.size**-0.5, mask=mask,
            drop=self._drop if training and self._heads.dropout else None,
            return_scores=return_attention_scores,
        )  # fmt: skip


for _name in (
    "num_heads", "key_dim", "dropout", "use_bias", "output_shape", "query_dense", "key_dense",
    "value_dense", "output_dense", "activity_regularizer", *fields_of(KernelAndBias, beyond=Layer),
):  # fmt: skip
    setattr(MultiHeadAttention, f"_{_name}", _alias(_name))


@builtin("layers", stem="grouped_query_attention")
class GroupQueryAttention(_Attention):
    """Grouped-query attention: groups of query heads share their keys and values.

    With as many key-value heads as query heads this is :class:`MultiHeadAttention`; with one it is
    multi-query attention. Fewer keys and values make decoding cheaper.

    Args:
        head_dim: Number of features of the queries, keys and values of each head.
        num_query_heads: Number of query heads.
        num_key_value_heads: Number of key-value heads, which divides the number of query heads.
        dropout: Fraction of the attention weights to drop during training.
        use_bias: Whether the projections have a bias.
        sliding_window: Attend only to positions at a distance of less than this.
        flash_attention: Whether to use cuDNN's fused kernel, which needs a GPU and supports neither
            dropout nor returned scores. None is the same as False.
        kernel_initializer: Initializer of the kernels; that of ``query`` has the shape
            ``(features, num_query_heads, head_dim)``, those of ``key`` and ``value``
            ``(features, num_key_value_heads, head_dim)``.
        bias_initializer: Initializer of the biases, of shape ``(num_query_heads, head_dim)`` and so
            on.
        kernel_regularizer: Penalty on the kernels, added to the loss.
        bias_regularizer: Penalty on the biases, added to the loss.
        kernel_constraint: Projection of the kernels after each update.
        bias_constraint: Projection of the biases after each update.
        use_gate: Whether to multiply the results of the heads by the sigmoid of another projection
            of the query.
        seed: Integer that, with the global seed, determines what is dropped.

    Call arguments: see :class:`MultiHeadAttention`; here the result for a masked query is zero (to
    which the output projection adds its bias).

    Shapes: ``(batch, targets, features)`` to the same.

    Raises:
        ShapeError: Inputs or masks whose shapes do not match.
        ArgumentError: A number of key-value heads that does not divide the number of query heads,
            or flash attention where it is not supported.

    Ainslie et al. 2023, https://arxiv.org/abs/2305.13245

    >>> x = jnp.ones((2, 5, 16))
    >>> GroupQueryAttention(8, 4, 2)(x, x).shape
    (2, 5, 16)
    """

    head_dim: int = field(convert=positive_int)
    num_query_heads: int = field(convert=positive_int)
    num_key_value_heads: int = field(convert=positive_int)
    dropout: float = field(default=0.0, convert=dropout_rate)
    use_bias: bool = True
    sliding_window: int | None = field(default=None, convert=optional(positive_int))
    flash_attention: bool | None = None
    _masks_queries: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_query_heads % self.num_key_value_heads:
            raise ArgumentError(
                "GroupQueryAttention(): `num_query_heads` must be a multiple of "
                f"`num_key_value_heads`. Received: {self.num_query_heads} and "
                f"{self.num_key_value_heads}."
            )
        super().__post_init__()
        self.num_repeats = self.num_query_heads // self.num_key_value_heads

    @property
    def _heads(self) -> _Heads:
        return _Heads(
            self.num_query_heads, self.num_key_value_heads, self.head_dim, self.head_dim,
            self.use_bias, self.dropout, self.sliding_window, self.flash_attention,
        )  # fmt: skip


__all__ = ["GroupQueryAttention", "MultiHeadAttention"]
