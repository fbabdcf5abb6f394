"""DenseNet: each block's output is joined to its input, so that all later blocks see it.

Huang et al. 2016, "Densely Connected Convolutional Networks", arXiv:1608.06993 (table 1; growth
rate 32, compression 0.5).

=========== ============================= ==========
Model       Blocks in each of four stacks Parameters
=========== ============================= ==========
DenseNet121 6, 12, 24, 16                 8.1 M
DenseNet169 6, 12, 32, 32                 14.3 M
DenseNet201 6, 12, 48, 32                 20.2 M
=========== ============================= ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications import building
from lamina.applications.building import HOST, KERNELS, Family, Options
from lamina.applications.imagenet_utils import utilities

_GROWTH = 32


def _activate(x: Any, bn: str, relu: str) -> Any:
    """Batch normalization and ReLU."""
    return layers.Activation("relu", name=relu)(building.normalize(x, bn, epsilon=1.001e-5))


def _convolve(x: Any, filters: int, name: str, size: int = 1) -> Any:
    return layers.Conv2D(filters, size, padding="same", use_bias=False, name=f"{name}_conv")(x)


def _network(x: Any, options: Options, counts: tuple[int, ...]) -> Any:
    x = layers.ZeroPadding2D(3)(x)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _activate(x, "conv1_bn", "conv1_relu")
    x = layers.ZeroPadding2D(1)(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stack, count in enumerate(counts, 2):
        for block in range(1, count + 1):
            name = f"conv{stack}_block{block}"
            new = _activate(x, f"{name}_0_bn", f"{name}_0_relu")
            new = _convolve(new, 4 * _GROWTH, f"{name}_1")
            new = _activate(new, f"{name}_1_bn", f"{name}_1_relu")
            new = _convolve(new, _GROWTH, f"{name}_2", 3)
            x = building.concatenate([x, new], f"{name}_concat")
        if stack < len(counts) + 1:
            x = _activate(x, f"pool{stack}_bn", f"pool{stack}_relu")
            x = _convolve(x, building.channels_of(x) // 2, f"pool{stack}")
            x = layers.AveragePooling2D(2, strides=2, name=f"pool{stack}_pool")(x)
    return building.classify(_activate(x, "bn", "relu"), options)


_FAMILY = Family(__doc__, _network, HOST + "densenet/" + KERNELS)
DenseNet121 = _FAMILY.function("DenseNet121", (6, 12, 24, 16), digests=(
    "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"))  # fmt: skip
DenseNet169 = _FAMILY.function("DenseNet169", (6, 12, 32, 32), digests=(
    "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"))  # fmt: skip
DenseNet201 = _FAMILY.function("DenseNet201", (6, 12, 48, 32), digests=(
    "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"))  # fmt: skip
preprocess_input, decode_predictions = utilities("torch")
