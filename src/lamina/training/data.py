"""Anything that holds samples, as batches."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.errors import ArgumentError, DataError, StructureError
from lamina.runtime import xla
from lamina.training.arrays import Rows, arrays_of, holds_arrays
from lamina.training.inplace import samples_in_place
from lamina.training.sources import Request, Source, order, rows_source, source_of
from lamina.tree import nested

# Data up to this many bytes goes to a GPU or TPU once, whole.
_RESIDENT_BYTES = 2 * 2**30
# The batches of one dispatch: small enough to be made while the one before is computed with.
_BLOCK_BYTES = 16 * 2**20
MOST_STEPS = 1024

Batch = tuple[Any, Any, Any]


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """``x``, ``(x, y)`` or ``(x, y, sample_weight)`` as a triple, with None for what is not there.

    >>> unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise StructureError(
            f"A batch is x, (x, y) or (x, y, sample_weight). Received a tuple of {len(data)}; if "
            "these are several inputs, put them into a list or a dict."
        )
    return (*data, None, None)[:3]  # pyright: ignore[reportReturnType]


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as users meet it: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    >>> pack_x_y_sample_weight(1, 2)
    (1, 2)
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, tuple) else x


def separate(data: Batch, request: Request) -> Batch:
    """Inputs and targets of a dict that holds both, as the rows of a table do.

    Where there are no targets apart, the entries named like outputs are the targets, and the others
    the inputs; an entry named like an input and an output is both.
    """
    x, y, sample_weight = data
    if y is not None or not isinstance(x, Mapping):
        return data
    targets = {n: x[n] for n in request.outputs if n in x}
    if not targets:
        return data
    inputs = {n for names in request.inputs for n in names}
    return {k: v for k, v in x.items() if k in inputs or k not in targets}, targets, sample_weight


class ArrayData:
    """Samples in arrays.

    Args:
        data: inputs, targets and sample weights, each in any nesting or None.
        request: batch size, order and steps.

    Raises:
        DataError: no samples, or arrays of different length; all are listed.
    """

    def __init__(self, data: Batch, request: Request) -> None:
        self._request = request
        x, y, sample_weight = data
        self.batch: Batch = (arrays_of(x), arrays_of(y), arrays_of(sample_weight))
        self.size = _common_length(self.batch)
        arrays = [a for a in nested.flatten(self.batch) if a is not None]
        self._nbytes = sum(a.nbytes for a in arrays)
        self._has_rows = any(isinstance(a, Rows) for a in arrays)
        self.batch_size = request.batch_size
        self._source: Source | None = None
        self._running: Any = None
        self._on_device: Any = None
        if self.size == 0:
            raise DataError(f"There are no samples: {describe(self.batch)}.")

    @property
    def steps(self) -> int:
        """Batches in a pass; unless their number was asked for, the last may be smaller."""
        return self._request.steps or -(-self.size // self.batch_size)

    @property
    def in_memory(self) -> bool:
        """Whether passes are over all samples, none of which has to be read from a file."""
        return self._request.steps is None and not self._has_rows

    @property
    def steps_in_block(self) -> int:
        """Batches that go into one dispatch, whatever the number of samples."""
        bytes_of_step = self.batch_size * self._nbytes // self.size
        return max(1, min(MOST_STEPS, _BLOCK_BYTES // max(1, bytes_of_step)))

    @functools.cached_property
    def in_place(self) -> Any:
        """The samples for :class:`InPlace`, where that saves copies; else None."""
        if xla.has_own_memory() or self._has_rows or self._nbytes <= _BLOCK_BYTES:
            return None
        return samples_in_place(self.batch, _BLOCK_BYTES)

    def block(self, rows: np.ndarray | slice, length: int) -> Batch:
        """Samples by their numbers, then others without a meaning up to ``length``.

        On a GPU or TPU they come from its memory, if the data fits there. Consecutive samples that
        need no others are a view of the data.
        """
        if xla.has_own_memory() and self._on_device is None and not self._has_rows:
            self._on_device = jax.device_put(self.batch) if self._nbytes <= _RESIDENT_BYTES else ()
        if self._on_device:
            index = np.arange(self.size)[rows] if isinstance(rows, slice) else rows
            return _taken(self._on_device, np.resize(index, length))
        return _map(lambda a: _copied(a, rows, length), self.batch)

    @property
    def has_blocks(self) -> bool:
        """Whether several batches can go into one dispatch."""
        return self.in_memory and self.steps_in_block > 1

    def blocks(self) -> Iterator[tuple[Batch, int]]:
        """All full batches in the samples' own order, in blocks, with their number in each."""
        size, most = self.batch_size, self.steps_in_block
        full = self.size // size
        for at in range(0, full, most):
            count = min(most, full - at)
            yield self.block(slice(at * size, (at + count) * size), most * size), count

    def rest(self) -> Iterator[Batch]:
        """The last batch, where it is smaller than the others."""
        rest = self.size % self.batch_size
        if rest:
            yield self.block(slice(self.size - rest, self.size), rest)

    def order(self, at: int) -> np.ndarray:
        """The order of the samples in the pass that begins at training step ``at``."""
        return order(self.size, self._request, at)

    def peek(self) -> Batch:
        """The first batch, of samples in their own order."""
        if self.size <= self.batch_size and not self._has_rows:
            return self.batch
        return _map(lambda a: a[: self.batch_size], self.batch)

    def batches(self) -> Iterator[Batch]:
        """The batches of one pass."""
        shuffle = self._request.shuffle
        # Numbering the rows of a single batch would take as long as a small model's prediction.
        if self.in_memory and self.steps == 1 and not shuffle and not xla.has_own_memory():
            return iter((_map(np.asarray, self.batch),))

        def take(rows: np.ndarray) -> Batch:
            return self.block(rows if shuffle else slice(rows[0], rows[-1] + 1), len(rows))

        if self._source is None:
            self._source = rows_source(self.size, take, self._request)
        made = self._source.batches(self._request)
        # What is in memory already is taken in less time than a thread needs to hand it over.
        self._running = ahead(made) if self._has_rows and self.steps > 1 else made
        return self._running

    def split(self, share: float) -> tuple[ArrayData, Batch]:
        """The first part for training, and the last ``share`` of the samples for validation."""
        if not 0 < share < 1:
            raise ArgumentError(f"`validation_split` is between 0 and 1. Received: {share}.")
        at = int(self.size * (1.0 - share))
        if at == 0 or at == self.size:
            raise DataError(
                f"`validation_split={share}` of {self.size} samples leaves "
                f"{'none to train on' if at == 0 else 'none to validate on'}."
            )

        def part(start: int, stop: int) -> Batch:
            return _map(
                lambda a: a.part(start, stop) if isinstance(a, Rows) else a[start:stop], self.batch
            )

        return ArrayData(part(0, at), self._request), part(at, self.size)

    def weighted(self, class_weight: Mapping[int, float]) -> ArrayData:
        """The same samples, weighted by their classes."""
        x, y, sample_weight = self.batch
        weights = weights_of_classes(y, class_weight, sample_weight)
        return ArrayData((x, y, weights), self._request)

    def with_steps(self, steps: int) -> ArrayData:
        """The same samples, in passes of that many batches."""
        return ArrayData(self.batch, dataclasses.replace(self._request, steps=steps))

    def close(self) -> None:
        """End the thread of a pass that was not finished."""
        if self._running is not None:
            self._running.close()


class StreamData:
    """Batches from a source, each made in the background while the one before is computed with.

    A single thread draws from the source, never more than two batches ahead, and never beyond
    ``steps``: what a generator has left is the user's. The thread ends with the pass.

    Args:
        source: gives ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        request: the steps of a pass, and the names that separate targets from inputs.

    Raises:
        ArgumentError: a source without end, and no number of steps.
    """

    def __init__(self, source: Source, request: Request) -> None:
        if request.steps is None and source.endless:
            raise ArgumentError(
                "This data has no end. Say how many batches make a pass: `steps_per_epoch` (and "
                "`validation_steps`) in fit(), `steps` in evaluate() and predict()."
            )
        self._source, self._request = source, request
        self.steps = request.steps or source.steps
        self._class_weight: Mapping[int, float] | None = None
        self._structure: dict[Any, bool] | None = None
        self._example = ""
        self._running: Any = None
        self._peeked: list[Batch] = []

    def peek(self) -> Batch:
        """The first batch of the pass that :meth:`batches` goes on with."""
        if not self._peeked:
            self._peeked = [next(self._begin())]
        return self._peeked[0]

    def batches(self) -> Iterator[Batch]:
        """The batches of one pass.

        Raises:
            DataError: there is none.
        """
        running = self._running or self._begin()
        try:
            while self._peeked:
                yield self._peeked.pop()
            yield from running
        finally:
            self._running = None
            running.close()
        self._source.epoch_end()

    def weighted(self, class_weight: Mapping[int, float]) -> StreamData:
        """The same batches, their samples weighted by their classes."""
        self._class_weight = class_weight
        return self

    def with_steps(self, steps: int) -> StreamData:
        """The same batches, in passes of at most that many."""
        # Where the user gave no number, a pass ends with the source, and the next begins anew.
        anew = {} if self._request.steps is not None else {"training": False}
        self._request = dataclasses.replace(self._request, steps=steps, **anew)
        self.steps = steps
        return self

    def close(self) -> None:
        """End the thread, and what the source has started."""
        self._source.close()
        if self._running is not None:
            self._running.close()

    def _begin(self) -> Any:
        self._source.epoch_begin()
        self._running = ahead(self._made())
        return self._running

    def _made(self) -> Iterator[Batch]:
        number = 0
        for number, data in enumerate(self._source.batches(self._request), 1):
            yield self._arrays(data, number)
        if number == 0:
            raise DataError(
                "The data yields no batch. If it is a generator, it is used up: one pass takes "
                "all of it. Make a new one, give `steps_per_epoch` for a generator that goes on, "
                "or pass an object that can be iterated again."
            )

    def _arrays(self, data: Any, number: int) -> Batch:
        """A batch as arrays, checked against the first one."""
        x, y, sample_weight = separate(unpack_x_y_sample_weight(data), self._request)
        batch: Batch = (arrays_of(x), arrays_of(y), arrays_of(sample_weight))
        batch = _map(lambda a: a[:] if isinstance(a, Rows) else a, batch)
        if self._class_weight is not None:
            x, y, sample_weight = batch
            batch = x, y, weights_of_classes(y, self._class_weight, sample_weight)
        structure = {path: leaf is None for path, leaf in nested.flatten_with_path(batch)}
        if self._structure is None:
            self._structure, self._example = structure, describe(batch)
        elif structure != self._structure:
            raise StructureError(
                f"Batch {number} is put together differently from the first.\n  first: "
                f"{self._example}\n  batch {number}: {describe(batch)}"
            )
        try:
            _common_length(batch)
        except DataError as e:
            raise DataError(f"Batch {number}: {e}") from None
        return batch


def ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same items, each made by a background thread while the one before is in use.

    An error of ``items`` is raised here with its own traceback. Closing this generator ends the
    thread, as soon as the item that it is making is done.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=1)
    closed = threading.Event()
    end = StopIteration()

    def run() -> None:
        try:
            for item in items:
                ready.put((item, None))
                if closed.is_set():
                    return
            ready.put((None, end))
        except BaseException as e:  # noqa: BLE001 - the consumer raises it
            ready.put((None, e))
        finally:
            items.close()  # pyright: ignore[reportAttributeAccessIssue]

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name="lamina-data", daemon=True
    )
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is end:
                return
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # which refers to this frame
            yield item
    finally:
        closed.set()
        with contextlib.suppress(queue.Empty):  # room for the one item that may still come
            ready.get_nowait()
        thread.join(timeout=1)


def _copied(a: Any, rows: np.ndarray | slice, length: int) -> np.ndarray:
    if isinstance(a, Rows):
        return a[rows]
    a = np.asarray(a)
    if isinstance(rows, slice) and rows.stop - rows.start == length:
        return a[rows]
    copy = xla.empty((length, *a.shape[1:]), a.dtype)
    if isinstance(rows, slice):
        copy[: rows.stop - rows.start] = a[rows]
    else:
        np.take(a, rows, axis=0, out=copy[: len(rows)], mode="clip")
    return copy


@jax.jit
def _taken(data: Any, index: Any) -> Any:
    return jax.tree.map(lambda a: jnp.take(a, index, axis=0), data)


def _map(fn: Callable[[Any], Any], batch: Any) -> Any:
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


def _common_length(batch: Batch) -> int:
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


def _checked_batch_size(batch_size: Any) -> int:
    if batch_size is None:
        return 32
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ArgumentError(f"`batch_size` is a positive integer. Received: {batch_size!r}.")
    return int(batch_size)


def adapt(
    model: Any, data: Batch, *, batch_size: int | None, steps: int | None, training: bool = False,
    shuffle: bool = False,
) -> ArrayData | StreamData:  # fmt: skip
    """The data that ``fit``, ``evaluate`` or ``predict`` was given.

    Args:
        model: whose names separate inputs from targets, and whose seed and step decide orders.
        data: ``x``, ``y`` and ``sample_weight``, as the user gave them.
        batch_size: samples in a batch; 32 when None. Streams make their own batches.
        steps: batches in a pass; all when None.
        training: whether passes of ``steps`` go on where the one before stopped.
        shuffle: whether to draw a new order for each pass, where the data allows it.

    Raises:
        DataError: nothing, or a kind of object that holds no batches.
        ArgumentError: ``y`` or ``sample_weight`` beside a stream, whose batches carry them.
    """
    x, y, sample_weight = data
    if x is None:
        raise DataError("There is no data. Received x=None; pass arrays or an iterable of batches.")
    graph = model.graph
    names = [] if graph is None else zip(graph.input_names, graph.inputs, strict=True)
    request = Request(
        batch_size=_checked_batch_size(batch_size),
        steps=steps,
        training=training,
        shuffle=shuffle,
        seed=model.run_seed,
        at=model.steps_taken,
        inputs=tuple((name, tensor.name) for name, tensor in names),
        outputs=() if graph is None else tuple(graph.output_names),
    )
    if holds_arrays(x) or isinstance(x, (str, bytes)):
        return ArrayData(separate(data, request), request)
    if y is not None or sample_weight is not None:
        raise ArgumentError(
            "`y` and `sample_weight` come with `x` only when `x` is arrays. An iterable yields "
            "tuples (x, y) or (x, y, sample_weight) instead."
        )
    return StreamData(source_of(x, request), request)


def limited(data: ArrayData | StreamData) -> ArrayData | StreamData:
    """The data in passes of no more steps than ``lamina.config.max_steps_per_epoch()`` allows."""
    most = settings.max_steps_per_epoch()
    if most is None or (data.steps is not None and data.steps <= most):
        return data
    return data.with_steps(most)


def one_batch(x: Any, y: Any, sample_weight: Any, class_weight: Any = None) -> Batch:
    """The single batch of ``train_on_batch`` and its like."""
    data = ArrayData((x, y, sample_weight), Request(batch_size=1))
    if class_weight is not None:
        data = data.weighted(class_weight)
    return _map(lambda a: a[:] if isinstance(a, Rows) else a, data.batch)


def weights_of_classes(y: Any, class_weight: Mapping[int, float], sample_weight: Any) -> Any:
    """Sample weights that follow from the weight of each class.

    Args:
        y: class numbers ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``.
        class_weight: a number for each class; classes not listed count 1.
        sample_weight: weights to multiply with, or None.
    """
    leaves = nested.flatten(y)
    if len(leaves) != 1 or leaves[0] is None:
        raise ArgumentError(
            "`class_weight` works for models with one target. For several outputs, pass "
            "`sample_weight` for each."
        )
    labels = np.asarray(leaves[0])
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] != 1 else labels[..., 0]
    keys = [int(k) for k in class_weight]
    table = np.ones(max([*keys, int(labels.max(initial=0))]) + 1, settings.floatx())
    for k, w in class_weight.items():
        table[int(k)] = w
    weights = table[labels.astype(np.int64)]
    return weights if sample_weight is None else weights * np.asarray(sample_weight)
