"""Layers that change the values of images: colors, contrast, sharpness."""

from __future__ import annotations

from typing import Any

from lamina.errors import ArgumentError
from lamina.layers.image.base import (
    PART,
    SIGNED,
    RandomColor,
    RandomLayer,
    RangedLayer,
    between,
    described,
)
from lamina.serialization.fields import field, int_tuple, number, optional, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms import colors, filters, histograms

_TEMPLATE = """$summary

    $formula, clipped to ``value_range``, with a factor for each image.

    Args:
        factor: $factor.

    $data
$more
    >>> import numpy as np
    >>> $name($one)(np.full((1, 1, 3), 100.0)).shape
    (1, 1, 3)
    """


def _doc(
    name: str, summary: str, formula: str, factor: str, one: str = "0.5", more: str = ""
) -> str:
    text = _TEMPLATE.replace("$summary", summary).replace("$formula", formula)
    text = text.replace("$factor", factor).replace("$one", one).replace("$name", name)
    return described(text.replace("$more\n", f"\n    {more}\n\n" if more else "\n"))


def _range(meaning: str, one: str) -> str:
    return f"{meaning}: two numbers, or one number ``f`` for ``{one}``"


@builtin("layers")
class RandomBrightness(RandomColor, positional="factor value_range seed"):
    __doc__ = _doc(
        "RandomBrightness", "Make images brighter or darker at random.",
        "``x + factor * (value_range[1] - value_range[0])``",
        _range("Smallest and largest factor, from -1 to 1", "(-f, f)"),
    )  # fmt: skip
    transform_class = colors.Brightness
    factor: Any = field(convert=SIGNED)


@builtin("layers")
class RandomContrast(RandomColor, positional="factor value_range seed"):
    __doc__ = _doc(
        "RandomContrast", "Change the contrast of images at random.",
        "``(x - mean) * strength + mean``, where ``mean`` is that of each channel",
        "Two numbers ``a, b`` from 0 to 1: the strength is between ``1 - a`` and ``1 + b``; one "
        "number\n            ``f`` means ``(0, f)``",
    )  # fmt: skip
    transform_class = colors.Contrast
    factor: Any = field(convert=PART)


@builtin("layers")
class RandomColorDegeneration(RandomColor, positional="factor value_range data_format seed"):
    __doc__ = _doc(
        "RandomColorDegeneration", "Mix images with their shades of grey at random.",
        "``x + factor * (grey - x)``",
        _range("Smallest and largest factor, from -1 to 1", "(-f, f)"),
    )  # fmt: skip
    transform_class = colors.ColorDegeneration
    factor: Any = field(convert=SIGNED)


@builtin()
class _WithPart(RandomColor, positional="factor value_range data_format seed"):
    """Base of the layers with a factor from 0 to 1."""

    factor: Any = field(convert=PART)


@builtin("layers")
class RandomHue(_WithPart):
    __doc__ = _doc(
        "RandomHue", "Turn the hue of images at random, in either direction.",
        "``(hue +- factor / 2) mod 1``, where hues are numbers from 0 to 1",
        _range("Smallest and largest factor, from 0 to 1", "(0, f)"),
    )  # fmt: skip
    transform_class = colors.Hue


@builtin("layers")
class RandomSaturation(_WithPart):
    __doc__ = _doc(
        "RandomSaturation", "Change the saturation of images at random.",
        "``saturation * factor / (1 - factor)``, at most 1",
        _range("Smallest and largest factor, from 0 (grey) over 0.5 (unchanged) to 1", "(0, f)"),
        more="In Keras, results are only within a ``value_range`` of ``(0, 1)``.",
    )  # fmt: skip
    transform_class = colors.Saturation


@builtin("layers")
class RandomSharpness(_WithPart):
    __doc__ = _doc(
        "RandomSharpness", "Blur or sharpen images at random.",
        "``x + (1 - 2 * factor) * (smooth - x)``",
        _range("Smallest and largest factor, from 0 (smooth) over 0.5 (unchanged) to 1", "(0, f)"),
    )  # fmt: skip
    transform_class = filters.Sharpness


@builtin("layers")
class RandomPosterization(RandomColor, positional="factor value_range data_format seed"):
    __doc__ = _doc(
        "RandomPosterization", "Keep only the upper bits of values at random.",
        "``floor(x / 2**(8 - bits)) * 2**(8 - bits)`` of values from 0 to 255",
        "Smallest number of bits, and the number that all are below: two integers from 1 to 8,\n"
        "            equal ones for exactly that number, or one integer ``n`` for ``(1, n)``",
        one="4",
    )  # fmt: skip
    transform_class = colors.Posterization
    factor: Any = field(convert=between("[1, 8]"))


@builtin("layers")
class RandomInvert(RandomColor, positional="factor value_range seed data_format"):
    __doc__ = _doc(
        "RandomInvert", "Turn some of the images into their negatives.",
        "``value_range[0] + value_range[1] - x``",
        "Probability that an image is changed, or two numbers between which it is drawn",
    )  # fmt: skip
    transform_class = colors.Invert
    factor: Any = field(default=1.0, convert=PART)


@builtin("layers")
class RandomGrayscale(RandomLayer, positional="factor data_format seed"):
    __doc__ = described("""Turn some of the images into shades of grey, in all three channels.

    Args:
        factor: Probability that an image is changed.

    $data

    >>> import numpy as np
    >>> RandomGrayscale(1.0)(np.array([[[255.0, 0.0, 0.0]]])).round()
    Array([[[76., 76., 76.]]], dtype=float32)
    """)

    transform_class = colors.Grayscale
    factor: float = field(default=0.5, convert=number("[0, 1]"))


def _read_window(value: Any) -> tuple[int, ...]:
    window = int_tuple(2)(value)
    if not all(n % 2 for n in window):
        raise ArgumentError(f"expected an odd number, or two of them. Received: {value!r}.")
    return window


@builtin("layers")
class RandomGaussianBlur(
    RandomColor, positional="factor kernel_size sigma value_range data_format seed"
):
    __doc__ = described("""Blur some of the images; the strength is drawn for a batch.

    Args:
        factor: Probability that an image is changed, or two numbers between which it is drawn.
        kernel_size: Width and height of the window, odd numbers; or one number for both.
        sigma: Smallest and largest standard deviation, in pixels from 0 to 1; one number ``f``
            means ``(0, f)``.

    $data

    >>> import numpy as np
    >>> RandomGaussianBlur()(np.ones((2, 4, 5, 3))).shape
    (2, 4, 5, 3)
    """)

    transform_class = filters.GaussianBlur
    factor: Any = field(default=1.0, convert=PART)
    kernel_size: Any = field(default=3, convert=_read_window)
    sigma: Any = field(default=1.0, convert=PART)


@builtin("layers")
class RandomColorJitter(
    RandomColor, positional="value_range brightness_factor contrast_factor saturation_factor "
    "hue_factor seed data_format",
):  # fmt: skip
    __doc__ = described("""Change brightness, contrast, saturation and hue at random, in this order.

    Args:
        brightness_factor: ``factor`` of :class:`RandomBrightness`; None for no change.
        contrast_factor: ``factor`` of :class:`RandomContrast`, likewise.
        saturation_factor: ``factor`` of :class:`RandomSaturation`, likewise.
        hue_factor: ``factor`` of :class:`RandomHue`, likewise.

    $data

    >>> import numpy as np
    >>> RandomColorJitter(brightness_factor=0.2, hue_factor=0.1)(np.ones((2, 4, 5, 3))).shape
    (2, 4, 5, 3)
    """)

    transform_class = colors.ColorJitter
    brightness_factor: Any = field(default=None, convert=optional(SIGNED))
    contrast_factor: Any = field(default=None, convert=optional(PART))
    saturation_factor: Any = field(default=None, convert=optional(PART))
    hue_factor: Any = field(default=None, convert=optional(PART))


@builtin("layers")
class Solarization(RandomColor, positional="addition_factor threshold_factor value_range seed"):
    __doc__ = described("""Invert the values that are not below a threshold.

    Values from 0 to 255 become ``y = clip(x + addition)`` if that is below the threshold, and
    ``255 - y`` otherwise, with an addition and a threshold for each image.

    Args:
        addition_factor: Smallest and largest addition, as fractions of the range from 0 to 1; one
            number ``f`` means ``(0, f)``.
        threshold_factor: Likewise for the threshold; 0 inverts all values.

    $data

    Unlike in Keras, the smaller of two numbers is a fraction of the range too.

    >>> import numpy as np
    >>> Solarization()(np.full((1, 1, 1), 200.0)).item()
    55.0
    """)

    transform_class = colors.Solarization
    addition_factor: Any = field(default=0.0, convert=PART)
    threshold_factor: Any = field(default=0.0, convert=PART)


@builtin("layers")
class AutoContrast(RangedLayer, positional="value_range"):
    __doc__ = described("""Stretch the values of each channel to the whole range.

    It acts in training and inference.

    Channels with a single value stay as they are.

    $data

    >>> import numpy as np
    >>> AutoContrast()(np.array([[[10.0], [20.0], [30.0]]])).ravel()
    Array([  0. , 127.5, 255. ], dtype=float32)
    """, random=False)  # fmt: skip

    transform_class = histograms.AutoContrast


@builtin("layers")
class Equalization(RangedLayer, positional="value_range bins data_format"):
    __doc__ = described("""Make the values of each channel equally frequent, in training.

    As in Keras, the frequencies are those of the whole batch.

    Args:
        bins: Number of bins of the histogram.

    $data

    >>> import numpy as np
    >>> Equalization()(np.array([[[10.0], [10.0], [20.0]]])).ravel()
    Array([  0.,   0., 255.], dtype=float32)
    """)

    transform_class = histograms.Equalization
    bins: int = field(default=256, convert=positive_int)


@builtin("layers")
class ContrastLimitedAdaptiveHistogramEqualization(
    RangedLayer, positional="value_range clip_limit tile_grid_size data_format"
):
    __doc__ = described("""Increase the contrast of each part of an image (CLAHE).

    The image is divided into tiles, in each of which values become about equally frequent; the
    results for the nearest tiles are interpolated. It acts in training and inference, and integers
    remain integers.

    Args:
        clip_limit: Largest frequency of a value, as a multiple of the mean frequency, which limits
            how much the contrast increases; 0 for no limit.
        tile_grid_size: Number of tiles along height and width.

    $data

    Zuiderveld 1994, Contrast limited adaptive histogram equalization, in Graphics Gems IV.

    >>> import numpy as np
    >>> layer = ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2))
    >>> layer(np.ones((4, 5, 3), "uint8")).dtype
    dtype('uint8')
    """, random=False)  # fmt: skip

    transform_class = histograms.Clahe
    clip_limit: float = field(default=4.0, convert=number("[0, inf)"))
    tile_grid_size: Any = field(default=(8, 8), convert=int_tuple(2))


__all__ = [
    "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Equalization",
    "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPosterization",
    "RandomSaturation", "RandomSharpness", "Solarization",
]  # fmt: skip
