"""Private functions of Keras that libraries import, written with Lamina's public ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lamina import saving
from lamina.saving import archive

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
