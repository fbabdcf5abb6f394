"""Products of vectors and matrices; diagonals and triangles of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from lamina.core.declaration import Tensor, as_op, op
from lamina.ops.lowering import matmul as lowering
from lamina.ops.templates import as_array, floating, unary

FILE_MODULE = "numpy"  # of Keras's files


def _product(
    name: str, fn: Callable[[Any, Any], Any], line: str, example: str, **known: Any
) -> Any:
    def apply(x1: Tensor, x2: Tensor) -> jax.Array:
        return fn(as_array(x1), as_array(x2))

    text = f"""{line}

    Args:
        x1: Tensor.
        x2: Tensor.
    """
    return as_op(apply, name, text, example, __name__, **known)


def _sum_dtype(*arrays: jax.Array) -> Any:
    """The dtype of sums of products: 32 bits for integers of 8, which overflow."""
    return "int32" if all(x.dtype == "int8" for x in arrays) else None


def _wide_matmul(x1: jax.Array, x2: jax.Array) -> jax.Array:
    dtype = _sum_dtype(x1, x2)
    return _matmul(x1, x2) if dtype is None else jnp.matmul(x1, x2, preferred_element_type=dtype)


def _by_matrix(plain: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """``plain``, with a fast gradient for a second argument that is one matrix."""

    def apply(x1: jax.Array, x2: jax.Array) -> jax.Array:
        by_one = x2.ndim == 2 and x1.ndim > 2 and x1.shape[-1] == x2.shape[0]
        return lowering.matmul(x1, x2) if by_one else plain(x1, x2)

    return apply


_matmul = _by_matrix(jnp.matmul)
matmul = _product("matmul", _wide_matmul,
    "The matrix product: ``y[..., i, j] = sum over k of x1[..., i, k] * x2[..., k, j]``.\n\n"
    "    The result of two ``int8`` matrices is ``int32``.",
    "[[1, 2], [3, 4]], [[1, 0], [0, 2]] -> [[1, 4], [3, 8]]",
    operators=("__matmul__", "__rmatmul__"))  # fmt: skip
dot = _product("dot", _by_matrix(jnp.dot),
    "The sum of products over the last axis of ``x1`` and the last but one of ``x2``.",
    "[1, 2], [3, 4] -> 11")  # fmt: skip
vdot = _product("vdot", jnp.vdot, "The sum of ``conj(x1) * x2`` over all elements.",
    "[1j, 2], [3, 4] -> (8-3j)")  # fmt: skip
inner = _product("inner", jnp.inner, "The sum of products over the last axes of both.",
    "[[1, 2], [3, 4]], [1, 10] -> [21, 43]")  # fmt: skip
outer = _product("outer", jnp.outer, "``y[i, j] = x1[i] * x2[j]``, of both flattened.",
    "[1, 2], [3, 4] -> [[3, 4], [6, 8]]")  # fmt: skip
kron = _product("kron", jnp.kron,
    "The Kronecker product: each element of ``x1`` times all of ``x2``.",
    "[1, 10], [1, 2] -> [1, 2, 10, 20]")  # fmt: skip


@op
def tensordot(x1: Tensor, x2: Tensor, axes: int | Sequence[Any] = 2) -> jax.Array:
    """The sum of products over pairs of axes.

    Args:
        x1: Tensor.
        x2: Tensor.
        axes: The number of last axes of ``x1`` and first axes of ``x2``; or two lists of axes.

    >>> tensordot([[1, 2]], [[3], [4]], axes=1)
    Array([[11]], dtype=int32)
    """
    pairs = axes if isinstance(axes, int) else tuple(
        tuple(a) if isinstance(a, (list, tuple)) else a for a in axes)  # fmt: skip
    return jnp.tensordot(as_array(x1), as_array(x2), pairs)


@op
def einsum(subscripts: str, *operands: Tensor, **kwargs: Any) -> jax.Array:
    """Sums of products in Einstein notation.

    Args:
        subscripts: Letters for the axes of the operands and of the result, such as
            ``"bij,bjk->bik"``.
        operands: Tensors.
        kwargs: ``optimize``: how the order of the products is chosen, as in NumPy.

    The result is ``int32`` if all operands are ``int8``.

    >>> einsum("ij,j->i", [[1, 2], [3, 4]], [1, 10])
    Array([21, 43], dtype=int32)
    """
    arrays = [as_array(x) for x in operands]
    kwargs.setdefault("preferred_element_type", _sum_dtype(*arrays))
    return jnp.einsum(subscripts, *arrays, **kwargs)


@op
def cross(
    x1: Tensor, x2: Tensor, axisa: int = -1, axisb: int = -1, axisc: int = -1,
    axis: int | None = None,
) -> jax.Array:  # fmt: skip
    """The cross product of vectors of 2 or 3 components.

    Args:
        x1: Tensor.
        x2: Tensor.
        axisa: The axis of the components of ``x1``.
        axisb: The axis of the components of ``x2``.
        axisc: The axis of the components of the result.
        axis: The axis of the components of all three.

    >>> cross([1, 0, 0], [0, 1, 0])
    Array([0, 0, 1], dtype=int32)
    """
    return jnp.cross(as_array(x1), as_array(x2), axisa, axisb, axisc, axis)


# ---- diagonals and triangles ---------------------------------------------------------------------


def _diagonal_k(name: str, fn: Callable[..., Any], line: str, example: str) -> Any:
    def apply(x: Tensor, k: int = 0) -> jax.Array:
        return fn(as_array(x), k)

    text = f"""{line}

    Args:
        x: Tensor.
        k: Index of the diagonal: 0 for the main one, positive above it, negative below it.
    """
    return as_op(apply, name, text, example, __name__)


def _diagonal(x: jax.Array, offset: int, axis1: int, axis2: int) -> jax.Array:
    if all(isinstance(n, int) for n in x.shape):
        return jnp.diagonal(x, offset, axis1, axis2)
    rows, columns = x.shape[axis1], x.shape[axis2]
    above, left = max(-offset, 0), max(offset, 0)  # JAX compares dimensions, which may be unknown
    size = jax.core.max_dim(jax.core.min_dim(rows - above, columns - left), 0)
    index = jnp.arange(size)
    return jnp.moveaxis(x, (axis1, axis2), (-2, -1))[..., index + above, index + left]


def _diag(x: jax.Array, k: int) -> jax.Array:
    return _diagonal(x, k, 0, 1) if x.ndim == 2 else jnp.diag(x, k)


diag = _diagonal_k("diag", _diag, "The matrix with diagonal ``x``; the diagonal of a matrix.",
    "[1, 2] -> [[1, 0], [0, 2]]")  # fmt: skip
diagflat = _diagonal_k("diagflat", jnp.diagflat, "The matrix with diagonal ``x``, flattened.",
    "[[1], [2]] -> [[1, 0], [0, 2]]")  # fmt: skip
tril = _diagonal_k("tril", jnp.tril, "Zeros above diagonal ``k`` of each matrix.",
    "[[1, 2], [3, 4]] -> [[1, 0], [3, 4]]")  # fmt: skip
triu = _diagonal_k("triu", jnp.triu, "Zeros below diagonal ``k`` of each matrix.",
    "[[1, 2], [3, 4]] -> [[1, 2], [0, 4]]")  # fmt: skip


@op
def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The diagonals of matrices, as the last axis.

    Args:
        x: Tensor.
        offset: Index of the diagonal: 0 for the main one, positive above it.
        axis1: The axis of rows.
        axis2: The axis of columns.

    >>> diagonal([[1, 2], [3, 4]])
    Array([1, 4], dtype=int32)
    """
    return _diagonal(as_array(x), offset, axis1, axis2)


@op
def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The sum of a diagonal; see :func:`diagonal` for the arguments.

    Args:
        x: Tensor.
        offset: Index of the diagonal: 0 for the main one, positive above it.
        axis1: The axis of rows.
        axis2: The axis of columns.

    >>> trace([[1, 2], [3, 4]])
    Array(5, dtype=int32)
    """
    return jnp.trace(as_array(x), offset, axis1, axis2)


@op
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> jax.Array:
    """The Vandermonde matrix: the powers of each element, from ``N - 1`` down to 0.

    Args:
        x: Tensor ``(n,)``.
        N: Number of columns; ``n`` when None.
        increasing: Whether the powers increase.

    >>> vander([2, 3], 3)
    Array([[4, 2, 1],
           [9, 3, 1]], dtype=int32)
    """
    return jnp.vander(as_array(x), N, increasing)


def _slogdet(x: jax.Array) -> Any:
    return tuple(jnp.linalg.slogdet(x))


slogdet = unary("slogdet", _slogdet,
    "The sign of the determinant of each matrix, and the logarithm of its absolute value.",
    "slogdet([[0.0, 1.0], [1.0, 0.0]]) -> (Array(-1., dtype=float32), Array(0., dtype=float32))",
    convert=floating, elementwise=False)  # fmt: skip
