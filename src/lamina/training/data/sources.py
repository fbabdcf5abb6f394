"""Where batches come from: iterables, and data sets whose batches or rows have numbers.

Objects of other libraries are known by the name of their class, so that none is imported.
"""

from __future__ import annotations

import collections
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lamina.core.boundary import warn
from lamina.errors import DataError, StructureError, TrainingWarning
from lamina.training.data.passes import Pass
from lamina.training.data.pydataset import PyDataset, Workers


@runtime_checkable
class _Positioned(Protocol):
    """An iterator that can be set to an earlier position, such as those of grain."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


# More batches than are ever drawn before they are used, but for those of workers.
_MOST_AHEAD = 8


class Source:
    """Batches that are iterated.

    Args:
        begin: Gives a new iterator over all batches.
        steps: Their number; None if it is not known.
        endless: Whether it is known that they never end.
        once: Whether they can be iterated only once, like those of a generator.

    Attributes:
        given: Number of batches that were used, which may be fewer than were drawn.
        tracks: Whether to keep the states of iterators that have one, for :meth:`get_state`.
    """

    skips_cheaply = False  # whether batches that are skipped need not be made

    def __init__(
        self, begin: Callable[[], Iterator[Any]], steps: int | None = None, endless: bool = False,
        once: bool = False,
    ) -> None:  # fmt: skip
        self._begin = begin
        self.steps, self.endless, self.once = steps, endless, once
        self.given, self.tracks = 0, False
        self._iterator: Iterator[Any] | None = None
        self._drawn = 0
        # Numbers of batches drawn when iterators began, and the steps that had been drawn then.
        self._starts: list[tuple[int, int]] = []
        self._states: collections.deque[tuple[int, Any]] = collections.deque(maxlen=_MOST_AHEAD)
        self._is_between_passes = True
        self._resumed: tuple[int, Any] | None = None
        self._done = 0

    def batches(self, over: Pass) -> Iterator[Any]:
        """The batches of a pass: not one more is taken than are asked for."""
        limit = over.steps
        if limit is not None:
            limit, self._done = limit - self._done, 0
        if limit is None or not over.training:
            # The slice keeps a generator of the user's open when this one is closed.
            yield from itertools.islice(self._iterate(), limit)
            return
        while limit:
            fresh = self._iterator is None and self._resumed is None
            if self._iterator is None:
                self._iterator = self._iterate()
            taken = 0
            for batch in itertools.islice(self._iterator, limit):
                taken += 1
                yield batch
            limit -= taken
            if limit:
                self._iterator = None
                if fresh and not taken:
                    return

    def _iterate(self) -> Iterator[Any]:
        """A new iterator, which counts what is drawn from it."""
        if not (self.once and self._starts):
            self._starts.append((self._drawn, self.position))
        iterator = self._begin()
        skip, state = self._resumed or (0, None)
        self._resumed = None
        if state is not None and isinstance(iterator, _Positioned):
            try:
                iterator.set_state(state)
            except ValueError as e:
                raise DataError(
                    f"The iterator does not accept the position before the interruption: {e}",
                    cure="Pass the same data. grain compares the `repr` of data sources; give yours"
                    " a `__repr__` without its address in memory.",
                ) from e
            self._drawn += skip
        else:
            for _ in itertools.islice(iterator, skip):
                self._drawn += 1
            if self._drawn < skip:
                raise DataError(
                    f"The data ended after {self._drawn} batches. Before its interruption, this "
                    f"training run had used more than {skip}, so the data is not the same."
                )
        tracked = iterator if self.tracks and isinstance(iterator, _Positioned) else None
        while True:
            if tracked is not None:
                self._states.append((self._drawn, tracked.get_state()))
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._drawn += 1
            yield batch

    @property
    def position(self) -> int:
        """Number of training steps whose batches have been drawn, where orders depend on it."""
        return 0

    def begin_pass(self) -> None:
        """Called before the first batch of a pass is used."""
        self._is_between_passes = False

    def end_pass(self, over: Pass) -> None:
        """Called after the last batch of a pass was used."""
        self._is_between_passes = True
        if self._restarts(over):  # what was drawn ahead is dropped
            self.given = self._drawn

    def _restarts(self, over: Pass) -> bool:
        """Whether each pass begins with the first batch."""
        return not self.once and (over.steps is None or not over.training)

    def get_state(self, over: Pass) -> dict[str, Any]:
        """The position after the batches that were used, as JSON has it.

        Returns:
            ``taken``, how many batches of the current iterator were used; ``position``, the steps
            before it; ``iterator``, the iterator's own state before the last of them, or None.
        """
        if self._is_between_passes and self._restarts(over):
            return {"taken": 0, "position": self.position, "iterator": None}
        begun = [start for start in self._starts if start[0] < self.given] or self._starts[:1]
        if not begun:
            return {"taken": 0, "position": self.position, "iterator": None}
        del self._starts[: len(begun) - 1]  # the thread that draws may append meanwhile
        start, position = begun[-1]
        state = dict(self._states.copy()).get(self.given - 1)
        return {"taken": self.given - start, "position": position, "iterator": state}

    def set_state(self, state: Mapping[str, Any], done: int, again: int) -> None:
        """Go to the position that :meth:`get_state` returned, before anything is drawn.

        Args:
            state: What it returned.
            done: Number of batches used in the current pass.
            again: Number of used batches, 0 or 1, that the first pass begins with again.
        """
        taken = state["taken"]
        again = min(again, taken)
        self.given, self._done = taken, done - again
        self._resumed = taken - again, state["iterator"] if again else None

    def repeat_hooks(self, passes: int) -> None:
        """Call the hooks around passes that were made before an interruption."""
        for _ in range(passes):
            self.epoch_begin()
            self.epoch_end()

    def epoch_begin(self) -> None:
        """Called before a pass."""

    def epoch_end(self) -> None:
        """Called after a pass."""

    def close(self) -> None:
        """Called when no pass will follow."""


class NumberedSource(Source):
    """Batches that are fetched by keys: their numbers, or the numbers of their rows.

    Args:
        fetch: Gives the batches for some keys.
        keys: Gives the keys of the pass that begins now.
        steps: Batches in a pass; None: without end.
        over: The pass, whose position is kept.
    """

    skips_cheaply = True

    def __init__(
        self, fetch: Callable[[Iterable[Any]], Iterator[Any]], keys: Callable[[], Iterable[Any]],
        steps: int | None, over: Pass,
    ) -> None:  # fmt: skip
        super().__init__(self._keys_of_pass, steps, endless=steps is None)
        self._fetch, self._keys, self._over = fetch, keys, over

    @property
    def position(self) -> int:
        return self._over.position

    def set_state(self, state: Mapping[str, Any], done: int, again: int) -> None:
        super().set_state(state, done, again)
        self._over.position = state["position"]

    def _keys_of_pass(self) -> Iterator[Any]:
        for key in self._keys():
            self._over.position += 1
            yield key

    def batches(self, over: Pass) -> Iterator[Any]:
        yield from self._fetch(super().batches(over))


class _PyDatasetSource(NumberedSource):
    def __init__(self, dataset: PyDataset, over: Pass) -> None:
        self._dataset = dataset
        self._workers = Workers(dataset)

        def keys() -> Iterable[int]:
            count = dataset.num_batches
            if count is None:
                return itertools.count()
            order = over.order(count)
            return range(count) if order is None else order.tolist()

        super().__init__(self._workers.run, keys, dataset.num_batches, over)

    def epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def epoch_end(self) -> None:
        self._dataset.on_epoch_end()

    def close(self) -> None:
        self._workers.close()


def _from_dataset(dataset: Any, over: Pass) -> Source:
    """A data set of ours: the epoch, which its orders follow from, follows from the step."""
    size = dataset.size

    def keys() -> Iterable[tuple[int, int]]:
        position = over.position if over.training else 0
        epoch, first = divmod(position, size) if size else (0, position)
        if over.steps is None:  # a whole pass, whatever has been trained on before
            first = 0
        numbers = itertools.count(first) if size is None else range(first, size)
        return ((epoch, i) for i in numbers)

    return NumberedSource(dataset.read, keys, size, over)


Rows = slice | np.ndarray


def rows_source(size: int, take: Callable[[Rows], Any], over: Pass) -> NumberedSource:
    """Batches of rows that are taken by their numbers.

    Args:
        size: The number of rows.
        take: Gives the rows of a range or, in a shuffled pass, of an array of numbers.
        over: Batch size and order.
    """

    def keys() -> Iterator[Rows]:
        order = over.order(size)
        for i in range(0, size, over.batch_size):
            rows = slice(i, min(i + over.batch_size, size))
            yield rows if order is None else order[rows]

    steps = -(-size // over.batch_size)
    return NumberedSource(lambda chosen: map(take, chosen), keys, steps, over)


# ---- the libraries -----------------------------------------------------------------------------


def _from_torch(loader: Any, _: Pass) -> Source:
    """A DataLoader; it collates tuples of samples into a list, which stands for a tuple."""

    def begin() -> Iterator[Any]:
        return (tuple(b) if isinstance(b, list) else b for b in loader)

    return Source(begin, _length(loader))


def _from_tensorflow(dataset: Any, _: Pass) -> Source:
    cardinality = int(dataset.cardinality())  # negative: -1 infinite, -2 unknown
    steps = cardinality if cardinality >= 0 else None
    return Source(lambda: iter(dataset), steps, endless=cardinality == -1)


def _from_grain(dataset: Any, _: Pass) -> Source:
    steps = _length(dataset)
    endless = steps is not None and steps >= sys.maxsize  # `repeat()` without a number
    return Source(lambda: iter(dataset), None if endless else steps, endless)


def _from_rows(dataset: Any, over: Pass) -> Source:
    """A Hugging Face data set whose rows have numbers; it is batched and shuffled like arrays."""
    dataset, pick = _columns(dataset, over)

    return rows_source(len(dataset), lambda rows: pick(dataset[rows]), over)


def _from_stream_of_rows(dataset: Any, over: Pass) -> Source:
    """A Hugging Face data set that is only iterated."""
    dataset, pick = _columns(dataset, over)
    return Source(lambda: map(pick, dataset.iter(over.batch_size)))


def _from_splits(splits: Any, _: Pass) -> Source:
    raise DataError(
        f"This is a dict of data sets, {list(splits)}. Pass one of them, such as "
        f"data[{next(iter(splits), 'train')!r}]."
    )


def _columns(dataset: Any, over: Pass) -> tuple[Any, Callable[[Any], Any]]:
    """The data set in NumPy's format, and what takes the model's columns from a batch of it."""
    if not over.inputs:
        return _as_numpy(dataset), lambda batch: batch
    wanted = {n for names in over.inputs for n in names} | set(over.outputs)
    columns = dataset.column_names
    if columns is not None and not _has_own_format(dataset):
        missing = [names[0] for names in over.inputs if not set(names) & set(columns)]
        if missing:
            raise StructureError(
                f"The data set has no column for the inputs {missing}. Its columns are {columns}; "
                f"the model's inputs are {[n[0] for n in over.inputs]} and its outputs "
                f"{list(over.outputs)}. Rename columns with `rename_column(old, new)`, or name "
                "the inputs and the output layers after the columns."
            )
        ignored = [c for c in columns if c not in wanted]
        if ignored:
            warn(
                f"The data set has columns that the model does not take, which are ignored: "
                f"{ignored}.",
                TrainingWarning,
            )
        dataset = dataset.select_columns([c for c in columns if c in wanted])
    return _as_numpy(dataset), lambda batch: {k: v for k, v in batch.items() if k in wanted}


def _has_own_format(dataset: Any) -> bool:
    """Whether the user has chosen a format or a transform, which may make other columns."""
    return (getattr(dataset, "format", None) or {}).get("type") is not None


def _as_numpy(dataset: Any) -> Any:
    return dataset if _has_own_format(dataset) else dataset.with_format("numpy")


def _length(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:  # it has no length, or a loader around something that has none
        return None


_KINDS: Mapping[tuple[str, str], Callable[[Any, Pass], Source]] = {
    ("lamina", "Dataset"): _from_dataset,
    ("lamina", "PyDataset"): _PyDatasetSource,
    ("torch", "DataLoader"): _from_torch,
    ("tensorflow", "DatasetV2"): _from_tensorflow,
    ("grain", "DataLoader"): _from_grain,
    ("grain", "MapDataset"): _from_grain,
    ("grain", "IterDataset"): _from_grain,
    ("datasets", "Dataset"): _from_rows,
    ("datasets", "IterableDataset"): _from_stream_of_rows,
    ("datasets", "DatasetDict"): _from_splits,
    ("datasets", "IterableDatasetDict"): _from_splits,
}


def source_of(data: Any, over: Pass) -> Source:
    """The batches that an object holds.

    Raises:
        DataError: An object that holds no batches.
        StructureError: A table without a column for each input.
    """
    for cls in type(data).__mro__:
        adapter = _KINDS.get((cls.__module__.partition(".")[0], cls.__name__))
        if adapter is not None:
            return adapter(data, over)
    if not isinstance(data, Iterable):
        hint = ""
        if hasattr(data, "__getitem__"):
            hint = (
                " An object with `__getitem__` needs a loader around it, such as a "
                "`lamina.utils.PyDataset` or a PyTorch DataLoader."
            )
        raise DataError(
            "`x` must be arrays, in any nesting, or an iterable of batches. Received: "
            f"{data!r} (of type {type(data).__name__}).{hint}"
        )
    once = isinstance(data, Iterator)
    return Source(lambda: iter(data), _length(data), once=once)


__all__ = ["NumberedSource", "Source", "rows_source", "source_of"]
