"""Visualization of models: tables of layers, drawings of graphs, interactive HTML pages."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.visualization.html import repr_html as repr_html
    from lamina.visualization.html import to_html as to_html
    from lamina.visualization.plot import model_to_dot as model_to_dot
    from lamina.visualization.plot import plot_model as plot_model
    from lamina.visualization.summary import ModelSummary as ModelSummary
    from lamina.visualization.summary import Row as Row
    from lamina.visualization.summary import Weights as Weights
    from lamina.visualization.summary import print_summary as print_summary
    from lamina.visualization.summary import summarize as summarize

# Loaded on first use, since Graphviz and Rich take time to import.
_MODULES = {
    "ModelSummary": "lamina.visualization.summary",
    "Row": "lamina.visualization.summary",
    "Weights": "lamina.visualization.summary",
    "model_to_dot": "lamina.visualization.plot",
    "plot_model": "lamina.visualization.plot",
    "print_summary": "lamina.visualization.summary",
    "repr_html": "lamina.visualization.html",
    "summarize": "lamina.visualization.summary",
    "to_html": "lamina.visualization.html",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
