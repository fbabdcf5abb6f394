"""Numbers as the numbers of bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from lamina.core.scope import current
from lamina.errors import ArgumentError, NotBuiltError
from lamina.layers.preprocessing.adapting import AdaptingLayer
from lamina.layers.preprocessing.base import PreprocessingLayer
from lamina.layers.preprocessing.category_encoding import dense
from lamina.serialization.fields import field, number, one_of, optional, positive_int
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config
from lamina.transforms.numbers import Discretize, Quantiles


def _read_boundaries(value: Any) -> list[float]:
    found = np.asarray(value, "float64")
    if found.ndim != 1 or not found.size or (np.diff(found) < 0).any():
        raise ArgumentError(f"expected increasing numbers. Received: {value!r}.")
    return found.tolist()


@builtin("layers")
class Discretization(
    AdaptingLayer,
    PreprocessingLayer,
    positional="bin_boundaries num_bins epsilon output_mode sparse dtype name",
):
    """Replace numbers by the indices of the bins that contain them.

    Bin ``i`` contains ``boundaries[i - 1] <= x < boundaries[i]``; the first and last bins contain
    all values beyond; NaN belongs to the last. Either the boundaries are passed, or :meth:`adapt`
    computes ``num_bins - 1`` of them such that about the same number of elements of the data, of
    all features together, is in each bin.

    Args:
        bin_boundaries: Increasing numbers.
        num_bins: Number of bins to adapt.
        epsilon: Error of adapted boundaries, as a fraction of the data.
        output_mode: ``"int"`` for the numbers of bins, int32 of the shape of the inputs;
            ``"one_hot"`` for vectors of size ``bins`` along a new last axis, which replaces one of
            size 1; ``"multi_hot"`` or ``"count"`` for one vector instead of the last axis, as the
            documentation of Keras says (its numbers are those along the second one).
        sparse: Only False: results are dense.

    Attributes:
        transform: The same computation on NumPy arrays, for data pipelines.

    Raises:
        ArgumentError: Neither or both of ``bin_boundaries`` and ``num_bins``.
        NotBuiltError: On a call before ``adapt``.

    >>> Discretization([0.0, 10.0])(np.array([[-1.0, 0.0, 3.0, 99.0]])).tolist()
    [[0, 1, 1, 2]]
    >>> layer = Discretization(num_bins=2)
    >>> layer.adapt(np.arange(100.0))
    >>> [round(x) for x in layer.bin_boundaries]
    [49]
    """

    _untracked = AdaptingLayer._untracked | {"bin_boundaries"}
    bin_boundaries: Any = field(default=None, convert=optional(_read_boundaries))
    num_bins: int | None = field(default=None, convert=optional(positive_int))
    epsilon: float = field(default=0.01, convert=number("(0, 1]"))
    output_mode: str = field(default="int", convert=one_of("int", "one_hot", "multi_hot", "count"))
    sparse: bool = field(default=False, convert=dense)

    _quantiles: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.bin_boundaries is None) == (self.num_bins is None):
            raise ArgumentError(
                "Discretization() expects either `bin_boundaries` or `num_bins`. Received: "
                f"bin_boundaries={self.bin_boundaries!r}, num_bins={self.num_bins!r}."
            )

    def get_config(self) -> dict[str, Any]:
        """The arguments, without ``trainable``, which Keras does not take."""
        return {k: v for k, v in super().get_config().items() if k != "trainable"}

    @classmethod
    @reads_config
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that :meth:`get_config` described, adapted if that was."""
        if None in (config.get("bin_boundaries"), config.get("num_bins")):
            return super().from_config(config)
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = _read_boundaries(config["bin_boundaries"])
        return layer

    def reset_state(self) -> None:
        """Forget earlier data."""
        if self.num_bins is None:
            raise ArgumentError(
                f"{self.name}.adapt() would replace the `bin_boundaries` that were passed to the "
                "constructor. Pass `num_bins` instead.",
                layer=self.name,
            )
        self._quantiles = Quantiles(self.epsilon)

    def update_state(self, data: Any) -> None:
        """Add a batch of numbers."""
        x = self._numbers(data)
        if self._quantiles is None:
            self.reset_state()
        quantiles: Any = self._quantiles
        if x.size:
            quantiles.add(x)

    def finalize_state(self) -> None:
        """Compute the boundaries from what was added since :meth:`reset_state`."""
        if self._quantiles is not None:
            self.bin_boundaries = self._quantiles.boundaries(self.num_bins)

    @property
    def transform(self) -> Discretize:
        """The layer's computation, for NumPy in any process."""
        boundaries, scope = self.bin_boundaries, current()
        if boundaries is None and scope is not None and scope.abstract:
            boundaries = [0.0] * ((self.num_bins or 1) - 1)
        if boundaries is None:
            raise NotBuiltError(
                f"Layer {self.name!r} (Discretization) has no boundaries yet.",
                layer=self.name,
                cure=f"Call `{self.name}.adapt(data)` with the training data first.",
            )
        return Discretize(
            bin_boundaries=boundaries, output_mode=self.output_mode, dtype=self.compute_dtype
        )

    def call(self, inputs: Any) -> Any:
        """The number of the bin of each element."""
        return self.transform.apply(jnp, inputs, None, False)


__all__ = ["Discretization"]
