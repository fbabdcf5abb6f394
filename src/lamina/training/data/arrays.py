"""Arrays of any library, as NumPy or JAX arrays in a dtype that JAX computes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.dtype_policies.dtypes import narrowed
from lamina.errors import DataError, DTypeError
from lamina.tree import nested

_SCALARS = (bool, int, float, str, bytes, np.generic)
# For single batches, where each microsecond counts: these dtypes need no further check.
_USED_AS_IT_IS = frozenset(
    np.dtype(x) for x in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
)


# ---- what arrays of other libraries are known by, so that none is imported ----------------------


@runtime_checkable
class _Sparse(Protocol):
    """A sparse matrix or array of SciPy, in any format."""

    def tocsr(self) -> Any: ...

    def toarray(self) -> np.ndarray: ...


@runtime_checkable
class _Columns(Protocol):
    """A frame or a column of pandas or polars."""

    def to_numpy(self) -> np.ndarray: ...


@runtime_checkable
class _Frame(_Columns, Protocol):
    """A frame of pandas."""

    columns: Any

    def items(self) -> Any: ...


@runtime_checkable
class _Tensor(Protocol):
    """A tensor of PyTorch."""

    dtype: Any

    def detach(self) -> Any: ...

    def cpu(self) -> Any: ...


@runtime_checkable
class _Array(Protocol):
    """An array of any other library."""

    shape: Any

    def __array__(self) -> np.ndarray: ...


class Rows:
    """Rows that stay where they are, in a file or a sparse matrix, until a batch takes them.

    Args:
        source: A memory-mapped array, an HDF5 data set, or a SciPy sparse matrix.
        start: The first of the rows that count.
        stop: The row after the last; all when None.
    """

    def __init__(self, source: Any, start: int = 0, stop: int | None = None) -> None:
        # SciPy's row-wise format is also the one that can be indexed by rows.
        self._source = source.tocsr() if isinstance(source, _Sparse) else source
        self._start = start
        size = (self._source.shape[0] if stop is None else stop) - start
        self.shape = (size, *self._source.shape[1:])
        self.dtype = _dtype(self._source)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """What the rows would take up in memory."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def part(self, start: int, stop: int) -> Rows:
        """Some of the rows, unread."""
        return Rows(self._source, self._start + start, self._start + stop)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return self._dense(self._source[self._start + start : self._start + stop])
        # HDF5 takes increasing numbers only, and a disk reads in that order fastest.
        ranks = np.argsort(index)
        rows = self._dense(self._source[self._start + np.asarray(index)[ranks]])
        result = np.empty_like(rows)
        result[ranks] = rows
        return result

    def _dense(self, rows: Any) -> np.ndarray:
        rows = rows.toarray() if isinstance(rows, _Sparse) else np.asarray(rows)
        return _narrowed(rows, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def _is_rows(x: Any) -> bool:
    """Whether ``x`` is read from a file, or made dense, a batch at a time."""
    if type(x).__module__.startswith("h5py."):
        return isinstance(x, _Array)
    return isinstance(x, (np.memmap, _Sparse))


def is_array_like(x: Any) -> bool:
    """True for arrays, tensors, data frames and columns: what has a fixed number of samples."""
    return isinstance(x, (np.ndarray, jax.Array, Rows, _Columns, _Array)) or _is_rows(x)


def holds_arrays(x: Any) -> bool:
    """Whether ``x`` is arrays in some nesting, rather than a stream of batches."""
    if isinstance(x, Mapping):
        return (not x or any(v is not None for v in x.values())) and all(
            v is None or holds_arrays(v) for v in x.values()
        )
    if isinstance(x, (list, tuple)):  # None: an optional input
        return (not x or any(v is not None for v in x)) and all(
            v is None or isinstance(v, _SCALARS) or holds_arrays(v) for v in x
        )
    return is_array_like(x)


def arrays_of(structure: Any, raw: bool = False) -> Any:
    """Every leaf as an array; lists of plain numbers, in any depth, count as one leaf.

    Args:
        structure: The data.
        raw: Whether text and dtypes that JAX does not compute in are kept, for what reads them on
            the host.
    """
    if structure is None:
        return None
    if type(structure) is np.ndarray:
        return structure if structure.dtype in _USED_AS_IT_IS else as_array(structure, raw)
    if isinstance(structure, (list, tuple)):
        if all(isinstance(v, _SCALARS) for v in nested.flatten(structure)):
            return as_array(structure, raw)
        values = [arrays_of(v, raw) for v in structure]
        return nested.rebuild(structure, values)
    if isinstance(structure, Mapping):
        return {k: arrays_of(v, raw) for k, v in structure.items()}
    return as_array(structure, raw)


def as_array(x: Any, raw: bool = False) -> Any:
    """``x`` as a NumPy or JAX array in a dtype that JAX computes in, or as :class:`Rows`.

    Raises:
        DTypeError: Text, dates, objects; unless ``raw``.
        DataError: Rows of different length.
    """
    if isinstance(x, (jax.Array, Rows)):
        return x
    if raw:
        return _raw(x)
    if type(x) is np.ndarray:  # what the protocols need not be asked about, which takes long
        return _narrowed(x, _dtype(x, x))
    if _is_rows(x):
        return Rows(x)
    array = _numpy(x)
    return _narrowed(array, _dtype(array, x))


def _narrowed(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """``array`` in ``dtype``, that of :func:`_dtype`; integers that exceed it become floats."""
    return narrowed(array) if dtype.kind in "iu" else array.astype(dtype, copy=False)


def _raw(x: Any) -> Any:
    if isinstance(x, (list, tuple)) and any(isinstance(v, (str, bytes)) for v in nested.flatten(x)):
        return np.array(x, object)  # one long text would widen all others
    if _is_rows(x):
        return Rows(x)
    array = x if type(x) is np.ndarray else _numpy(x)
    return array.astype(settings.floatx()) if array.dtype == np.float64 else array


def _numpy(x: Any) -> np.ndarray:
    if np.ma.is_masked(x):
        raise DataError(
            f"The data has {np.ma.count_masked(x)} masked values, and a model has no value for "
            "them.",
            expected="numbers",
            received=f"a {type(x).__name__} of shape {x.shape}",
            cure="`x.filled(value)` makes an array with a value in their place. Samples are left "
            "out of the loss by a `sample_weight` of 0, time steps by a Masking layer.",
        )
    if isinstance(x, _Tensor):
        x = x.detach().cpu()
        return np.asarray(x.float() if "bfloat16" in str(x.dtype) else x)
    if isinstance(x, _Columns):
        values = x.to_numpy()
        if values.dtype == object and isinstance(x, _Frame):
            # pandas falls back to objects when a frame mixes bool and numbers.
            values = np.stack([as_array(column) for _, column in x.items()], axis=1)
        return values
    try:
        return np.asarray(x)
    except ValueError as e:
        raise DataError(
            f"This {type(x).__name__} does not make an array: it has rows of different length. "
            "Pad them to one length."
        ) from e


_TEXT = (
    "For text inputs, start the model with `Input((1,), dtype='string')` and a TextVectorization, "
    "StringLookup or Hashing layer, call such a layer (an attribute of the model) in the model's "
    "`call`, or map the data: `dataset.map(lambda x, y: (layer(x), y))`. For text targets, "
    "`np.unique(text, return_inverse=True)[1]` numbers the classes."
)


def _dtype(array: Any, given: Any = None) -> np.dtype[Any]:
    """The dtype that the model will see; ``given`` is what ``array`` was made from."""
    dtype = np.dtype(array.dtype)
    if dtype.kind == "f" and dtype.itemsize >= 8:
        return np.dtype(settings.floatx())
    if dtype == np.clongdouble:
        dtype = np.dtype(np.complex128)
    # NumPy counts durations among the integers.
    if dtype.kind != "m" and (jnp.issubdtype(dtype, np.number) or dtype.kind == "b"):
        return jax.dtypes.canonicalize_dtype(dtype.newbyteorder("="))
    name = getattr(given, "name", None)
    what = f"{type(array if given is None else given).__name__}" + (f" {name!r}" if name else "")
    hint = {
        "U": _TEXT,
        "S": _TEXT,
        "M": "Turn dates into numbers first.",
        "m": "Turn times into numbers first: divide them by a unit.",
    }.get(
        dtype.kind,
        "It may hold text, missing values, or rows of different length. Numbers become an array by "
        "`x.astype('float32')`, a column of arrays of one length by `np.stack(column)`.",
    )
    if dtype.kind == "O" and array.size and isinstance(np.asarray(array).flat[0], (str, bytes)):
        hint = _TEXT
    raise DTypeError(f"Data for a model is numbers. Received a {what} of dtype {dtype}. {hint}")


__all__ = ["Rows", "arrays_of", "as_array", "holds_arrays", "is_array_like"]
