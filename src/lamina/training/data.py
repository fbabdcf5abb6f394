"""Anything that holds samples, as batches."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import config, tree
from lamina.core import random
from lamina.dtypes import canonical
from lamina.errors import ArgumentError, DataError, StructureError

# Data up to this many bytes goes to the device once, whole.
_RESIDENT_BYTES = 2 * 2**30

Batch = tuple[Any, Any, Any]


def unpack(data: Any) -> Batch:
    """``x``, ``(x, y)`` or ``(x, y, sample_weight)`` as a triple."""
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise StructureError(
            f"A batch is x, (x, y) or (x, y, sample_weight). Received a tuple of {len(data)}; if "
            "these are several inputs, put them into a list or a dict."
        )
    return (*data, None, None)[:3]  # pyright: ignore[reportReturnType]


def is_array_like(x: Any) -> bool:
    """True for arrays, data frames and lists of numbers: what has a fixed number of samples."""
    return (
        isinstance(x, (np.ndarray, np.generic, jax.Array))
        or hasattr(x, "to_numpy")
        or (hasattr(x, "__array__") and hasattr(x, "shape"))
    )


def as_array(x: Any) -> Any:
    """A NumPy or JAX array in a dtype that JAX computes in."""
    if isinstance(x, jax.Array):
        return x
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise DataError(
            f"Data for a model is numbers. Received an array of dtype {array.dtype}"
            + (" (rows of different length?)." if array.dtype == object else ".")
        )
    if array.dtype.kind in "fiu":
        wanted = config.floatx() if array.dtype == np.float64 else canonical(array.dtype.name)
        array = array.astype(wanted, copy=False)
    return array


def arrays_of(structure: Any) -> Any:
    """Every leaf as an array; a list of plain numbers counts as one leaf."""
    if isinstance(structure, (list, tuple)) and structure:
        if all(isinstance(v, (int, float, np.generic)) for v in tree.flatten(structure)):
            return as_array(structure)
        return type(structure)(arrays_of(v) for v in structure)
    if isinstance(structure, Mapping):
        return {k: arrays_of(v) for k, v in structure.items()}
    return None if structure is None else as_array(structure)


def holds_arrays(x: Any) -> bool:
    """Whether ``x`` is arrays in some nesting, rather than a stream of batches."""
    if isinstance(x, Mapping):
        return all(holds_arrays(v) for v in x.values())
    if isinstance(x, (list, tuple)):
        return not x or all(holds_arrays(v) or isinstance(v, (int, float)) for v in x)
    return is_array_like(x)


class ArrayData:
    """Samples in arrays.

    Args:
        x: inputs, in any nesting.
        y: targets, or None.
        sample_weight: weights, or None.
        batch_size: samples in a batch.
        shuffle: whether :meth:`order` is random.

    Raises:
        DataError: no samples, or arrays of different length; all are listed.
    """

    def __init__(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool
    ) -> None:
        self.batch: Batch = (arrays_of(x), arrays_of(y), arrays_of(sample_weight))
        self.batch_size = _checked_batch_size(batch_size)
        self.shuffle = shuffle
        sizes = [
            (f"{what}{''.join(f'[{p!r}]' for p in path)}", np.shape(leaf))
            for what, part in zip(("x", "y", "sample_weight"), self.batch, strict=True)
            for path, leaf in tree.flatten_with_path(part)
            if leaf is not None
        ]
        if not sizes:
            raise DataError("There is no data. Received x=None; pass arrays or an iterable.")
        if any(not shape for _, shape in sizes):
            raise DataError(
                "Data needs an axis of samples in front. Received: "
                + ", ".join(f"{n} of shape {s}" for n, s in sizes) + "."
            )  # fmt: skip
        lengths = {shape[0] for _, shape in sizes}
        if len(lengths) > 1:
            raise DataError(
                "All data must have the same number of samples. Received: "
                + ", ".join(f"{n}: {s[0]} (shape {s})" for n, s in sizes) + "."
            )  # fmt: skip
        self.size = lengths.pop()
        if self.size == 0:
            raise DataError(
                "There are no samples: " + ", ".join(f"{n} has shape {s}" for n, s in sizes) + "."
            )

    @property
    def steps(self) -> int:
        """Batches in a pass, the last one possibly smaller."""
        return -(-self.size // self.batch_size)

    @property
    def fits_device(self) -> bool:
        """Whether the arrays are small enough to live on the device."""
        return sum(x.nbytes for x in self._leaves()) <= _RESIDENT_BYTES

    def _leaves(self) -> list[Any]:
        return [x for x in tree.flatten(self.batch) if x is not None]

    def on_device(self) -> Any:
        """The arrays, on the device."""
        return _map(jnp.asarray, self.batch)

    def order(self, seed: int, at: int) -> np.ndarray:
        """The order of the samples in the pass that begins at training step ``at``."""
        if not self.shuffle:
            return np.arange(self.size, dtype=np.int32)
        return random.stream(seed, "shuffle", at).permutation(self.size).astype(np.int32)

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Batches in host memory."""

        def take(array: Any, index: np.ndarray) -> Any:
            if self.shuffle:
                return np.asarray(array)[index]
            return array[index[0] : index[-1] + 1]

        for i in range(0, self.size, self.batch_size):
            index = order[i : i + self.batch_size]
            yield _map(functools.partial(take, index=index), self.batch)

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
        x, y, sample_weight = _map(lambda a: a[:at], self.batch)
        return (ArrayData(x, y, sample_weight, self.batch_size, self.shuffle),
                _map(lambda a: a[at:], self.batch))  # fmt: skip


class StreamData:
    """Batches from an iterable: a generator, a loader, a data set of another library.

    Args:
        source: yields ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        steps: batches that make a pass; None: until the source ends.
    """

    def __init__(self, source: Any, steps: int | None) -> None:
        self._source = source
        self._given_steps = steps
        length = len(source) if hasattr(source, "__len__") else None
        self.steps = steps if steps is not None else length
        self._iterator: Iterator[Any] | None = None
        self._first: list[Any] = []

    def _next_iterator(self) -> Iterator[Any]:
        once = self._source is iter(self._source) if hasattr(self._source, "__next__") else False
        if self._iterator is None or not (once or self._given_steps is not None):
            self._iterator = iter(self._source)
        return self._iterator

    def peek(self) -> Batch:
        """The first batch; it is not lost."""
        if not self._first:
            try:
                self._first = [next(self._next_iterator())]
            except StopIteration:
                raise DataError(
                    "The data yields no batch. If it is a generator, it may be used up: make a new "
                    "one, or pass an object that can be iterated again."
                ) from None
        return _map(_host, unpack(self._first[0]))

    def batches(self) -> Iterator[Batch]:
        """The batches of one pass."""
        if self._first:
            assert self._iterator is not None  # noqa: S101 - peek made it
            source: Iterable[Any] = itertools.chain(self._first, self._iterator)
            self._first = []
        else:
            source = self._next_iterator()
        for batch in itertools.islice(source, self._given_steps):
            yield _map(_host, unpack(batch))


def _host(x: Any) -> Any:
    return x if isinstance(x, jax.Array) else as_array(x)


def _map(fn: Callable[[Any], Any], batch: Any) -> Any:
    return tree.map_structure(lambda x: None if x is None else fn(x), batch)


def _checked_batch_size(batch_size: Any) -> int:
    if batch_size is None:
        return 32
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ArgumentError(f"`batch_size` is a positive integer. Received: {batch_size!r}.")
    return int(batch_size)


def adapt(
    x: Any, y: Any, sample_weight: Any, *, batch_size: int | None, shuffle: bool, steps: int | None
) -> ArrayData | StreamData:
    """The data that ``fit``, ``evaluate`` or ``predict`` was given.

    Raises:
        DataError: nothing, or a kind of object that holds no batches.
        ArgumentError: ``y`` or ``sample_weight`` beside a stream, whose batches carry them.
    """
    if x is None:
        raise DataError("There is no data. Received x=None; pass arrays or an iterable of batches.")
    if holds_arrays(x):
        return ArrayData(x, y, sample_weight, batch_size, shuffle)
    if not hasattr(x, "__iter__"):
        raise DataError(
            f"`x` is arrays in some nesting, or an iterable of batches. Received: {x!r} "
            f"(of type {type(x).__name__})."
        )
    if y is not None or sample_weight is not None:
        raise ArgumentError(
            "`y` and `sample_weight` come with `x` only when `x` is arrays. An iterable yields "
            "tuples (x, y) or (x, y, sample_weight) instead."
        )
    return StreamData(x, steps)


def weights_of_classes(y: Any, class_weight: Mapping[int, float], sample_weight: Any) -> Any:
    """Sample weights that follow from the weight of each class.

    Args:
        y: class numbers ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``.
        class_weight: a number for each class; classes not listed count 1.
        sample_weight: weights to multiply with, or None.
    """
    leaves = tree.flatten(y)
    if len(leaves) != 1 or leaves[0] is None:
        raise ArgumentError(
            "`class_weight` works for models with one target. For several outputs, pass "
            "`sample_weight` for each."
        )
    labels = np.asarray(leaves[0])
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] != 1 else labels[..., 0]
    keys = [int(k) for k in class_weight]
    table = np.ones(max([*keys, int(labels.max(initial=0))]) + 1, config.floatx())
    for k, w in class_weight.items():
        table[int(k)] = w
    weights = table[labels.astype(np.int64)]
    return weights if sample_weight is None else weights * np.asarray(sample_weight)
