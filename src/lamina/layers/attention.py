"""Layers in which positions look at one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import constraints, initializers, regularizers
from lamina.core.fields import field, one_of, positive_int
from lamina.core.scope import random_key
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError, StructureError
from lamina.initializers.base import read_seed
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.regularization import number
from lamina.ops.lowering.attention import attend, flash_attend, window_mask
from lamina.ops.lowering.dropout import keep_factors

_rate = number("[0, 1]", lambda v: 0 <= v <= 1)


def _or_none(read: Any) -> Any:
    return lambda value: None if value is None else read(value)


def _sizes(value: Any) -> Any:
    return value if hasattr(value, "__index__") else tuple(value)


def _fits(shape: Any, wanted: Any) -> bool:
    """Whether a shape broadcasts to another one, as far as sizes are numbers."""
    return len(shape) == len(wanted) and all(
        a == 1 or a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(shape, wanted, strict=True)
    )


# ---- with projections ----------------------------------------------------------------------------


class _AsMatrix(initializers.Initializer):
    """Initial values of a matrix in the shape of a kernel with several axes on a side."""

    def __init__(self, initializer: Any, rows: int) -> None:
        self.initializer, self.rows = initializer, rows

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        draw = getattr(self.initializer, "draw", None)
        if draw is None:
            return np.asarray(self.initializer(shape, dtype=dtype))
        return np.asarray(draw(rng, (self.rows, math.prod(shape) // self.rows), dtype)).reshape(shape)


class _Projection(Layer):
    """``x @ kernel + bias`` from the last axes of ``x`` to other ones."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    use_bias: bool
    like: Any  # the layer whose initializers, regularizers and constraints it takes

    def build(self, input_shape: Any = None) -> None:
        like = self.like
        self.kernel = self.add_weight(
            (*self.rows, *self.columns), _AsMatrix(like.kernel_initializer, math.prod(self.rows)),
            name="kernel", regularizer=like.kernel_regularizer, constraint=like.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                self.columns, like.bias_initializer, name="bias", regularizer=like.bias_regularizer,
                constraint=like.bias_constraint,
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        rows = math.prod(self.rows)
        leading = inputs.shape[: inputs.ndim - len(self.rows)]
        y = jnp.matmul(inputs.reshape(*leading, rows), self.kernel.value.reshape(rows, -1))
        y = y.reshape(*leading, *self.columns)
        return y if self.bias is None else y + self.bias.value
