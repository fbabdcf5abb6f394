"""Methods of all layers that need nothing but their other methods."""

from __future__ import annotations

from typing import Any, Protocol

from lamina.core.variable import Variable
from lamina.dtype_policies.policy import DTypePolicy
from lamina.errors import ArgumentError


class _AddsWeights(Protocol):
    def add_weight(self, shape: Any = None, initializer: Any = None, **kwargs: Any) -> Variable: ...


class LayerMethods:
    """Another name for a method, and what layers without a quantized form answer."""

    name: Any
    compute_dtype: Any

    def add_variable(
        self: _AddsWeights,
        shape: Any,
        initializer: Any,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Create a weight of this layer: :meth:`add_weight`."""
        return self.add_weight(
            shape, initializer, dtype=dtype, trainable=trainable, autocast=autocast,
            regularizer=regularizer, constraint=constraint, name=name,
        )  # fmt: skip

    @property
    def input_dtype(self) -> str:
        """The dtype that floating inputs are converted to."""
        return self.compute_dtype

    def quantize(
        self, mode: str | None = None, type_check: bool = True, config: Any = None
    ) -> None:
        """Replace the weights by small integers and scales; with ``"float8"``, those of products.

        The layer then has the policy ``"<mode>_from_<policy before>"`` as :attr:`dtype_policy`,
        with which it is saved and loaded. ``Dense``, ``EinsumDense``, ``Embedding`` and
        ``ReversibleEmbedding`` have quantized forms.

        Args:
            mode: ``"int8"``, ``"int4"`` or ``"float8"``; not needed with a ``config``.
            type_check: Whether to refuse users' subclasses of these layers.
            config: Such as :class:`lamina.quantizers.Int8QuantizationConfig`.

        Raises:
            NotBuiltError: The layer has no weights yet.
            ArgumentError: A layer without a quantized form, an unknown mode, or a layer that is
                quantized already.
        """
        raise ArgumentError(
            f"Layer {self.name!r} ({type(self).__name__}) has no quantized form. Dense, "
            "EinsumDense, Embedding and ReversibleEmbedding do.",
            layer=self.name,
        )

    def _quantize_for(self, policy: DTypePolicy) -> None:
        self.quantize(policy.quantization_mode)
