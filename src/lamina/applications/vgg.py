"""VGG: stacks of 3 x 3 convolutions.

Simonyan & Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv:1409.1556 (table 1).

===== =================================== ==========
Model Convolutions in each of five blocks Parameters
===== =================================== ==========
VGG16 2, 2, 3, 3, 3                       138.4 M
VGG19 2, 2, 4, 4, 4                       143.7 M
===== =================================== ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications.building import HOST, KERNELS, Family, Options, pool_globally
from lamina.applications.imagenet_utils import utilities

_FILTERS = (64, 128, 256, 512, 512)


def _network(x: Any, options: Options, convolutions: tuple[int, ...]) -> Any:
    for block, (count, filters) in enumerate(zip(convolutions, _FILTERS, strict=True), 1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, kernel_size=3, activation="relu", padding="same",
                              name=f"block{block}_conv{i}")(x)  # fmt: skip
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if not options.include_top:
        return pool_globally(x, options.pooling)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(4096, activation="relu", name=name)(x)
    return layers.Dense(options.classes, activation=options.classifier_activation,
                        name="predictions")(x)  # fmt: skip


_FAMILY = Family(__doc__, _network, HOST + "{key}/" + KERNELS)
VGG16 = _FAMILY.function("VGG16", (2, 2, 3, 3, 3), digests=(
    "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"))  # fmt: skip
VGG19 = _FAMILY.function("VGG19", (2, 2, 4, 4, 4), digests=(
    "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"))  # fmt: skip
preprocess_input, decode_predictions = utilities("caffe")
