"""Overlap of bounding boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lamina import ops, settings
from lamina.bounding_boxes.formats import (
    Four,
    corners_of,
    float_tensor,
    format_name,
    image_size,
)
from lamina.errors import ShapeError


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Intersection over union of all pairs of boxes of two sets.

    ``area(a and b) / (area(a or b) + epsilon)``, with :func:`lamina.config.epsilon`.

    Args:
        boxes1: Boxes of shape ``(m, 4)`` or ``(batch, m, 4)``.
        boxes2: Boxes of shape ``(n, 4)`` or ``(batch, n, 4)``.
        bounding_box_format: The format of both.
        use_masking: Whether boxes with four negative numbers are padding.
        mask_val: The result for pairs with padding.
        image_shape: ``(height, width, channels)`` of the image; required for relative formats.

    Returns:
        Tensor of shape ``(m, n)``, or ``(batch, m, n)`` if one set has a batch axis.

    Raises:
        ShapeError: If the rank of the boxes is neither 2 nor 3.
        ArgumentError: If the format is relative and ``image_shape`` is missing.

    >>> compute_iou([[0, 0, 10, 10]], [[0, 0, 10, 5], [20, 20, 30, 30]], "xyxy").tolist()
    [[0.5, 0.0]]
    """
    first, second = float_tensor(boxes1), float_tensor(boxes2)
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
    r"""Complete IoU of pairs of boxes: overlap minus terms for center distance and aspect ratio.

    .. math::

        \mathrm{IoU} - \frac{d^2}{D^2} - \alpha v, \quad
        v = \frac{4}{\pi^2} \left(\arctan\frac{w_2}{h_2} - \arctan\frac{w_1}{h_1}\right)^2, \quad
        \alpha = \frac{v}{1 - \mathrm{IoU} + v}

    with the distance ``d`` of the centers and the diagonal ``D`` of the box around both.
    :func:`lamina.config.epsilon` is added to heights and denominators, as Keras does.

    Args:
        boxes1: Boxes of shape ``(..., 4)``.
        boxes2: Boxes of a shape that broadcasts with that of ``boxes1``.
        bounding_box_format: The format of both.
        image_shape: ``(height, width, channels)`` of the image; required for relative formats.

    Returns:
        Tensor of shape ``(...)``, at most 1.

    Raises:
        ShapeError: If the shapes do not broadcast.
        ArgumentError: If the format is relative and ``image_shape`` is missing.

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020, arXiv:1911.08287.

    >>> round(float(compute_ciou([0, 0, 10, 10], [0, 0, 10, 5], "xyxy")), 4)
    0.4655
    """
    first, second = float_tensor(boxes1), float_tensor(boxes2)
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
) -> tuple[Four, Four]:
    """The corners of two sets of boxes that broadcast, without the last axis."""
    name = format_name(bounding_box_format)
    height, width = image_size(name, image_shape)
    pairs = zip(reversed(first.shape), reversed(second.shape), strict=False)
    if any(None not in (m, n) and 1 not in (m, n) and m != n for m, n in pairs):
        raise ShapeError(
            "The shapes of two sets of boxes must broadcast. Received: "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    return _flat(corners_of(first, name, height, width)), _flat(
        corners_of(second, name, height, width)
    )


def _flat(corners: Four) -> Four:
    left, top, right, bottom = (ops.squeeze(c, axis=-1) for c in corners)
    return left, top, right, bottom


def _area(corners: Four) -> Any:
    left, top, right, bottom = corners
    return (right - left) * (bottom - top)


def _common(first: Four, second: Four) -> Any:
    """The area of the intersection."""
    (l1, t1, r1, b1), (l2, t2, r2, b2) = first, second
    across = ops.maximum(ops.minimum(r1, r2) - ops.maximum(l1, l2), 0)
    return across * ops.maximum(ops.minimum(b1, b2) - ops.maximum(t1, t2), 0)
