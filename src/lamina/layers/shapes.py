"""Comparing shapes some of whose dimensions may be symbolic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.core.spec import BATCH, is_anonymous


def agree(shape: Sequence[Any], expected: Sequence[Any], *, broadcast: bool = False) -> bool:
    """Whether two shapes have the same rank and the same dimensions, as far as these are known.

    Unknown dimensions and the batch dimension agree with any size; dimensions of different names
    differ.

    Args:
        shape: The shape in question.
        expected: The shape that it should have.
        broadcast: Whether dimensions of 1 in ``shape`` agree with any.

    >>> agree((2, 3), (2, 4)), agree((2, None), (2, 4)), agree((2, 1), (2, 4), broadcast=True)
    (False, True, True)
    """
    return len(shape) == len(expected) and all(
        a == b or (broadcast and a == 1) or _is_unknown(a) or _is_unknown(b)
        for a, b in zip(shape, expected, strict=True)
    )


def _is_unknown(size: Any) -> bool:
    return size is None or is_anonymous(size) or (not isinstance(size, int) and size == BATCH)
