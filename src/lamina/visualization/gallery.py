"""Galleries: matplotlib figures of many images with classes, masks or boxes."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina.errors import ArgumentError, ShapeError
from lamina.visualization.drawing import (
    Color,
    batch_of_images,
    draw_bounding_boxes,
    draw_segmentation_masks,
)


def plot_image_gallery(
    images: Any,
    y_true: Any = None,
    y_pred: Any = None,
    label_map: Mapping[int, str] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    value_range: tuple[float, float] = (0, 255),
    scale: float = 2,
    path: str | os.PathLike[str] | None = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: Sequence[Any] | None = None,
    data_format: str | None = None,
) -> Any:
    """Show images in a grid, optionally with their classes.

    Args:
        images: Images of shape ``(n, height, width, channels)`` with 1, 3 or 4 channels.
        y_true: Classes of shape ``(n,)``, shown above the images.
        y_pred: Predicted classes of shape ``(n,)``, shown next to ``y_true``.
        label_map: Dict of classes to names.
        rows: Number of rows; as many as necessary when None.
        cols: Number of columns, likewise. If both are given, excess images are not shown.
        value_range: The values of black and white, such as ``(0, 255)`` or ``(0, 1)``.
        scale: Size of an image in inches.
        path: File to save the figure to; the suffix determines the format: PNG, PDF, SVG, ...
        show: Whether to show the figure; when None, it is shown unless it is saved to a file.
        transparent: Whether the file has a transparent background.
        dpi: Resolution of the file, in pixels per inch.
        legend_handles: Entries of the legend below the images, such as matplotlib's ``Patch``.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for the default.

    Returns:
        None if the figure was shown or saved; the matplotlib figure with ``show=False``.

    Raises:
        ArgumentError: If ``path`` and ``show=True`` are both given, classes have no ``label_map``,
            or a number is not positive.
        ShapeError: If an array has another shape.
        ImportError: If matplotlib is not installed.

    >>> import numpy as np
    >>> figure = plot_image_gallery(np.zeros((6, 8, 8, 3)), cols=3, show=False)
    >>> len(figure.axes)
    6
    """
    if path is not None and show:
        raise ArgumentError(
            "plot_image_gallery() expects `path`, to save a file, or `show=True`. Received: both."
        )
    pictures = _between_0_and_1(batch_of_images(images, data_format), value_range)
    titles = _titles(y_true, y_pred, label_map, len(pictures))
    rows, cols = _grid(len(pictures), rows, cols)
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        rows, cols, figsize=(cols * scale, rows * scale), squeeze=False, layout="constrained",
        frameon=True,
    )  # fmt: skip
    for number, axis in enumerate(axes.flat):
        axis.axis("off")
        if number >= len(pictures):
            figure.delaxes(axis)
            continue
        picture = pictures[number]
        axis.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0,
                    vmax=1)  # fmt: skip
        if titles is not None:
            axis.set_title(titles[number], fontsize=4 + 2 * scale)
    if legend_handles is not None:
        figure.legend(handles=list(legend_handles), loc="outside lower center", ncols=2)
    if path is not None:
        figure.savefig(path, dpi=dpi, transparent=transparent)
    elif show is None or show:
        pyplot.show()
    else:
        return figure
    pyplot.close(figure)
    return None


def plot_segmentation_mask_gallery(
    images: Any,
    num_classes: int,
    value_range: tuple[float, float] = (0, 255),
    y_true: Any = None,
    y_pred: Any = None,
    color_mapping: Mapping[int, Color] | None = None,
    blend: bool = True,
    alpha: float = 0.8,
    ignore_index: int = -1,
    data_format: str | None = None,
    **kwargs: Any,
) -> Any:
    """Show each image next to its true and its predicted mask, one image per row.

    Args:
        images: Images of shape ``(n, height, width, 3)``.
        num_classes: Number of classes; see :func:`draw_segmentation_masks`.
        value_range: The values of black and white, such as ``(0, 255)`` or ``(0, 1)``.
        y_true: The class of each pixel, integers of shape ``(n, height, width)``, optionally with a
            channel axis of size 1.
        y_pred: The predicted classes, likewise.
        color_mapping: Dict of classes to colors; see :func:`draw_segmentation_masks`.
        blend: Whether to blend the masks with the images.
        alpha: Opacity of the masks.
        ignore_index: A class to ignore.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for the default.
        **kwargs: Further arguments of :func:`plot_image_gallery`, such as ``path``.

    Returns:
        What :func:`plot_image_gallery` returns.

    Raises:
        ShapeError: If an array has another shape.
        ImportError: If matplotlib is not installed.

    >>> import numpy as np
    >>> masks = np.eye(8, dtype=int)[None]
    >>> figure = plot_segmentation_mask_gallery(
    ...     np.zeros((1, 8, 8, 3)), num_classes=2, y_true=masks, show=False
    ... )
    >>> len(figure.axes)
    2
    """
    pictures = 255 * _between_0_and_1(batch_of_images(images, data_format), value_range)
    columns = [pictures]
    for masks in (y_true, y_pred):
        if masks is None:
            continue
        masks = np.asarray(masks)
        is_first = masks.ndim == 4 and masks.shape[1:3] != pictures.shape[1:3]
        columns.append(
            draw_segmentation_masks(
                pictures, masks[:, 0] if is_first else masks, num_classes, color_mapping, alpha,
                blend, ignore_index, "channels_last",
            )
        )  # fmt: skip
    mixed = np.stack([column.astype("float32") for column in columns], axis=1)
    options = {"rows": len(pictures), "cols": len(columns), **kwargs}
    return plot_image_gallery(
        mixed.reshape(-1, *pictures.shape[1:]), data_format="channels_last", **options
    )


def plot_bounding_box_gallery(
    images: Any,
    bounding_box_format: str,
    y_true: Mapping[str, Any] | None = None,
    y_pred: Mapping[str, Any] | None = None,
    value_range: tuple[float, float] = (0, 255),
    true_color: Color = (0, 188, 212),
    pred_color: Color = (255, 235, 59),
    line_thickness: int = 2,
    font_scale: float = 1.0,
    text_thickness: int | None = None,
    class_mapping: Mapping[int, str] | None = None,
    ground_truth_mapping: Mapping[int, str] | None = None,
    prediction_mapping: Mapping[int, str] | None = None,
    legend: bool = False,
    legend_handles: Sequence[Any] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    data_format: str | None = None,
    **kwargs: Any,
) -> Any:
    """Show images with their true and their predicted boxes.

    Args:
        images: Images of shape ``(n, height, width, channels)`` with 1 or 3 channels.
        bounding_box_format: The format of the boxes; see :mod:`lamina.utils.bounding_boxes`.
        y_true: The true boxes, as in ``bounding_boxes`` of :func:`draw_bounding_boxes`.
        y_pred: The predicted boxes, likewise.
        value_range: The values of black and white, such as ``(0, 255)`` or ``(0, 1)``.
        true_color: RGB color of the true boxes, with values from 0 to 255.
        pred_color: RGB color of the predicted boxes.
        line_thickness: Thickness of the lines in pixels.
        font_scale: Scale of the text.
        text_thickness: Thickness of the text; ``line_thickness`` when None.
        class_mapping: Dict of labels to names.
        ground_truth_mapping: Replaces ``class_mapping`` for the true boxes.
        prediction_mapping: Replaces ``class_mapping`` for the predicted boxes.
        legend: Whether to show a legend of the two colors below the images.
        legend_handles: Entries of a custom legend.
        rows: Number of rows; as many as necessary when None.
        cols: Number of columns, likewise.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for the default.
        **kwargs: Further arguments of :func:`plot_image_gallery`, such as ``path``.

    Returns:
        What :func:`plot_image_gallery` returns.

    Raises:
        ArgumentError: If both ``legend`` and ``legend_handles`` are given.
        ShapeError: If an array has another shape.
        ImportError: If matplotlib is not installed.

    >>> import numpy as np
    >>> boxes = {"boxes": [[[2, 2, 6, 6]]], "labels": [[0]]}
    >>> figure = plot_bounding_box_gallery(np.zeros((1, 8, 8, 3)), "xyxy", y_true=boxes, show=False)
    >>> len(figure.axes)
    1
    """
    if legend and legend_handles is not None:
        raise ArgumentError(
            "plot_bounding_box_gallery() expects `legend=True` or `legend_handles`. Received: both."
        )
    pictures = 255 * _between_0_and_1(batch_of_images(images, data_format), value_range)
    if pictures.shape[-1] == 1:
        pictures = np.repeat(pictures, 3, axis=-1)  # color channels for the colors of the boxes
    for boxes, color, names in (
        (y_true, true_color, ground_truth_mapping),
        (y_pred, pred_color, prediction_mapping),
    ):
        if boxes is not None:
            pictures = draw_bounding_boxes(
                pictures, boxes, bounding_box_format, class_mapping if names is None else names,
                color, line_thickness, text_thickness or line_thickness, font_scale,
                "channels_last",
            )  # fmt: skip
    if legend:
        _pyplot()
        patch = importlib.import_module("matplotlib.patches").Patch
        legend_handles = [
            patch(color=[c / 255 for c in color], label=label)
            for label, color in (("Ground truth", true_color), ("Prediction", pred_color))
        ]
    return plot_image_gallery(
        pictures, rows=rows, cols=cols, legend_handles=legend_handles,
        data_format="channels_last", **kwargs,
    )  # fmt: skip


def _pyplot() -> Any:
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise ImportError(
            "Galleries require matplotlib, which is not installed. Install it with "
            "`pip install 'lamina[demo]'` or `pip install matplotlib`."
        ) from error


def _between_0_and_1(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    low, high = value_range
    if not low < high:
        raise ArgumentError(
            f"`value_range` expects a lower and a higher number. Received: {value_range!r}."
        )
    return ((images.astype("float32") - low) / (high - low)).clip(0, 1)


def _titles(
    y_true: Any, y_pred: Any, label_map: Mapping[int, str] | None, count: int
) -> list[str] | None:
    given = {"Label": y_true, "Pred": y_pred}
    classes = {name: np.asarray(y).ravel() for name, y in given.items() if y is not None}
    if not classes:
        return None
    if label_map is None:
        raise ArgumentError("`y_true` and `y_pred` require `label_map`, the names of the classes.")
    for name, y in classes.items():
        if len(y) != count:
            raise ShapeError(
                f"`{'y_true' if name == 'Label' else 'y_pred'}` expects one class for each of "
                f"{count} images. Received: {len(y)}."
            )
    missing = {int(k) for y in classes.values() for k in y} - set(label_map)
    if missing:
        raise ArgumentError(
            f"`label_map` expects a name for each class. It lacks: {sorted(missing)}."
        )
    return [
        "  ".join(f"{name}: {label_map[int(y[i])]}" for name, y in classes.items())
        for i in range(count)
    ]


def _grid(count: int, rows: int | None, cols: int | None) -> tuple[int, int]:
    for name, number in (("rows", rows), ("cols", cols)):
        if number is not None and number < 1:
            raise ArgumentError(f"`{name}` expects a positive number. Received: {number!r}.")
    if count == 0:
        raise ShapeError("A gallery expects at least one image. Received: none.")
    if rows is None:
        cols = math.ceil(math.sqrt(count)) if cols is None else cols
        return math.ceil(count / cols), cols
    return rows, math.ceil(count / rows) if cols is None else cols
