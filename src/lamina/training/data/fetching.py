"""Threads and processes that make the elements of a data set."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import cloudpickle

from lamina.errors import DataError, LaminaError
from lamina.layers.base import Layer
from lamina.training.data.chain import Elements, Node
from lamina.training.data.pydataset import Workers


class Fetcher(Workers):
    """Threads or processes that make elements of a chain."""

    def __init__(self, node: Node, workers: int, in_processes: bool, most: int) -> None:
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, in_processes, most
        self._elements = Elements(node)
        super().__init__(self)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return self._elements[key]

    def pickled(self) -> tuple[bytes, bool]:
        try:
            return to_bytes(self._elements), False
        except LaminaError:
            raise
        except Exception as e:
            raise DataError(
                f"This data set cannot be sent to worker processes: {type(e).__name__}: {e}",
                cure="Mapped functions and what they refer to are pickled. Open files and "
                "connections inside of the functions, or use threads: leave out `in_processes`.",
            ) from e


class _Pickler(cloudpickle.Pickler):
    """Pickles functions by their code, and layers as what they compute on NumPy arrays."""

    def reducer_override(self, obj: Any) -> Any:
        call = obj.for_worker() if isinstance(obj, Layer) else None
        return super().reducer_override(obj) if call is None else (copy.copy, (call,))


def to_bytes(obj: Any) -> bytes:
    """A pickle that a process without JAX can read, if its layers are preprocessing layers."""
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(obj)
    return file.getvalue()
