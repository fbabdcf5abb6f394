"""InceptionV3: parallel branches of convolutions of several sizes, joined along the channels.

Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567.

=========== ====================== ==========
Model       Modules                Parameters
=========== ====================== ==========
InceptionV3 11, on 35, 17 and 8 px 23.9 M
=========== ====================== ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications import building
from lamina.applications.building import HOST, KERNELS, Family, Options
from lamina.applications.imagenet_utils import utilities


def convolve(x: Any, filters: int, size: Any, strides: int = 1, padding: str = "same") -> Any:
    """Convolution, batch normalization without scale, ReLU."""
    x = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(x)
    return layers.Activation("relu")(building.normalize(x, scale=False))


def chain(x: Any, *convolutions: tuple[Any, ...]) -> Any:
    """Convolutions in turn: (filters, size), or (filters, size, 2) for those with stride 2."""
    for filters, size, *stride in convolutions:
        x = convolve(x, filters, size, 2, "valid") if stride else convolve(x, filters, size)
    return x


def stem(x: Any) -> Any:
    """The convolutions before the first module."""
    x = convolve(x, 32, 3, 2, "valid")
    x = convolve(x, 32, 3, padding="valid")
    x = convolve(x, 64, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = convolve(x, 80, 1, padding="valid")
    x = convolve(x, 192, 3, padding="valid")
    return layers.MaxPooling2D(3, strides=2)(x)


def average(x: Any) -> Any:
    """Average of each 3 x 3 neighbourhood."""
    return layers.AveragePooling2D(3, strides=1, padding="same")(x)


def _network(x: Any, options: Options, _: None) -> Any:
    x = stem(x)
    for i, filters in enumerate((32, 64, 64)):
        branches = [
            chain(x, (64, 1)), chain(x, (48, 1), (64, 5)), chain(x, (64, 1), (96, 3), (96, 3)),
            chain(average(x), (filters, 1)),
        ]  # fmt: skip
        x = building.concatenate(branches, f"mixed{i}")
    branches = [
        chain(x, (384, 3, 2)), chain(x, (64, 1), (96, 3), (96, 3, 2)),
        layers.MaxPooling2D(3, strides=2)(x),
    ]  # fmt: skip
    x = building.concatenate(branches, "mixed3")
    row, column = (1, 7), (7, 1)
    for i, n in enumerate((128, 160, 160, 192), 4):
        branches = [
            chain(x, (192, 1)), chain(x, (n, 1), (n, row), (192, column)),
            chain(x, (n, 1), (n, column), (n, row), (n, column), (192, row)),
            chain(average(x), (192, 1)),
        ]  # fmt: skip
        x = building.concatenate(branches, f"mixed{i}")
    branches = [
        chain(x, (192, 1), (320, 3, 2)),
        chain(x, (192, 1), (192, row), (192, column), (192, 3, 2)),
        layers.MaxPooling2D(3, strides=2)(x),
    ]
    x = building.concatenate(branches, "mixed8")
    for i in range(2):
        single = chain(x, (320, 1))
        wide = chain(x, (384, 1))
        wide = [chain(wide, (384, (1, 3))), chain(wide, (384, (3, 1)))]
        wide = building.concatenate(wide, f"mixed9_{i}")
        deep = chain(x, (448, 1), (384, 3))
        deep = building.concatenate([chain(deep, (384, (1, 3))), chain(deep, (384, (3, 1)))])
        x = building.concatenate([single, wide, deep, chain(average(x), (192, 1))], f"mixed{9 + i}")
    return building.classify(x, options, is_named=False)


InceptionV3 = Family(__doc__, _network, HOST + "inception_v3/" + KERNELS, smallest=75).function(
    "InceptionV3", name="inception_v3", size=299, digests=(
    "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"))  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
