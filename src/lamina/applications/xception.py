"""Xception: depthwise separable convolutions with residual connections.

Chollet 2016, "Xception: Deep Learning with Depthwise Separable Convolutions", arXiv:1610.02357
(figure 5).

======== ========================================== ==========
Model    Blocks                                     Parameters
======== ========================================== ==========
Xception 14, of which 12 with residual connections  22.9 M
======== ========================================== ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications.building import HOST, KERNELS, Family, Options, classify, normalize
from lamina.applications.imagenet_utils import utilities

# Filters of the separable convolutions of the blocks 2 to 14.
_BLOCKS = (
    (128, 128), (256, 256), (728, 728), *[(728, 728, 728)] * 8, (728, 1024), (1536, 2048),
)  # fmt: skip


def _network(x: Any, options: Options, _: None) -> Any:
    for i, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(x)
        x = layers.Activation("relu", name=f"{name}_act")(normalize(x, f"{name}_bn"))
    for block, widths in enumerate(_BLOCKS, 2):
        is_last, shrinks = block == 14, len(widths) == 2 and block < 14
        kept = x
        if shrinks:
            kept = layers.Conv2D(widths[-1], 1, strides=2, padding="same", use_bias=False)(x)
            kept = normalize(kept)
        for i, filters in enumerate(widths, 1):
            name = f"block{block}_sepconv{i}"
            # The first convolution of block 2 follows a ReLU; block 14 has its own after each.
            if not is_last and (block, i) != (2, 1):
                x = layers.Activation("relu", name=f"{name}_act")(x)
            x = layers.SeparableConv2D(
                filters=filters, kernel_size=3, padding="same", use_bias=False, name=name
            )(x)
            x = normalize(x, f"{name}_bn")
            if is_last:
                x = layers.Activation("relu", name=f"{name}_act")(x)
        if shrinks:
            x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"block{block}_pool")(x)
        if not is_last:
            x = layers.Add()([x, kept])
    return classify(x, options, is_named=False)


Xception = Family(__doc__, _network, HOST + "xception/" + KERNELS, smallest=71).function(
    "Xception", size=299, digests=(
    "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"))  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
