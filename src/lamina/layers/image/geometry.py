"""Layers that move the pixels of images: flips, rotations, and other random warps."""

from __future__ import annotations

from typing import Any

from lamina.layers.image.base import (
    INTERPOLATION,
    PART,
    RandomColor,
    RandomLayer,
    between,
    described,
)
from lamina.serialization.fields import field, number, one_of, optional
from lamina.serialization.registry import builtin
from lamina.transforms import flipping, warps

_MOVED = "boxes and masks move with them, and boxes that are left outside get the label -1"


@builtin()
class _Warp(RandomLayer):
    interpolation: str = field(
        default="bilinear", convert=one_of("bilinear", "nearest"), kw_only=True
    )
    fill_mode: str = field(default="reflect", convert=one_of(*warps.FILL_MODES), kw_only=True)
    fill_value: float = field(default=0.0, kw_only=True)


@builtin("layers")
class RandomFlip(RandomLayer, positional="mode seed data_format"):
    __doc__ = described("""Flip half of the images.

    Args:
        mode: ``"horizontal"`` (left to right), ``"vertical"`` or ``"horizontal_and_vertical"``,
            which flips an image along both axes or not at all.

    $data

    >>> import numpy as np
    >>> RandomFlip("horizontal")(np.ones((2, 4, 5, 3))).shape
    (2, 4, 5, 3)
    """, _MOVED)  # fmt: skip

    transform_class = flipping.Flip
    mode: str = field(
        default="horizontal_and_vertical",
        convert=one_of("horizontal", "vertical", "horizontal_and_vertical"),
    )


@builtin("layers")
class RandomRotation(
    _Warp, positional="factor fill_mode interpolation seed fill_value data_format"
):
    __doc__ = described("""Rotate images about their centers by random angles.

    Args:
        factor: Smallest and largest angle, as fractions of a full turn counterclockwise, from -1
            to 1; one number ``f`` means ``(-f, f)``.

    $data

    >>> import numpy as np
    >>> quarter = RandomRotation((0.25, 0.25))
    >>> quarter(np.arange(4.0).reshape(2, 2, 1))[..., 0].round()
    Array([[1., 3.],
           [0., 2.]], dtype=float32)
    """, _MOVED)  # fmt: skip

    transform_class = warps.Rotation
    factor: Any = field(
        convert=between("[-1, 1]", unit="a fraction of a full turn (90 degrees are 0.25)")
    )


@builtin("layers")
class RandomTranslation(
    _Warp, positional="height_factor width_factor fill_mode interpolation seed fill_value "
    "data_format",
):  # fmt: skip
    __doc__ = described("""Translate images by random distances.

    Args:
        height_factor: Smallest and largest distance downwards, as fractions of the height from -1
            to 1; one number ``f`` means ``(-f, f)``.
        width_factor: Likewise to the right, as fractions of the width.

    $data

    >>> import numpy as np
    >>> half = RandomTranslation((0.5, 0.5), 0, fill_mode="constant")
    >>> half(np.ones((2, 2, 1)))[..., 0]
    Array([[0., 0.],
           [1., 1.]], dtype=float32)
    """, _MOVED)  # fmt: skip

    transform_class = warps.Translation
    height_factor: Any = field(convert=between("[-1, 1]"))
    width_factor: Any = field(convert=between("[-1, 1]"))


_ZOOM = between("(-1, 1]")


@builtin("layers")
class RandomZoom(
    _Warp, positional="height_factor width_factor fill_mode interpolation seed fill_value "
    "data_format",
):  # fmt: skip
    __doc__ = described("""Zoom images about their centers by random factors.

    Args:
        height_factor: Smallest and largest change of the visible height, as fractions above -1 up
            to 1: positive numbers zoom out, negative ones in. One number ``f`` means ``(-f, f)``.
        width_factor: Likewise for the width; when None, that of the height, so that the aspect
            ratio is preserved.

    $data

    >>> import numpy as np
    >>> RandomZoom((-0.5, -0.5))(np.arange(3.0).reshape(1, 3, 1)).ravel()
    Array([0.5, 1. , 1.5], dtype=float32)
    """, _MOVED)  # fmt: skip

    transform_class = warps.Zoom
    height_factor: Any = field(convert=_ZOOM)
    width_factor: Any = field(default=None, convert=optional(_ZOOM))


_SHEAR = between("[-1, 1]", start=0)  # negative numbers are in files of Keras


@builtin("layers")
class RandomShear(
    _Warp, positional="x_factor y_factor interpolation fill_mode fill_value data_format seed"
):
    __doc__ = described("""Shear images by random amounts, about the upper left corner.

    Args:
        x_factor: Smallest and largest distance by which a row is moved per row above it, from 0 to
            1; one number ``f`` means ``(0, f)``. Half of the images are sheared in the opposite
            direction, along both axes.
        y_factor: Likewise for columns.

    $data

    >>> import numpy as np
    >>> RandomShear(0.2, 0.2)(np.ones((2, 4, 5, 3))).shape
    (2, 4, 5, 3)
    """, _MOVED)  # fmt: skip

    transform_class = warps.Shear
    x_factor: Any = field(default=0.0, convert=_SHEAR)
    y_factor: Any = field(default=0.0, convert=_SHEAR)


@builtin("layers")
class RandomPerspective(
    RandomLayer, positional="factor scale interpolation fill_value seed data_format"
):
    __doc__ = described("""Project some of the images, as if seen from random directions.

    Args:
        factor: Probability that an image is changed, or two numbers between which it is drawn.
        scale: How far the corners move, from 0 to 1: each coordinate is multiplied by a number from
            ``1 - scale / 2`` to ``1 + scale / 2``.
        fill_value: Value out of bounds.

    $data

    >>> import numpy as np
    >>> RandomPerspective(scale=0.5)(np.ones((2, 4, 5, 3))).shape
    (2, 4, 5, 3)
    """, _MOVED)  # fmt: skip

    transform_class = warps.Perspective
    factor: Any = field(default=1.0, convert=PART)
    scale: float = field(default=1.0, convert=number("[0, 1]"))
    interpolation: str = INTERPOLATION
    fill_value: float = 0.0


@builtin("layers")
class RandomElasticTransform(
    RandomColor, positional="factor scale interpolation fill_mode fill_value value_range seed "
    "data_format",
):  # fmt: skip
    __doc__ = described("""Distort some of the images by smooth random displacements of the pixels.

    The displacements are Gaussian noise that is blurred: with a strength ``s``, which is drawn for
    a batch, the standard deviations of noise and blur are 5 % of the shorter side times ``s``, and
    the result is multiplied by 10 % of the longer side times ``s``.

    Args:
        factor: Probability that an image is changed, or two numbers between which it is drawn.
        scale: Smallest and largest strength, from 0 to 1; one number ``f`` means ``(0, f)``.
        fill_mode: Values out of bounds: ``"reflect"`` (about the border), ``"wrap"`` (the
            opposite side), ``"constant"``, ``"nearest"`` (the border) or ``"mirror"`` (about the
            center of the border's pixels).

    $data

    Unlike in Keras, displacements along height and width are independent.

    >>> import numpy as np
    >>> RandomElasticTransform()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """, "masks are distorted too; bounding boxes are an error")  # fmt: skip

    transform_class = warps.Elastic
    factor: Any = field(default=1.0, convert=PART)
    scale: Any = field(default=1.0, convert=PART)
    interpolation: str = INTERPOLATION
    fill_mode: str = field(default="reflect", convert=one_of(*warps.FILL_MODES, "mirror"))
    fill_value: float = 0.0


__all__ = [
    "RandomElasticTransform", "RandomFlip", "RandomPerspective", "RandomRotation", "RandomShear",
    "RandomTranslation", "RandomZoom",
]  # fmt: skip
