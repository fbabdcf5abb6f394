"""Utilities of models trained on ImageNet: preprocessing of images, names of classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina import ops, settings
from lamina.errors import ArgumentError, ShapeError
from lamina.utils.files import get_file

_CLASSES = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)


class Statistics(NamedTuple):
    """``(x / divisor - means) / deviations``, one mean and deviation for each channel."""

    is_bgr: bool
    divisor: float
    means: tuple[float, float, float]
    deviations: tuple[float, float, float]


IMAGENET = Statistics(False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Keyed by the library whose published weights expect such images.
_MODES = {
    "caffe": Statistics(True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": Statistics(False, 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "torch": IMAGENET,
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


_TEXTS = {
    "caffe": "BGR instead of RGB, minus the mean of ImageNet.",
    "tf": "from -1 to 1.",
    "torch": "from 0 to 1, standardized by the mean and deviation of ImageNet.",
    None: "unchanged, because the model itself scales pixels from 0 to 255.",
}


def utilities(mode: str | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``preprocess_input`` for the models of one module, and ``decode_predictions``."""

    def preprocess(x: Any, data_format: str | None = None) -> Any:
        return x if mode is None else preprocess_input(x, data_format, mode)

    preprocess.__name__ = preprocess.__qualname__ = "preprocess_input"
    preprocess.__doc__ = f"""Preprocess images as in the training of the models of this module.

    Args:
        x: RGB images, ``(batch, height, width, 3)`` or one image, values 0 to 255; a NumPy array, a
            tensor or a symbolic tensor. It is not changed.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.

    Returns:
        The images, {_TEXTS[mode]}
    """
    return preprocess, decode_predictions


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


__all__ = ["decode_predictions", "preprocess_input"]
