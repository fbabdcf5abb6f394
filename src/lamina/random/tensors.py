"""Random tensors, each a function of its arguments and of a seed.

Every function takes ``seed``:

* an integer from 0 to 2^32 - 1: each call with it returns the same numbers;
* a :class:`~lamina.random.SeedGenerator`: each call advances it, in a compiled step too;
* None: new numbers at each call and, inside a layer, at each training step; they depend
  only on the global seed (``lamina.utils.set_random_seed``), the path of the layer and the step.

With an integer or a generator, the numbers are those of Keras with the JAX backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.core.scope import current
from lamina.core.spec import show_dims
from lamina.dtype_policies.dtypes import is_int, standardize_dtype
from lamina.errors import ArgumentError, ShapeError
from lamina.ops.templates import as_array, floating
from lamina.random.seed_generator import key_of


def _shape(shape: Any, function: str) -> tuple[Any, ...]:
    """The shape as a tuple of known or symbolic dimensions."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(size is None for size in sizes):
        raise ShapeError(
            f"{function}() needs every dimension of `shape`. Received: {show_dims(sizes)}, where "
            "None is unknown until the model runs. Draw inside the `call` of a layer, where "
            "`lamina.ops.shape(x)` is complete."
        )
    if any(isinstance(size, int) and size < 0 for size in sizes):
        raise ShapeError(f"{function}() needs sizes of at least 0. Received: {show_dims(sizes)}.")
    return sizes


def _float_dtype(dtype: Any, function: str) -> str:
    name = standardize_dtype(dtype)
    if not jnp.issubdtype(jnp.dtype(name), jnp.floating):
        raise ArgumentError(f"{function}() draws floating-point numbers. Received: dtype={name!r}.")
    return str(jax.dtypes.canonicalize_dtype(name))


def _between_0_and_1(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ArgumentError(f"dropout() expects a `rate` from 0 to 1. Received: {rate!r}.")
    return float(rate)


@op(file_module="random")
def normal(
    shape: Sequence[int],
    mean: Tensor = 0.0,
    stddev: Tensor = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Samples of the normal distribution.

    Args:
        shape: Shape of the result.
        mean: Mean, a number or a tensor that broadcasts to ``shape``.
        stddev: Standard deviation, likewise.
        dtype: Floating dtype of the result; ``floatx`` when None.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> normal((2, 3), seed=1).shape
    (2, 3)
    >>> bool((normal((3,), seed=1) == normal((3,), seed=1)).all())
    True
    """
    name = _float_dtype(dtype, "normal")
    sample = jax.random.normal(key_of(seed, "normal"), _shape(shape, "normal"), name)
    return (sample * stddev + mean).astype(name)


@op(file_module="random")
def uniform(
    shape: Sequence[int],
    minval: Tensor = 0.0,
    maxval: Tensor = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Samples of the uniform distribution on ``[minval, maxval)``.

    Args:
        shape: Shape of the result.
        minval: Lower bound, included; a number or a tensor that broadcasts to ``shape``.
        maxval: Upper bound, excluded; likewise.
        dtype: Floating dtype of the result; ``floatx`` when None. For integers use
            :func:`randint`.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> x = uniform((100,), -1, 1, seed=1)
    >>> bool((x >= -1).all() and (x < 1).all())
    True
    """
    name = _float_dtype(dtype, "uniform")
    key = key_of(seed, "uniform")
    return jax.random.uniform(key, _shape(shape, "uniform"), name, minval, maxval)


@op(file_module="random")
def randint(
    shape: Sequence[int],
    minval: Tensor,
    maxval: Tensor,
    dtype: Any = "int32",
    seed: Any = None,
) -> jax.Array:
    """Integers of the uniform distribution on ``[minval, maxval)``.

    Args:
        shape: Shape of the result.
        minval: Lower bound, included; a number or a tensor that broadcasts to ``shape``.
        maxval: Upper bound, excluded; likewise.
        dtype: Integer dtype of the result.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not an integer dtype, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> sorted(set(randint((100,), 2, 5, seed=1).tolist()))
    [2, 3, 4]
    """
    name = standardize_dtype(dtype)
    if not is_int(name):
        raise ArgumentError(f"randint() draws integers. Received: dtype={name!r}.")
    name = str(jax.dtypes.canonicalize_dtype(name))
    key = key_of(seed, "randint")
    return jax.random.randint(key, _shape(shape, "randint"), minval, maxval, name)


@op(file_module="random")
def truncated_normal(
    shape: Sequence[int],
    mean: Tensor = 0.0,
    stddev: Tensor = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Samples of the normal distribution within two standard deviations of the mean.

    Args:
        shape: Shape of the result.
        mean: Mean of the distribution before truncation, a number or a tensor that broadcasts.
        stddev: Standard deviation before truncation, likewise.
        dtype: Floating dtype of the result; ``floatx`` when None.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> bool((abs(truncated_normal((1000,), seed=1)) <= 2).all())
    True
    """
    name = _float_dtype(dtype, "truncated_normal")
    sizes = _shape(shape, "truncated_normal")
    sample = jax.random.truncated_normal(key_of(seed, "truncated_normal"), -2.0, 2.0, sizes, name)
    return (sample * stddev + mean).astype(name)


@op(file_module="random")
def gamma(
    shape: Sequence[int], alpha: Tensor, dtype: Any = None, seed: Any = None
) -> jax.Array:  # fmt: skip
    """Samples of the gamma distribution with scale 1.

    Args:
        shape: Shape of the result.
        alpha: Shape parameter > 0, a number or a tensor that broadcasts to ``shape``.
        dtype: Floating dtype of the result; ``floatx`` when None.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> bool((gamma((100,), 2.0, seed=1) > 0).all())
    True
    """
    name = _float_dtype(dtype, "gamma")
    return jax.random.gamma(
        key_of(seed, "gamma"), jnp.asarray(alpha, name), _shape(shape, "gamma"), name
    )


@op(file_module="random")
def binomial(
    shape: Sequence[int],
    counts: Tensor,
    probabilities: Tensor,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Numbers of successes in ``counts`` independent trials.

    Args:
        shape: Shape of the result.
        counts: Number of trials, a number or a tensor that broadcasts to ``shape``.
        probabilities: Probability of success in one trial, likewise.
        dtype: Floating dtype of the result; ``floatx`` when None.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of whole numbers, of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> binomial((2,), 5, 1.0, seed=1)
    Array([5., 5.], dtype=float32)
    """
    name = _float_dtype(dtype, "binomial")
    key = key_of(seed, "binomial")
    counts, probabilities = jnp.asarray(counts, name), jnp.asarray(probabilities, name)
    return jax.random.binomial(key, counts, probabilities, _shape(shape, "binomial"), name)


@op(file_module="random")
def beta(
    shape: Sequence[int],
    alpha: Tensor,
    beta: Tensor,
    dtype: Any = None,
    seed: Any = None,
) -> jax.Array:
    """Samples of the beta distribution, from 0 to 1.

    Args:
        shape: Shape of the result.
        alpha: First parameter > 0, a number or a tensor that broadcasts to ``shape``.
        beta: Second parameter > 0, likewise.
        dtype: Floating dtype of the result; ``floatx`` when None.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``shape``.

    Raises:
        ArgumentError: A dtype that is not floating, or an invalid ``seed``.
        ShapeError: A dimension of ``shape`` is None.

    >>> x = beta((100,), 2.0, 3.0, seed=1)
    >>> bool((x >= 0).all() and (x <= 1).all())
    True
    """
    name = _float_dtype(dtype, "beta")
    key, a, b = key_of(seed, "beta"), jnp.asarray(alpha, name), jnp.asarray(beta, name)
    return jax.random.beta(key, a, b, _shape(shape, "beta"), name)


@op(file_module="random")
def categorical(
    logits: Tensor, num_samples: int, dtype: Any = "int32", seed: Any = None
) -> jax.Array:  # fmt: skip
    """Class indices, drawn with the probabilities ``softmax(logits)``.

    Args:
        logits: Unnormalized log-probabilities of shape ``(batch, classes)``.
        num_samples: Number of indices to draw for each row.
        dtype: Dtype of the result.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of shape ``(batch, num_samples)``.

    Raises:
        ShapeError: ``logits`` of another rank.
        ArgumentError: An invalid ``seed``.

    >>> categorical([[0.0, -1e9], [-1e9, 0.0]], 3, seed=1)
    Array([[0, 0, 0],
           [1, 1, 1]], dtype=int32)
    """
    logits = floating(logits)
    if logits.ndim != 2:
        raise ShapeError(
            "categorical() expects `logits` of shape (batch, classes). "
            f"Received: shape {show_dims(logits.shape)}."
        )
    key = key_of(seed, "categorical")
    drawn = jax.random.categorical(
        key, logits[:, :, None], axis=1, shape=(logits.shape[0], num_samples)
    )
    return drawn.astype(standardize_dtype(dtype))


@op(file_module="random")
def dropout(
    inputs: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None
) -> jax.Array:
    """Set a random fraction of the elements to 0 and divide the others by ``1 - rate``.

    Unlike the layer of that name, it does so in inference too.

    Args:
        inputs: Tensor of any shape; integers are converted to floating-point numbers.
        rate: Fraction of the elements to drop, from 0 to 1.
        noise_shape: Shape of the random numbers, which broadcasts to that of ``inputs``: elements
            along an axis where it has a 1 are kept or dropped together. None, as a whole or for one
            axis, means the dimensions of the input.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        ArgumentError: An invalid ``rate`` or ``seed``.
        ShapeError: A ``noise_shape`` that does not broadcast to the shape of ``inputs``.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html

    >>> sorted(set(dropout([1.0] * 100, 0.75, seed=1).tolist()))
    [0.0, 4.0]
    """
    x, rate = floating(inputs), _between_0_and_1(rate)
    wanted = (None,) * x.ndim if noise_shape is None else tuple(noise_shape)
    if len(wanted) != x.ndim or any(
        n not in (None, 1, size) for n, size in zip(wanted, x.shape, strict=True)
    ):
        raise ShapeError(
            "dropout() expects a `noise_shape` with one entry for each axis of `inputs`: its size, "
            f"1 or None.\n  expected: entries for {show_dims(x.shape)}\n"
            f"  received: {show_dims(wanted)}"
        )
    key = key_of(seed, "dropout")
    if rate == 1:
        return jnp.zeros_like(x)
    sizes = tuple(size if n is None else n for n, size in zip(wanted, x.shape, strict=True))
    kept = jax.random.bernoulli(key, 1 - rate, sizes)
    return jnp.where(kept, x / (1 - rate), jnp.zeros((), x.dtype))


@op(file_module="random")
def shuffle(x: Tensor, axis: int = 0, seed: Any = None) -> jax.Array:
    """Shuffle the entries along an axis, in a different order for each index of the other axes.

    Args:
        x: Tensor of at least one axis.
        axis: The axis along which entries are shuffled.
        seed: Integer, :class:`SeedGenerator` or None; see :mod:`lamina.random`.

    Returns:
        Tensor of the shape and dtype of ``x``.

    Raises:
        ArgumentError: An invalid ``seed``, or an ``axis`` that ``x`` does not have.

    >>> sorted(shuffle([3, 1, 2], seed=1).tolist())
    [1, 2, 3]
    """
    x = as_array(x)
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ArgumentError(
            f"shuffle() expects an `axis` of a tensor of rank {x.ndim}. Received: {axis!r}."
        )
    key, scope = key_of(seed, "shuffle"), current()
    if scope is not None and scope.abstract:
        return x  # JAX cannot permute an unknown dimension, but the shape of the result is known
    return jax.random.permutation(key, x, axis, independent=True)


__all__ = [
    "beta", "binomial", "categorical", "dropout", "gamma", "normal", "randint", "shuffle",
    "truncated_normal", "uniform",
]  # fmt: skip
