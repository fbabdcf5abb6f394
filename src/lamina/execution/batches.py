"""Batches in the forms of users and of the steps, and batches inside compiled loops."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax

from lamina.errors import StructureError

Batch = tuple[Any, Any, Any]


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """Convert ``x``, ``(x, y)`` or ``(x, y, sample_weight)`` to a triple; None for missing parts.

    Args:
        data: A batch: inputs alone, or a tuple of up to three parts.

    >>> unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise StructureError(
            f"A batch is x, (x, y) or (x, y, sample_weight). Received a tuple of {len(data)} "
            "entries; if these are several inputs, pass them as a list or a dict."
        )
    return (*data, None, None)[:3]  # pyright: ignore[reportReturnType]


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Combine the parts of a batch into ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Args:
        x: Inputs: an array or a nested structure.
        y: Targets, or None.
        sample_weight: Weights of the samples, or None.

    >>> pack_x_y_sample_weight(1, 2)
    (1, 2)
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


class Prepared(tuple[Any, ...]):
    """The inputs of the compiled part of a graph, of which the other part has run on the host."""

    __slots__ = ()


jax.tree_util.register_pytree_node(
    Prepared, lambda x: (tuple(x), None), lambda _, leaves: Prepared(leaves)
)


class Static:
    """A static argument of a compiled step: a pytree without leaves."""

    def __init__(self, value: Any) -> None:
        self.value = value


jax.tree_util.register_pytree_node(Static, lambda s: ((), s.value), lambda value, _: Static(value))


@runtime_checkable
class Block(Protocol):
    """Data from which a compiled loop extracts its batches."""

    def batch(self, i: Any, size: int) -> Any:
        """Batch ``i``."""
        ...


def batch_of(block: Any, i: Any, size: Static) -> Any:
    """Batch ``i`` of a block of data, or of samples that are used in place."""
    if isinstance(block, Block):
        return block.batch(i, size.value)
    return jax.tree.map(
        lambda a: jax.lax.dynamic_slice_in_dim(a, i * size.value, size.value), block
    )
