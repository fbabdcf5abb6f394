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

add = binary("add", jnp.add, "``x1 + x2``.", "[1, 2], 3 -> [4, 5]",
    operators=("__add__", "__radd__"))  # fmt: skip
subtract = binary("subtract", jnp.subtract, "``x1 - x2``.", "[5, 2], 3 -> [2, -1]",
    operators=("__sub__", "__rsub__"))  # fmt: skip
multiply = binary("multiply", jnp.multiply, "``x1 * x2``.", "[1.0, 2.0], 3 -> [3.0, 6.0]",
    operators=("__mul__", "__rmul__"))  # fmt: skip
true_divide = float_binary("true_divide", jnp.true_divide, "``x1 / x2``.",
    "[1, 6], 4 -> [0.25, 1.5]", operators=("__truediv__", "__rtruediv__"))  # fmt: skip
divide = float_binary("divide", jnp.divide, "``x1 / x2``.", "[1, 6], 4 -> [0.25, 1.5]")
floor_divide = binary("floor_divide", jnp.floor_divide, "``floor(x1 / x2)``.",
    "[7, -7], 2 -> [3, -4]", operators=("__floordiv__", "__rfloordiv__"))  # fmt: skip
mod = binary("mod", jnp.mod,
    "``x1 - floor(x1 / x2) * x2``: the remainder, with the sign of ``x2``.", "[7, -7], 3 -> [1, 2]",
    operators=("__mod__", "__rmod__"))  # fmt: skip
fmod = binary("fmod", jnp.fmod, "The remainder of ``x1 / x2``, with the sign of ``x1``.",
    "[7, -7], 3 -> [1, -1]")  # fmt: skip
power = binary("power", jnp.power, "``x1 ** x2``.", "[2, 3], 2 -> [4, 9]",
    operators=("__pow__", "__rpow__"))  # fmt: skip
maximum = binary("maximum", jnp.maximum, "The larger of both; NaN where either is NaN.",
    "[1, 5], 3 -> [3, 5]")  # fmt: skip
minimum = binary("minimum", jnp.minimum, "The smaller of both; NaN where either is NaN.",
    "[1, 5], 3 -> [1, 3]")  # fmt: skip
fmax = binary("fmax", jnp.fmax, "The larger of both; a number rather than NaN.",
    "[1.0, float('nan')], 0.5 -> [1.0, 0.5]")  # fmt: skip
fmin = binary("fmin", jnp.fmin, "The smaller of both; a number rather than NaN.",
    "[1.0, float('nan')], 2.5 -> [1.0, 2.5]")  # fmt: skip
gcd = binary("gcd", jnp.gcd, "The greatest common divisor of integers.", "[12, 7], 8 -> [4, 1]")
lcm = binary("lcm", jnp.lcm, "The least common multiple of integers.", "[4, 3], 6 -> [12, 6]")
arctan2 = float_binary("arctan2", jnp.arctan2,
    "The angle of the point ``(x2, x1)``, between -pi and pi.",
    "[1.0, -1.0], 1.0 -> [0.7853..., -0.7853...]")  # fmt: skip
hypot = float_binary("hypot", jnp.hypot, "``sqrt(x1 ** 2 + x2 ** 2)``.",
    "3.0, [4.0, 0.0] -> [5.0, 3.0]")  # fmt: skip
logaddexp = float_binary("logaddexp", jnp.logaddexp,
    "``log(exp(x1) + exp(x2))``, without overflow.",
    "[0.0, 1000.0], 0.0 -> [0.6931..., 1000.0]")  # fmt: skip
logaddexp2 = float_binary("logaddexp2", jnp.logaddexp2,
    "``log2(2 ** x1 + 2 ** x2)``, without overflow.",
    "[0.0, 1000.0], 0.0 -> [1.0, 1000.0]")  # fmt: skip
heaviside = float_binary("heaviside", jnp.heaviside,
    "0 where ``x1 < 0``, ``x2`` where ``x1 == 0``, 1 elsewhere.",
    "[-2.0, 0.0, 3.0], 0.5 -> [0.0, 0.5, 1.0]")  # fmt: skip
copysign = float_binary("copysign", jnp.copysign, "``|x1|`` with the sign of ``x2``.",
    "[1.0, -2.0], [-3.0, 4.0] -> [-1.0, 2.0]")  # fmt: skip
nextafter = float_binary("nextafter", jnp.nextafter,
    "The next floating-point number after ``x1`` towards ``x2``.",
    "[1.0], [2.0] -> [1.00000011...]")  # fmt: skip

negative = unary("negative", jnp.negative, "``-x``.", "[1, -2] -> [-1, 2]", operators=("__neg__",))
absolute = unary("absolute", jnp.absolute, "``|x|``.", "[1, -2] -> [1, 2]", operators=("__abs__",))
abs = unary("abs", jnp.abs, "``|x|``.", "[1, -2] -> [1, 2]")
fabs = float_unary("fabs", jnp.fabs, "``|x|`` as a floating-point number.", "[1, -2] -> [1.0, 2.0]")
sign = unary("sign", jnp.sign, "-1, 0 or 1 for negative, zero or positive ``x``.",
    "[-3.0, 0.0, 2.0] -> [-1.0, 0.0, 1.0]")  # fmt: skip
square = unary("square", jnp.square, "``x ** 2``.", "[1, -3] -> [1, 9]")
reciprocal = float_unary("reciprocal", jnp.reciprocal, "``1 / x``.", "[2, -4] -> [0.5, -0.25]")
sqrt = float_unary("sqrt", jnp.sqrt, "The square root.", "[4.0, 9.0] -> [2.0, 3.0]")
cbrt = float_unary("cbrt", jnp.cbrt, "The cube root.", "[8.0, -27.0] -> [2.0, -3.0]")
floor = float_unary("floor", jnp.floor, "The largest integer that is not above ``x``.",
    "[1.7, -1.7] -> [1.0, -2.0]")  # fmt: skip
ceil = float_unary("ceil", jnp.ceil, "The smallest integer that is not below ``x``.",
    "[1.2, -1.2] -> [2.0, -1.0]")  # fmt: skip
trunc = unary("trunc", jnp.trunc, "``x`` without its fractional part.",
    "[1.7, -1.7] -> [1.0, -1.0]")  # fmt: skip
deg2rad = float_unary("deg2rad", jnp.deg2rad, "Degrees to radians: ``x * pi / 180``.",
    "[0, 180] -> [0.0, 3.1415...]")  # fmt: skip
rad2deg = float_unary("rad2deg", jnp.rad2deg, "Radians to degrees: ``x * 180 / pi``.",
    "[0.0, 3.1415927] -> [0.0, 180.0]")  # fmt: skip
real = unary("real", jnp.real, "The real part.", "[1 + 2j, 3] -> [1.0, 3.0]")
imag = unary("imag", jnp.imag, "The imaginary part.", "[1 + 2j, 3] -> [2.0, 0.0]")
conjugate = unary("conjugate", jnp.conjugate, "The complex conjugate.", "[1 + 2j] -> [(1-2j)]")
conj = unary("conj", jnp.conj, "The complex conjugate.", "[1 + 2j] -> [(1-2j)]")
angle = float_unary("angle", jnp.angle, "The angle of a complex number, in radians.",
    "[1 + 1j, 2] -> [0.7853..., 0.0]")  # fmt: skip
copy = unary("copy", lambda x: jnp.array(x, copy=True), "A copy.", "[1, 2] -> [1, 2]")

# ---- exponential and trigonometric functions -----------------------------------------------------

exp = float_unary("exp", jnp.exp, "``e ** x``.", "[0.0, 1.0] -> [1.0, 2.7182...]")
exp2 = float_unary("exp2", jnp.exp2, "``2 ** x``.", "[3, -1] -> [8.0, 0.5]")
expm1 = float_unary("expm1", jnp.expm1, "``e ** x - 1``, precise for small ``x``.",
    "[0.0, 1e-10] -> [0.0, 1.0000...e-10]")  # fmt: skip
log = float_unary("log", jnp.log, "The natural logarithm.", "[1.0, 10.0] -> [0.0, 2.3025...]")
log1p = float_unary("log1p", jnp.log1p, "``log(1 + x)``, precise for small ``x``.",
    "[0.0, 1e-10] -> [0.0, 1.0000...e-10]")  # fmt: skip
log2 = float_unary("log2", jnp.log2, "The logarithm to base 2.", "[8, 0.5] -> [3.0, -1.0]")
log10 = float_unary("log10", jnp.log10, "The logarithm to base 10.", "[100, 0.1] -> [2.0, -1.0]")
sin = float_unary("sin", jnp.sin, "The sine of an angle in radians.",
    "[0.0, 1.0] -> [0.0, 0.8414...]")  # fmt: skip
cos = float_unary("cos", jnp.cos, "The cosine of an angle in radians.",
    "[0.0, 1.0] -> [1.0, 0.5403...]")  # fmt: skip
tan = float_unary("tan", jnp.tan, "The tangent of an angle in radians.",
    "[0.0, 1.0] -> [0.0, 1.5574...]")  # fmt: skip
arcsin = float_unary("arcsin", jnp.arcsin, "The angle whose sine is ``x``.",
    "[0.0, 1.0] -> [0.0, 1.5707...]")  # fmt: skip
arccos = float_unary("arccos", jnp.arccos, "The angle whose cosine is ``x``.",
    "[1.0, -1.0] -> [0.0, 3.1415...]")  # fmt: skip
arctan = float_unary("arctan", jnp.arctan, "The angle whose tangent is ``x``.",
    "[0.0, 1.0] -> [0.0, 0.7853...]")  # fmt: skip
sinh = float_unary("sinh", jnp.sinh, "``(e ** x - e ** -x) / 2``.",
    "[0.0, 1.0] -> [0.0, 1.1752...]")  # fmt: skip
cosh = float_unary("cosh", jnp.cosh, "``(e ** x + e ** -x) / 2``.",
    "[0.0, 1.0] -> [1.0, 1.5430...]")  # fmt: skip
tanh = float_unary("tanh", jnp.tanh, "``(e ** x - e ** -x) / (e ** x + e ** -x)``.",
    "[0.0, 1.0] -> [0.0, 0.7615...]")  # fmt: skip
arcsinh = float_unary("arcsinh", jnp.arcsinh, "The inverse of :func:`sinh`.",
    "[0.0, 1.0] -> [0.0, 0.8813...]")  # fmt: skip
arccosh = float_unary("arccosh", jnp.arccosh, "The inverse of :func:`cosh` for ``x >= 1``.",
    "[1.0, 2.0] -> [0.0, 1.3169...]")  # fmt: skip
arctanh = float_unary("arctanh", jnp.arctanh, "The inverse of :func:`tanh` for ``|x| < 1``.",
    "[0.0, 0.5] -> [0.0, 0.5493...]")  # fmt: skip
sinc = float_unary("sinc", jnp.sinc, "``sin(pi * x) / (pi * x)``, and 1 at 0.",
    "[0.0, 0.5] -> [1.0, 0.6366...]")  # fmt: skip
i0 = float_unary("i0", jnp.i0, "The modified Bessel function of the first kind, order 0.",
    "[1.0] -> [1.2660...]")  # fmt: skip

# ---- comparisons and logic -----------------------------------------------------------------------

less = comparison("less", jnp.less, "``x1 < x2``.", "[1, 2, 3], 2 -> [True, False, False]",
    operators=("__lt__",))  # fmt: skip
less_equal = comparison("less_equal", jnp.less_equal, "``x1 <= x2``.",
    "[1, 2, 3], 2 -> [True, True, False]", operators=("__le__",))  # fmt: skip
greater = comparison("greater", jnp.greater, "``x1 > x2``.", "[1, 2, 3], 2 -> [False, False, True]",
    operators=("__gt__",))  # fmt: skip
greater_equal = comparison("greater_equal", jnp.greater_equal, "``x1 >= x2``.",
    "[1, 2, 3], 2 -> [False, True, True]", operators=("__ge__",))  # fmt: skip
equal = comparison("equal", jnp.equal, "``x1 == x2``.", "[1, 2, 3], 2 -> [False, True, False]")
not_equal = comparison("not_equal", jnp.not_equal, "``x1 != x2``.",
    "[1, 2, 3], 2 -> [True, False, True]")  # fmt: skip
logical_and = comparison("logical_and", jnp.logical_and, "Whether both are true (not 0).",
    "[True, False], [True, True] -> [True, False]", operators=("__and__", "__rand__"))  # fmt: skip
logical_or = comparison("logical_or", jnp.logical_or, "Whether at least one is true.",
    "[True, False], [False, False] -> [True, False]", operators=("__or__", "__ror__"))  # fmt: skip
logical_xor = comparison("logical_xor", jnp.logical_xor, "Whether exactly one is true.",
    "[True, False], [True, True] -> [False, True]", operators=("__xor__", "__rxor__"))  # fmt: skip
logical_not = unary("logical_not", jnp.logical_not, "Whether ``x`` is false (0).",
    "[True, False] -> [False, True]", operators=("__invert__",))  # fmt: skip
isfinite = unary("isfinite", jnp.isfinite, "Whether ``x`` is neither infinite nor NaN.",
    "[1.0, float('inf'), float('nan')] -> [True, False, False]")  # fmt: skip
isinf = unary("isinf", jnp.isinf, "Whether ``x`` is plus or minus infinity.",
    "[1.0, -float('inf'), float('nan')] -> [False, True, False]")  # fmt: skip
isnan = unary("isnan", jnp.isnan, "Whether ``x`` is NaN.",
    "[1.0, float('inf'), float('nan')] -> [False, False, True]")  # fmt: skip
isneginf = unary("isneginf", jnp.isneginf, "Whether ``x`` is minus infinity.",
    "[-float('inf'), float('inf')] -> [True, False]", convert=floating)  # fmt: skip
isposinf = unary("isposinf", jnp.isposinf, "Whether ``x`` is plus infinity.",
    "[-float('inf'), float('inf')] -> [False, True]", convert=floating)  # fmt: skip
isreal = unary("isreal", jnp.isreal, "Whether ``x`` has no imaginary part.",
    "[1 + 2j, 3] -> [False, True]")  # fmt: skip
signbit = unary("signbit", jnp.signbit, "Whether the sign bit is set: ``x < 0``, or -0.0.",
    "[-1.0, -0.0, 2.0] -> [True, True, False]")  # fmt: skip

# ---- bits ----------------------------------------------------------------------------------------

bitwise_and = bitwise("bitwise_and", jnp.bitwise_and, "Bits that are set in both.",
    "[6, 5], 3 -> [2, 1]")  # fmt: skip
bitwise_or = bitwise("bitwise_or", jnp.bitwise_or, "Bits that are set in at least one.",
    "[6, 5], 3 -> [7, 7]")  # fmt: skip
bitwise_xor = bitwise("bitwise_xor", jnp.bitwise_xor, "Bits that are set in exactly one.",
    "[6, 5], 3 -> [5, 6]")  # fmt: skip
bitwise_left_shift = bitwise("bitwise_left_shift", jnp.left_shift,
    "Bits of ``x`` shifted left by ``y``: ``x * 2 ** y``.", "[1, 3], 2 -> [4, 12]")  # fmt: skip
left_shift = bitwise("left_shift", jnp.left_shift, "Bits of ``x`` shifted left by ``y``.",
    "[1, 3], 2 -> [4, 12]")  # fmt: skip
bitwise_right_shift = bitwise("bitwise_right_shift", jnp.right_shift,
    "Bits of ``x`` shifted right by ``y``: ``x // 2 ** y``.", "[4, 13], 2 -> [1, 3]")  # fmt: skip
right_shift = bitwise("right_shift", jnp.right_shift, "Bits of ``x`` shifted right by ``y``.",
    "[4, 13], 2 -> [1, 3]")  # fmt: skip
bitwise_not: Unary = unary("bitwise_not", jnp.bitwise_not, "Each bit inverted: ``-x - 1``.",
    "[0, 5] -> [-1, -6]")  # fmt: skip
bitwise_invert: Unary = unary("bitwise_invert", jnp.invert, "Each bit inverted: ``-x - 1``.",
    "[0, 5] -> [-1, -6]")  # fmt: skip

# ---- with further arguments ----------------------------------------------------------------------


@op(elementwise=True)
def ldexp(x1: Tensor, x2: Tensor) -> Any:
    """``x1 * 2 ** x2``, for integers ``x2``.

    Args:
        x1: Tensor; integers are converted to floats.
        x2: Tensor of integers; both broadcast to one shape.

    >>> ldexp(3.0, 2)
    Array(12., dtype=float32)
    """
    return jnp.ldexp(floating(x1), as_array(x2))


@op(elementwise=True)
def divide_no_nan(x1: Tensor, x2: Tensor) -> Any:
    """``x1 / x2``, and 0 where ``x2`` is 0; its gradient is finite there too.

    Args:
        x1: Tensor.
        x2: Tensor; both broadcast to one shape.

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

    Args:
        x: Tensor.
        decimals: Digits after the decimal point; negative for tens, hundreds, ...

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

    Args:
        x1: Tensor.
        x2: Tensor; both broadcast to one shape.
        rtol: Relative tolerance, of ``|x2|``.
        atol: Absolute tolerance.
        equal_nan: Whether two NaN are equal.

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
