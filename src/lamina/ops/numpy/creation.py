"""Creation of tensors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import settings
from lamina.core.declaration import Tensor, as_op, described, op
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, SymbolicTensorError
from lamina.ops.templates import as_array, optional_dtype, tensor

FILE_MODULE = "numpy"  # of Keras's files


def _known(shape: Any, name: str, instead: str = "") -> Any:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if any(n is None for n in sizes):
        instead = f"Use `{instead}`, or call" if instead else "Call"
        raise SymbolicTensorError(
            f"ops.{name} needs a known shape. Received: {tuple(sizes)}, where None is a "
            f"dimension that is unknown while building. {instead} ops.{name} in a layer's `call`, "
            "where unknown dimensions are symbolic."
        )
    return tuple(sizes)


def zeros(shape: Any, dtype: Any = None) -> jax.Array:
    """A tensor of zeros, of dtype ``floatx`` by default.

    Args:
        shape: Sizes of the axes, or one size.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> zeros((2,))
    Array([0., 0.], dtype=float32)
    """
    return jnp.zeros(_known(shape, "zeros", "ops.zeros_like(x)"), standardize_dtype(dtype))


def ones(shape: Any, dtype: Any = None) -> jax.Array:
    """A tensor of ones, of dtype ``floatx`` by default.

    Args:
        shape: Sizes of the axes, or one size.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> ones((2,), "int32")
    Array([1, 1], dtype=int32)
    """
    return jnp.ones(_known(shape, "ones", "ops.ones_like(x)"), standardize_dtype(dtype))


def empty(shape: Any, dtype: Any = None) -> jax.Array:
    """An uninitialized tensor (with JAX: zeros), of dtype ``floatx`` by default.

    Args:
        shape: Sizes of the axes, or one size.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> empty((2,)).shape
    (2,)
    """
    return jnp.empty(_known(shape, "empty", "ops.empty_like(x)"), standardize_dtype(dtype))


@op
def full(shape: Any, fill_value: Tensor, dtype: Any = None) -> jax.Array:
    """A tensor filled with one value.

    Args:
        shape: Shape of the tensor.
        fill_value: A number, or a tensor that broadcasts to the shape.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> full((2,), 3.0)
    Array([3., 3.], dtype=float32)
    """
    return jnp.full(
        _known(shape, "full", "ops.full_like(x)"), as_array(fill_value), standardize_dtype(dtype)
    )


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
    """A matrix ``(N, M)`` with ones on diagonal ``k`` and zeros elsewhere.

    Args:
        N: Number of rows.
        M: Number of columns; ``N`` when None.
        k: Index of the diagonal: 0 for the main one, positive above it.
        dtype: Dtype of the matrix; ``floatx`` when None.

    >>> eye(2)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return jnp.eye(_known(N, "eye")[0], M, k, standardize_dtype(dtype))


def identity(n: int, dtype: Any = None) -> jax.Array:
    """The identity matrix ``(n, n)``.

    Args:
        n: Number of rows and of columns.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> identity(2, "int32")
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    return jnp.identity(_known(n, "identity")[0], standardize_dtype(dtype))


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> jax.Array:
    """A matrix ``(N, M)`` with ones on and below diagonal ``k``.

    Args:
        N: Number of rows.
        M: Number of columns; ``N`` when None.
        k: Index of the diagonal: 0 for the main one, positive above it.
        dtype: Dtype of the tensor; ``floatx`` when None.

    >>> tri(2)
    Array([[1., 0.],
           [1., 1.]], dtype=float32)
    """
    return jnp.tri(_known(N, "tri")[0], M, k, standardize_dtype(dtype))


# ---- ranges --------------------------------------------------------------------------------------


@op
def arange(
    start: Tensor, stop: Tensor | None = None, step: Tensor | None = None, dtype: Any = None
) -> jax.Array:
    """Evenly spaced values: ``start, start + step, ...``, below ``stop``.

    Args:
        start: The first value; if ``stop`` is None, the end of a range that starts at 0.
        stop: The end, excluded.
        step: Distance between values; 1 when None.
        dtype: Dtype of the result; the promoted dtype of the arguments when None.

    >>> arange(2, 8, 3)
    Array([2, 5], dtype=int32)
    """
    _known(start, "arange")
    if dtype is None:
        given = [tensor(x) for x in (start, stop, step) if x is not None]
        dtype = jnp.result_type(*given)
        dtype = settings.floatx() if all(isinstance(x, float | int) for x in given) and any(
            isinstance(x, float) for x in given) else dtype  # fmt: skip
    if isinstance(step, int | float) and not step:
        raise ArgumentError("arange(): `step` must not be 0.")
    return jnp.arange(start, stop, step, standardize_dtype(dtype))


def _spaced_dtype(*ends: Tensor, dtype: Any) -> str:
    if dtype is not None:
        return standardize_dtype(dtype)
    found = jnp.result_type(*map(tensor, ends), float)
    return settings.floatx() if all(isinstance(x, int | float) for x in ends) else str(found)


@op
def linspace(
    start: Tensor,
    stop: Tensor,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """``num`` evenly spaced values from ``start`` to ``stop``.

    Args:
        start: The first value, a number or a tensor.
        stop: The last value.
        num: Number of values.
        endpoint: Whether to include ``stop``.
        retstep: Whether to return the distance between values too.
        dtype: Dtype of the result.
        axis: Position of the axis of the values if ``start`` is a tensor.

    >>> linspace(0.0, 1.0, 3)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    dtype = _spaced_dtype(start, stop, dtype=dtype)
    return jnp.linspace(tensor(start), tensor(stop), num, endpoint, retstep, dtype=dtype, axis=axis)


@op
def logspace(
    start: Tensor,
    stop: Tensor,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> jax.Array:
    """``base ** linspace(start, stop, num)``.

    Args:
        start: Exponent of the first value, a number or a tensor.
        stop: Exponent of the last value.
        num: Number of values.
        endpoint: Whether to include the last value.
        base: What the exponents are those of.
        dtype: Dtype of the result.
        axis: Position of the axis of the values if ``start`` is a tensor.

    >>> logspace(0.0, 2.0, 3)
    Array([  1.,  10., 100.], dtype=float32)
    """
    dtype = _spaced_dtype(start, stop, dtype=dtype)
    return jnp.logspace(tensor(start), tensor(stop), num, endpoint, base, dtype, axis)


@op
def geomspace(
    start: Tensor,
    stop: Tensor,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> jax.Array:
    """``num`` values from ``start`` to ``stop`` with a constant ratio.

    Args:
        start: The first value, a number or a tensor; not 0.
        stop: The last value.
        num: Number of values.
        endpoint: Whether to include the last value.
        dtype: Dtype of the result.
        axis: Position of the axis of the values if ``start`` is a tensor.

    >>> [round(float(x), 3) for x in geomspace(1.0, 4.0, 3)]
    [1.0, 2.0, 4.0]
    """
    dtype = _spaced_dtype(start, stop, dtype=dtype)
    return jnp.geomspace(tensor(start), tensor(stop), num, endpoint, dtype, axis)


# ---- with the shape of another tensor ------------------------------------------------------------


def _like(name: str, fn: Any, line: str, example: str) -> Any:
    def apply(x: Tensor, dtype: Any = None) -> jax.Array:
        return fn(as_array(x), optional_dtype(dtype))

    text = f"""{line}

    Args:
        x: Tensor whose shape to use.
        dtype: Dtype of the result; that of ``x`` when None.
    """
    return as_op(apply, name, text, example, __name__)


zeros_like = _like("zeros_like", jnp.zeros_like, "Zeros of the shape of ``x``.",
    "[1.0, 2.0] -> [0.0, 0.0]")  # fmt: skip
ones_like = _like("ones_like", jnp.ones_like, "Ones of the shape of ``x``.",
    "[1.0, 2.0] -> [1.0, 1.0]")  # fmt: skip
empty_like = _like("empty_like", jnp.empty_like, "Uninitialized (zeros), of the shape of ``x``.",
    "[1.0, 2.0] -> [0.0, 0.0]")  # fmt: skip


@op
def full_like(x: Tensor, fill_value: Tensor, dtype: Any = None) -> jax.Array:
    """A tensor of the shape of ``x``, filled with one value.

    Args:
        x: Tensor whose shape to use.
        fill_value: A number, or a tensor that broadcasts to the shape.
        dtype: Dtype of the result; that of ``x`` when None.

    >>> full_like([1.0, 2.0], 3)
    Array([3., 3.], dtype=float32)
    """
    return jnp.full_like(as_array(x), tensor(fill_value), optional_dtype(dtype))


@op
def array(x: Tensor, dtype: Any = None) -> jax.Array:
    """Convert numbers, lists or arrays to a tensor.

    Args:
        x: Numbers, lists, arrays or variables.
        dtype: Dtype of the result; that of ``x`` when None.

    >>> array([1, 2], "float32")
    Array([1., 2.], dtype=float32)
    """
    return as_array(x, optional_dtype(dtype))


# ---- windows of signals --------------------------------------------------------------------------


def _window(name: str, fn: Any, formula: str, example: str) -> Any:
    def window(x: int) -> jax.Array:
        return jnp.asarray(fn(int(x)), settings.floatx())

    text = f"""A window of ``x`` values: ``{formula}``.

    Args:
        x: Number of values, an integer; ``n`` is from 0 to ``x - 1``.
    """
    return described(window, name, text, example, __name__)


bartlett = _window("bartlett", np.bartlett, "1 - |2 * n / (x - 1) - 1|", "3 -> [0.0, 1.0, 0.0]")
blackman = _window("blackman", np.blackman,
    "0.42 - 0.5 * cos(2 * pi * n / (x - 1)) + 0.08 * cos(4 * pi * n / (x - 1))",
    "blackman(5)[1:3].tolist() -> [0.34..., 1.0]")  # fmt: skip
hamming = _window("hamming", np.hamming, "0.54 - 0.46 * cos(2 * pi * n / (x - 1))",
    "hamming(5)[1:3].tolist() -> [0.54..., 1.0]")  # fmt: skip
hanning = _window("hanning", np.hanning, "0.5 - 0.5 * cos(2 * pi * n / (x - 1))",
    "3 -> [0.0, 1.0, 0.0]")  # fmt: skip


def kaiser(x: int, beta: float) -> jax.Array:
    """Kaiser's window: ``i0(beta * sqrt(1 - (2 * n / (x - 1) - 1) ** 2)) / i0(beta)``.

    Args:
        x: Number of values.
        beta: Shape parameter: 0 gives a rectangle, 14 a narrow bell.

    >>> kaiser(3, 0.0)
    Array([1., 1., 1.], dtype=float32)
    """
    return jnp.asarray(np.kaiser(int(x), float(beta)), settings.floatx())
