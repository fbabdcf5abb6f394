"""Padding of sequences to the same length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lamina.errors import ArgumentError

_ENDS = ("pre", "post")


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Pad or truncate sequences to the same length.

    Args:
        sequences: Lists or arrays, whose entries may be arrays of the same shape.
        maxlen: Length of the result; that of the longest sequence when None.
        dtype: Dtype of the result. Numbers with fractions are truncated for an integer dtype; use
            ``object`` or ``str`` for text.
        padding: ``"pre"`` pads before the sequence, ``"post"`` after it.
        truncating: ``"pre"`` removes entries at the start, ``"post"`` at the end.
        value: Padding value.

    Returns: NumPy array of shape ``(number of sequences, length, *shape of an entry)`` and the
    given dtype.

    Raises:
        ArgumentError: If ``sequences`` or one of them is not a sequence, if the shapes of entries
            differ, if integers are beyond the range of the dtype, or if another argument is
            invalid.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]])
    array([[0, 0, 1],
           [0, 2, 3],
           [4, 5, 6]], dtype=int32)
    >>> pad_sequences([[1], [2, 3, 4]], maxlen=2, padding="post", value=-1)
    array([[ 1, -1],
           [ 3,  4]], dtype=int32)
    """
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in _ENDS:
            raise ArgumentError(f"`{name}` expects 'pre' or 'post'. Received: {choice!r}.")
    if maxlen is not None and (isinstance(maxlen, bool) or not _is_count(maxlen)):
        raise ArgumentError(f"`maxlen` expects an integer >= 0 or None. Received: {maxlen!r}.")
    if not isinstance(sequences, Iterable):
        raise ArgumentError(f"`sequences` expects a list of sequences. Received: {sequences!r}.")
    type_ = np.dtype(dtype)
    _check_value(value, type_)

    rows = [_row(position, row) for position, row in enumerate(sequences)]
    shapes = {row.shape[1:]: position for position, row in enumerate(rows) if len(row)}
    if len(shapes) > 1:
        listed = " and ".join(f"{shape} in sequence {at}" for shape, at in shapes.items())
        raise ArgumentError(
            f"pad_sequences() expects entries of the same shape. Received: {listed}. "
            "Pad or reshape the entries first."
        )
    length = max((len(row) for row in rows), default=0) if maxlen is None else int(maxlen)
    # The width of a string dtype is known only when all strings are collected.
    is_text = type_.kind in "US" and type_.itemsize == 0
    shape = (len(rows), length, *next(iter(shapes), ()))
    result = np.full(shape, value, object if is_text else type_)
    for target, row in zip(result, rows, strict=True):
        kept = row[:length] if truncating == "post" else row[max(len(row) - length, 0) :]
        if len(kept):
            if kept.dtype.kind in "US" and type_.kind in "biuf":
                raise ArgumentError(
                    f"pad_sequences() makes an array of {type_}. Received a sequence of text: "
                    f"{kept[:3].tolist()}. Pass `dtype=object` to keep text, or turn it into "
                    "numbers first, with TextVectorization."
                )
            part = target[_span(len(kept), length, padding)]
            try:
                part[...] = kept
            except OverflowError:
                fits = False
            else:
                fits = kept.dtype.kind not in "iu" or type_.kind not in "iu" or (part == kept).all()
            if not fits:
                raise ArgumentError(
                    f"pad_sequences() makes an array of {type_}. Received integers beyond its "
                    f"range: {max(kept.ravel().tolist(), key=abs)}. Pass a wider `dtype`, such as "
                    "'int64' or `object`."
                )
    return result.astype(type_) if is_text else result


def _span(size: int, length: int, padding: str) -> slice:
    return slice(size) if padding == "post" else slice(length - size, length)


def _is_count(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and int(x) >= 0


def _row(position: int, row: Any) -> np.ndarray:
    try:
        array = np.asarray(row if isinstance(row, np.ndarray) else list(row))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"pad_sequences() expects each sequence to be a list or an array whose entries have "
            f"the same shape. Received, at position {position}: {row!r} ({error})."
        ) from error
    if array.ndim == 0:
        raise ArgumentError(
            f"pad_sequences() expects each sequence to have a length. Received, at position "
            f"{position}: {row!r}."
        )
    return array


def _check_value(value: Any, dtype: np.dtype) -> None:
    """Raise an error if casting to the dtype would change the value."""
    is_text = isinstance(value, (str, bytes))
    if is_text and dtype.kind not in "USO":
        cure = "Pass `dtype=object` or `dtype=str` for text."
    elif dtype.kind in "iub" and not is_text and np.any(np.asarray(value) % 1 != 0):
        cure = "Pass a floating-point `dtype`, or a whole `value`."
    elif dtype.kind in "iu" and np.any(np.asarray(value).astype(dtype) != value):
        cure = "Pass a wider `dtype`."
    else:
        return
    raise ArgumentError(f"`value` must be representable as {dtype}. Received: {value!r}. {cure}")
