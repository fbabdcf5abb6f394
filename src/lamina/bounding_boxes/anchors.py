"""Conversion between bounding boxes and offsets to anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamina import ops, settings
from lamina.bounding_boxes.formats import (
    corners_of,
    float_tensor,
    format_name,
    from_corners,
    image_size,
)
from lamina.errors import ArgumentError, StructureError

_DELTAS = ("center_xywh", "center_yxhw")
_SMALLEST = 1e-7  # lower bound of sizes, so that logarithms and quotients are finite


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Sequence[float] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Convert boxes to offsets to anchors, which a detector learns to predict.

    Centers: ``(box - anchor) / size of the anchor``; sizes: ``log(box / anchor)``; both divided by
        the variance. Sizes are clipped to at least 1e-7.

    Args:
        anchors: Anchors of shape ``(n, 4)``.
        boxes: Boxes of shape ``(n, 4)`` or ``(batch, n, 4)``, one for each anchor.
        anchor_format: The format of the anchors.
        box_format: The format of the boxes.
        encoding_format: ``"center_yxhw"`` or ``"center_xywh"``, the order of the result.
        variance: Four numbers in that order; None for ones.
        image_shape: ``(height, width, channels)`` of the image; required for relative formats.

    Returns:
        Tensor of the shape of ``boxes``.

    Raises:
        ArgumentError: If ``encoding_format`` or ``variance`` is invalid, or ``image_shape`` is
            required but missing.

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
    """Convert offsets to anchors to boxes: the inverse of :func:`encode_box_to_deltas`.

    Args:
        anchors: Anchors of shape ``(n, 4)``, or a dict of them, one entry for each level of a
            pyramid.
        boxes_delta: Offsets of shape ``(n, 4)`` or ``(batch, n, 4)``, or a dict of them with the
            same keys.
        anchor_format: The format of the anchors.
        box_format: The format to return.
        encoded_format: ``"center_yxhw"`` or ``"center_xywh"``, the order of the offsets.
        variance: Four numbers in that order, which multiply the offsets; None for ones.
        image_shape: ``(height, width, channels)`` of the image; required for relative formats.

    Returns:
        Tensor of the shape of ``boxes_delta``, or a dict of tensors.

    Raises:
        ArgumentError: If ``encoded_format`` or ``variance`` is invalid, or ``image_shape`` is
            required but missing.
        StructureError: If the keys of the dicts differ.

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
    name = format_name(box_format)
    height, width = image_size(name, image_shape)
    anchor_center, anchor_size = _center_and_size(
        anchors, anchor_format, encoded_format, image_shape
    )
    deltas = float_tensor(boxes_delta)
    deltas = deltas if scales is None else deltas * scales
    boxes = ops.concatenate(
        [
            deltas[..., :2] * anchor_size + anchor_center,
            ops.exp(deltas[..., 2:]) * anchor_size,
        ],
        axis=-1,
    )
    return from_corners(corners_of(boxes, encoded_format), name, height, width)


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
    source = format_name(source)
    height, width = image_size(source, image_shape)
    converted = from_corners(corners_of(float_tensor(boxes), source, height, width), target)
    return converted[..., :2], converted[..., 2:]
