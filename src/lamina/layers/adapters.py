"""Low-rank adaptation (LoRA) of the matrix of a layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from lamina import initializers
from lamina.core.boundary import public
from lamina.errors import ArgumentError, NotBuiltError
from lamina.layers.base import Layer
from lamina.serialization.fields import field, number, optional, positive_int
from lamina.serialization.registry import builtin


class Matrix(NamedTuple):
    """A matrix of weights, and how it is quantized.

    Attributes:
        name: Its name, which files use.
        shape: Its shape.
        axes: The axes that a product sums over; along the others, 8-bit weights have scales.
        grid: The rows and columns that it is packed as with 4 bits.
        axis: The axis of the grid along which 4-bit weights share scales, all or in blocks.
        packed: The axis of the grid along which two of them share a byte.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    grid: tuple[int, int]
    axis: int = 0
    packed: int = 1

    @property
    def attribute(self) -> str:
        """The attribute of the layer that holds its variable."""
        return f"_{self.name}" if self.name in ("kernel", "embeddings") else self.name


# By their own names, because type checkers take `field(...)` in a class for a positional argument.
_RANK: Any = field(default=None, convert=optional(positive_int))
_ALPHA: Any = field(default=None, convert=optional(number("(0, inf)")))


@builtin()
class AdaptedLayer(Layer, trailing=True, kw_only=True):
    """A layer whose first matrix can be frozen and trained as a difference of low rank."""

    _untracked = Layer._untracked | {"_matrices"}

    lora_rank: int | None = _RANK
    lora_alpha: float | None = _ALPHA

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lora_enabled = False
        self._matrices: tuple[Matrix, ...] = ()
        if self.lora_alpha is None:
            self.lora_alpha = self.lora_rank

    def _floats(self, m: Matrix) -> Any:
        """The matrix as floats."""
        raise NotImplementedError

    def _need_weights(self, before: str) -> None:
        """Raise an error if there are no weights, which are to be created before something."""
        if not self.built:
            raise NotBuiltError(
                f"Layer {self.name!r} ({type(self).__name__}) has no weights yet. Call it, or its "
                f"`build(input_shape)`, before {before}.",
                layer=self.name,
            )

    def _may_adapt(self) -> None:
        """Raise an error if the matrix is in a form that cannot have an adapter."""

    def _add_adapter(self, a_initializer: Any = "he_uniform", b_initializer: Any = "zeros") -> None:
        """Add the adapter if there is a rank; the matrix itself is frozen then."""
        rank = self.lora_rank
        if rank is None:
            return
        self._may_adapt()
        m = self._matrices[0]
        for part, shape, initializer in (
            ("a", (*m.shape[:-1], rank), a_initializer), ("b", (rank, m.shape[-1]), b_initializer),
        ):  # fmt: skip
            name = f"lora_{m.name}_{part}"
            setattr(self, name, self.add_weight(
                shape, initializers.get(initializer), "float32", name=name,
                regularizer=vars(self)[f"{m.name}_regularizer"],
            ))  # fmt: skip
        kernel = vars(self)[m.attribute]
        kernel.trainable, kernel.frozen = False, True
        self.lora_enabled = True

    @public
    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the matrix, and train the difference to it as a product of two small ones.

        The layer computes with ``matrix + lora_alpha / rank * a @ b``. Files contain this sum in
        place of the matrix; a layer that is loaded from one starts with ``b = 0``. Hu et al. 2021,
        arXiv:2106.09685.

        Args:
            rank: Number of columns of ``a`` and rows of ``b``.
            lora_alpha: The difference is multiplied by ``lora_alpha / rank``; ``rank`` when None.
            a_initializer: Initializer of ``a``, of the shape of the matrix but for the last axis.
            b_initializer: Initializer of ``b``.

        Raises:
            NotBuiltError: The layer has no weights yet.
            ArgumentError: It has an adapter already, or a constraint, which the sum would not meet.
        """
        who = f"Layer {self.name!r} ({type(self).__name__})"
        self._need_weights("`enable_lora`, or pass `lora_rank` to its constructor")
        if self.lora_enabled:
            raise ArgumentError(
                f"{who} has an adapter of rank {self.lora_rank} already.", layer=self.name
            )
        name = self._matrices[0].name
        if vars(self)[f"{name}_constraint"] is not None:
            raise ArgumentError(
                f"{who} has a `{name}_constraint`, which its matrix with an adapter would not "
                "meet. Create it without.",
                layer=self.name,
            )
        self._may_adapt()
        self.lora_rank = positive_int(rank)
        self.lora_alpha = rank if lora_alpha is None else lora_alpha
        self._add_adapter(a_initializer, b_initializer)

    def _adapter(self, cast: bool = True) -> tuple[Any, Any, float]:
        """The two small matrices, and the factor of their product."""
        name, own = self._matrices[0].name, vars(self)
        a, b = own[f"lora_{name}_a"], own[f"lora_{name}_b"]
        factor = (self.lora_alpha or 1) / (self.lora_rank or 1)
        return (a.value, b.value, factor) if cast else (a, b, factor)

    def _adapted(self, m: Matrix) -> Any:
        a, b, factor = self._adapter()
        return self._floats(m) + factor * jnp.matmul(a, b)


__all__ = ["AdaptedLayer", "Matrix"]
