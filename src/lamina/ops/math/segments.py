"""Reductions over segments: entries of axis 0 with the same segment index."""

from __future__ import annotations

from typing import Any

import jax
import jax.core

from lamina.core.declaration import Tensor, as_op
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array

FILE_MODULE = "math"  # of Keras's files


def _segments(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(
        data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False
    ) -> jax.Array:
        data, ids = as_array(data), as_array(segment_ids)
        if ids.shape != data.shape[:1]:
            raise ShapeError(
                f"ops.{name} expects a segment index for each entry of axis 0.",
                expected=f"segment_ids of shape {data.shape[:1]}",
                received=f"shape {ids.shape}",
            )
        if num_segments is None and isinstance(ids, jax.core.Tracer):
            raise ArgumentError(
                f"ops.{name} needs `num_segments` where the values of `segment_ids` are not known, "
                "as inside a layer or a compiled function. Received: None."
            )
        return fn(data, ids, num_segments=num_segments, indices_are_sorted=sorted)

    text = f"""{line}

    Args:
        data: Tensor ``(n, ...)``.
        segment_ids: The segment index of each entry, ``(n,)``. Entries whose index is out of range
            are ignored.
        num_segments: Number of segments; the largest index plus 1 when None, which needs values.
        sorted: Whether ``segment_ids`` increases, which can be faster.

    Returns: Tensor ``(num_segments, ...)``; a segment without entries has the identity of the
    reduction: 0 for a sum, 1 for a product, minus or plus infinity for the maximum or minimum.
    """
    return as_op(apply, name, text, example, __name__)


segment_sum = _segments("segment_sum", jax.ops.segment_sum, "The sum of each segment.",
    "[1, 2, 3], [0, 0, 1] -> [3, 3]")  # fmt: skip
segment_prod = _segments("segment_prod", jax.ops.segment_prod, "The product of each segment.",
    "[2, 3, 4], [0, 0, 1] -> [6, 4]")  # fmt: skip
segment_max = _segments("segment_max", jax.ops.segment_max, "The largest entry of each segment.",
    "[1, 2, 3], [0, 0, 1] -> [2, 3]")  # fmt: skip
segment_min = _segments("segment_min", jax.ops.segment_min, "The smallest entry of each segment.",
    "[1, 2, 3], [0, 0, 1] -> [1, 3]")  # fmt: skip
