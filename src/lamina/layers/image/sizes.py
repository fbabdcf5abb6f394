"""Layers that give images another size."""

from __future__ import annotations

from lamina.errors import ArgumentError
from lamina.layers.image.base import ImageLayer, RandomLayer, described
from lamina.serialization.fields import field, one_of, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms import sizes

_CROPPED = "boxes and masks are cropped too, and boxes that are left outside get the label -1"


@builtin("layers")
class Resizing(
    ImageLayer, positional="height width interpolation crop_to_aspect_ratio pad_to_aspect_ratio "
    "fill_mode fill_value antialias data_format",
):  # fmt: skip
    __doc__ = described("""Resize images, in training and inference.

    Centers of pixels correspond: pixel ``i`` of the result is at ``(i + 0.5) * old / new - 0.5``.

    Args:
        height: New height.
        width: New width.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"lanczos3"`` or
            ``"lanczos5"``; masks always use ``"nearest"``.
        crop_to_aspect_ratio: Whether to preserve the aspect ratio by cropping the longer side.
        pad_to_aspect_ratio: Whether to preserve the aspect ratio by padding the shorter side.
        fill_mode: Only ``"constant"``: the padding has a single value.
        fill_value: Value of the padding.
        antialias: Whether to apply an antialiasing filter when images shrink.

    $data

    Integers remain integers of the same dtype; floats have the compute dtype.

    >>> import numpy as np
    >>> Resizing(2, 3)(np.ones((4, 5, 3), "uint8")).shape
    (2, 3, 3)
    """, "boxes and masks are resized too", random=False)  # fmt: skip

    transform_class = sizes.Resize
    height: int = field(convert=positive_int)
    width: int = field(convert=positive_int)
    interpolation: str = field(default="bilinear", convert=one_of(*sizes.INTERPOLATIONS))
    crop_to_aspect_ratio: bool = field(default=False, convert=bool)
    pad_to_aspect_ratio: bool = field(default=False, convert=bool)
    fill_mode: str = field(default="constant", convert=one_of("constant"))
    fill_value: float = 0.0
    antialias: bool = field(default=False, convert=bool)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ArgumentError(
                "Resizing(): `crop_to_aspect_ratio` and `pad_to_aspect_ratio` cannot be combined. "
                "Received: True for both."
            )


@builtin("layers")
class CenterCrop(ImageLayer, positional="height width data_format"):
    __doc__ = described("""Crop images to their centers, in training and inference.

    Of images that are smaller, the largest centered window of the same aspect ratio is resized.

    Args:
        height: New height.
        width: New width.

    $data

    >>> import numpy as np
    >>> CenterCrop(1, 2)(np.arange(12.0).reshape(3, 4, 1)).ravel()
    Array([5., 6.], dtype=float32)
    """, _CROPPED, random=False)  # fmt: skip

    transform_class = sizes.CenterCrop
    height: int = field(convert=positive_int)
    width: int = field(convert=positive_int)


@builtin("layers")
class RandomCrop(RandomLayer, positional="height width seed data_format name"):
    __doc__ = described("""Crop images at a random position, which the images of a batch share.

    Outside training, the center is cropped, as :class:`CenterCrop` does, so that images always have
    the same size. (Keras returns them unchanged.) Of images that are smaller, the largest centered
    window of the same aspect ratio is resized.

    Args:
        height: New height.
        width: New width.

    $data

    >>> import numpy as np
    >>> RandomCrop(2, 2)(np.ones((3, 4, 1))).shape
    (2, 2, 1)
    """, _CROPPED, random=False)  # fmt: skip

    transform_class = sizes.RandomCrop
    height: int = field(convert=positive_int)
    width: int = field(convert=positive_int)


__all__ = ["CenterCrop", "RandomCrop", "Resizing"]
