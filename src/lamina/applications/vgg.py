"""VGG: stacks of 3x3 convolutions (Simonyan & Zisserman 2014, arXiv:1409.1556).

Both depths come from one table; layer names are those of the published weight files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lamina import layers
from lamina.applications import imagenet_utils
from lamina.errors import ArgumentError
from lamina.models import Model


class _Variant(NamedTuple):
    """Number of convolutions in each block, and the MD5 digests of the published files."""

    convolutions: tuple[int, ...]
    whole: str
    headless: str


_FILTERS = (64, 128, 256, 512, 512)
_VARIANTS = {
    "vgg16": _Variant((2, 2, 3, 3, 3), "64373286793e3c8b2b4e3219cbf3544b",
                      "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": _Variant((2, 2, 4, 4, 4), "cbe5617147190e668d6c5d5026f83318",
                      "253f8cb515780f3b799900260a226db6"),
}  # fmt: skip
_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"


def published(variant: str, include_top: bool) -> tuple[str, str]:
    """URL and MD5 digest of the weights file trained on ImageNet."""
    top, digest = (
        ("", _VARIANTS[variant].whole) if include_top else ("_notop", _VARIANTS[variant].headless)
    )
    return f"{_HOST}/{variant}/{variant}_weights_tf_dim_ordering_tf_kernels{top}.h5", digest


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Preprocess RGB images as in the training of VGG: BGR, minus the mean of ImageNet.

    Args:
        x: Images, ``(batch, height, width, 3)`` or one image, values 0 to 255; a NumPy array, a
            tensor or a symbolic tensor. It is not changed.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
    """
    return imagenet_utils.preprocess_input(x, data_format, "caffe")


def _builder(variant: str) -> Callable[..., Model]:
    def build(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = variant,
    ) -> Model:
        imagenet_utils.check_weights(weights, classes, classifier_activation, include_top)
        if pooling not in (None, "avg", "max"):
            raise ArgumentError(f"`pooling` must be None, 'avg' or 'max'. Received: {pooling!r}.")
        x = start = imagenet_utils.image_input(
            input_tensor, input_shape, 224, 32, include_top, weights == "imagenet"
        )
        blocks = zip(_VARIANTS[variant].convolutions, _FILTERS, strict=True)
        for block, (count, filters) in enumerate(blocks, 1):
            for i in range(1, count + 1):
                x = layers.Conv2D(filters, kernel_size=3, activation="relu", padding="same",
                                  name=f"block{block}_conv{i}")(x)  # fmt: skip
            x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
        if include_top:
            x = layers.Flatten(name="flatten")(x)
            x = layers.Dense(4096, activation="relu", name="fc1")(x)
            x = layers.Dense(4096, activation="relu", name="fc2")(x)
            x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
        elif pooling == "avg":
            x = layers.GlobalAveragePooling2D()(x)
        elif pooling == "max":
            x = layers.GlobalMaxPooling2D()(x)
        model = Model(start, x, name=name)
        imagenet_utils.load_published(model, weights, *published(variant, include_top))
        sources = imagenet_utils.sources_of(start)
        return model if sources is start else Model(sources, x, name=name)

    depth = variant.removeprefix("vgg")
    build.__name__ = build.__qualname__ = variant.upper()
    build.__doc__ = f"""The {depth}-layer VGG network.

    Args:
        include_top: Whether the model has the three dense layers at the end.
        weights: None (random), ``"imagenet"`` (downloaded once, checked by its MD5 digest), or the
            path of a weights file, as published or as written by ``save_weights``.
        input_tensor: Symbolic tensor to use instead of a new ``Input``; the inputs of the model are
            then those from which it is computed.
        input_shape: Shape of one image, at least 32 x 32; 224 x 224 x 3 with the top.
        pooling: Without the top: None for the feature map, ``"avg"`` or ``"max"`` for global
            pooling.
        classes: Number of classes of the top.
        classifier_activation: Activation of the top; None for logits.
        name: Name of the model.

    Returns:
        A functional model. Preprocess images with :func:`preprocess_input`.

    Raises:
        ArgumentError: A wrong shape, pooling, number of classes or file.
        StructureError: A file with other weights, such as those of a model without the top.
        DownloadError: The published file is neither cached nor reachable.

    Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", arXiv:1409.1556.

    >>> build = VGG{depth}
    >>> build(weights=None, include_top=False, input_shape=(32, 32, 3)).output_shape
    (None, 1, 1, 512)
    """
    return build


VGG16 = _builder("vgg16")
VGG19 = _builder("vgg19")
