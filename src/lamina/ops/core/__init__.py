"""Conversion of tensors, loops and conditions, and updates of slices."""

from lamina.ops.core.control import (
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    switch,
    vectorized_map,
    while_loop,
)
from lamina.ops.core.scatter import scatter, scatter_update, slice, slice_update, unstack
from lamina.ops.core.tensors import (
    cast,
    convert_to_numpy,
    convert_to_tensor,
    custom_gradient,
    dtype,
    is_tensor,
    saturate_cast,
    shape,
    stop_gradient,
)

__all__ = [
    "associative_scan",
    "cast",
    "cond",
    "convert_to_numpy",
    "convert_to_tensor",
    "custom_gradient",
    "dtype",
    "fori_loop",
    "is_tensor",
    "map",
    "saturate_cast",
    "scan",
    "scatter",
    "scatter_update",
    "shape",
    "slice",
    "slice_update",
    "stop_gradient",
    "switch",
    "unstack",
    "vectorized_map",
    "while_loop",
]  # fmt: skip
