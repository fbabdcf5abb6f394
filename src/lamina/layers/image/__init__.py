"""Layers for images, with their labels, bounding boxes and segmentation masks."""

from lamina.layers.image.colors import *  # noqa: F403
from lamina.layers.image.geometry import *  # noqa: F403
from lamina.layers.image.mixing import *  # noqa: F403
from lamina.layers.image.sizes import *  # noqa: F403
