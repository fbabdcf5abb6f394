"""One row for each op: arguments for a call, and where it cannot do what all others do."""

import dataclasses
import zlib
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class OpCase:
    """A call of an op, with small arrays.

    Attributes:
        name: of the op, such as ``"add"`` or ``"image.resize"``.
        args: its arguments by name.
        what: tells rows of one op apart.
        exclude: laws that the row is not subject to, among "batch" (an unknown dimension on axis 0
            of the arrays), "graph" (symbolic tensors), "lists", "gradient", "keras", "jit" (a
            compiled program with Keras's function, which wants values).
        atol: how far the numbers may be from Keras's.
    """

    name: str
    args: dict[str, Any]
    what: str = ""
    exclude: frozenset[str] = frozenset()
    atol: float = 1e-5

    @property
    def id(self):
        return f"{self.name}-{self.what}" if self.what else self.name

    def call(self, library, **changes):
        function = library
        for part in self.name.split("."):
            function = getattr(function, part)
        args = {**self.args, **changes}
        rest = args.pop("*", ())  # variadic arguments
        first = [args.pop(n) for n in list(args) if rest and n == "subscripts"]
        if "index" in args and rest:
            first = [args.pop("index"), args.pop("branches")]
        return function(*first, *rest, **args)


CASES: list[OpCase] = []


def row(name, what="", exclude="", atol=1e-5, **args):
    CASES.append(OpCase(name, args, what, frozenset(exclude.split()), atol))


def F(*shape, low=-2.0, high=2.0, seed=0):
    """Floats, all different, none close to an integer or a half."""
    rng = np.random.default_rng([*shape, seed, zlib.crc32(b"floats")])
    return rng.uniform(low, high, shape).astype("float32")


def P(*shape, seed=0):
    return F(*shape, low=0.2, high=0.9, seed=seed)


def I(*shape, low=-4, high=5, seed=0):  # noqa: E743
    return np.random.default_rng([*shape, seed]).integers(low, high, shape).astype("int32")


def B(*shape, seed=0):
    return np.random.default_rng([*shape, seed]).integers(0, 2, shape).astype(bool)


def C(*shape):
    return (F(*shape) + 1j * F(*shape, seed=1)).astype("complex64")


NAN = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, -6.0]], "float32")
DEFINITE = np.array([[4.0, 1.0], [1.0, 3.0]], "float32") + np.zeros((2, 1, 1), "float32")

# ---- element by element --------------------------------------------------------------------------

for _name in """abs absolute arcsinh arctan cbrt ceil conj conjugate copy cos cosh deg2rad exp exp2
    expm1 fabs floor i0 isfinite isinf isnan isneginf isposinf isreal logical_not negative rad2deg
    real imag reciprocal sign signbit sin sinc sinh square tan tanh trunc angle
    erf erfc stop_gradient celu elu gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu log_sigmoid log_softmax relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_plus sparse_sigmoid squareplus swish tanh_shrink ravel nonzero
    zeros_like ones_like empty_like round nan_to_num argsort sort""".split():
    _first = "variable" if _name == "stop_gradient" else "x"
    row(_name, exclude="graph" if _name == "nonzero" else "", **{_first: F(2, 3)})
for _name in "arccos arcsin arctanh erfinv log log10 log1p log2 sqrt rsqrt".split():
    row(_name, x=P(2, 3))
row("arccosh", x=1 + P(2, 3))
for _name in """abs square sign negative sqrt exp floor ceil sin relu sigmoid softmax bitwise_not
    bitwise_invert isnan angle mean sum prod max argmax cumsum erf real reciprocal round trunc var
    i0 logsumexp sort elu gelu relu6 hard_tanh soft_shrink""".split():
    # Which Keras on JAX does not take.
    _ex = " keras" if _name in ("sigmoid", "softmax", "erf") else ""
    row(_name, "integers", exclude="gradient" + _ex, x=I(2, 3))
for _name in """abs square logical_not sum mean any all cumsum max bitwise_not sin round floor
    argmax prod count_nonzero""".split():
    row(_name, "booleans", exclude="gradient" + (" keras" if _name == "round" else ""), x=B(2, 3))
for _name in "abs exp real imag conj angle square isreal sum view_as_real".split():
    row(_name, "complex", exclude="gradient lists", x=C(2, 3))

for _name in """add subtract multiply divide true_divide maximum minimum fmax fmin arctan2 hypot
    logaddexp logaddexp2 floor_divide mod fmod less less_equal greater greater_equal equal not_equal
    logical_and logical_or logical_xor heaviside divide_no_nan isclose""".split():
    row(_name, x1=F(2, 3), x2=F(3, seed=1))
    row(_name, "mixed", exclude="gradient", x1=I(2, 3), x2=P(2, 1))
for _name in """add subtract multiply divide maximum floor_divide mod power less equal logical_and
    logaddexp arctan2""".split():
    row(_name, "integers", exclude="gradient", x1=I(2, 3, low=1), x2=I(3, low=1))
    row(_name, "number", exclude="gradient", x1=I(2, 3, low=1), x2=1.5)
row("nextafter", x1=F(2, 3), x2=F(3, seed=1), exclude="gradient")
row("power", x1=P(2, 3), x2=F(3))
row("ldexp", exclude="gradient", x1=F(2, 3), x2=I(3))
row("gcd", x1=I(2, 3), x2=I(3, seed=1))
row("lcm", x1=I(2, 3), x2=I(3, seed=1))
for _name in "bitwise_and bitwise_or bitwise_xor".split():
    row(_name, x=I(2, 3), y=I(3, seed=1))
for _name in "bitwise_left_shift bitwise_right_shift left_shift right_shift".split():
    row(_name, x=I(2, 3), y=I(3, low=0, high=3))
row("clip", x=F(2, 3), x_min=-0.5, x_max=0.7)
row("clip", "integers", exclude="gradient", x=I(2, 3), x_min=-1, x_max=2)
row("clip", "one side", x=F(2, 3), x_min=None, x_max=0.7, exclude="keras")
row("where", condition=B(2, 3), x1=F(2, 3), x2=F(3, seed=1))
row("where", "number", condition=B(2, 3), x1=F(2, 3), x2=0)
row("where", "positions", exclude="graph", condition=B(2, 3))
row("isclose", "tolerance", x1=F(2, 3), x2=F(2, 3) + 0.01, rtol=0.5, atol=0.1, equal_nan=True)
row("allclose", x1=F(2, 3), x2=F(2, 3))
row("nan_to_num", "numbers", x=NAN, nan=9.0, posinf=1.0, neginf=2.0)
row("round", "decimals", x=F(2, 3), decimals=1)
row("round", "tens", x=40 * I(2, 3), decimals=-2, exclude="gradient")
row("view", x=F(2, 3), dtype="int32", exclude="gradient")
row("leaky_relu", "slope", x=F(2, 3), negative_slope=0.4)
row("elu", "alpha", x=F(2, 3), alpha=0.4)
row("celu", "alpha", x=F(2, 3), alpha=0.4)
row("gelu", "exact", x=F(2, 3), approximate=False)
row("hard_shrink", "threshold", x=F(2, 3), threshold=1.0)
row("soft_shrink", "threshold", x=F(2, 3), threshold=1.0)
row("squareplus", "b", x=F(2, 3), b=2)
row("threshold", x=F(2, 3), threshold=0.3, default_value=-7.0)
row("threshold", "integers", x=I(2, 3), threshold=1, default_value=2.5)
row("softmax", "axes", x=F(2, 3, 4), axis=(1, 2))
row("log_softmax", "axis", x=F(2, 3, 4), axis=1)
# Keras on JAX returns numbers that do not sum to 1.
row("sparsemax", x=F(2, 3), exclude="keras")
row("sparsemax", "three axes", x=F(2, 3, 4), exclude="keras")
row("sparsemax", "axis", x=F(2, 3), axis=0, exclude="batch keras")
row("glu", x=F(2, 4))
row("glu", "axis", x=F(2, 4, 3), axis=1)
row("polar", abs_=P(2, 3), angle=F(2, 3), exclude="gradient")
row("cast", x=F(2, 3), dtype="int32", exclude="gradient")
row("cast", "narrow", x=F(2, 3), dtype="bfloat16", exclude="gradient")
row("saturate_cast", x=200 * F(2, 3), dtype="uint8", exclude="gradient")
row("saturate_cast", "integers", x=200 * I(2, 3), dtype="int8", exclude="gradient")
row("saturate_cast", "floats", x=1e5 * F(2, 3), dtype="float16", exclude="gradient")

# ---- reductions ----------------------------------------------------------------------------------

for _name in """all any sum mean std var median amax amin ptp argmax argmin max min prod nansum
    nanprod nanmean nanstd nanvar nanmedian nanmax nanmin nanargmax nanargmin logsumexp
    count_nonzero""".split():
    _x = NAN if _name.startswith("nan") else F(2, 3)
    _ex = "gradient" if _name.startswith("nan") else ""
    row(_name, exclude=_ex, x=_x)
    row(_name, "axis", exclude=_ex, x=_x, axis=1)
    if _name != "count_nonzero":
        row(_name, "keepdims", exclude=_ex, x=_x, axis=-1, keepdims=True)
for _name in "sum max var median nanmean logsumexp any count_nonzero".split():
    row(_name, "axes", exclude="gradient", x=F(2, 3, 4), axis=(1, 2))
row("max", "initial", x=F(2, 3), axis=1, initial=1.0)
row("min", "initial", x=F(2, 3), axis=1, initial=0.0)
row("prod", "dtype", x=I(2, 3), axis=1, dtype="float32")
row("average", x=F(2, 3), axis=1, weights=P(2, 3))
row("average", "no weights", x=F(2, 3))
for _name in "quantile percentile nanquantile nanpercentile".split():
    _q = np.array([0.3, 0.6], "float32") * (100 if "percent" in _name else 1)
    row(_name, x=F(2, 3), q=_q, axis=1, exclude="gradient")
    row(_name, "keepdims", x=F(2, 3), q=float(_q[0]), axis=1, keepdims=True, exclude="gradient")
row("quantile", "method", x=F(2, 5), q=0.3, axis=1, method="nearest", exclude="gradient")
row("quantile", "axes", x=F(2, 3, 4), q=0.3, axis=(1, 2), exclude="gradient")
for _name in "cumsum cumprod nancumsum nancumprod".split():
    row(_name, x=NAN if "nan" in _name else F(2, 3), axis=1, exclude="gradient")
    row(_name, "flat", x=F(2, 3))
row("cumsum", "dtype", x=I(2, 3), axis=1, dtype="float32")
row("bincount", x=I(5, low=0), exclude="graph")
row("bincount", "weights", x=I(2, 5, low=0), weights=F(2, 5), minlength=6, exclude="graph gradient")
row("bincount", "length", x=I(5, low=0), minlength=5, exclude="batch jit gradient")
row("histogram", x=F(6), bins=3, exclude="batch gradient jit")
row("histogram", "range", x=F(6), bins=3, range=(-1.0, 1.0), exclude="batch gradient jit")
row("digitize", x=F(2, 3), bins=np.array([-1.0, 0.0, 1.0], "float32"), exclude="batch")
row("searchsorted", sorted_sequence=np.array([1, 3, 5], "int32"), values=I(2, 3), exclude="batch")
row("searchsorted", "right", sorted_sequence=np.array([1, 3, 5], "int32"), values=I(2, 3),
    side="right", exclude="batch")  # fmt: skip
row("corrcoef", x=F(3, 5), exclude="batch")
for _mode in ("valid", "same", "full"):
    row("correlate", _mode, x1=F(5), x2=F(3), mode=_mode, exclude="batch")
row("trapezoid", y=F(2, 4))
row("trapezoid", "positions", y=F(2, 4), x=np.sort(F(4)), axis=1, exclude="batch")
row("moments", x=F(2, 3), axes=[1])
row("moments", "out of range", x=F(2, 3, seed=1).astype("float16") * 400, axes=[1], exclude="lists")
row("moments", "keepdims", x=F(2, 3, 4), axes=(1, 2), keepdims=True)

# ---- making tensors ------------------------------------------------------------------------------

for _name in "zeros ones empty".split():
    row(_name, shape=(2, 3), exclude="graph")
    row(_name, "dtype", shape=(2,), dtype="int32", exclude="graph")
row("full", shape=(2, 3), fill_value=2.5, exclude="graph")
row("full", "dtype", shape=(2,), fill_value=2, dtype="int32", exclude="graph")
row("full_like", x=F(2, 3), fill_value=2)
row("full_like", "dtype", x=F(2, 3), fill_value=2.5, dtype="int32")
row("zeros_like", "dtype", x=F(2, 3), dtype="int32")
row("eye", N=3, exclude="graph")
row("eye", "diagonal", N=3, M=4, k=1, dtype="int32", exclude="graph")
row("identity", n=3, exclude="graph")
row("tri", N=3, k=-1, exclude="graph")
row("arange", start=3, exclude="graph")
row("arange", "floats", start=1.0, stop=2.0, step=0.25, exclude="graph")
row("arange", "dtype", start=1, stop=5, step=2, dtype="float32", exclude="graph")
row("linspace", start=0, stop=1, num=5, exclude="graph")
row("linspace", "tensors", start=F(2), stop=F(2, seed=1), num=3, endpoint=False, axis=-1)
row("linspace", "step", start=0.0, stop=1.0, num=4, retstep=True, exclude="graph")
row("logspace", start=F(2), stop=F(2, seed=1), num=3, base=2, exclude="gradient")
row("geomspace", start=P(2), stop=P(2, seed=1), num=3, exclude="gradient")
row("array", x=F(2, 3))
row("convert_to_tensor", x=F(2, 3), dtype="int32", exclude="graph")
for _name in "bartlett blackman hamming hanning".split():
    row(_name, x=5, exclude="graph")
row("kaiser", x=5, beta=6.0, exclude="graph")

# ---- shapes --------------------------------------------------------------------------------------

row("reshape", x=F(2, 6), newshape=(-1, 3))
row("transpose", x=F(2, 3, 4))
row("transpose", "axes", x=F(2, 3, 4), axes=(0, 2, 1))
row("swapaxes", x=F(2, 3, 4), axis1=1, axis2=2)
row("moveaxis", x=F(2, 3, 4), source=1, destination=-1)
row("moveaxis", "axes", x=F(2, 3, 4), source=(1, 2), destination=(2, 1))
row("expand_dims", x=F(2, 3), axis=1)
row("expand_dims", "axes", x=F(2, 3), axis=(1, -1))
row("squeeze", x=F(2, 1, 3), axis=1)
row("broadcast_to", x=F(3), shape=(2, 3), exclude="batch")
row("ndim", x=F(2, 3), exclude="gradient")
row("size", x=F(2, 3), exclude="gradient batch")
row("concatenate", xs=[F(2, 3), F(2, 1)], axis=1)
row("concatenate", "mixed", xs=[F(2, 3), I(2, 1)], axis=1, exclude="gradient")
row("stack", x=[F(2, 3), F(2, 3, seed=1)], axis=1)
for _name in "hstack vstack dstack".split():
    row(_name, xs=[F(2, 3), F(2, 3, seed=1)])
row("append", x1=F(2, 3), x2=F(2, 3, seed=1), axis=1)
row("append", "flat", x1=F(2, 3), x2=F(2), exclude="batch")
row("split", x=F(2, 6), indices_or_sections=3, axis=1)
row("split", "positions", x=F(2, 6), indices_or_sections=[1, 3], axis=1)
row("array_split", x=F(2, 5), indices_or_sections=3, axis=1)
row("hsplit", x=F(2, 4), indices_or_sections=2)
row("vsplit", x=F(4, 2), indices_or_sections=2)
row("dsplit", x=F(2, 3, 4), indices_or_sections=[1])
row("unstack", x=F(2, 3), axis=1)
row("unstack", "num", x=F(2, 3), num=3, axis=1)
row("meshgrid", **{"*": (F(2), F(3))}, exclude="batch")
row("meshgrid", "ij", **{"*": (F(2), F(3))}, indexing="ij", exclude="batch")
row("repeat", x=F(2, 3), repeats=2, axis=1)
row("repeat", "flat", x=F(2, 3), repeats=2)
row("repeat", "each", x=F(2, 3), repeats=[1, 0, 2], axis=1, exclude="keras")
row("tile", x=F(2, 3), repeats=(1, 2))
row("tile", "number", x=F(2, 3), repeats=2)
row("pad", x=F(2, 3), pad_width=((0, 0), (1, 2)))
row("pad", "value", x=F(2, 3), pad_width=((0, 0), (1, 2)), constant_values=7.0)
row("pad", "reflect", x=F(2, 3), pad_width=((0, 0), (1, 2)), mode="reflect")
row("pad", "symmetric", x=F(2, 3), pad_width=1, mode="symmetric", exclude="batch")
row("flip", x=F(2, 3))
row("flip", "axis", x=F(2, 3), axis=1)
row("fliplr", x=F(2, 3))
row("flipud", x=F(2, 3))
row("roll", x=F(2, 3), shift=1)
row("roll", "axis", x=F(2, 3), shift=2, axis=1)
row("rot90", array=F(2, 3, 3), axes=(1, 2))
row("rot90", "k", array=F(2, 3), k=-1)
row("argsort", "axis", x=F(2, 3), axis=0, exclude="batch")
row("sort", "flat", x=F(2, 3), axis=None, exclude="keras batch")
row("argpartition", x=np.array([[3, 1, 2]], "int32"), kth=1, exclude="keras")
row("diff", a=F(2, 4))
row("diff", "twice", a=F(2, 4), n=2, axis=1)
row("rearrange", tensor=F(2, 6), pattern="a (b c) -> a c b", b=2, exclude="jit gradient")
row("rearrange", "dots", tensor=F(2, 3, 4), pattern="... c -> (...) c", exclude="keras")

# ---- products ------------------------------------------------------------------------------------

row("matmul", x1=F(2, 3), x2=F(3, 2))
row("matmul", "integers", x1=I(2, 3), x2=I(3, 2), exclude="gradient")
BYTES = np.full((2, 300), 100, "int8")
row("matmul", "bytes", x1=BYTES, x2=BYTES.T, exclude="gradient")
row("matmul", "batches", x1=F(2, 3, 4), x2=F(2, 4, 1))
row("dot", x1=F(2, 3), x2=F(3, 2))
row("vdot", x1=F(3), x2=F(3, seed=1), exclude="batch")
row("inner", x1=F(2, 3), x2=F(4, 3))
row("outer", x1=F(2), x2=F(3))
row("kron", x1=F(2, 2), x2=F(1, 2), exclude="batch")
row("tensordot", x1=F(2, 3, 4), x2=F(4, 2), axes=1)
row("tensordot", "axes", x1=F(2, 3, 4), x2=F(4, 3), axes=([1, 2], [1, 0]))
row("einsum", subscripts="bij,bjk->bik", **{"*": (F(2, 3, 4), F(2, 4, 1))})
row("einsum", "bytes", subscripts="ij,kj->ik", exclude="gradient", **{"*": (BYTES, BYTES)})
row("cross", x1=F(2, 3), x2=F(2, 3, seed=1))
row("cross", "two components", x1=F(2, 2), x2=F(2, 2, seed=1), exclude="batch")
row("diag", x=F(3), exclude="batch")
row("diag", "matrix", x=F(3, 3), k=1, exclude="batch")
row("diagflat", x=F(2, 2), exclude="batch")
row("diagonal", x=F(2, 3, 3), offset=1, axis1=1, axis2=2)
row("trace", x=F(2, 3, 3), axis1=1, axis2=2)
row("tril", x=F(2, 3, 3), k=1)
row("triu", x=F(2, 3, 3), k=-1)
row("vander", x=F(3), exclude="batch")
row("vander", "increasing", x=F(3), N=2, increasing=True, exclude="batch")

# ---- positions -----------------------------------------------------------------------------------

row("get_item", x=F(2, 3), key=(slice(None), 1))
row("get_item", "new axis", x=F(2, 3), key=(Ellipsis, None, slice(0, 2)))
row("take", x=F(2, 3), indices=I(2, low=0, high=3), axis=1)
row("take", "flat", x=F(2, 3), indices=np.array([[0, -1]], "int32"))
row("take_along_axis", x=F(2, 3), indices=I(2, 2, low=0, high=3), axis=1)
row("take_along_axis", "flat", x=F(2, 3), indices=I(4, low=0, high=5), exclude="batch")
row("select", condlist=[B(2, 3), B(2, 3, seed=1)], choicelist=[F(2, 3), F(2, 3, seed=1)],
    default=9.0)  # fmt: skip
row("unravel_index", indices=I(4, low=0, high=5), shape=(2, 3))
row("isin", x1=I(2, 3), x2=I(4, seed=1))
row("isin", "inverse", x1=I(2, 3), x2=I(4, seed=1), invert=True)
row("unique", x=I(6), exclude="graph")
row("unique", "all", x=I(6), return_index=True, return_inverse=True, return_counts=True,
    exclude="graph")  # fmt: skip
row("unique", "size", x=I(6), size=4, fill_value=-9, exclude="batch")
row("slice", inputs=F(2, 4), start_indices=np.array([0, 1], "int32"), shape=(1, 3), exclude="batch")
row("slice", "the rest", inputs=F(2, 4), start_indices=[0, 1], shape=(1, -1), exclude="batch")
row("slice_update", inputs=F(2, 4), start_indices=np.array([0, 1], "int32"), updates=F(2, 2),
    exclude="batch")  # fmt: skip
row("scatter", indices=np.array([[0], [2], [2]], "int32"), values=F(3, 2), shape=(4, 2),
    exclude="batch")  # fmt: skip
_positions = np.array([[0, 1], [1, 2], [0, 1]], "int32")
row("scatter_update", inputs=F(2, 3), indices=_positions[:2], updates=F(2), exclude="batch")
for _reduction in ("add", "max", "min", "mul"):
    row("scatter_update", _reduction, inputs=F(2, 3), indices=_positions, updates=F(3),
        reduction=_reduction, exclude="batch gradient")  # fmt: skip
for _name in "segment_sum segment_max segment_min segment_prod".split():
    row(_name, data=F(4, 2), segment_ids=np.array([0, 0, 2, 1], "int32"), num_segments=4,
        exclude="batch gradient")  # fmt: skip
row("top_k", x=F(2, 5), k=2)
row("top_k", "integers", x=np.array([[3, 9, 5]], "int32"), k=2)
row("in_top_k", targets=np.array([1, 0], "int32"), predictions=F(2, 3), k=1)
row("one_hot", x=I(2, 3, low=0, high=3), num_classes=3)
row("one_hot", "axis", x=I(2, 3, low=0, high=4), num_classes=4, axis=1, dtype="int32")
row("multi_hot", inputs=I(2, 3, low=0, high=4), num_classes=4)

# ---- special functions, signals ------------------------------------------------------------------

row("cdist", x=F(2, 3, 4), y=F(2, 2, 4, seed=1))
row("cdist", "halves", x=I(2, 3), y=F(2, 3).astype("float16"), exclude="batch lists", atol=1e-3)
row("view_as_complex", x=F(2, 3, 2), exclude="gradient")
row("view_as_complex", "halves", x=F(2, 3, 2).astype("float16"), exclude="gradient")
row("logdet", x=DEFINITE)
row("logdet", "indefinite", x=np.array([[[1.0, 2.0], [3.0, 1.0]]], "float32"))
row("slogdet", x=DEFINITE, exclude="gradient")
for _name in "fft fft2 ifft2".split():
    row(_name, x=(F(2, 4, 4), F(2, 4, 4, seed=1)))
row("rfft", x=F(2, 6))
row("rfft", "length", x=F(2, 6), fft_length=4)
row("irfft", x=(F(2, 4), F(2, 4, seed=1)))
row("irfft", "length", x=(F(2, 4), F(2, 4, seed=1)), fft_length=5, exclude="gradient")
row("extract_sequences", x=F(2, 8), sequence_length=3, sequence_stride=2)
row("stft", x=F(2, 12), sequence_length=4, sequence_stride=2, fft_length=4)
row("stft", "wide", x=F(2, 12), sequence_length=4, sequence_stride=3, fft_length=7,
    window="hamming", center=False)  # fmt: skip
row("stft", "no window", x=F(2, 12), sequence_length=4, sequence_stride=2, fft_length=6,
    window=None)  # fmt: skip
_spectrum = (F(2, 5, 3), F(2, 5, 3, seed=1))
row("istft", x=_spectrum, sequence_length=4, sequence_stride=2, fft_length=4, exclude="gradient")
row("istft", "length", x=_spectrum, sequence_length=4, sequence_stride=2, fft_length=4, length=7,
    exclude="gradient")  # fmt: skip
row("istft", "whole", x=_spectrum, sequence_length=4, sequence_stride=3, fft_length=4,
    window="hamming", center=False, exclude="gradient")  # fmt: skip
row("psnr", x1=F(2, 3), x2=F(2, 3, seed=1), max_val=2.0)

# ---- linear algebra ------------------------------------------------------------------------------

row("cholesky", x=DEFINITE)
row("cholesky", "upper", x=DEFINITE, upper=True)
row("cholesky_inverse", x=np.linalg.cholesky(DEFINITE)[0], exclude="batch")
row("cholesky_inverse", "batch", x=np.linalg.cholesky(DEFINITE), exclude="keras")
row("cholesky_inverse", "upper", x=np.linalg.cholesky(DEFINITE)[0].T, upper=True, exclude="batch")
row("det", x=DEFINITE)
row("inv", x=DEFINITE)
row("eigh", x=DEFINITE, exclude="gradient")
row("eig", x=DEFINITE, exclude="gradient")
row("lu_factor", x=DEFINITE, exclude="gradient")
row("qr", x=F(2, 3, 2), exclude="gradient")
row("qr", "complete", x=F(2, 3, 2), mode="complete", exclude="gradient")
row("svd", x=F(2, 3, 2), exclude="gradient", atol=1e-4)
row("svd", "values", x=F(2, 3, 2), compute_uv=False)
row("svd", "reduced", x=F(2, 3, 2), full_matrices=False, exclude="gradient", atol=1e-4)
row("solve", a=DEFINITE, b=F(2, 2, 1))
row("solve", "one matrix for all", a=DEFINITE, b=F(2, 2), exclude="batch")
row("solve_triangular", "halves", a=I(2, 2, low=1), b=F(2).astype("float16"), exclude="batch lists",
    atol=1e-2)  # fmt: skip
row("solve_triangular", a=DEFINITE, b=F(2, 2, 1), lower=True)
row("lstsq", a=F(3, 2), b=F(3), exclude="batch gradient", atol=1e-4)
row("pinv", x=F(2, 3, 2), atol=1e-4)
row("matrix_rank", x=F(2, 3, 2))
row("matrix_rank", "tolerance", x=F(2, 3, 2), tol=2.5)
row("norm", x=F(2, 3))
row("norm", "axis", x=F(2, 3), axis=1, keepdims=True)
row("norm", "order", x=F(2, 3), ord=3, axis=1)
row("norm", "matrix", x=F(2, 3, 2), ord="nuc", axis=(1, 2), atol=1e-4)
row("norm", "largest", x=F(2, 3), ord=float("inf"), axis=1)

# ---- neural networks -----------------------------------------------------------------------------

row("binary_crossentropy", target=P(2, 3), output=P(2, 3, seed=1))
row("binary_crossentropy", "logits", target=P(2, 3), output=F(2, 3), from_logits=True)
row("categorical_crossentropy", target=P(2, 3), output=P(2, 3, seed=1))
row("categorical_crossentropy", "logits", target=P(2, 3), output=F(2, 3), from_logits=True)
row("sparse_categorical_crossentropy", target=I(2, low=0, high=3), output=P(2, 3))
row("sparse_categorical_crossentropy", "logits", target=I(2, low=0, high=3), output=F(2, 3),
    from_logits=True)  # fmt: skip
row("normalize", x=F(2, 3))
row("normalize", "order", x=F(2, 3), axis=1, order=3)
row("batch_normalization", x=F(2, 3), mean=F(3), variance=P(3), axis=-1, offset=F(3, seed=1),
    scale=F(3, seed=2), epsilon=0.1)  # fmt: skip
row("layer_normalization", x=F(2, 3), gamma=F(3), beta=F(3, seed=1), epsilon=0.1)
row("layer_normalization", "axes", x=F(2, 3, 4), axis=(1, 2), epsilon=0.1)
row("rms_normalization", x=F(2, 3), scale=F(3), epsilon=0.1)
row("rms_normalization", "a number", x=F(2, 3, 2), scale=2.0, axis=(1, 2))
_IMAGE = F(2, 5, 6, 4)
row("conv", inputs=F(2, 6, 3), kernel=F(3, 3, 2))
row("conv", "strides", inputs=_IMAGE, kernel=F(3, 3, 4, 2), strides=(2, 1), padding="same")
row(
    "conv", "strides and dilation", inputs=F(2, 9, 3), kernel=F(3, 3, 2), strides=2, dilation_rate=2
)
row("conv", "groups", inputs=_IMAGE, kernel=F(2, 2, 2, 4), dilation_rate=2, exclude="batch")
row("conv", "channels first", inputs=F(2, 4, 5, 6), kernel=F(3, 3, 4, 2),
    data_format="channels_first", exclude="keras gradient")  # fmt: skip
row("conv", "halves", inputs=I(2, 6, 3), kernel=F(3, 3, 2).astype("float16"), exclude="lists",
    atol=1e-2)  # fmt: skip
row("conv", "volume", inputs=F(2, 4, 4, 4, 2), kernel=F(2, 2, 2, 2, 1), exclude="batch")
row("depthwise_conv", inputs=_IMAGE, kernel=F(3, 3, 4, 2), padding="same")
row("separable_conv", inputs=_IMAGE, depthwise_kernel=F(3, 3, 4, 1),
    pointwise_kernel=F(1, 1, 4, 2), strides=2)  # fmt: skip
row("conv_transpose", inputs=F(2, 3, 2), kernel=F(3, 1, 2), strides=2, padding="same")
row("conv_transpose", "output padding", inputs=F(2, 3, 2), kernel=F(3, 1, 2), strides=2,
    output_padding=1)  # fmt: skip
row("max_pool", inputs=_IMAGE, pool_size=2, strides=2)
row("max_pool", "default", inputs=_IMAGE, pool_size=2, exclude="keras")
row("max_pool", "strides", inputs=_IMAGE, pool_size=(3, 2), strides=1, padding="same")
row("average_pool", inputs=_IMAGE, pool_size=2, strides=2)
row("average_pool", "same", inputs=_IMAGE, pool_size=3, strides=2, padding="same")
row("adaptive_max_pool", inputs=_IMAGE, output_size=(2, 3))
row("adaptive_average_pool", inputs=_IMAGE, output_size=2)
row("depth_to_space", x=_IMAGE, block_size=2)
row("depth_to_space", "channels first", x=F(2, 8, 2, 3), block_size=2, data_format="channels_first")
row("space_to_depth", x=F(2, 4, 6, 3), block_size=2)
row("space_to_depth", "channels first", x=F(2, 3, 4, 6), block_size=2, data_format="channels_first")
row("unfold", x=F(2, 3, 5, 6), kernel_size=2)
row("unfold", "all", x=F(2, 3, 5, 6), kernel_size=(2, 3), dilation=(2, 1), padding=1, stride=2)
row("fold", x=F(2, 12, 4), output_size=3, kernel_size=2)
row("fold", "all", x=F(2, 12, 4), output_size=(5, 6), kernel_size=(2, 3), dilation=(2, 1),
    padding=1, stride=(3, 3), exclude="keras batch")  # fmt: skip
_HEADS = {"query": F(2, 3, 2, 4), "key": F(2, 5, 2, 4), "value": F(2, 5, 2, 4, seed=1)}
row("dot_product_attention", **_HEADS)
row("dot_product_attention", "bias", **_HEADS, bias=F(2, 2, 3, 5))
row("dot_product_attention", "causal", **_HEADS, is_causal=True, scale=0.3)
row("dot_product_attention", "mask", **_HEADS, mask=np.tri(3, 5, 1, bool)[None, None],
    exclude="batch")  # fmt: skip
row("dot_product_attention", "cap", **_HEADS, attn_logits_soft_cap=1.0, exclude="keras")
row("ctc_loss", target=np.array([[1, 2], [1, 1]], "int32"), output=F(2, 5, 4),
    target_length=np.array([2, 2], "int32"), output_length=np.array([5, 4], "int32"),
    exclude="batch")  # fmt: skip
row("ctc_loss", "halves", target=np.array([[1]], "int32"), output=F(1, 3, 2).astype("float16"),
    target_length=np.array([1], "int32"), output_length=np.array([2], "int32"),
    exclude="batch")  # fmt: skip
row("ctc_decode", inputs=F(2, 5, 4), sequence_lengths=np.array([5, 3], "int32"),
    exclude="gradient")  # fmt: skip
row("ctc_decode", "beams", inputs=F(2, 5, 4), sequence_lengths=np.array([5, 3], "int32"),
    strategy="beam_search", beam_width=4, top_paths=2, exclude="gradient")  # fmt: skip

# ---- images --------------------------------------------------------------------------------------

_PICTURE = F(2, 6, 5, 3, low=0.0, high=1.0)
_BYTES = (255 * _PICTURE).astype("uint8")
for _interpolation in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"):
    row("image.resize", _interpolation, images=_PICTURE, size=(4, 7), interpolation=_interpolation,
        exclude="gradient")  # fmt: skip
row("image.resize", "antialias", images=_PICTURE, size=(3, 2), antialias=True)
row("image.resize", "crop", images=_PICTURE, size=(4, 8), crop_to_aspect_ratio=True)
row("image.resize", "pad", images=_PICTURE, size=(8, 4), pad_to_aspect_ratio=True, fill_value=0.5)
row("image.resize", "bytes", images=_BYTES, size=(3, 3), exclude="gradient lists")
row("image.resize", "one", images=_PICTURE[0], size=(3, 3), exclude="batch")
_TURN = np.array([[1, 0.1, 0.5, 0.2, 0.9, -0.5, 0, 0]] * 2, "float32")
for _mode in ("constant", "nearest", "wrap", "mirror", "reflect"):
    row("image.affine_transform", _mode, images=_PICTURE, transform=_TURN, fill_mode=_mode,
        fill_value=0.3, exclude="gradient")  # fmt: skip
row("image.affine_transform", "nearest pixel", images=_PICTURE, transform=_TURN,
    interpolation="nearest", exclude="gradient")  # fmt: skip
_CORNERS = np.array([[[0, 0], [4, 0], [0, 5], [4, 5]]] * 2, "float32")
row("image.perspective_transform", images=_PICTURE, start_points=_CORNERS,
    end_points=_CORNERS + F(2, 4, 2) / 4, atol=1e-4, exclude="gradient")  # fmt: skip
row("image.map_coordinates", inputs=F(4, 5), coordinates=F(2, 3, low=0, high=3), order=1,
    exclude="batch")  # fmt: skip
row("image.map_coordinates", "outside", inputs=F(4, 5), coordinates=F(2, 3, low=-3, high=9),
    order=0, fill_mode="reflect", exclude="batch")  # fmt: skip
row("image.scale_and_translate", images=_PICTURE, output_shape=(2, 8, 8, 3),
    scale=np.array([1.5, 1.2], "float32"), translation=np.array([0.0, 1.0], "float32"),
    spatial_dims=(1, 2), method="linear", exclude="batch gradient")  # fmt: skip
row("image.rgb_to_grayscale", images=_PICTURE)
row("image.rgb_to_grayscale", "bytes", images=_BYTES, exclude="gradient lists")
row("image.affine_transform", "bytes", images=_BYTES, transform=_TURN, exclude="gradient lists")
row("image.rgb_to_hsv", images=_PICTURE)
row("image.rgb_to_grayscale", "grey", images=F(2, 3, 4, 1))
row("image.hsv_to_rgb", images=_PICTURE, exclude="gradient")
row("image.hsv_to_rgb", "turned", images=_PICTURE * np.float32([4, 1, 1]) - np.float32([2, 0, 0]),
    exclude="gradient")  # fmt: skip
row("image.crop_images", images=_PICTURE, top_cropping=1, left_cropping=2, target_height=3,
    target_width=2)  # fmt: skip
row("image.crop_images", "sides", images=_PICTURE, top_cropping=1, bottom_cropping=2,
    left_cropping=0, right_cropping=1)  # fmt: skip
row("image.pad_images", images=_PICTURE, bottom_padding=1, right_padding=2, target_height=9,
    target_width=9)  # fmt: skip
row("image.extract_patches", images=_PICTURE, size=(2, 2))
row("image.extract_patches", "same", images=_PICTURE, size=3, strides=1, padding="same")
row("image.extract_patches", "apart", images=_PICTURE, size=2, dilation_rate=2, padding="same")
row("image.extract_patches", "dilated", images=_PICTURE, size=2, strides=1, dilation_rate=2)
row("image.extract_patches", "channels first", images=np.moveaxis(_PICTURE, -1, 1), size=2,
    data_format="channels_first", exclude="keras gradient")  # fmt: skip
row("image.extract_patches_3d", volumes=F(2, 4, 4, 4, 2), size=2)
# Keras on JAX blurs along the width only, with weights that do not sum to 1.
row("image.gaussian_blur", images=_PICTURE, exclude="keras")
row(
    "image.gaussian_blur",
    "wide",
    images=_PICTURE,
    kernel_size=(5, 3),
    sigma=(2.0, 1.0),
    exclude="keras",
)
row("image.sobel_edges", images=_PICTURE)
row("image.ssim", image1=_PICTURE, image2=_PICTURE**2, filter_size=3, exclude="gradient")
row("image.elastic_transform", images=_PICTURE, seed=3, exclude="keras gradient")
