"""MobileNetV2: narrow feature maps, which each block expands, convolves by depth, and projects.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381
(table 2).

=========== ============================================================================ ==========
Model       Published weights                                                            Parameters
=========== ============================================================================ ==========
MobileNetV2 ``alpha`` 0.35, 0.5, 0.75, 1, 1.3, 1.4; images of 96, 128, 160, 192, 224 px  3.5 M
=========== ============================================================================ ==========

Their digests are not published. Without the top, images of any size take the weights for 224 px.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import layers
from lamina.applications import building
from lamina.applications.building import HOST, Family, Options
from lamina.applications.imagenet_utils import utilities
from lamina.errors import ArgumentError

_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
# Of each stack: output channels, number of blocks, stride of the first.
_STACKS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def normalize(x: Any, name: str) -> Any:
    """Batch normalization as the published weights need it."""
    return building.normalize(x, name, epsilon=1e-3, momentum=0.999)


def _relu(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=name)(x)


def inverted_residual(
    x: Any, filters: int, stride: int, prefix: str, expansion: float | None, *,
    kernel_size: int = 3, activate: Callable[[Any, str], Any] = _relu,
    gate: Callable[[Any, str], Any] | None = None, bn: str = "BN", pad: str = "pad",
) -> Any:  # fmt: skip
    """``x + project(gate(depthwise(expand(x))))``, the sum only where the shape is kept.

    Args:
        x: A feature map.
        filters: Output channels.
        stride: Stride of the depthwise convolution.
        prefix: Prefix of the names of the layers.
        expansion: Factor of the channels between; None for no expansion.
        kernel_size: Size of the depthwise convolution.
        activate: Activation, of a tensor and a name.
        gate: What scales the channels before the projection, of a tensor and the prefix.
        bn: How the names of normalization layers end.
        pad: How the name of the padding ends.
    """
    kept, channels = x, building.channels_of(x)
    if expansion is not None:
        x = layers.Conv2D(building.divisible(channels * expansion), 1, padding="same",
                          use_bias=False, name=f"{prefix}expand")(x)  # fmt: skip
        x = activate(normalize(x, f"{prefix}expand_{bn}"), f"{prefix}expand_relu")
    if stride == 2:
        x = building.pad_before_stride(x, kernel_size, prefix + pad)
    x = layers.DepthwiseConv2D(
        kernel_size=kernel_size, strides=stride, padding="same" if stride == 1 else "valid",
        use_bias=False, name=f"{prefix}depthwise",
    )(x)  # fmt: skip
    x = activate(normalize(x, f"{prefix}depthwise_{bn}"), f"{prefix}depthwise_relu")
    x = x if gate is None else gate(x, prefix)
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = normalize(x, f"{prefix}project_{bn}")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([kept, x])
    return x


def _network(x: Any, options: Options, _: None) -> Any:
    alpha = options.alpha
    x = layers.Conv2D(building.divisible(32 * alpha), 3, strides=2, padding="same", use_bias=False,
                      name="Conv1")(x)  # fmt: skip
    x = _relu(normalize(x, "bn_Conv1"), "Conv1_relu")
    index = 0
    for filters, count, stride in _STACKS:
        for i in range(count):
            prefix = f"block_{index}_" if index else "expanded_conv_"
            x = inverted_residual(x, building.divisible(int(filters * alpha)), 1 if i else stride,
                                  prefix, 6 if index else None)  # fmt: skip
            index += 1
    features = building.divisible(1280 * max(alpha, 1.0))
    x = layers.Conv2D(features, 1, use_bias=False, name="Conv_1")(x)
    x = _relu(normalize(x, "Conv_1_bn"), "out_relu")
    return building.classify(x, options, top=None, is_named=False)


def _published(options: Options, _: None, size: int) -> tuple[str, None]:
    if options.alpha not in _ALPHAS:
        raise ArgumentError(
            f"ImageNet weights are published for alpha in {list(_ALPHAS)}. "
            f"Received: alpha={options.alpha}. Use weights=None."
        )
    return f"{float(options.alpha)}_{size}", None


MobileNetV2 = Family(
    __doc__, _network,
    HOST + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{key}{top}.h5", "_no_top",
    "input_shape alpha include_top weights input_tensor pooling classes classifier_activation name",
    sizes=(96, 128, 160, 192, 224), published=_published,
    model_name=lambda options, size: f"mobilenetv2_{options.alpha:.2f}_{size}",
).function("MobileNetV2")  # fmt: skip
preprocess_input, decode_predictions = utilities("tf")
