"""A fully connected layer between any axes."""

from __future__ import annotations

import math
import re
import string
from typing import Any

import jax.numpy as jnp

from lamina import activations
from lamina.core.spec import show_dims
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError
from lamina.initializers import random
from lamina.layers.adapters import Matrix
from lamina.layers.base import InputSpec
from lamina.layers.core import known_size
from lamina.layers.matrices import CALIBRATED, MatrixLayer
from lamina.layers.weights import KernelAndBias, add_weight
from lamina.ops.lowering.matmul import matmul
from lamina.serialization.fields import field, integers, is_integer, optional, positive_int
from lamina.serialization.registry import builtin

_EQUATION = re.compile(r"(\.\.\.)?([A-Za-z]+)(\.\.\.)?,([A-Za-z]+)->(\.\.\.)?([A-Za-z]+)(\.\.\.)?")


def _read_shape(value: Any) -> tuple[int | None, ...]:
    if value is None or is_integer(value):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        raise ArgumentError(f"expected an integer or a tuple of them. Received: {value!r}.")
    return tuple(n if n is None else integers(n)[0] for n in value)


@builtin("layers")
class EinsumDense(
    MatrixLayer,
    KernelAndBias,
    positional="equation output_shape activation bias_axes kernel_initializer bias_initializer "
    "kernel_regularizer bias_regularizer kernel_constraint bias_constraint lora_rank lora_alpha "
    "gptq_unpacked_column_size quantization_config",
):
    """A fully connected layer between any axes: ``activation(einsum(inputs, kernel) + bias)``.

    Each letter of the equation is an axis. The letters before the comma are those of the input,
    then come those of the kernel, after ``->`` those of the output. A size that is
    not one of the input's is taken from ``output_shape``.

    Args:
        equation: What to sum, as ``jax.numpy.einsum`` reads it: ``"ab,bc->ac"``,
            ``"...ab,bc->...ac"`` or ``"ab...,bc->ac..."``. Without dots in front, the first letter
            of the input and of the output is the batch.
        output_shape: Size of each axis of the output, without the batch and the dots, or None where
            it is that of the input.
        activation: Function applied to the result; None for none.
        bias_axes: Letters of the output along which a bias is added; None for no bias.
        kernel_initializer: Initializer of the kernel, whose axes are its letters in the equation.
        bias_initializer: Initializer of the bias.
        lora_rank: If given, freeze the kernel and train a difference of this rank to it: see
            :meth:`enable_lora`.
        lora_alpha: The difference is multiplied by ``lora_alpha / lora_rank``; ``lora_rank`` when
            None.
        gptq_unpacked_column_size: Number of columns of the kernel as a matrix, which files of GPTQ
            weights contain; it is compared with that of the kernel.
        quantization_config: How to quantize the weights, where the dtype policy is a quantized one.

    Raises:
        ArgumentError: An invalid equation, an ``output_shape`` that does not have one entry for
            each letter of the output, or letters of ``bias_axes`` that the output does not have.
        ShapeError: An input of a different rank, or of sizes that contradict ``output_shape``.

    >>> EinsumDense("abc,cd->abd", (None, 64), bias_axes="d")(jnp.ones((2, 5, 8))).shape
    (2, 5, 64)
    >>> EinsumDense("...x,xy->...y", 4)(jnp.ones((2, 3, 5, 8))).shape
    (2, 3, 5, 4)
    """

    _untracked = MatrixLayer._untracked | {"_sizes"}
    equation: str
    output_shape: Any = field(convert=_read_shape)
    activation: Any = field(default=None, convert=activations.get)
    bias_axes: str | None = None
    gptq_unpacked_column_size: int | None = field(default=None, convert=optional(positive_int))

    def __post_init__(self) -> None:
        super().__post_init__()
        match = _EQUATION.fullmatch(self.equation.replace(" ", ""))
        form = "an `equation` like 'ab,bc->ac', '...ab,bc->...ac' or 'ab...,bc->ac...'"
        if match is None:
            raise self._refuse(form, self.equation)
        before, after, out_before, out_after = map(bool, match.group(1, 3, 5, 7))
        if (before, after) != (out_before, out_after) or (before and after):
            raise self._refuse(form, self.equation)
        self._leading, self._trailing = before, after
        self._inputs, self._weights, self._outputs = match.group(2, 4, 6)
        for letters in (self._inputs, self._weights, self._outputs):
            if len(set(letters)) < len(letters):
                raise self._refuse("an `equation` with each letter once in a term", self.equation)
        known = {*self._inputs, *self._weights}
        unknown = sorted({*self._outputs} - known) or sorted(
            {*self._weights} - {*self._inputs, *self._outputs}
        )
        if unknown:
            raise self._refuse(f"an `equation` that gives {unknown} a meaning", self.equation)
        named = self._outputs if self._leading else self._outputs[1:]
        if len(self.output_shape) != len(named):
            raise self._refuse(
                f"an `output_shape` with {len(named)} sizes, of {list(named)}", self.output_shape
            )
        self._sizes = {a: n for a, n in zip(named, self.output_shape, strict=True) if n is not None}
        if self.bias_axes is not None and not set(self.bias_axes) <= set(self._outputs):
            raise self._refuse(f"`bias_axes` of {self._outputs!r}", self.bias_axes)
        rank = len(self._inputs)
        dotted = self._leading or self._trailing
        self.input_spec = InputSpec(min_ndim=rank) if dotted else InputSpec(ndim=rank)

    def _refuse(self, expected: str, received: Any) -> ArgumentError:
        return ArgumentError(f"EinsumDense() takes {expected}. Received: {received!r}.")

    def build(self, input_shape: Any) -> None:
        """Add ``kernel`` and ``bias``."""
        rank = len(self._inputs)
        axes = range(-rank, 0) if self._leading else range(rank)
        sizes, needed = dict(self._sizes), {*self._weights, *(self.bias_axes or "")}
        for letter, axis in zip(self._inputs, axes, strict=True):
            size = input_shape[axis]
            if letter in needed and letter not in sizes:
                size = known_size(self, input_shape, axis)
            if size is None:
                continue
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(
                    f"Layer {self.name!r} (EinsumDense, {self.equation!r}) cannot take this input."
                    f"\n  expected: size {sizes[letter]} of axis {letter!r}, from `output_shape`\n"
                    f"  received: {show_dims(input_shape)}"
                )
        absent = sorted(needed - sizes.keys())
        if absent:
            raise ArgumentError(
                f"EinsumDense(): `output_shape` must give the sizes of {absent} in "
                f"{self.equation!r}, which the input does not have. Received: {self.output_shape}."
            )
        shape = tuple(sizes[a] for a in self._weights)
        self._elided = len(input_shape) - rank
        self._build_matrices(shape)
        self.bias = None
        if self.bias_axes:
            first = min(map(self._outputs.index, self.bias_axes))
            shape = [sizes[a] if a in self.bias_axes else 1 for a in self._outputs[first:]]
            if self._trailing:
                shape += [1] * (len(input_shape) - rank)
            self.bias = add_weight(self, "bias", shape)
        self._add_adapter()

    def _matrices_of(self, shape: tuple[int, ...]) -> tuple[Matrix, ...]:
        summed = self._summed
        rows = math.prod(shape[i] for i in summed)
        grid = (rows, math.prod(shape) // rows)
        if self.quantization_mode == "gptq" and self.gptq_unpacked_column_size not in (
            None, grid[1],
        ):  # fmt: skip
            raise ArgumentError(
                f"EinsumDense(): the kernel {shape} of {self.equation!r} has {grid[1]} columns. "
                f"Received: gptq_unpacked_column_size={self.gptq_unpacked_column_size}."
            )
        return (Matrix("kernel", shape, summed, grid),)

    @property
    def _summed(self) -> tuple[int, ...]:
        """The axes of the kernel that a product sums over."""
        return tuple(i for i, a in enumerate(self._weights) if a not in self._outputs)

    def _add_floats(self, m: Matrix) -> Variable:
        outputs = [i for i in range(len(m.shape)) if i not in m.axes]
        first = random.with_axes(self.kernel_initializer, m.axes, outputs)
        return add_weight(self, m.name, m.shape, initializer=first)

    def quantized_build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, kernel_shape: Any, mode: str, config: Any = None
    ) -> None:
        super().quantized_build(kernel_shape, mode, config)
        if mode == "gptq":
            self.gptq_unpacked_column_size = self._matrices[0].grid[1]

    def _takes(self, mode: str) -> bool:
        # GPTQ and AWQ are of a matrix: rows first, and the same one for all inputs.
        summed, kept = self._summed, {*self._weights} & {*self._inputs} & {*self._outputs}
        return super()._takes(mode) and (
            mode not in CALIBRATED or (summed == tuple(range(len(summed))) and not kept)
        )

    def input_rows(self, x: Any) -> Any:
        inputs, _ = self._letters(x.ndim - len(self._inputs))
        summed = "".join(self._weights[i] for i in self._summed)
        others = "".join(a for a in inputs if a not in summed)
        x = jnp.einsum(f"{inputs}->{others}{summed}", x)
        return x.reshape(-1, math.prod(x.shape[len(others) :]))

    @property
    def kernel(self) -> Any:
        """The variable of the kernel; with an adapter, or 4-bit weights, the array itself."""
        return self._matrix()

    def call(self, inputs: Any) -> Any:
        """Multiply, add the bias, apply the activation, if any."""
        return self._activated(self._product(inputs))

    # ---- products of other forms of the kernel -------------------------------------------------

    def _project(self, x: Any, matrix: Any, dtype: Any = None) -> Any:
        count = len(self._summed)
        kept, units = self._inputs[: len(self._inputs) - count], self._weights[count:]
        is_product = (self._inputs, self._outputs) == (kept + self._weights[:count], kept + units)
        if is_product and not self._trailing:
            return matmul(x, matrix, count, dtype)
        return jnp.einsum(self.equation, x, matrix, preferred_element_type=dtype)

    def _low_rank(self, x: Any, a: Any, b: Any) -> Any:
        inputs, outputs = self._letters(x.ndim - len(self._inputs))
        rank = next(c for c in string.ascii_letters if c not in {*inputs, *outputs, *self._weights})
        first, last = self._weights[:-1], self._weights[-1]
        return jnp.einsum(f"{inputs},{first}{rank},{rank}{last}->{outputs}", x, a, b)

    def _letters(self, elided: int) -> tuple[str, str]:
        """The letters of all axes of the inputs and of the outputs."""
        used = {*self._inputs, *self._weights, *self._outputs}
        dots = "".join(c for c in string.ascii_letters if c not in used)[:elided]
        sides = (self._inputs, self._outputs)
        first, second = (dots + x if self._leading else x + dots for x in sides)
        return first, second

    def _input_axes(self, ndim: int) -> Any:
        inputs, outputs = self._letters(ndim - len(self._inputs))
        return tuple(i for i, a in enumerate(inputs) if a not in outputs)

    def _stored_scale(self, m: Matrix, scale: Any) -> Any:
        return _aligned(scale, self._weights, self._letters(self._elided)[1])

    def _full_scale(self, m: Matrix, scale: Any) -> Any:
        return _aligned(scale, self._letters(self._elided)[1], self._weights)

    def _rescaled(self, y: Any, inputs_scale: Any, scale: Any, ndim: int) -> Any:
        inputs, outputs = self._letters(ndim - len(self._inputs))
        full = self._full_scale(self._matrices[0], scale)
        by_input = _aligned(inputs_scale, inputs, outputs)
        return y / (by_input * _aligned(full, self._weights, outputs))


def _aligned(x: Any, letters: str, target: str) -> Any:
    """An array with the axes ``letters`` as one with the axes ``target``.

    Axes that only one of them has are of size 1.
    """
    kept = [a for a in letters if a in target]
    x = x.reshape([n for a, n in zip(letters, x.shape, strict=True) if a in target])
    x = jnp.transpose(x, [kept.index(a) for a in target if a in kept])
    sizes = iter(x.shape)
    return x.reshape([next(sizes) if a in kept else 1 for a in target])


__all__ = ["EinsumDense"]
