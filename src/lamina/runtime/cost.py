"""The cost of a computation: its arithmetic operations by layer, counted in the traced program."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

# One operation per element of the result. Primitives that only move or convert elements count 0.
_ELEMENTWISE = frozenset(
    "abs add atan2 cbrt ceil clamp cos cosh div eq erf erf_inv erfc exp exp2 expm1 floor ge gt "
    "integer_pow le log log1p logistic lt max min mul ne neg nextafter pow rem round rsqrt "
    "select_n sign sin sinh sqrt square sub tan tanh acos asin atan add_any".split()
)


def operations(fn: Callable[..., Any], *structs: Any) -> dict[str, Any]:
    """Arithmetic operations of ``fn`` by layer path; a multiplication and an addition count two.

    Args:
        fn: A traceable function.
        structs: Specs of its arguments; with unknown dimensions, the counts are formulas.

    Returns:
        Dict of layer paths (as in ``jax.named_scope``) to counts; ``""`` is outside of all layers.

    >>> x, w = jax.ShapeDtypeStruct((2, 3), "float32"), jax.ShapeDtypeStruct((3, 4), "float32")
    >>> operations(jnp.matmul, x, w)
    {'': 48}
    """
    counts: dict[str, Any] = defaultdict(int)
    for equation, path, times in equations(fn, structs):
        if not programs_in(equation):
            counts[path] += times * _count(equation)
    return {path: n for path, n in counts.items() if not (isinstance(n, int) and n == 0)}


def total(fn: Callable[..., Any], *structs: Any) -> tuple[int, int, int]:
    """Arithmetic operations of ``fn``, bytes of all intermediate results, and number of equations.

    Nothing is compiled or computed, so this is quick for a program that would not be.

    Args:
        fn: A traceable function.
        structs: Specs of its arguments, without unknown dimensions.

    >>> total(lambda x: jnp.exp(x) + 1, jax.ShapeDtypeStruct((2, 3), "float32"))
    (12, 48, 2)
    """
    operations = size = count = 0
    for equation, _, times in equations(fn, structs):
        count += 1
        operations += 0 if programs_in(equation) else times * _count(equation)
        size += sum(math.prod(x.aval.shape) * x.aval.dtype.itemsize for x in equation.outvars)
    return operations, size, count


def equations(fn: Callable[..., Any], structs: Any) -> Iterator[tuple[Any, str, int]]:
    """All equations of a traced function, with the path of the layer and the number of runs."""
    stack = [(jax.make_jaxpr(fn)(*structs).jaxpr, "", 1)]
    while stack:
        jaxpr, prefix, times = stack.pop()
        for equation in jaxpr.eqns:
            path = "/".join(filter(None, (prefix, str(equation.source_info.name_stack))))
            yield equation, path, times
            inner = programs_in(equation)
            if equation.primitive.name == "cond":  # only one branch runs; assume equal costs
                inner = inner[-1:]
            for program in inner:
                repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
                stack.append((program, path, times * repeats))


def programs_in(equation: Any) -> list[Any]:
    """The programs in an equation: the body of a loop, branches, or a compiled function."""
    values = equation.params.values()
    found = (x for v in values for x in (v if isinstance(v, (tuple, list)) else (v,)))
    inner = (getattr(x, "jaxpr", x) for x in found)
    return [x for x in inner if hasattr(x, "eqns")]


def uses(program: Any, primitive: str) -> bool:
    """Whether a traced program uses a primitive, at any nesting depth.

    >>> uses(jax.make_jaxpr(jax.jit(jnp.sin))(1.0).jaxpr, "sin")
    True
    """
    stack = [program]
    while stack:
        for equation in stack.pop().eqns:
            if equation.primitive.name == primitive:
                return True
            stack += programs_in(equation)
    return False


def inputs_of(program: Any, outputs: Iterable[int]) -> list[bool]:
    """On which inputs of a traced program the given outputs, and its side effects, may depend.

    >>> inputs_of(jax.make_jaxpr(lambda x, y, z: (x + y, z))(1.0, 2.0, 3.0).jaxpr, [0])
    [True, True, False]
    """
    needed = {id(program.outvars[i]) for i in outputs}
    for equation in reversed(program.eqns):
        if equation.effects or any(id(v) in needed for v in equation.outvars):
            needed.update(map(id, equation.invars))
    return [id(v) in needed for v in program.invars]


def readable(size: float) -> str:
    """Bytes as text.

    >>> readable(220_200)
    '215.04 KB'
    """
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def _count(equation: Any) -> Any:
    name = equation.primitive.name
    shape = equation.outvars[0].aval.shape if equation.outvars else ()
    size = math.prod(shape)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * size * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        _, inputs, *spatial = equation.params["dimension_numbers"].rhs_spec
        return 2 * size * math.prod(kernel[i] for i in (inputs, *spatial))
    if name.startswith(("reduce_window", "select_and_")):
        return size * math.prod(equation.params.get("window_dimensions", ()))
    if name.startswith(("reduce_", "cum", "argm")) and name != "reduce_precision":
        return math.prod(equation.invars[0].aval.shape)
    if name in _ELEMENTWISE and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.inexact):
        return size
    return 0
