"""EfficientNetV2: EfficientNet, whose first stages have full instead of depthwise convolutions.

Tan & Le 2021, "EfficientNetV2: Smaller Models and Faster Training", arXiv:2104.00298 (table 4).

================ ============ ========== ==========
Model            Width, depth Image size Parameters
================ ============ ========== ==========
EfficientNetV2B0 1.0, 1.0     224        7.2 M
EfficientNetV2B1 1.0, 1.1     240        8.2 M
EfficientNetV2B2 1.1, 1.2     260        10.2 M
EfficientNetV2B3 1.2, 1.4     300        14.5 M
EfficientNetV2S  stages of S  384        21.6 M
EfficientNetV2M  stages of M  480        54.4 M
EfficientNetV2L  stages of L  480        119.0 M
================ ============ ========== ==========
"""

from __future__ import annotations

from typing import Any

from lamina import layers
from lamina.applications.building import HOST, Family, Options, channel_axis
from lamina.applications.efficientnet import Scale, Stage, Style, scaled_network
from lamina.applications.imagenet_utils import IMAGENET, utilities

_STYLE = Style(0.9, False, "dwconv2")


def _stages(*rows: tuple[int, int, int, int], fused: int = 3) -> tuple[Stage, ...]:
    """Stages of (repeats, filters, expansion, stride); the first ones are fused, without gate."""
    return tuple(Stage(*row, has_gate=i >= fused, is_fused=i < fused) for i, row in enumerate(rows))


_B = _stages((1, 16, 1, 1), (2, 32, 4, 2), (2, 48, 4, 2), (3, 96, 4, 2), (5, 112, 6, 1),
             (8, 192, 6, 2))  # fmt: skip
_S = _stages((2, 24, 1, 1), (4, 48, 4, 2), (4, 64, 4, 2), (6, 128, 4, 2), (9, 160, 6, 1),
             (15, 256, 6, 2))  # fmt: skip
_M = _stages((3, 24, 1, 1), (5, 48, 4, 2), (5, 80, 4, 2), (7, 160, 4, 2), (14, 176, 6, 1),
             (18, 304, 6, 2), (5, 512, 6, 1))  # fmt: skip
_L = _stages((4, 32, 1, 1), (7, 64, 4, 2), (7, 96, 4, 2), (10, 192, 4, 2), (19, 224, 6, 1),
             (25, 384, 6, 2), (7, 640, 6, 1))  # fmt: skip


def _network(x: Any, options: Options, scale: Scale) -> Any:
    if options.include_preprocessing and scale.stages is _B:
        x = layers.Rescaling(1 / 255)(x)
        x = layers.Normalization(axis=channel_axis(), mean=list(IMAGENET.means),
                                 variance=[d * d for d in IMAGENET.deviations])(x)  # fmt: skip
    elif options.include_preprocessing:
        x = layers.Rescaling(1 / 128, offset=-1.0)(x)
    return scaled_network(x, options, scale, _STYLE)


_FAMILY = Family(
    __doc__, _network, HOST + "efficientnet_v2/{key}{top}.h5",
    parameters="include_top weights input_tensor input_shape pooling classes "
    "classifier_activation include_preprocessing name",
)  # fmt: skip
EfficientNetV2B0 = _FAMILY.function(
    "EfficientNetV2B0", Scale(_B), name="efficientnetv2-b0", digests=(
    "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"))  # fmt: skip
EfficientNetV2B1 = _FAMILY.function(
    "EfficientNetV2B1", Scale(_B, depth=1.1), name="efficientnetv2-b1", size=240, digests=(
    "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"))  # fmt: skip
EfficientNetV2B2 = _FAMILY.function(
    "EfficientNetV2B2", Scale(_B, width=1.1, depth=1.2), name="efficientnetv2-b2", size=260,
    digests=("424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"))  # fmt: skip
EfficientNetV2B3 = _FAMILY.function(
    "EfficientNetV2B3", Scale(_B, width=1.2, depth=1.4), name="efficientnetv2-b3", size=300,
    digests=("1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"))  # fmt: skip
EfficientNetV2S = _FAMILY.function(
    "EfficientNetV2S", Scale(_S, stem=24), name="efficientnetv2-s", size=384, digests=(
    "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"))  # fmt: skip
EfficientNetV2M = _FAMILY.function(
    "EfficientNetV2M", Scale(_M, stem=24), name="efficientnetv2-m", size=480, digests=(
    "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"))  # fmt: skip
EfficientNetV2L = _FAMILY.function(
    "EfficientNetV2L", Scale(_L), name="efficientnetv2-l", size=480, digests=(
    "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"))  # fmt: skip
preprocess_input, decode_predictions = utilities(None)
