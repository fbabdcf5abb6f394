"""Comparing shapes whose sizes may be symbolic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.core.spec import BATCH, is_anonymous


def agree(shape: Sequence[Any], wanted: Sequence[Any], *, broadcast: bool = False) -> bool:
    """Whether two shapes have the same rank and the same sizes, as far as these are known.

    Sizes left open and the batch fit any size; sizes of different names are different.

    Args:
        shape: the shape in question.
        wanted: the shape it should have.
        broadcast: whether sizes of 1 may stand for any.

    >>> agree((2, 3), (2, 4)), agree((2, None), (2, 4)), agree((2, 1), (2, 4), broadcast=True)
    (False, True, True)
    """
    return len(shape) == len(wanted) and all(
        a == b or (broadcast and a == 1) or _is_open(a) or _is_open(b)
        for a, b in zip(shape, wanted, strict=True)
    )


def _is_open(size: Any) -> bool:
    return size is None or is_anonymous(size) or (not isinstance(size, int) and size == BATCH)
