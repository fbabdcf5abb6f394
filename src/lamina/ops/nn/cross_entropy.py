"""Cross-entropies on arrays and symbolic tensors; public as part of :mod:`lamina.ops`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina import settings
from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import as_array, floating

FILE_MODULE = "nn"  # of Keras's files


def _check_same_shape(name: str, target: jax.Array, output: jax.Array) -> None:
    if target.shape != output.shape:
        raise ArgumentError(
            f"{name}() expects `target` and `output` of the same shape. "
            f"Received: {target.shape} and {output.shape}."
        )


def _log_probabilities(output: jax.Array, axis: int) -> jax.Array:
    """Logarithms of probabilities, normalized to sum 1 and clipped away from 0 and 1."""
    epsilon = settings.epsilon()
    output = output / jnp.sum(output, axis, keepdims=True)
    return jnp.log(jnp.clip(output, epsilon, 1 - epsilon))


@op
def binary_crossentropy(target: Tensor, output: Tensor, from_logits: bool = False) -> jax.Array:
    """``-target * log(output) - (1 - target) * log(1 - output)``, elementwise.

    Args:
        target: Zeros and ones (or probabilities), of the shape of ``output``.
        output: Probabilities, clipped to ``[epsilon, 1 - epsilon]``; or logits.
        from_logits: Whether ``output`` holds logits, whose sigmoid is the probability.

    >>> f"{binary_crossentropy(1.0, 0.5):.3f}"
    '0.693'
    """
    target, output = as_array(target), floating(output)
    _check_same_shape("binary_crossentropy", target, output)
    if from_logits:
        return jax.nn.softplus(output) - target * output
    output = jnp.clip(output, settings.epsilon(), 1 - settings.epsilon())
    return -(target * jnp.log(output) + (1 - target) * jnp.log(1 - output))


@op
def categorical_crossentropy(
    target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> jax.Array:
    """``-sum(target * log(output), axis)``.

    Args:
        target: Probability of each class, of the shape of ``output``.
        output: Probabilities, normalized to sum 1; or logits.
        from_logits: Whether ``output`` holds logits, whose softmax is the probability.
        axis: The axis of the classes.

    >>> f"{categorical_crossentropy(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])):.3f}"
    '0.693'
    """
    target, output = as_array(target), floating(output)
    _check_same_shape("categorical_crossentropy", target, output)
    log = jax.nn.log_softmax(output, axis) if from_logits else _log_probabilities(output, axis)
    return -jnp.sum(target * log, axis)


@op
def sparse_categorical_crossentropy(
    target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> jax.Array:
    """``-log(output[target])``: categorical cross-entropy with class indices as targets.

    Args:
        target: Class indices, of the shape of ``output`` without ``axis``, or with size 1 there.
        output: Probabilities, normalized to sum 1; or logits.
        from_logits: Whether ``output`` holds logits, whose softmax is the probability.
        axis: The axis of the classes.

    >>> f"{sparse_categorical_crossentropy(1, jnp.array([0.5, 0.5])):.3f}"
    '0.693'
    """
    output = floating(output)
    target = as_array(target).astype("int32")
    if target.ndim < output.ndim:
        target = jnp.expand_dims(target, axis)
    one = list(output.shape)
    one[axis] = 1
    if list(target.shape) != one:
        raise ArgumentError(
            "sparse_categorical_crossentropy() expects one class index for each row of "
            f"`output` along axis {axis}. Received: target of shape {target.shape} and output of "
            f"shape {output.shape}."
        )
    log = jax.nn.log_softmax(output, axis) if from_logits else _log_probabilities(output, axis)
    # Unlike a comparison, a gather and its gradient, a scatter, are not fused with other
    # operations.
    classes = jax.lax.broadcasted_iota("int32", log.shape, axis % log.ndim)
    chosen = jnp.sum(jnp.where(classes == target, log, 0), axis)
    target = jnp.squeeze(target, axis)
    return -jnp.where((target >= 0) & (target < log.shape[axis]), chosen, jnp.nan)
