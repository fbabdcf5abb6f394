"""The formats of bounding boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamina import ops, settings
from lamina.errors import ArgumentError, ShapeError, StructureError, unknown_name
from lamina.transforms.boxes import CONVERSIONS, FORMATS, RELATIVE, Four

Size = float | None


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Size = None,
    width: Size = None,
    dtype: str | None = "float32",
) -> Any:
    """Convert boxes from one format to another.

    Args:
        boxes: Boxes of shape ``(..., 4)``, or a dict with the key ``"boxes"``, whose other entries
            are kept.
        source: The format of the boxes.
        target: The format to convert to.
        height: Height of the image in pixels; required if one of the formats is relative.
        width: Width of the image in pixels; likewise.
        dtype: Dtype of the result; that of ``boxes`` when None.

    Returns:
        Tensor of the shape of ``boxes``, or a new dict with it.

    Raises:
        UnknownNameError: If a format is unknown.
        ArgumentError: If the size of the image is required but missing.
        ShapeError: If the size of the last axis is not 4.

    >>> convert_format([[10, 20, 30, 60]], "xyxy", "xywh").tolist()
    [[10.0, 20.0, 20.0, 40.0]]
    """
    if isinstance(boxes, Mapping):
        converted = convert_format(boxes_of(boxes), source, target, height, width, dtype)
        return {**boxes, "boxes": converted}
    source, target = format_name(source), format_name(target)
    if source.startswith(RELATIVE) or target.startswith(RELATIVE):
        need_size(f"from {source!r} to {target!r}", height, width)
    boxes = tensor(boxes, dtype)
    if source == target:
        return boxes
    return from_corners(corners_of(boxes, source, height, width), target, height, width, boxes)


def format_name(name: str) -> str:
    """Check the name of a format and convert it to lower case."""
    lowered = str(name).lower()
    if lowered not in FORMATS:
        raise unknown_name("format of bounding boxes", name, FORMATS)
    return lowered


def need_size(what: str, height: Size, width: Size) -> None:
    """Raise an error, for boxes that are ``what``, if the size of the image is missing."""
    if height is None or width is None:
        raise ArgumentError(
            f"Boxes {what} require the size of the image, since relative formats are fractions of "
            f"it. Received: height={height!r}, width={width!r}. Pass both in pixels."
        )


def boxes_of(boxes: Mapping[str, Any]) -> Any:
    """The boxes of a dict with boxes and labels."""
    if "boxes" not in boxes:
        raise StructureError(f"A dict of boxes needs the key 'boxes'. Received: {list(boxes)}.")
    return boxes["boxes"]


def tensor(boxes: Any, dtype: str | None = None) -> Any:
    """Convert boxes to a tensor and check its last axis."""
    boxes = ops.convert_to_tensor(boxes) if dtype is None else ops.cast(boxes, dtype)
    if not boxes.shape or boxes.shape[-1] != 4:
        raise ShapeError(
            "Bounding boxes expect four numbers along the last axis: shape (..., 4). "
            f"Received: shape {tuple(boxes.shape)}."
        )
    return boxes


def float_tensor(boxes: Any) -> Any:
    """Convert boxes to a floating-point tensor."""
    boxes = tensor(boxes)
    is_float = "float" in str(boxes.dtype)
    return boxes if is_float else ops.cast(boxes, settings.floatx())


def _split(boxes: Any) -> list[Any]:
    return ops.split(boxes, 4, axis=-1)


def corners_of(boxes: Any, source: str, height: Size = None, width: Size = None) -> Four:
    """Left, top, right and bottom in pixels, each ``(..., 1)``."""
    left, top, right, bottom = CONVERSIONS[source.removeprefix(RELATIVE)][0](*_split(boxes))
    if source.startswith(RELATIVE):
        return left * width, top * height, right * width, bottom * height
    return left, top, right, bottom


def from_corners(
    corners: Four, target: str, height: Size = None, width: Size = None, like: Any = None
) -> Any:
    """Boxes in the format ``target``, with the dtype of ``like`` if it is given."""
    left, top, right, bottom = corners
    if target.startswith(RELATIVE):
        left, right, top, bottom = left / width, right / width, top / height, bottom / height
    parts = CONVERSIONS[target.removeprefix(RELATIVE)][1](left, top, right, bottom)
    boxes = ops.concatenate(parts, axis=-1)
    return boxes if like is None else ops.cast(boxes, like.dtype)


def absolute_format(name: str, function: str) -> str:
    """Check that a format is not relative and convert its name to lower case."""
    name = format_name(name)
    if name.startswith(RELATIVE):
        raise ArgumentError(
            f"{function}() expects boxes in pixels, since relative formats depend on the size of "
            f"the image, which changes. Received: bounding_box_format={name!r}. Convert them "
            f"first: convert_format(boxes, {name!r}, 'xyxy', height, width)."
        )
    return name


def image_size(name: str, image_shape: Sequence[int] | None) -> tuple[Size, Size]:
    """Height and width for boxes in this format, or None if it does not need them."""
    if not name.startswith(RELATIVE):
        return None, None
    if image_shape is None:
        raise ArgumentError(
            f"Boxes in the format {name!r} require `image_shape`, (height, width, channels) of the "
            "image. Received: None."
        )
    return image_shape[0], image_shape[1]
