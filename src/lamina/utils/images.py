"""Images: files, Pillow's images and arrays, converted into one another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina import ops
from lamina.core.boundary import public, warn
from lamina.errors import ArgumentError, SavingWarning, ShapeError
from lamina.serialization.fields import is_integer
from lamina.settings import floatx, standardize_data_format
from lamina.transforms.sizes import window_of_ratio
from lamina.utils.reading import MODES, decoding, pillow_for

_RESAMPLING = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


@public
def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Read an image file as an image of Pillow, which the extra ``lamina[image]`` installs.

    Args:
        path: Path, or an open binary file.
        color_mode: ``"grayscale"`` (deeper grayscale images keep their depth), ``"rgb"`` or
            ``"rgba"``.
        target_size: ``(height, width)`` to resize to, with antialiasing; the number of channels
            may follow, as in the input shape of a model. None to keep the size.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"hamming"``, ``"box"`` or
            ``"lanczos"``.
        keep_aspect_ratio: Whether to cut off, evenly, what is beyond the target's aspect ratio.

    Raises:
        CorruptFileError: The file is not an image, or not a whole one.
        ArgumentError: An unknown color mode or interpolation, or a target size that is none.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "red.png")
    ...     save_img(path, np.full((4, 6, 3), [255, 0, 0]), scale=False)
    ...     load_img(path, target_size=(2, 3)).size
    (3, 2)
    """
    pillow = pillow_for("load_img()")
    if color_mode not in MODES:
        raise ArgumentError(f"`color_mode` is one of {list(MODES)}. Received: {color_mode!r}.")
    if interpolation not in _RESAMPLING:
        raise ArgumentError(
            f"`interpolation` is one of {_RESAMPLING}. Received: {interpolation!r}."
        )
    source = os.fsdecode(path) if isinstance(path, bytes) else path
    with decoding(path):
        image = pillow.open(source)
        image.load()
        keeps = color_mode == "grayscale" and image.mode in ("L", "I;16", "I")
        if not keeps and image.mode != MODES[color_mode][0]:
            image = image.convert(MODES[color_mode][0])
    if target_size is None:
        return image
    new_height, new_width = _target(target_size)
    width, height = image.size
    if (width, height) == (new_width, new_height):
        return image
    box = None
    if keep_aspect_ratio:
        kept_height = min(height, width * new_height // new_width)
        kept_width = min(width, height * new_width // new_height)
        top, left = (height - kept_height) // 2, (width - kept_width) // 2
        box = left, top, left + kept_width, top + kept_height
    method = pillow.Resampling[interpolation.upper()]
    return image.resize((new_width, new_height), method, box=box)


def _target(size: Any) -> tuple[int, int]:
    """The height and width, with or without the number of channels after them."""
    sizes = list(size) if isinstance(size, (list, tuple, np.ndarray)) else []
    if len(sizes) not in (2, 3) or not all(is_integer(n) and n > 0 for n in sizes):
        raise ArgumentError(
            f"`target_size` is (height, width), as positive integers. Received: {size!r}."
        )
    return int(sizes[0]), int(sizes[1])


@public
def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """An image of Pillow as an array with three axes.

    Args:
        img: The image; or an array of shape ``(height, width)`` or ``(height, width, channels)``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        dtype: Dtype of the result; the global ``floatx`` when None.

    Raises:
        ShapeError: An array with another number of axes.

    >>> import numpy as np
    >>> img_to_array(np.zeros((4, 6), "uint8")).shape
    (4, 6, 1)
    """
    array = np.asarray(img, dtype=np.dtype(dtype or floatx()))
    if array.ndim not in (2, 3):
        raise ShapeError(
            "img_to_array() received something other than one image.",
            expected="(height, width) or (height, width, channels)",
            received=array.shape,
        )
    array = array if array.ndim == 3 else array[..., None]
    first = standardize_data_format(data_format) == "channels_first"
    return array.transpose(2, 0, 1) if first else array


@public
def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """An array as an image of Pillow, which the extra ``lamina[image]`` installs.

    Args:
        x: Array of shape ``(height, width, channels)``, or with the channels first; with 1, 3 or 4
            channels. A single channel with numbers above 255 makes a 32-bit image.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        scale: Whether to map the smallest number to 0 and the largest to 255; otherwise numbers are
            truncated to integers from 0 to 255.
        dtype: Dtype to compute in; the global ``floatx`` when None.

    Raises:
        ShapeError: Another number of axes or channels.

    >>> import numpy as np
    >>> array_to_img(np.arange(6.0).reshape(1, 2, 3)).getpixel((1, 0))
    (153, 204, 255)
    """
    pillow = pillow_for("array_to_img()")
    array = np.asarray(x, dtype=np.dtype(dtype or floatx()))
    if array.ndim == 3 and standardize_data_format(data_format) == "channels_first":
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ShapeError(
            "array_to_img() received something other than one image.",
            expected="three axes, with 1, 3 or 4 channels",
            received=np.shape(x),
        )
    if scale:
        array = array - np.min(array)
        largest = np.max(array)
        array = array / (largest if largest != 0 else 1) * 255
    if array.shape[2] > 1:
        return pillow.fromarray(array.astype(np.uint8))
    deep = np.max(array) > 255
    return pillow.fromarray(array[..., 0].astype(np.int32 if deep else np.uint8))


@public
def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array to an image file, with Pillow, which the extra ``lamina[image]`` installs.

    Args:
        path: Path, or an open binary file.
        x: As for :func:`array_to_img`.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        file_format: Name of the format; that of the path's suffix when None.
        scale: As for :func:`array_to_img`.
        kwargs: Options of Pillow's writer for the format, such as ``quality=90``.

    Raises:
        ShapeError: ``x`` is not one image.

    >>> import io
    >>> file = io.BytesIO()
    >>> save_img(file, [[[0], [255]]], file_format="png", scale=False)
    >>> load_img(io.BytesIO(file.getvalue())).size
    (2, 1)
    """
    if file_format is None and isinstance(path, (str, Path)):
        file_format = Path(path).suffix[1:]
    file_format = (file_format or "").lower().replace("jpg", "jpeg") or None
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format == "jpeg":
        warn("JPEG files have no alpha channel, so it is not saved.", SavingWarning)
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


@public
def smart_resize(
    x: Any,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    data_format: str = "channels_last",
) -> Any:
    """Resize images without distortion: what is beyond the target's aspect ratio is cut off.

    Args:
        x: Array of shape ``(height, width, channels)``, or with the channels first, or a batch of
            such images.
        size: ``(height, width)``.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"lanczos3"`` or
            ``"lanczos5"``, without antialiasing.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        An array in the new size; a NumPy array if ``x`` is one. Interpolated integers are floats.

    Raises:
        ArgumentError: ``size`` is not a pair.
        ShapeError: Another number of axes.

    >>> import numpy as np
    >>> smart_resize(np.ones((40, 60, 3)), (20, 20)).shape
    (20, 20, 3)
    """
    if len(size) != 2:
        raise ArgumentError(f"`size` is (height, width). Received: {size!r}.")
    array = x if isinstance(x, jax.Array) else np.asarray(x)
    if array.ndim not in (3, 4):
        raise ShapeError(
            "smart_resize() received something other than images.",
            expected="three axes, or four with the batch",
            received=array.shape,
        )
    axis = -3 if standardize_data_format(data_format) == "channels_last" else -2
    top, left, height, width = window_of_ratio(
        array.shape[axis], array.shape[axis + 1], size[0], size[1]
    )
    array = array[(..., slice(top, top + height), slice(left, left + width),
                   *([slice(None)] if axis == -3 else []))]  # fmt: skip
    if interpolation != "nearest" and array.dtype.kind in "iu":
        array = array.astype(floatx())
    result = ops.image.resize(array, size, interpolation=interpolation, data_format=data_format)
    return np.asarray(result) if isinstance(x, np.ndarray) else result


__all__ = [
    "array_to_img", "img_to_array", "load_img", "save_img", "smart_resize",
]  # fmt: skip
