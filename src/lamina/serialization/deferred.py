"""What reading a config needs of the packages above this one, imported when it is first needed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

Converter = Callable[[Mapping[str, Any], str], Mapping[str, Any] | None]
# The namespaces that files may refer to. The list is fixed: no file can extend it.
_IN_FILES = ("initializers", "regularizers", "constraints", "losses", "metrics", "optimizers",
             "layers", "models", "quantizers", "random", "distillation",
             "utils.feature_space")  # fmt: skip
# What the import of a namespace leaves out, because most programs do not use it.
_LEFT_OUT = {"layers": ("image", "preprocessing")}
_converters: list[Converter] = []


@functools.cache
def complete_table() -> None:
    """Import every namespace, so that all built-in classes are registered in a new process."""
    for namespace in _IN_FILES:
        importlib.import_module(f"lamina.{namespace}")
        complete_namespace(namespace)
    importlib.import_module("lamina.saving.upgrade")  # which has the converters


@functools.cache
def complete_namespace(namespace: str) -> tuple[ModuleType, ...]:
    """Import the rest of a namespace.

    >>> [module.__name__ for module in complete_namespace("layers")]
    ['lamina.layers.image', 'lamina.layers.preprocessing']
    """
    rest = _LEFT_OUT.get(namespace, ())
    return tuple(importlib.import_module(f"lamina.{namespace}.{name}") for name in rest)


def converts_old(function: Converter) -> Converter:
    """Decorator of a function that :func:`converted` calls."""
    _converters.append(function)
    return function


def converted(record: Mapping[str, Any], family: str) -> Mapping[str, Any] | None:
    """The record of today for one that an older version of Keras wrote; None if it is not.

    Args:
        record: A dict with ``class_name`` and ``config``.
        family: The namespace of its class, such as ``"layers"``.
    """
    complete_table()
    return next((x for x in (f(record, family) for f in _converters) if x is not None), None)
