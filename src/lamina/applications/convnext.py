"""ConvNeXt: a convolutional network with the proportions of a vision transformer.

Liu et al. 2022, "A ConvNet for the 2020s", arXiv:2201.03545 (section 3).

============== ============================= =================== ==========
Model          Blocks in each of four stages Channels            Parameters
============== ============================= =================== ==========
ConvNeXtTiny   3, 3, 9, 3                    96, 192, 384, 768   28.6 M
ConvNeXtSmall  3, 3, 27, 3                   96, 192, 384, 768   50.2 M
ConvNeXtBase   3, 3, 27, 3                   128, 256, 512, 1024 88.6 M
ConvNeXtLarge  3, 3, 27, 3                   192, 384, 768, 1536 197.8 M
ConvNeXtXLarge 3, 3, 27, 3                   256, 512, 1024, 2048 350.2 M
============== ============================= =================== ==========
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lamina import layers, settings
from lamina.applications.building import HOST, Family, Options, channels_of, pool_globally
from lamina.applications.imagenet_utils import IMAGENET, utilities
from lamina.errors import ArgumentError
from lamina.layers.scaling import LayerScale
from lamina.models import Sequential


class _Settings(NamedTuple):
    """Blocks of each stage, and channels of the first."""

    depths: tuple[int, ...]
    channels: int


def _normalize(x: Any, name: str | None = None) -> Any:
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _block(x: Any, name: str) -> Any:
    kept, channels = x, channels_of(x)
    x = layers.Conv2D(channels, 7, padding="same", groups=channels,
                      name=f"{name}_depthwise_conv")(x)  # fmt: skip
    x = _normalize(x, f"{name}_layernorm")
    x = layers.Dense(4 * channels, name=f"{name}_pointwise_conv_1")(x)
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = layers.Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(1e-6, channels, name=f"{name}_layer_scale")(x)
    return kept + layers.Activation("linear", name=f"{name}_identity")(x)


def _network(x: Any, options: Options, variant: _Settings) -> Any:
    if settings.image_data_format() != "channels_last":
        raise ArgumentError(
            "ConvNeXt needs the layout 'channels_last', because it normalizes and multiplies along "
            "the last axis. Call keras.config.set_image_data_format('channels_last')."
        )
    name = options.name
    if options.include_preprocessing and channels_of(x) == 3:
        x = layers.Normalization(
            mean=[255 * m for m in IMAGENET.means],
            variance=[(255 * d) ** 2 for d in IMAGENET.deviations],
            name=f"{name}_prestem_normalization",
        )(x)
    for stage, depth in enumerate(variant.depths):
        channels = variant.channels << stage
        if stage:
            # Normalized before, not after; the published files count from 0.
            kind, i = "downsampling", f"_{stage - 1}"
            shrink = [
                layers.LayerNormalization(epsilon=1e-6, name=f"{name}_{kind}_layernorm{i}"),
                layers.Conv2D(channels, 2, strides=2, name=f"{name}_{kind}_conv{i}"),
            ]
            whole = f"{name}_downsampling_block{i}"
        else:
            shrink = [
                layers.Conv2D(channels, 4, strides=4, name=f"{name}_stem_conv"),
                layers.LayerNormalization(epsilon=1e-6, name=f"{name}_stem_layernorm"),
            ]
            whole = f"{name}_stem"
        x = Sequential(shrink, name=whole)(x)
        for block in range(depth):
            x = _block(x, f"{name}_stage_{stage}_block_{block}")
    if options.include_top:
        x = layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
        x = _normalize(x, f"{name}_head_layernorm")
        return layers.Dense(options.classes, activation=options.classifier_activation,
                            name=f"{name}_head_dense")(x)  # fmt: skip
    return _normalize(pool_globally(x, options.pooling))


_FAMILY = Family(
    __doc__, _network, HOST + "convnext/{key}{top}.h5",
    parameters="include_top include_preprocessing weights input_tensor input_shape pooling classes "
    "classifier_activation name",
)  # fmt: skip
ConvNeXtTiny = _FAMILY.function(
    "ConvNeXtTiny", _Settings((3, 3, 9, 3), 96), name="convnext_tiny", digests=(
    "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
    "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"))  # fmt: skip
ConvNeXtSmall = _FAMILY.function(
    "ConvNeXtSmall", _Settings((3, 3, 27, 3), 96), name="convnext_small", digests=(
    "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
    "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"))  # fmt: skip
ConvNeXtBase = _FAMILY.function(
    "ConvNeXtBase", _Settings((3, 3, 27, 3), 128), name="convnext_base", digests=(
    "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
    "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"))  # fmt: skip
ConvNeXtLarge = _FAMILY.function(
    "ConvNeXtLarge", _Settings((3, 3, 27, 3), 192), name="convnext_large", digests=(
    "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
    "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"))  # fmt: skip
ConvNeXtXLarge = _FAMILY.function(
    "ConvNeXtXLarge", _Settings((3, 3, 27, 3), 256), name="convnext_xlarge", digests=(
    "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
    "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"))  # fmt: skip
preprocess_input, decode_predictions = utilities(None)
