"""Layers that mix or erase parts of images, combine other layers, or limit bounding boxes."""

from __future__ import annotations

from typing import Any

from lamina.layers.image.base import (
    INTERPOLATION,
    PART,
    ImageLayer,
    RandomColor,
    RandomLayer,
    described,
)
from lamina.serialization.fields import field, is_integer, number, positive_int
from lamina.serialization.registry import builtin
from lamina.transforms import mixing, policies


@builtin("layers")
class MixUp(RandomLayer, positional="alpha data_format seed"):
    __doc__ = described("""Replace images by weighted means of pairs of images.

    ``weight * x + (1 - weight) * partner``, with a random partner and a weight from the beta
    distribution for each image.

    Args:
        alpha: Parameter of the distribution, above 0: small numbers make one of the two dominate.

    $data

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412

    >>> import numpy as np
    >>> data = {"images": np.ones((4, 8, 8, 3)), "labels": np.eye(4)}
    >>> MixUp()(data)["labels"].sum(1)
    Array([1., 1., 1., 1.], dtype=float32)
    """, "labels, which are rows of probabilities, and masks are mixed too, and the boxes "
        "of both images are kept")  # fmt: skip

    transform_class = mixing.MixUp
    alpha: float = field(default=0.2, convert=number("(0, inf)"))


@builtin("layers")
class CutMix(RandomLayer, positional="factor seed data_format"):
    __doc__ = described("""Replace a window of each image by that of another image.

    The share of the window is from a beta distribution, whose parameter is drawn for a batch.
    Labels are mixed by the pixels of the window. (In Keras, by its size before it is rounded.)

    Args:
        factor: Smallest and largest parameter of the distribution, from 0 to 1; one number ``f``
            means ``(0, f)``.

    $data

    Yun et al. 2019, https://arxiv.org/abs/1905.04899

    >>> import numpy as np
    >>> data = {"images": np.ones((4, 8, 8, 3)), "labels": np.eye(4)}
    >>> CutMix()(data)["images"].shape
    (4, 8, 8, 3)
    """, "labels, which are rows of probabilities, are mixed by their areas, and masks "
        "are cut too; bounding boxes are an error")  # fmt: skip

    transform_class = mixing.CutMix
    factor: Any = field(default=1.0, convert=PART)


@builtin("layers")
class RandomErasing(RandomColor, positional="factor scale fill_value value_range seed data_format"):
    __doc__ = described("""Fill a window of some of the images.

    Args:
        factor: Probability that an image is changed, or two numbers between which it is drawn.
        scale: Smallest and largest square of a side of the window, as a fraction of the side of the
            image from 0 to 1; one number ``f`` means ``(0, f)``.
        fill_value: Value that fills the window, or one for each of three channels; noise when None.

    $data

    Zhong et al. 2020, https://arxiv.org/abs/1708.04896

    >>> import numpy as np
    >>> RandomErasing(fill_value=0)(np.ones((2, 8, 8, 3))).min()
    Array(0., dtype=float32)
    """)

    transform_class = mixing.Erasing
    factor: Any = field(default=1.0, convert=PART)
    scale: Any = field(default=(0.02, 0.33), convert=PART)
    fill_value: Any = None


def _read_fill(value: Any) -> int:
    return int(value) if is_integer(value) else int(number("(-inf, inf)")(value))


@builtin("layers")
class MaxNumBoundingBoxes(ImageLayer):
    __doc__ = described("""Give all images the same number of bounding boxes.

    The images stay as they are: integers remain integers.

    Args:
        max_number: The number: boxes beyond it are removed, and missing ones are added.
        fill_value: Coordinates and labels of added boxes.

    $data

    >>> import numpy as np
    >>> boxes = {"boxes": np.ones((1, 1, 4)), "labels": np.ones((1, 1), "int32")}
    >>> data = {"images": np.ones((1, 8, 8, 3)), "bounding_boxes": boxes}
    >>> MaxNumBoundingBoxes(3)(data)["bounding_boxes"]["labels"].tolist()
    [[1, -1, -1]]
    """, random=False)  # fmt: skip

    transform_class = mixing.Limit
    max_number: int = field(convert=positive_int)
    fill_value: int = field(default=-1, convert=_read_fill)


@builtin("layers")
class RandAugment(
    RandomColor, positional="value_range num_ops factor interpolation seed data_format"
):
    __doc__ = described("""Apply random transforms, chosen for a batch, one after the other.

    The transforms are those of :class:`RandomShear`, :class:`RandomTranslation`,
    :class:`RandomRotation`, :class:`RandomBrightness`, :class:`RandomColorDegeneration`,
    :class:`RandomContrast`, :class:`RandomSharpness`, :class:`Solarization`,
    :class:`RandomPosterization`, :class:`AutoContrast` and :class:`Equalization`.

    Args:
        num_ops: Number of transforms.
        factor: Strength of the transforms: the smallest and the largest of their factors, from 0 to
            1; one number ``f`` means ``(0, f)``.

    $data

    Cubuk et al. 2020, https://arxiv.org/abs/1909.13719

    >>> import numpy as np
    >>> RandAugment()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """, "boxes and masks move with them")  # fmt: skip

    transform_class = policies.RandAugment
    num_ops: int = field(default=2, convert=positive_int)
    factor: Any = field(default=0.5, convert=PART)
    interpolation: str = INTERPOLATION


@builtin("layers")
class AugMix(
    RandomColor, positional="value_range num_chains chain_depth factor alpha all_ops "
    "interpolation seed data_format",
):  # fmt: skip
    __doc__ = described("""Mix images with results of several chains of random transforms.

    ``weight * x + (1 - weight) * sum of (chain_weight * chain(x))``, with weights from a beta and a
    Dirichlet distribution, which are drawn for a batch as the transforms are: those of
    :class:`RandAugment`, or none.

    Args:
        num_chains: Number of chains.
        chain_depth: Number of transforms in a chain.
        factor: Strength of the transforms: the smallest and the largest of their factors, from 0 to
            1; one number ``f`` means ``(0, f)``.
        alpha: Parameter of the distributions of weights, above 0.
        all_ops: Whether to use all transforms; otherwise all but brightness, color degeneration,
            contrast and sharpness, which benchmarks of robustness test.

    $data

    Hendrycks et al. 2020, https://arxiv.org/abs/1912.02781

    >>> import numpy as np
    >>> AugMix(num_chains=2)(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """, "masks are mixed too, and become floats; boxes stay as they are")  # fmt: skip

    transform_class = policies.AugMix
    num_chains: int = field(default=3, convert=positive_int)
    chain_depth: int = field(default=3, convert=positive_int)
    factor: Any = field(default=0.3, convert=PART)
    alpha: float = field(default=1.0, convert=number("(0, inf)"))
    all_ops: bool = field(default=True, convert=bool)
    interpolation: str = INTERPOLATION


__all__ = [
    "AugMix", "CutMix", "MaxNumBoundingBoxes", "MixUp", "RandAugment", "RandomErasing",
]  # fmt: skip
