"""Layers that compute on the host, ahead of the compiled step: with strings and 64-bit integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core import spec
from lamina.core.boundary import public
from lamina.core.operation import any_symbolic
from lamina.core.scope import current
from lamina.core.spec import TensorSpec
from lamina.core.symbolic import HostText
from lamina.errors import ArgumentError, DTypeError
from lamina.layers.arguments import array_of, call_signature, dims_of
from lamina.layers.base import Layer
from lamina.layers.preprocessing.base import in_tensorflow, is_in_tensorflow
from lamina.serialization.registry import builtin
from lamina.tree import nested


@runtime_checkable
class ArrayLike(Protocol):
    """An array of any library, or a column of pandas or polars."""

    def __array__(self) -> Any: ...


@builtin()
class HostLayer(Layer):
    """Base of layers whose inputs JAX has no dtype for.

    On data, the call runs in Python and NumPy; only the numbers that it returns go to the device.
    In a functional model these layers, and those that they depend on, run ahead of the compiled
    step, in the thread that prepares batches.

    A subclass defines :meth:`numbers` and, where the result is more than these, :meth:`encode`.
    """

    runs_on_host = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.built = True

    def numbers(self, inputs: Any) -> np.ndarray:
        """Integers for the inputs, as a NumPy array."""
        raise NotImplementedError

    def encode(self, numbers: jax.Array) -> jax.Array:
        """The outputs for what :meth:`numbers` returned, computed by JAX."""
        return numbers

    def dims(self, inputs: Any) -> tuple[Any, ...]:
        """The dimensions of what :meth:`numbers` returns for symbolic inputs."""
        return dims_of(nested.flatten(inputs)[0])

    def call(self, inputs: Any) -> Any:
        """Compute on the host."""
        return self.encode(jnp.asarray(self.numbers(inputs).astype(np.int32)))

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args, kwargs):
            return super().__call__(*args, **kwargs)
        if args and is_in_tensorflow(args[0]):
            return in_tensorflow(args[0], self.compute_output_spec, lambda: self)
        _, arguments = self._bind(args, kwargs)
        scope = current()
        if scope is not None and scope.host is not None:
            found = scope.host(self, arguments)
            if found is not None:
                return found
        leaves = nested.flatten(list(arguments.values()))
        if any(isinstance(x, (jax.core.Tracer, HostText)) for x in leaves):
            raise ArgumentError(
                f"Layer {self.name!r} ({type(self).__name__}) computes on the host, so it cannot "
                "be called inside `jax.jit` or in the `call` of another layer that is compiled.",
                layer=self.name,
                cure="Call it on inputs of the model, which then runs it ahead of the compiled "
                f"step, or on the data: `dataset.map(lambda x, y: ({self.name}(x), y))`.",
            )
        positional, keywords = self._split(arguments)
        return self.call(*positional, **keywords)

    def _infer(self, arguments: dict[str, Any], training: bool | None) -> tuple[Any, Any]:
        inputs = arguments[call_signature(type(self)).first or ""]
        return spec.evaluate(self.encode, [TensorSpec(self.dims(inputs), "int32")]), [None]


def strings_of(x: Any, layer: Layer) -> np.ndarray:
    """Text in any form as an array of ``str`` or ``bytes`` objects.

    Raises:
        DTypeError: Something other than text, or a missing value.
    """
    array = np.array(x, object) if isinstance(x, (list, tuple, str, bytes)) else np.asarray(x)
    if array.dtype.kind in "UST":
        return array.astype(object)
    if array.dtype.kind == "O":
        wrong = [v for v in array.ravel() if not isinstance(v, (str, bytes))]
        if not wrong:
            return array
        received = f"{wrong[0]!r} (of type {type(wrong[0]).__name__}) among its values"
        cure = "Replace missing values first; in pandas: `column.fillna('')`."
        if isinstance(wrong[0], (list, tuple)):
            cure = (
                "Rows of different length: pad them first, `utils.pad_sequences(x, dtype=object)`."
            )
    else:
        received = f"an array of dtype {array.dtype}"
        cure = "For integers use IntegerLookup or Hashing, or convert them: `x.astype(str)`."
    raise DTypeError(
        f"Layer {layer.name!r} ({type(layer).__name__}) takes text.",
        layer=layer.name,
        expected="an array, list or column of strings",
        received=received,
        cure=cure,
    )


def integers_of(x: Any, layer: Layer) -> np.ndarray:
    """Integers in any form as an array of int64.

    Raises:
        DTypeError: Something other than integers.
    """
    array = array_of(x, layer)
    if array.dtype.kind not in "iub":
        raise DTypeError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes integers.",
            layer=layer.name,
            expected="an array, list or column of integers",
            received=f"an array of dtype {array.dtype}",
            cure="For text use StringLookup; for numbers with fractions, Discretization first.",
        )
    return array.astype(np.int64)


def as_bytes(values: Iterable[Any]) -> list[bytes]:
    """Strings in UTF-8."""
    return [v.encode() if isinstance(v, str) else v for v in values]


__all__ = ["ArrayLike", "HostLayer", "as_bytes", "integers_of", "strings_of"]
