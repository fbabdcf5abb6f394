"""Models as scikit-learn estimators; scikit-learn is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.wrappers.estimators import SKLearnClassifier as SKLearnClassifier
    from lamina.wrappers.estimators import SKLearnRegressor as SKLearnRegressor
    from lamina.wrappers.estimators import SKLearnTransformer as SKLearnTransformer

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module("lamina.wrappers.estimators")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            f"lamina.wrappers.{name} needs scikit-learn, which is not installed. Install it with "
            "`pip install 'lamina[demo]'` or `pip install scikit-learn`."
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
