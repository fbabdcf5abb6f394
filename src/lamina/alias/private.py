"""Private functions of Keras that libraries import, written with Lamina's public ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lamina import saving

_F = TypeVar("_F", bound=Callable[..., Any])


def save_model(model: Any, filepath: Any) -> None:
    """Save a model to a path, or to a file that is open for writing bytes."""
    if isinstance(filepath, (str, os.PathLike)):
        saving.save_model(model, filepath)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        saving.save_model(model, path)
        filepath.write(path.read_bytes())


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Load a model from a path, or from a file that is open for reading bytes."""
    if isinstance(filepath, (str, os.PathLike)):
        return saving.load_model(filepath, custom_objects, compile, safe_mode)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(filepath.read())
        return saving.load_model(path, custom_objects, compile, safe_mode)


def no_automatic_dependency_tracking(fn: _F) -> _F:
    """The method as it is: assigning a list or dict never wraps it here."""
    return fn


def standardize_shape(shape: Iterable[int | None]) -> tuple[int | None, ...]:
    """A shape as a tuple of Python's integers and None."""
    return tuple(None if size is None else int(size) for size in shape)
