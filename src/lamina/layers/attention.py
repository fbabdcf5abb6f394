"""Attention between projections: MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import constraints, initializers, regularizers
from lamina.core import naming
from lamina.core.scope import random_key
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.base import read_seed
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.regularization import number
from lamina.layers.shapes import agree
from lamina.ops.lowering.attention import attend, flash_attend, window_mask
from lamina.ops.lowering.dropout import keep_factors
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin

_rate = number("[0, 1]", lambda v: 0 <= v <= 1)


def _positive_or_none(value: Any) -> int | None:
    return None if value is None else positive_int(value)


def _integers(value: Any) -> tuple[int, ...] | None:
    """Read None, one integer, or several."""
    if value is None:
        return None
    values = (value,) if hasattr(value, "__index__") else tuple(value)
    if any(not hasattr(v, "__index__") for v in values):
        raise ArgumentError(f"expected None, an integer or several. Received: {value!r}.")
    return tuple(int(v) for v in values)


# ---- projections ---------------------------------------------------------------------------------


@builtin()
class _AsMatrix(initializers.Initializer):
    """Initial values of a matrix, in the shape of a kernel with several axes on a side."""

    def __init__(self, initializer: Any, rows: int) -> None:
        self.initializer, self.rows = initializer, rows

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        draw = getattr(self.initializer, "draw", None)
        if draw is None:
            return np.asarray(self.initializer(shape, dtype=dtype))
        matrix = draw(rng, (self.rows, math.prod(shape) // self.rows), dtype)
        return np.asarray(matrix).reshape(shape)


@builtin()
class _ProjectionArguments(Layer):
    """How kernels and biases start, what is added to the loss for them, what they are held to."""

    kernel_initializer: Any = field("glorot_uniform", convert=initializers.get, kw_only=True)
    bias_initializer: Any = field("zeros", convert=initializers.get, kw_only=True)
    kernel_regularizer: Any = field(None, convert=regularizers.get, kw_only=True)
    bias_regularizer: Any = field(None, convert=regularizers.get, kw_only=True)
    kernel_constraint: Any = field(None, convert=constraints.get, kw_only=True)
    bias_constraint: Any = field(None, convert=constraints.get, kw_only=True)


@builtin()
class _Projection(_ProjectionArguments):
    """``x @ kernel + bias``, where rows and columns of the kernel may have several axes each."""

    rows: tuple[int, ...] = field()
    columns: tuple[int, ...] = field()
    use_bias: bool = field()

    def build(self, input_shape: Any = None) -> None:
        """Make ``kernel`` and ``bias``."""
        initial = _AsMatrix(self.kernel_initializer, math.prod(self.rows))
        self.kernel = self.add_weight(
            (*self.rows, *self.columns), initial, name="kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                self.columns, self.bias_initializer, name="bias",
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """One product over as many last axes as the kernel has rows."""
        # On CPU `einsum` is a fifth faster here than a product of reshaped matrices.
        rows = "abcdefgh"[: len(self.rows)]
        columns = "stuvwxyz"[: len(self.columns)]
        y = jnp.einsum(f"...{rows},{rows}{columns}->...{columns}", inputs, self.kernel.value)
        return y if self.bias is None else y + self.bias.value


# ---- from any axes to (batch, sequence) and back -------------------------------------------------


class _Layout:
    """Which axes are attended: those become one sequence, the others one batch.

    Args:
        ndim: number of axes of queries and keys without the features.
        attended: the axes along which positions look at one another.
    """

    def __init__(self, ndim: int, attended: tuple[int, ...]) -> None:
        self.ndim, self.attended = ndim, attended
        self.others = tuple(a for a in range(ndim) if a not in attended)

    def sizes(self, x: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Sizes of the other axes and of the attended ones."""
        return tuple(x.shape[a] for a in self.others), tuple(x.shape[a] for a in self.attended)

    def gather(self, x: Any) -> Any:
        """``(*axes, ...)`` to ``(batch, sequence, ...)``."""
        others, attended = self.sizes(x)
        x = jnp.transpose(x, (*self.others, *self.attended, *range(self.ndim, x.ndim)))
        return x.reshape(math.prod(others), math.prod(attended), *x.shape[self.ndim :])

    def restore(self, x: Any, like: Any) -> Any:
        """``(batch, sequence, ...)`` to ``(*axes, ...)``, of the sizes of ``like``."""
        others, attended = self.sizes(like)
        x = x.reshape(*others, *attended, *x.shape[2:])
        back = np.argsort((*self.others, *self.attended)).tolist()
        return jnp.transpose(x, (*back, *range(self.ndim, x.ndim)))

    def position_mask(self, mask: Any, x: Any) -> Any | None:
        """``(batch, sequence)`` from a mask with the axes of ``x``, or only batch and attended.

        None where the mask has neither shape.
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

        The axes of batch and heads may be missing; None where the mask does not fit.
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


class _Heads(NamedTuple):
    """What multi-head and grouped-query attention say in words of their own."""

    queries: int
    groups: int
    size: int
    value_size: int
    use_bias: bool
    dropout: float
    window: int | None
    flash: bool | None


@builtin()
class _Attention(_ProjectionArguments):
    """Attention between projections of queries, keys and values."""

    use_gate: bool = field(False, kw_only=True)
    seed: int | None = field(None, convert=read_seed, kw_only=True)
    _masks_queries: ClassVar[bool]  # whether masked queries look at nothing

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)
        if self._heads.flash and self._heads.dropout:
            raise ArgumentError(
                f"{type(self).__name__}(): `flash_attention` works without dropout only. "
                f"Received: flash_attention=True, dropout={self._heads.dropout}."
            )

    @property
    def _heads(self) -> _Heads:
        raise NotImplementedError

    def _attended(self, ndim: int) -> tuple[int, ...]:
        """The axes, of ``ndim``, along which positions look at one another."""
        return tuple(range(1, ndim - 1))

    def _output_sizes(self, features: int) -> tuple[int, ...]:
        return (features,)

    def _attribute(self, role: str) -> str:
        """Where a projection lives; files know it by this name."""
        return f"_{role}_dense"

    def _project(self, role: str, x: Any) -> Any:
        return getattr(self, self._attribute(role))(x)

    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Make the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        query, key, value = (known_size(self, s, -1) for s in (query_shape, key_shape, value_shape))
        heads = self._heads
        results = (heads.queries, heads.value_size)
        kernels = {
            "query": ((query,), (heads.queries, heads.size)),
            "key": ((key,), (heads.groups, heads.size)),
            "gate": ((query,), results),
            "value": ((value,), (heads.groups, heads.value_size)),
            "output": (results, self._output_sizes(query)),
        }
        shared = _ProjectionArguments._fields.keys() - Layer._fields.keys()
        arguments: dict[str, Any] = {name: getattr(self, name) for name in shared}
        arguments["dtype"] = self.dtype_policy
        for role, (rows, columns) in kernels.items():
            if role == "gate" and not self.use_gate:
                continue
            name = "attention_output" if role == "output" else role
            projection = _Projection(rows, columns, heads.use_bias, **arguments, name=name)
            setattr(self, self._attribute(role), projection)
            projection.build()
        self._features = {"query": query, "key": key, "value": value}
        self.input_spec = InputSpec(min_ndim=3, axes={-1: query})

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
        """Project, attend, project back."""
        key = value if key is None else key
        heads, layout = self._heads, _Layout(query.ndim - 1, self._attended(query.ndim))
        self._check(query, value, key, layout)
        q, k, v = (
            layout.gather(self._project(role, x))
            for role, x in (("query", query), ("key", key), ("value", value))
        )
        given = (("value", value_mask, value), ("key", key_mask, key), ("query", query_mask, query))
        mask = self._mask(layout, given, attention_mask, query, key)
        causal = use_causal_mask and (mask is not None or not heads.flash)
        if causal or heads.window is not None:
            near = window_mask(q.shape[1], k.shape[1], causal=causal, window=heads.window)
            mask = near[None, None] if mask is None else mask & near
        scale, scores = heads.size**-0.5, None
        if heads.flash:
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
        """Which query may look at which key: every mask must let it; None where there is none."""
        masks = []
        for role, mask, x in given:
            if mask is None or (role == "query" and not self._masks_queries):
                continue
            positions = layout.position_mask(mask, x)
            if positions is None:
                raise self._misfit(f"{role}_mask", mask.shape, x.shape[:-1])
            axis = (1, 3) if role == "query" else (1, 2)
            masks.append(jnp.expand_dims(positions, axis))
        if attention_mask is not None:
            pairs = layout.pair_mask(attention_mask, query, key)
            if pairs is None:
                (others, targets), sources = layout.sizes(query), layout.sizes(key)[1]
                wanted = (*others, *targets, *sources)
                raise self._misfit("attention_mask", attention_mask.shape, wanted)
            masks.append(pairs)
        return functools.reduce(jnp.logical_and, masks) if masks else None

    def _misfit(self, what: str, shape: Any, wanted: Any) -> ShapeError:
        return ShapeError(
            f"Layer {self.name!r} ({type(self).__name__}) cannot use this `{what}`.\n"
            f"  expected: {show_dims(tuple(wanted))}\n  received: {show_dims(tuple(shape))}"
        )

    def _check(self, query: Any, value: Any, key: Any, layout: _Layout) -> None:
        """Keys and values have the query's axes, and all sizes but those attended."""
        for role, x in (("value", value), ("key", key)):
            wanted = [*query.shape[:-1], self._features[role]]
            for axis in layout.attended:
                wanted[axis] = None if role == "value" else value.shape[axis]
            if not agree(x.shape, wanted):
                raise self._misfit(role, x.shape, wanted)

    def _check_flash(self, return_attention_scores: bool) -> None:
        if return_attention_scores:
            raise ArgumentError(
                f"Layer {self.name!r}: flash attention has no scores to return. Expected "
                "return_attention_scores=False. Received: True, with flash_attention=True."
            )
        if jax.default_backend() != "gpu":
            raise ArgumentError(
                f"Layer {self.name!r}: flash_attention=True needs a GPU with cuDNN. Received: "
                f"platform {jax.default_backend()!r}. Leave `flash_attention` at None."
            )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The query's mask travels on with the output; scores have none."""
        return None if previous_mask is None else [previous_mask, None]


@builtin("layers")
class MultiHeadAttention(_Attention):
    """Several heads, each of which lets every query gather from the values whose keys match it.

    ``softmax(q @ k^T / sqrt(key_dim)) @ v`` for each head, where ``q``, ``k`` and ``v`` are learned
    projections of ``query``, ``key`` and ``value``; the heads' results are projected together.

    Args:
        num_heads: number of heads.
        key_dim: size of each head's queries and keys.
        value_dim: size of each head's values; ``key_dim`` when None.
        dropout: part of the weights to drop while training.
        use_bias: whether the projections have biases.
        output_shape: features of the output, an integer or several; the query's when None.
        attention_axes: the axes along which positions look at one another; all but the first and
            the last when None.
        sliding_window: how near a position must be to be looked at: less than this far away.
        flash_attention: True for cuDNN's fused kernel (GPUs only, no dropout, no scores).
        kernel_initializer: for the kernels; ``query`` has the shape ``(features, heads, key_dim)``.
        bias_initializer: for the biases, of shape ``(heads, key_dim)`` and so on.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        kernel_constraint: projection of the kernels after each step of the optimizer.
        bias_constraint: likewise, of the biases.
        use_gate: whether the heads' results are scaled by ``sigmoid`` of one more projection of the
            query.
        seed: makes the drops differ from those of the global seed.

    Call arguments:
        query: ``(batch, targets, features)``, or more axes.
        value: ``(batch, sources, features)``; with its own number of features.
        key: like ``value``, which is used when None.
        query_mask: ``(batch, targets)``; travels on with the output and has no other effect.
        value_mask: ``(batch, sources)``, True where a value may be looked at.
        key_mask: likewise; both must be True.
        attention_mask: ``(batch, targets, sources)``, True where a query may look at a value. The
            batch may be missing, or heads may follow it; sizes of 1 are repeated.
        return_attention_scores: return ``(output, scores)``, with the weights
            ``(batch, heads, targets, sources)``.
        training: whether dropout acts.
        use_causal_mask: let each position look at none after it.

    Shapes: ``(batch, targets, features)`` to the same, or to ``(batch, targets, *output_shape)``.

    Raises:
        ShapeError: inputs or masks that do not fit one another.
        ArgumentError: flash attention asked where it cannot be had.

    A query that may look at nothing gets zeros (and so the output's bias), with and without
    ``return_attention_scores``; Keras averages all values in the first case.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; the gate: Qiu et al. 2025,
    https://arxiv.org/abs/2505.06708

    >>> x = jnp.ones((2, 5, 16))
    >>> output, scores = MultiHeadAttention(4, 8)(x, x, return_attention_scores=True)
    >>> output.shape, scores.shape
    ((2, 5, 16), (2, 4, 5, 5))
    """

    num_heads: int = field(convert=positive_int)
    key_dim: int = field(convert=positive_int)
    value_dim: int | None = field(None, convert=_positive_or_none)
    dropout: float = field(0.0, convert=_rate)
    use_bias: bool = True
    output_shape: Any = field(None, convert=_integers)
    attention_axes: Any = field(None, convert=_integers)
    sliding_window: int | None = field(None, convert=_positive_or_none)
    flash_attention: bool | None = None
    _masks_queries: ClassVar[bool] = False

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
                f"{self.attention_axes}.\n  expected: different axes between the first and the "
                f"last one\n  received: an input with {ndim} axes"
            )
        return axes

    def _output_sizes(self, features: int) -> tuple[int, ...]:
        return self.output_shape or (features,)

    def _attribute(self, role: str) -> str:
        return f"_{role}_dense" if role == "gate" else f"{role}_dense"


@builtin("layers", file_name="GroupedQueryAttention")
class GroupQueryAttention(_Attention):
    """Multi-head attention whose heads share keys and values, in groups.

    With as many key-value heads as query heads this is :class:`MultiHeadAttention`; with one it is
    multi-query attention. Fewer keys and values make decoding cheaper.

    Args:
        head_dim: size of each head's queries, keys and values.
        num_query_heads: number of heads.
        num_key_value_heads: number of groups; it divides the number of heads.
        dropout: part of the weights to drop while training.
        use_bias: whether the projections have biases.
        sliding_window: how near a position must be to be looked at: less than this far away.
        flash_attention: True for cuDNN's fused kernel (GPUs only, no dropout, no scores).
        kernel_initializer: for the kernels; ``query`` has ``(features, heads, head_dim)``, ``key``
            and ``value`` have ``(features, groups, head_dim)``.
        bias_initializer: for the biases, of shape ``(heads, head_dim)`` and so on.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        kernel_constraint: projection of the kernels after each step of the optimizer.
        bias_constraint: likewise, of the biases.
        use_gate: whether the heads' results are scaled by ``sigmoid`` of one more projection of the
            query.
        seed: makes the drops differ from those of the global seed.

    Call arguments: see :class:`MultiHeadAttention`; here a masked query gets zeros (and so the
    output's bias).

    Shapes: ``(batch, targets, features)`` to the same.

    Raises:
        ShapeError: inputs or masks that do not fit one another.
        ArgumentError: groups that do not divide the heads, or flash attention asked where it cannot
            be had.

    Ainslie et al. 2023, https://arxiv.org/abs/2305.13245

    >>> x = jnp.ones((2, 5, 16))
    >>> GroupQueryAttention(8, 4, 2)(x, x).shape
    (2, 5, 16)
    """

    head_dim: int = field(convert=positive_int)
    num_query_heads: int = field(convert=positive_int)
    num_key_value_heads: int = field(convert=positive_int)
    dropout: float = field(0.0, convert=_rate)
    use_bias: bool = True
    sliding_window: int | None = field(None, convert=_positive_or_none)
    flash_attention: bool | None = None
    _masks_queries: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_query_heads % self.num_key_value_heads:
            raise ArgumentError(
                "GroupQueryAttention() expects `num_query_heads` to be a multiple of "
                f"`num_key_value_heads`. Received: {self.num_query_heads} and "
                f"{self.num_key_value_heads}."
            )
        if self.name is None:
            self.name = naming.auto_name("grouped_query_attention")  # as Keras calls it
        super().__post_init__()

    @property
    def _heads(self) -> _Heads:
        return _Heads(
            self.num_query_heads, self.num_key_value_heads, self.head_dim, self.head_dim,
            self.use_bias, self.dropout, self.sliding_window, self.flash_attention,
        )  # fmt: skip


__all__ = ["GroupQueryAttention", "MultiHeadAttention"]
