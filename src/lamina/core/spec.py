"""Specs of tensors, and abstract evaluation, which infers the shape and dtype of a call's result.

A dimension is an integer or a symbolic expression of JAX (``batch``, ``2*time``,
``max(h - 2, 0)``). All symbols are in one scope, so equal names mean equal dimensions. Unknown
dimensions (``None``) are symbols too, named ``_0``, ``_1``, ...; they are shown as ``None`` and,
where a call requires it, assumed to be equal to each other or to a known dimension, as in Keras.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import operator
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import export

from lamina import settings
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import ArgumentError, DTypeError
from lamina.runtime.cost import equations
from lamina.tree import nested

Dim = Any  # an int, or a symbolic expression of jax.export
_SCOPE = export.SymbolicScope()
_ANONYMOUS = re.compile(r"_\d+\Z")
_RESERVED = frozenset(("max", "min", "mod", "floordiv"))
# Limits of formulas, which files may contain: characters, terms, exponents.
_LONGEST_FORMULA, _MOST_TERMS, _HIGHEST_POWER = 200, 100, 8
_counter = itertools.count()
_symbols: dict[str, Dim] = {}
# Unknown dimensions that stand for formulas which JAX would compare slowly, and these formulas.
_abbreviations: dict[str, Dim] = {}
_formulas: dict[str, Dim] = {}


def symbol(name: str) -> Dim:
    """The dimension called ``name``, a plain identifier."""
    if name not in _symbols:
        if not name.isidentifier() or name in _RESERVED or len(name) > _LONGEST_FORMULA:
            raise ArgumentError(
                "A named dimension is a plain identifier such as 'time' (max, min, mod and "
                f"floordiv are reserved). Received: {name[:100]!r}."
            )
        _symbols[name] = export.symbolic_shape(name, scope=_SCOPE)[0]
    return _symbols[name]


BATCH = symbol("batch")


def anonymous() -> Dim:
    """A new unknown dimension."""
    return export.symbolic_shape(f"_{next(_counter)}", scope=_SCOPE)[0]


def _abbreviated(dim: Dim) -> Dim:
    """An unknown dimension instead of a formula with several clamps: the same one each time.

    Each convolution without padding adds a clamp at zero, and the time that JAX takes to bound a
    formula grows exponentially with their number.
    """
    text = str(dim)
    if isinstance(dim, int) or text.count("max(") < 2:
        return dim
    if text not in _abbreviations:
        _abbreviations[text] = short = anonymous()
        _formulas[str(short)] = dim
    return _abbreviations[text]


def parse_dim(size: Any) -> Dim:
    """Read one dimension of a shape that a user wrote: an integer, a name, a formula, or None."""
    if size is None:
        return anonymous()
    if isinstance(size, str):
        if size.isidentifier():
            return symbol(size)
        try:
            if len(size) > _LONGEST_FORMULA:
                raise ValueError("it is too long")
            return _formula(ast.parse(size.replace("^", "**"), mode="eval").body)[0]
        except (ValueError, SyntaxError, LookupError, ArithmeticError, RecursionError) as e:
            raise ArgumentError(f"Could not read the dimension {size[:200]!r}: {e}") from e
    if export.is_symbolic_dim(size):
        return size
    if isinstance(size, bool) or not isinstance(size, SupportsIndex) or int(size) < 0:
        raise ArgumentError(
            "A dimension of a shape is a non-negative integer, None or a name such as 'time'. "
            f"Received: {size!r}."
        )
    return int(size)


def entries_of(shape: Any, owner: str, name: str) -> tuple[Any, ...]:
    """The dimensions in a shape that a user gave ``owner`` as the argument ``name``."""
    try:
        if isinstance(shape, str):
            raise TypeError("its letters are no dimensions")
        return tuple(shape)
    except TypeError as e:
        raise ArgumentError(
            f"{owner}() expects `{name}` to be a tuple. Received: {shape!r}. Did you mean "
            f"({shape!r},)?"
        ) from e


def _variables(dim: Dim) -> set[str]:
    return dim.get_vars() if export.is_symbolic_dim(dim) else set()


def is_anonymous(dim: Dim) -> bool:
    """True for a dimension that depends on an unknown one without a name."""
    return any(_ANONYMOUS.match(v) for v in _variables(dim))


class TensorSpec:
    """Shape and dtype of a tensor that does not exist yet.

    Args:
        dims: Dimensions, as :func:`parse_dim` reads them.
        dtype: Name of the dtype.

    >>> spec = TensorSpec(("batch", "time", 8), "float32")
    >>> spec.shape, spec.dims
    ((None, None, 8), ('batch', 'time', 8))
    """

    __slots__ = ("_hash", "_shape", "_struct", "dims_raw", "dtype")

    def __init__(self, dims: Iterable[Any], dtype: Any = None) -> None:
        # A single symbol is always represented by the same object.
        self.dims_raw = tuple(_symbols.get(str(p), p) for p in map(parse_dim, dims))
        self.dtype = standardize_dtype(dtype)
        self._hash: int | None = None
        self._shape: tuple[int | None, ...] | None = None
        self._struct: jax.ShapeDtypeStruct | None = None

    def __reduce__(self) -> Any:
        # Unknown dimensions without a name are those of one process.
        names = (None if any(map(_ANONYMOUS.match, _variables(d))) else str(d)
                 for d in self.dims_raw)  # fmt: skip
        dims = [d if isinstance(d, int) else n for d, n in zip(self.dims_raw, names, strict=True)]
        return TensorSpec, (dims, self.dtype)

    def __deepcopy__(self, memo: Any) -> TensorSpec:
        return self

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Dimensions as in Keras: None for those that are not integers."""
        if self._shape is None:
            self._shape = tuple(d if isinstance(d, int) else None for d in self.dims_raw)
        return self._shape

    @property
    def dims(self) -> tuple[int | str | None, ...]:
        """Dimensions with names and formulas; None for unknown ones without a name."""
        return tuple(
            d if isinstance(d, int) else None if is_anonymous(d) else show_dim(d)
            for d in self.dims_raw
        )

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        """The spec as JAX's ``ShapeDtypeStruct``."""
        if self.dtype == "string":
            raise DTypeError(
                "This tensor is text, which only layers that turn it into numbers take.",
                expected="a tensor of numbers",
                cure="Put a layer that turns text into numbers after the `Input`: "
                "TextVectorization, StringLookup or Hashing.",
            )
        if self._struct is None:
            self._struct = jax.ShapeDtypeStruct(self.dims_raw, jnp.dtype(self.dtype))
        return self._struct

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorSpec)
            and self.dtype == other.dtype
            and len(self.dims_raw) == len(other.dims_raw)
            and all(
                a is b or (type(a) is type(b) and a == b)
                for a, b in zip(self.dims_raw, other.dims_raw, strict=True)
            )
        )

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((tuple(map(str, self.dims_raw)), self.dtype))
        return self._hash

    def __repr__(self) -> str:
        return f"TensorSpec({show_dims(self.dims_raw)}, {self.dtype})"


def show_dim(dim: Dim) -> str:
    """One dimension as text, without clamps at zero, which only matter for invalid inputs.

    >>> show_dim(parse_dim("max(h - 2, 0)"))
    'h - 2'
    """
    if is_anonymous(dim):
        return "None"
    return re.sub(r"^max\((.*), 0\)$|^max\(0, (.*)\)$", lambda m: m[1] or m[2], str(dim))


def show_dims(dims: Sequence[Dim]) -> str:
    """A shape as text: ``(batch, time, 8)``.

    >>> show_dims((3,))
    '(3,)'
    """
    inner = ", ".join(show_dim(d) for d in dims)
    return f"({inner},)" if len(dims) == 1 else f"({inner})"


def spec_of(x: Any) -> TensorSpec:
    """The spec of an array."""
    return TensorSpec(x.shape, x.dtype)


def is_array(x: Any) -> bool:
    """True for arrays of JAX (traced ones included) and NumPy."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic))


def agree(shape: Sequence[Any], expected: Sequence[Any], *, broadcast: bool = False) -> bool:
    """Whether two shapes have the same rank and the same dimensions, as far as these are known.

    Unknown dimensions and the batch dimension agree with any other; dimensions with different names
    differ.

    Args:
        shape: The shape in question.
        expected: The shape that it should have.
        broadcast: Whether dimensions of size 1 in ``shape`` agree with any other.

    >>> agree((2, 3), (2, 4)), agree((2, None), (2, 4)), agree((2, 1), (2, 4), broadcast=True)
    (False, True, True)
    """
    return len(shape) == len(expected) and all(
        a == b or (broadcast and a == 1) or _is_unknown(a) or _is_unknown(b)
        for a, b in zip(shape, expected, strict=True)
    )


def _is_unknown(size: Any) -> bool:
    return size is None or is_anonymous(size) or (not isinstance(size, int) and size == BATCH)


# ---- abstract evaluation -------------------------------------------------------------------------


def _substitute(dim: Dim, to: dict[str, str]) -> Dim:
    if not _variables(dim) & to.keys():
        return dim
    text = re.sub(r"[A-Za-z_]\w*", lambda m: f"({to[m[0]]})" if m[0] in to else m[0], str(dim))
    return _formula(ast.parse(text.replace("^", "**"), mode="eval").body)[0]


_BINARY: dict[type[ast.AST], Any] = {
    ast.Add: (operator.add, operator.add), ast.Sub: (operator.sub, operator.add),
    ast.Mult: (operator.mul, operator.mul), ast.Pow: (operator.pow, operator.pow),
}  # fmt: skip
_CALLS = {
    "floordiv": operator.floordiv, "mod": operator.mod, "max": jax.core.max_dim,
    "min": jax.core.min_dim,
}  # fmt: skip


def _formula(node: Any) -> tuple[Dim, int]:
    """The dimension that a formula describes, in the notation of JAX's symbolic dimensions.

    Returns:
        The dimension, and a bound of the number of its terms.

    Raises:
        ValueError: It is not a formula, or a power or a product of sums in it is too large.
    """
    if isinstance(node, ast.Name):
        return symbol(node.id), 1
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value < 2**63:
        return node.value, 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value, terms = _formula(node.operand)
        return -value, terms
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        combine, count = _BINARY[type(node.op)]
        (a, n), (b, m) = _formula(node.left), _formula(node.right)
        if isinstance(node.op, ast.Pow):
            if not isinstance(b, int) or not 0 <= b <= _HIGHEST_POWER:
                raise ValueError(f"a power is not from 0 to {_HIGHEST_POWER}")
            m = b
        terms = count(n, m)
        if terms > _MOST_TERMS:
            raise ValueError(f"it has more than {_MOST_TERMS} terms")
        return combine(a, b), terms
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
        return _CALLS[node.func.id](*(_formula(x)[0] for x in node.args)), 1
    raise ValueError("expected numbers, names, + - * ^, floordiv, mod, max and min")


def substitute(spec: TensorSpec, to: dict[str, str]) -> TensorSpec:
    """The spec with symbols replaced by other symbols or numbers, which are given as strings."""
    return TensorSpec([_substitute(d, to) for d in spec.dims_raw], spec.dtype)


def _evaluate_directly(fn: Callable[..., Any], specs: list[TensorSpec]) -> Any:
    out_tree: list[Any] = []

    def flat(*arrays: Any) -> list[Any]:
        result = fn(*arrays)
        leaves = nested.flatten(result)
        out_tree[:] = [nested.map_structure(is_array, result)]
        return [jnp.asarray(leaf) for leaf in leaves if leaf is not None and is_array(leaf)]

    structs = iter(jax.eval_shape(flat, *(s.struct for s in specs)))
    return nested.map_structure(
        lambda array: (
            TensorSpec(map(_abbreviated, (s := next(structs)).shape), s.dtype) if array else None
        ),
        out_tree[0],
    )


def _unifications(specs: list[TensorSpec]) -> list[dict[str, str]]:
    """Assumptions about unknown dimensions: equal to the known one of the axis, or all equal."""
    assumptions = []
    anonymous_names = sorted({v for s in specs for d in s.dims_raw for v in _variables(d)
                              if _ANONYMOUS.match(v)}, key=lambda v: int(v[1:]))  # fmt: skip
    by_axis: dict[str, str] = {}
    for axis in range(max((len(s.dims_raw) for s in specs), default=0)):
        here = [s.dims_raw[axis] for s in specs if len(s.dims_raw) > axis]
        known = {str(d) for d in here if not is_anonymous(d)} - {"batch", "1"}
        for d in here:
            if len(known) == 1 and (_ANONYMOUS.match(str(d)) or str(d) == "batch"):
                by_axis[str(d)] = next(iter(known))
    if by_axis:
        assumptions.append(by_axis)
    if len(anonymous_names) > 1:
        assumptions.append(dict.fromkeys(anonymous_names, anonymous_names[0]))
    return assumptions


def evaluate(fn: Callable[..., Any], specs: list[TensorSpec]) -> Any:
    """Infer the specs of what ``fn`` returns for arrays of ``specs``, by abstract evaluation.

    Args:
        fn: A function that takes one array for each spec and returns arrays (or None) in any
            nesting.
        specs: Specs of the arguments; dimensions may be symbolic.

    Returns:
        The same nesting as ``fn``'s result, with a spec for each array.

    Raises:
        Exception: What ``fn`` raises, if it fails under every assumption about unknown dimensions.

    >>> evaluate(lambda x, y: jnp.concatenate([x, y], 1), [TensorSpec(("batch", "t"))] * 2)
    TensorSpec((batch, 2*t), float32)
    """
    names = sorted({v for s in specs for d in s.dims_raw for v in _variables(d)})
    try:
        return _evaluate_directly(fn, specs)
    except Exception as e:
        if not names:
            raise
        return _evaluate_otherwise(fn, specs, names, e)


def _evaluate_otherwise(
    fn: Callable[..., Any], specs: list[TensorSpec], names: list[str], first: Exception
) -> Any:
    """Evaluate under assumptions about unknown dimensions, after it failed without any."""
    for way in _unifications(specs):
        try:
            found = _evaluate_directly(fn, [substitute(s, way) for s in specs])
        except Exception:  # noqa: BLE001, S112 - the first error is the one to report
            continue
        if any(size.isdigit() for size in way.values()):
            with contextlib.suppress(Exception):  # other sizes fit too, so they stay unknown
                return _sampled(fn, specs, names)
        return found
    try:
        return _sampled(fn, specs, names)
    except Exception as last:  # noqa: BLE001 - the more informative of both is raised
        with contextlib.suppress(Exception):
            return _broadcast(fn, specs, names)
        inconclusive = isinstance(first, jax.errors.InconclusiveDimensionOperation) or (
            isinstance(first, TypeError) and not raised_by_jax(first)  # Python requires an integer
        )
        raise (last if inconclusive else first) from None


def raised_by_jax(e: BaseException) -> bool:
    """Whether the innermost frame belongs to JAX, rather than to Lamina or the user."""
    tb, name = e.__traceback__, ""
    while tb is not None:
        name, tb = tb.tb_frame.f_globals.get("__name__", ""), tb.tb_next
    return name.startswith("jax.")


def _sampled(fn: Callable[..., Any], specs: list[TensorSpec], names: list[str]) -> Any:
    """Evaluate with three sets of numbers for the symbols; what varies is an unknown dimension.

    This is for code such as ``range(x.shape[1])``, which does not work with symbols.
    """
    try:
        return _sampled_as(fn, specs, names, _LARGE)
    except Exception as e:  # noqa: BLE001 - it is raised unless smaller numbers do
        try:  # a sequence may have a maximum length, such as that of position embeddings
            return _sampled_as(fn, specs, names, _SMALL)
        except Exception:  # noqa: BLE001 - the first error is of more usual dimensions
            raise e from None


# Named dimensions get distinct numbers, so that they stay different: a start and a step. Unknown
# ones share one, the third number. Of the large ones, it has many factors of 2: what is halved and
# doubled again (as in a U-Net) is assumed to match. The last is the number of examples, which is
# unknown too: it is assumed to be a multiple of what it is divided by.
_LARGE = ((24, 7, 128, 36), (31, 11, 192, 60), (48, 5, 320, 84))
_SMALL = ((5, 2, 4, 36), (7, 3, 6, 60), (11, 1, 2, 84))


def _sampled_as(
    fn: Callable[..., Any], specs: list[TensorSpec], names: list[str],
    table: tuple[tuple[int, int, int, int], ...],
) -> Any:  # fmt: skip
    samples = []
    for start, step, shared, examples in table:
        numbers = itertools.count(start, step)
        to: dict[str, str] = {}
        for n in _with_operands(names):
            formula = _formulas.get(n)
            if formula is not None:
                to[n] = str(_substitute(formula, to))
            else:
                unnamed = examples if n == str(BATCH) else shared if _ANONYMOUS.match(n) else None
                to[n] = str(next(numbers) if unnamed is None else unnamed)
        samples.append((to, _evaluate_directly(fn, [substitute(s, to) for s in specs])))

    def merge(*found: TensorSpec | None) -> TensorSpec | None:
        if found[0] is None:
            return None
        dims = [_dimension_from_samples([s.dims_raw[i] for s in found if s], samples, specs)
                for i in range(len(found[0].dims_raw))]  # fmt: skip
        return TensorSpec(dims, found[0].dtype)

    return nested.map_structure(merge, *(out for _, out in samples))


def _broadcast(fn: Callable[..., Any], specs: list[TensorSpec], names: list[str]) -> Any:
    """Evaluate with 1 for unknown dimensions, and with a size that a 1 then meets inside ``fn``.

    This is for unknown dimensions that are those of a weight, such as a table of positions.
    """

    def sized(size: int) -> list[TensorSpec]:
        to = {n: str(size) for n in names if _ANONYMOUS.match(n)}
        return [substitute(s, to) for s in specs]

    def merge(a: TensorSpec | None, b: TensorSpec | None) -> TensorSpec | None:
        if a is None or b is None:
            return None
        pairs = zip(a.dims_raw, b.dims_raw, strict=True)
        return TensorSpec((x if x == y else anonymous() for x, y in pairs), a.dtype)

    def arrays(*inputs: Any) -> list[Any]:
        return [x for x in nested.flatten(fn(*inputs)) if is_array(x)]

    ones = sized(1)
    met: dict[int, None] = {}
    for equation, *_ in equations(arrays, [s.struct for s in ones]):
        for x, y in itertools.product(equation.invars, equation.outvars):
            pairs = zip(reversed(x.aval.shape), reversed(y.aval.shape), strict=False)
            met |= {n: None for one, n in pairs if one == 1 and isinstance(n, int) and n > 1}
    of_one = _evaluate_directly(fn, ones)
    for size in met:
        with contextlib.suppress(Exception):
            return nested.map_structure(merge, of_one, _evaluate_directly(fn, sized(size)))
    raise ArgumentError("No size fits the unknown dimensions.")


def _with_operands(names: Iterable[str]) -> list[str]:
    """The symbols, each after those that its formula consists of."""
    found: dict[str, None] = {}
    for name in names:
        if name in _formulas:
            found |= dict.fromkeys(_with_operands(sorted(_variables(_formulas[name]))))
        found[name] = None
    return list(found)


def _dimension_from_samples(sizes: list[int], samples: list[Any], specs: list[TensorSpec]) -> Dim:
    if len(set(sizes)) == 1:
        return sizes[0]
    for dim in dict.fromkeys(d for s in specs for d in s.dims_raw if not isinstance(d, int)):
        if all(_substitute(dim, to) == n for (to, _), n in zip(samples, sizes, strict=True)):
            return dim
    return anonymous()


# ---- cached evaluation ---------------------------------------------------------------------------

_LARGEST = 4096  # maximum number of cached evaluations, and of bytes of an array in a key
_known: dict[Hashable, Any] = {}  # those used last are last
_lock = threading.Lock()


def evaluate_cached(
    key: Hashable | None, fn: Callable[..., Any], specs: Sequence[TensorSpec]
) -> Any:
    """:func:`evaluate`, with results cached by key and specs.

    Global settings that affect dtypes or layouts are part of the cache key.

    Args:
        key: Determines, together with the specs, what ``fn`` returns; :func:`freeze` converts
            arguments to a key. With None nothing is cached.
        fn: See :func:`evaluate`.
        specs: See :func:`evaluate`.

    >>> specs = [TensorSpec((3,), "int32")]
    >>> [evaluate_cached(freeze(n), lambda x, n=n: x * n, specs).dtype for n in (1, 1.0, True)]
    ['int32', 'float32', 'int32']
    """
    if key is None:
        return evaluate(fn, list(specs))
    full = (key, tuple(specs), settings.floatx(), settings.image_data_format(),
            jax.config.read("jax_enable_x64"))  # fmt: skip
    with _lock:
        answer = _known.pop(full, None)
        if answer is not None:
            _known[full] = answer  # as the one used last
            return answer
    answer = evaluate(fn, list(specs))
    with _lock:
        _known[full] = answer
        if len(_known) > _LARGEST:
            del _known[next(iter(_known))]
    return answer


def freeze(*values: Any) -> Hashable | None:
    """A hashable copy of arguments: equal only for equal values of equal types, in equal nestings.

    Returns:
        The copy; None for JAX arrays, large arrays and objects that are not hashable.

    >>> freeze([1, "same"]) == freeze([1, "same"]), freeze(1) == freeze(1.0), freeze(jnp.ones(2))
    (True, False, None)
    """
    try:
        return tuple(map(_frozen, values))
    except TypeError:
        return None


_EXACT = frozenset((type(None), bool, int, str))  # equal values of these types are alike


def _frozen(x: Any) -> Hashable:
    if type(x) in _EXACT:
        return (type(x), x)
    if isinstance(x, (list, tuple)):
        return (type(x), *map(_frozen, x))
    if isinstance(x, Mapping):
        return (type(x), *((k, _frozen(v)) for k, v in x.items()))
    if isinstance(x, slice):
        return (slice, *map(_frozen, (x.start, x.stop, x.step)))
    if isinstance(x, float):
        return (type(x), x.hex())  # NaN equals itself, and -0.0 is not 0.0
    if isinstance(x, (np.ndarray, np.generic)) and x.nbytes <= _LARGEST:
        return (type(x), x.dtype, x.shape, x.tobytes())
    hash(x)  # raises TypeError if it is not hashable
    return (type(x), x)


def structs_of(compute: Callable[[Any], dict[str, Any]], x: Any) -> dict[str, Any]:
    """Shapes and dtypes of the arrays that ``compute(x)`` returns, in its order: JAX sorts keys."""
    names: list[str] = []

    def values(x: Any) -> list[Any]:
        found = compute(x)
        names[:] = found
        return list(found.values())

    structs = jax.eval_shape(values, x)
    return dict(zip(names, structs, strict=True))
