"""Bounding boxes: their formats, overlaps and offsets to anchors, and what cropping does to them.

A box is four numbers along the last axis. Formats, in any letter case:

==================== ===========================================
``xyxy``             left, top, right, bottom
``yxyx``             top, left, bottom, right
``xywh``             left, top, width, height
``center_xywh``      center x, center y, width, height
``center_yxhw``      center y, center x, height, width
``rel_xyxy``, ...    as ``xyxy``, ``yxyx``, ``xywh`` or ``center_xywh``, in fractions of the image
==================== ===========================================

Everything here is made of :mod:`lamina.ops`, so it runs on arrays, in graphs and under JAX's
transformations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lamina import ops, settings
from lamina.errors import ArgumentError, ShapeError, StructureError, unknown_name

__all__ = [
    "affine_transform", "clip_to_image_size", "compute_ciou", "compute_iou", "convert_format",
    "crop", "decode_deltas_to_boxes", "encode_box_to_deltas", "pad",
]  # fmt: skip

_Four = tuple[Any, Any, Any, Any]
_Size = float | None

# From each format to left, top, right, bottom, and back.
_FORMATS: dict[str, tuple[Callable[..., _Four], Callable[..., _Four]]] = {
    "xyxy": (
        lambda x1, y1, x2, y2: (x1, y1, x2, y2),
        lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    ),
    "yxyx": (
        lambda y1, x1, y2, x2: (x1, y1, x2, y2),
        lambda x1, y1, x2, y2: (y1, x1, y2, x2),
    ),
    "xywh": (
        lambda x, y, w, h: (x, y, x + w, y + h),
        lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
    ),
    "center_xywh": (
        lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
        lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    ),
    "center_yxhw": (
        lambda y, x, h, w: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
        lambda x1, y1, x2, y2: ((y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1),
    ),
}
_RELATIVE = "rel_"
_NAMES = (*_FORMATS, "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
_DELTAS = ("center_xywh", "center_yxhw")
_SMALLEST = 1e-7  # sizes below it count as this, so that logarithms and quotients are finite


# ---------------------------------------------------------------------------------------- formats


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: _Size = None,
    width: _Size = None,
    dtype: str | None = "float32",
) -> Any:
    """Convert boxes from one format to another.

    Args:
        boxes: Of shape ``(..., 4)``; or a dict with them as ``"boxes"``, whose other entries stay.
        source: The format that they have.
        target: The format to convert to.
        height: Of the image in pixels; needed where one of the formats is relative.
        width: Likewise.
        dtype: To compute in and to return; None keeps that of ``boxes``.

    Returns:
        Tensor of the shape of ``boxes``; or a new dict with it.

    Raises:
        UnknownNameError: If there is no such format.
        ArgumentError: If the size of the image is needed and missing.
        ShapeError: If the last axis has another size than 4.

    >>> convert_format([[10, 20, 30, 60]], "xyxy", "xywh").tolist()
    [[10.0, 20.0, 20.0, 40.0]]
    """
    if isinstance(boxes, Mapping):
        converted = convert_format(_boxes_of(boxes), source, target, height, width, dtype)
        return {**boxes, "boxes": converted}
    source, target = _format(source), _format(target)
    if source.startswith(_RELATIVE) or target.startswith(_RELATIVE):
        _need_size(f"from {source!r} to {target!r}", height, width)
    boxes = _tensor(boxes, dtype)
    if source == target:
        return boxes
    return _from_corners(_corners(boxes, source, height, width), target, height, width, boxes)


def _format(name: str) -> str:
    lowered = str(name).lower()
    if lowered not in _NAMES:
        raise unknown_name("format of bounding boxes", name, _NAMES)
    return lowered


def _need_size(what: str, height: _Size, width: _Size) -> None:
    if height is None or width is None:
        raise ArgumentError(
            f"Boxes {what} expect the size of the image, since relative formats are fractions of "
            f"it. Received: height={height!r}, width={width!r}. Pass both in pixels."
        )


def _boxes_of(boxes: Mapping[str, Any]) -> Any:
    if "boxes" not in boxes:
        raise StructureError(f"A dict of boxes expects the key 'boxes'. Received: {list(boxes)}.")
    return boxes["boxes"]


def _tensor(boxes: Any, dtype: str | None = None) -> Any:
    boxes = ops.convert_to_tensor(boxes) if dtype is None else ops.cast(boxes, dtype)
    if not boxes.shape or boxes.shape[-1] != 4:
        raise ShapeError(
            "Bounding boxes expect four numbers along the last axis: shape (..., 4). "
            f"Received: shape {tuple(boxes.shape)}."
        )
    return boxes


def _float(boxes: Any) -> Any:
    boxes = _tensor(boxes)
    is_float = "float" in str(boxes.dtype)
    return boxes if is_float else ops.cast(boxes, settings.floatx())


def _split(boxes: Any) -> list[Any]:
    return ops.split(boxes, 4, axis=-1)


def _corners(boxes: Any, source: str, height: _Size = None, width: _Size = None) -> _Four:
    """Left, top, right and bottom in pixels, each ``(..., 1)``."""
    left, top, right, bottom = _FORMATS[source.removeprefix(_RELATIVE)][0](*_split(boxes))
    if source.startswith(_RELATIVE):
        return left * width, top * height, right * width, bottom * height
    return left, top, right, bottom


def _from_corners(
    corners: _Four, target: str, height: _Size = None, width: _Size = None, like: Any = None
) -> Any:
    left, top, right, bottom = corners
    if target.startswith(_RELATIVE):
        left, right, top, bottom = left / width, right / width, top / height, bottom / height
    parts = _FORMATS[target.removeprefix(_RELATIVE)][1](left, top, right, bottom)
    boxes = ops.concatenate(parts, axis=-1)
    return boxes if like is None else ops.cast(boxes, like.dtype)


def _absolute(name: str, function: str) -> str:
    name = _format(name)
    if name.startswith(_RELATIVE):
        raise ArgumentError(
            f"{function}() expects boxes in pixels, since fractions of an image whose size changes "
            f"say nothing. Received: bounding_box_format={name!r}. Convert them first: "
            f"convert_format(boxes, {name!r}, 'xyxy', height, width)."
        )
    return name


# ------------------------------------------------------------------------- what happens to images


def clip_to_image_size(
    bounding_boxes: Mapping[str, Any],
    height: _Size = None,
    width: _Size = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """Cut boxes off at the image's border; boxes outside of it get the label -1.

    Args:
        bounding_boxes: A dict with ``"boxes"`` of shape ``(..., n, 4)`` and, if there are any,
            ``"labels"`` of shape ``(..., n)``.
        height: Of the image in pixels; relative formats do not need it.
        width: Likewise.
        bounding_box_format: The format of the boxes.

    Returns:
        A new dict; a box whose area is then 0 has the label -1.

    Raises:
        StructureError: If ``bounding_boxes`` is no such dict.
        ArgumentError: If the size of the image is needed and missing.

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
    name = _format(bounding_box_format)
    is_relative = name.startswith(_RELATIVE)
    if is_relative:
        height = width = 1
    elif height is None or width is None:
        raise ArgumentError(
            f"clip_to_image_size() expects `height` and `width` for boxes in the format {name!r}. "
            f"Received: height={height!r}, width={width!r}."
        )
    boxes = _tensor(_boxes_of(bounding_boxes))
    left, top, right, bottom = _corners(boxes, name, 1, 1)
    left, right = ops.clip(left, 0, width), ops.clip(right, 0, width)
    top, bottom = ops.clip(top, 0, height), ops.clip(bottom, 0, height)
    clipped = _from_corners((left, top, right, bottom), name, 1, 1, boxes)
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
    """Boxes in the coordinates of a region that is cut out of the image, and cut off at its border.

    Args:
        boxes: Of shape ``(..., 4)``, in pixels of the whole image.
        top: Of the region, in pixels from the image's top.
        left: Likewise.
        height: Of the region.
        width: Likewise.
        bounding_box_format: The format of the boxes; no relative one.

    Returns:
        Tensor of the shape of ``boxes``; a box outside of the region has the area 0.

    Raises:
        ArgumentError: If the format is relative.

    >>> crop([[10, 20, 50, 60]], top=10, left=20, height=40, width=20).tolist()
    [[0, 10, 20, 40]]
    """
    name = _absolute(bounding_box_format, "crop")
    boxes = _tensor(boxes)
    x1, y1, x2, y2 = _corners(boxes, name)
    corners = (
        ops.clip(x1 - left, 0, width), ops.clip(y1 - top, 0, height),
        ops.clip(x2 - left, 0, width), ops.clip(y2 - top, 0, height),
    )  # fmt: skip
    return _from_corners(corners, name, like=boxes)


def pad(
    boxes: Any,
    top: float,
    left: float,
    height: _Size = None,
    width: _Size = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """Boxes in the coordinates of an image that was padded at its top and left.

    Args:
        boxes: Of shape ``(..., 4)``.
        top: Rows added above, in pixels.
        left: Columns added at the left.
        height: The number of pixels that relative coordinates are fractions of, before and after;
            needed for relative formats only.
        width: Likewise.
        bounding_box_format: The format of the boxes.

    Returns:
        Tensor of the shape of ``boxes``.

    Raises:
        ArgumentError: If the format is relative and a size is missing.

    >>> pad([[10, 20, 50, 60]], top=1, left=2).tolist()
    [[12, 21, 52, 61]]
    """
    name = _format(bounding_box_format)
    if name.startswith(_RELATIVE):
        _need_size(f"in the format {name!r}", height, width)
    boxes = _tensor(boxes)
    x1, y1, x2, y2 = _corners(boxes, name, height, width)
    corners = (x1 + left, y1 + top, x2 + left, y2 + top)
    return _from_corners(corners, name, height, width, boxes)


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
    r"""The upright boxes around what an affine transformation of the image makes of boxes.

    A corner ``p`` goes to ``c + M (p - c + t)``, with ``c`` the center,
    ``t = (translate_x (width - 1), translate_y (height - 1))`` and, for ``u = tan(shear_x)`` and
    ``v = tan(shear_y)``,

    .. math::

        M = s \begin{pmatrix}
            \cos a - u (v \cos a - \sin a) & \sin a + u (\cos a + v \sin a) \\
            v \cos a - \sin a & \cos a + v \sin a
        \end{pmatrix}

    (the signs are those of Keras). A transformation is one for all boxes, or one for each image.

    Args:
        boxes: Of shape ``(n, 4)`` or ``(batch, n, 4)``.
        angle: Of the rotation in degrees, counterclockwise on screen; a number, or ``(batch,)``.
        translate_x: Shift to the right as a fraction of ``width - 1``, likewise.
        translate_y: Shift downwards as a fraction of ``height - 1``, likewise.
        scale: Factor of magnification, likewise.
        shear_x: Angle in degrees, likewise.
        shear_y: Angle in degrees, likewise.
        height: Of the image in pixels.
        width: Likewise.
        center_x: The fixed point, as a fraction of ``width - 1``; None for the middle.
        center_y: Likewise of ``height - 1``.
        bounding_box_format: The format of the boxes.

    Returns:
        Tensor of the shape of ``boxes``, floating-point; parts may lie outside of the image.

    Raises:
        ShapeError: If the transformations are not one, or one for each image.

    >>> half_turn = affine_transform([[0, 0, 9, 4]], 180, 0, 0, 1, 0, 0, height=10, width=20)
    >>> [round(x, 3) for x in half_turn.tolist()[0]]
    [10.0, 5.0, 19.0, 9.0]
    """
    name = _format(bounding_box_format)
    boxes = _float(boxes)
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
    left, top, right, bottom = _corners(boxes, name, height, width)
    x = ops.concatenate([left, right, left, right], axis=-1) - middle_x + shift_x
    y = ops.concatenate([top, top, bottom, bottom], axis=-1) - middle_y + shift_y
    new_x = middle_x + s * ((ops.cos(a) - u * down_x) * x + (ops.sin(a) + u * down_y) * y)
    new_y = middle_y + s * (down_x * x + down_y * y)
    corners = (
        ops.min(new_x, axis=-1, keepdims=True), ops.min(new_y, axis=-1, keepdims=True),
        ops.max(new_x, axis=-1, keepdims=True), ops.max(new_y, axis=-1, keepdims=True),
    )  # fmt: skip
    return _from_corners(corners, name, height, width)


# --------------------------------------------------------------------------------------- overlaps


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Intersection over union of each box of one set with each of another.

    ``area(a and b) / (area(a or b) + epsilon)``, with :func:`lamina.config.epsilon`.

    Args:
        boxes1: Of shape ``(m, 4)`` or ``(batch, m, 4)``.
        boxes2: Of shape ``(n, 4)`` or ``(batch, n, 4)``.
        bounding_box_format: The format of both.
        use_masking: Whether boxes whose four numbers are all negative are fillers.
        mask_val: The result for pairs with a filler.
        image_shape: ``(height, width, channels)`` of the image; needed for relative formats.

    Returns:
        Tensor of shape ``(m, n)``, or ``(batch, m, n)`` where one set is in batches.

    Raises:
        ShapeError: If the boxes have another rank than 2 or 3.
        ArgumentError: If the format is relative and ``image_shape`` is missing.

    >>> compute_iou([[0, 0, 10, 10]], [[0, 0, 10, 5], [20, 20, 30, 30]], "xyxy").tolist()
    [[0.5, 0.0]]
    """
    first, second = _float(boxes1), _float(boxes2)
    for argument, boxes in (("boxes1", first), ("boxes2", second)):
        if len(boxes.shape) not in (2, 3):
            raise ShapeError(
                f"`{argument}` expects the shape (n, 4) or (batch, n, 4). "
                f"Received: {tuple(boxes.shape)}."
            )
    corners1, corners2 = _paired(
        ops.expand_dims(first, -2), ops.expand_dims(second, -3), bounding_box_format, image_shape
    )
    common = _common(corners1, corners2)
    ious = common / (_area(corners1) + _area(corners2) - common + settings.epsilon())
    if not use_masking:
        return ious
    fillers = ops.logical_or(
        ops.expand_dims(ops.max(first, axis=-1) < 0, -1),
        ops.expand_dims(ops.max(second, axis=-1) < 0, -2),
    )
    return ops.where(fillers, mask_val, ious)


def compute_ciou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    image_shape: Sequence[int] | None = None,
) -> Any:
    r"""Complete IoU of boxes, pair by pair: overlap, less the distance of centers and of shapes.

    .. math::

        \mathrm{IoU} - \frac{d^2}{D^2} - \alpha v, \quad
        v = \frac{4}{\pi^2} \left(\arctan\frac{w_2}{h_2} - \arctan\frac{w_1}{h_1}\right)^2, \quad
        \alpha = \frac{v}{1 - \mathrm{IoU} + v}

    with ``d`` the distance of the centers and ``D`` the diagonal of the box around both.
    :func:`lamina.config.epsilon` is added to heights and denominators, as Keras does.

    Args:
        boxes1: Of shape ``(..., 4)``.
        boxes2: Of a shape that broadcasts with it.
        bounding_box_format: The format of both.
        image_shape: ``(height, width, channels)`` of the image; needed for relative formats.

    Returns:
        Tensor of shape ``(...)``, at most 1.

    Raises:
        ShapeError: If the shapes do not broadcast.
        ArgumentError: If the format is relative and ``image_shape`` is missing.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020, arXiv:1911.08287.

    >>> round(float(compute_ciou([0, 0, 10, 10], [0, 0, 10, 5], "xyxy")), 4)
    0.4655
    """
    first, second = _float(boxes1), _float(boxes2)
    epsilon = settings.epsilon()
    (l1, t1, r1, b1), (l2, t2, r2, b2) = _paired(first, second, bounding_box_format, image_shape)
    height1, height2 = b1 - t1 + epsilon, b2 - t2 + epsilon
    common = _common((l1, t1, r1, b1), (l2, t2, r2, b2))
    iou = common / ((r1 - l1) * height1 + (r2 - l2) * height2 - common + 2 * epsilon)
    around_x = ops.maximum(r1, r2) - ops.minimum(l1, l2)
    around_y = ops.maximum(b1, b2) - ops.minimum(t1, t2)
    diagonal = ops.square(around_x) + ops.square(around_y) + epsilon
    distance = (ops.square(l1 + r1 - l2 - r2) + ops.square(t1 + b1 - t2 - b2)) / 4
    angles = ops.arctan((r1 - l1) / height1), ops.arctan((r2 - l2) / height2)
    v = 4 / math.pi**2 * ops.square(angles[1] - angles[0])
    alpha = v / (v - iou + (1 + epsilon))
    return iou - (distance / diagonal + alpha * v)


def _paired(
    first: Any, second: Any, bounding_box_format: str, image_shape: Sequence[int] | None
) -> tuple[_Four, _Four]:
    """The corners of two sets of boxes that broadcast, without the last axis."""
    name = _format(bounding_box_format)
    height, width = _image_size(name, image_shape)
    pairs = zip(reversed(first.shape), reversed(second.shape), strict=False)
    if any(None not in (m, n) and 1 not in (m, n) and m != n for m, n in pairs):
        raise ShapeError(
            "Two sets of boxes expect shapes that broadcast. Received: "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    return _flat(_corners(first, name, height, width)), _flat(_corners(second, name, height, width))


def _flat(corners: _Four) -> _Four:
    left, top, right, bottom = (ops.squeeze(c, axis=-1) for c in corners)
    return left, top, right, bottom


def _area(corners: _Four) -> Any:
    left, top, right, bottom = corners
    return (right - left) * (bottom - top)


def _common(first: _Four, second: _Four) -> Any:
    """The area of the intersection."""
    (l1, t1, r1, b1), (l2, t2, r2, b2) = first, second
    across = ops.maximum(ops.minimum(r1, r2) - ops.maximum(l1, l2), 0)
    return across * ops.maximum(ops.minimum(b1, b2) - ops.maximum(t1, t2), 0)


def _image_size(name: str, image_shape: Sequence[int] | None) -> tuple[_Size, _Size]:
    if not name.startswith(_RELATIVE):
        return None, None
    if image_shape is None:
        raise ArgumentError(
            f"Boxes in the format {name!r} expect `image_shape`, (height, width, channels) of the "
            "image. Received: None."
        )
    return image_shape[0], image_shape[1]


# ----------------------------------------------------------------------------- offsets to anchors


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Sequence[float] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Offsets of boxes to anchors, which a detector learns to predict.

    Centers: ``(box - anchor) / size of the anchor``; sizes: ``log(box / anchor)``; both divided by
    the variance. Sizes below 1e-7 count as 1e-7.

    Args:
        anchors: Of shape ``(n, 4)``.
        boxes: Of shape ``(n, 4)`` or ``(batch, n, 4)``: the box for each anchor.
        anchor_format: The format of the anchors.
        box_format: The format of the boxes.
        encoding_format: ``"center_yxhw"`` or ``"center_xywh"``, the order of the result.
        variance: Four numbers in that order; None for ones.
        image_shape: ``(height, width, channels)`` of the image; needed for relative formats.

    Returns:
        Tensor of the shape of ``boxes``.

    Raises:
        ArgumentError: If ``encoding_format`` or ``variance`` is none of these, or ``image_shape``
            is needed and missing.

    Source: Ren et al., Faster R-CNN, arXiv:1506.01497.

    >>> deltas = encode_box_to_deltas([[0, 0, 10, 10]], [[5, 0, 15, 10]], "xyxy", "xyxy")
    >>> deltas.tolist()
    [[0.0, 0.5, 0.0, 0.0]]
    """
    encoding_format = _deltas_format("encoding_format", encoding_format)
    scales = _variance(variance)
    anchor_center, anchor_size = _center_and_size(
        anchors, anchor_format, encoding_format, image_shape
    )
    center, size = _center_and_size(boxes, box_format, encoding_format, image_shape)
    anchor_size, size = ops.maximum(anchor_size, _SMALLEST), ops.maximum(size, _SMALLEST)
    deltas = ops.concatenate(
        [(center - anchor_center) / anchor_size, ops.log(size / anchor_size)], axis=-1
    )
    return deltas if scales is None else deltas / scales


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Sequence[float] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Boxes from their offsets to anchors: the inverse of :func:`encode_box_to_deltas`.

    Args:
        anchors: Of shape ``(n, 4)``; or a dict of them, one entry for each level of a pyramid.
        boxes_delta: Offsets of shape ``(n, 4)`` or ``(batch, n, 4)``; a dict with the same keys.
        anchor_format: The format of the anchors.
        box_format: The format to return.
        encoded_format: ``"center_yxhw"`` or ``"center_xywh"``, the order of the offsets.
        variance: Four numbers in that order, which multiply the offsets; None for ones.
        image_shape: ``(height, width, channels)`` of the image; needed for relative formats.

    Returns:
        Tensor of the shape of ``boxes_delta``; or a dict of them.

    Raises:
        ArgumentError: If ``encoded_format`` or ``variance`` is none of these, or ``image_shape`` is
            needed and missing.
        StructureError: If the dicts differ in their keys.

    >>> anchors, deltas = [[0, 0, 10, 10]], [[0.0, 0.5, 0.0, 0.0]]
    >>> decode_deltas_to_boxes(anchors, deltas, "xyxy", "xyxy").tolist()
    [[5.0, 0.0, 15.0, 10.0]]
    """
    encoded_format = _deltas_format("encoded_format", encoded_format)
    scales = _variance(variance)
    if isinstance(anchors, Mapping) or isinstance(boxes_delta, Mapping):
        if not (isinstance(anchors, Mapping) and isinstance(boxes_delta, Mapping)) or (
            set(anchors) != set(boxes_delta)
        ):
            keys = [list(x) if isinstance(x, Mapping) else type(x).__name__
                    for x in (anchors, boxes_delta)]  # fmt: skip
            raise StructureError(
                "`anchors` and `boxes_delta` expect dicts with the same keys, or tensors. "
                f"Received: {keys[0]} and {keys[1]}."
            )
        rest = (anchor_format, box_format, encoded_format, variance, image_shape)
        return {
            level: decode_deltas_to_boxes(anchors[level], deltas, *rest)
            for level, deltas in boxes_delta.items()
        }
    name = _format(box_format)
    height, width = _image_size(name, image_shape)
    anchor_center, anchor_size = _center_and_size(
        anchors, anchor_format, encoded_format, image_shape
    )
    deltas = _float(boxes_delta)
    deltas = deltas if scales is None else deltas * scales
    boxes = ops.concatenate(
        [
            deltas[..., :2] * anchor_size + anchor_center,
            ops.exp(deltas[..., 2:]) * anchor_size,
        ],
        axis=-1,
    )
    return _from_corners(_corners(boxes, encoded_format), name, height, width)


def _deltas_format(argument: str, name: str) -> str:
    lowered = str(name).lower()
    if lowered not in _DELTAS:
        raise ArgumentError(f"`{argument}` expects one of {list(_DELTAS)}. Received: {name!r}.")
    return lowered


def _variance(variance: Sequence[float] | None) -> Any:
    if variance is None:
        return None
    scales = ops.cast(variance, settings.floatx())
    if tuple(scales.shape) != (4,):
        raise ArgumentError(
            f"`variance` expects four numbers. Received: shape {tuple(scales.shape)}."
        )
    return scales


def _center_and_size(
    boxes: Any, source: str, target: str, image_shape: Sequence[int] | None
) -> tuple[Any, Any]:
    source = _format(source)
    height, width = _image_size(source, image_shape)
    converted = _from_corners(_corners(_float(boxes), source, height, width), target)
    return converted[..., :2], converted[..., 2:]
