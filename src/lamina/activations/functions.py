"""The activation functions, built on :mod:`lamina.ops`, so that they also take symbolic tensors.

The docstring of a function takes the arguments and the example of the op of the same name, which
also names the paper.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp

from lamina import ops
from lamina.core.declaration import DECLARATIONS
from lamina.core.graph import is_symbolic
from lamina.core.spec import is_array
from lamina.serialization.docstrings import completed, entries
from lamina.serialization.namespaces import accessors
from lamina.serialization.registry import builtin

_F = TypeVar("_F", bound=Callable[..., Any])


def _described(function: _F) -> _F:
    """Complete the docstring with the arguments and the example of the op of the same name."""
    op = DECLARATIONS[function.__name__].fn.__doc__ or ""
    text = completed(function.__doc__, inspect.signature(function).parameters, entries(op))
    example = inspect.cleandoc(op).partition("\n\n>>> ")[2]
    function.__doc__ = text if ">>> " in text else f"{text}\n\n>>> {example}\n"
    return function


def _activation(function: _F) -> _F:
    return builtin("activations")(_described(function))


@builtin("activations")
def linear(x: Any) -> Any:
    """Return ``x`` unchanged.

    Args:
        x: Tensor.

    >>> linear(3.0)
    3.0
    """
    return x


@_activation
def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """Rectified linear unit: ``max(x, 0)`` with the defaults.

    ``max_value`` where ``x >= max_value``; ``x`` where ``x >= threshold``; elsewhere
    ``negative_slope * (x - threshold)``.

    Args:
        x: Tensor.
        negative_slope: Slope below the threshold.
        max_value: Upper bound of the result, or None.
        threshold: Where the linear part begins.

    >>> [float(relu(v, negative_slope=0.5, max_value=6.0)) for v in (-2.0, 3.0, 9.0)]
    [-1.0, 3.0, 6.0]
    """
    if negative_slope or threshold:
        dtype = x.dtype if is_symbolic(x) or is_array(x) else None
        below = ops.multiply(negative_slope, ops.subtract(x, threshold))
        if dtype is not None:
            kept = not negative_slope or jnp.issubdtype(dtype, jnp.floating)
            below = ops.cast(below, dtype if kept else below.dtype)  # a slope makes floats
        result = ops.where(ops.greater_equal(x, threshold), x, below)
    elif max_value == 6:
        return ops.relu6(x)
    else:
        result = ops.relu(x)
    return result if max_value is None else ops.minimum(result, max_value)


@_activation
def relu6(x: Any) -> Any:
    """:func:`lamina.ops.relu6`: ``min(max(x, 0), 6)``."""
    return ops.relu6(x)


@_activation
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """:func:`lamina.ops.leaky_relu`: ``x`` where positive, else ``negative_slope * x``."""
    return ops.leaky_relu(x, negative_slope)


@_activation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """:func:`lamina.ops.elu`: ``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return ops.elu(x, alpha)


@_activation
def selu(x: Any) -> Any:
    """:func:`lamina.ops.selu`: a scaled ELU that keeps mean 0 and variance 1."""
    return ops.selu(x)


@_activation
def celu(x: Any, alpha: float = 1.0) -> Any:
    """:func:`lamina.ops.celu`: ``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``."""
    return ops.celu(x, alpha)


@_activation
def gelu(x: Any, approximate: bool = False) -> Any:
    """:func:`lamina.ops.gelu`: ``x * P(X <= x)``; here exact unless ``approximate``.

    >>> f"{gelu(2.0):.4f} {gelu(2.0, approximate=True):.4f}"
    '1.9545 1.9546'
    """
    return ops.gelu(x, approximate)


@builtin("activations", "swish")
@_described
def silu(x: Any) -> Any:
    """:func:`lamina.ops.silu`: ``x * sigmoid(x)``; also called swish."""
    return ops.silu(x)


@_activation
def mish(x: Any) -> Any:
    """:func:`lamina.ops.mish`: ``x * tanh(softplus(x))``."""
    return ops.mish(x)


@_activation
def sigmoid(x: Any) -> Any:
    """:func:`lamina.ops.sigmoid`: ``1 / (1 + exp(-x))``."""
    return ops.sigmoid(x)


@_activation
def hard_sigmoid(x: Any) -> Any:
    """:func:`lamina.ops.hard_sigmoid`: ``min(max(x / 6 + 1/2, 0), 1)``."""
    return ops.hard_sigmoid(x)


@builtin("activations", "hard_swish")
@_described
def hard_silu(x: Any) -> Any:
    """:func:`lamina.ops.hard_silu`: ``x * hard_sigmoid(x)``; also called hard swish."""
    return ops.hard_silu(x)


@_activation
def tanh(x: Any) -> Any:
    """Hyperbolic tangent, ``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``."""
    return ops.tanh(x)


@_activation
def hard_tanh(x: Any) -> Any:
    """:func:`lamina.ops.hard_tanh`: ``min(max(x, -1), 1)``."""
    return ops.hard_tanh(x)


@_activation
def tanh_shrink(x: Any) -> Any:
    """:func:`lamina.ops.tanh_shrink`: ``x - tanh(x)``."""
    return ops.tanh_shrink(x)


@_activation
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """:func:`lamina.ops.hard_shrink`: ``x`` where ``|x| > threshold``, else 0."""
    return ops.hard_shrink(x, threshold)


@_activation
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """:func:`lamina.ops.soft_shrink`: ``sign(x) * max(|x| - threshold, 0)``."""
    return ops.soft_shrink(x, threshold)


@_activation
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """:func:`lamina.ops.threshold`: ``x`` where ``x > threshold``, else ``default_value``."""
    return ops.threshold(x, threshold, default_value)


@_activation
def softplus(x: Any) -> Any:
    """:func:`lamina.ops.softplus`: ``log(1 + exp(x))``."""
    return ops.softplus(x)


@_activation
def softsign(x: Any) -> Any:
    """:func:`lamina.ops.softsign`: ``x / (1 + |x|)``."""
    return ops.softsign(x)


@_activation
def squareplus(x: Any, b: float = 4) -> Any:
    """:func:`lamina.ops.squareplus`: ``(x + sqrt(x ** 2 + b)) / 2``."""
    return ops.squareplus(x, b)


@_activation
def sparse_plus(x: Any) -> Any:
    """:func:`lamina.ops.sparse_plus`: 0 up to -1, ``x`` from 1 on, a parabola between."""
    return ops.sparse_plus(x)


@_activation
def sparse_sigmoid(x: Any) -> Any:
    """:func:`lamina.ops.sparse_sigmoid`: ``min(max((x + 1) / 2, 0), 1)``."""
    return ops.sparse_sigmoid(x)


@_activation
def log_sigmoid(x: Any) -> Any:
    """:func:`lamina.ops.log_sigmoid`: ``log(sigmoid(x))``."""
    return ops.log_sigmoid(x)


@builtin("activations")
def exponential(x: Any) -> Any:
    """``exp(x)``.

    Args:
        x: Tensor of any shape; integers are converted to floats.

    >>> exponential([0.0, 1.0]).tolist()
    [1.0, 2.7182...]
    """
    return ops.exp(x)


@_activation
def softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """:func:`lamina.ops.softmax`: ``exp(x) / sum(exp(x), axis)``."""
    return ops.softmax(x, axis)


@_activation
def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """:func:`lamina.ops.log_softmax`: ``x - log(sum(exp(x), axis))``."""
    return ops.log_softmax(x, axis)


@_activation
def sparsemax(x: Any, axis: int = -1) -> Any:
    """:func:`lamina.ops.sparsemax`: the nearest point of the probability simplex."""
    return ops.sparsemax(x, axis)


@_activation
def glu(x: Any, axis: int = -1) -> Any:
    """:func:`lamina.ops.glu`: ``a * sigmoid(b)`` for the halves ``a, b`` of ``x``."""
    return ops.glu(x, axis)


swish, hard_swish = silu, hard_silu

get, serialize, deserialize = accessors("activations", "activation", "relu", default=linear)
