"""Layers that scale feature maps, which published architectures and their files contain."""

from __future__ import annotations

from typing import Any

from lamina import initializers
from lamina.core.variable import Variable
from lamina.layers.base import Layer
from lamina.serialization.fields import field, number, positive_int
from lamina.serialization.registry import builtin


@builtin(file_module="keras.src.applications.convnext")
class LayerScale(Layer):
    """``inputs * gamma``, with one learned factor for each channel.

    Args:
        init_values: Initial value of all factors.
        projection_dim: Number of channels, the last axis.

    Touvron et al. 2021, "Going deeper with Image Transformers", arXiv:2103.17239.

    >>> import numpy as np
    >>> LayerScale(0.5, 2)(np.array([[2.0, 4.0]])).tolist()
    [[1.0, 2.0]]
    """

    init_values: float = field(convert=number("(-inf, inf)"))
    projection_dim: int = field(convert=positive_int)

    def build(self, input_shape: Any) -> None:
        """Add ``gamma``."""
        self.gamma: Variable = self.add_weight(
            (self.projection_dim,), initializers.Constant(self.init_values), name="gamma"
        )

    def call(self, inputs: Any) -> Any:
        """Multiply."""
        return inputs * self.gamma.value


@builtin(file_module="keras.src.applications.inception_resnet_v2")
class CustomScaleLayer(Layer):
    """``x + scale * residual``, of a list of both.

    Args:
        scale: The factor.

    Szegedy et al. 2016, arXiv:1602.07261, section 3.3: factors from 0.1 to 0.3 keep the training of
    wide residual networks stable.

    >>> import numpy as np
    >>> CustomScaleLayer(0.5)([np.array([1.0]), np.array([4.0])]).tolist()
    [3.0]
    """

    scale: float = field(convert=number("(-inf, inf)"))

    def call(self, inputs: Any) -> Any:
        """Multiply and add."""
        x, residual = inputs
        return x + residual * self.scale


__all__ = ["CustomScaleLayer", "LayerScale"]
