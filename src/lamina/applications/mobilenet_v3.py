"""MobileNetV3: blocks of MobileNetV2, found by search, with squeeze-and-excite and hard swish.

Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244 (tables 1 and 2).

================ ========================================================== ==========
Model            Published weights                                          Parameters
================ ========================================================== ==========
MobileNetV3Small ``alpha`` 0.75 and 1; ``minimalistic`` with ``alpha`` 1    2.6 M
MobileNetV3Large ``alpha`` 0.75 and 1; ``minimalistic`` with ``alpha`` 1    5.5 M
================ ========================================================== ==========
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lamina import layers
from lamina.applications import building
from lamina.applications.building import HOST, Family, Options
from lamina.applications.imagenet_utils import utilities
from lamina.applications.mobilenet_v2 import inverted_residual, normalize
from lamina.errors import ArgumentError


class _Block(NamedTuple):
    """Factor of the expansion, output channels, and what differs between blocks."""

    expansion: float
    filters: int
    kernel_size: int
    stride: int
    has_gate: bool
    is_swish: bool


def _blocks(*rows: tuple[float, int, int, int, int, int]) -> tuple[_Block, ...]:
    return tuple(_Block(e, f, k, s, bool(g), bool(h)) for e, f, k, s, g, h in rows)


# Published digests: by the name of the variant in the names of the files.
_DIGESTS = {
    "large_224_0.75": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    "large_224_1.0": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    "large_minimalistic_224_1.0": (
        "675e7b876c45c57e9e63e6d90a36599c", "ec5221f64a2f6d1ef965a614bdae7973",
    ),
    "small_224_0.75": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    "small_224_1.0": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "small_minimalistic_224_1.0": (
        "99cd97fb2fcdad2bf028eb838de69e37", "cde8136e733e811080d9fcd8a252f7e4",
    ),
}  # fmt: skip

_SMALL = _blocks(
    (1, 16, 3, 2, 1, 0), (72 / 16, 24, 3, 2, 0, 0), (88 / 24, 24, 3, 1, 0, 0), (4, 40, 5, 2, 1, 1),
    (6, 40, 5, 1, 1, 1), (6, 40, 5, 1, 1, 1), (3, 48, 5, 1, 1, 1), (3, 48, 5, 1, 1, 1),
    (6, 96, 5, 2, 1, 1), (6, 96, 5, 1, 1, 1), (6, 96, 5, 1, 1, 1),
)  # fmt: skip
_LARGE = _blocks(
    (1, 16, 3, 1, 0, 0), (4, 24, 3, 2, 0, 0), (3, 24, 3, 1, 0, 0), (3, 40, 5, 2, 1, 0),
    (3, 40, 5, 1, 1, 0), (3, 40, 5, 1, 1, 0), (6, 80, 3, 2, 0, 1), (2.5, 80, 3, 1, 0, 1),
    (2.3, 80, 3, 1, 0, 1), (2.3, 80, 3, 1, 0, 1), (6, 112, 3, 1, 1, 1), (6, 112, 3, 1, 1, 1),
    (6, 160, 5, 2, 1, 1), (6, 160, 5, 1, 1, 1), (6, 160, 5, 1, 1, 1),
)  # fmt: skip


class _Settings(NamedTuple):
    """Name in the published files, blocks, and features before the classifier."""

    key: str
    blocks: tuple[_Block, ...]
    features: int


def _swish(x: Any, _: str = "") -> Any:
    return layers.Activation("hard_swish")(x)


def _relu(x: Any, _: str = "") -> Any:
    return layers.ReLU()(x)


def _gate(x: Any, prefix: str) -> Any:
    """Squeeze and excite: scale each channel by a function of the averages of all channels."""
    channels = building.channels_of(x)
    name = f"{prefix}squeeze_excite"
    factors = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    squeezed = building.divisible(channels / 4)
    factors = layers.Conv2D(squeezed, 1, padding="same", name=f"{name}_conv")(factors)
    factors = layers.ReLU(name=f"{name}_relu")(factors)
    factors = layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv_1")(factors)
    factors = layers.ReLU(6.0)(factors + 3.0) * (1.0 / 6.0)
    return layers.Multiply(name=f"{name}_mul")([x, factors])


def _network(x: Any, options: Options, settings: _Settings) -> Any:
    activate = _relu if options.minimalistic else _swish
    if options.include_preprocessing:
        x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = activate(normalize(x, "conv_bn"))
    for index, block in enumerate(settings.blocks):
        if options.minimalistic:
            block = block._replace(kernel_size=3, has_gate=False, is_swish=False)
        x = inverted_residual(
            x, building.divisible(block.filters * options.alpha), block.stride,
            f"expanded_conv_{index}_" if index else "expanded_conv_",
            block.expansion if index else None, kernel_size=block.kernel_size,
            activate=_swish if block.is_swish else _relu, gate=_gate if block.has_gate else None,
            bn="bn", pad="depthwise_pad",
        )  # fmt: skip
    features = building.divisible(building.channels_of(x) * 6)
    x = layers.Conv2D(features, 1, padding="same", use_bias=False, name="conv_1")(x)
    x = activate(normalize(x, "conv_1_bn"))
    if not options.include_top:
        return building.pool_globally(x, options.pooling, is_named=True)
    features = building.divisible(settings.features * max(options.alpha, 1.0))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Conv2D(features, 1, padding="same", name="conv_2")(x)
    x = activate(x)
    if options.dropout_rate > 0:
        x = layers.Dropout(options.dropout_rate)(x)
    x = layers.Conv2D(options.classes, 1, padding="same", name="logits")(x)
    x = layers.Flatten()(x)
    return layers.Activation(options.classifier_activation, name="predictions")(x)


def _published(options: Options, settings: _Settings, _: int) -> tuple[str, tuple[str, str]]:
    kind = f"{settings.key}_minimalistic" if options.minimalistic else settings.key
    key = f"{kind}_224_{float(options.alpha)}"
    if key not in _DIGESTS:
        raise ArgumentError(
            "ImageNet weights are published for alpha 0.75 and 1.0, with minimalistic=True for 1.0 "
            f"only. Received: alpha={options.alpha}, minimalistic={options.minimalistic}. "
            "Use weights=None."
        )
    return key, _DIGESTS[key]


_FAMILY = Family(
    __doc__, _network, HOST + "mobilenet_v3/weights_mobilenet_v3_{key}_float{top}.h5",
    "_no_top_v2",
    "input_shape alpha minimalistic include_top weights input_tensor classes pooling dropout_rate "
    "classifier_activation include_preprocessing name",
    needs_size=False, published=_published,
)  # fmt: skip
MobileNetV3Small = _FAMILY.function(
    "MobileNetV3Small", _Settings("small", _SMALL, 1024), name="MobileNetV3Small")  # fmt: skip
MobileNetV3Large = _FAMILY.function(
    "MobileNetV3Large", _Settings("large", _LARGE, 1280), name="MobileNetV3Large")  # fmt: skip
preprocess_input, decode_predictions = utilities(None)
