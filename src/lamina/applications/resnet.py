"""ResNet: blocks of three convolutions, whose output is added to their input.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385; version 2, which
normalizes before each convolution: He et al. 2016, "Identity Mappings in Deep Residual Networks",
arXiv:1603.05027. In version 1 the first convolution of a stack has the stride, in version 2 the
3 x 3 convolution of its last block has it.

========== ============================= =============== ===============
Model      Blocks in each of four stacks Parameters (v1) Parameters (v2)
========== ============================= =============== ===============
ResNet50   3, 4, 6, 3                    25.6 M          25.6 M
ResNet101  3, 4, 23, 3                   44.7 M          44.7 M
ResNet152  3, 8, 36, 3                   60.4 M          60.4 M
========== ============================= =============== ===============
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications.building import HOST, KERNELS, Family, Options, classify, normalize
from lamina.applications.imagenet_utils import utilities

_EPSILON = 1.001e-5


def _activate(x: Any, name: str) -> Any:
    """Batch normalization and ReLU."""
    x = normalize(x, f"{name}_bn", epsilon=_EPSILON)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _block_1(x: Any, filters: int, stride: int, is_first: bool, name: str) -> Any:
    """``relu(x + convolutions(x))``; the first block of a stack also convolves ``x``."""
    kept = x
    if is_first:
        kept = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        kept = normalize(kept, f"{name}_0_bn", epsilon=_EPSILON)
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = _activate(x, f"{name}_1")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = _activate(x, f"{name}_2")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = normalize(x, f"{name}_3_bn", epsilon=_EPSILON)
    x = layers.Add(name=f"{name}_add")([kept, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _block_2(x: Any, filters: int, stride: int, is_first: bool, name: str) -> Any:
    """``x + convolutions(relu(normalize(x)))``."""
    activated = _activate(x, f"{name}_preact")
    if is_first:
        kept = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(activated)
    else:
        kept = layers.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(activated)
    x = _activate(x, f"{name}_1")
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = _activate(x, f"{name}_2")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([kept, x])


def _network(x: Any, options: Options, settings: tuple[int, tuple[int, ...]]) -> Any:
    version, counts = settings
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if version == 1:
        x = _activate(x, "conv1")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    # The first stack of version 1 and the last of version 2 keep the size.
    for stack, count in enumerate(counts):
        for i in range(count):
            name, filters = f"conv{stack + 2}_block{i + 1}", 64 << stack
            if version == 1:
                x = _block_1(x, filters, 2 if stack and not i else 1, not i, name)
            else:
                x = _block_2(x, filters, 2 if stack < 3 and i == count - 1 else 1, not i, name)
    return classify(x if version == 1 else _activate(x, "post"), options)


FAMILY = Family(__doc__, _network, HOST + "resnet/" + KERNELS)
ResNet50 = FAMILY.function("ResNet50", (1, (3, 4, 6, 3)), digests=(
    "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"))  # fmt: skip
ResNet101 = FAMILY.function("ResNet101", (1, (3, 4, 23, 3)), digests=(
    "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"))  # fmt: skip
ResNet152 = FAMILY.function("ResNet152", (1, (3, 8, 36, 3)), digests=(
    "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"))  # fmt: skip
preprocess_input, decode_predictions = utilities("caffe")
