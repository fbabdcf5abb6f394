"""Data sets whose elements have numbers: arrays, files and windows, batched and mapped on demand.

A data set is an immutable chain of nodes, each of which makes element ``index`` of pass ``epoch``
from elements of the node before. Orders and everything random are functions of the seed, the epoch
and the index, so that neither threads nor a restart change what an element is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from lamina.core import prng
from lamina.core.spec import TensorSpec
from lamina.errors import ArgumentError, CorruptFileError, DataError
from lamina.training.data.arrays import is_array_like
from lamina.training.data.passes import whole_number
from lamina.training.data.pydataset import Workers
from lamina.training.data.stream import ahead
from lamina.tree import nested

_AUTOTUNE = -1  # what `tf.data.AUTOTUNE` is
_SKIPPED: Any = object()  # in place of an element that could not be read


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


class _Node:
    """Elements by number; ``size`` is None where they do not end."""

    size: int | None

    def __init__(self, kind: str, parent: _Node | None, size: int | None, *details: Any) -> None:
        self.size, self.parent = size, parent
        self.chain: tuple[Any, ...] = (*(() if parent is None else parent.chain), (kind, *details))

    def get(self, index: int, epoch: int) -> Any:
        raise TypeError(type(self))

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        """Several elements as a batch."""
        found = [self.get(i, epoch) for i in indices]
        return stack([x for x in found if x is not _SKIPPED], pad)


class _Arrays(_Node):
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


class _Items(_Node):
    def __init__(self, items: Items) -> None:
        super().__init__("items", None, len(items), type(items).__name__)
        self._items = items

    def get(self, index: int, epoch: int) -> Any:
        return self._items[index]

    def many(self, indices: Sequence[int], epoch: int, pad: bool = False) -> Any:
        if isinstance(self._items, Windows):
            return self._items.take(np.asarray(indices, np.intp))
        return super().many(indices, epoch, pad)


class _Reordered(_Node):
    """Other numbers, and possibly other epochs, of the same elements."""

    def __init__(
        self, kind: str, parent: _Node, size: int | None, *details: Any,
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


class _Mapped(_Node):
    def __init__(self, kind: str, parent: _Node, function: Callable[..., Any]) -> None:
        super().__init__(kind, parent, parent.size)
        self._of, self._function = parent, function

    def get(self, index: int, epoch: int) -> Any:
        element = self._of.get(index, epoch)
        if element is _SKIPPED:
            return element
        try:
            if type(element) is tuple:
                return self._function(*element)
            return self._function(element)
        except Exception as e:
            e.add_note(f"Raised by a mapped function, for element {index} of the data set.")
            raise


class _Cached(_Node):
    """Elements as the first pass made them, kept in memory."""

    def __init__(self, parent: _Node) -> None:
        super().__init__("cache", parent, parent.size)
        self._of = parent
        self._kept: dict[int, Any] = {}

    def get(self, index: int, epoch: int) -> Any:
        if index not in self._kept:
            self._kept[index] = self._of.get(index, 0)
        return self._kept[index]


class _Tolerant(_Node):
    """Elements, without those whose file cannot be read."""

    def __init__(self, parent: _Node) -> None:
        super().__init__("ignore_errors", parent, parent.size)
        self._of = parent

    def get(self, index: int, epoch: int) -> Any:
        try:
            return self._of.get(index, epoch)
        except (CorruptFileError, OSError):
            return _SKIPPED


class _Batched(_Node):
    def __init__(self, parent: _Node, batch_size: int, drop_remainder: bool, pad: bool) -> None:
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


class _RowsOfBatches(_Node):
    """The rows of one process of each batch."""

    def __init__(self, parent: _Node, part: slice) -> None:
        super().__init__("shard", parent, parent.size)
        self.chain = parent.chain
        self._of, self._part = parent, part

    def get(self, index: int, epoch: int) -> Any:
        batch = self._of.get(index, epoch)
        _check_part(rows_of(batch), self._part, index)
        return nested.map_structure(lambda a: a[self._part], batch)


class _Unbatched(_Node):
    """The rows of batches of one size, of which the last may be smaller."""

    def __init__(self, parent: _Node) -> None:
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
        return _SKIPPED
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


# ---- the user's object --------------------------------------------------------------------------


class Dataset:
    """Elements by number, which methods such as :meth:`batch` and :meth:`map` turn into others.

    Iterating makes one pass; each pass is an epoch with its own order where there is a
    :meth:`shuffle`. ``fit``, ``evaluate`` and ``predict`` take a data set of batches as ``x``. All
    methods return a new data set, which keeps ``class_names`` and ``file_paths``.

    Args:
        source: Arrays in any nesting, whose rows are the elements; or an object with ``__len__``
            and ``__getitem__(index)``, which gives an element.
        class_names: Names of the classes, where labels are their numbers.
        file_paths: The files that the elements are read from.

    Raises:
        DataError: Arrays of different length, or an object that has no elements by number.

    >>> import numpy as np
    >>> data = Dataset((np.arange(5), np.arange(5) % 2))
    >>> for x, y in data.map(lambda x, y: (10 * x, y)).batch(2):
    ...     print(x, y)
    [ 0 10] [0 1]
    [20 30] [0 1]
    [40] [0]
    >>> len(data.batch(2)), data.batch(2).element_spec[0].shape
    (3, (None,))

    The position of a pass can be saved, and another program goes on from there:

    >>> batches = data.shuffle(seed=1).batch(2)
    >>> first = next(iter(batches))
    >>> state = batches.get_state()
    >>> again = data.shuffle(seed=1).batch(2)
    >>> again.set_state(state)
    >>> len(list(again))
    2
    """

    def __init__(
        self,
        source: Any,
        *,
        class_names: Sequence[str] | None = None,
        file_paths: Sequence[str] | None = None,
    ) -> None:
        self._node = _node_of(source)
        self.class_names = class_names
        self.file_paths = file_paths
        self._batch_size: int | None = None  # of batches whose number of rows may differ
        self._unknown: tuple[int, ...] = ()  # axes whose size may differ
        self._workers, self._buffer = 1, 0
        self._epoch = self._index = 0
        self._is_new = True  # whether the next pass begins at this position

    def _with(self, node: _Node | None = None, **changes: Any) -> Self:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, _epoch=0, _index=0, _is_new=True, **changes)
        if node is not None:
            made._node = node
        return made

    def _reordered(self, kind: str, size: int | None, *details: Any, where: Any) -> Self:
        return self._with(_Reordered(kind, self._node, size, *details, where=where))

    # ---- other data sets -----------------------------------------------------------------------

    def map(
        self, function: Callable[..., Any], num_parallel_calls: int | None = None
    ) -> Self:
        """The results of a function of each element; a tuple is passed as several arguments.

        Args:
            function: Takes and returns arrays in any nesting.
            num_parallel_calls: Number of elements made at a time, by threads; -1 for one for each
                core. The order of elements stays the same.
        """
        made = self._with(_Mapped("map", self._node, function))
        if num_parallel_calls is not None:
            made._workers = _count(num_parallel_calls, "num_parallel_calls", os.cpu_count() or 1)
        return made

    def batch(self, batch_size: int, drop_remainder: bool = False, pad: bool = False) -> Self:
        """Batches of consecutive elements.

        Args:
            batch_size: Elements in a batch.
            drop_remainder: Whether to leave out a last batch that is smaller.
            pad: Whether elements may differ in length along their first axis, and are padded with
                zeros to the longest of the batch.
        """
        size = whole_number(batch_size, "batch_size")
        node = _Batched(self._node, size, drop_remainder, pad)
        exact = drop_remainder or (self._node.size or 0) % size == 0
        unknown = (*(() if exact else (0,)), *((1,) if pad else ()))
        return self._with(node, _batch_size=size, _unknown=unknown)

    def unbatch(self) -> Self:
        """The rows of batches.

        Raises:
            DataError: The elements are no batches; or, when they are read, batches in the middle
                that have another number of rows than the first.
        """
        node = self._node
        if isinstance(node, _Batched) and not node.drop_remainder and node.part == slice(None):
            return self._with(node.of, _batch_size=None, _unknown=())
        return self._with(_Unbatched(node), _batch_size=None, _unknown=())

    def shuffle(
        self,
        buffer_size: int | None = None,
        seed: int | None = None,
        reshuffle_each_iteration: bool = True,
    ) -> Self:
        """The same elements in a random order, which depends on the seed and the epoch alone.

        Only numbers are shuffled, so that a large buffer takes no memory.

        Args:
            buffer_size: If given, each element comes from the first ``buffer_size`` of those that
                are left; when None, from all.
            seed: An integer; drawn from NumPy's global generator when None.
            reshuffle_each_iteration: Whether each epoch has another order.
        """
        total = self._finite("shuffle")
        buffer = total if buffer_size is None else whole_number(buffer_size, "buffer_size")
        seed = drawn_seed() if seed is None else int(seed)
        orders: dict[int, np.ndarray] = {}

        def where(index: int, epoch: int) -> tuple[int, int]:
            key = epoch if reshuffle_each_iteration else 0
            order = orders.get(key)
            if order is None:
                order = _order(total, buffer, seed, key)
                for old in list(orders)[:-1]:
                    orders.pop(old, None)
                orders[key] = order
            return int(order[index]), epoch

        details = buffer, seed, reshuffle_each_iteration
        return self._reordered("shuffle", total, *details, where=where)

    def take(self, count: int) -> Self:
        """The first elements; all for -1."""
        count = self._bounded(count, "count")
        return self._reordered("take", count, count, where=lambda i, e: (i, e))

    def skip(self, count: int) -> Self:
        """The elements after the first ``count``; none for -1."""
        count = self._bounded(count, "count")
        size = None if self._node.size is None else self._node.size - count
        return self._reordered("skip", size, count, where=lambda i, e: (i + count, e))

    def repeat(self, count: int | None = None) -> Self:
        """Several epochs as one; without end when ``count`` is None or -1."""
        total = self._finite("repeat")
        laps = None if count in (None, -1) else whole_number(count, "count", 0)
        in_epoch = 2**32 if laps is None else laps

        def where(index: int, epoch: int) -> tuple[int, int]:
            lap, place = divmod(index, total)
            return place, epoch * in_epoch + lap

        size = 0 if total == 0 else None if laps is None else total * laps
        return self._reordered("repeat", size, laps, where=where)

    def shard(self, index: int, count: int) -> Self:
        """The part of one of several processes: every ``count``-th sample from ``index`` on.

        Of batches, it is the rows ``index::count`` of each batch, so that all processes together
        have the batches of a single one. It is best called before costly functions are mapped.

        Args:
            index: Number of the process, from 0.
            count: Number of processes.

        Raises:
            ArgumentError: An index that is no number of a process.
        """
        count = whole_number(count, "count")
        index = whole_number(index, "index", 0)
        if index >= count:
            raise ArgumentError(
                f"`index` is the number of a process, from 0 to {count - 1}. Received: {index}."
            )
        part = slice(index, None, count)
        node = self._node
        if isinstance(node, _Batched) and node.part == slice(None):
            made = _Batched(node.of, node.batch_size, node.drop_remainder, node.pad)
            made.part = part
            return self._with(made)
        if self._batch_size is not None:
            return self._with(_RowsOfBatches(node, part))
        size = None if node.size is None else len(range(node.size)[part])
        return self._reordered(
            "shard", size, index, count, where=lambda i, e: (index + i * count, e)
        )

    def cache(self) -> Self:
        """The elements of the first pass, kept in memory for later ones."""
        return self._with(_Cached(self._node))

    def prefetch(self, buffer_size: int) -> Self:
        """The same elements, made by a thread while earlier ones are in use.

        Args:
            buffer_size: How many may wait; -1 for twice as many as are made at a time.
        """
        return self._with(_buffer=_count(buffer_size, "buffer_size", 2 * self._workers, 0))

    def ignore_errors(self) -> Self:
        """The same elements without those whose file is missing or corrupt.

        Of batches, the rows of such files are left out. ``len`` still counts them.
        """
        node = self._node
        if isinstance(node, _Batched) and node.part == slice(None):
            tolerant = _Tolerant(node.of)
            made = _Batched(tolerant, node.batch_size, node.drop_remainder, node.pad)
            return self._with(made, _unknown=tuple({0, *self._unknown}))
        return self._with(_Tolerant(node))

    # ---- elements ------------------------------------------------------------------------------

    @property
    def size(self) -> int | None:
        """The number of elements; None where they do not end."""
        return self._node.size

    def __len__(self) -> int:
        if self._node.size is None:
            raise DataError(
                "This data set has no end, because of `repeat()`, so it has no length.",
                cure="Give `repeat` a count, or limit it: `take(count)`.",
            )
        return self._node.size

    def __bool__(self) -> bool:
        return self._node.size != 0

    def __getitem__(self, index: int) -> Any:
        """Element ``index`` of the first epoch."""
        size = self._node.size
        if size is not None and not -size <= index < size:
            raise IndexError(f"Element {index} of a data set of {size}.")
        return self._node.get(index + size if size is not None and index < 0 else index, 0)

    def read(self, keys: Iterable[tuple[int, int]]) -> Iterator[Any]:
        """Elements by epoch and number, in the order of ``keys``."""
        if self._workers > 1:
            fetcher = _Fetcher(self._node, self._workers, max(self._buffer, self._workers))
            found = _closing(fetcher.run(keys), fetcher)
        else:
            found = (self._node.get(i, e) for e, i in keys)
            if self._buffer:
                found = ahead(found, self._buffer)
        with contextlib.closing(found):
            for element in found:
                if element is not _SKIPPED:
                    yield element

    def __iter__(self) -> Iterator[Any]:
        if not self._is_new:
            self._epoch, self._index = self._epoch + 1, 0
        self._is_new = False
        epoch, first, size = self._epoch, self._index, self._node.size
        numbers = itertools.count(first) if size is None else range(first, size)
        for element in self.read((epoch, i) for i in numbers):
            self._index += 1
            yield element
        self._epoch, self._index, self._is_new = epoch + 1, 0, True

    @property
    def element_spec(self) -> Any:
        """Shape and dtype of the arrays of an element; sizes that differ are None."""
        return nested.map_structure(self._spec, self[0])

    def _spec(self, leaf: Any) -> TensorSpec:
        array = np.asarray(leaf)
        shape: list[Any] = list(array.shape)
        for axis in self._unknown:
            if axis < len(shape) and (axis or shape[0] == min(self._batch_size or 0, shape[0])):
                shape[axis] = None
        return TensorSpec(shape, "string" if array.dtype.kind in "OUST" else array.dtype.name)

    # ---- the position of a pass ----------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """A hash of the sizes, seeds and methods that the order of the elements depends on."""
        return f"{prng.digest(self._node.chain):032x}"

    def get_state(self) -> dict[str, Any]:
        """The position of the latest pass: its epoch, and the elements that it has given.

        Elements that were prefetched but not used do not count. The state is plain data, and the
        same for any number of threads and, after :meth:`batch`, of processes.
        """
        return {"epoch": self._epoch, "index": self._index, "fingerprint": self.fingerprint}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin at a position that :meth:`get_state` has returned.

        Raises:
            DataError: The position of a data set with other sizes, seeds or methods.
        """
        if state.get("fingerprint") != self.fingerprint:
            raise DataError(
                "This position belongs to another data set, or to one that was made differently.",
                expected=f"the fingerprint {self.fingerprint}",
                received=f"{state.get('fingerprint')}",
                cure="Make the data set with the same files, seeds and methods as before.",
            )
        self._epoch, self._index = int(state["epoch"]), int(state["index"])
        self._is_new = True

    def _finite(self, method: str) -> int:
        if self._node.size is None:
            raise DataError(f"`{method}` of a data set without end. Call it before `repeat()`.")
        return self._node.size

    def _bounded(self, count: int, name: str) -> int:
        size = self._node.size
        if count == -1:
            return self._finite(name)
        count = whole_number(count, name, 0)
        return count if size is None else min(count, size)

    def __repr__(self) -> str:
        kinds = " > ".join(str(kind) for kind, *_ in self._node.chain)
        return f"<Dataset of {'endless' if self.size is None else self.size} elements: {kinds}>"


class _Fetcher(Workers):
    """Threads that make elements of a chain."""

    def __init__(self, node: _Node, workers: int, most: int) -> None:
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, False, most
        self._node = node
        super().__init__(self)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        return self._node.get(index, epoch)


def _closing(items: Iterator[Any], workers: Workers) -> Any:
    try:
        yield from items
    finally:
        workers.close()


def _node_of(source: Any) -> _Node:
    if nested.is_nested(source) or is_array_like(source):
        return _Arrays(source)
    if not isinstance(source, Items):
        raise DataError(
            f"A Dataset is made of arrays, or of an object with `__len__` and `__getitem__`. "
            f"Received: {source!r} (of type {type(source).__name__})."
        )
    return _Items(source)


def _count(value: int, name: str, automatic: int, least: int = 1) -> int:
    return automatic if value == _AUTOTUNE else whole_number(value, name, least)


def drawn_seed() -> int:
    """A seed from NumPy's global generator, which :func:`lamina.utils.set_random_seed` seeds."""
    return int(np.random.randint(10**6))  # noqa: NPY002 - as in Keras, for the same order of files


def _order(total: int, buffer: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of the elements in the order of an epoch."""
    generator = prng.stream(seed, "shuffle", epoch)
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


__all__ = ["Dataset", "drawn_seed", "stack"]
