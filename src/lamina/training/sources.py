"""Where batches come from: iterables, and data sets whose batches or rows have numbers.

Objects of other libraries are known by the name of their class, so that none is imported.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.core import prng
from lamina.core.boundary import warn
from lamina.errors import DataError, StructureError, TrainingWarning
from lamina.training.pydataset import PyDataset, Workers


@dataclass(frozen=True)
class Request:
    """What is asked of a source.

    Attributes:
        batch_size: samples in a batch, for a source that has rows.
        steps: batches in a pass; None: all.
        training: whether a pass of ``steps`` goes on where the one before stopped, and begins anew
            when the batches end; otherwise each pass begins at the beginning.
        shuffle: whether a source with numbers draws a new order for each pass.
        seed: what the orders derive from, together with ``at``.
        at: the number of training steps before the first pass.
        inputs: names of the model's inputs (each as a tuple of the names that it answers to), and
        outputs: names of its outputs; both empty for a model that is no graph.
    """

    batch_size: int
    steps: int | None = None
    training: bool = False
    shuffle: bool = False
    seed: int = 0
    at: int = 0
    inputs: tuple[tuple[str, ...], ...] = ()
    outputs: tuple[str, ...] = ()


class Source:
    """Batches that are iterated.

    Args:
        begin: gives a new iterator over all batches.
        steps: their number; None if it is not known.
        endless: whether it is known that they never end.
    """

    def __init__(
        self, begin: Callable[[], Iterator[Any]], steps: int | None = None, endless: bool = False
    ) -> None:
        self._begin = begin
        self.steps, self.endless = steps, endless
        self._iterator: Iterator[Any] | None = None

    def batches(self, request: Request) -> Iterator[Any]:
        """The batches of a pass: not one more is taken than are asked for."""
        limit = request.steps
        if limit is None or not request.training:
            # The slice keeps a generator of the user's open when this one is closed.
            yield from itertools.islice(self._begin(), limit)
            return
        while limit:
            fresh = self._iterator is None
            if self._iterator is None:
                self._iterator = self._begin()
            taken = 0
            for batch in itertools.islice(self._iterator, limit):
                taken += 1
                yield batch
            limit -= taken
            if limit:
                self._iterator = None
                if fresh and not taken:
                    return

    def epoch_begin(self) -> None:
        """Called before a pass."""

    def epoch_end(self) -> None:
        """Called after a pass."""

    def close(self) -> None:
        """Called when no pass will follow."""


class NumberedSource(Source):
    """Batches that are fetched by keys: their numbers, or the numbers of their rows.

    Args:
        fetch: gives the batches for some keys.
        keys: gives the keys of a pass that begins at a training step.
        steps: batches in a pass; None: without end.
        at: the training step at which the first pass begins.
    """

    def __init__(
        self, fetch: Callable[[Iterable[Any]], Iterator[Any]],
        keys: Callable[[int], Iterable[Any]], steps: int | None, at: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(self._keys_of_pass, steps, endless=steps is None)
        self._fetch, self._keys, self._at = fetch, keys, at

    def _keys_of_pass(self) -> Iterator[Any]:
        for key in self._keys(self._at):
            self._at += 1
            yield key

    def batches(self, request: Request) -> Iterator[Any]:
        yield from self._fetch(super().batches(request))


class _PyDatasetSource(NumberedSource):
    def __init__(self, dataset: PyDataset, request: Request) -> None:
        self._dataset = dataset
        self._workers = Workers(dataset)

        def keys(at: int) -> Iterable[int]:
            count = dataset.num_batches
            if count is None:
                return itertools.count()
            return order(count, request, at).tolist()

        super().__init__(self._workers.run, keys, dataset.num_batches, request.at)

    def epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def epoch_end(self) -> None:
        self._dataset.on_epoch_end()

    def close(self) -> None:
        self._workers.close()


def order(size: int, request: Request, at: int) -> np.ndarray:
    """The order of batches or samples in the pass that begins at training step ``at``."""
    if not request.shuffle:
        return np.arange(size, dtype=np.int32)
    return prng.stream(request.seed, "shuffle", at).permutation(size).astype(np.int32)


def rows_source(size: int, take: Callable[[np.ndarray], Any], request: Request) -> NumberedSource:
    """Batches of rows that are taken by their numbers.

    Args:
        size: the number of rows.
        take: gives the rows of some numbers, which are consecutive unless ``request.shuffle``.
        request: batch size and order.
    """

    def keys(at: int) -> Iterator[np.ndarray]:
        rows = order(size, request, at)
        for i in range(0, size, request.batch_size):
            yield rows[i : i + request.batch_size]

    steps = -(-size // request.batch_size)
    return NumberedSource(lambda chosen: map(take, chosen), keys, steps, request.at)


# ---- the libraries -----------------------------------------------------------------------------


def _from_torch(loader: Any, _: Request) -> Source:
    """A DataLoader; it collates tuples of samples into a list, which stands for a tuple."""

    def begin() -> Iterator[Any]:
        return (tuple(b) if isinstance(b, list) else b for b in loader)

    return Source(begin, _length(loader))


def _from_tensorflow(dataset: Any, _: Request) -> Source:
    cardinality = int(dataset.cardinality())  # negative: -1 infinite, -2 unknown
    steps = cardinality if cardinality >= 0 else None
    return Source(lambda: iter(dataset), steps, endless=cardinality == -1)


def _from_grain(dataset: Any, _: Request) -> Source:
    steps = _length(dataset)
    endless = steps is not None and steps >= sys.maxsize  # `repeat()` without a number
    return Source(lambda: iter(dataset), None if endless else steps, endless)


def _from_rows(dataset: Any, request: Request) -> Source:
    """A Hugging Face data set whose rows have numbers; it is batched and shuffled like arrays."""
    dataset, pick = _columns(dataset, request)

    def take(rows: np.ndarray) -> Any:
        # A range is read without making a list of row numbers.
        return pick(dataset[rows if request.shuffle else slice(int(rows[0]), int(rows[-1]) + 1)])

    return rows_source(len(dataset), take, request)


def _from_stream_of_rows(dataset: Any, request: Request) -> Source:
    """A Hugging Face data set that is only iterated."""
    dataset, pick = _columns(dataset, request)
    return Source(lambda: map(pick, dataset.iter(request.batch_size)))


def _from_splits(splits: Any, _: Request) -> Source:
    raise DataError(
        f"This is a dict of data sets, {list(splits)}. Pass one of them, such as "
        f"data[{next(iter(splits), 'train')!r}]."
    )


def _columns(dataset: Any, request: Request) -> tuple[Any, Callable[[Any], Any]]:
    """The data set in NumPy's format, and what takes the model's columns from a batch of it."""
    if not request.inputs:
        return _as_numpy(dataset), lambda batch: batch
    wanted = {n for names in request.inputs for n in names} | set(request.outputs)
    columns = dataset.column_names
    if columns is not None and not _has_own_format(dataset):
        missing = [names[0] for names in request.inputs if not set(names) & set(columns)]
        if missing:
            raise StructureError(
                f"The data set has no column for the inputs {missing}. Its columns are {columns}; "
                f"the model's inputs are {[n[0] for n in request.inputs]} and its outputs "
                f"{list(request.outputs)}. Rename columns with `rename_column(old, new)`, or name "
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


_KINDS: Mapping[tuple[str, str], Callable[[Any, Request], Source]] = {
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


def source_of(data: Any, request: Request) -> Source:
    """The batches that an object holds.

    Raises:
        DataError: an object that holds no batches.
        StructureError: a table without a column for each input.
    """
    for cls in type(data).__mro__:
        adapter = _KINDS.get((cls.__module__.partition(".")[0], cls.__name__))
        if adapter is not None:
            return adapter(data, request)
    if not hasattr(data, "__iter__"):
        hint = ""
        if hasattr(data, "__getitem__"):
            hint = (
                " An object with `__getitem__` needs a loader around it, such as a "
                "`lamina.utils.PyDataset` or a PyTorch DataLoader."
            )
        raise DataError(
            "`x` is arrays in some nesting, or an iterable of batches. Received: "
            f"{data!r} (of type {type(data).__name__}).{hint}"
        )
    return Source(lambda: iter(data), _length(data))


__all__ = ["NumberedSource", "Request", "Source", "rows_source", "source_of"]
