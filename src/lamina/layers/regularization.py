"""Layers that act while training only: dropout, noise, and a penalty on activity.

What they draw depends on the seed, the layer's path and the step alone. Integers become floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import regularizers, settings
from lamina.core.scope import random_key
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.base import read_seed
from lamina.layers.arguments import layout
from lamina.layers.base import InputSpec, Layer
from lamina.ops.lowering.dropout import keep
from lamina.serialization.fields import field
from lamina.serialization.registry import builtin


def number(interval: str, inside: Callable[[float], bool]) -> Callable[[Any], float]:
    """Reader of a number that lies ``inside`` of the ``interval``, which messages name."""

    def read(value: Any) -> float:
        if not hasattr(value, "__float__") or not inside(value):
            raise ArgumentError(f"expected a number in {interval}. Received: {value!r}.")
        return float(value)

    return read


_rate = number("[0, 1]", lambda v: 0 <= v <= 1)
_rate_below_one = number("[0, 1)", lambda v: 0 <= v < 1)
_non_negative = number("[0, inf)", lambda v: v >= 0)


def _read_noise_shape(value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or any(
        n is not None and not (hasattr(n, "__index__") and n > 0) for n in value
    ):
        raise ArgumentError(f"expected a tuple of sizes >= 1 and None. Received: {value!r}.")
    return tuple(value)


@builtin()
class _Stochastic(Layer):
    """What all have in common: without training the inputs pass as they are."""

    _strength: ClassVar[str] = "rate"  # the argument that, at 0, switches the layer off

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, changed at random while training."""
        floating = jnp.issubdtype(inputs.dtype, jnp.floating)
        x = inputs if floating else inputs.astype(self.compute_dtype)
        return self._changed(x) if training and getattr(self, self._strength) else x

    def _changed(self, x: Any) -> Any:
        raise NotImplementedError

    def _normal(self: Any, x: Any) -> Any:
        """A draw from the standard normal distribution for each entry."""
        return jax.random.normal(random_key(self.seed, ""), x.shape, x.dtype)


@builtin()
class _Dropout(_Stochastic):
    """Entries are kept or dropped, each for itself or in blocks that share one draw."""

    def _block_shape(self: Any, x: Any) -> tuple[Any, ...]:
        """Sizes of the draw: ``noise_shape``, and those of ``x`` where it leaves them open."""
        wanted = (None,) * x.ndim if self.noise_shape is None else self.noise_shape
        if len(wanted) != x.ndim or any(
            n not in (None, 1, size) for n, size in zip(wanted, x.shape, strict=True)
        ):
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot spread its draws over this "
                f"input.\n  expected: {len(wanted)} axes, of the sizes of noise_shape={wanted} "
                f"where those are neither None nor 1\n  received: {show_dims(x.shape)}\n"
                "Write None for an axis to draw for each of its entries, 1 to draw once for all."
            )
        return tuple(size if n is None else n for n, size in zip(wanted, x.shape, strict=True))

    def _kept(self: Any, x: Any) -> Any:
        """True for the entries that stay."""
        return keep(random_key(self.seed, ""), self.rate, self._block_shape(x))

    def _changed(self: Any, x: Any) -> Any:
        if self.rate == 1:
            return jnp.zeros_like(x)
        return jnp.where(self._kept(x), x / (1 - self.rate), jnp.zeros((), x.dtype))


@builtin("layers")
class Dropout(_Dropout):
    """Set a part of the entries to 0 while training, and scale the rest up by ``1 / (1 - rate)``.

    So the expected value of each entry stays what it is; without training nothing changes.

    Args:
        rate: the probability of an entry to be dropped, from 0 to 1.
        noise_shape: sizes of the draw, batch included: where it has a 1, the entries along that
            axis are kept or dropped together; None stands for the input's own size.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: any, unchanged.

    Raises:
        ShapeError: a ``noise_shape`` that does not fit the input.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> Dropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    >>> sorted(set(Dropout(0.5)(jnp.ones(100), training=True).tolist()))
    [0.0, 2.0]
    """

    rate: float = field(convert=_rate)
    noise_shape: tuple[int | None, ...] | None = field(None, convert=_read_noise_shape)
    seed: int | None = field(None, convert=read_seed)


@builtin("layers")
class AlphaDropout(_Dropout):
    """Dropout for networks of SELUs: dropped entries become SELU's lower bound, not 0.

    With ``m = -1.7581`` (that bound) and ``q = 1 - rate``: ``a * (x if kept else m) + b``, where
    ``a = (q + m ** 2 * q * rate) ** -0.5`` and ``b = -a * rate * m`` keep mean 0 and variance 1.

    Args:
        rate: the probability of an entry to be dropped, from 0 to 1 exclusive.
        noise_shape: sizes of the draw, batch included: where it has a 1, the entries along that
            axis are kept or dropped together; None stands for the input's own size.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: any, unchanged.

    Raises:
        ShapeError: a ``noise_shape`` that does not fit the input.

    Klambauer et al. 2017, arXiv:1706.02515.

    >>> AlphaDropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    rate: float = field(convert=_rate_below_one)
    noise_shape: tuple[int | None, ...] | None = field(None, convert=_read_noise_shape)
    seed: int | None = field(None, convert=read_seed)

    def _changed(self, x: Any) -> Any:
        bound = -1.6732632423543772 * 1.0507009873554805  # SELU's alpha and scale
        a = ((1 - self.rate) * (1 + self.rate * bound**2)) ** -0.5
        b = -a * self.rate * bound
        return a * jnp.where(self._kept(x), x, jnp.asarray(bound, x.dtype)) + b


@builtin()
class _SpatialDropout(_Dropout):
    """Whole channels are kept or dropped: the draw has size 1 along the space."""

    _space: ClassVar[int]  # number of axes between batch and channels

    def __post_init__(self: Any) -> None:
        super().__post_init__()
        axes = layout(self._space, self.data_format)
        self.input_spec = InputSpec(ndim=self._space + 2, layout=axes)

    def _block_shape(self: Any, x: Any) -> tuple[Any, ...]:
        ones = (1,) * self._space
        if self.data_format == "channels_first":
            return (*x.shape[:2], *ones)
        return (x.shape[0], *ones, x.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments, without ``trainable``, which Keras's classes do not take."""
        return {k: v for k, v in super().get_config().items() if k != "trainable"}


@builtin("layers")
class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of a sequence: a channel is 0 at every step, or at none.

    Args:
        rate: the probability of a channel to be dropped, from 0 to 1.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: ``(batch, time, channels)``, unchanged.

    Raises:
        ShapeError: an input without exactly three axes.

    Tompson et al. 2014, arXiv:1411.4280.

    >>> y = SpatialDropout1D(0.5)(jnp.ones((1, 4, 9)), training=True)
    >>> bool(jnp.all(y == y[:, :1]))
    True
    """

    rate: float = field(convert=_rate)
    seed: int | None = field(None, convert=read_seed)
    data_format = "channels_last"
    _space = 1


@builtin("layers")
class SpatialDropout2D(_SpatialDropout):
    """Dropout of whole channels of images: a channel is 0 at every position, or at none.

    Args:
        rate: the probability of a channel to be dropped, from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default of ``lamina.config``
            when None.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: ``(batch, height, width, channels)`` or ``(batch, channels, height, width)``,
    unchanged.

    Raises:
        ShapeError: an input without exactly four axes.

    Tompson et al. 2014, arXiv:1411.4280.

    >>> y = SpatialDropout2D(0.5)(jnp.ones((1, 4, 4, 9)), training=True)
    >>> bool(jnp.all(y == y[:, :1, :1]))
    True
    """

    rate: float = field(convert=_rate)
    data_format: str = field(None, convert=settings.standardize_data_format)
    seed: int | None = field(None, convert=read_seed)
    _space = 2


@builtin("layers")
class SpatialDropout3D(SpatialDropout2D):
    """Dropout of whole channels of volumes: a channel is 0 at every position, or at none.

    Args:
        rate: the probability of a channel to be dropped, from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``; the default of ``lamina.config``
            when None.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: ``(batch, depth, height, width, channels)`` or
    ``(batch, channels, depth, height, width)``, unchanged.

    Raises:
        ShapeError: an input without exactly five axes.

    Tompson et al. 2014, arXiv:1411.4280.

    >>> SpatialDropout3D(0.5)(jnp.ones((1, 2, 2, 2, 3))).shape
    (1, 2, 2, 2, 3)
    """

    _space = 3


@builtin("layers")
class GaussianDropout(_Stochastic):
    """Multiply by normal noise of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``.

    Its mean and variance are those of :class:`Dropout` of the same rate.

    Args:
        rate: as of a dropout, from 0 to 1 exclusive.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: any, unchanged.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> GaussianDropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    rate: float = field(convert=_rate_below_one)
    seed: int | None = field(None, convert=read_seed)

    def _changed(self, x: Any) -> Any:
        return x * (1 + math.sqrt(self.rate / (1 - self.rate)) * self._normal(x))


@builtin("layers")
class GaussianNoise(_Stochastic):
    """Add normal noise of mean 0 and standard deviation ``stddev``.

    Args:
        stddev: the standard deviation, >= 0.
        seed: an integer that makes the draws differ from those of the global seed.

    Shapes: any, unchanged.

    >>> GaussianNoise(0.1)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    stddev: float = field(convert=_non_negative)
    seed: int | None = field(None, convert=read_seed)
    _strength = "stddev"

    def _changed(self, x: Any) -> Any:
        return x + self.stddev * self._normal(x)


@builtin("layers")
class ActivityRegularization(Layer):
    """Add ``(l1 * sum(|x|) + l2 * sum(x ** 2)) / batch`` to the loss; the inputs pass unchanged.

    Args:
        l1: strength of the first term, >= 0.
        l2: strength of the second term, >= 0.

    Shapes: any, unchanged.

    >>> layer = ActivityRegularization(l1=0.5)
    >>> layer(jnp.array([[1.0, -2.0]])).tolist(), [float(x) for x in layer.losses]
    ([[1.0, -2.0]], [1.5])
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.activity_regularizer = regularizers.L1L2(self.l1, self.l2)

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """``l1`` and ``l2``; the regularizer is made from them."""
        return {k: v for k, v in super().get_config().items() if k != "activity_regularizer"}


__all__ = [
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
]  # fmt: skip
