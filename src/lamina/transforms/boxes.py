"""Formats of bounding boxes, and boxes in pixels under changes of the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Four = tuple[Any, Any, Any, Any]

# Conversion of each format to left, top, right, bottom, and back.
CONVERSIONS: dict[str, tuple[Callable[..., Four], Callable[..., Four]]] = {
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
RELATIVE = "rel_"
FORMATS = (*CONVERSIONS, "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")


def to_xyxy(xp: Any, boxes: Any, name: str, height: Any, width: Any) -> Any:
    """Boxes ``(..., 4)`` of any format as left, top, right, bottom, in pixels."""
    parts = CONVERSIONS[name.removeprefix(RELATIVE)][0](*(boxes[..., i] for i in range(4)))
    if name.startswith(RELATIVE):
        parts = [part * (height if i % 2 else width) for i, part in enumerate(parts)]
    return xp.stack(parts, -1)


def from_xyxy(xp: Any, boxes: Any, name: str, height: Any, width: Any) -> Any:
    """The inverse of :func:`to_xyxy`."""
    parts: Any = [boxes[..., i] for i in range(4)]
    if name.startswith(RELATIVE):
        parts = [part / (height if i % 2 else width) for i, part in enumerate(parts)]
    return xp.stack(CONVERSIONS[name.removeprefix(RELATIVE)][1](*parts), -1)


def clip(xp: Any, boxes: Any, height: Any, width: Any) -> Any:
    """Boxes in pixels, clipped to the image."""
    return xp.stack([xp.clip(boxes[..., i], 0, height if i % 2 else width) for i in range(4)], -1)


def around(xp: Any, x: Any, y: Any) -> Any:
    """The boxes around points ``(..., k)``."""
    return xp.stack([x.min(-1), y.min(-1), x.max(-1), y.max(-1)], -1)
