"""HDF5 files of weights, read as hostile input: no link is followed, no declared size trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from lamina.core.variable import Variable
from lamina.errors import CorruptFileError, UnsafeFileError


def write(file: Any, variables: Mapping[str, Variable]) -> None:
    """Write each variable's value under its path.

    Args:
        file: a path or a binary file object.
        variables: path to variable.
    """
    with h5py.File(file, "w") as h5:
        for path, variable in variables.items():
            value = variable.numpy()
            if value.dtype.name == "bfloat16":
                dataset = h5.create_dataset(path, data=value.view(np.uint16))
                dataset.attrs["dtype"] = "bfloat16"
            else:
                h5.create_dataset(path, data=value)


def child(group: Any, name: str) -> Any:
    """A member of a group, or None; the only way in which this module opens members.

    Raises:
        UnsafeFileError: a soft or external link, which would lead to another place or file.
    """
    try:
        link = group.get(name, getlink=True)
    except (KeyError, ValueError, RuntimeError) as e:
        raise CorruptFileError(f"Cannot read {name!r} in {group.name!r}: {e}") from e
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise UnsafeFileError(
            f"{group.name.rstrip('/')}/{name} is a {type(link).__name__}, which leads out of its "
            "place. A file of weights holds its arrays itself."
        )
    return group[name]


def member(h5: Any, path: str) -> Any:
    """What lies at a path of plain names, or None."""
    node = h5
    for part in path.split("/"):
        if not isinstance(node, h5py.Group):
            return None
        node = child(node, part)
        if node is None:
            return None
    return node


def read(h5: Any, path: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """The array at ``path``, or None when there is none.

    Args:
        h5: an open file.
        path: where.
        shape: the shape it must have; checked before anything is allocated.
        dtype: the dtype to return.

    Raises:
        UnsafeFileError: the bytes would come from another file.
        CorruptFileError: not an array of numbers of that shape, or truncated.
    """
    dataset = member(h5, path)
    if dataset is None:
        return None
    if not isinstance(dataset, h5py.Dataset):
        raise CorruptFileError(f"{path} is not an array.")
    if dataset.external or dataset.is_virtual:
        raise UnsafeFileError(f"{path} takes its bytes from another file.")
    if tuple(dataset.shape or ()) != tuple(shape) or dataset.shape is None:
        raise CorruptFileError(
            f"{path} has shape {dataset.shape}. The model's weight has shape {tuple(shape)}."
        )
    if dataset.dtype.kind not in "biuf" or dataset.dtype.itemsize > 8:
        raise CorruptFileError(f"{path} is of dtype {dataset.dtype}, not of numbers.")
    try:
        value = dataset[()]
    except (OSError, ValueError, RuntimeError) as e:
        raise CorruptFileError(f"{path} cannot be read: {e}") from e
    value = np.asarray(value)
    if dtype == "bfloat16" and value.dtype == np.uint16:
        import ml_dtypes

        return value.view(ml_dtypes.bfloat16)
    return value
