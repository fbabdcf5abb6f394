"""Elementwise functions of one or two tensors; masks are propagated."""

from __future__ import annotations

import builtins
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.declaration import Tensor, op
from lamina.errors import ArgumentError
from lamina.ops.templates import (
    Unary,
    as_array,
    binary,
    bitwise,
    comparison,
    float_binary,
    float_unary,
    floating,
    same_floating,
    tensor,
    unary,
)

FILE_MODULE = "numpy"  # of Keras's files

# ---- arithmetic ----------------------------------------------------------------------------------

add = binary("add", jnp.add, "``x1 + x2``.", operators=("__add__", "__radd__"))
subtract = binary("subtract", jnp.subtract, "``x1 - x2``.", operators=("__sub__", "__rsub__"))
multiply = binary("multiply", jnp.multiply, "``x1 * x2``.", operators=("__mul__", "__rmul__"))
true_divide = float_binary(
    "true_divide", jnp.true_divide, "``x1 / x2``.", operators=("__truediv__", "__rtruediv__")
)
divide = float_binary("divide", jnp.divide, "``x1 / x2``.")
floor_divide = binary(
    "floor_divide", jnp.floor_divide, "``floor(x1 / x2)``.",
    operators=("__floordiv__", "__rfloordiv__"),
)  # fmt: skip
mod = binary(
    "mod", jnp.mod, "``x1 - floor(x1 / x2) * x2``: the remainder, with the sign of ``x2``.",
    operators=("__mod__", "__rmod__"),
)  # fmt: skip
fmod = binary("fmod", jnp.fmod, "The remainder of ``x1 / x2``, with the sign of ``x1``.")
power = binary("power", jnp.power, "``x1 ** x2``.", operators=("__pow__", "__rpow__"))
maximum = binary("maximum", jnp.maximum, "The larger of both; NaN where either is NaN.")
minimum = binary("minimum", jnp.minimum, "The smaller of both; NaN where either is NaN.")
fmax = binary("fmax", jnp.fmax, "The larger of both; a number rather than NaN.")
fmin = binary("fmin", jnp.fmin, "The smaller of both; a number rather than NaN.")
gcd = binary("gcd", jnp.gcd, "The greatest common divisor of integers.")
lcm = binary("lcm", jnp.lcm, "The least common multiple of integers.")
arctan2 = float_binary(
    "arctan2", jnp.arctan2, "The angle of the point ``(x2, x1)``, between -pi and pi."
)
hypot = float_binary("hypot", jnp.hypot, "``sqrt(x1 ** 2 + x2 ** 2)``.")
logaddexp = float_binary(
    "logaddexp", jnp.logaddexp, "``log(exp(x1) + exp(x2))``, without overflow."
)
logaddexp2 = float_binary(
    "logaddexp2", jnp.logaddexp2, "``log2(2 ** x1 + 2 ** x2)``, without overflow."
)
heaviside = float_binary(
    "heaviside", jnp.heaviside, "0 where ``x1 < 0``, ``x2`` where ``x1 == 0``, 1 elsewhere."
)
copysign = float_binary("copysign", jnp.copysign, "``|x1|`` with the sign of ``x2``.")
nextafter = float_binary(
    "nextafter", jnp.nextafter, "The next floating-point number after ``x1`` towards ``x2``."
)

negative = unary("negative", jnp.negative, "``-x``.", operators=("__neg__",))
absolute = unary("absolute", jnp.absolute, "``|x|``.", operators=("__abs__",))
abs = unary("abs", jnp.abs, "``|x|``.")
fabs = float_unary("fabs", jnp.fabs, "``|x|`` as a floating-point number.")
sign = unary("sign", jnp.sign, "-1, 0 or 1 for negative, zero or positive ``x``.")
square = unary("square", jnp.square, "``x ** 2``.")
reciprocal = float_unary("reciprocal", jnp.reciprocal, "``1 / x``.")
sqrt = float_unary("sqrt", jnp.sqrt, "The square root.")
cbrt = float_unary("cbrt", jnp.cbrt, "The cube root.")
floor = float_unary("floor", jnp.floor, "The largest integer that is not above ``x``.")
ceil = float_unary("ceil", jnp.ceil, "The smallest integer that is not below ``x``.")
trunc = unary("trunc", jnp.trunc, "``x`` without its fractional part.")
deg2rad = float_unary("deg2rad", jnp.deg2rad, "Degrees to radians: ``x * pi / 180``.")
rad2deg = float_unary("rad2deg", jnp.rad2deg, "Radians to degrees: ``x * 180 / pi``.")
real = unary("real", jnp.real, "The real part.")
imag = unary("imag", jnp.imag, "The imaginary part.")
conjugate = unary("conjugate", jnp.conjugate, "The complex conjugate.")
conj = unary("conj", jnp.conj, "The complex conjugate.")
angle = float_unary("angle", jnp.angle, "The angle of a complex number, in radians.")
copy = unary("copy", lambda x: jnp.array(x, copy=True), "A copy.")

# ---- exponential and trigonometric functions -----------------------------------------------------

exp = float_unary("exp", jnp.exp, "``e ** x``.")
exp2 = float_unary("exp2", jnp.exp2, "``2 ** x``.")
expm1 = float_unary("expm1", jnp.expm1, "``e ** x - 1``, precise for small ``x``.")
log = float_unary("log", jnp.log, "The natural logarithm.")
log1p = float_unary("log1p", jnp.log1p, "``log(1 + x)``, precise for small ``x``.")
log2 = float_unary("log2", jnp.log2, "The logarithm to base 2.")
log10 = float_unary("log10", jnp.log10, "The logarithm to base 10.")
sin = float_unary("sin", jnp.sin, "The sine of an angle in radians.")
cos = float_unary("cos", jnp.cos, "The cosine of an angle in radians.")
tan = float_unary("tan", jnp.tan, "The tangent of an angle in radians.")
arcsin = float_unary("arcsin", jnp.arcsin, "The angle whose sine is ``x``.")
arccos = float_unary("arccos", jnp.arccos, "The angle whose cosine is ``x``.")
arctan = float_unary("arctan", jnp.arctan, "The angle whose tangent is ``x``.")
sinh = float_unary("sinh", jnp.sinh, "``(e ** x - e ** -x) / 2``.")
cosh = float_unary("cosh", jnp.cosh, "``(e ** x + e ** -x) / 2``.")
tanh = float_unary("tanh", jnp.tanh, "``(e ** x - e ** -x) / (e ** x + e ** -x)``.")
arcsinh = float_unary("arcsinh", jnp.arcsinh, "The inverse of :func:`sinh`.")
arccosh = float_unary("arccosh", jnp.arccosh, "The inverse of :func:`cosh` for ``x >= 1``.")
arctanh = float_unary("arctanh", jnp.arctanh, "The inverse of :func:`tanh` for ``|x| < 1``.")
sinc = float_unary("sinc", jnp.sinc, "``sin(pi * x) / (pi * x)``, and 1 at 0.")
i0 = float_unary("i0", jnp.i0, "The modified Bessel function of the first kind, order 0.")

# ---- comparisons and logic -----------------------------------------------------------------------

less = comparison("less", jnp.less, "``x1 < x2``.", operators=("__lt__",))
less_equal = comparison("less_equal", jnp.less_equal, "``x1 <= x2``.", operators=("__le__",))
greater = comparison("greater", jnp.greater, "``x1 > x2``.", operators=("__gt__",))
greater_equal = comparison(
    "greater_equal", jnp.greater_equal, "``x1 >= x2``.", operators=("__ge__",)
)
equal = comparison("equal", jnp.equal, "``x1 == x2``.")
not_equal = comparison("not_equal", jnp.not_equal, "``x1 != x2``.")
logical_and = comparison(
    "logical_and", jnp.logical_and, "Whether both are true (not 0).",
    operators=("__and__", "__rand__"),
)  # fmt: skip
logical_or = comparison(
    "logical_or", jnp.logical_or, "Whether at least one is true.", operators=("__or__", "__ror__")
)
logical_xor = comparison(
    "logical_xor", jnp.logical_xor, "Whether exactly one is true.",
    operators=("__xor__", "__rxor__"),
)  # fmt: skip
logical_not = unary(
    "logical_not", jnp.logical_not, "Whether ``x`` is false (0).", operators=("__invert__",)
)
isfinite = unary("isfinite", jnp.isfinite, "Whether ``x`` is neither infinite nor NaN.")
isinf = unary("isinf", jnp.isinf, "Whether ``x`` is plus or minus infinity.")
isnan = unary("isnan", jnp.isnan, "Whether ``x`` is NaN.")
isneginf = unary("isneginf", jnp.isneginf, "Whether ``x`` is minus infinity.", convert=floating)
isposinf = unary("isposinf", jnp.isposinf, "Whether ``x`` is plus infinity.", convert=floating)
isreal = unary("isreal", jnp.isreal, "Whether ``x`` has no imaginary part.")
signbit = unary("signbit", jnp.signbit, "Whether the sign bit is set: ``x < 0``, or -0.0.")

# ---- bits ----------------------------------------------------------------------------------------

bitwise_and = bitwise("bitwise_and", jnp.bitwise_and, "Bits that are set in both.")
bitwise_or = bitwise("bitwise_or", jnp.bitwise_or, "Bits that are set in at least one.")
bitwise_xor = bitwise("bitwise_xor", jnp.bitwise_xor, "Bits that are set in exactly one.")
bitwise_left_shift = bitwise(
    "bitwise_left_shift", jnp.left_shift, "Bits of ``x`` shifted left by ``y``: ``x * 2 ** y``."
)
left_shift = bitwise("left_shift", jnp.left_shift, "Bits of ``x`` shifted left by ``y``.")
bitwise_right_shift = bitwise(
    "bitwise_right_shift", jnp.right_shift, "Bits of ``x`` shifted right by ``y``: ``x // 2 ** y``."
)
right_shift = bitwise("right_shift", jnp.right_shift, "Bits of ``x`` shifted right by ``y``.")
bitwise_not: Unary = unary("bitwise_not", jnp.bitwise_not, "Each bit inverted: ``-x - 1``.")
bitwise_invert: Unary = unary("bitwise_invert", jnp.invert, "Each bit inverted: ``-x - 1``.")

# ---- with further arguments ----------------------------------------------------------------------


@op(elementwise=True)
def ldexp(x1: Tensor, x2: Tensor) -> Any:
    """``x1 * 2 ** x2``, for integers ``x2``.

    >>> ldexp(3.0, 2)
    Array(12., dtype=float32)
    """
    return jnp.ldexp(floating(x1), as_array(x2))


@op(elementwise=True)
def divide_no_nan(x1: Tensor, x2: Tensor) -> Any:
    """``x1 / x2``, and 0 where ``x2`` is 0; its gradient is finite there too.

    >>> divide_no_nan([1.0, 2.0], [2.0, 0.0])
    Array([0.5, 0. ], dtype=float32)
    """
    x1, x2 = same_floating(x1, x2)
    return jnp.where(x2 == 0, 0, x1 / jnp.where(x2 == 0, 1, x2))


@op(elementwise=True)
def clip(x: Tensor, x_min: float | None, x_max: float | None) -> Any:
    """``min(max(x, x_min), x_max)``.

    Args:
        x: Tensor.
        x_min: Lower bound, a number or a tensor that broadcasts to ``x``.
        x_max: Upper bound, likewise.

    >>> clip([-1.0, 0.5, 2.0], 0.0, 1.0)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_array(x)
    if x.dtype == builtins.bool:
        x = x.astype("int32")
    bounds = (b if b is None or isinstance(b, int | float) else as_array(b)
              for b in (x_min, x_max))  # fmt: skip
    return jnp.clip(x, *bounds)


@op(elementwise=True)
def round(x: Tensor, decimals: int = 0) -> Any:
    """``x`` rounded to ``decimals`` places; halves are rounded to even.

    >>> round([0.5, 1.5, 2.25], 0)
    Array([0., 2., 2.], dtype=float32)
    """
    x = as_array(x)
    x = x.astype("int32") if x.dtype == builtins.bool else x
    if decimals < 0 and jnp.issubdtype(x.dtype, jnp.integer):
        return jnp.round(x.astype("float32"), decimals).astype(x.dtype)
    return jnp.round(x, decimals)


@op(elementwise=True)
def where(condition: Tensor, x1: Tensor | None = None, x2: Tensor | None = None) -> Any:
    """``x1`` where ``condition`` is true, else ``x2``.

    Args:
        condition: Booleans; other numbers are true if they are not 0.
        x1: Tensor.
        x2: Tensor; all three broadcast to one shape.

    Returns: Tensor of that shape. Without ``x1`` and ``x2``, the positions where ``condition`` is
    true, as in :func:`nonzero`; their number depends on the values, so this works on arrays only.

    >>> where([True, False], [1, 2], 0)
    Array([1, 0], dtype=int32)
    """
    if x1 is None and x2 is None:
        return jnp.where(as_array(condition))
    if x1 is None or x2 is None:
        raise ArgumentError(
            "where() expects both `x1` and `x2`, or neither. "
            f"Received: `{'x1' if x1 is None else 'x2'}` is None."
        )
    return jnp.where(as_array(condition), tensor(x1), tensor(x2))


@op(elementwise=True, in_call=("rtol", "atol"))
def isclose(
    x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether ``|x1 - x2| <= atol + rtol * |x2|``.

    Args:
        x1: Tensor.
        x2: Tensor.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        equal_nan: Whether two NaN are equal.

    >>> isclose([1.0, 2.0], [1.0, 2.1])
    Array([ True, False], dtype=bool)
    """
    return jnp.isclose(as_array(x1), as_array(x2), rtol, atol, equal_nan)


@op(file_class="AllClose")
def allclose(
    x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether :func:`isclose` is true for all elements.

    >>> allclose([1.0, 2.0], [1.0, 2.0])
    Array(True, dtype=bool)
    """
    return jnp.all(jnp.isclose(as_array(x1), as_array(x2), rtol, atol, equal_nan))


@op(elementwise=True)
def nan_to_num(
    x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """Replace NaN and infinities by numbers.

    Args:
        x: Tensor.
        nan: Replacement of NaN.
        posinf: Replacement of plus infinity; the largest finite number when None.
        neginf: Replacement of minus infinity; the lowest finite number when None.

    >>> nan_to_num([float("nan"), float("inf")], posinf=9.0)
    Array([0., 9.], dtype=float32)
    """
    return jnp.nan_to_num(as_array(x), nan=nan, posinf=posinf, neginf=neginf)


@op(elementwise=True)
def view(x: Tensor, dtype: Any = None) -> jax.Array:
    """Reinterpret the bits as another dtype; the last axis changes with the size of the dtype.

    Args:
        x: Tensor.
        dtype: The new dtype; that of ``x`` when None.

    >>> view([1.0], "int32")
    Array([1065353216], dtype=int32)
    """
    x = as_array(x)
    return x if dtype is None else x.view(dtype)
