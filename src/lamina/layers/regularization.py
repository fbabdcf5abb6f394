"""Layers that act during training only: dropout, noise, and a penalty on activations.

Their random numbers depend only on the seed, the layer's path and the step. Integers become floats.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import regularizers, settings
from lamina.core.scope import random_key
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.base import read_seed
from lamina.layers.base import Layer
from lamina.layers.spatial_base import SpatialLayer, fill
from lamina.ops.lowering.dropout import keep
from lamina.random.seed_generator import Seeded
from lamina.serialization.fields import field, is_integer, number, optional
from lamina.serialization.registry import builtin

dropout_rate = number("[0, 1]")


def _read_noise_shape(value: Any) -> tuple[int | None, ...]:
    if not isinstance(value, (list, tuple)) or any(
        n is not None and not (is_integer(n) and n > 0) for n in value
    ):
        raise ArgumentError(f"expected a tuple of integers >= 1 and None. Received: {value!r}.")
    return tuple(value)


@builtin()
class _Stochastic(Seeded, Layer):
    """Base class: outside training, the inputs are returned unchanged."""

    _strength: ClassVar[str] = "rate"  # the argument that disables the layer if it is 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, changed at random during training."""
        floating = jnp.issubdtype(inputs.dtype, jnp.floating)
        x = inputs if floating else inputs.astype(self.compute_dtype)
        return self._changed(x) if training and vars(self)[self._strength] else x

    def _changed(self, x: Any) -> Any:
        raise NotImplementedError

    def _normal(self: Any, x: Any) -> Any:
        """A sample of the standard normal distribution for each element."""
        return jax.random.normal(random_key(self.seed, ""), x.shape, x.dtype)


@builtin()
class _Dropout(_Stochastic):
    """Base class: elements are dropped independently, or in blocks that share one random number."""

    def _block_shape(self: Any, x: Any) -> tuple[Any, ...]:
        """Shape of the random numbers: ``noise_shape``, completed by the shape of ``x``."""
        wanted = (None,) * x.ndim if self.noise_shape is None else self.noise_shape
        if len(wanted) != x.ndim or any(
            n not in (None, 1, size) for n, size in zip(wanted, x.shape, strict=True)
        ):
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) has a `noise_shape` that "
                "does not broadcast to the input.",
                layer=self.name,
                expected=f"an input of shape {show_dims(wanted)}, where None and 1 fit any size",
                received=show_dims(x.shape),
                cure=(
                    "In `noise_shape`, None means one random number for each element along "
                    "an axis, and 1 means one for all of them."
                ),
            )
        return tuple(size if n is None else n for n, size in zip(wanted, x.shape, strict=True))

    def _kept(self: Any, x: Any) -> Any:
        """True for the elements that are kept."""
        return keep(random_key(self.seed, ""), self.rate, self._block_shape(x))

    def _changed(self: Any, x: Any) -> Any:
        if self.rate == 1:
            return jnp.zeros_like(x)
        return jnp.where(self._kept(x), x / (1 - self.rate), jnp.zeros((), x.dtype))


@builtin("layers")
class Dropout(_Dropout):
    """Set a random fraction of the elements to 0 during training, and scale the others up.

    The others are multiplied by ``1 / (1 - rate)``, so that the expected value of each element
    stays the same. Outside training, the input is returned unchanged.

    Args:
        rate: Fraction of the elements to drop, from 0 to 1.
        noise_shape: Shape of the random numbers, batch included: the elements along an axis where
            it has a 1 are kept or dropped together; None stands for the size of the input.
        seed: Integer that, with the global seed, determines the random numbers.

    Shapes: any, unchanged.

    Raises:
        ShapeError: A ``noise_shape`` that does not broadcast to the input.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> Dropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    >>> sorted(set(Dropout(0.5)(jnp.ones(100), training=True).tolist()))
    [0.0, 2.0]
    """

    rate: float = field(convert=dropout_rate)
    noise_shape: tuple[int | None, ...] | None = field(
        default=None, convert=optional(_read_noise_shape)
    )
    seed: int | None = field(default=None, convert=read_seed)


@builtin("layers")
class AlphaDropout(_Dropout):
    """Dropout for networks with SELU activations: dropped elements become SELU's lower bound.

    With ``m = -1.7581`` (that bound) and ``q = 1 - rate``: ``a * (x if kept else m) + b``, where
    ``a = (q + m ** 2 * q * rate) ** -0.5`` and ``b = -a * rate * m`` keep mean 0 and variance 1.

    Args:
        rate: Fraction of the elements to drop, from 0 to 1 exclusive.
        noise_shape: Shape of the random numbers, batch included: the elements along an axis where
            it has a 1 are kept or dropped together; None stands for the size of the input.
        seed: Integer that, with the global seed, determines the random numbers.

    Shapes: any, unchanged.

    Raises:
        ShapeError: A ``noise_shape`` that does not broadcast to the input.

    Klambauer et al. 2017, arXiv:1706.02515.

    >>> AlphaDropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    rate: float = field(convert=number("[0, 1)"))
    noise_shape: tuple[int | None, ...] | None = field(
        default=None, convert=optional(_read_noise_shape)
    )
    seed: int | None = field(default=None, convert=read_seed)

    def _changed(self, x: Any) -> Any:
        bound = -1.6732632423543772 * 1.0507009873554805  # SELU's alpha and scale
        a = ((1 - self.rate) * (1 + self.rate * bound**2)) ** -0.5
        b = -a * self.rate * bound
        return a * jnp.where(self._kept(x), x, jnp.asarray(bound, x.dtype)) + b


@builtin()
class _SpatialDropout(SpatialLayer, _Dropout):
    """Base class: whole channels are dropped, as all positions share one random number."""

    def _block_shape(self, x: Any) -> tuple[Any, ...]:
        return tuple(1 if axis in self.spatial_axes else n for axis, n in enumerate(x.shape))

    def get_config(self) -> dict[str, Any]:
        """The arguments, without ``trainable``, which Keras's classes do not take."""
        return {k: v for k, v in super().get_config().items() if k != "trainable"}


_SPATIAL = """Dropout of whole channels: a channel is set to 0 at every position, or at none.

    For inputs with $dimensions, where neighboring elements are
    so strongly correlated that dropping single ones would have little effect.

    Args:
        rate: Fraction of the channels to drop, from 0 to 1.$more
        seed: Integer that, with the global seed, determines the random numbers.

    Shapes: ``(batch, $spatial, channels)``$last, unchanged.

    Raises:
        ShapeError: A different number of axes.

    Tompson et al. 2014, arXiv:1411.4280.

    >>> y = SpatialDropout${rank}D(0.5)(jnp.ones((1, $input)), training=True)
    >>> set(y.sum($axes).ravel().tolist()) <= {0.0, $sum}
    True
    """


def _spatial(rank: int) -> str:
    more = "" if rank == 1 else "\n        data_format: $data_format"
    text = _SPATIAL.replace("$more", more)
    text = text.replace("$last", "" if rank == 1 else " with ``channels_last``")
    text = text.replace("$axes", str(tuple(range(1, rank + 1)))).replace("$sum", str(2.0 * 4**rank))
    return fill(text, rank, input=(4, 9))


@builtin("layers")
class SpatialDropout1D(_SpatialDropout, positional="rate seed name dtype"):
    __doc__ = _spatial(1)
    rank = 1
    rate: float = field(convert=dropout_rate)
    seed: int | None = field(default=None, convert=read_seed)
    data_format = "channels_last"


@builtin("layers")
class SpatialDropout2D(_SpatialDropout, positional="rate data_format seed name dtype"):
    __doc__ = _spatial(2)
    rank = 2
    rate: float = field(convert=dropout_rate)
    data_format: str = field(default=None, convert=settings.standardize_data_format)
    seed: int | None = field(default=None, convert=read_seed)


@builtin("layers")
class SpatialDropout3D(SpatialDropout2D):
    __doc__ = _spatial(3)
    rank = 3


@builtin("layers")
class GaussianDropout(_Stochastic):
    """Multiply by Gaussian noise of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``.

    The mean and variance of the output are those of :class:`Dropout` with the same rate.

    Args:
        rate: Dropout rate with the same effect, from 0 to 1 exclusive.
        seed: Integer that, with the global seed, determines the random numbers.

    Shapes: any, unchanged.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> GaussianDropout(0.5)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    rate: float = field(convert=number("[0, 1)"))
    seed: int | None = field(default=None, convert=read_seed)

    def _changed(self, x: Any) -> Any:
        return x * (1 + math.sqrt(self.rate / (1 - self.rate)) * self._normal(x))


@builtin("layers")
class GaussianNoise(_Stochastic):
    """Add Gaussian noise of mean 0 and standard deviation ``stddev``.

    Args:
        stddev: Standard deviation, >= 0.
        seed: Integer that, with the global seed, determines the random numbers.

    Shapes: any, unchanged.

    >>> GaussianNoise(0.1)(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    stddev: float = field(convert=number("[0, inf)"))
    seed: int | None = field(default=None, convert=read_seed)
    _strength = "stddev"

    def _changed(self, x: Any) -> Any:
        return x + self.stddev * self._normal(x)


@builtin("layers")
class ActivityRegularization(Layer):
    """Add ``(l1 * sum(|x|) + l2 * sum(x ** 2)) / batch`` to the loss; return the inputs.

    Args:
        l1: Factor of the first term, >= 0.
        l2: Factor of the second term, >= 0.

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
        """``l1`` and ``l2``, from which the regularizer is made."""
        return {k: v for k, v in super().get_config().items() if k != "activity_regularizer"}


__all__ = [
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
]  # fmt: skip
