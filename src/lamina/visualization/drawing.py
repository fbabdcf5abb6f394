"""Drawing of bounding boxes and segmentation masks on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lamina import settings
from lamina.bounding_boxes import convert_format
from lamina.errors import ArgumentError, DTypeError, ShapeError, StructureError

Color = Sequence[int]

_LETTER = 24  # height in pixels of text at font_scale=1
_NO_OBJECT = -1  # the label of boxes that are padding


def draw_bounding_boxes(
    images: Any,
    bounding_boxes: Mapping[str, Any],
    bounding_box_format: str,
    class_mapping: Mapping[int, str] | None = None,
    color: Color = (128, 128, 128),
    line_thickness: int = 2,
    text_thickness: int = 1,
    font_scale: float = 1.0,
    data_format: str | None = None,
) -> np.ndarray:
    """Draw bounding boxes and the names of their classes on a batch of images.

    Args:
        images: Images of shape ``(batch, height, width, channels)`` with 1 or 3 channels and values
            from 0 to 255.
        bounding_boxes: Dict with ``"boxes"`` of shape ``(batch, n, 4)``, ``"labels"`` of shape
            ``(batch, n)``, where -1 means no box, and optionally ``"confidences"`` of shape
            ``(batch, n)``, which are shown after the names.
        bounding_box_format: The format of the boxes; see :mod:`lamina.utils.bounding_boxes`.
        class_mapping: Dict of labels to names; other boxes have no text. Text requires matplotlib
            and Pillow.
        color: RGB color with values from 0 to 255.
        line_thickness: Thickness of the lines in pixels.
        text_thickness: Thickness of the text: 1 is regular, 2 or more is bold.
        font_scale: Scale of the text: at 1, capital letters are about 17 pixels high.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for the default.

    Returns:
        New uint8 images in the layout of ``images``.

    Raises:
        ShapeError: If an array has another shape.
        StructureError: If ``bounding_boxes`` lacks an entry.
        ArgumentError: If a thickness or the scale is not positive.
        ImportError: If there is text to draw and matplotlib is not installed.

    >>> import numpy as np
    >>> boxes = {"boxes": [[[1, 1, 4, 3]]], "labels": [[0]]}
    >>> image = draw_bounding_boxes(np.zeros((1, 5, 6, 1)), boxes, "xyxy", line_thickness=1)
    >>> image[0, :, :, 0].clip(0, 1)
    array([[0, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 1, 0],
           [0, 1, 0, 0, 1, 0],
           [0, 1, 1, 1, 1, 0],
           [0, 0, 0, 0, 0, 0]], dtype=uint8)
    """
    for name, size in (("line_thickness", line_thickness), ("text_thickness", text_thickness),
                       ("font_scale", font_scale)):  # fmt: skip
        if not size > 0:
            raise ArgumentError(f"`{name}` expects a positive number. Received: {size!r}.")
    drawn = batch_of_images(images, data_format).clip(0, 255).astype("uint8")
    if not isinstance(bounding_boxes, Mapping) or not {"boxes", "labels"} <= set(bounding_boxes):
        received = (
            f"the keys {list(bounding_boxes)}" if isinstance(bounding_boxes, Mapping)
            else f"a {type(bounding_boxes).__name__}"
        )  # fmt: skip
        raise StructureError(
            f"`bounding_boxes` expects a dict with 'boxes' and 'labels'. Received: {received}."
        )
    height, width = drawn.shape[1:3]
    boxes = np.asarray(
        convert_format(
            np.asarray(bounding_boxes["boxes"]), bounding_box_format, "xyxy", height, width
        )
    )
    labels = np.asarray(bounding_boxes["labels"])
    scores = bounding_boxes.get("confidences")
    scores = None if scores is None else np.asarray(scores)
    expected = (len(drawn), *boxes.shape[1:2])
    if boxes.ndim != 3 or any(a.shape != expected for a in (labels, scores) if a is not None):
        raise ShapeError(
            f"Boxes for {len(drawn)} images must have the shape ({len(drawn)}, n, 4), labels and "
            f"confidences ({len(drawn)}, n). Received: {boxes.shape}, {labels.shape}"
            + ("." if scores is None else f" and {scores.shape}.")
        )
    for number, image in enumerate(drawn):
        for place, label in enumerate(labels[number].tolist()):
            if label == _NO_OBJECT:
                continue
            corners = [int(x) for x in boxes[number, place]]
            _draw_frame(image, corners, color, line_thickness)
            if class_mapping is not None and label in class_mapping:
                text = str(class_mapping[label])
                text += "" if scores is None else f" | {float(scores[number, place]):.2f}"
                _write(image, corners, text, color, line_thickness, text_thickness, font_scale)
    return in_layout(drawn, data_format)


def draw_segmentation_masks(
    images: Any,
    segmentation_masks: Any,
    num_classes: int | None = None,
    color_mapping: Mapping[int, Color] | None = None,
    alpha: float = 0.8,
    blend: bool = True,
    ignore_index: int = -1,
    data_format: str | None = None,
) -> np.ndarray:
    """Draw segmentation masks: color the pixels of images by their class.

    A pixel becomes ``(1 - alpha) * pixel + alpha * color``, or ``color`` without ``blend``. By
    default the color of class ``k`` is ``k * (1, 127, 31) % 255``, which is black for class 0, the
    background; ``ignore_index=0`` leaves the background unchanged.

    Args:
        images: Images of shape ``(batch, height, width, 3)`` with values from 0 to 255.
        segmentation_masks: The class of each pixel, integers of shape ``(batch, height, width)``,
            optionally with a channel axis of size 1.
        num_classes: Number of classes; pixels of higher classes are unchanged. None for any number.
        color_mapping: Dict of classes to colors; pixels of other classes are unchanged.
        alpha: The opacity of the colors, from 0 to 1.
        blend: Whether to blend the colors with the image.
        ignore_index: A class whose pixels are unchanged, like those of negative classes.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for the default.

    Returns:
        New uint8 images in the layout of ``images``.

    Raises:
        ShapeError: If an array has another shape.
        DTypeError: If the masks are not integers.
        ArgumentError: If ``alpha`` is not in ``[0, 1]``.

    >>> import numpy as np
    >>> image, mask = np.full((1, 1, 2, 3), 100), np.array([[[0, 1]]])
    >>> draw_segmentation_masks(image, mask, ignore_index=0).tolist()
    [[[[100, 100, 100], [20, 121, 44]]]]
    """
    if not 0 <= alpha <= 1:
        raise ArgumentError(f"`alpha` expects a number from 0 to 1. Received: {alpha!r}.")
    drawn = batch_of_images(images, data_format).astype("float32")
    masks = np.asarray(segmentation_masks)
    if masks.dtype.kind not in "iu":
        raise DTypeError(
            "`segmentation_masks` expects integers, the class of each pixel. Received: "
            f"{masks.dtype}. Take the `argmax` of probabilities over the classes."
        )
    if masks.ndim == 4 and 1 in (masks.shape[1], masks.shape[-1]):
        first = settings.standardize_data_format(data_format) == "channels_first"
        masks = masks.squeeze(1 if first else -1)
    if drawn.shape[-1] != 3 or masks.shape != drawn.shape[:3]:
        raise ShapeError(
            "Masks must have the shape (batch, height, width) of their images with 3 channels. "
            f"Received: {masks.shape} for images of shape (batch, height, width, channels) = "
            f"{drawn.shape}."
        )
    for label in np.unique(masks).tolist():
        color = np.array([1, 127, 31]) * label % 255
        if color_mapping is not None:
            color = color_mapping.get(label)
        is_out = label < 0 or (num_classes is not None and label >= num_classes)
        if is_out or label == ignore_index or color is None:
            continue
        where = masks == label
        paint = np.asarray(color, "float32")
        drawn[where] = drawn[where] * np.float32(1 - alpha) + paint * alpha if blend else paint
    return in_layout(drawn.clip(0, 255).astype("uint8"), data_format)


# ----------------------------------------------------------------------------------------- images


def batch_of_images(images: Any, data_format: str | None) -> np.ndarray:
    """A copy of the images with the channels last.

    Raises:
        ShapeError: If they are not a batch of images with 1, 3 or 4 channels.
    """
    array = np.array(images)
    first = settings.standardize_data_format(data_format) == "channels_first"
    if array.ndim == 4 and first:
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4):
        layout = "(batch, channels, height, width)" if first else "(batch, height, width, channels)"
        raise ShapeError(
            f"`images` expects the shape {layout}, with 1, 3 or 4 channels. "
            f"Received: {np.shape(images)}."
        )
    return array


def in_layout(images: np.ndarray, data_format: str | None) -> np.ndarray:
    """Convert images with the channels last to the given layout."""
    if settings.standardize_data_format(data_format) == "channels_first":
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


def _paint(image: np.ndarray, color: Color) -> np.ndarray:
    """The color with the number of channels of the image."""
    channels = image.shape[-1]
    if channels == 1:
        return np.array([round(np.dot(color[:3], (0.299, 0.587, 0.114)))], "uint8")
    return np.array([*color[:3], 255][:channels], "uint8")


def _draw_frame(image: np.ndarray, corners: list[int], color: Color, thickness: int) -> None:
    left, top, right, bottom = corners
    out, into = thickness // 2, (thickness - 1) // 2
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]

    def within(by: int) -> np.ndarray:
        return (
            (x >= left - by) & (x <= right + by) & (y >= top - by) & (y <= bottom + by)
        )  # fmt: skip

    image[within(out) & ~within(-into - 1)] = _paint(image, color)


def _write(
    image: np.ndarray,
    corners: list[int],
    text: str,
    color: Color,
    line_thickness: int,
    thickness: int,
    scale: float,
) -> None:
    """Write the text above the box, or below its upper line if there is no space."""
    try:
        from matplotlib import font_manager
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise ImportError(
            "Names of boxes require matplotlib and Pillow, which are not installed. Install them "
            "with `pip install 'lamina[demo]'`, or leave `class_mapping` out."
        ) from error
    # Matplotlib's font supports most alphabets, Pillow's only ASCII.
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size=_LETTER * scale)
    canvas = Image.new("L", (image.shape[1], image.shape[0]))
    stroke = (thickness - 1) * scale / 2
    draw = ImageDraw.Draw(canvas)
    x1, y1, _, y2 = draw.textbbox((0, 0), text, font=font, stroke_width=stroke)
    left, top, _, _ = corners
    gap = 2 + line_thickness
    if top - gap - (y2 - y1) >= 0:
        x, y = left, top - gap - y2
    else:
        x, y = left + gap, top + gap - y1
    draw.text((max(x, 0) - x1, y), text, fill=255, font=font, stroke_width=stroke)
    opacity = np.asarray(canvas)[..., None] / 255
    image[:] = np.round(image * (1 - opacity) + _paint(image, color) * opacity)
