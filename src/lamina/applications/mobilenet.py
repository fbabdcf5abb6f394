"""MobileNet: depthwise 3 x 3 convolutions, each followed by a 1 x 1 convolution.

Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", arXiv:1704.04861 (table 1).

========= =============================================================== ==========
Model     Published weights                                               Parameters
========= =============================================================== ==========
MobileNet ``alpha`` 0.25, 0.5, 0.75, 1; images of 128, 160, 192 or 224 px 4.3 M
========= =============================================================== ==========

Their digests are not published. Without the top, images of any size take the weights for 224 px.
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications.building import HOST, Family, Options, normalize, pool_globally
from lamina.applications.imagenet_utils import utilities
from lamina.errors import ArgumentError

_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
# Of each pair of convolutions: output channels and stride.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
    (1024, 1),
)  # fmt: skip


def _activate(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=f"{name}_relu")(normalize(x, f"{name}_bn"))


def _network(x: Any, options: Options, _: None) -> Any:
    x = layers.Conv2D(int(32 * options.alpha), 3, strides=2, padding="same", use_bias=False,
                      name="conv1")(x)  # fmt: skip
    x = _activate(x, "conv1")
    for i, (filters, stride) in enumerate(_BLOCKS, 1):
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = layers.DepthwiseConv2D(
            kernel_size=3, strides=stride, padding="same" if stride == 1 else "valid",
            use_bias=False, depth_multiplier=options.depth_multiplier, name=f"conv_dw_{i}",
        )(x)  # fmt: skip
        x = _activate(x, f"conv_dw_{i}")
        x = layers.Conv2D(int(filters * options.alpha), 1, padding="same", use_bias=False,
                          name=f"conv_pw_{i}")(x)  # fmt: skip
        x = _activate(x, f"conv_pw_{i}")
    if not options.include_top:
        return pool_globally(x, options.pooling)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Dropout(options.dropout, name="dropout")(x)
    x = layers.Conv2D(options.classes, 1, padding="same", name="conv_preds")(x)
    x = layers.Reshape((options.classes,), name="reshape_2")(x)
    return layers.Activation(options.classifier_activation, name="predictions")(x)


def _published(options: Options, _: None, size: int) -> tuple[str, None]:
    if options.alpha not in _ALPHAS or options.depth_multiplier != 1:
        raise ArgumentError(
            f"ImageNet weights are published for alpha in {list(_ALPHAS)} and depth_multiplier=1. "
            f"Received: alpha={options.alpha}, depth_multiplier={options.depth_multiplier}. "
            "Use weights=None."
        )
    return f"{_ALPHAS[options.alpha]}_{size}", None


MobileNet = Family(
    __doc__, _network, HOST + "mobilenet/mobilenet_{key}_tf{top}.h5", "_no_top",
    "input_shape alpha depth_multiplier dropout include_top weights input_tensor pooling classes "
    "classifier_activation name",
    sizes=(128, 160, 192, 224), published=_published,
    model_name=lambda options, size: f"mobilenet_{options.alpha:.2f}_{size}",
).function("MobileNet")  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
