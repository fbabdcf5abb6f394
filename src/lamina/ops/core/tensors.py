"""Creation and conversion of tensors, their shapes and dtypes, and control of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.dtypes
import jax.numpy as jnp
import numpy as np

from lamina.core.declaration import Tensor, op
from lamina.core.graph import is_symbolic
from lamina.core.spec import is_array
from lamina.core.variable import Variable
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, DTypeError
from lamina.ops.templates import as_array, optional_dtype, refuse_sparse

FILE_MODULE = "core"  # of Keras's files


@op(elementwise=True)
def cast(x: Tensor, dtype: Any) -> jax.Array:
    """``x`` cast to another dtype.

    Args:
        x: Tensor.
        dtype: Name of the dtype, such as ``"int32"``; ``floatx`` when None. Fractions are cut off
            towards 0 for integers.

    >>> cast([1.7, -1.7], "int32")
    Array([ 1, -1], dtype=int32)
    """
    return jnp.asarray(x, standardize_dtype(dtype))


@op(elementwise=True)
def saturate_cast(x: Tensor, dtype: Any) -> jax.Array:
    """``x`` cast to another dtype; numbers out of its range become the nearest limit.

    Args:
        x: Tensor.
        dtype: Name of the dtype; ``floatx`` when None.

    >>> saturate_cast([-5.0, 300.0], "uint8")
    Array([  0, 255], dtype=uint8)
    """
    x, wanted = as_array(x), jax.dtypes.canonicalize_dtype(standardize_dtype(dtype))
    if wanted == jnp.bool_ and not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.clip(x, 0, 1).astype(wanted)
    if wanted == jnp.bool_ or x.dtype == jnp.bool_ or jnp.issubdtype(wanted, jnp.complexfloating):
        return x.astype(wanted)
    is_float = jnp.issubdtype(wanted, jnp.floating)
    limits: Any = jnp.finfo(wanted) if is_float else jnp.iinfo(wanted)
    known: Any = jnp.finfo(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype)
    low, high = max(float(limits.min), float(known.min)), min(float(limits.max), float(known.max))
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jnp.clip(x, int(low), int(high)).astype(wanted)
    kept = jnp.clip(x, low, high).astype(wanted)
    # If the dtype of `x` cannot represent the limit, it was rounded beyond it.
    kept = jnp.where(x >= float(limits.max), jnp.asarray(limits.max, wanted), kept)
    return jnp.where(x <= float(limits.min), jnp.asarray(limits.min, wanted), kept)


@op(elementwise=True)
def stop_gradient(variable: Tensor) -> Any:
    """The same values without a gradient.

    Args:
        variable: Tensor or variable.

    >>> float(jax.grad(lambda x: x * stop_gradient(x))(3.0))
    3.0
    """
    return jax.lax.stop_gradient(as_array(variable))


def convert_to_tensor(
    x: Tensor, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Any:
    """Convert ``x`` (numbers, lists, NumPy arrays, variables) to an array; keep symbolic tensors.

    Text, which JAX has no dtype for, becomes a NumPy array of objects, as layers of text take it.

    Args:
        x: The object to convert.
        dtype: Dtype of the result; that of ``x`` when None. For text, only None or ``"string"``.
        sparse: Must be None or False: the result is dense.
        ragged: Must be None or False: the result has a single size along each axis.

    >>> convert_to_tensor([1, 2])
    Array([1, 2], dtype=int32)
    >>> convert_to_tensor(["red", "blue"])
    array(['red', 'blue'], dtype=object)
    """
    refuse_sparse("convert_to_tensor", sparse)
    if ragged:
        raise ArgumentError(
            "convert_to_tensor() does not support ragged tensors. "
            f"Received: ragged={ragged!r}. Pad the rows to the same length."
        )
    if is_symbolic(x):
        return x if dtype is None or x.dtype == standardize_dtype(dtype) else cast(x, dtype)
    wanted = optional_dtype(dtype)
    if not _is_text(x) and wanted != "string":
        try:
            return as_array(x, wanted)
        except (TypeError, ValueError) as e:
            of_objects = isinstance(x, np.ndarray) and x.dtype.kind == "O"
            if x is not None and not of_objects and not isinstance(x, (list, tuple)):
                raise
            raise ArgumentError(
                "convert_to_tensor() cannot convert this.",
                expected="numbers, in lists of one length along each axis",
                received=repr(x),
                cure="Objects that are numbers: `x.astype('float32')`." if of_objects else "",
            ) from e
    if not _is_text(x) or wanted not in (None, "string"):
        raise DTypeError(
            "convert_to_tensor() converts numbers to numbers, and text to text.",
            expected="text" if wanted == "string" else 'text with dtype=None or dtype="string"',
            received=f"{'text' if _is_text(x) else 'numbers'} with dtype={dtype!r}",
            cure="Layers such as StringLookup and TextVectorization turn text into numbers.",
        )
    return np.array(x, object)


def _is_text(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    if isinstance(x, np.ndarray) and x.dtype.kind == "O" and x.size:
        x = x.flat[0]
    return isinstance(x, (str, bytes)) or (isinstance(x, np.ndarray) and x.dtype.kind in "UST")


def convert_to_numpy(x: Tensor) -> np.ndarray:
    """Convert ``x`` to a NumPy array.

    Args:
        x: Array, variable, number or lists of numbers; not a symbolic tensor.

    >>> convert_to_numpy([1, 2])
    array([1, 2])
    """
    return np.asarray(x)


def shape(x: Tensor) -> tuple[Any, ...]:
    """The shape of ``x``; inside a layer's ``call``, unknown dimensions are symbolic.

    Args:
        x: Tensor, symbolic tensor or variable; None stands for a size that is unknown while a graph
            is built.

    >>> shape([[1, 2, 3]])
    (1, 3)
    """
    return x.shape if is_symbolic(x) or isinstance(x, Variable) or is_array(x) else np.shape(x)


def dtype(x: Tensor) -> str:
    """The name of the dtype of ``x``.

    Args:
        x: Tensor, symbolic tensor, variable or number.

    >>> dtype(1.0)
    'float32'
    """
    has_one = is_symbolic(x) or isinstance(x, Variable) or is_array(x)
    return standardize_dtype(x.dtype if has_one else as_array(x).dtype)


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a JAX array or a symbolic tensor.

    Args:
        x: Any object.

    >>> is_tensor(jnp.ones(2)), is_tensor(np.ones(2))
    (True, False)
    """
    return is_symbolic(x) or isinstance(x, jax.Array)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a function that defines its own gradient.

    Args:
        f: Function that returns its result, and a function of ``upstream`` (accepted as the last
            positional argument too) that returns the gradient of each argument.

    >>> @custom_gradient
    ... def square(x):
    ...     return x**2, lambda *args, upstream: 10 * upstream
    >>> float(jax.grad(square)(3.0))
    10.0
    """

    @jax.custom_gradient
    def call(*args: Any, **kwargs: Any) -> Any:
        result, gradient = f(*args, **kwargs)

        def pull(upstream: Any) -> Any:
            return gradient(*args, upstream=upstream)

        return result, pull

    return call
