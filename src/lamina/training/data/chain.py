"""The nodes of data sets: each makes an element by number from elements of the node before.

Nothing here imports JAX: worker processes load this module.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lamina import settings
from lamina.errors import CorruptFileError, DataError
from lamina.transforms.seeding import digest, drawing_for, stream
from lamina.tree import nested


class _Skipped:
    def __reduce__(self) -> str:
        return "SKIPPED"  # there is one in each process


SKIPPED: Any = _Skipped()  # in place of an element that could not be read


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
        self.size = size
        # Whether an index gives different elements in different epochs.
        self.varies = parent is not None and parent.varies
        self.chain: tuple[Any, ...] = (*(() if parent is None else parent.chain), (kind, *details))

    def get(self, index: int, epoch: int) -> Any:
        raise TypeError(type(self))

    def kept(self, test: Callable[[Any, int], bool]) -> Node:
        """The same without the elements that fail a test, which takes an element and its number.

        Raises:
            DataError: There are elements without end, or other ones in other epochs.
        """
        if self.varies or self.size is None:
            raise DataError(
                "filter() tests each element once, but those of this data set "
                + ("differ between epochs." if self.varies else "do not end."),
                cure="Call `filter` before `shuffle()`, or directly after it.",
            )
        elements = ((i, self.get(i, 0)) for i in range(self.size))
        return Chosen(self, [i for i, x in elements if x is not SKIPPED and test(x, i)])

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        """Several elements as a batch."""
        found = [self.get(i, epoch) for i in indices]
        return stack([x for x in found if x is not SKIPPED], pad)


class Arrays(Node):
    """Rows of NumPy arrays in any nesting."""

    def __init__(self, arrays: Any) -> None:
        self._arrays = arrays
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


class SlidingWindows:
    """Windows by number, and with each the target of its position."""

    def __init__(self, data: Any, targets: Any, starts: np.ndarray, offsets: np.ndarray) -> None:
        self._data, self._targets, self._starts, self._offsets = data, targets, starts, offsets

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Any:
        return self.take(np.asarray(index))

    def take(self, indices: np.ndarray) -> Any:
        starts = self._starts[indices]
        windows = self._data[starts[..., None] + self._offsets]
        return windows if self._targets is None else (windows, self._targets[starts])


class Reordered(Node):
    """The same elements under other indices, and possibly from other epochs."""

    def __init__(self, kind: str, parent: Node, size: int | None, *details: Any) -> None:
        super().__init__(kind, parent, size, *details)
        self._of = parent

    def where(self, index: int, epoch: int) -> tuple[int, int]:
        """The number and the epoch of an element in the node before."""
        raise TypeError(type(self))

    def get(self, index: int, epoch: int) -> Any:
        return self._of.get(*self.where(index, epoch))

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        places = [self.where(i, epoch) for i in indices]
        epochs = {e for _, e in places}
        if len(epochs) != 1:  # a batch across the end of a repetition
            return super().many(indices, epoch, pad)
        return self._of.many([i for i, _ in places], epochs.pop(), pad)


class Strided(Reordered):
    """Every ``step``-th element from ``start`` on, ``size`` of them."""

    def __init__(
        self, kind: str, parent: Node, size: int | None, *details: int, start: int = 0,
        step: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(kind, parent, size, *details)
        self._start, self._step = start, step

    def where(self, index: int, epoch: int) -> tuple[int, int]:
        return self._start + index * self._step, epoch


class Chosen(Reordered):
    """The elements with some numbers."""

    def __init__(self, parent: Node, places: list[int]) -> None:
        super().__init__("filter", parent, len(places), digest(places))
        self._places = places

    def where(self, index: int, epoch: int) -> tuple[int, int]:
        return self._places[index], epoch


class Shuffled(Reordered):
    """The elements in a random order of each epoch."""

    def __init__(self, parent: Node, buffer: int | None, seed: int, again: bool) -> None:
        total: Any = parent.size
        self._options, self._orders = (buffer, seed, again), {}
        self._total, self._buffer = total, total if buffer is None else buffer
        super().__init__("shuffle", parent, total, self._buffer, seed, again)
        self.varies = self.varies or again

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_orders": {}}

    def where(self, index: int, epoch: int) -> tuple[int, int]:
        _, seed, again = self._options
        key = epoch if again else 0
        order = self._orders.get(key)
        if order is None:
            order = _order(self._total, self._buffer, seed, key)
            for old in list(self._orders)[:-1]:
                self._orders.pop(old, None)
            self._orders[key] = order
        return int(order[index]), epoch

    def kept(self, test: Callable[[Any, int], bool]) -> Node:
        return Shuffled(self._of.kept(test), *self._options)


def _order(total: int, buffer: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of the elements in the order of an epoch."""
    generator = stream(seed, "shuffle", epoch)
    if buffer >= total:
        return generator.permutation(total)
    draws = (generator.random(total) * np.minimum(buffer, total - np.arange(total))).astype(int)
    held, order = list(range(buffer)), np.empty(total, np.int64)
    for i, draw in enumerate(draws.tolist()):
        order[i] = held[draw]
        if i + buffer < total:
            held[draw] = i + buffer
        else:
            held[draw] = held[-1]
            held.pop()
    return order


class Repeated(Reordered):
    """Several epochs as one; without end if ``laps`` is None."""

    def __init__(self, parent: Node, laps: int | None) -> None:
        total: Any = parent.size
        size = 0 if total == 0 else None if laps is None else total * laps
        super().__init__("repeat", parent, size, laps)
        self._total, self._laps = total, laps

    def where(self, index: int, epoch: int) -> tuple[int, int]:
        lap, place = divmod(index, self._total)
        return place, epoch * (2**32 if self._laps is None else self._laps) + lap

    def kept(self, test: Callable[[Any, int], bool]) -> Node:
        return Repeated(self._of.kept(test), self._laps)


class Zipped(Node):
    """Elements of several nodes with the same number, as tuples."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        sizes = [n.size for n in nodes if n.size is not None]
        super().__init__("zip", None, min(sizes, default=None), *(n.chain for n in nodes))
        self._nodes = nodes
        self.varies = any(n.varies for n in nodes)

    def get(self, index: int, epoch: int) -> Any:
        found = tuple(n.get(index, epoch) for n in self._nodes)
        return SKIPPED if any(x is SKIPPED for x in found) else found


class Joined(Node):
    """The elements of several nodes, one node after another; only the last may have no end."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        ends = list(itertools.accumulate(n.size or 0 for n in nodes))
        size = None if nodes[-1].size is None else ends[-1]
        super().__init__("concatenate", None, size, *(n.chain for n in nodes))
        self._nodes, self._starts = nodes, [0, *ends[:-1]]
        self.varies = any(n.varies for n in nodes)

    def get(self, index: int, epoch: int) -> Any:
        i = bisect.bisect_right(self._starts, index) - 1
        return self._nodes[i].get(index - self._starts[i], epoch)


class Numbered(Node):
    """The elements, each with its number in the pass."""

    def __init__(self, parent: Node, start: int) -> None:
        super().__init__("enumerate", parent, parent.size, start)
        self._of, self._start = parent, start

    def get(self, index: int, epoch: int) -> Any:
        found = self._of.get(index, epoch)
        return SKIPPED if found is SKIPPED else (np.int64(self._start + index), found)


class Mapped(Node):
    """The results of a function."""

    def __init__(self, parent: Node, function: Callable[..., Any]) -> None:
        super().__init__("map", parent, parent.size)
        self._of, self._function = parent, function

    def get(self, index: int, epoch: int) -> Any:
        return self._made(self._of.get(index, epoch), index, epoch)

    def _made(self, element: Any, index: int, epoch: int) -> Any:
        if element is SKIPPED:
            return element
        try:
            # Random layers draw the same numbers in any thread, and in a resumed program.
            with drawing_for("element", epoch, index):
                return applied(self._function, element)
        except Exception as e:
            e.add_note(f"Raised by a mapped function, for element {index} of the data set.")
            raise

    def kept(self, test: Callable[[Any, int], bool]) -> Node:
        kept = self._of.kept(lambda x, i: test(self._made(x, i, 0), i))
        return Mapped(kept, self._function)


def applied(function: Callable[..., Any], element: Any) -> Any:
    """The result of a function of an element; a tuple is passed as several arguments."""
    return function(*(element if type(element) is tuple else (element,)))


class Cached(Node):
    """Elements as the first pass made them, kept in memory."""

    def __init__(self, parent: Node) -> None:
        super().__init__("cache", parent, parent.size)
        self.varies = False
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

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_latest": ((-1, -1), None)}

    def get(self, index: int, epoch: int) -> Any:
        number, row = divmod(index, self._rows)
        where, batch = self._latest
        if where != (number, epoch):
            batch = self._of.get(number, epoch)
            self._latest = (number, epoch), batch
            is_last = self._of.size is not None and number == self._of.size - 1
            if rows_of(batch) != self._rows and not (is_last and rows_of(batch) < self._rows):
                raise DataError(
                    f"unbatch(): batch {number} has a different number of rows from the first.",
                    expected=f"{self._rows} rows; only the last batch may have fewer",
                    received=f"{rows_of(batch)} rows",
                    cure="Call `unbatch()` before `shuffle()`, `repeat()` or what changes the "
                    "number of rows.",
                )
        return nested.map_structure(lambda a: a[row], batch)


class Elements:
    """Elements by epoch and number, for worker processes, which take over the global seed."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getstate__(self) -> tuple[Node, int]:
        return self._node, settings.global_seed()

    def __setstate__(self, state: tuple[Node, int]) -> None:
        self._node, seed = state
        settings.set_global_seed(seed)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        return self._node.get(index, epoch)


# ---- batches -----------------------------------------------------------------------------------


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
        same = "Give them one shape in `map`, before they are batched"
        length_only = len({s[1:] for s in shapes}) == 1
        raise DataError(
            "The elements of a batch have different shapes.",
            expected=f"arrays of one shape{', except for the first axis' if pad else ''}",
            received=", ".join(map(str, [*shapes][:5])),
            cure=f"{same}, or pad the first axis: `batch(..., pad=True)`." if length_only
            else f"{same}; a data set of files gives single ones with `batch_size=None`.",
        )  # fmt: skip
    result = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result
