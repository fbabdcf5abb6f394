"""Linear algebra on matrices: the last two axes of a tensor; the axes before them are batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import jax.scipy  # which imports its parts on first use

from lamina.core.declaration import Tensor, op
from lamina.core.spec import show_dims
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import Axes, as_axes, floating, same_floating, unary

FILE_MODULE = "linalg"  # of Keras's files

__all__ = [
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "jvp", "lstsq", "lu_factor",
    "matrix_rank", "norm", "pinv", "qr", "solve", "solve_triangular", "svd",
]  # fmt: skip


def _matrices(name: str, x: Tensor, *, square: bool = False) -> jax.Array:
    x = floating(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        wanted = "(..., n, n)" if square else "(..., m, n)"
        raise ShapeError(
            f"ops.{name} expects {'square ' if square else ''}matrices.",
            expected=wanted,
            received=show_dims(x.shape),
        )
    return x


@op
def cholesky(x: Tensor, upper: bool = False) -> jax.Array:
    """The triangular ``l`` with ``l @ l^H == x``; or ``u`` with ``u^H @ u == x``.

    Args:
        x: Hermitian positive definite matrices ``(..., n, n)``.
        upper: Whether to return the upper triangular factor.

    Raises:
        ArgumentError: A matrix of an array is not positive definite. In a compiled function, where
            values are not known, its factor is NaN.

    >>> cholesky([[4.0, 0.0], [0.0, 9.0]])
    Array([[2., 0.],
           [0., 3.]], dtype=float32)
    """
    factor = jnp.linalg.cholesky(_matrices("cholesky", x, square=True), upper=upper)
    if not isinstance(factor, jax.core.Tracer) and bool(jnp.isnan(factor).any()):
        raise ArgumentError(
            "cholesky() expects positive definite matrices. Received one that is not, or contains "
            "NaN. Add a small multiple of the identity matrix if rounding is the cause."
        )
    return factor


@op
def cholesky_inverse(x: Tensor, upper: bool = False) -> jax.Array:
    """The inverse of a matrix from its Cholesky factor: ``inv(x @ x^T)``.

    Args:
        x: Triangular matrices ``(..., n, n)``, as :func:`cholesky` returns them.
        upper: Whether they are upper triangular: ``inv(x^T @ x)``.

    >>> cholesky_inverse([[2.0, 0.0], [0.0, 4.0]])
    Array([[0.25  , 0.    ],
           [0.    , 0.0625]], dtype=float32)
    """
    x = _matrices("cholesky_inverse", x, square=True)
    unit = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = jax.scipy.linalg.solve_triangular(x, unit, lower=not upper)
    transposed = jnp.swapaxes(inverse, -1, -2)
    return inverse @ transposed if upper else transposed @ inverse


det = unary("det", lambda x: jnp.linalg.det(_matrices("det", x, square=True)),
    "The determinant of each matrix.", "[[1.0, 2.0], [3.0, 4.0]] -> -2.0",
    elementwise=False)  # fmt: skip
inv = unary("inv", lambda x: jnp.linalg.inv(_matrices("inv", x, square=True)),
    "The inverse of each matrix.", "[[2.0, 0.0], [0.0, 4.0]] -> [[0.5, 0.0], [0.0, 0.25]]",
    elementwise=False)  # fmt: skip
eig = unary("eig", lambda x: tuple(jnp.linalg.eig(_matrices("eig", x, square=True))),
    "Eigenvalues ``(..., n)`` and eigenvectors, as columns, of matrices; complex, only on CPU.",
    "eig([[2.0, 0.0], [0.0, 3.0]])[0].tolist() -> [(2+0j), (3+0j)]", elementwise=False)  # fmt: skip
eigh = unary("eigh", lambda x: tuple(jnp.linalg.eigh(_matrices("eigh", x, square=True))),
    "Eigenvalues ``(..., n)``, increasing, and eigenvectors, as columns, of Hermitian matrices.",
    "eigh([[3.0, 0.0], [0.0, 2.0]])[0].tolist() -> [2.0, 3.0]", elementwise=False)  # fmt: skip


def _lu_factor(x: jax.Array) -> Any:
    return tuple(jax.scipy.linalg.lu_factor(_matrices("lu_factor", x)))


lu_factor = unary("lu_factor", _lu_factor,
    "``L`` (below the diagonal; its diagonal is 1) and ``U`` in one matrix, and the pivots.",
    "lu_factor([[2.0, 1.0], [4.0, 0.0]])[0].tolist() -> [[4.0, 0.0], [0.5, 1.0]]",
    elementwise=False)  # fmt: skip


@op
def qr(x: Tensor, mode: str = "reduced") -> tuple[jax.Array, jax.Array]:
    """Orthogonal ``q`` and upper triangular ``r`` with ``q @ r == x``.

    Args:
        x: Matrices ``(..., m, n)``.
        mode: ``"reduced"``: ``q`` is ``(..., m, min(m, n))``; ``"complete"``: ``(..., m, m)``.

    >>> [a.shape for a in qr([[1.0], [2.0]], mode="complete")]
    [(2, 2), (2, 1)]
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"qr(): `mode` must be 'reduced' or 'complete'. Received: {mode!r}.")
    q, r = jnp.linalg.qr(_matrices("qr", x), mode)
    return q, r


@op(file_class="SVD")
def svd(x: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular value decomposition: ``x == u @ diag(s) @ vh`` with orthogonal ``u`` and ``vh``.

    Args:
        x: Matrices ``(..., m, n)``.
        full_matrices: Whether ``u`` is ``(..., m, m)`` and ``vh`` is ``(..., n, n)``, instead of
            ``(..., m, k)`` and ``(..., k, n)`` with ``k = min(m, n)``.
        compute_uv: Whether to return ``u`` and ``vh`` too.

    Returns:
        ``(u, s, vh)``, or ``s``: ``(..., min(m, n))``, decreasing.

    >>> svd([[3.0, 0.0], [0.0, 4.0]], compute_uv=False)
    Array([4., 3.], dtype=float32)
    """
    found = jnp.linalg.svd(_matrices("svd", x), full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@op
def solve(a: Tensor, b: Tensor) -> jax.Array:
    """Solve ``a @ x == b`` for ``x``.

    Args:
        a: Square matrices ``(..., n, n)``.
        b: ``(n,)``, or ``(..., n, k)``, whose leading axes broadcast with those of ``a``. One
            vector for each matrix is ``(..., n, 1)``.

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
    Array([1. , 0.5], dtype=float32)
    """
    a = _matrices("solve", a, square=True)
    b = floating(b)
    if b.ndim > 1 and b.shape[-2] != a.shape[-1]:
        raise ShapeError(
            "ops.solve expects right-hand sides with as many rows as the matrices.",
            expected=f"b of shape (n,) or (..., n, k), with n = {a.shape[-1]}",
            received=f"a {show_dims(a.shape)}, b {show_dims(b.shape)}",
            cure="Pass one vector for each matrix as `b[..., None]`.",
        )
    return jnp.linalg.solve(a, b)


@op
def solve_triangular(a: Tensor, b: Tensor, lower: bool = False) -> jax.Array:
    """Solve ``a @ x == b`` for ``x``, with triangular ``a``.

    Args:
        a: Triangular matrices ``(..., n, n)``; the other triangle is not read.
        b: ``(..., n)`` or ``(..., n, k)``.
        lower: Whether ``a`` is lower triangular.

    >>> solve_triangular([[2.0, 0.0], [2.0, 1.0]], [2.0, 3.0], lower=True)
    Array([1., 1.], dtype=float32)
    """
    a, b = same_floating(a, b)
    a = _matrices("solve_triangular", a, square=True)
    if b.ndim == a.ndim - 1:
        return jax.scipy.linalg.solve_triangular(a, b[..., None], lower=lower)[..., 0]
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower)


@op
def lstsq(a: Tensor, b: Tensor, rcond: float | None = None) -> jax.Array:
    """The least-squares solution: the ``x`` of minimum norm that minimizes ``|a @ x - b|``.

    Args:
        a: Matrix ``(m, n)``.
        b: ``(m,)`` or ``(m, k)``.
        rcond: Singular values below ``rcond`` times the largest count as 0.

    >>> [round(float(x), 3) for x in lstsq([[1.0], [1.0]], [1.0, 3.0])]
    [2.0]
    """
    return jnp.linalg.lstsq(_matrices("lstsq", a), floating(b), rcond)[0]


@op
def pinv(x: Tensor, rcond: float | None = None) -> jax.Array:
    """The Moore-Penrose pseudo-inverse: ``inv(x^H @ x) @ x^H`` for independent columns.

    Args:
        x: Matrices ``(..., m, n)``.
        rcond: Singular values below ``rcond`` times the largest count as 0;
            ``10 * max(m, n) * eps`` when None.

    >>> pinv([[2.0], [0.0]])
    Array([[0.5, 0. ]], dtype=float32)
    """
    return jnp.linalg.pinv(_matrices("pinv", x), rtol=rcond)


@op
def matrix_rank(x: Tensor, tol: float | None = None) -> jax.Array:
    """The rank of matrices: the number of singular values above ``tol``.

    Args:
        x: Matrices ``(..., m, n)``.
        tol: Threshold; ``max(m, n) * eps`` times the largest singular value when None.

    >>> matrix_rank([[1.0, 2.0], [2.0, 4.0]])
    Array(1, dtype=int32)
    """
    x = _matrices("matrix_rank", x)
    values = jnp.linalg.svd(x, compute_uv=False)
    if tol is None:
        eps = jnp.finfo(values.dtype).eps
        least = values.max(-1, keepdims=True) * (max(x.shape[-2:]) * eps)
    else:
        least = jnp.asarray(tol, values.dtype)
    return jnp.sum(values > least, -1, dtype="int32")


@op
def norm(
    x: Tensor, ord: float | str | None = None, axis: Axes = None, keepdims: bool = False
) -> jax.Array:
    """The norm of vectors or matrices.

    Args:
        x: Tensor.
        ord: For vectors: ``p`` for ``sum(|x| ** p) ** (1 / p)``, and plus or minus infinity for the
            largest or smallest absolute value. For matrices: ``"fro"`` (the 2-norm of all
            elements), ``"nuc"`` (the sum of singular values), 2 and -2 (the largest and smallest of
            them), 1, -1, and infinities (sums of columns and rows). When None: 2 for vectors,
            ``"fro"`` for matrices.
        axis: One axis for vectors, two for matrices; all elements when None.
        keepdims: Whether reduced axes stay, with size 1.

    >>> norm([3.0, 4.0])
    Array(5., dtype=float32)
    """
    return jnp.linalg.norm(floating(x), ord, as_axes(axis), keepdims)


@op(file_class="JVP")
def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Tensor],
    tangents: Sequence[Tensor],
    has_aux: bool = False,
) -> Any:
    """The value of a function and its directional derivative: its Jacobian times the tangents.

    Args:
        fun: A function of the primals.
        primals: The point to evaluate at, a list or tuple with a tensor for each argument.
        tangents: The direction, likewise.
        has_aux: Whether ``fun`` returns a pair of its value and auxiliary data.

    Returns:
        ``(value, derivative)``, followed by the auxiliary data with ``has_aux``.

    >>> [float(v) for v in jvp(lambda x: x**2, (3.0,), (1.0,))]
    [9.0, 6.0]
    """
    arrays = ([floating(x) for x in given] for given in (primals, tangents))

    def plain(*args: Any) -> Any:  # supports the weak references that JAX needs
        return fun(*args)

    return jax.jvp(plain, *arrays, has_aux=has_aux)
