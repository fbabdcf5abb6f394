"""Low-rank adaptation (LoRA) of the kernel or table of a layer."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from lamina import initializers
from lamina.core.boundary import public
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, NotBuiltError
from lamina.layers.base import Layer
from lamina.serialization import registry
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

    # Arguments that a config contains only if they are given.
    _optional: ClassVar[tuple[str, ...]] = ("lora_rank", "lora_alpha")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lora_enabled = False
        self._matrices: tuple[Matrix, ...] = ()
        if self.lora_alpha is None:
            self.lora_alpha = self.lora_rank

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name; those of an adapter only if there is one."""
        config = super().get_config()
        return {k: v for k, v in config.items() if v is not None or k not in self._optional}

    def _floats(self, m: Matrix) -> Any:
        """The matrix as floats of the compute dtype in a call, else of the dtype of the weights."""
        return vars(self)[m.attribute].value

    def _matrix(self) -> Any:
        """The variable of the first matrix; with an adapter, the sum of both."""
        if not self.built:
            raise AttributeError(
                f"Layer {self.name!r} ({type(self).__name__}) has no weights yet. Call it, or its "
                "`build(input_shape)`, first."
            )
        m = self._matrices[0]
        if self.lora_enabled:
            return self._adapted(m).astype(self.compute_dtype)
        return self._unadapted(m)

    def _unadapted(self, m: Matrix) -> Any:
        """A matrix without its adapter, as users see it."""
        return vars(self)[m.attribute]

    def _need_weights(self, before: str) -> None:
        """Raise an error if there are no weights, which are to be created before something."""
        if not self.built:
            raise NotBuiltError(
                f"Layer {self.name!r} ({type(self).__name__}) has no weights yet. Call it, or its "
                f"`build(input_shape)`, before {before}.",
                layer=self.name,
            )

    def _may_adapt(self) -> None:
        """Raise an error if the matrix cannot have an adapter."""
        name = self._matrices[0].name
        if vars(self)[f"{name}_constraint"] is not None:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) has a `{name}_constraint`, which its "
                "weights with an adapter would not meet. Create it without.",
                layer=self.name,
            )

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
        """Freeze the kernel or table, and train the difference to it: a product of two matrices.

        The layer computes with ``kernel + lora_alpha / rank * a @ b``. Files contain this sum in
        place of the kernel; a layer that is loaded from one starts with ``b = 0``. Hu et al. 2021,
        arXiv:2106.09685.

        Args:
            rank: Number of columns of ``a`` and rows of ``b``.
            lora_alpha: The difference is multiplied by ``lora_alpha / rank``; ``rank`` when None.
            a_initializer: Initializer of ``a``, of the shape of the kernel but for the last axis.
            b_initializer: Initializer of ``b``.

        Raises:
            NotBuiltError: The layer has no weights yet.
            ArgumentError: It has an adapter already, or a constraint, which the sum would not meet.
        """
        self._need_weights("`enable_lora`, or pass `lora_rank` to its constructor")
        if self.lora_enabled:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) has an adapter of rank "
                f"{self.lora_rank} already.",
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

    # ---- files ---------------------------------------------------------------------------------

    def _file_variables(self) -> list[Variable]:
        adapter = self._adapter(cast=False)[:2] if self.lora_enabled else ()
        return [v for v in super()._file_variables() if v not in {*adapter}]

    def _writes_itself(self) -> bool:
        return self.lora_enabled or any(
            registry.defined_by_user(type(self), n)
            for n in ("save_own_variables", "load_own_variables")
        )

    def _in_files(self, m: Matrix, value: Any) -> dict[str, Any]:
        """What files contain of a matrix with this value, by the attributes of the variables."""
        return {m.attribute: value}

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        merged: dict[Variable, Any] = {}
        if self.lora_enabled:  # the sum of the matrix and its adapter takes the matrix's place
            m = self._matrices[0]
            for attribute, array in self._in_files(m, np.asarray(self._adapted(m))).items():
                variable = vars(self)[attribute]
                merged[variable] = np.asarray(array).astype(variable.dtype)
        for i, variable in enumerate(self._file_variables()):
            store[str(i)] = merged[variable] if variable in merged else variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        missing = [n for n in map(str, range(len(self._file_variables()))) if n not in store]
        if missing:
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) needs the arrays {missing} too. "
                f"Received: {sorted(store)}.",
                layer=self.name,
            )
        super().load_own_variables(store)
        if self.lora_enabled:
            b = self._adapter(cast=False)[1]
            b.assign(jnp.zeros(b.shape, b.dtype))


__all__ = ["AdaptedLayer", "Matrix"]
