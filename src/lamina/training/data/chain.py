"""The nodes of data sets: each makes an element by number from elements of the node before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lamina.core import prng
from lamina.errors import CorruptFileError, DataError
from lamina.training.data.arrays import is_array_like
from lamina.tree import nested

SKIPPED: Any = object()  # in place of an element that could not be read


@runtime_checkable
class Items(Protocol):
    """Elements by number: what a data set can be made of, besides arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@runtime_checkable
class Windows(Items, Protocol):
    """Elements that can be taken many at a time."""

    def take(self, indices: np.ndarray) -> Any: ...


# ---- nodes --------------------------------------------------------------------------------------


class Node:
    """Elements by number; ``size`` is None where they do not end."""

    size: int | None

    def __init__(self, kind: str, parent: Node | None, size: int | None, *details: Any) -> None:
        self.size, self.parent = size, parent
        self.chain: tuple[Any, ...] = (*(() if parent is None else parent.chain), (kind, *details))

    def get(self, index: int, epoch: int) -> Any:
        raise TypeError(type(self))

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        """Several elements as a batch."""
        found = [self.get(i, epoch) for i in indices]
        return stack([x for x in found if x is not SKIPPED], pad)


class Arrays(Node):
    """Rows of arrays in any nesting."""

    def __init__(self, arrays: Any) -> None:
        self._arrays = _rows_in(arrays)
        lengths = {len(a) for a in nested.flatten(self._arrays)}
        if len(lengths) != 1:
            shapes = nested.map_structure(np.shape, self._arrays)
            raise DataError(
                "The arrays of a Dataset have different numbers of rows, or there are none.",
                expected="arrays of the same length",
                received=shapes,
            )
        super().__init__("arrays", None, lengths.pop())

    def get(self, index: int, epoch: int) -> Any:
        return nested.map_structure(lambda a: a[index], self._arrays)

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        rows = np.asarray(indices, np.intp)
        return nested.map_structure(lambda a: a[rows], self._arrays)


class FromItems(Node):
    """Elements of an object that gives them by number."""

    def __init__(self, items: Items) -> None:
        super().__init__("items", None, len(items), type(items).__name__)
        self._items = items

    def get(self, index: int, epoch: int) -> Any:
        return self._items[index]

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        if isinstance(self._items, Windows):
            return self._items.take(np.asarray(indices, np.intp))
        return super().many(indices, epoch, pad)


class Reordered(Node):
    """Other numbers, and possibly other epochs, of the same elements."""

    def __init__(
        self, kind: str, parent: Node, size: int | None, *details: Any,
        where: Callable[[int, int], tuple[int, int]],
    ) -> None:  # fmt: skip
        super().__init__(kind, parent, size, *details)
        self._of, self._where = parent, where

    def get(self, index: int, epoch: int) -> Any:
        return self._of.get(*self._where(index, epoch))

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        places = [self._where(i, epoch) for i in indices]
        epochs = {e for _, e in places}
        if len(epochs) != 1:  # a batch across the end of a repetition
            return super().many(indices, epoch, pad)
        return self._of.many([i for i, _ in places], epochs.pop(), pad)


class Mapped(Node):
    """The results of a function."""

    def __init__(self, kind: str, parent: Node, function: Callable[..., Any]) -> None:
        super().__init__(kind, parent, parent.size)
        self._of, self._function = parent, function

    def get(self, index: int, epoch: int) -> Any:
        element = self._of.get(index, epoch)
        if element is SKIPPED:
            return element
        arguments = element if type(element) is tuple else (element,)
        try:
            # Random layers draw the same in any thread, and in a program that goes on.
            with prng.drawing_for("element", epoch, index):
                return self._function(*arguments)
        except Exception as e:
            e.add_note(f"Raised by a mapped function, for element {index} of the data set.")
            raise


class Cached(Node):
    """Elements as the first pass made them, kept in memory."""

    def __init__(self, parent: Node) -> None:
        super().__init__("cache", parent, parent.size)
        self._of = parent
        self._kept: dict[int, Any] = {}

    def get(self, index: int, epoch: int) -> Any:
        if index not in self._kept:
            self._kept[index] = self._of.get(index, 0)
        return self._kept[index]


class Tolerant(Node):
    """Elements, without those whose file cannot be read."""

    def __init__(self, parent: Node) -> None:
        super().__init__("ignore_errors", parent, parent.size)
        self._of = parent

    def get(self, index: int, epoch: int) -> Any:
        try:
            return self._of.get(index, epoch)
        except (CorruptFileError, OSError):
            return SKIPPED


class Batched(Node):
    """Consecutive elements as batches, or the rows ``part`` of each."""

    def __init__(self, parent: Node, batch_size: int, drop_remainder: bool, pad: bool) -> None:
        size = parent.size
        if size is not None:
            size = size // batch_size if drop_remainder else -(-size // batch_size)
        super().__init__("batch", parent, size, batch_size, drop_remainder, pad)
        self.of, self.batch_size, self.drop_remainder = parent, batch_size, drop_remainder
        self.pad, self.part = pad, slice(None)

    def get(self, index: int, epoch: int) -> Any:
        first = index * self.batch_size
        last = first + self.batch_size
        if self.of.size is not None:
            last = min(last, self.of.size)
        rows = range(first, last)
        _check_part(len(rows), self.part, index)
        return self.of.many(rows[self.part], epoch, self.pad)


class RowsOfBatches(Node):
    """The rows of one process of each batch."""

    def __init__(self, parent: Node, part: slice) -> None:
        super().__init__("shard", parent, parent.size)
        self.chain = parent.chain
        self._of, self._part = parent, part

    def get(self, index: int, epoch: int) -> Any:
        batch = self._of.get(index, epoch)
        _check_part(rows_of(batch), self._part, index)
        return nested.map_structure(lambda a: a[self._part], batch)


class Unbatched(Node):
    """The rows of batches of one size, of which the last may be smaller."""

    def __init__(self, parent: Node) -> None:
        self._rows = rows_of(parent.get(0, 0)) if parent.size != 0 else 1
        size = parent.size
        if size:
            size = self._rows * (size - 1) + rows_of(parent.get(size - 1, 0))
        super().__init__("unbatch", parent, size)
        self._of = parent
        self._latest: tuple[tuple[int, int], Any] = ((-1, -1), None)

    def get(self, index: int, epoch: int) -> Any:
        number, row = divmod(index, self._rows)
        where, batch = self._latest
        if where != (number, epoch):
            batch = self._of.get(number, epoch)
            self._latest = (number, epoch), batch
            is_last = self._of.size is not None and number == self._of.size - 1
            if rows_of(batch) != self._rows and not (is_last and rows_of(batch) < self._rows):
                raise DataError(
                    f"unbatch(): batch {number} has another number of rows than the first.",
                    expected=f"{self._rows} rows; only the last batch may have fewer",
                    received=f"{rows_of(batch)} rows",
                    cure="Call `unbatch()` before `shuffle()`, `repeat()` or what changes the "
                    "number of rows.",
                )
        return nested.map_structure(lambda a: a[row], batch)


# ---- arrays and batches -------------------------------------------------------------------------


def _rows_in(structure: Any) -> Any:
    """Arrays in a nesting of tuples and dicts; a list without arrays is one array."""
    if isinstance(structure, list) and not any(map(is_array_like, nested.flatten(structure))):
        return _as_rows(structure)
    if not nested.is_nested(structure):
        return _as_rows(structure)
    items = structure.values() if isinstance(structure, Mapping) else structure
    return nested.rebuild(structure, [_rows_in(x) for x in items])


def _as_rows(x: Any) -> np.ndarray:
    array = np.asarray(x)
    if array.ndim == 0:
        raise DataError(f"A Dataset is made of arrays with rows. Received: {x!r}.")
    return array.astype(object) if array.dtype.kind == "U" else array


def rows_of(batch: Any) -> int:
    """The number of rows of a batch."""
    shapes = [np.shape(a) for a in nested.flatten(batch)]
    if not shapes or not shapes[0]:
        raise DataError(
            "The elements of this data set are no batches.",
            expected="arrays with an axis of samples in front",
            received=shapes,
            cure="Call `batch(...)` first.",
        )
    return shapes[0][0]


def _check_part(rows: int, part: slice, index: int) -> None:
    if part.step is not None and rows < part.step:
        raise DataError(
            f"Batch {index} has too few rows for {part.step} processes.",
            expected=f"at least {part.step} rows",
            received=f"{rows}",
            cure="Batch with `drop_remainder=True`.",
        )


def stack(elements: Sequence[Any], pad: bool = False) -> Any:
    """Elements of the same structure as one batch; strings become an array of objects.

    Args:
        elements: At least one; with none, the batch is to be skipped.
        pad: Whether to pad arrays of different length along their first axis with zeros.

    Raises:
        DataError: Arrays of different shapes.
    """
    if not elements:
        return SKIPPED
    return nested.map_structure(lambda *leaves: _stack_leaves(leaves, pad), *elements)


def _stack_leaves(leaves: tuple[Any, ...], pad: bool) -> Any:
    if isinstance(leaves[0], (str, bytes)):
        return np.array(leaves, object)
    arrays = [np.asarray(x) for x in leaves]
    shapes = dict.fromkeys(a.shape for a in arrays)
    if len(shapes) == 1:
        return np.stack(arrays)
    if not pad or len({s[1:] for s in shapes}) > 1:
        raise DataError(
            "The elements of a batch have different shapes.",
            expected="arrays of one shape",
            received=", ".join(map(str, [*shapes][:5])),
            cure="Give them one shape in `map`, or pad the first axis: `batch(..., pad=True)`.",
        )
    result = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result


def node_of(source: Any) -> Node:
    """The first node of a data set.

    Raises:
        DataError: Neither arrays nor an object that gives elements by number.
    """
    if nested.is_nested(source) or is_array_like(source):
        return Arrays(source)
    if not isinstance(source, Items):
        raise DataError(
            f"A Dataset is made of arrays, or of an object with `__len__` and `__getitem__`. "
            f"Received: {source!r} (of type {type(source).__name__})."
        )
    return FromItems(source)
