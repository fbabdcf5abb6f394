"""Every layer, by name."""

from lamina.layers.base import InputSpec as InputSpec
from lamina.layers.base import Layer as Layer
from lamina.layers.core import *  # noqa: F403
