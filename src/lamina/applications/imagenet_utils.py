"""Utilities of models trained on ImageNet: preprocessing, class names, pretrained weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina import ops, settings
from lamina.core.graph import is_symbolic
from lamina.errors import ArgumentError, ShapeError
from lamina.layers import Input
from lamina.utils.files import get_file

_CLASSES = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)


class _Statistics(NamedTuple):
    """``(x / divisor - means) / deviations``, one mean and deviation for each channel."""

    is_bgr: bool
    divisor: float
    means: tuple[float, float, float]
    deviations: tuple[float, float, float]


# Keyed by the library whose published weights expect such images.
_MODES = {
    "caffe": _Statistics(True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": _Statistics(False, 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "torch": _Statistics(False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Preprocess images as in the training of a model.

    Args:
        x: RGB images, ``(batch, height, width, 3)`` or one image, values 0 to 255; a NumPy array, a
            tensor or a symbolic tensor. It is not changed.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        mode: ``"caffe"`` (BGR, minus ImageNet's mean of each channel), ``"tf"`` (-1 to 1), or
            ``"torch"`` (0 to 1, then standardized by ImageNet's mean and deviation).

    Returns:
        An array, tensor or symbolic tensor of the default float dtype.

    Raises:
        ArgumentError: An unknown mode or layout.

    >>> preprocess_input(np.full((1, 1, 3), 255), mode="tf").tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    if mode not in _MODES:
        raise ArgumentError(f"`mode` must be one of {list(_MODES)}. Received: {mode!r}.")
    statistics = _MODES[mode]
    axis = -1 if settings.standardize_data_format(data_format) == "channels_last" else -3
    dtype = settings.floatx()
    is_numpy = isinstance(x, np.ndarray)
    x = x.astype(dtype, copy=False) if is_numpy else ops.cast(x, dtype)
    if statistics.is_bgr:
        x = np.flip(x, axis) if is_numpy else ops.flip(x, axis)
    shape = (3,) + (1,) * (-1 - axis)
    means = np.asarray(statistics.means, dtype).reshape(shape)
    deviations = np.asarray(statistics.deviations, dtype).reshape(shape)
    return (x / np.asarray(statistics.divisor, dtype) - means) / deviations


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable ImageNet classes of each sample.

    Args:
        preds: Probabilities, ``(batch, 1000)``.
        top: Number of classes to return.

    Returns:
        For each sample a list of (WordNet id, name, probability), in descending order.

    Raises:
        ShapeError: A number of classes other than 1,000.
        DownloadError: The list of names is neither cached nor reachable.
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ShapeError(
            "decode_predictions() expects ImageNet probabilities of shape (batch, 1000). "
            f"Received: {preds.shape}. Use a model made with include_top=True and classes=1000."
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
    include_top: bool, is_pretrained: bool,
) -> Any:  # fmt: skip
    """The input tensor of an image model, with a checked shape.

    Args:
        input_tensor: A symbolic tensor to start from, or None.
        input_shape: Shape of one image, or None for the default (unknown without the top).
        default: Height and width of the published weights.
        smallest: Minimum height and width.
        include_top: Whether the model has the dense layers, which need a fixed shape.
        is_pretrained: Whether the published weights are requested, which require RGB images and,
            with the top, images of the default size.
    """
    last = settings.image_data_format() == "channels_last"
    if input_tensor is not None:
        if not is_symbolic(input_tensor):
            raise ArgumentError(
                "`input_tensor` must be a symbolic tensor, such as `Input` returns. "
                f"Received an object of type {type(input_tensor).__name__}."
            )
        what, shape = "input_tensor", input_tensor.shape[1:]
    elif input_shape is not None:
        what, shape = "input_shape", tuple(input_shape)
    else:
        size = default if include_top else None
        what, shape = "input_shape", (size, size, 3) if last else (3, size, size)
    if len(shape) != 3:
        raise ArgumentError(
            f"`{what}` must have three dimensions for one image. Received: {shape}."
        )
    spatial, channels = (shape[:2], shape[2]) if last else (shape[1:], shape[0])
    if any(s is not None and s < smallest for s in spatial):
        raise ArgumentError(
            f"Images must be at least {smallest}x{smallest} for this model. "
            f"Received: {what} of {shape}."
        )
    if include_top and any(s is None for s in spatial):
        raise ArgumentError(
            "With include_top=True the shape of the images must be known, because the dense "
            f"layers depend on it. Received: {what} of {shape}."
        )
    if is_pretrained and (channels != 3 or (include_top and spatial != (default, default))):
        wanted = f"{default}x{default} RGB images" if include_top else "images of 3 channels"
        raise ArgumentError(
            f"The published ImageNet weights are for {wanted}. Received: {what} of {shape}. "
            "Use weights=None" + (", or include_top=False." if include_top else ".")
        )
    return Input(shape=shape) if input_tensor is None else input_tensor


def sources_of(x: Any) -> Any:
    """The inputs from which a symbolic tensor is computed: one tensor, or a list of them."""
    found, stack = [], [x]
    seen = set()
    while stack:
        x = stack.pop()
        if x.node in seen:
            continue
        seen.add(x.node)
        if not x.node.inputs:
            found.append(x)
        stack.extend(reversed(x.node.inputs))
    return found[0] if len(found) == 1 else found


def load_published(model: Any, weights: Any, address: str, digest: str) -> None:
    """Load the requested weights into ``model``.

    Args:
        model: The model.
        weights: None, ``"imagenet"``, or the path of a weights file.
        address: URL of the published file.
        digest: MD5 digest of the published file.
    """
    if weights is None:
        return
    if weights == "imagenet":
        weights = get_file(origin=address, file_hash=digest, hash_algorithm="md5",
                           cache_subdir="models")  # fmt: skip
    model.load_weights(weights)


def check_weights(weights: Any, classes: int, activation: Any, include_top: bool) -> None:
    """Check that the requested weights fit the requested model.

    Raises:
        ArgumentError: A file that does not exist, or a number of classes or an activation that
            differs from the pretrained ones.
    """
    if weights is not None and weights != "imagenet" and not Path(weights).is_file():
        raise ArgumentError(
            "`weights` must be None (random), 'imagenet', or the path of a weights file. "
            f"Received: {weights!r}, which does not exist."
        )
    if weights != "imagenet" or not include_top:
        return
    if classes != 1000:
        raise ArgumentError(
            "The published ImageNet weights have 1000 classes. "
            f"Received: classes={classes}. Use weights=None, or include_top=False."
        )
    if activation not in (None, "linear", "softmax"):
        raise ArgumentError(
            "The published ImageNet weights were trained with a softmax; `classifier_activation` "
            f"must be 'softmax', or None for logits. Received: {activation!r}."
        )


__all__ = ["decode_predictions", "preprocess_input"]
