"""Data sets whose elements have numbers: arrays, files and windows, batched and mapped on demand.

A data set is an immutable chain of nodes, each of which makes element ``index`` of pass ``epoch``
from elements of the node before. Orders and everything random are functions of the seed, the epoch
and the index, so that neither threads nor a restart change what an element is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from lamina.core import prng
from lamina.core.spec import TensorSpec
from lamina.errors import ArgumentError, DataError
from lamina.training.data.arrays import is_array_like
from lamina.training.data.chain import (
    SKIPPED,
    Arrays,
    Batched,
    Cached,
    FromItems,
    Items,
    Joined,
    Mapped,
    Node,
    Numbered,
    Repeated,
    RowsOfBatches,
    Shuffled,
    Strided,
    Tolerant,
    Unbatched,
    Zipped,
    applied,
)
from lamina.training.data.fetching import Fetcher
from lamina.training.data.passes import whole_number
from lamina.training.data.stream import ahead
from lamina.tree import nested

_AUTOTUNE = -1  # what `tf.data.AUTOTUNE` is


class Dataset:
    """Elements by index, which methods such as :meth:`batch` and :meth:`map` turn into others.

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
        self._workers, self._buffer, self._in_processes = 1, 0, False
        self._epoch = self._index = 0
        self._is_new = True  # whether the next pass begins at this position

    def _with(self, node: Node | None = None, **changes: Any) -> Self:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, _epoch=0, _index=0, _is_new=True, **changes)
        if node is not None:
            made._node = node
        return made

    # ---- other data sets -----------------------------------------------------------------------

    def map(self, function: Callable[..., Any], num_parallel_calls: int | None = None) -> Self:
        """The results of a function of each element; a tuple is passed as several arguments.

        Args:
            function: Takes and returns arrays in any nesting.
            num_parallel_calls: Number of elements made at a time, by threads; -1 for one for each
                core. The order of elements stays the same.

        Raises:
            ArgumentError: A function that cannot be called.
        """
        _need_function(function, "map")
        made = self._with(Mapped(self._node, function))
        if num_parallel_calls is not None:
            made._workers = _count(num_parallel_calls, "num_parallel_calls", os.cpu_count() or 1)
        return made

    def filter(self, predicate: Callable[..., bool]) -> Self:
        """The elements for which a function returns True.

        It runs immediately, once for each element, so the length is known, batches are full, and
        a position can be resumed. That takes a pass over the data; so filter before costly
        functions are mapped. After :meth:`shuffle` or :meth:`repeat`, the elements that are left
        are shuffled or repeated.

        Args:
            predicate: Takes an element, a tuple as several arguments.

        Raises:
            ArgumentError: A function that cannot be called.
            DataError: A function that returns anything other than True or False; or a data set
                with other elements in each epoch, such as the first of a random order.
        """
        _need_function(predicate, "filter")

        def passes(element: Any, index: int) -> bool:
            answer = np.asarray(applied(predicate, element))
            if answer.ndim or answer.dtype != bool:
                raise DataError(
                    f"The function of filter() returned something else for element {index}.",
                    expected="True or False",
                    received=f"{answer!r}",
                )
            return bool(answer)

        return self._with(self._node.kept(passes))

    @staticmethod
    def zip(*datasets: Dataset) -> Dataset:
        """The elements of several data sets with the same number, as tuples.

        The shortest one decides where it ends. ``class_names`` and ``file_paths`` are those of the
        first that has them.

        Args:
            datasets: The data sets, or one tuple of them.

        Raises:
            ArgumentError: Something other than data sets.

        >>> import numpy as np
        >>> list(Dataset.zip(Dataset(np.arange(3)), Dataset(np.arange(9) * 10)))[1]
        (np.int64(1), np.int64(10))
        """
        if len(datasets) == 1 and isinstance(datasets[0], (tuple, list)):
            datasets = tuple(datasets[0])
        if not datasets or not all(isinstance(d, Dataset) for d in datasets):
            raise ArgumentError(f"zip() takes data sets, or a tuple of them. Received: {datasets}.")
        return datasets[0]._with(
            Zipped(tuple(d._node for d in datasets)),
            class_names=next((d.class_names for d in datasets if d.class_names), None),
            file_paths=next((d.file_paths for d in datasets if d.file_paths), None),
            _batch_size=max(d._batch_size or 0 for d in datasets) or None,
            _unknown=tuple({axis for d in datasets for axis in d._unknown}),
            _workers=max(d._workers for d in datasets),
            _buffer=max(d._buffer for d in datasets),
            _in_processes=any(d._in_processes for d in datasets),
        )

    def concatenate(self, dataset: Dataset) -> Self:
        """The elements of this data set, then those of another one.

        Args:
            dataset: A data set of finite or infinite length, with elements of the same structure
                and dtypes.

        Raises:
            DataError: This data set has no end, or the elements differ.

        >>> import numpy as np
        >>> list(Dataset(np.arange(2)).concatenate(Dataset(np.arange(5, 7))).as_numpy_iterator())
        [array(0), array(1), array(5), array(6)]
        """
        if not isinstance(dataset, Dataset):
            raise ArgumentError(f"concatenate() takes a data set. Received: {dataset!r}.")
        self._finite("concatenate")
        kinds = [
            nested.map_structure(lambda s: s.dtype, d.element_spec) for d in (self, dataset) if d
        ]
        if len(kinds) == 2 and kinds[0] != kinds[1]:
            raise DataError(
                "concatenate() needs two data sets of the same kind.",
                expected=f"elements of {kinds[0]}", received=f"elements of {kinds[1]}",
            )  # fmt: skip
        return self._with(
            Joined((self._node, dataset._node)), file_paths=None,
            _batch_size=max(self._batch_size or 0, dataset._batch_size or 0) or None,
            _unknown=tuple({*self._unknown, *dataset._unknown}),
        )  # fmt: skip

    def enumerate(self, start: int = 0) -> Self:
        """Tuples of a number, which counts from ``start``, and an element."""
        return self._with(Numbered(self._node, start))

    def batch(self, batch_size: int, drop_remainder: bool = False, pad: bool = False) -> Self:
        """Batches of consecutive elements.

        Args:
            batch_size: Elements in a batch.
            drop_remainder: Whether to leave out a last batch that is smaller.
            pad: Whether elements may differ in length along their first axis, and are padded with
                zeros to the longest of the batch.
        """
        size = whole_number(batch_size, "batch_size")
        node = Batched(self._node, size, drop_remainder, pad)
        exact = drop_remainder or (self._node.size or 0) % size == 0
        unknown = (*(() if exact else (0,)), *((1,) if pad else ()))
        return self._with(node, _batch_size=size, _unknown=unknown)

    def unbatch(self) -> Self:
        """The rows of batches.

        Raises:
            DataError: The elements are not batches; or, when they are read, batches in the middle
                that have a different number of rows from the first.
        """
        node = self._node
        if isinstance(node, Batched) and not node.drop_remainder and node.part == slice(None):
            return self._with(node.of, _batch_size=None, _unknown=())
        return self._with(Unbatched(node), _batch_size=None, _unknown=())

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
        return self._with(Shuffled(self._node, buffer, seed, reshuffle_each_iteration))

    def take(self, count: int) -> Self:
        """The first elements; all for -1."""
        count = self._bounded(count, "count")
        return self._with(Strided("take", self._node, count, count))

    def skip(self, count: int) -> Self:
        """The elements after the first ``count``; none for -1."""
        count = self._bounded(count, "count")
        size = None if self._node.size is None else self._node.size - count
        return self._with(Strided("skip", self._node, size, count, start=count))

    def repeat(self, count: int | None = None) -> Self:
        """Several epochs as one; without end when ``count`` is None or -1."""
        self._finite("repeat")
        laps = None if count in (None, -1) else whole_number(count, "count", 0)
        return self._with(Repeated(self._node, laps))

    def shard(self, index: int, count: int) -> Self:
        """The part of one of several processes: every ``count``-th sample from ``index`` on.

        Of batches, it is the rows ``index::count`` of each batch, so that all processes together
        have the batches of a single one. It is best called before costly functions are mapped.

        Args:
            index: Number of the process, from 0.
            count: Number of processes.

        Raises:
            ArgumentError: An index that is not the number of a process.
        """
        count = whole_number(count, "count")
        index = whole_number(index, "index", 0)
        if index >= count:
            raise ArgumentError(
                f"`index` is the number of a process, from 0 to {count - 1}. Received: {index}."
            )
        part = slice(index, None, count)
        node = self._node
        if isinstance(node, Batched) and node.part == slice(None):
            made = Batched(node.of, node.batch_size, node.drop_remainder, node.pad)
            made.part = part
            return self._with(made)
        if self._batch_size is not None:
            return self._with(RowsOfBatches(node, part))
        size = None if node.size is None else len(range(node.size)[part])
        return self._with(Strided("shard", node, size, index, count, start=index, step=count))

    def cache(self) -> Self:
        """The elements of the first pass, kept in memory for later ones."""
        return self._with(Cached(self._node))

    def prefetch(self, buffer_size: int) -> Self:
        """The same elements, made by a thread while earlier ones are in use.

        Args:
            buffer_size: How many may wait; -1 for twice as many as are made at a time.
        """
        return self._with(_buffer=_count(buffer_size, "buffer_size", 2 * self._workers, 0))

    def in_processes(self, workers: int) -> Self:
        """The same elements, made by several processes.

        That pays off where functions spend their time in Python code: reading, decoding and NumPy
        are as fast in threads, which need not send the elements. The whole chain runs in the
        processes, including methods called after this one. Random layers draw the same numbers as
        without processes.

        The processes start with the first pass, and end when the data set is deleted. They receive
        a copy of all that it refers to: functions by their code, arrays with their content. Layers
        for images, sounds and numbers need no JAX there; other uses of Lamina import it, on the
        CPU.

        Args:
            workers: Number of processes; -1 for one for each core.

        Raises:
            ArgumentError: The data set has a :meth:`cache`.
            DataError: When the first pass begins: something that cannot be pickled.

        >>> import numpy as np
        >>> data = Dataset(np.arange(4)).map(lambda x: x**2).batch(2)
        >>> [x.tolist() for x in data.in_processes(2)]
        [[0, 1], [4, 9]]
        """
        count = _count(workers, "workers", os.cpu_count() or 1)
        return self._with(_workers=count, _in_processes=True)

    def ignore_errors(self) -> Self:
        """The same elements without those whose file is missing or corrupt.

        Of batches, the rows of such files are left out. ``len`` still counts them.
        """
        node = self._node
        if isinstance(node, Batched) and node.part == slice(None):
            tolerant = Tolerant(node.of)
            made = Batched(tolerant, node.batch_size, node.drop_remainder, node.pad)
            return self._with(made, _unknown=tuple({0, *self._unknown}))
        return self._with(Tolerant(node))

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

    def cardinality(self) -> int:
        """The number of elements; -1 where they do not end."""
        return -1 if self._node.size is None else self._node.size

    def as_numpy_iterator(self) -> Iterator[Any]:
        """One pass over the elements, as NumPy arrays."""
        return (nested.map_structure(np.asarray, element) for element in self)

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
        found: Any
        if self._in_processes:
            found = self._from_processes(keys)
        elif self._workers > 1:
            found = self._fetcher().run_once(keys)
        else:
            found = (self._node.get(i, e) for e, i in keys)
            if self._buffer:
                found = ahead(found, self._buffer)
        with contextlib.closing(found):
            for element in found:
                if element is not SKIPPED:
                    yield element

    def _fetcher(self) -> Fetcher:
        most = max(self._buffer, 2 * self._workers if self._in_processes else self._workers)
        return Fetcher(self._node, self._workers, self._in_processes, most)

    def _from_processes(self, keys: Iterable[Any]) -> Iterator[Any]:
        fetcher = _running.get(self)
        if fetcher is None:
            if _holds("cache", self._node.chain):
                raise ArgumentError(
                    "cache() keeps elements in the memory of one process, so it cannot be used "
                    "with `in_processes`. Leave out one of them."
                )
            fetcher = _running[self] = self._fetcher()
            weakref.finalize(self, fetcher.close)
        try:
            yield from fetcher.run(keys)
        except Exception:
            _running.pop(self, None)
            fetcher.close()
            raise

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
        """Shape and dtype of the arrays of an element; dimensions that differ are None."""
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


def _holds(kind: str, chain: Any) -> bool:
    return chain == kind or (isinstance(chain, tuple) and any(_holds(kind, x) for x in chain))


# The processes of data sets, which stay from one pass to the next.
_running: weakref.WeakKeyDictionary[Dataset, Fetcher] = weakref.WeakKeyDictionary()


def _node_of(source: Any) -> Node:
    """The first node of a data set.

    Raises:
        DataError: Neither arrays nor an object that gives elements by number.
    """
    if nested.is_nested(source) or is_array_like(source):
        return Arrays(_rows_in(source))
    if not isinstance(source, Items):
        raise DataError(
            f"A Dataset is made of arrays, or of an object with `__len__` and `__getitem__`. "
            f"Received: {source!r} (of type {type(source).__name__})."
        )
    return FromItems(source)


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


def _count(value: int, name: str, automatic: int, least: int = 1) -> int:
    return automatic if value == _AUTOTUNE else whole_number(value, name, least)


def _need_function(function: object, method: str) -> None:
    if not callable(function):
        raise ArgumentError(f"{method}() takes a function of an element. Received: {function!r}.")


def drawn_seed() -> int:
    """A seed from NumPy's global generator, which :func:`lamina.utils.set_random_seed` seeds."""
    return int(np.random.randint(10**6))  # noqa: NPY002 - as in Keras, for the same order of files


__all__ = ["Dataset", "drawn_seed"]
