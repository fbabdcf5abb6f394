"""Normalization of features by the mean and variance of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core.boundary import warn
from lamina.core.scope import Scope, current, entered
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, NotBuiltError, ShapeError, TrainingWarning
from lamina.layers.preprocessing.adapting import AdaptingLayer
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.serialization.fields import field, integers
from lamina.serialization.registry import builtin
from lamina.transforms.numbers import Moments, Normalize, deviation


@builtin()
class _Arguments(AdaptingLayer, PreprocessingLayer):
    """Declared apart, because :class:`Normalization` has properties of these names."""

    axis: Any = field(default=-1, convert=lambda v: () if v is None else integers(v))
    mean: Any = None
    variance: Any = None
    invert: bool = field(default=False, convert=bool)


@builtin("layers")
class Normalization(_Arguments):
    """``(inputs - mean) / sqrt(variance)``, with statistics of a data set for each feature.

    Call :meth:`adapt` on the training data before the layer is used, or pass both statistics. Sums
    are computed in double precision, and features whose variance is 0 are only centered. (In Keras,
    they are divided by 1e-7.)

    Args:
        axis: Axis or axes of the features, which have a mean and variance for each index; None for
            one mean and variance of all elements.
        mean: Mean of each feature, or one for all.
        variance: Population variance, of the shape of ``mean``.
        invert: Whether to compute the inverse, ``inputs * sqrt(variance) + mean``.

    Shapes: any, unchanged. The result has the layer's compute dtype.

    Attributes:
        adapt_mean: Weight, the mean of the data; absent if it was passed.
        adapt_variance: Weight, the variance of the data, likewise.
        count: Weight, the number of elements for each feature.
        transform: The same computation on NumPy arrays, for data pipelines.

    Raises:
        ArgumentError: Only one of ``mean`` and ``variance``, or of different shapes.
        ShapeError: An input of unknown or another number of features.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> layer(np.array([[3.0, 10.0]])).tolist()
    [[1.0, -1.0]]
    """

    adapt_mean = adapt_variance = cast("Any", None)
    _kept: tuple[int, ...] = ()
    _broadcast: tuple[int, ...] = ()
    _untracked = _Arguments._untracked | {"mean", "variance", "input_mean", "input_variance"}
    _moments: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        given = [self.input_mean, self.input_variance]
        shapes = [np.shape(v) for v in given if v is not None]
        if len(shapes) == 1 or len({*shapes}) > 1:
            raise ArgumentError(
                "Normalization(): `mean` and `variance` must be passed together, with one shape. "
                f"Received: mean={given[0]!r}, variance={given[1]!r}."
            )
        if given[1] is not None and not np.all(np.asarray(given[1]) >= 0):
            raise ArgumentError(
                f"Normalization(): `variance` is not negative. Received: {given[1]!r}."
            )
        if shapes and len(shapes[0]) > len(self.axis):
            raise ArgumentError(
                f"Normalization(): `mean` has more axes than the {len(self.axis)} of `axis`. "
                f"Received: shape {shapes[0]}, axis={self.axis}."
            )

    @property
    def mean(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The mean, in a shape that broadcasts to the inputs; None before the layer is built."""
        return self._statistic(self.input_mean, self.adapt_mean)

    @mean.setter
    def mean(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.input_mean = value

    @property
    def variance(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The variance, likewise."""
        return self._statistic(self.input_variance, self.adapt_variance)

    @variance.setter
    def variance(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.input_variance = value

    def _statistic(self, given: Any, weight: Any) -> Any:
        if not self.built:
            return None
        if given is None:
            return jnp.reshape(jnp.asarray(weight.value, "float32"), self._broadcast)
        given = np.asarray(given, "float32")
        shape = [1] * len(self._broadcast)
        for size, axis in zip(reversed(given.shape), reversed(self._kept), strict=False):
            shape[axis] = size
        return jnp.broadcast_to(jnp.asarray(given.reshape(shape)), self._broadcast)

    def build(self, input_shape: Any) -> None:
        """Create the statistics for inputs of a shape."""
        rank = len(input_shape)
        if any(not -rank <= a < rank for a in self.axis):
            raise ShapeError(
                f"Layer {self.name!r} (Normalization) has the features on axis {self.axis}.",
                layer=self.name,
                expected=f"an input with the axes {self.axis}",
                received=show_dims(input_shape),
                cure="For inputs (batch,) of single numbers, pass `axis=None`.",
            )
        self._kept = tuple(sorted(a % rank for a in self.axis))
        unknown = [a for a in self._kept if input_shape[a] is None]
        if unknown:
            raise ShapeError(
                f"Layer {self.name!r} (Normalization) needs to know the number of features.",
                layer=self.name,
                expected=f"a size of axis {unknown[0]}",
                received=show_dims(input_shape),
                cure="Give it in the shape of `Input`, or pass `axis=None`.",
            )
        self._broadcast = tuple(n if a in self._kept else 1 for a, n in enumerate(input_shape))
        shape = tuple(input_shape[a] for a in self._kept)
        if self.input_mean is not None:
            given = np.shape(self.input_mean)
            if any(n not in (1, d) for n, d in zip(given[::-1], shape[::-1], strict=False)):
                raise ShapeError(
                    f"Layer {self.name!r} (Normalization) has one mean for each feature.",
                    layer=self.name,
                    expected=f"an input with {given} features on axis {self.axis}",
                    received=show_dims(input_shape),
                )
            return
        self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
        self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance")
        self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")

    # ---- adapting ------------------------------------------------------------------------------

    def reset_state(self) -> None:
        """Forget earlier data."""
        if self.input_mean is not None:
            raise ArgumentError(
                f"{self.name}.adapt() would replace the `mean` and `variance` that were passed to "
                "the constructor. Leave them out to compute them from data.",
                layer=self.name,
            )
        self._moments = None

    def update_state(self, data: Any) -> None:
        """Add a batch of numbers."""
        x = self._numbers(data)
        if not self.built:
            unknown = x.shape if 0 in {a % max(x.ndim, 1) for a in self.axis} else x.shape[1:]
            self.build((None, *x.shape[1:]) if unknown == x.shape[1:] else x.shape)
        here = tuple(n if a in self._kept else 1 for a, n in enumerate(x.shape))
        if here != self._broadcast:
            raise ShapeError(
                f"{self.name}.adapt() received a batch whose shape is not that which the layer "
                "was built for.",
                layer=self.name,
                expected=f"{show_dims(self._broadcast)}, where 1 stands for any size",
                received=show_dims(x.shape),
            )
        if self._moments is None:
            self._moments = Moments(tuple(a for a in range(x.ndim) if a not in self._kept))
        self._moments.add(x)

    def finalize_state(self) -> None:
        """Store mean and variance of what was added since :meth:`reset_state`."""
        if self._moments is None:
            return
        if not np.isfinite(self._moments.mean).all():
            warn(
                f"{self.name}.adapt() received NaN or infinite values: the statistics of these "
                "features, and what the layer returns for them, are NaN. Fill in such values "
                "first: `np.nan_to_num(x)`.",
                TrainingWarning,
            )
        self.adapt_mean.assign(self._moments.mean)
        self.adapt_variance.assign(self._moments.variance)
        self.count.assign(min(self._moments.count, 2**31 - 1))

    # ---- calling -------------------------------------------------------------------------------

    @property
    def transform(self) -> Normalize:
        """The layer's computation, for NumPy in any process."""
        if not self.built:
            raise NotBuiltError(
                f"Layer {self.name!r} (Normalization) has no statistics yet.",
                layer=self.name,
                cure=f"Call `{self.name}.adapt(data)` first.",
            )
        mean, variance = np.asarray(self.mean), np.asarray(self.variance)
        return Normalize(
            mean=mean, deviation=deviation(np, variance, settings.epsilon()), invert=self.invert,
            dtype=self.compute_dtype,
        )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """Subtract the mean and divide by the standard deviation, or the inverse."""
        self._warn_of_defaults()
        pairs = zip(self._broadcast[::-1], inputs.shape[::-1], strict=False)
        if any(n != 1 and isinstance(d, int) and n != d for n, d in pairs):
            raise ShapeError(
                f"Layer {self.name!r} (Normalization) was built for other features.",
                layer=self.name,
                expected=f"{show_dims(self._broadcast)}, where 1 stands for any size",
                received=show_dims(inputs.shape),
                cure="Adapt another layer to these features.",
            )
        divisor = deviation(jnp, self.variance, settings.epsilon())
        transform = Normalize(
            mean=self.mean, deviation=divisor, invert=self.invert, dtype=self.compute_dtype
        )
        return transform.apply(jnp, inputs, None, False)

    def _warn_of_defaults(self) -> None:
        """Warn if neither data nor a file has set the statistics."""
        scope = current()
        if self.input_mean is not None or (scope is not None and scope.abstract):
            return
        with entered(Scope()):  # the layer's own values, also while a step is traced
            weights = [np.asarray(w.value) for w in (self.count, self.adapt_mean)]
            variance = np.asarray(self.adapt_variance.value)
        if not any(w.any() for w in weights) and (variance == 1).all():
            warn(
                f"Layer {self.name!r} (Normalization) was not adapted, so it returns its inputs "
                f"unchanged. Call `{self.name}.adapt(data)` with the training data first.",
                TrainingWarning,
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        given = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {k: None if v is None else np.asarray(v).tolist() for k, v in given.items()}
        return {**super().get_config(), **lists}

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Load the statistics."""
        super().load_own_variables(store)
        self.finalize_state()


__all__ = ["Normalization"]
