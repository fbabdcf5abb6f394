"""Methods of all layers that need nothing but their other methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lamina.core.variable import Variable
from lamina.dtype_policies.policy import DTypePolicy
from lamina.errors import ArgumentError
from lamina.serialization.registry import builtin, defined_by_user


class _AddsWeights(Protocol):
    def add_weight(self, shape: Any = None, initializer: Any = None, **kwargs: Any) -> Variable: ...


@builtin()
class LayerMethods:
    """Another name for a method, and what layers without a quantized form answer."""

    name: Any
    compute_dtype: Any
    quantization_mode: Any
    call: Any
    _sublayers: Any
    _own_weights: Any

    def for_worker(self) -> Callable[..., Any] | None:
        """The call on NumPy arrays as a function that can be pickled and needs no JAX, if any."""
        return None

    @property
    def only_input(self) -> dict[str, Any] | None:
        """Arguments of ``Input`` for the only input that the layer can take; None if any."""
        return None

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; a variable is then no longer a weight of the layer."""
        value = vars(self).get(name)
        if isinstance(value, Variable):
            self._own_weights[:] = [w for w in self._own_weights if w is not value]
        super().__delattr__(name)

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
        ``ReversibleEmbedding`` have quantized forms. A layer of your own has one if it overrides
        this method: it adds its variables, usually in :meth:`quantized_build`, sets
        :attr:`dtype_policy`, and computes with them in :meth:`quantized_call`.

        Args:
            mode: ``"int8"``, ``"int4"``, ``"float8"``, ``"gptq"`` or ``"awq"``; not needed with a
                ``config``.
            type_check: Whether to refuse users' subclasses of these layers.
            config: Such as :class:`lamina.quantizers.Int8QuantizationConfig`.

        Raises:
            NotBuiltError: The layer has no weights yet.
            ArgumentError: A layer without a quantized form, an unknown mode, or a layer that is
                quantized already.
        """
        raise self._no_form()

    def _no_form(self) -> ArgumentError:
        return ArgumentError(
            f"Layer {self.name!r} ({type(self).__name__}) has no quantized form. Dense, "
            "EinsumDense, Embedding and ReversibleEmbedding do, and classes with a `quantize`.",
            layer=self.name,
        )

    def can_be_quantized(self, mode: str, type_check: bool = True) -> bool:
        """Whether ``model.quantize`` calls :meth:`quantize`: whether a class of yours defines it.

        Args:
            mode: Such as ``"int8"``.
            type_check: Whether to leave out users' subclasses of layers with a quantized form.
        """
        own = defined_by_user(type(self), "quantize") and not self._sublayers()
        return own and self.quantization_mode is None

    def quantized_build(self, input_shape: Any, mode: str) -> None:
        """Add the variables of the quantized form; see :meth:`quantize`.

        Args:
            input_shape: Shape of the inputs; for built-in layers, of the weights.
            mode: How to quantize.

        Raises:
            ArgumentError: A layer without a quantized form.
        """
        raise self._no_form()

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """What is called in place of ``call`` if the layer has a quantized policy.

        By default this is ``call``: built-in layers look at their weights there, and layers that
        contain others pass the policy on.
        """
        return self.call(*args, **kwargs)

    def _quantize_for(self, policy: DTypePolicy) -> None:
        self.quantize(policy.quantization_mode)
