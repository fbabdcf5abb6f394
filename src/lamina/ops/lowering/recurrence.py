"""Recurrences: the loop over time steps, and one step of each kind of recurrent unit.

The part of a step that depends only on the input (``x @ kernel + bias``) does not need the previous
step, so callers compute it for all steps in one product and pass the result to the loop.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from lamina.ops.lowering.windows import pad, taps

_KEPT = "product"  # what a step stores for its gradient

Function = Callable[[Any], Any]
Product = Callable[[Any, Any], Any]


def recur(
    step: Callable[[Any, Any, Any], tuple[Any, Any]],
    constants: Any,
    inputs: Any,
    states: Any,
    *,
    mask: jax.Array | None = None,
    unroll: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, jax.Array | None, Any]:
    """Run ``step`` for each time step, with the states that the previous one returned.

    A masked step keeps the states of its sample and repeats the previous output; before the first
    unmasked step, that is the first state, or zeros if the first state has another shape.

    Args:
        step: ``(constants, inputs of one step, states) -> (output, states)``. A :class:`Step` is
            compiled once, even if its caller is not compiled.
        constants: A nested structure that all steps read, such as weights.
        inputs: A nested structure of arrays ``(time, batch, ...)``; ``time`` may be symbolic.
        states: A nested structure of arrays ``(batch, ...)``.
        mask: ``(time, batch)``, False for steps to skip.
        unroll: Whether to unroll the loop: faster for few steps, slow to compile.
        return_sequences: Whether to return the outputs of all steps.
        zero_output_for_mask: Whether the output of a masked step is 0.

    Returns:
        The output of the last step ``(batch, ...)``; the outputs of all steps
        ``(time, batch, ...)``, or None; and the states after the last step.

    >>> running_sum = lambda scale, x, total: (total + x, total + scale * x)
    >>> last, all_outputs, _ = recur(
    ...     running_sum, 2, jnp.ones((3, 1)), jnp.zeros(1), return_sequences=True
    ... )
    >>> last.tolist(), all_outputs[:, 0].tolist()
    ([5.0], [1.0, 3.0, 5.0])
    """
    loop = _compiled_loop if isinstance(step, Step) else _loop
    options = (unroll, return_sequences, zero_output_for_mask)
    return loop(step, constants, inputs, states, mask, *options)


def _loop(
    step: Any,
    constants: Any,
    inputs: Any,
    states: Any,
    mask: Any,
    unroll: bool,
    return_sequences: bool,
    zero_output_for_mask: bool,
) -> tuple[Any, Any, Any]:
    is_state = isinstance(step, Step)
    if is_state:
        step, constants = step.prepared(constants)
    step = functools.partial(step, constants)
    length = jax.tree.leaves(inputs)[0].shape[0]
    # The output of a unit is its first state; that of any other step is carried with the states.
    first = None if is_state else _output_before_the_first_step(step, inputs, states)

    def body(carried: Any, now: Any) -> tuple[Any, Any]:
        before, old = carried
        x, counts = now
        output, new = step(x, old)
        if counts is not None:
            new = jax.tree.map(lambda n, o: _where(counts, n, o), new, old)
            repeated = old[0] if is_state else before
            repeated = jnp.zeros_like(output) if zero_output_for_mask else repeated
            output = _where(counts, output, repeated)
        return (None if is_state else output, new), output if return_sequences else None

    written_out = unroll and isinstance(length, int)
    (output, states), outputs = lax.scan(
        body, (first, states), (inputs, mask), unroll=True if written_out else 1
    )
    if is_state:
        output = states[0]
        if zero_output_for_mask and mask is not None:
            output = _where(mask[-1], output, jnp.zeros_like(output))
    return output, outputs, states


_compiled_loop = jax.jit(_loop, static_argnums=(0, 5, 6, 7))


def _output_before_the_first_step(step: Any, inputs: Any, states: Any) -> jax.Array:
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), inputs)
    like, _ = jax.eval_shape(step, one, states)
    first = jax.tree.leaves(states)[0]
    return first if first.shape == like.shape else jnp.zeros(like.shape, like.dtype)


def _where(counts: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """``new`` for unmasked samples, ``old`` for the others."""
    return jnp.where(counts.reshape(counts.shape + (1,) * (new.ndim - 1)), new, old)


# ---- one step of each unit -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Constants:
    """The constants that every step of a unit reads.

    Attributes:
        kernel: The recurrent weights ``(units, gates * units)``.
        bias: Bias of the recurrent product, or None.
        factors: Dropout factors by which the state is multiplied first, or None.
        transposed: The transposed kernel for :func:`product`, or None.
    """

    kernel: jax.Array
    bias: jax.Array | None = None
    factors: jax.Array | None = None
    transposed: jax.Array | None = None

    def drop(self, h: jax.Array) -> jax.Array:
        """Apply dropout to the state."""
        return h if self.factors is None else h * self.factors


jax.tree_util.register_dataclass(Constants)


@jax.custom_jvp
def _product(x: jax.Array, kernel: jax.Array, transposed: jax.Array) -> jax.Array:
    return jnp.matmul(x, kernel)


@_product.defjvp
def _(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    x, kernel, transposed = primals
    dx, dkernel, _ = tangents
    return jnp.matmul(x, kernel), _times_transpose(dx, transposed) + jnp.matmul(x, dkernel)


def _times_transpose(x: jax.Array, transposed: jax.Array) -> jax.Array:
    """``x @ transposed.T``, whose gradient multiplies by ``transposed``."""
    return lax.dot_general(x, transposed, (((1,), (1,)), ((), ())))


def product(x: jax.Array, kernel: jax.Array, transposed: jax.Array | None) -> jax.Array:
    """``x @ kernel``; its gradient multiplies by ``transposed`` and need not transpose each time.

    >>> product(jnp.ones((1, 2)), jnp.ones((2, 3)), None).tolist()
    [[2.0, 2.0, 2.0]]
    """
    y = jnp.matmul(x, kernel) if transposed is None else _product(x, kernel, transposed)
    return checkpoint_name(y, _KEPT)


def squash(gates: jax.Array, sigmoids: tuple[bool, ...]) -> list[jax.Array]:
    """Apply the sigmoid to some parts of the last axis, and the hyperbolic tangent to the others.

    ``sigmoid(x) = (1 + tanh(x / 2)) / 2``: on XLA:CPU a sigmoid takes three times as long as a
    hyperbolic tangent. The absolute error is about 1e-7, which is negligible for a gate.

    >>> [x.tolist() for x in squash(jnp.zeros(2), (True, False))]
    [[0.5], [0.0]]
    """
    size = gates.shape[-1] // len(sigmoids)
    scale = np.repeat([0.5 if s else 1.0 for s in sigmoids], size).astype(gates.dtype)
    parts = jnp.split(jnp.tanh(gates * scale), len(sigmoids), axis=-1)
    return [0.5 * x + 0.5 if s else x for x, s in zip(parts, sigmoids, strict=True)]


class Step:
    """One step of a unit, whose output is its first state.

    Equal steps compute the same function, so their loops are compiled once.
    """

    @property
    def squashes(self) -> bool:
        """Whether the step is written with :func:`squash`."""
        return False

    def prepared(self, constants: Any) -> tuple[Any, Any]:
        """The step and its constants in the form that is fastest in a loop on this platform.

        On CPU it is slow to transpose the kernel at every step of the gradient, and to store a
        dozen arrays of every step for it: the product suffices to recompute the others.
        """
        if jax.default_backend() != "cpu" or constants.kernel.ndim != 2:
            return self, constants
        transposed = lax.optimization_barrier(constants.kernel.T)
        constants = dataclasses.replace(constants, transposed=transposed)
        if not self.squashes:
            return self, constants
        keep = jax.checkpoint_policies.save_only_these_names(_KEPT)
        return jax.checkpoint(self.__call__, policy=keep, prevent_cse=False), constants

    def __call__(self, constants: Any, x: Any, states: Any) -> tuple[Any, Any]:
        """The output and the new states."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SimpleStep(Step):
    """``h' = activation(x + h @ kernel)``.

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1
    """

    activation: Function

    def __call__(self, constants: Constants, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h = product(constants.drop(states[0]), constants.kernel, constants.transposed)
        h = self.activation(x + h)
        return h, [h]


@dataclasses.dataclass(frozen=True)
class GRUStep(Step):
    """One step of a gated recurrent unit; the gates are in the order z, r, c.

    With ``u = h @ kernel + bias``: ``z = gate(x_z + u_z)``, ``r = gate(x_r + u_r)``, then
    ``c = activation(x_c + r * u_c)`` (reset after the product) or
    ``c = activation(x_c + (r * h) @ kernel_c)`` (reset before it); ``h' = z * h + (1 - z) * c``.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078
    """

    activation: Function
    gate: Function
    reset_after: bool

    def __call__(self, constants: Constants, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h, dropped = states[0], constants.drop(states[0])
        # Split first: otherwise XLA:CPU materializes and stores the sums for the gradient.
        xz, xr, xc = jnp.split(x, 3, axis=-1)
        if self.reset_after:
            u = product(dropped, constants.kernel, constants.transposed)
            u = u if constants.bias is None else u + constants.bias
            uz, ur, uc = jnp.split(u, 3, axis=-1)
            z, r = self.gate(xz + uz), self.gate(xr + ur)
            c = self.activation(xc + r * uc)
        else:
            gates, candidate = jnp.split(constants.kernel, [2 * h.shape[-1]], axis=1)
            uz, ur = jnp.split(jnp.matmul(dropped, gates), 2, axis=-1)
            z, r = self.gate(xz + uz), self.gate(xr + ur)
            c = self.activation(xc + jnp.matmul(r * dropped, candidate))
        h = z * h + (1 - z) * c
        return h, [h]


@dataclasses.dataclass(frozen=True)
class LSTMStep(Step):
    """One step of a long short-term memory.

    ``i, f, g, o = split(x + product(h, kernel))``, ``c' = gate(f) * c + gate(i) * activation(g)``,
    ``h' = gate(o) * activation(c')``. The product is a matrix product, or a convolution.

    Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; the forget gate:
    Gers et al. 2000, https://doi.org/10.1162/089976600300015015
    """

    activation: Function
    gate: Function
    convolution: Product | None = None

    @property
    def squashes(self) -> bool:
        """Whether :func:`squash` applies (to default activations) and is faster (on CPU)."""
        usual = self.gate is jax.nn.sigmoid and self.activation is jnp.tanh
        return usual and jax.default_backend() == "cpu"

    def __call__(self, constants: Constants, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h, kernel = constants.drop(states[0]), constants.kernel
        if self.convolution is None:
            gates = x + product(h, kernel, constants.transposed)
        else:
            gates = x + self.convolution(h, kernel)
        if self.squashes:
            i, f, g, o = squash(gates, (True, True, False, True))
        else:
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            i, f, g, o = self.gate(i), self.gate(f), self.activation(g), self.gate(o)
        c = f * states[1] + i * g
        h = o * self.activation(c)
        return h, [h, c]


@jax.checkpoint
def convolution_by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with stride 1 and "same" padding, as one matrix product.

    On CPU, XLA's convolution inside a loop is ten times slower. The gradient recomputes the patches
    (hence `checkpoint`), which are ``kernel_size`` times as large as ``x``.

    Args:
        x: ``(batch, *spatial, channels)``; dimensions may be symbolic.
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
