"""Summaries, plots and interactive pages of models; galleries of images, boxes and masks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.visualization.drawing import draw_bounding_boxes as draw_bounding_boxes
    from lamina.visualization.drawing import draw_segmentation_masks as draw_segmentation_masks
    from lamina.visualization.gallery import plot_bounding_box_gallery as plot_bounding_box_gallery
    from lamina.visualization.gallery import plot_image_gallery as plot_image_gallery
    from lamina.visualization.gallery import (
        plot_segmentation_mask_gallery as plot_segmentation_mask_gallery,
    )
    from lamina.visualization.html import repr_html as repr_html
    from lamina.visualization.html import to_html as to_html
    from lamina.visualization.plot import model_to_dot as model_to_dot
    from lamina.visualization.plot import plot_model as plot_model
    from lamina.visualization.summary import ModelSummary as ModelSummary
    from lamina.visualization.summary import Row as Row
    from lamina.visualization.summary import Weights as Weights
    from lamina.visualization.summary import print_summary as print_summary
    from lamina.visualization.summary import summarize as summarize

# Imported on first use, because importing Graphviz and Rich takes time.
_MODULES = {
    "ModelSummary": "lamina.visualization.summary",
    "Row": "lamina.visualization.summary",
    "Weights": "lamina.visualization.summary",
    "draw_bounding_boxes": "lamina.visualization.drawing",
    "draw_segmentation_masks": "lamina.visualization.drawing",
    "model_to_dot": "lamina.visualization.plot",
    "plot_bounding_box_gallery": "lamina.visualization.gallery",
    "plot_image_gallery": "lamina.visualization.gallery",
    "plot_model": "lamina.visualization.plot",
    "plot_segmentation_mask_gallery": "lamina.visualization.gallery",
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
