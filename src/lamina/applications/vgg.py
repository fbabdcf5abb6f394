"""VGG: stacks of 3x3 convolutions (Simonyan & Zisserman 2014, arXiv:1409.1556).

Both depths come from one table; layer names are those of the published weight files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import layers
from lamina.applications.imagenet import image_input, load_published, preprocess_caffe
from lamina.errors import ArgumentError
from lamina.models import Model

preprocess_input = preprocess_caffe

_FILTERS = (64, 128, 256, 512, 512)
# Convolutions in each block, and the md5 sums of the published files: whole, and without the top.
_VARIANTS = {
    "vgg16": ((2, 2, 3, 3, 3),
              "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ((2, 2, 4, 4, 4),
              "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
}  # fmt: skip
_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"


def _builder(variant: str) -> Callable[..., Model]:
    convolutions, whole, headless = _VARIANTS[variant]

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
        if weights == "imagenet" and include_top and classes != 1000:
            raise ArgumentError(
                "The published ImageNet weights have 1000 classes. "
                f"Received: classes={classes}. Use weights=None, or include_top=False."
            )
        if pooling not in (None, "avg", "max"):
            raise ArgumentError(f"`pooling` is None, 'avg' or 'max'. Received: {pooling!r}.")
        inputs = image_input(input_tensor, input_shape, 224, 32, include_top)
        x = inputs
        for block, (count, filters) in enumerate(zip(convolutions, _FILTERS, strict=True), 1):
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
        model = Model(inputs, x, name=name)
        top = "" if include_top else "_notop"
        file = f"{variant}_weights_tf_dim_ordering_tf_kernels{top}.h5"
        load_published(
            model, weights,
            lambda: (f"{_HOST}/{variant}/{file}", whole if include_top else headless),
        )  # fmt: skip
        return model

    depth = variant.removeprefix("vgg")
    build.__name__ = build.__qualname__ = variant.upper()
    build.__doc__ = f"""The {depth}-layer VGG network.

    Args:
        include_top: whether the three dense layers at the end are part of the model.
        weights: None (newly drawn), ``"imagenet"`` (downloaded once), or a file's path.
        input_tensor: a symbolic tensor to build on, instead of a new ``Input``.
        input_shape: sizes of one image, at least 32 x 32; 224 x 224 x 3 with the top.
        pooling: without the top: None (the feature map), ``"avg"`` or ``"max"`` over it.
        classes: number of classes of the top.
        classifier_activation: activation of the top; None gives logits.
        name: the model's name.

    Returns:
        A functional model; its layers' outputs can be reached for feature extraction. Images go
        through :func:`preprocess_input` first.

    Raises:
        ArgumentError: a size, a pooling or a file that does not fit.

    Source: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", arXiv:1409.1556.

    >>> build = VGG{depth}
    >>> build(weights=None, include_top=False, input_shape=(32, 32, 3)).output_shape
    (None, 1, 1, 512)
    """
    return build


VGG16 = _builder("vgg16")
VGG19 = _builder("vgg19")
