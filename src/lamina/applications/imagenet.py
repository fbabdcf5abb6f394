"""What the models trained on ImageNet share: input statistics, class names, weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina import config, ops
from lamina.errors import ArgumentError, ShapeError
from lamina.layers import Input
from lamina.utils.files import get_file

_CLASSES = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)
# Means of the red, green and blue channel over ImageNet's training images.
MEANS = (123.68, 116.779, 103.939)


def preprocess_caffe(x: Any, data_format: str | None = None) -> Any:
    """RGB to BGR, minus each channel's mean over ImageNet; no scaling.

    Args:
        x: images, ``(batch, height, width, 3)`` or one image, values 0 to 255; a NumPy array, a
            tensor or a symbolic tensor. It is not changed.
        data_format: the default layout when None.
    """
    axis = -1 if config.standardize_data_format(data_format) == "channels_last" else -3
    is_numpy = isinstance(x, np.ndarray)
    x = x.astype(config.floatx(), copy=False) if is_numpy else ops.cast(x, config.floatx())
    means = np.asarray(MEANS[::-1], config.floatx()).reshape((3,) + (1,) * (-1 - axis))
    flipped = np.flip(x, axis) if is_numpy else ops.flip(x, axis)
    return flipped - means


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The likeliest ImageNet classes of each sample.

    Args:
        preds: probabilities, ``(batch, 1000)``.
        top: how many classes to name.

    Returns:
        For each sample a list of (WordNet id, name, probability), the likeliest first.

    Raises:
        ShapeError: not 1,000 classes.
        DownloadError: the list of names is neither cached nor reachable.
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ShapeError(
            "decode_predictions() expects ImageNet probabilities of shape (batch, 1000). "
            f"Received: {preds.shape}. It fits models made with include_top=True and classes=1000."
        )
    address, digest = _CLASSES
    path = get_file(origin=address, file_hash=digest, hash_algorithm="md5", cache_subdir="models")
    names = json.loads(Path(path).read_text())
    order = np.argsort(preds, axis=1)[:, ::-1][:, :top]
    return [
        [(*names[str(i)], float(row[i])) for i in best]
        for row, best in zip(preds, order, strict=True)
    ]


def image_input(
    input_tensor: Any, input_shape: Sequence[int | None] | None, default: int, smallest: int,
    include_top: bool,
) -> Any:  # fmt: skip
    """The tensor that an image model starts from, its shape checked.

    Args:
        input_tensor: a symbolic tensor to start from, or None.
        input_shape: sizes of one image, or None for the default (open sizes without the top).
        default: height and width of the published weights.
        smallest: least height and width.
        include_top: whether the dense layers, which need fixed sizes, are part of the model.
    """
    if input_tensor is not None:
        return input_tensor
    last = config.image_data_format() == "channels_last"
    if input_shape is None:
        size = default if include_top else None
        input_shape = (size, size, 3) if last else (3, size, size)
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ArgumentError(f"`input_shape` has three sizes. Received: {shape}.")
    spatial = shape[:2] if last else shape[1:]
    if any(s is not None and s < smallest for s in spatial):
        raise ArgumentError(
            f"Images must be at least {smallest}x{smallest} for this model. "
            f"Received: input_shape={shape}."
        )
    if include_top and any(s is None for s in spatial):
        raise ArgumentError(
            "With include_top=True the size of the images must be known, because the dense "
            f"layers depend on it. Received: input_shape={shape}."
        )
    return Input(shape=shape)


def load_published(model: Any, weights: Any, sources: Callable[[], tuple[str, str]]) -> None:
    """Give ``model`` the weights that its builder was asked for.

    Args:
        model: the finished model.
        weights: None, ``"imagenet"``, or the path of a file of weights.
        sources: returns address and md5 of the published file.
    """
    if weights is None:
        return
    if weights == "imagenet":
        address, digest = sources()
        weights = get_file(origin=address, file_hash=digest, hash_algorithm="md5",
                           cache_subdir="models")  # fmt: skip
    elif not Path(weights).is_file():
        raise ArgumentError(
            "`weights` is None (newly drawn), 'imagenet', or the path of a file of weights. "
            f"Received: {weights!r}, and there is no such file."
        )
    model.load_weights(weights)
