"""Normalization of activations, and spectral normalization of a layer's kernel.

Statistics are computed in float32 or wider, also where the layer computes in 16 bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lamina import initializers, ops
from lamina.core.scope import Scope, current, entered
from lamina.core.spec import show_dims
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.weights import AffineInitializers, AffinePenalties, add_weight, initializer
from lamina.serialization import registry
from lamina.serialization.fields import (
    axis_or_axes,
    field,
    integer,
    integers,
    optional,
    positive_int,
)
from lamina.serialization.registry import builtin


def _read_axes(value: Any) -> tuple[int, ...]:
    """Read one axis or several, sorted."""
    axes = integers(value)
    if not axes:
        raise ArgumentError(f"expected an axis or a list of axes. Received: {value!r}.")
    return tuple(sorted(axes))


def _wide(x: Any) -> Any:
    """``x`` in float32, or in its own dtype where that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@builtin()
class _Normalization(Layer):
    """Base class: masks are propagated, and a scale and an offset may be learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=1)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _add_affine(self: Any, shape: tuple[int, ...], *, center: bool = True) -> None:
        """Add ``gamma`` and ``beta`` if the arguments ask for them."""
        if self.scale:
            self.gamma = add_weight(self, "gamma", shape, autocast=False)
        if self.center and center:
            self.beta = add_weight(self, "beta", shape, autocast=False)

    def _affine(self, x: Any, axes: tuple[int, ...]) -> Any:
        """``x * gamma + beta``, with the weights along ``axes``."""
        kept = {a % x.ndim for a in axes}
        shape = [size if a in kept else 1 for a, size in enumerate(x.shape)]
        x = x if self.gamma is None else x * jnp.reshape(self.gamma.value, shape)
        return x if self.beta is None else x + jnp.reshape(self.beta.value, shape)


def _read_clipping(value: Any) -> dict[str, float]:
    """Read the bounds of the correction of batch renormalization."""
    names = ("rmin", "rmax", "dmax")
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise ArgumentError(f"expected a dict with any of {names}. Received: {value!r}.")
    bounds = {k: float(v) for k, v in value.items() if v is not None}
    if bounds.get("rmin", 0) > bounds.get("rmax", math.inf) or bounds.get("dmax", 0) < 0:
        raise ArgumentError(f"expected rmin <= rmax and dmax >= 0. Received: {dict(value)}.")
    return bounds


@builtin()
class _MovingStatistics(AffineInitializers, trailing=True, kw_only=True):
    moving_mean_initializer: Any = initializer("zeros")
    moving_variance_initializer: Any = initializer("ones")


@builtin("layers")
class BatchNormalization(
    _Normalization, AffinePenalties, _MovingStatistics,
    positional="axis momentum epsilon center scale beta_initializer gamma_initializer "
    "moving_mean_initializer moving_variance_initializer beta_regularizer gamma_regularizer "
    "beta_constraint gamma_constraint renorm renorm_clipping renorm_momentum synchronized",
):  # fmt: skip
    """Normalize each channel to mean 0 and variance 1 over the batch, then scale and shift it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``. During training, ``mean`` and
    ``variance`` are those of the batch (of its unmasked positions if there is a mask), and the
    moving averages become ``moving * momentum + batch * (1 - momentum)``. Otherwise, and always
    while ``trainable`` is False, they are the moving averages.

    Args:
        axis: Axis of the channels.
        momentum: Fraction of the moving averages that each training step keeps.
        epsilon: Added to the variance, so that the division is finite.
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        beta_initializer: Initializer of ``beta``.
        gamma_initializer: Initializer of ``gamma``.
        moving_mean_initializer: Initializer of ``moving_mean``.
        moving_variance_initializer: Initializer of ``moving_variance``.
        synchronized: Whether to compute the statistics over the batches of all devices. They always
            are here, since a batch is one array however it is distributed, so both values give the
            same result.
        renorm: Whether to correct the normalized values of a training step towards the moving
            averages (batch renormalization): they become ``x * r + d`` with
            ``r = stddev / renorm_stddev`` and ``d = (mean - renorm_mean) / renorm_stddev``, which
            are constants for the gradients.
        renorm_clipping: Bounds of the correction, a dict with any of ``"rmin"``, ``"rmax"`` (of
            ``r``) and ``"dmax"`` (of the absolute value of ``d``); no bounds when None.
        renorm_momentum: Fraction of ``renorm_mean`` and ``renorm_stddev`` that each step keeps.

    Shapes: any, unchanged; all weights have the shape ``(channels,)``. Integers become floats.

    Raises:
        ShapeError: An unknown number of channels, or a different rank or number of channels than
            when the layer was built.
        ArgumentError: Invalid bounds of the correction.

    Ioffe and Szegedy 2015, arXiv:1502.03167; ``renorm``: Ioffe 2017, arXiv:1702.03275. As in Keras,
    the moving variance is updated with the biased variance of the batch (no Bessel's correction).

    >>> layer = BatchNormalization(epsilon=0.0, momentum=0.5)
    >>> layer(jnp.array([[1.0], [5.0]]), training=True).tolist()
    [[-1.0], [1.0]]
    >>> layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()
    ([1.5], [2.5])
    """

    axis: int = field(default=-1, convert=integer)
    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    renorm: bool = False
    renorm_clipping: Any = field(default=None, convert=optional(_read_clipping))
    renorm_momentum: float = 0.99
    synchronized: bool = field(default=False, convert=bool)

    def get_config(self) -> dict[str, Any]:
        """The arguments; those of batch renormalization only where it is on.

        So releases of Keras that do not have it read the others' files.
        """
        config = super().get_config()
        return {k: v for k, v in config.items() if self.renorm or not k.startswith("renorm")}

    def build(self, input_shape: Any) -> None:
        """Add ``gamma``, ``beta`` and the moving averages."""
        channels = known_size(self, input_shape, self.axis)
        self._add_affine((channels,))
        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer
        self.moving_mean = self._add_moving(channels, "moving_mean", mean)
        self.moving_variance = self._add_moving(channels, "moving_variance", variance)
        if self.renorm:

            def stddev(shape: Any, dtype: Any = None) -> Any:
                return jnp.sqrt(variance(shape, dtype=dtype))

            self.moving_stddev = self._add_moving(channels, "moving_stddev", stddev)
            self.renorm_mean = self._add_moving(channels, "renorm_mean", mean)
            self.renorm_stddev = self._add_moving(channels, "renorm_stddev", stddev)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def _add_moving(self, channels: int, name: str, initial: Any) -> Variable:
        return self.add_weight((channels,), initial, trainable=False, autocast=False, name=name)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize, and during training update the moving averages."""
        x = _wide(inputs)
        beta = None if self.beta is None else self.beta.value
        gamma = None if self.gamma is None else self.gamma.value
        if training and self.trainable:
            mean, variance = self._moments(x, mask)
            if self.renorm:
                r, d = self._correction(mean, variance)
                gamma, shift = (r, d) if gamma is None else (r * gamma, d * gamma)
                beta = shift if beta is None else shift + beta
            else:
                self._move(self.moving_variance, variance)
            self._move(self.moving_mean, mean)
        else:
            mean, variance = _wide(self.moving_mean.value), _wide(self.moving_variance.value)
        x = ops.batch_normalization(x, mean, variance, self.axis, beta, gamma, self.epsilon)
        return x.astype(self.compute_dtype)

    def _moments(self, x: Any, mask: Any) -> tuple[Any, Any]:
        """Mean and variance of each channel over the unmasked positions."""
        axes = tuple(a for a in range(x.ndim) if a != self.axis % x.ndim)
        if mask is None:
            return ops.moments(x, axes)
        counts = jnp.reshape(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim))).astype(x.dtype)
        counts = jnp.broadcast_to(counts, x.shape)
        number = jnp.maximum(jnp.sum(counts, axes, keepdims=True), 1)
        mean = jnp.sum(x * counts, axes, keepdims=True) / number
        variance = jnp.sum(jnp.square(x - mean) * counts, axes, keepdims=True) / number
        return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)

    def _correction(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        """Factor and shift of batch renormalization, from the averages before this step."""
        stddev = jnp.sqrt(variance + self.epsilon)
        moving = jnp.maximum(_wide(self.renorm_stddev.value), math.sqrt(self.epsilon))
        r, d = stddev / moving, (mean - _wide(self.renorm_mean.value)) / moving
        bounds = self.renorm_clipping or {}
        r = jnp.clip(r, bounds.get("rmin"), bounds.get("rmax"))
        if "dmax" in bounds:
            d = jnp.clip(d, -bounds["dmax"], bounds["dmax"])
        self._move(self.renorm_mean, mean, self.renorm_momentum)
        self._move(self.renorm_stddev, stddev, self.renorm_momentum)
        self._move(self.moving_stddev, stddev)
        new = jnp.square(_wide(self.moving_stddev.value)) - self.epsilon
        self.moving_variance.assign(jnp.maximum(new, 0))
        return jax.lax.stop_gradient(r), jax.lax.stop_gradient(d)

    def _move(self, moving: Variable, batch: Any, momentum: float | None = None) -> None:
        keep = self.momentum if momentum is None else momentum
        moving.assign(_wide(moving.value) * keep + batch * (1 - keep))


@builtin("layers")
class LayerNormalization(_Normalization, AffinePenalties, AffineInitializers):
    """Normalize each sample to mean 0 and variance 1 over some axes, then scale and shift it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, with the statistics over ``axis``.

    Args:
        axis: Axis or axes over which to normalize.
        epsilon: Added to the variance, so that the division is finite.
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        beta_initializer: Initializer of ``beta``.
        gamma_initializer: Initializer of ``gamma``.
        rms_scaling: Deprecated in Keras: compute ``x / sqrt(variance + epsilon) * gamma``, without
            ``beta``. Use :class:`RMSNormalization` to divide by root mean squares.

    Shapes: any, unchanged; the weights have the shape of the normalized axes. Integers become
    floats.

    Raises:
        ShapeError: An unknown size of a normalized axis, or a different size than when the layer
            was built.

    Ba et al. 2016, arXiv:1607.06450.

    >>> LayerNormalization(epsilon=0.0)(jnp.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    axis: tuple[int, ...] = field(default=-1, convert=_read_axes)
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    rms_scaling: bool = field(default=False, kw_only=True)

    def build(self, input_shape: Any) -> None:
        """Add ``gamma`` and ``beta``."""
        axes = sorted(self.axis, key=lambda a: a % len(input_shape))
        sizes = tuple(known_size(self, input_shape, a) for a in axes)
        self._add_affine(sizes, center=not self.rms_scaling)
        self.input_spec = InputSpec(min_ndim=1, axes=dict(zip(axes, sizes, strict=True)))

    def call(self, inputs: Any) -> Any:
        """Normalize, scale and shift."""
        x = _wide(inputs)
        if self.rms_scaling:
            x = x * jax.lax.rsqrt(ops.moments(x, self.axis, keepdims=True)[1] + self.epsilon)
        else:
            x = ops.layer_normalization(x, axis=self.axis, epsilon=self.epsilon)
        return self._affine(x, self.axis).astype(self.compute_dtype)


def _read_groups(value: Any) -> int:
    return -1 if value == -1 else positive_int(value)


@builtin("layers")
class GroupNormalization(_Normalization, AffinePenalties, AffineInitializers):
    """Normalize groups of channels to mean 0 and variance 1 in each sample, then scale and shift.

    The channels are split into ``groups`` of consecutive ones. The statistics of a group are
    computed over its channels and over all other axes except the batch.

    Args:
        groups: Number of groups; -1 for one channel in each, which is instance normalization.
        axis: Axis of the channels.
        epsilon: Added to the variance, so that the division is finite.
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        beta_initializer: Initializer of ``beta``.
        gamma_initializer: Initializer of ``gamma``.

    Shapes: ``(batch, ..., channels)``, unchanged; the weights have the shape ``(channels,)``.
    Integers become floats.

    Raises:
        ShapeError: A number of channels that is unknown or not a multiple of ``groups``.

    Wu and He 2018, arXiv:1803.08494.

    >>> GroupNormalization(2, epsilon=0.0)(jnp.array([[1.0, 3.0, 10.0, 30.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    groups: int = field(default=32, convert=_read_groups)
    axis: int = field(default=-1, convert=integer)
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Add ``gamma`` and ``beta``."""
        channels = known_size(self, input_shape, self.axis)
        if channels % self.groups or self.axis % len(input_shape) == 0:
            raise ShapeError(
                f"Layer {self.name!r} (GroupNormalization) cannot split the channels into groups.",
                layer=self.name,
                expected=(
                    f"a multiple of groups={self.groups} on axis {self.axis}, which is not "
                    "the batch axis"
                ),
                received=show_dims(tuple(input_shape)),
                cure=(
                    "Choose a number of `groups` that divides the number of channels, or -1 "
                    "for one channel in each group."
                ),
            )
        self._add_affine((channels,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Any) -> Any:
        """Normalize the groups, scale and shift the channels."""
        axis = self.axis % inputs.ndim
        before, channels, after = inputs.shape[:axis], inputs.shape[axis], inputs.shape[axis + 1 :]
        groups = channels if self.groups == -1 else self.groups
        x = jnp.reshape(_wide(inputs), (*before, groups, channels // groups, *after))
        axes = tuple(a for a in range(1, x.ndim) if a != axis)
        x = ops.layer_normalization(x, axis=axes, epsilon=self.epsilon)
        return self._affine(jnp.reshape(x, inputs.shape), (axis,)).astype(self.compute_dtype)


@builtin("layers")
class RMSNormalization(Layer):
    """Normalize each sample to a root mean square of 1 over some axes, then scale it.

    ``x / sqrt(mean(x ** 2) + epsilon) * scale``, with the mean over ``axis``.

    Args:
        axis: Axis or axes over which to normalize.
        epsilon: Added to the variance, so that the division is finite.

    Shapes: any, unchanged; ``scale`` has the shape of the normalized axes. Integers become floats.

    Raises:
        ShapeError: An unknown size of a normalized axis, or a different size than when the layer
            was built.

    Zhang and Sennrich 2019, arXiv:1910.07467.

    >>> RMSNormalization(epsilon=0.0)(jnp.array([[3.0, -3.0]])).tolist()
    [[1.0, -1.0]]
    """

    axis: tuple[int, ...] = field(default=-1, convert=_read_axes)
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def build(self, input_shape: Any) -> None:
        """Add ``scale``."""
        axes = sorted(self.axis, key=lambda a: a % len(input_shape))
        sizes = tuple(known_size(self, input_shape, a) for a in axes)
        self.scale = self.add_weight(sizes, "ones", name="scale", autocast=False)
        self.input_spec = InputSpec(min_ndim=1, axes=dict(zip(axes, sizes, strict=True)))

    def call(self, x: Any) -> Any:
        """Normalize and scale."""
        result = ops.rms_normalization(_wide(x), self.scale.value, self.axis, self.epsilon)
        return result.astype(self.compute_dtype)


@builtin("layers")
class UnitNormalization(Layer):
    """Scale each sample to an L2 norm of 1 over some axes: ``x / sqrt(sum(x ** 2))``.

    Vectors of zeros stay zeros.

    Args:
        axis: Axis or axes that form one vector.

    Shapes: any, unchanged. Integers become floats.

    >>> [f"{x:.2f}" for x in UnitNormalization()(jnp.array([[3.0, 4.0]]))[0]]
    ['0.60', '0.80']
    """

    axis: int | tuple[int, ...] = field(default=-1, convert=axis_or_axes)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Divide by the norm."""
        return ops.normalize(_wide(inputs), self.axis, epsilon=1e-12).astype(self.compute_dtype)


def _read_layer(value: Any) -> Layer:
    layer = registry.deserialize(value) if isinstance(value, Mapping) else value
    if not isinstance(layer, Layer):
        raise ArgumentError(f"expected a layer. Received: {value!r}.")
    return layer


@builtin("layers")
class SpectralNormalization(Layer):
    """Wrap a layer so that the largest singular value of its kernel, as a matrix, is 1.

    The layer computes with ``kernel / sigma``, where ``sigma = v @ kernel @ u``. The vectors ``u``
    and ``v`` approach the singular vectors by power iteration: ``v = unit(kernel @ u)``,
    ``u = unit(v @ kernel)``. They are constants to the gradient.

    Args:
        layer: A layer with a ``kernel`` or ``embeddings``.
        power_iterations: Number of power iterations in each call.

    Shapes: those of the layer; ``vector_u`` has the shape ``(1, last dimension of the kernel)``.

    A kernel of zeros is left unchanged.

    Raises:
        ArgumentError: A layer without ``kernel`` or ``embeddings``.

    Miyato et al. 2018, arXiv:1802.05957. Unlike Keras, which overwrites the kernel during training
    and otherwise uses it as stored, this divides in every call and stores only ``u``.

    >>> from lamina.layers import Dense
    >>> layer = SpectralNormalization(Dense(1, kernel_initializer="ones", use_bias=False))
    >>> f"{float(layer(jnp.array([[3.0, 4.0]]))[0, 0]):.3f}"
    '4.950'
    """

    layer: Any = field(convert=_read_layer)
    power_iterations: int = field(default=1, convert=positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.autocast = False  # the wrapped layer casts, after the division

    def build(self, input_shape: Any) -> None:
        """Build the layer, and add ``vector_u``."""
        if not self.layer.built:
            self.layer.build(input_shape)
        named = {v.name: v for v in self.layer.weights} | vars(self.layer)
        kernel = named.get("kernel", named.get("embeddings"))
        if not isinstance(kernel, Variable):
            raise ArgumentError(
                f"Layer {self.name!r} (SpectralNormalization) expects a layer with a "
                f"`kernel` or `embeddings`. Received: {self.layer!r}.",
                layer=self.name,
            )
        self.kernel = kernel
        self.vector_u = self.add_weight(
            (1, self.kernel.shape[-1]), initializers.TruncatedNormal(stddev=0.02), trainable=False,
            name="vector_u",
        )  # fmt: skip

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Call the layer with the normalized kernel."""
        u, kernel = self.normalized_weights()
        if training:
            self.vector_u.assign(u)
        scope = current() or Scope()
        values = {**scope.values, self.kernel: kernel}
        with entered(dataclasses.replace(scope, values=values)):
            return self.layer(inputs).astype(self.compute_dtype)

    def normalized_weights(self) -> tuple[Any, Any]:
        """The next ``vector_u``, and the kernel divided by its largest singular value."""
        kernel, u = self.kernel.value, self.vector_u.value
        before = u
        matrix = jnp.reshape(kernel, (-1, kernel.shape[-1]))
        fixed = jax.lax.stop_gradient(matrix)
        v = u
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ fixed.T, epsilon=1e-12)
            u = ops.normalize(v @ fixed, epsilon=1e-12)
        zero = ~jnp.any(fixed)  # such a kernel has no direction, and stays as it is
        return jnp.where(zero, before, u), kernel / jnp.where(zero, 1, jnp.sum((v @ matrix) * u))


__all__ = [
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
    "SpectralNormalization", "UnitNormalization",
]  # fmt: skip
