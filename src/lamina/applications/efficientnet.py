"""EfficientNet: one network, whose width, depth and image size grow together.

Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
arXiv:1905.11946 (table 1). The model itself scales pixels from 0 to 255.

============== ===== ===== ========== ======= ==========
Model          Width Depth Image size Dropout Parameters
============== ===== ===== ========== ======= ==========
EfficientNetB0 1.0   1.0   224        0.2     5.3 M
EfficientNetB1 1.0   1.1   240        0.2     7.9 M
EfficientNetB2 1.1   1.2   260        0.3     9.2 M
EfficientNetB3 1.2   1.4   300        0.3     12.3 M
EfficientNetB4 1.4   1.8   380        0.4     19.5 M
EfficientNetB5 1.6   2.2   456        0.4     30.6 M
EfficientNetB6 1.8   2.6   528        0.5     43.3 M
EfficientNetB7 2.0   3.1   600        0.5     66.7 M
============== ===== ===== ========== ======= ==========
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lamina import layers
from lamina.applications import building
from lamina.applications.building import Family, Options
from lamina.applications.imagenet_utils import IMAGENET, utilities
from lamina.initializers import VarianceScaling

_DROPPED = 0.2  # of the last residual block; it grows linearly from 0


class Stage(NamedTuple):
    """Blocks of equal width: what they are, before scaling; the first one has the stride."""

    repeats: int
    filters: int
    expansion: int
    stride: int
    kernel_size: int = 3
    has_gate: bool = True
    is_fused: bool = False


class Scale(NamedTuple):
    """A variant: its stages and their scaling."""

    stages: tuple[Stage, ...]
    stem: int = 32
    width: float = 1.0
    depth: float = 1.0
    dropout: float = 0.2


class Style(NamedTuple):
    """What differs between the two versions of the architecture."""

    momentum: float
    pads: bool  # explicit padding of strided convolutions, and widths of at least 90 % of the exact
    depthwise: str


_STYLE = Style(0.99, True, "dwconv")
_STAGES = (
    Stage(1, 16, 1, 1), Stage(2, 24, 6, 2), Stage(2, 40, 6, 2, 5), Stage(3, 80, 6, 2),
    Stage(3, 112, 6, 1, 5), Stage(4, 192, 6, 2, 5), Stage(1, 320, 6, 1),
)  # fmt: skip


def _kernel() -> VarianceScaling:
    return VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _convolve(x: Any, filters: int, name: str, size: int = 1, stride: int = 1,
              padding: str = "same", **options: Any) -> Any:  # fmt: skip
    options = {"use_bias": False, **options}
    return layers.Conv2D(filters, size, strides=stride, padding=padding, name=name,
                         kernel_initializer=_kernel(), **options)(x)  # fmt: skip


def _normalize(x: Any, style: Style, name: str, activation: str | None = None) -> Any:
    x = building.normalize(x, name, momentum=style.momentum)
    return x if activation is None else layers.Activation("swish", name=activation)(x)


def _gate(x: Any, squeezed: int, prefix: str) -> Any:
    """Squeeze and excite: scale each channel by a function of the averages of all channels."""
    channels = building.channels_of(x)
    shape = (1, 1, channels) if building.channel_axis() == -1 else (channels, 1, 1)
    factors = layers.GlobalAveragePooling2D(name=f"{prefix}se_squeeze")(x)
    factors = layers.Reshape(shape, name=f"{prefix}se_reshape")(factors)
    factors = _convolve(factors, squeezed, f"{prefix}se_reduce", activation="swish", use_bias=True)
    factors = _convolve(factors, channels, f"{prefix}se_expand", activation="sigmoid",
                        use_bias=True)  # fmt: skip
    return layers.Multiply(name=f"{prefix}se_excite")([x, factors])


def _block(x: Any, stage: Stage, filters: int, stride: int, dropped: float, style: Style,
           prefix: str) -> Any:  # fmt: skip
    """``x + dropout(project(gate(depthwise(expand(x)))))``; fused: expand and depthwise in one."""
    kept, channels = x, building.channels_of(x)
    size = stage.kernel_size
    if stage.expansion != 1:
        of_window = (size, stride) if stage.is_fused else (1, 1)
        x = _convolve(x, stage.expansion * channels, f"{prefix}expand_conv", *of_window)
        x = _normalize(x, style, f"{prefix}expand_bn", f"{prefix}expand_activation")
    if not stage.is_fused:
        padding = "same"
        if stride == 2 and style.pads:
            x, padding = building.pad_before_stride(x, size, f"{prefix}dwconv_pad"), "valid"
        x = layers.DepthwiseConv2D(
            kernel_size=size, strides=stride, padding=padding, use_bias=False,
            name=prefix + style.depthwise, depthwise_initializer=_kernel(),
        )(x)  # fmt: skip
        x = _normalize(x, style, f"{prefix}bn", f"{prefix}activation")
    if stage.has_gate:
        x = _gate(x, max(1, channels // 4), prefix)
    is_single = stage.is_fused and stage.expansion == 1
    x = _convolve(x, filters, f"{prefix}project_conv", *((size, stride) if is_single else (1, 1)))
    x = _normalize(x, style, f"{prefix}project_bn",
                   f"{prefix}project_activation" if is_single else None)  # fmt: skip
    if stride == 1 and channels == filters:
        if dropped:
            x = layers.Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{prefix}drop")(x)
        x = layers.Add(name=f"{prefix}add")([x, kept])
    return x


def scaled_network(x: Any, options: Options, scale: Scale, style: Style) -> Any:
    """The layers of both versions after the scaling of pixels."""

    def widened(filters: int) -> int:
        width = filters * scale.width
        return building.divisible(width) if style.pads else max(8, int(width + 4) // 8 * 8)

    padding = "same"
    if style.pads:
        x, padding = building.pad_before_stride(x, 3, "stem_conv_pad"), "valid"
    x = _convolve(x, widened(scale.stem), "stem_conv", 3, 2, padding)
    x = _normalize(x, style, "stem_bn", "stem_activation")
    counts = [math.ceil(scale.depth * stage.repeats) for stage in scale.stages]
    # The second version counts the blocks before the scaling of depth.
    blocks = sum(counts) if style.pads else sum(stage.repeats for stage in scale.stages)
    index = 0
    for i, (stage, count) in enumerate(zip(scale.stages, counts, strict=True), 1):
        for j in range(count):
            x = _block(x, stage, widened(stage.filters), 1 if j else stage.stride,
                       _DROPPED * index / blocks, style, f"block{i}{chr(97 + j)}_")  # fmt: skip
            index += 1
    x = _convolve(x, widened(1280), "top_conv")
    x = _normalize(x, style, "top_bn", "top_activation")
    kernel = VarianceScaling(1 / 3, mode="fan_out", distribution="uniform")
    return building.classify(x, options, dropout=scale.dropout, kernel_initializer=kernel)


def _network(x: Any, options: Options, scale: Scale) -> Any:
    x = layers.Rescaling(1 / 255)(x)
    normalization = layers.Normalization(axis=building.channel_axis())
    x = normalization(x)
    normalization.count.assign(1)  # without weights from a file it keeps its input, as is meant
    if options.weights == "imagenet":
        # The published statistics are variances where the layer expects standard deviations.
        x = layers.Rescaling([1 / math.sqrt(d) for d in IMAGENET.deviations])(x)
    return scaled_network(x, options, scale, _STYLE)


_FAMILY = Family(
    __doc__, _network, "https://storage.googleapis.com/keras-applications/{key}{top}.h5"
)
EfficientNetB0 = _FAMILY.function("EfficientNetB0", Scale(_STAGES), digests=(
    "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"))  # fmt: skip
EfficientNetB1 = _FAMILY.function("EfficientNetB1", Scale(_STAGES, depth=1.1), size=240, digests=(
    "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"))  # fmt: skip
EfficientNetB2 = _FAMILY.function(
    "EfficientNetB2", Scale(_STAGES, width=1.1, depth=1.2, dropout=0.3), size=260, digests=(
    "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"))  # fmt: skip
EfficientNetB3 = _FAMILY.function(
    "EfficientNetB3", Scale(_STAGES, width=1.2, depth=1.4, dropout=0.3), size=300, digests=(
    "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"))  # fmt: skip
EfficientNetB4 = _FAMILY.function(
    "EfficientNetB4", Scale(_STAGES, width=1.4, depth=1.8, dropout=0.4), size=380, digests=(
    "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"))  # fmt: skip
EfficientNetB5 = _FAMILY.function(
    "EfficientNetB5", Scale(_STAGES, width=1.6, depth=2.2, dropout=0.4), size=456, digests=(
    "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"))  # fmt: skip
EfficientNetB6 = _FAMILY.function(
    "EfficientNetB6", Scale(_STAGES, width=1.8, depth=2.6, dropout=0.5), size=528, digests=(
    "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"))  # fmt: skip
EfficientNetB7 = _FAMILY.function(
    "EfficientNetB7", Scale(_STAGES, width=2.0, depth=3.1, dropout=0.5), size=600, digests=(
    "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"))  # fmt: skip
preprocess_input, decode_predictions = utilities(None)
