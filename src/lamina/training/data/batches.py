"""A batch, or all samples, as a triple of arrays in any nesting: its parts by name, its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lamina.errors import DataError
from lamina.execution.batches import Batch
from lamina.training.data.passes import Pass
from lamina.tree import nested

Weigh = Callable[[Any, Any], Any]  # targets and sample weights to sample weights


def separate(data: Batch, over: Pass) -> Batch:
    """Inputs and targets of a dict that holds both, as the rows of a table do.

    Without separate targets, the entries named like outputs are the targets, and the others
    the inputs; an entry named like an input and an output is both.
    """
    x, y, sample_weight = data
    if y is not None or not isinstance(x, Mapping):
        return data
    targets = {n: x[n] for n in over.outputs if n in x}
    if not targets:
        return data
    inputs = {n for names in over.inputs for n in names}
    return {k: v for k, v in x.items() if k in inputs or k not in targets}, targets, sample_weight


def map_arrays(fn: Callable[[Any], Any], batch: Any) -> Any:
    """``fn`` of each array; None stays None."""
    return nested.map_structure(lambda x: None if x is None else fn(x), batch)


def _named_leaves(batch: Batch) -> list[tuple[str, Any]]:
    return [
        (what + "".join(f"[{p!r}]" for p in path), leaf)
        for what, part in zip(("x", "y", "sample_weight"), batch, strict=True)
        for path, leaf in nested.flatten_with_path(part)
        if leaf is not None
    ]


def describe(batch: Batch) -> str:
    """The arrays of a batch by name, with their shapes."""
    shown = [f"{name} of shape {np.shape(a)}" for name, a in _named_leaves(batch)]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "...", *shown[-2:]])


def common_length(batch: Batch) -> int:
    """The number of samples, which all arrays agree on."""
    shapes = [leaf.shape for leaf in nested.flatten(batch) if leaf is not None]
    if not shapes:
        raise DataError("There is no data. Received x=None; pass arrays or an iterable.")
    if not all(shapes):
        raise DataError(f"Data needs an axis of samples in front. Received: {describe(batch)}.")
    if len({shape[0] for shape in shapes}) > 1:
        x, y, _ = batch
        listed = isinstance(x, list) and getattr(y, "shape", (0,))[0] == len(x)
        cure = "\nA list means several inputs. `np.stack(x)` makes one array of the samples."
        raise DataError(
            f"All data must have the same number of samples. Received: {describe(batch)}."
            + (cure if listed else "")
        )
    return shapes[0][0]
