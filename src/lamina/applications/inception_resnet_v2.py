"""InceptionResNetV2: Inception modules, whose output is scaled and added to their input.

Szegedy et al. 2016, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", arXiv:1602.07261.

================= ================================= ==========
Model             Residual modules                  Parameters
================= ================================= ==========
InceptionResNetV2 10, 20 and 10, on 35, 17 and 8 px 55.9 M
================= ================================= ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications import building
from lamina.applications.building import HOST, KERNELS, Family, Options
from lamina.applications.imagenet_utils import utilities
from lamina.applications.inception_v3 import average, chain, stem
from lamina.layers.scaling import CustomScaleLayer

# Of each kind of module: its branches, the factor of its output, the number of modules.
_MODULES = {
    "block35": ([[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]], 0.17, 10),
    "block17": ([[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]], 0.1, 20),
    "block8": ([[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]], 0.2, 10),
}
# Of the module that halves the size after a kind: its branches, beside max pooling.
_REDUCTIONS = {
    "block35": ([[(384, 3, 2)], [(256, 1), (256, 3), (384, 3, 2)]], "mixed_6a"),
    "block17": ([[(256, 1), (384, 3, 2)], [(256, 1), (288, 3, 2)],
                 [(256, 1), (288, 3), (320, 3, 2)]], "mixed_7a"),
}  # fmt: skip


def _network(x: Any, options: Options, _: None) -> Any:
    x = stem(x)
    branches = [
        chain(x, (96, 1)), chain(x, (48, 1), (64, 5)), chain(x, (64, 1), (96, 3), (96, 3)),
        chain(average(x), (64, 1)),
    ]  # fmt: skip
    x = building.concatenate(branches, "mixed_5b")
    for kind, (convolutions, factor, count) in _MODULES.items():
        for i in range(1, count + 1):
            name, is_last = f"{kind}_{i}", kind == "block8" and i == count
            mixed = building.concatenate([chain(x, *c) for c in convolutions], f"{name}_mixed")
            channels = building.channels_of(x)
            residual = layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv")(mixed)
            x = CustomScaleLayer(1.0 if is_last else factor)([x, residual])
            if not is_last:
                x = layers.Activation("relu", name=f"{name}_ac")(x)
        if kind in _REDUCTIONS:
            convolutions, name = _REDUCTIONS[kind]
            branches = [chain(x, *c) for c in convolutions]
            x = building.concatenate([*branches, layers.MaxPooling2D(3, strides=2)(x)], name)
    x = layers.Conv2D(1536, 1, padding="same", use_bias=False, name="conv_7b")(x)
    x = building.normalize(x, "conv_7b_bn", scale=False)
    x = layers.Activation("relu", name="conv_7b_ac")(x)
    return building.classify(x, options, is_named=False)


_FAMILY = Family(__doc__, _network, HOST + "inception_resnet_v2/" + KERNELS, smallest=75)
InceptionResNetV2 = _FAMILY.function(
    "InceptionResNetV2", name="inception_resnet_v2", size=299, digests=(
    "e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"))  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
