"""Bounding boxes: formats, overlaps, offsets to anchors, and transformations.

A box is four numbers along the last axis. Formats, in any letter case:

==================== ===========================================
``xyxy``             left, top, right, bottom
``yxyx``             top, left, bottom, right
``xywh``             left, top, width, height
``center_xywh``      center x, center y, width, height
``center_yxhw``      center y, center x, height, width
``rel_xyxy``, ...    as ``xyxy``, ``yxyx``, ``xywh`` or ``center_xywh``, in fractions of the image
==================== ===========================================

All functions are built on :mod:`lamina.ops`, so they work on arrays, in graphs and under JAX
transformations.
"""

from lamina.bounding_boxes.anchors import decode_deltas_to_boxes as decode_deltas_to_boxes
from lamina.bounding_boxes.anchors import encode_box_to_deltas as encode_box_to_deltas
from lamina.bounding_boxes.formats import convert_format as convert_format
from lamina.bounding_boxes.images import affine_transform as affine_transform
from lamina.bounding_boxes.images import clip_to_image_size as clip_to_image_size
from lamina.bounding_boxes.images import crop as crop
from lamina.bounding_boxes.images import pad as pad
from lamina.bounding_boxes.overlaps import compute_ciou as compute_ciou
from lamina.bounding_boxes.overlaps import compute_iou as compute_iou
