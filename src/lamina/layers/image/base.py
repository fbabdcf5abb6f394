"""Base of the layers for images, which have their arguments; transforms have their formulas."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core.scope import current, random_key
from lamina.errors import ArgumentError, LaminaError
from lamina.initializers.base import read_seed
from lamina.layers.base import Layer
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.random.seed_generator import DerivedSeeds, Seeded, key_of
from lamina.serialization.fields import field, fields_of, is_integer, number, one_of, optional
from lamina.serialization.registry import builtin
from lamina.transforms.base import Params, Shape, Transform
from lamina.transforms.boxes import FORMATS
from lamina.transforms.draws import Draws


class JaxDraws(Draws):
    """The same random numbers as :class:`~lamina.transforms.draws.Draws`, on the device.

    Args:
        key: A JAX key.
    """

    xp = jnp

    def _folded(self, number: int) -> Any:
        return jax.random.fold_in(self._key, number)

    def bits(self, shape: Shape) -> Any:
        self._count += 1
        if not all(isinstance(n, int) for n in shape):  # only the shape is needed
            return jnp.zeros(shape, "uint32")
        return jax.random.bits(self._folded(self._count), shape, "uint32")


class _Outline(Transform):
    """A transform of images of unknown size: only the shapes and dtypes of its results."""

    def __init__(self, inner: Transform) -> None:
        super().__init__(**vars(inner))
        self.inner = inner
        self.keeps_integers, self.float_masks = inner.keeps_integers, inner.float_masks

    def draw(self, draws: Draws, shape: Shape) -> Params:
        return {"permutation_order": jnp.arange(shape[0]), "mix_weight": jnp.zeros(shape[0])}

    def at_rest(self, shape: Shape) -> Params | None:
        return self.inner.at_rest(shape)

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        n, height, width, channels = x.shape
        return xp.zeros((n, *self.inner.new_size(height, width), channels), x.dtype)

    masks = images

    def labels(self, xp: Any, y: Any, params: Params) -> Any:
        return self.inner.labels(xp, y, params)

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        return self.inner.joined(xp, boxes, params)


@builtin()
class ImageLayer(PreprocessingLayer):
    """A layer that changes images and what belongs to them."""

    transform_class: ClassVar[type[Transform]]
    _shared_arguments: ClassVar[Mapping[str, str]] = {
        "value_range": "The smallest and the largest value of the images.",
        "interpolation": '``"bilinear"`` or ``"nearest"``; masks always use ``"nearest"``.',
        "fill_mode": """Values out of bounds: ``"reflect"`` (about the border), ``"wrap"`` (the
        opposite side), ``"constant"`` or ``"nearest"`` (the border).""",
        "fill_value": 'Value out of bounds for ``"constant"``.',
        "seed": "Integer that, with the global seed, determines the random numbers.",
        "data_format": '``"channels_last"`` or ``"channels_first"``; the global setting when None.',
        "bounding_box_format": """Format of bounding boxes, see ``lamina.utils.bounding_boxes``;
        required for data with boxes.""",
    }

    bounding_box_format: Any = field(default=None, convert=optional(one_of(*FORMATS)), kw_only=True)
    data_format: Any = field(default=None, convert=settings.standardize_data_format, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.autocast = False  # boxes and labels keep their precision

    @property
    def transform(self) -> Transform:
        """The layer's computation, for NumPy in any process."""
        fields = {name: vars(self)[name] for name in fields_of(type(self), Layer)}
        name = f"Layer {self.name!r} ({type(self).__name__})"
        return self.transform_class(**fields, dtype=self.compute_dtype, name=name)

    def call(self, data: Any, training: bool = True) -> Any:
        """Transform images, or a dict of images and what belongs to them."""
        transform = self.transform
        scope = current()
        images = data.get("images") if isinstance(data, Mapping) else data
        if (
            scope is not None and scope.abstract and isinstance(images, jax.Array)
            and images.ndim in (3, 4)
            and not all(isinstance(n, int) for n in transform.shape_of(images)[1:])
        ):  # fmt: skip
            transform = _Outline(transform)
        draws = JaxDraws(self._key(None)) if training and self._is_random else None
        try:
            return transform.apply(jnp, data, draws, training)
        except LaminaError as e:
            e.layer = e.layer or self.name
            raise

    @property
    def _is_random(self) -> bool:
        return "seed" in type(self)._fields

    def _key(self: Any, seed: Any) -> Any:
        if seed is None:
            return random_key(self.seed, "")
        return key_of(seed, "get_random_transformation")

    # ---- the parts of a call, as Keras's layers have them --------------------------------------

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Any = None
    ) -> dict[str, Any] | None:
        """Parameters for a batch, which the ``transform_...`` methods take.

        Args:
            data: As for :meth:`call`.
            training: Whether to draw at random.
            seed: An integer or a ``SeedGenerator``; the layer's own when None.
        """
        images = jnp.asarray(data["images"] if isinstance(data, Mapping) else data)
        transform = self.transform
        shape = transform.shape_of(images)
        if not training:
            params = transform.at_rest(shape)
        else:
            draws = JaxDraws(self._key(seed)) if self._is_random else Draws(None)
            params = transform.draw(draws, shape)
        return None if params is None else {**params, "input_shape": tuple(images.shape)}

    def _params(self, transformation: Any, training: bool) -> Any:
        """The parameters of a batch: none, but no None either, if the layer does not draw them."""
        if not training:
            return self.transform.at_rest(())
        return {} if transformation is None and not self._is_random else transformation

    def transform_images(
        self, images: Any, transformation: Any = None, training: bool = True
    ) -> Any:
        """Apply parameters to images."""
        params = self._params(transformation, training)
        return self.transform.on_images(jnp, jnp.asarray(images), params)

    def transform_labels(
        self, labels: Any, transformation: Any = None, training: bool = True
    ) -> Any:
        """Apply parameters to the labels of a batch."""
        t, params = self.transform, self._params(transformation, training)
        return t.on_labels(jnp, jnp.asarray(labels), params, False)

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any = None, training: bool = True
    ) -> Any:
        """Apply parameters to segmentation masks."""
        t, params = self.transform, self._params(transformation, training)
        return t.on_masks(jnp, jnp.asarray(segmentation_masks), params)

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Apply parameters, with the ``input_shape`` of the images, to the boxes of a batch."""
        t = self.transform
        params = transformation if training else t.at_rest(())
        size = (1, 1)
        if transformation is not None:
            size = t.shape_of(np.empty(transformation["input_shape"], "bool"))[1:3]
        return t.on_boxes(jnp, bounding_boxes, params, size, False)


# ---- arguments ---------------------------------------------------------------------------------

INTERPOLATION = field(default="bilinear", convert=one_of("bilinear", "nearest"))


@builtin()
class RandomLayer(Seeded, ImageLayer):
    """Base of the layers that draw random numbers."""

    seed: int | None = field(default=None, convert=read_seed, kw_only=True)

    @property
    def generator(self) -> DerivedSeeds:
        """The seeds of this layer, under the name that image layers have in Keras."""
        return self.seed_generator


def between(interval: str, start: float | None = None, unit: str = "") -> Any:
    """Converter of a range: two numbers in an interval, or one.

    Args:
        interval: As in mathematics, see :func:`~lamina.serialization.fields.number`.
        start: One number ``f`` means ``(start, f)``; when None, ``(-f, f)``, limited to the
            interval.
        unit: What the numbers are, for the message.

    >>> between("[-1, 1]")(0.5), between("[0, 1]")(0.5), between("[0, 1]")([0.5, 0.25])
    ((-0.5, 0.5), (0, 0.5), (0.25, 0.5))
    """
    one = number(interval)
    lowest = float(interval[1:].partition(",")[0])

    def read(value: Any) -> tuple[Any, Any]:
        several = isinstance(value, (list, tuple)) and len(value) == 2
        try:
            given = sorted(map(one, value)) if several else [one(value)]
        except ArgumentError:
            raise ArgumentError(
                f"expected a number in {interval}{unit and f', {unit}'}, or two of them. "
                f"Received: {value!r}."
            ) from None
        if several:
            return given[0], given[1]
        last = abs(given[0])
        first = max(-last, int(lowest)) if start is None else start
        return first, last

    return read


def _is_number(value: Any) -> bool:
    return is_integer(value) or isinstance(value, (float, np.floating))


def read_range(value: Any) -> tuple[Any, Any]:
    """Read the smallest and the largest value of images."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(_is_number, value)):
        raise ArgumentError(
            "expected the smallest and the largest value of the images, such as (0, 255). "
            f"Received: {value!r}."
        )
    low, high = sorted(value)
    if low == high:
        raise ArgumentError(f"expected two different numbers. Received: {value!r}.")
    return low, high


PART, SIGNED = between("[0, 1]"), between("[-1, 1]")


@builtin()
class RangedLayer(ImageLayer):
    """Base of the layers that know the range of values of images."""

    value_range: Any = field(default=(0, 255), convert=read_range, kw_only=True)


@builtin()
class RandomColor(RandomLayer, RangedLayer):
    """Base of those that do both."""


# ---- docstrings ----------------------------------------------------------------------------------

_DATA = """

    Takes images ``(height, width, channels)``, a batch of them, or a dict with ``images`` and
    ``labels``, ``bounding_boxes`` (a dict with ``boxes`` and ``labels``) or
    ``segmentation_masks``$parts. In a data pipeline, :attr:`transform` does the same on NumPy
    arrays, with the same numbers for the same key.
"""
_RANDOM = """
    It acts on calls with ``training=True``, which is the default, and in ``fit``, but not in
    ``evaluate`` and ``predict``.
"""


def described(text: str, parts: str = "", random: bool = True) -> str:
    """A docstring in which ``$data`` is filled in.

    Args:
        text: The docstring.
        parts: What happens to what belongs to the images.
        random: Whether the layer acts in training only.

    >>> print(described("$data", random=False)[:42])
    Takes images ``(height, width, channels)``
    """
    data = _DATA.replace("$parts", f"; {parts}" if parts else "")
    data = textwrap.fill(" ".join(data.split()), 96).replace("\n", "\n    ")
    return text.replace("$data", data + ("\n" + _RANDOM.rstrip() if random else ""))


__all__ = [
    "INTERPOLATION", "PART", "SIGNED", "ImageLayer", "JaxDraws", "RandomColor", "RandomLayer",
    "RangedLayer", "between", "described",
]  # fmt: skip
