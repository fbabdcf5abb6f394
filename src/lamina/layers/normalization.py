"""Layers that bring activations to a common scale, and one that bounds a layer's kernel.

Statistics are computed in float32 (or wider), also where the layer computes in 16 bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lamina import constraints, initializers, ops, regularizers
from lamina.core.scope import Scope, current, entered
from lamina.core.spec import show_dims
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.serialization import registry
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin


def _read_axes(value: Any) -> int | tuple[int, ...]:
    """Read one axis or several."""
    if hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, (list, tuple)) and value and all(hasattr(a, "__index__") for a in value):
        return tuple(sorted(int(a) for a in value))
    raise ArgumentError(f"expected an axis or a list of axes. Received: {value!r}.")


def _listed(value: Any) -> tuple[int, ...]:
    axes = _read_axes(value)
    return (axes,) if isinstance(axes, int) else axes


def _wide(x: Any) -> Any:
    """``x`` in float32, or in its own dtype where that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@builtin()
class _Normalization(Layer):
    """What all have in common: masks pass, and a factor and a shift may be learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=1)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _add_affine(self: Any, shape: tuple[int, ...], *, center: bool = True) -> None:
        """Make ``gamma`` and ``beta``, as far as they are wanted."""
        for name, wanted in (("gamma", self.scale), ("beta", self.center and center)):
            if wanted:
                weight = self.add_weight(
                    shape, getattr(self, f"{name}_initializer"), name=name, autocast=False,
                    regularizer=getattr(self, f"{name}_regularizer"),
                    constraint=getattr(self, f"{name}_constraint"),
                )  # fmt: skip
                setattr(self, name, weight)

    def _affine(self, x: Any, axes: tuple[int, ...]) -> Any:
        """``x * gamma + beta``, with the weights along ``axes``."""
        kept = {a % x.ndim for a in axes}
        shape = [size if a in kept else 1 for a, size in enumerate(x.shape)]
        x = x if self.gamma is None else x * jnp.reshape(self.gamma.value, shape)
        return x if self.beta is None else x + jnp.reshape(self.beta.value, shape)


@builtin("layers")
class BatchNormalization(_Normalization):
    """Bring each channel to mean 0 and variance 1 over the batch, then scale and shift it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``. In training ``mean`` and ``variance``
    are those of the batch (of its unmasked positions, where there is a mask), and the moving ones
    become ``moving * momentum + batch * (1 - momentum)``. Otherwise, and always while
    ``trainable`` is False, they are the moving ones.

    Args:
        axis: the axis of the channels.
        momentum: how much of the moving statistics a step keeps.
        epsilon: keeps the division finite.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` is multiplied.
        beta_initializer: for ``beta``.
        gamma_initializer: for ``gamma``.
        moving_mean_initializer: for ``moving_mean``.
        moving_variance_initializer: for ``moving_variance``.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each step.
        gamma_constraint: projection of ``gamma`` after each step.
        synchronized: kept for Keras's signature: the batch is the whole batch on every device.

    Shapes: any, unchanged; all weights have the shape ``(channels,)``. Integers give floats.

    Raises:
        ShapeError: an open number of channels, or another rank or number than when built.
        ArgumentError: ``renorm=True``, which does not exist here.

    Ioffe and Szegedy 2015, arXiv:1502.03167. As in Keras, the moving variance takes the batch's
    own variance, without Bessel's correction.

    >>> layer = BatchNormalization(epsilon=0.0, momentum=0.5)
    >>> layer(jnp.array([[1.0], [5.0]]), training=True).tolist()
    [[-1.0], [1.0]]
    >>> layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()
    ([1.5], [2.5])
    """

    axis: int = field(-1, convert=int)
    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = field("zeros", convert=initializers.get)
    gamma_initializer: Any = field("ones", convert=initializers.get)
    moving_mean_initializer: Any = field("zeros", convert=initializers.get)
    moving_variance_initializer: Any = field("ones", convert=initializers.get)
    beta_regularizer: Any = field(None, convert=regularizers.get)
    gamma_regularizer: Any = field(None, convert=regularizers.get)
    beta_constraint: Any = field(None, convert=constraints.get)
    gamma_constraint: Any = field(None, convert=constraints.get)
    synchronized: bool = field(False, kw_only=True)

    def _accept_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Files of Keras name the arguments of batch renormalization, which is off in most."""
        if extra.pop("renorm", False):
            raise ArgumentError(
                "BatchNormalization() has no batch renormalization. Expected renorm=False. "
                "Received: renorm=True. For small batches use `GroupNormalization`."
            )
        extra.pop("renorm_clipping", None)
        extra.pop("renorm_momentum", None)
        return super()._accept_extra(extra)

    def build(self, input_shape: Any) -> None:
        """Make ``gamma``, ``beta`` and the moving statistics."""
        channels = known_size(self, input_shape, self.axis)
        self._add_affine((channels,))
        self.moving_mean = self.add_weight(
            (channels,), self.moving_mean_initializer, trainable=False, autocast=False,
            name="moving_mean",
        )  # fmt: skip
        self.moving_variance = self.add_weight(
            (channels,), self.moving_variance_initializer, trainable=False, autocast=False,
            name="moving_variance",
        )  # fmt: skip
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize, and in training update the moving statistics."""
        x = _wide(inputs)
        if training and self.trainable:
            mean, variance = self._moments(x, mask)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        else:
            mean, variance = _wide(self.moving_mean.value), _wide(self.moving_variance.value)
        beta = None if self.beta is None else self.beta.value
        gamma = None if self.gamma is None else self.gamma.value
        x = ops.batch_normalization(x, mean, variance, self.axis, beta, gamma, self.epsilon)
        return x.astype(self.compute_dtype)

    def _moments(self, x: Any, mask: Any) -> tuple[Any, Any]:
        """Mean and variance of each channel over the positions that count."""
        axes = tuple(a for a in range(x.ndim) if a != self.axis % x.ndim)
        if mask is None:
            return ops.moments(x, axes)
        counts = jnp.reshape(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim))).astype(x.dtype)
        counts = jnp.broadcast_to(counts, x.shape)
        number = jnp.maximum(jnp.sum(counts, axes, keepdims=True), 1)
        mean = jnp.sum(x * counts, axes, keepdims=True) / number
        variance = jnp.sum(jnp.square(x - mean) * counts, axes, keepdims=True) / number
        return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)

    def _move(self, moving: Variable, batch: Any) -> None:
        moving.assign(_wide(moving.value) * self.momentum + batch * (1 - self.momentum))


@builtin("layers")
class LayerNormalization(_Normalization):
    """Bring each sample to mean 0 and variance 1 over some axes, then scale and shift it.

    ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, with the statistics over ``axis``.

    Args:
        axis: the axis or axes that are normalized together.
        epsilon: keeps the division finite.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` is multiplied.
        beta_initializer: for ``beta``.
        gamma_initializer: for ``gamma``.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each step.
        gamma_constraint: projection of ``gamma`` after each step.
        rms_scaling: an older form: ``x / sqrt(variance + epsilon) * gamma``, without ``beta``. Use
            :class:`RMSNormalization` for root mean squares.

    Shapes: any, unchanged; the weights have the sizes of the normalized axes. Integers give floats.

    Raises:
        ShapeError: an open size on a normalized axis, or another size than when built.

    Ba et al. 2016, arXiv:1607.06450.

    >>> LayerNormalization(epsilon=0.0)(jnp.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    axis: tuple[int, ...] = field(-1, convert=_listed)
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = field("zeros", convert=initializers.get)
    gamma_initializer: Any = field("ones", convert=initializers.get)
    beta_regularizer: Any = field(None, convert=regularizers.get)
    gamma_regularizer: Any = field(None, convert=regularizers.get)
    beta_constraint: Any = field(None, convert=constraints.get)
    gamma_constraint: Any = field(None, convert=constraints.get)
    rms_scaling: bool = field(False, kw_only=True)

    def build(self, input_shape: Any) -> None:
        """Make ``gamma`` and ``beta``."""
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
class GroupNormalization(_Normalization):
    """Bring groups of channels to mean 0 and variance 1 within each sample, then scale and shift.

    The channels are cut into ``groups`` of neighbours; the statistics of a group are over its
    channels and all other axes but the batch.

    Args:
        groups: how many groups; -1 for one channel each, which is instance normalization.
        axis: the axis of the channels.
        epsilon: keeps the division finite.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` is multiplied.
        beta_initializer: for ``beta``.
        gamma_initializer: for ``gamma``.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each step.
        gamma_constraint: projection of ``gamma`` after each step.

    Shapes: ``(batch, ..., channels)``, unchanged; the weights have the shape ``(channels,)``.
    Integers give floats.

    Raises:
        ShapeError: a number of channels that is open or no multiple of ``groups``.

    Wu and He 2018, arXiv:1803.08494.

    >>> GroupNormalization(2, epsilon=0.0)(jnp.array([[1.0, 3.0, 10.0, 30.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    groups: int = field(32, convert=_read_groups)
    axis: int = field(-1, convert=int)
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: Any = field("zeros", convert=initializers.get)
    gamma_initializer: Any = field("ones", convert=initializers.get)
    beta_regularizer: Any = field(None, convert=regularizers.get)
    gamma_regularizer: Any = field(None, convert=regularizers.get)
    beta_constraint: Any = field(None, convert=constraints.get)
    gamma_constraint: Any = field(None, convert=constraints.get)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Make ``gamma`` and ``beta``."""
        channels = known_size(self, input_shape, self.axis)
        if channels % self.groups or self.axis % len(input_shape) == 0:
            raise ShapeError(
                f"Layer {self.name!r} (GroupNormalization) cannot cut the channels into groups.\n"
                f"  expected: a multiple of groups={self.groups} on axis {self.axis}, which is not "
                f"the batch\n  received: {show_dims(tuple(input_shape))}\n"
                "Choose `groups` that divide the channels, or -1 for one channel in each."
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
    """Bring each sample to a root mean square of 1 over some axes, then scale it.

    ``x / sqrt(mean(x ** 2) + epsilon) * scale``, with the mean over ``axis``.

    Args:
        axis: the axis or axes that are normalized together.
        epsilon: keeps the division finite.

    Shapes: any, unchanged; ``scale`` has the sizes of the normalized axes. Integers give floats.

    Raises:
        ShapeError: an open size on a normalized axis, or another size than when built.

    Zhang and Sennrich 2019, arXiv:1910.07467.

    >>> RMSNormalization(epsilon=0.0)(jnp.array([[3.0, -3.0]])).tolist()
    [[1.0, -1.0]]
    """

    axis: tuple[int, ...] = field(-1, convert=_listed)
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(min_ndim=1)

    def build(self, input_shape: Any) -> None:
        """Make ``scale``."""
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
    """Bring each sample to length 1 over some axes: ``x / sqrt(sum(x ** 2))``; zeros stay zeros.

    Args:
        axis: the axis or axes whose entries form one vector.

    Shapes: any, unchanged. Integers give floats.

    >>> [f"{x:.2f}" for x in UnitNormalization()(jnp.array([[3.0, 4.0]]))[0]]
    ['0.60', '0.80']
    """

    axis: int | tuple[int, ...] = field(-1, convert=_read_axes)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Divide by the length."""
        return ops.normalize(_wide(inputs), self.axis, epsilon=1e-12).astype(self.compute_dtype)


def _read_layer(value: Any) -> Layer:
    layer = registry.deserialize(value) if isinstance(value, Mapping) else value
    if not isinstance(layer, Layer):
        raise ArgumentError(f"expected a layer. Received: {value!r}.")
    return layer


@builtin("layers")
class SpectralNormalization(Layer):
    """Wrap a layer so that its kernel, as a matrix, has a largest singular value of 1.

    The layer computes with ``kernel / sigma``, where ``sigma = v @ kernel @ u`` and ``u``, ``v``
    come closer to the singular vectors with each training step: ``v = unit(kernel @ u)``,
    ``u = unit(v @ kernel)``. Gradients take ``u`` and ``v`` for constants.

    Args:
        layer: a layer with a ``kernel`` or ``embeddings``.
        power_iterations: how often ``u`` and ``v`` are improved in each call.

    Shapes: those of the layer; ``vector_u`` has the shape ``(1, kernel's last size)``.

    Raises:
        ArgumentError: a layer without ``kernel`` and ``embeddings``.

    Miyato et al. 2018, arXiv:1802.05957. Unlike Keras, which overwrites the kernel in training and
    computes with what is stored otherwise, this divides in every call and stores only ``u``.

    >>> from lamina.layers import Dense
    >>> layer = SpectralNormalization(Dense(1, kernel_initializer="ones", use_bias=False))
    >>> f"{float(layer(jnp.array([[3.0, 4.0]]))[0, 0]):.3f}"
    '4.950'
    """

    layer: Any = field(convert=_read_layer)
    power_iterations: int = field(1, convert=positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.autocast = False  # the wrapped layer casts, after the division

    def build(self, input_shape: Any) -> None:
        """Build the layer, and make ``vector_u``."""
        if not self.layer.built:
            self.layer.build(input_shape)
        kernels = [getattr(self.layer, name, None) for name in ("kernel", "embeddings")]
        found = [kernel for kernel in kernels if isinstance(kernel, Variable)]
        if not found:
            raise ArgumentError(
                f"Layer {self.name!r} (SpectralNormalization) expects a layer with a `kernel` or "
                f"`embeddings`. Received: {self.layer!r}."
            )
        self.kernel = found[0]
        self.vector_u = self.add_weight(
            (1, self.kernel.shape[-1]), initializers.TruncatedNormal(stddev=0.02), trainable=False,
            name="vector_u",
        )  # fmt: skip

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Call the layer with the divided kernel."""
        kernel, u = self.kernel.value, self.vector_u.value
        matrix = jnp.reshape(kernel, (-1, kernel.shape[-1]))
        fixed = jax.lax.stop_gradient(matrix)
        v = u
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ fixed.T, epsilon=1e-12)
            u = ops.normalize(v @ fixed, epsilon=1e-12)
        if training:
            self.vector_u.assign(u)
        sigma = jnp.sum((v @ matrix) * u)
        scope = current() or Scope()
        values = {**scope.values, self.kernel: kernel / sigma}
        with entered(dataclasses.replace(scope, values=values)):
            return self.layer(inputs).astype(self.compute_dtype)


__all__ = [
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
    "SpectralNormalization", "UnitNormalization",
]  # fmt: skip
