"""Floats as integers of 8 or 4 bits and scales, and back."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.operation import Operation
from lamina.core.variable import value_of
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, DTypeError, ShapeError
from lamina.serialization.fields import Configurable, axis_or_axes, field, number, optional
from lamina.serialization.registry import builtin

Range = tuple[int, int]


def _read_range(value: Any) -> Range:
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not value[0] < value[1]:
        raise ArgumentError(f"expected two integers (smallest, largest). Received: {value!r}.")
    return int(value[0]), int(value[1])


def _array(x: Any, to_numpy: bool) -> tuple[Any, Any]:
    """The array module to compute in, which is JAX's for what is traced, and its array."""
    x = value_of(x)
    xp: Any = np if to_numpy and not isinstance(x, jax.core.Tracer) else jnp
    return xp, xp.asarray(x)


def abs_max_quantize(
    inputs: Any,
    axis: Any,
    value_range: Range = (-127, 127),
    dtype: Any = "int8",
    epsilon: float = 1e-7,
    to_numpy: bool = False,
) -> tuple[Any, Any]:
    """Floats as integers: ``round(inputs * scale)`` with ``scale = largest / max(abs(inputs))``.

    Args:
        inputs: Floats.
        axis: Axis or axes over which the maximum is taken.
        value_range: Smallest and largest integer.
        dtype: Dtype of the integers.
        epsilon: Added to the maximum, so that the division is finite.
        to_numpy: Whether to compute in NumPy, which needs no memory of the device.

    Returns:
        The integers, and the scale, which has size 1 along ``axis``; ``integers / scale`` is close
        to ``inputs``.

    >>> integers, scale = abs_max_quantize(jnp.array([[0.5, -1.0]]), axis=-1)
    >>> integers.tolist(), float(scale[0, 0])
    ([[63, -127]], 126.9999...)
    """
    xp, x = _array(inputs, to_numpy)
    axes = tuple(axis) if isinstance(axis, list) else axis
    low, high = _read_range(value_range)
    scale = high / (xp.max(xp.abs(x), axis=axes, keepdims=True) + epsilon)
    scale = scale.astype(x.dtype)
    integers = xp.clip(xp.round(x * scale), low, high).astype(standardize_dtype(dtype))
    return jnp.asarray(integers), jnp.asarray(scale)


def abs_max_quantize_grouped_with_zero_point(
    inputs: Any,
    block_size: int,
    value_range: Range = (-8, 7),
    dtype: Any = "int8",
    epsilon: float = 1e-7,
    to_numpy: bool = False,
) -> tuple[Any, Any, Any]:
    """A matrix as integers, with a scale and a zero point for each column and block of rows.

    ``round(inputs / scale) + zero``, where ``scale = (max - min) / (largest - smallest)`` of a
    block, and ``zero`` is the integer that stands for 0. The last block is filled up with zeros.

    Args:
        inputs: Floats ``(rows, columns)``.
        block_size: Number of rows of a block.
        value_range: Smallest and largest integer.
        dtype: Dtype of the integers.
        epsilon: Added to ``max - min``, so that the scale is not 0.
        to_numpy: Whether to compute in NumPy, which needs no memory of the device. As in Keras,
            without it a single block is not filled up, and blocks of equal numbers have a scale
            for a range of 2.

    Returns:
        The integers, and the scales and the zero points ``(blocks, columns)``; ``(integers - zero)
        * scale`` is close to ``inputs``.

    Raises:
        ShapeError: Not a matrix.

    >>> parts = abs_max_quantize_grouped_with_zero_point(jnp.ones((5, 2)), block_size=2)
    >>> [x.shape for x in parts]
    [(5, 2), (3, 2), (3, 2)]
    """
    xp, x = _array(inputs, to_numpy)
    if x.ndim != 2:
        raise ShapeError(
            "abs_max_quantize_grouped_with_zero_point() takes a matrix.",
            expected="(rows, columns)",
            received=f"shape {tuple(x.shape)}",
        )
    rows, columns = x.shape
    low, high = _read_range(value_range)
    count = math.ceil(rows / block_size)
    filled = xp.pad(x, ((0, count * block_size - rows), (0, 0)))
    blocks = filled.reshape(count, block_size, columns)
    counted = x[None] if count == 1 and not to_numpy else blocks
    least, most = counted.min(1, keepdims=True), counted.max(1, keepdims=True)
    if not to_numpy:
        least, most = least - (least == most), most + (least == most)
    scale = (most - least + epsilon) / (high - low)
    zero = xp.clip(xp.round(-least / scale) + low, low, high)
    integers = xp.clip(xp.round(blocks / scale) + zero, low, high).astype(standardize_dtype(dtype))
    integers = integers.reshape(-1, columns)[:rows]
    scale = scale[:, 0].astype(x.dtype)
    return jnp.asarray(integers), jnp.asarray(scale), jnp.asarray(zero[:, 0].astype("int8"))


# ---- two integers in a byte ----------------------------------------------------------------------


def _check_packed(dtype: Any, array: Any, what: str) -> None:
    if dtype not in ("int8", "uint8"):
        raise ArgumentError(f"{what}(): `dtype` is 'int8' or 'uint8'. Received: {dtype!r}.")
    if str(array.dtype) not in ("int8", "uint8"):
        raise DTypeError(f"{what}() takes bytes, int8 or uint8. Received: {array.dtype}.")


def pack_int4(arr: Any, axis: int = 0, dtype: str = "int8") -> tuple[Any, tuple[int, ...], int]:
    """Put each two 4-bit integers along an axis into one byte, the first into its lower half.

    Args:
        arr: Bytes with values from -8 to 7, or for ``"uint8"`` from 0 to 15.
        axis: The axis to pack; an odd number of values is filled up with a 0.
        dtype: ``"int8"`` or ``"uint8"``: the dtype of ``arr`` and of the result.

    Returns:
        The bytes, their shape, and the number of values along ``axis`` before packing.

    Raises:
        DTypeError: ``arr`` has another dtype.

    >>> pack_int4(np.array([-3, 2, 1], "int8"))
    (Array([45,  1], dtype=int8), (2,), 3)
    """
    xp, values = _array(arr, to_numpy=True)
    _check_packed(dtype, values, "pack_int4")
    if values.dtype != dtype:
        raise DTypeError(f"pack_int4(): `dtype` is {dtype}. Received an array of {values.dtype}.")
    values = xp.moveaxis(values, axis, -1).view("uint8")
    count = values.shape[-1]
    pairs = xp.pad(values, [*[(0, 0)] * (values.ndim - 1), (0, count % 2)]) & 15
    packed = (pairs[..., ::2] | (pairs[..., 1::2] << 4)).view(dtype)
    packed = xp.moveaxis(packed, -1, axis)
    return jnp.asarray(packed), packed.shape, count


def unpack_int4(packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8") -> Any:
    """The 4-bit integers that :func:`pack_int4` put into bytes, one in each byte.

    Args:
        packed: The bytes.
        orig_len: Number of values along ``axis``.
        axis: The axis that was packed.
        dtype: ``"int8"`` for values from -8 to 7, ``"uint8"`` for values from 0 to 15.

    Raises:
        DTypeError: ``packed`` is neither int8 nor uint8.

    >>> unpack_int4(jnp.array([45, 1], "int8"), 3).tolist()
    [-3, 2, 1]
    """
    x = jnp.asarray(value_of(packed))
    _check_packed(dtype, x, "unpack_int4")
    x = jnp.moveaxis(x, axis, -1).astype("uint8")
    pairs = jnp.stack([x & 15, x >> 4], axis=-1)
    values = pairs.reshape(*x.shape[:-1], -1)[..., :orig_len].astype(dtype)
    values = (values ^ 8) - 8 if dtype == "int8" else values
    return jnp.moveaxis(values, -1, axis)


# ---- quantizers as objects -----------------------------------------------------------------------


@builtin("quantizers")
class Quantizer(Configurable):
    """Base class of quantizers: functions from floats to integers and a scale.

    Subclasses implement ``__call__``, and ``get_config`` if they have arguments of their own.

    Args:
        output_dtype: Dtype of the integers.

    >>> class Truncated(Quantizer):
    ...     def __call__(self, x):
    ...         return jnp.trunc(x).astype(self.output_dtype), jnp.ones(())
    >>> Truncated()(jnp.array([1.9]))[0].tolist()
    [1]
    """

    output_dtype: str = field(default="int8", convert=standardize_dtype)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The integers and the scale for ``x``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `__call__(self, x)`.")


@builtin("quantizers")
class AbsMaxQuantizer(Quantizer, positional="axis value_range epsilon output_dtype"):
    """:func:`abs_max_quantize` with fixed arguments.

    Args:
        axis: Axis or axes over which the maximum is taken, unless the call says so; the last one
            when None.
        value_range: Smallest and largest integer.
        epsilon: Added to the maximum, so that the division is finite.
        output_dtype: Dtype of the integers.

    Call arguments:
        x: Floats.
        axis: Instead of the ``axis`` of the constructor.
        to_numpy: Whether to compute in NumPy, which needs no memory of the device.

    Raises:
        ArgumentError: A range that ``output_dtype`` does not hold.

    >>> integers, scale = AbsMaxQuantizer(axis=0)(jnp.array([[2.0], [-1.0]]))
    >>> integers.tolist(), scale.shape
    ([[127], [-64]], (1, 1))
    """

    axis: Any = field(default=None, convert=optional(axis_or_axes))
    value_range: Range = field(default=(-127, 127), convert=_read_range)
    epsilon: float = field(default=1e-7, convert=number("[0, inf)"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.axis, int):
            self.axis = (self.axis,)
        if self.output_dtype == "int8" and not (
            self.value_range[0] >= -128 and self.value_range[1] <= 127
        ):
            raise ArgumentError(
                "AbsMaxQuantizer(): int8 holds integers from -128 to 127. Received: "
                f"value_range={self.value_range}. Choose another `output_dtype`."
            )

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Any, axis: Any = None, to_numpy: bool = False
    ) -> tuple[Any, Any]:
        """The integers and the scale for ``x``."""
        axis = self.axis if axis is None else axis
        return abs_max_quantize(
            x, -1 if axis is None else axis, self.value_range, self.output_dtype, self.epsilon,
            to_numpy,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {k: v for k, v in super().get_config().items() if k != "axis" or v is not None}


# ---- training with quantization ------------------------------------------------------------------


@builtin(file_module="keras.src.quantizers.quantizers")
class FakeQuantWithMinMaxVars(Operation):
    """:func:`fake_quant_with_min_max_vars` as a node of a graph."""

    def __init__(
        self, num_bits: int = 8, narrow_range: bool = False, axis: int | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.num_bits, self.narrow_range, self.axis = num_bits, narrow_range, axis

    def call(self, inputs: Any, min_vals: Any, max_vals: Any) -> Any:
        """Compute the result."""
        x = jnp.asarray(value_of(inputs))
        along = [-1 if a == (self.axis or 0) % x.ndim else 1 for a in range(x.ndim)]

        def bound(value: Any) -> Any:
            value = jnp.asarray(value_of(value), jnp.result_type(x.dtype, "float32"))
            return value if self.axis is None else value.reshape(along)

        first = int(self.narrow_range)
        return _rounded(x, bound(min_vals), bound(max_vals), first, 2**self.num_bits - 1)


@jax.custom_vjp
def _rounded(x: Any, low: Any, high: Any, first: Any, last: Any) -> Any:
    return _round(x, low, high, first, last)[0]


def _round(x: Any, low: Any, high: Any, first: Any, last: Any) -> tuple[Any, Any, Any]:
    """``x`` rounded to steps between the bounds, and the bounds, moved so that 0 is a step."""
    step, per_step = (high - low) / (last - first), (last - first) / (high - low)
    zero = jnp.round(jnp.clip(first - low / step, first, last))
    low, high = (first - zero) * step, (last - zero) * step
    offset = jnp.floor(-low * per_step + 0.5)
    inside = jnp.clip(x.astype(low.dtype), low, high) - low
    rounded = jnp.floor(inside * per_step - offset + 0.5) * step
    return rounded.astype(x.dtype), low, high


def _rounded_forward(x: Any, low: Any, high: Any, first: Any, last: Any) -> tuple[Any, Any]:
    rounded, least, most = _round(x, low, high, first, last)
    return rounded, (x, low, high, least, most)


def _rounded_backward(kept: Any, g: Any) -> tuple[Any, Any, Any, None, None]:
    """Inside the bounds, the gradient is that of the identity; outside, it is the bounds'."""
    x, low, high, least, most = kept

    def total(g: Any, like: Any) -> Any:
        axes = tuple(a for a in range(g.ndim) if a >= like.ndim or like.shape[a] == 1)
        return jnp.sum(g, axis=axes, keepdims=like.ndim == g.ndim).reshape(like.shape)

    dx = jnp.where((x >= least) & (x <= most), g, 0)
    d_low = total(jnp.where(x <= least, g, 0), low).astype(low.dtype)
    return dx, d_low, total(jnp.where(x >= most, g, 0), high).astype(high.dtype), None, None


_rounded.defvjp(_rounded_forward, _rounded_backward)


def fake_quant_with_min_max_vars(
    inputs: Any,
    min_vals: Any,
    max_vals: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> Any:
    """Round floats to the numbers that integers of few bits stand for, to train for quantization.

    The range from ``min_vals`` to ``max_vals`` is divided into steps, and moved so that 0 is one of
    them; values outside are clipped. The gradient passes through unchanged inside the range, and
    goes to the bounds outside, which can be trained therefore. Jacob et al. 2018, arXiv:1712.05877.

    Args:
        inputs: Floats, or a symbolic tensor.
        min_vals: Lower bound, a scalar, or a vector along ``axis``.
        max_vals: Upper bound, likewise.
        num_bits: Number of bits of the integers.
        narrow_range: Whether to leave out the smallest integer.
        axis: Axis with bounds of its own for each position; None for one range.

    >>> fake_quant_with_min_max_vars(jnp.array([-2.0, 0.3, 0.6]), 0.0, 1.0, num_bits=2).tolist()
    [0.0, 0.333..., 0.666...]
    """
    return FakeQuantWithMinMaxVars(num_bits, narrow_range, axis)(inputs, min_vals, max_vals)
