"""Private functions of Keras that libraries import, written with Lamina's public ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lamina import saving, settings
from lamina.core.scope import get_mask as get_keras_mask
from lamina.core.scope import set_mask as set_keras_mask
from lamina.losses.base import LossFunctionWrapper
from lamina.runtime.budget import is_loading as in_safe_mode
from lamina.saving import archive, hdf5

__all__ = [
    "H5IOStore", "LossFunctionWrapper", "class_weight_to_sample_weights", "get_keras_mask",
    "in_grain_data_pipeline", "in_safe_mode", "load_model", "no_automatic_dependency_tracking",
    "save_model", "set_keras_mask", "standardize_shape",
]  # fmt: skip

_F = TypeVar("_F", bound=Callable[..., Any])


def save_model(model: Any, filepath: Any) -> None:
    """Save a model to a path, or to a file that is open for writing bytes."""
    if isinstance(filepath, (str, os.PathLike)):
        saving.save_model(model, filepath)
        return
    filepath.write(archive.to_bytes(model))


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Load a model from a path, or from a file that is open for reading bytes."""
    if isinstance(filepath, (str, os.PathLike)):
        return saving.load_model(filepath, custom_objects, compile, safe_mode)
    return archive.from_bytes(filepath.read(), custom_objects, compile)


def no_automatic_dependency_tracking(fn: _F) -> _F:
    """The method as it is: assigning a list or dict never wraps it here."""
    return fn


def standardize_shape(shape: Iterable[int | None]) -> tuple[int | None, ...]:
    """A shape as a tuple of Python's integers and None."""
    return tuple(None if size is None else int(size) for size in shape)


class H5IOStore:
    """A file of arrays in groups, each of which is a dict of arrays.

    Args:
        path_or_io: The path of the file.
        archive: Only None: a file of its own, and no member of an archive.
        mode: ``"r"`` or ``"w"``; with the latter, the file is written by :meth:`close`.
    """

    def __init__(self, path_or_io: Any, archive: None = None, mode: str = "r") -> None:
        self._path, self._groups = Path(path_or_io), dict[str, dict[str, Any]]()
        self._file = hdf5.File(self._path, str(self._path)) if mode == "r" else None

    def make(self, path: str) -> dict[str, Any]:
        """A new group of that path, to put arrays into."""
        return self._groups.setdefault(path, {})

    def get(self, path: str) -> dict[str, Any]:
        """The arrays of the group of that path."""
        if self._file is None:
            return self.make(path)
        prefix = f"{path}/vars/".lstrip("/")
        found = {n.removeprefix(prefix): n for n in self._file.names() if n.startswith(prefix)}
        return {own: self._file.read(name) for own, name in found.items() if "/" not in own}

    def close(self) -> None:
        """Write what was put into the groups, and close the file."""
        if self._file is not None:
            self._file.__exit__()
            return
        arrays = {
            f"{path}/vars/{own}".lstrip("/"): value
            for path, group in self._groups.items() for own, value in group.items()
        }  # fmt: skip
        hdf5.write(str(self._path), arrays)


def class_weight_to_sample_weights(y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each sample's class, 1 for classes without one.

    Args:
        y: Class indices, or one-hot classes along the last of several axes.
        class_weight: Weights by class index.
    """
    y = np.asarray(y)
    if y.ndim > 1:
        y = y.argmax(-1) if y.shape[-1] > 1 else y[..., 0]
    indices = np.round(y).astype(int)
    return np.asarray([class_weight.get(int(i), 1.0) for i in indices], settings.floatx())


def in_grain_data_pipeline() -> bool:
    """Whether a data set or data loader of grain is calling."""
    frame = sys._getframe() if "grain" in sys.modules else None
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("grain._src.python.data"):
            return True
        frame = frame.f_back
    return False
