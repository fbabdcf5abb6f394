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


def locate_legacy(h5: Any, model: Any) -> dict[str, Variable]:
    """Path to variable in the layout of Keras 1 and 2: a group a layer, listed in attributes.

    Layers correspond by name when all names agree, else by order, as Keras loads them.

    Raises:
        CorruptFileError: another number of layers with weights, or of weights in a layer.
    """
    root = child(h5, "model_weights") or h5
    groups = [(n, _texts(child(root, n), "weight_names")) for n in _texts(root, "layer_names")]
    groups = [(n, names) for n, names in groups if names]
    layers = [x for x in model.layers if x.weights]
    by_name = {x.name: x for x in layers}
    if {n for n, _ in groups} == set(by_name):
        layers = [by_name[n] for n, _ in groups]
    if len(layers) != len(groups):
        raise CorruptFileError(
            f"The file has weights for {len(groups)} layers ({[n for n, _ in groups][:5]} ...). "
            f"The model has {len(layers)} layers with weights. Was it made with another "
            "`include_top` or `classes`?"
        )
    prefix = root.name.strip("/")
    found: dict[str, Variable] = {}
    for (name, weight_names), layer in zip(groups, layers, strict=True):
        if len(weight_names) != len(layer.weights):
            raise CorruptFileError(
                f"Layer {name!r} has {len(weight_names)} weights in the file. {layer.name!r} has "
                f"{len(layer.weights)}."
            )
        for weight_name, variable in zip(weight_names, layer.weights, strict=True):
            found["/".join(filter(None, (prefix, name, weight_name)))] = variable
    return found


def _texts(group: Any, attribute: str) -> list[str]:
    if group is None or attribute not in group.attrs:
        raise CorruptFileError(
            f"This is no file of weights that Keras 1 or 2 wrote: {attribute!r} is missing."
        )
    return [v.decode() if isinstance(v, bytes) else str(v) for v in group.attrs[attribute]]
