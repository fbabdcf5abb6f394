"""NumPy's functions, as JAX defines them, on arrays and symbolic tensors alike.

Each has the name, arguments and result of its namesake in ``jax.numpy``. Those that work element by
element let a mask travel on.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina.core.operation import op

# ---- element by element: masks travel on ---------------------------------------------------------

add = op(jnp.add, "add", elementwise=True)
subtract = op(jnp.subtract, "subtract", elementwise=True)
multiply = op(jnp.multiply, "multiply", elementwise=True)
true_divide = op(jnp.true_divide, "true_divide", elementwise=True)
divide = op(jnp.divide, "divide", elementwise=True)
floor_divide = op(jnp.floor_divide, "floor_divide", elementwise=True)
mod = op(jnp.mod, "mod", elementwise=True)
power = op(jnp.power, "power", elementwise=True)
negative = op(jnp.negative, "negative", elementwise=True)
absolute = op(jnp.absolute, "absolute", elementwise=True)
abs = op(jnp.abs, "abs", elementwise=True)
sign = op(jnp.sign, "sign", elementwise=True)
exp = op(jnp.exp, "exp", elementwise=True)
exp2 = op(jnp.exp2, "exp2", elementwise=True)
expm1 = op(jnp.expm1, "expm1", elementwise=True)
log = op(jnp.log, "log", elementwise=True)
log1p = op(jnp.log1p, "log1p", elementwise=True)
log2 = op(jnp.log2, "log2", elementwise=True)
log10 = op(jnp.log10, "log10", elementwise=True)
sqrt = op(jnp.sqrt, "sqrt", elementwise=True)
square = op(jnp.square, "square", elementwise=True)
reciprocal = op(jnp.reciprocal, "reciprocal", elementwise=True)
sin = op(jnp.sin, "sin", elementwise=True)
cos = op(jnp.cos, "cos", elementwise=True)
tan = op(jnp.tan, "tan", elementwise=True)
arcsin = op(jnp.arcsin, "arcsin", elementwise=True)
arccos = op(jnp.arccos, "arccos", elementwise=True)
arctan = op(jnp.arctan, "arctan", elementwise=True)
arctan2 = op(jnp.arctan2, "arctan2", elementwise=True)
sinh = op(jnp.sinh, "sinh", elementwise=True)
cosh = op(jnp.cosh, "cosh", elementwise=True)
tanh = op(jnp.tanh, "tanh", elementwise=True)
arcsinh = op(jnp.arcsinh, "arcsinh", elementwise=True)
arccosh = op(jnp.arccosh, "arccosh", elementwise=True)
arctanh = op(jnp.arctanh, "arctanh", elementwise=True)
floor = op(jnp.floor, "floor", elementwise=True)
ceil = op(jnp.ceil, "ceil", elementwise=True)
round = op(jnp.round, "round", elementwise=True)
trunc = op(jnp.trunc, "trunc", elementwise=True)
maximum = op(jnp.maximum, "maximum", elementwise=True)
minimum = op(jnp.minimum, "minimum", elementwise=True)
clip = op(jnp.clip, "clip", elementwise=True)
where = op(jnp.where, "where", elementwise=True)
logical_and = op(jnp.logical_and, "logical_and", elementwise=True)
logical_or = op(jnp.logical_or, "logical_or", elementwise=True)
logical_not = op(jnp.logical_not, "logical_not", elementwise=True)
logical_xor = op(jnp.logical_xor, "logical_xor", elementwise=True)
less = op(jnp.less, "less", elementwise=True)
less_equal = op(jnp.less_equal, "less_equal", elementwise=True)
greater = op(jnp.greater, "greater", elementwise=True)
greater_equal = op(jnp.greater_equal, "greater_equal", elementwise=True)
equal = op(jnp.equal, "equal", elementwise=True)
not_equal = op(jnp.not_equal, "not_equal", elementwise=True)
isfinite = op(jnp.isfinite, "isfinite", elementwise=True)
isinf = op(jnp.isinf, "isinf", elementwise=True)
isnan = op(jnp.isnan, "isnan", elementwise=True)
isclose = op(jnp.isclose, "isclose", elementwise=True)
nan_to_num = op(jnp.nan_to_num, "nan_to_num", elementwise=True)
real = op(jnp.real, "real", elementwise=True)
imag = op(jnp.imag, "imag", elementwise=True)
conjugate = op(jnp.conjugate, "conjugate", elementwise=True)
deg2rad = op(jnp.deg2rad, "deg2rad", elementwise=True)
rad2deg = op(jnp.rad2deg, "rad2deg", elementwise=True)
hypot = op(jnp.hypot, "hypot", elementwise=True)
logaddexp = op(jnp.logaddexp, "logaddexp", elementwise=True)
heaviside = op(jnp.heaviside, "heaviside", elementwise=True)
bitwise_and = op(jnp.bitwise_and, "bitwise_and", elementwise=True)
bitwise_or = op(jnp.bitwise_or, "bitwise_or", elementwise=True)
bitwise_xor = op(jnp.bitwise_xor, "bitwise_xor", elementwise=True)
bitwise_not = op(jnp.bitwise_not, "bitwise_not", elementwise=True)
left_shift = op(jnp.left_shift, "left_shift", elementwise=True)
right_shift = op(jnp.right_shift, "right_shift", elementwise=True)
cbrt = op(jnp.cbrt, "cbrt", elementwise=True)
signbit = op(jnp.signbit, "signbit", elementwise=True)
copysign = op(jnp.copysign, "copysign", elementwise=True)
nextafter = op(jnp.nextafter, "nextafter", elementwise=True)
gcd = op(jnp.gcd, "gcd", elementwise=True)
lcm = op(jnp.lcm, "lcm", elementwise=True)
fmod = op(jnp.fmod, "fmod", elementwise=True)

# ---- the others ----------------------------------------------------------------------------------

matmul = op(jnp.matmul, "matmul")
dot = op(jnp.dot, "dot")
vdot = op(jnp.vdot, "vdot")
inner = op(jnp.inner, "inner")
outer = op(jnp.outer, "outer")
tensordot = op(jnp.tensordot, "tensordot")
einsum = op(jnp.einsum, "einsum")
cross = op(jnp.cross, "cross")
kron = op(jnp.kron, "kron")
trace = op(jnp.trace, "trace")
diagonal = op(jnp.diagonal, "diagonal")
diag = op(jnp.diag, "diag")
diagflat = op(jnp.diagflat, "diagflat")
tril = op(jnp.tril, "tril")
triu = op(jnp.triu, "triu")
sum = op(jnp.sum, "sum")
mean = op(jnp.mean, "mean")
prod = op(jnp.prod, "prod")
std = op(jnp.std, "std")
var = op(jnp.var, "var")
max = op(jnp.max, "max")
min = op(jnp.min, "min")
any = op(jnp.any, "any")
all = op(jnp.all, "all")
argmax = op(jnp.argmax, "argmax")
argmin = op(jnp.argmin, "argmin")
argsort = op(jnp.argsort, "argsort")
sort = op(jnp.sort, "sort")
cumsum = op(jnp.cumsum, "cumsum")
cumprod = op(jnp.cumprod, "cumprod")
count_nonzero = op(jnp.count_nonzero, "count_nonzero")
median = op(jnp.median, "median")
quantile = op(jnp.quantile, "quantile")
percentile = op(jnp.percentile, "percentile")
ptp = op(jnp.ptp, "ptp")
average = op(jnp.average, "average")
nansum = op(jnp.nansum, "nansum")
nanmean = op(jnp.nanmean, "nanmean")
nanmax = op(jnp.nanmax, "nanmax")
nanmin = op(jnp.nanmin, "nanmin")
nanstd = op(jnp.nanstd, "nanstd")
nanvar = op(jnp.nanvar, "nanvar")
reshape = op(jnp.reshape, "reshape")
transpose = op(jnp.transpose, "transpose")
swapaxes = op(jnp.swapaxes, "swapaxes")
moveaxis = op(jnp.moveaxis, "moveaxis")
expand_dims = op(jnp.expand_dims, "expand_dims")
squeeze = op(jnp.squeeze, "squeeze")
ravel = op(jnp.ravel, "ravel")
flip = op(jnp.flip, "flip")
fliplr = op(jnp.fliplr, "fliplr")
flipud = op(jnp.flipud, "flipud")
roll = op(jnp.roll, "roll")
rot90 = op(jnp.rot90, "rot90")
concatenate = op(jnp.concatenate, "concatenate")
stack = op(jnp.stack, "stack")
hstack = op(jnp.hstack, "hstack")
vstack = op(jnp.vstack, "vstack")
dstack = op(jnp.dstack, "dstack")
split = op(jnp.split, "split")
array_split = op(jnp.array_split, "array_split")
repeat = op(jnp.repeat, "repeat")
tile = op(jnp.tile, "tile")
pad = op(jnp.pad, "pad")
broadcast_to = op(jnp.broadcast_to, "broadcast_to")
take = op(jnp.take, "take")
take_along_axis = op(jnp.take_along_axis, "take_along_axis")
searchsorted = op(jnp.searchsorted, "searchsorted")
digitize = op(jnp.digitize, "digitize")
bincount = op(jnp.bincount, "bincount")
meshgrid = op(jnp.meshgrid, "meshgrid")
full_like = op(jnp.full_like, "full_like")
zeros_like = op(jnp.zeros_like, "zeros_like")
ones_like = op(jnp.ones_like, "ones_like")
append = op(jnp.append, "append")
select = op(jnp.select, "select")
histogram = op(jnp.histogram, "histogram")
interp = op(jnp.interp, "interp")
unravel_index = op(jnp.unravel_index, "unravel_index")
argpartition = op(jnp.argpartition, "argpartition")
diff = op(jnp.diff, "diff")
correlate = op(jnp.correlate, "correlate")


def _get_item(x: Any, key: Any) -> Any:
    """``x[key]``; an integer outside of a known axis is an error, as in NumPy."""
    sizes = iter(x.shape)
    for k in key if isinstance(key, tuple) else (key,):
        if k is Ellipsis or hasattr(k, "shape"):
            break  # where the next ones point is not so plain
        size = None if k is None else next(sizes, None)
        if isinstance(k, int) and isinstance(size, int) and not -size <= k < size:
            raise IndexError(f"index {k} is outside of an axis of size {size}")
    return x[key]


get_item = op(_get_item, "get_item")

__all__ = [
    "abs",
    "absolute",
    "add",
    "all",
    "any",
    "append",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "array_split",
    "average",
    "bincount",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "cbrt",
    "ceil",
    "clip",
    "concatenate",
    "conjugate",
    "copysign",
    "correlate",
    "cos",
    "cosh",
    "count_nonzero",
    "cross",
    "cumprod",
    "cumsum",
    "deg2rad",
    "diag",
    "diagflat",
    "diagonal",
    "diff",
    "digitize",
    "divide",
    "dot",
    "dstack",
    "einsum",
    "equal",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "flip",
    "fliplr",
    "flipud",
    "floor",
    "floor_divide",
    "fmod",
    "full_like",
    "gcd",
    "get_item",
    "greater",
    "greater_equal",
    "heaviside",
    "histogram",
    "hstack",
    "hypot",
    "imag",
    "inner",
    "interp",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "kron",
    "lcm",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "max",
    "maximum",
    "mean",
    "median",
    "meshgrid",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "multiply",
    "nan_to_num",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanstd",
    "nansum",
    "nanvar",
    "negative",
    "nextafter",
    "not_equal",
    "ones_like",
    "outer",
    "pad",
    "percentile",
    "power",
    "prod",
    "ptp",
    "quantile",
    "rad2deg",
    "ravel",
    "real",
    "reciprocal",
    "repeat",
    "reshape",
    "right_shift",
    "roll",
    "rot90",
    "round",
    "searchsorted",
    "select",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "true_divide",
    "trunc",
    "unravel_index",
    "var",
    "vdot",
    "vstack",
    "where",
    "zeros_like",
]  # fmt: skip
