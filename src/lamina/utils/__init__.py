"""Helpers around models and data: cached downloads and small numerical conversions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.utils.files import get_file
    from lamina.utils.numerical import normalize, to_categorical

__all__ = ["get_file", "normalize", "to_categorical"]

_HOMES = {
    "get_file": "lamina.utils.files",
    "normalize": "lamina.utils.numerical",
    "to_categorical": "lamina.utils.numerical",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
