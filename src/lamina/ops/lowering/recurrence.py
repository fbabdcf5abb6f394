"""Recurrences: the loop through time, and one step of each kind of recurrent unit.

The part of a step that reads only the input (``x @ kernel + bias``) does not wait for the step
before it, so callers compute it for all steps in one product and hand the result to the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.ops.lowering.windows import pad, taps

Step = Callable[[Any, Any], tuple[Any, Any]]
Function = Callable[[Any], Any]


def recur(
    step: Step,
    inputs: Any,
    states: Any,
    *,
    mask: jax.Array | None = None,
    unroll: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, jax.Array | None, Any]:
    """Run ``step`` once for each time step, each time on the states that the last one returned.

    A masked step leaves the states of its sample as they are, and repeats the output before it;
    ahead of the first step that counts, that is the first state, or zeros where the first state
    has another shape.

    Args:
        step: ``(inputs of one step, states) -> (output, states)``.
        inputs: arrays ``(time, batch, ...)`` in any nesting; ``time`` may be symbolic.
        states: arrays ``(batch, ...)`` in any nesting.
        mask: ``(time, batch)``, True where a step counts.
        unroll: write the steps out instead of looping: faster for few steps, slow to compile.
        return_sequences: whether the outputs of all steps are wanted.
        zero_output_for_mask: let the output of a masked step be zeros.

    Returns:
        The output of the last step ``(batch, ...)``; the outputs of all steps
        ``(time, batch, ...)``, or None; and the states after the last step.

    >>> running_sum = lambda x, total: (total + x, total + x)
    >>> last, all_outputs, _ = recur(
    ...     running_sum, jnp.ones((3, 1)), jnp.zeros(1), return_sequences=True
    ... )
    >>> last.tolist(), all_outputs[:, 0].tolist()
    ([3.0], [1.0, 2.0, 3.0])
    """
    length = jax.tree.leaves(inputs)[0].shape[0]
    output = _output_before_the_first_step(step, inputs, states)

    def body(carried: Any, now: Any) -> tuple[Any, Any]:
        before, old = carried
        x, counts = now
        output, new = step(x, old)
        if counts is not None:
            repeated = jnp.zeros_like(output) if zero_output_for_mask else before
            output = _where(counts, output, repeated)
            new = jax.tree.map(lambda n, o: _where(counts, n, o), new, old)
        return (output, new), output if return_sequences else None

    written_out = unroll and isinstance(length, int)
    (output, states), outputs = lax.scan(
        body, (output, states), (inputs, mask), unroll=True if written_out else 1
    )
    return output, outputs, states


def _output_before_the_first_step(step: Step, inputs: Any, states: Any) -> jax.Array:
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), inputs)
    like, _ = jax.eval_shape(step, one, states)
    first = jax.tree.leaves(states)[0]
    return first if first.shape == like.shape else jnp.zeros(like.shape, like.dtype)


def _where(counts: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """``new`` for the samples that count, ``old`` for the others."""
    return jnp.where(counts.reshape(counts.shape + (1,) * (new.ndim - 1)), new, old)


# ---- one step of each unit -----------------------------------------------------------------------


def gru_step(
    x: jax.Array,
    h: jax.Array,
    recurrent: Function,
    candidate: Function | None,
    activation: Function,
    gate: Function,
) -> jax.Array:
    """One step of a gated recurrent unit.

    ``z = gate(x_z + u_z)``, ``r = gate(x_r + u_r)``, then ``c = activation(x_c + r * u_c)`` (reset
    after the product) or ``c = activation(x_c + candidate(r))`` (reset before it), and at last
    ``z * h + (1 - z) * c``.

    Args:
        x: the input part ``(batch, 3 * units)``, gates in the order z, r, c.
        h: the state ``(batch, units)``.
        recurrent: gives ``u``, the recurrent part: of all three gates, or of z and r where
            ``candidate`` is given.
        candidate: gives the candidate's recurrent part from the reset gate ``r``; None to scale
            ``u_c`` by ``r`` instead.
        activation: of the candidate.
        gate: of the gates z and r.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078
    """
    u = recurrent(h)
    x_z, x_r, x_c = jnp.split(x, 3, axis=-1)
    u_z, u_r, *u_c = jnp.split(u, 2 if candidate else 3, axis=-1)
    z, r = gate(x_z + u_z), gate(x_r + u_r)
    c = activation(x_c + (candidate(r) if candidate else r * u_c[0]))
    return z * h + (1 - z) * c


def lstm_step(
    gates: jax.Array, c: jax.Array, activation: Function, gate: Function
) -> tuple[jax.Array, jax.Array]:
    """One step of a long short-term memory, from the sum of its input and recurrent parts.

    ``c' = gate(f) * c + gate(i) * activation(g)``, ``h' = gate(o) * activation(c')``.

    Args:
        gates: ``(batch, ..., 4 * units)``, in the order i, f, g, o.
        c: the cell state ``(batch, ..., units)``.
        activation: of the candidate and of the new cell state.
        gate: of the gates i, f and o.

    Returns:
        ``h'`` and ``c'``.

    Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; the forget gate:
    Gers et al. 2000, https://doi.org/10.1162/089976600300015015
    """
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = gate(f) * c + gate(i) * activation(g)
    return gate(o) * activation(c), c


@jax.checkpoint
def convolution_by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with stride 1 and padding that keeps all sizes, as one matrix product.

    XLA runs a convolution inside a loop ten times slower than this on CPUs. The gradient makes the
    patches anew (that is what `checkpoint` says): they are ``kernel_size`` times as large as ``x``.

    Args:
        x: ``(batch, *spatial, channels)``; sizes may be symbolic.
        kernel: ``(*kernel_size, channels, filters)``.

    Returns:
        ``(batch, *spatial, filters)``.

    >>> x = jnp.ones((1, 3, 1))
    >>> convolution_by_products(x, jnp.ones((3, 1, 1)))[0, :, 0].tolist()
    [2.0, 3.0, 2.0]
    """
    *window, channels, filters = kernel.shape
    ones = (1,) * len(window)
    padded = pad(x, [((k - 1) // 2, k // 2) for k in window])
    patches = jnp.concatenate(taps(padded, tuple(window), ones, ones), axis=-1)
    return jnp.matmul(patches, kernel.reshape(math.prod(window) * channels, filters))
