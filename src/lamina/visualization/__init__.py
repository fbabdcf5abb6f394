"""Summaries, plots and interactive pages of models; galleries of images, boxes and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

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
__getattr__, __dir__ = names_of(
    __name__,
    {
        "lamina.visualization.drawing": "draw_bounding_boxes draw_segmentation_masks",
        "lamina.visualization.gallery": (
            "plot_bounding_box_gallery plot_image_gallery plot_segmentation_mask_gallery"
        ),
        "lamina.visualization.html": "repr_html to_html",
        "lamina.visualization.plot": "model_to_dot plot_model",
        "lamina.visualization.summary": "ModelSummary Row Weights print_summary summarize",
    },
)
