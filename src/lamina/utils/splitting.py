"""Splitting of data sets."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lamina.errors import ArgumentError, DataError
from lamina.training.data.dataset import Dataset
from lamina.tree import nested

_LIBRARIES = ("tensorflow", "torch")


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Split a data set in two, for example into training and validation data.

    Args:
        dataset: An array whose first axis is that of the samples, or a nested structure (lists,
            tuples, dicts) of such arrays; a :class:`lamina.utils.Dataset` or ``tf.data.Dataset``,
            which is split between its elements (split it before batching); or a
            ``torch.utils.data.Dataset`` with a length.
        left_size: A number of samples, or a fraction of them as a float in ``[0, 1]``; when None,
            all samples that are not in the right part.
        right_size: Likewise. If both sizes are given, samples between the two parts are unused.
        shuffle: Whether to shuffle the samples first.
        seed: Seed of the shuffling; when None, it is drawn from Python's global generator, which
            :func:`lamina.utils.set_random_seed` seeds.
        preferred_backend: When None, the results are of the same kind as ``dataset``. ``"jax"``
            requests arrays; ``"tensorflow"`` and ``"torch"`` convert arrays to a data set of that
            library, which your program must have imported.

    Returns:
        ``(left, right)``, each nested like ``dataset``; NumPy arrays without ``shuffle`` are views.
        Of a :class:`lamina.utils.Dataset`, they are the elements of its first epoch, so that no
        shuffling of it brings those of one part into the other.

    Raises:
        ArgumentError: If a size is missing or invalid, if one part would be empty, if there are not
            enough samples, or if ``preferred_backend`` is unknown or does not match ``dataset``.
        DataError: If the arrays differ in length, or ``dataset`` is none of these.

    >>> import numpy as np
    >>> x, y = np.arange(10.0), np.arange(10)
    >>> (x_train, y_train), (x_test, y_test) = split_dataset((x, y), left_size=0.8)
    >>> y_train, y_test
    (array([0, 1, 2, 3, 4, 5, 6, 7]), array([8, 9]))
    """
    if preferred_backend not in (None, "jax", *_LIBRARIES):
        raise ArgumentError(
            "`preferred_backend` expects None, 'jax', 'tensorflow' or 'torch'. "
            f"Received: {preferred_backend!r}."
        )
    given = _library_of(dataset)
    wanted = preferred_backend or given
    if given not in ("jax", wanted) or (wanted in _LIBRARIES and isinstance(dataset, Dataset)):
        raise ArgumentError(
            f"`preferred_backend={preferred_backend!r}` does not match a data set of "
            f"{'Lamina' if given == 'jax' else given}. Pass {given!r} or None, or arrays as "
            "`dataset`."
        )
    dataset = _to_library(dataset, wanted) if wanted != given else dataset
    total = _length(dataset, wanted)
    left, right = _sizes(left_size, right_size, total)
    order: list[int] | None = None
    if shuffle:
        order = list(range(total))
        random.Random(random.randint(0, 10**6) if seed is None else seed).shuffle(order)  # noqa: S311
    return (
        _part(dataset, wanted, 0, left, order),
        _part(dataset, wanted, total - right, total, order),
    )


def _library_of(dataset: Any) -> str:
    """The library of a data set, ``"jax"`` for others, determined without importing any."""
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch.utils.data")
    if tensorflow is not None and isinstance(dataset, tensorflow.data.Dataset):
        return "tensorflow"
    if torch is not None and isinstance(dataset, torch.Dataset):
        return "torch"
    return "jax"


def _to_library(arrays: Any, library: str) -> Any:
    if library not in sys.modules:
        raise ArgumentError(
            f"`preferred_backend={library!r}` requires that your program has imported {library}. "
            f"Write `import {library}` (after installing it), or leave `preferred_backend` out to "
            "get arrays."
        )
    arrays = nested.map_structure(np.asarray, _arrays(arrays))
    if library == "tensorflow":
        # A list would be converted to one tensor.
        packed = tuple(arrays) if isinstance(arrays, list) else arrays
        return sys.modules["tensorflow"].data.Dataset.from_tensor_slices(packed)
    leaves = nested.flatten(arrays)
    if isinstance(arrays, Mapping) or any(
        len(path) > 1 for path, _ in nested.flatten_with_path(arrays)
    ):
        raise ArgumentError(
            "A data set of torch expects an array or a list or tuple of arrays. Received: a "
            f"{type(arrays).__name__} with other structures. Leave `preferred_backend` out."
        )
    torch = sys.modules["torch"]
    return torch.utils.data.TensorDataset(*map(torch.from_numpy, leaves))


def _arrays(dataset: Any) -> Any:
    """The structure with arrays of equal length as leaves."""

    def array(leaf: Any) -> Any:
        return leaf if isinstance(leaf, (np.ndarray, jax.Array)) else np.asarray(leaf)

    arrays = nested.map_structure(array, dataset)
    leaves = nested.flatten_with_path(arrays)
    if not leaves or any(leaf.ndim == 0 for _, leaf in leaves):
        kinds = sorted({type(leaf).__name__ for leaf in nested.flatten(dataset)})
        raise DataError(
            "split_dataset() expects arrays with samples along the first axis (one, or lists, "
            "tuples and dicts of them), a tf.data.Dataset or a torch Dataset. Received: a "
            f"{type(dataset).__name__} of {kinds}. Convert a list of numbers to an array with "
            "`np.asarray`."
        )
    if len({len(leaf) for _, leaf in leaves}) > 1:
        listed = {"/".join(map(str, path)): len(leaf) for path, leaf in leaves}
        raise DataError(f"split_dataset() expects arrays of equal length. Received: {listed}.")
    return arrays


def _length(dataset: Any, library: str) -> int:
    if isinstance(dataset, Dataset):
        return len(dataset)
    if library == "jax":
        return len(nested.flatten(_arrays(dataset))[0])
    if library == "tensorflow":
        known = int(dataset.cardinality())
        if known == sys.modules["tensorflow"].data.INFINITE_CARDINALITY:
            raise DataError(
                "split_dataset() expects a finite data set. Received: an infinite tf.data.Dataset. "
                "Limit it first with its `take`."
            )
        return known if known >= 0 else sum(1 for _ in dataset)
    try:
        return len(dataset)
    except TypeError as error:
        raise DataError(
            "split_dataset() expects a torch data set with a length. Received: a "
            f"{type(dataset).__name__}, which defines no `__len__`."
        ) from error


class _Chosen:
    """Some elements of the first epoch of a data set."""

    def __init__(self, dataset: Dataset, chosen: Sequence[int]) -> None:
        self._dataset, self._chosen = dataset, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[self._chosen[index]]


def _part(dataset: Any, library: str, start: int, stop: int, order: list[int] | None) -> Any:
    if library == "torch":
        chosen = range(start, stop) if order is None else order[start:stop]
        return sys.modules["torch.utils.data"].Subset(dataset, list(chosen))
    if isinstance(dataset, Dataset):
        chosen = range(start, stop) if order is None else order[start:stop]
        return Dataset(_Chosen(dataset, chosen), class_names=dataset.class_names)
    if library == "jax":
        chosen = slice(start, stop) if order is None else np.asarray(order[start:stop])
        return nested.map_structure(lambda array: array[chosen], _arrays(dataset))
    if order is not None:
        dataset = _reordered(dataset, order)
    return dataset.skip(start).take(stop - start)


def _reordered(dataset: Any, order: list[int]) -> Any:
    """A tf.data.Dataset of the elements in another order, which keeps them in memory."""
    elements = list(dataset.as_numpy_iterator())
    spec = dataset.element_spec
    return (
        type(dataset)
        .from_generator(lambda: (elements[i] for i in order), output_signature=spec)
        .apply(sys.modules["tensorflow"].data.experimental.assert_cardinality(len(order)))
    )


# ------------------------------------------------------------------------------------------ sizes


def _sizes(left: float | None, right: float | None, total: int) -> tuple[int, int]:
    received = f"left_size={left!r}, right_size={right!r} and {total} samples"
    if left is None and right is None:
        raise ArgumentError(
            f"split_dataset() expects `left_size`, `right_size` or both. Received: {received}."
        )
    first, last = _count("left_size", left, total), _count("right_size", right, total)
    first = total - (last or 0) if first is None else first
    last = total - first if last is None else last
    if first + last > total:
        raise ArgumentError(
            "split_dataset() expects the two parts not to overlap. Received: "
            f"{received}, which requests {first} + {last}. Make one part smaller."
        )
    if first == 0 or last == 0:
        raise ArgumentError(
            f"split_dataset() expects both parts to be non-empty. Received: {received}, which "
            f"gives {first} and {last}."
        )
    return first, last


def _count(name: str, size: float | None, total: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and 0 <= size <= total:
        return int(size)
    if isinstance(size, (float, np.floating)) and math.isfinite(size) and 0 <= size <= 1:
        return round(float(size) * total)
    raise ArgumentError(
        f"`{name}` expects an integer from 0 to the number of samples ({total}), or a float in "
        f"[0, 1] as a fraction of them. Received: {size!r}."
    )
