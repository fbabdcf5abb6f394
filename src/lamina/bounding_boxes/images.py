"""Bounding boxes under cropping, padding and affine transformations of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lamina import ops
from lamina.bounding_boxes.formats import (
    RELATIVE,
    Size,
    absolute_format,
    boxes_of,
    corners_of,
    float_tensor,
    format_name,
    from_corners,
    need_size,
    tensor,
)
from lamina.errors import ArgumentError, ShapeError, StructureError


def clip_to_image_size(
    bounding_boxes: Mapping[str, Any],
    height: Size = None,
    width: Size = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """Clip boxes to the image; boxes outside it get the label -1.

    Args:
        bounding_boxes: A dict with ``"boxes"`` of shape ``(..., n, 4)`` and, optionally,
            ``"labels"`` of shape ``(..., n)``.
        height: Height of the image in pixels; not required for relative formats.
        width: Width of the image in pixels.
        bounding_box_format: The format of the boxes.

    Returns:
        A new dict, where boxes of area 0 have the label -1.

    Raises:
        StructureError: If ``bounding_boxes`` is not such a dict.
        ArgumentError: If the size of the image is required but missing.

    >>> boxes = {"boxes": [[-10, -20, 150, 160], [130, 10, 140, 20]], "labels": [0, 1]}
    >>> clipped = clip_to_image_size(boxes, height=100, width=120)
    >>> clipped["boxes"].tolist(), clipped["labels"].tolist()
    ([[0, 0, 120, 100], [120, 10, 120, 20]], [0, -1])
    """
    if not isinstance(bounding_boxes, Mapping):
        raise StructureError(
            "clip_to_image_size() expects a dict with 'boxes' and 'labels'. Received: "
            f"{type(bounding_boxes).__name__}."
        )
    name = format_name(bounding_box_format)
    is_relative = name.startswith(RELATIVE)
    if is_relative:
        height = width = 1
    elif height is None or width is None:
        raise ArgumentError(
            f"clip_to_image_size() expects `height` and `width` for boxes in the format {name!r}. "
            f"Received: height={height!r}, width={width!r}."
        )
    boxes = tensor(boxes_of(bounding_boxes))
    left, top, right, bottom = corners_of(boxes, name, 1, 1)
    left, right = ops.clip(left, 0, width), ops.clip(right, 0, width)
    top, bottom = ops.clip(top, 0, height), ops.clip(bottom, 0, height)
    clipped = from_corners((left, top, right, bottom), name, 1, 1, boxes)
    result = {**bounding_boxes, "boxes": clipped}
    if "labels" in bounding_boxes:
        areas = ops.squeeze((right - left) * (bottom - top), axis=-1)
        labels = ops.convert_to_tensor(bounding_boxes["labels"])
        result["labels"] = ops.where(areas > 0, labels, -1)
    return result


def crop(
    boxes: Any,
    top: float,
    left: float,
    height: float,
    width: float,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Convert boxes to the coordinates of a cropped region of the image, and clip them to it.

    Args:
        boxes: Boxes of shape ``(..., 4)``, in pixels of the whole image.
        top: Top of the region, in pixels.
        left: Likewise.
        height: Height of the region.
        width: Width of the image in pixels.
        bounding_box_format: The format of the boxes, which must not be relative.

    Returns:
        Tensor of the shape of ``boxes``, where boxes outside the region have area 0.

    Raises:
        ArgumentError: If the format is relative.

    >>> crop([[10, 20, 50, 60]], top=10, left=20, height=40, width=20).tolist()
    [[0, 10, 20, 40]]
    """
    name = absolute_format(bounding_box_format, "crop")
    boxes = tensor(boxes)
    x1, y1, x2, y2 = corners_of(boxes, name)
    corners = (
        ops.clip(x1 - left, 0, width), ops.clip(y1 - top, 0, height),
        ops.clip(x2 - left, 0, width), ops.clip(y2 - top, 0, height),
    )  # fmt: skip
    return from_corners(corners, name, like=boxes)


def pad(
    boxes: Any,
    top: float,
    left: float,
    height: Size = None,
    width: Size = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Convert boxes to the coordinates of the image after padding at the top and the left.

    Args:
        boxes: Boxes of shape ``(..., 4)``.
        top: Number of rows added at the top.
        left: Number of columns added at the left.
        height: The height in pixels that relative coordinates refer to, before and after; required
            for relative formats only.
        width: Width of the image in pixels.
        bounding_box_format: The format of the boxes.

    Returns:
        Tensor of the shape of ``boxes``.

    Raises:
        ArgumentError: If the format is relative and a size is missing.

    >>> pad([[10, 20, 50, 60]], top=1, left=2).tolist()
    [[12, 21, 52, 61]]
    """
    name = format_name(bounding_box_format)
    if name.startswith(RELATIVE):
        need_size(f"in the format {name!r}", height, width)
    boxes = tensor(boxes)
    x1, y1, x2, y2 = corners_of(boxes, name, height, width)
    corners = (x1 + left, y1 + top, x2 + left, y2 + top)
    return from_corners(corners, name, height, width, boxes)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: int,
    width: int,
    center_x: float | None = None,
    center_y: float | None = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    r"""The axis-aligned bounding boxes of boxes after an affine transformation of the image.

    A corner ``p`` is mapped to ``c + M (p - c + t)``, with the center ``c``,
    ``t = (translate_x (width - 1), translate_y (height - 1))`` and, for ``u = tan(shear_x)`` and
    ``v = tan(shear_y)``,

    .. math::

        M = s \begin{pmatrix}
            \cos a - u (v \cos a - \sin a) & \sin a + u (\cos a + v \sin a) \\
            v \cos a - \sin a & \cos a + v \sin a
        \end{pmatrix}

    (the signs are those of Keras). There is one transformation for all boxes, or one for each
    image.

    Args:
        boxes: Boxes of shape ``(n, 4)`` or ``(batch, n, 4)``.
        angle: Angle of rotation in degrees, counterclockwise on screen; a number, or ``(batch,)``.
        translate_x: Translation to the right as a fraction of ``width - 1``, likewise.
        translate_y: Translation downwards as a fraction of ``height - 1``, likewise.
        scale: Scale factor, likewise.
        shear_x: Horizontal shear angle in degrees, likewise.
        shear_y: Vertical shear angle in degrees, likewise.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        center_x: Center, as a fraction of ``width - 1``; the middle when None.
        center_y: Center, as a fraction of ``height - 1``; the middle when None.
        bounding_box_format: The format of the boxes.

    Returns:
        Floating-point tensor of the shape of ``boxes``; boxes may exceed the image.

    Raises:
        ShapeError: If there is not one transformation, or one for each image.

    >>> half_turn = affine_transform([[0, 0, 9, 4]], 180, 0, 0, 1, 0, 0, height=10, width=20)
    >>> [round(x, 3) for x in half_turn.tolist()[0]]
    [10.0, 5.0, 19.0, 9.0]
    """
    name = format_name(bounding_box_format)
    boxes = float_tensor(boxes)
    if len(boxes.shape) not in (2, 3):
        raise ShapeError(
            "affine_transform() expects boxes of shape (n, 4) or (batch, n, 4). "
            f"Received: shape {tuple(boxes.shape)}."
        )

    def parameter(argument: str, value: Any) -> Any:
        value = ops.cast(value, boxes.dtype)
        shape = tuple(value.shape)
        if shape == (1,) or not shape:
            return ops.reshape(value, ())
        if len(shape) != 1 or len(boxes.shape) != 3 or shape[0] != boxes.shape[0]:
            raise ShapeError(
                f"`{argument}` expects one number, or one for each image of the batch. Received: "
                f"shape {shape} with boxes of shape {tuple(boxes.shape)}."
            )
        return ops.reshape(value, (-1, 1, 1))

    radians = math.pi / 180
    a = parameter("angle", angle) * radians
    u = ops.tan(parameter("shear_x", shear_x) * radians)
    v = ops.tan(parameter("shear_y", shear_y) * radians)
    s = parameter("scale", scale)
    shift_x = parameter("translate_x", translate_x) * (width - 1)
    shift_y = parameter("translate_y", translate_y) * (height - 1)
    middle_x = (0.5 if center_x is None else center_x) * (width - 1)
    middle_y = (0.5 if center_y is None else center_y) * (height - 1)

    down_x, down_y = v * ops.cos(a) - ops.sin(a), ops.cos(a) + v * ops.sin(a)
    left, top, right, bottom = corners_of(boxes, name, height, width)
    x = ops.concatenate([left, right, left, right], axis=-1) - middle_x + shift_x
    y = ops.concatenate([top, top, bottom, bottom], axis=-1) - middle_y + shift_y
    new_x = middle_x + s * ((ops.cos(a) - u * down_x) * x + (ops.sin(a) + u * down_y) * y)
    new_y = middle_y + s * (down_x * x + down_y * y)
    corners = (
        ops.min(new_x, axis=-1, keepdims=True), ops.min(new_y, axis=-1, keepdims=True),
        ops.max(new_x, axis=-1, keepdims=True), ops.max(new_y, axis=-1, keepdims=True),
    )  # fmt: skip
    return from_corners(corners, name, height, width)
