"""Layers that compute what they need from data before training, in one pass: `adapt`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lamina.errors import DataError
from lamina.layers.base import Layer
from lamina.serialization.registry import builtin
from lamina.tree import nested


@runtime_checkable
class _ArrayLike(Protocol):
    """Arrays of any library, and the columns and tables of pandas and polars."""

    def __array__(self) -> Any: ...


@runtime_checkable
class _Numbered(Protocol):
    """A data set whose batches have numbers, such as ``lamina.utils.PyDataset``."""

    @property
    def num_batches(self) -> int | None: ...
    def __getitem__(self, index: int) -> Any: ...


@builtin()
class AdaptingLayer(Layer):
    """Base of layers with a state that :meth:`adapt` computes from data.

    A subclass defines :meth:`reset_state`, :meth:`update_state`, which receives one batch, and
    :meth:`finalize_state`.
    """

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Replace the state by that of ``data``, which is read once, batch by batch.

        Args:
            data: An array, a column of a data frame, or a list of numbers or strings; or batches:
                a generator, a list of arrays, a ``PyDataset``, a PyTorch ``DataLoader``,
                ``tf.data`` or any other iterable. Of a batch ``(x, y, ...)``, ``x`` is used.
            steps: Number of batches to read; all when None.

        Raises:
            DataError: There are no batches, or they do not have the form that the layer needs.
        """
        self.reset_state()
        empty = True
        for batch in itertools.islice(self._batches(data), steps):
            self.update_state(batch)
            empty = False
        if empty:
            raise DataError(
                f"{self.name}.adapt() received no batches. Received: an empty "
                f"{type(data).__name__}.",
                layer=self.name,
                cure="A generator that was read before is empty: create a new one.",
            )
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what earlier data contributed."""
        raise NotImplementedError

    def update_state(self, data: Any) -> None:
        """Add a batch: a NumPy array, or a list of strings."""
        raise NotImplementedError

    def finalize_state(self) -> None:
        """Compute what calls need from all batches."""
        raise NotImplementedError

    def _numbers(self, data: Any) -> np.ndarray:
        """A batch of numbers as an array, for :meth:`update_state`."""
        x = np.asarray(data)
        if x.dtype.kind not in "biuf" and x.dtype.kind != "V":  # bfloat16
            raise DataError(
                f"{self.name}.adapt() expects numbers. Received: values of dtype {x.dtype}.",
                layer=self.name,
            )
        if x.size == 0:
            raise DataError(
                f"{self.name}.adapt() received a batch without values, of shape {x.shape}.",
                layer=self.name,
            )
        return x

    def _batches(self, data: Any) -> Iterator[Any]:
        """The batches of ``data``; arrays and lists of numbers or strings are one."""
        if _is_one_batch(data):
            yield self._values(data)
        elif isinstance(data, _Numbered):
            count = data.num_batches
            for i in itertools.count() if count is None else range(count):
                yield self._values(data[i])
        elif isinstance(data, Iterable) and not isinstance(data, Mapping):
            yield from map(self._values, data)
        else:
            raise DataError(
                f"{self.name}.adapt() expects an array, or an iterable of batches. "
                f"Received: {type(data).__name__}.",
                layer=self.name,
                cure="Pass the column that the layer preprocesses."
                if isinstance(data, Mapping)
                else "",
            )

    def _values(self, batch: Any) -> Any:
        """The inputs of a batch: a NumPy array, or strings as they are."""
        if isinstance(batch, (list, tuple)) and not _is_one_batch(batch):
            batch = batch[0]
        if isinstance(batch, Mapping):
            raise DataError(
                f"{self.name}.adapt() reads one feature, but the batches have several: "
                f"{list(batch)}.",
                layer=self.name,
                cure="Map the data to one of them, as in `(batch['age'] for batch in data)`.",
            )
        if isinstance(batch, (str, bytes)) or (
            isinstance(batch, (list, tuple)) and isinstance(nested.flatten(batch)[0], (str, bytes))
        ):
            return batch
        return np.asarray(batch)


def _is_one_batch(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        leaves = nested.flatten(data)
        return bool(leaves) and all(isinstance(x, (int, float, str, bytes)) for x in leaves)
    return isinstance(data, (_ArrayLike, str, bytes))


__all__ = ["AdaptingLayer"]
