"""The backend: its name, default dtypes and image layouts, and automatic names."""

from __future__ import annotations

import gc
from typing import Any

from lamina.core import naming
from lamina.core.graph import is_symbolic
from lamina.dtype_policies import dtypes
from lamina.dtype_policies.dtypes import result_type, standardize_dtype
from lamina.errors import GraphError
from lamina.settings import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from lamina.tree import nested


def is_float_dtype(dtype: Any) -> bool:
    """Whether a dtype is a floating-point dtype, of 8 bits or more.

    >>> is_float_dtype("bfloat16"), is_float_dtype("int32")
    (True, False)
    """
    return dtypes.is_float(standardize_dtype(dtype))


def is_int_dtype(dtype: Any) -> bool:
    """Whether a dtype is a signed or unsigned integer.

    >>> is_int_dtype("uint8"), is_int_dtype(bool)
    (True, False)
    """
    return dtypes.is_int(standardize_dtype(dtype))


def is_keras_tensor(x: Any) -> bool:
    """Whether ``x`` is a symbolic tensor: what ``Input`` and layers return while a model is built.

    Args:
        x: Any object.

    >>> import lamina
    >>> is_keras_tensor(lamina.Input((2,))), is_keras_tensor(1.0)
    (True, False)
    """
    return is_symbolic(x)


def get_uid(prefix: str = "") -> int:
    """The next number for ``prefix`` in this process: 1, 2, ...

    >>> get_uid("example"), get_uid("example")
    (1, 2)
    """
    return naming.uid(prefix)


def clear_session(free_memory: bool = True) -> None:
    """Reset the counters of automatic names and random draws, as in a new process.

    Models stay usable. There is no global graph to be cleared.

    Args:
        free_memory: Whether to run Python's garbage collector too.

    >>> import lamina
    >>> clear_session()
    >>> lamina.layers.Dense(1).name, lamina.layers.Dense(1).name
    ('dense', 'dense_1')
    """
    naming.reset()
    if free_memory:
        gc.collect()


def get_source_inputs(tensor: Any) -> list[Any]:
    """The ``Input`` tensors that symbolic tensors were computed from, each once.

    Args:
        tensor: A symbolic tensor, or a nested structure of them.

    Raises:
        GraphError: It contains no symbolic tensor.

    >>> import lamina
    >>> x = lamina.Input((2,), name="x")
    >>> [tensor.name for tensor in get_source_inputs(lamina.layers.Dense(3)(x))]
    ['x']
    """
    leaves = [x for x in nested.flatten(tensor) if is_symbolic(x)]
    if not leaves:
        raise GraphError(
            "get_source_inputs() expects symbolic tensors, which `lamina.Input` and calls of "
            f"layers on them return. Received: {tensor!r} (of type {type(tensor).__name__})."
        )
    found: dict[Any, None] = {}
    stack, seen = list(reversed(leaves)), set()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x.node.inputs:
            stack.extend(reversed(x.node.inputs))
        else:
            found[x] = None
    return list(found)


__all__ = [
    "backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format",
    "is_float_dtype", "is_int_dtype", "is_keras_tensor", "result_type", "set_epsilon",
    "set_floatx", "set_image_data_format", "standardize_dtype",
]  # fmt: skip
