"""Declaration of ops: on arrays an op runs; on symbolic tensors it records a node.

An op is declared once, by its function. The rest follows from the signature: parameters annotated
with :data:`Tensor` hold tensors, those annotated with ``Callable`` hold functions, and all others
are static: they determine what is computed, and Keras's files store them apart from the call.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast, overload

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import prng, spec
from lamina.core.boundary import needs_values, public, raised_by_user
from lamina.core.graph import is_symbolic
from lamina.core.operation import (
    Op,
    Operation,
    as_tensors,
    merge_masks,
    not_called,
    record,
    user_location,
)
from lamina.core.scope import Scope, current, entered, get_mask, set_mask
from lamina.core.spec import TensorSpec
from lamina.core.subgraph import Traced
from lamina.core.symbolic import OPERATIONS, HostText, install_operator, is_text
from lamina.core.variable import Variable, value_of
from lamina.errors import (
    ArgumentError,
    DTypeError,
    LaminaError,
    ShapeError,
    SignatureError,
    SymbolicTensorError,
)
from lamina.tree import nested

# An array, symbolic tensor, variable or number, or lists of these: what JAX converts to an array.
Tensor: TypeAlias = Any

_F = TypeVar("_F", bound=Callable[..., Any])
DECLARATIONS: dict[str, OpDeclaration] = {}
# Ops that also take text, which runs on the host, by the functions that compute them there.
_OF_TEXT: dict[str, Callable[..., Any]] = {
    "get_item": operator.getitem,
    **{name: getattr(np, name) for name in (
        "broadcast_to", "concatenate", "expand_dims", "flip", "hstack", "moveaxis", "ravel",
        "repeat", "reshape", "squeeze", "stack", "swapaxes", "take", "tile", "transpose", "vstack",
    )},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OpDeclaration:
    """The declaration of an op.

    Attributes:
        name: The public name.
        fn: The function of arrays.
        elementwise: Whether the masks of its arguments propagate to its result.
        operators: The special methods of symbolic tensors that call it; the second one passes the
            tensor as the last argument.
        file_class: The class name in Keras's files; the name in CamelCase when empty.
        file_module: The last part of the module name in Keras's files; ``FILE_MODULE`` of the
            function's own module when empty.
        in_call: Static parameters that Keras's files store with the tensors of the call.
        in_constructor: Tensors that Keras's files store with the static parameters.
    """

    name: str
    fn: Callable[..., Any]
    elementwise: bool = False
    operators: tuple[str, ...] = ()
    file_class: str = ""
    file_module: str = ""
    in_call: tuple[str, ...] = ()
    in_constructor: tuple[str, ...] = ()

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the function."""
        return inspect.signature(self.fn)

    def _annotated(self, word: str) -> tuple[str, ...]:
        parameters = self.signature.parameters.values()
        return tuple(p.name for p in parameters if word in str(p.annotation))

    @functools.cached_property
    def functions(self) -> tuple[str, ...]:
        """Parameters that hold functions."""
        return self._annotated("Callable")

    @functools.cached_property
    def tensors(self) -> tuple[str, ...]:
        """Parameters that hold tensors."""
        return tuple(n for n in self._annotated("Tensor") if n not in self.functions)

    @functools.cached_property
    def constructor(self) -> tuple[str, ...]:
        """Parameters that the constructor of Keras's class takes."""
        in_call = {*self.tensors, *self.functions, *self.in_call} - {*self.in_constructor}
        rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = self.signature.parameters.values()
        return tuple(p.name for p in parameters if p.name not in in_call and p.kind not in rest)

    @functools.cached_property
    def class_name(self) -> str:
        """The class name in Keras's files."""
        words = (part[:1].upper() + part[1:] for part in self.name.split("_"))
        return self.file_class or "".join(words)

    @functools.cached_property
    def path(self) -> str:
        """The public path: ``"lamina.ops.mean"``."""
        package = "random" if ".random." in self.fn.__module__ else "ops"
        return f"lamina.{package}.{self.name}"

    @functools.cached_property
    def module_name(self) -> str:
        """The last part of the module name in Keras's files: ``"numpy"``."""
        return self.file_module or vars(sys.modules[self.fn.__module__]).get("FILE_MODULE", "")


@overload
def op(fn: _F, /) -> _F: ...
@overload
def op(
    *,
    elementwise: bool = False,
    operators: tuple[str, ...] = (),
    file_class: str = "",
    file_module: str = "",
    in_call: tuple[str, ...] = (),
    in_constructor: tuple[str, ...] = (),
) -> Callable[[_F], _F]: ...
def op(fn: Any = None, /, **known: Any) -> Any:
    """Decorator that makes a function of arrays a public op; its arguments: :class:`OpDeclaration`.

    >>> @op
    ... def doubled_in_an_example(x: Tensor) -> Tensor:
    ...     return x * 2
    >>> doubled_in_an_example(x=4), DECLARATIONS["doubled_in_an_example"].tensors
    (8, ('x',))
    """
    if fn is None:
        return functools.partial(op, **known)
    return _declared(OpDeclaration(fn.__name__, fn, **known))


# The errors of JAX for arguments that do not fit.
_OF_ARGUMENTS = (
    TypeError, ValueError, NotImplementedError, IndexError, ZeroDivisionError, NameError,
)  # fmt: skip


def _declared(declaration: OpDeclaration) -> Callable[..., Any]:
    name, fn = declaration.name, declaration.fn

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves = nested.flatten((args, kwargs))
        if any(isinstance(x, np.integer) for x in leaves):
            args, kwargs = _with_plain_integers(declaration, args, kwargs)
        if any(is_symbolic(x) for x in leaves):
            return _record_op(declaration, args, kwargs)
        if name in _OF_TEXT and any(map(is_text, leaves)):
            return _run_on_text(declaration, args, kwargs)
        if any(isinstance(x, Variable) for x in leaves):
            args, kwargs = nested.map_structure(value_of, (args, kwargs))
        try:
            result = fn(*args, **kwargs)
        except SymbolicTensorError:
            if not declaration.functions:
                raise
            # A function that is an argument uses symbolic tensors.
            return _record_op(declaration, args, kwargs)
        except _OF_ARGUMENTS as e:
            plain = type(e) in (IndexError, NameError) or (
                type(e) in (TypeError, ValueError) and spec.raised_by_jax(e)
            )
            # What evaluates a layer explains what needs values, or known dimensions.
            explains = plain or current() is None
            if not explains or isinstance(e, LaminaError) or raised_by_user(e):
                raise
            raise _explained(e, declaration, args, kwargs) from e
        if declaration.elementwise:
            mask = merge_masks([get_mask(x) for x in leaves])
            if mask is not None and result.shape[: mask.ndim] == mask.shape:
                set_mask(result, mask)
        return result

    call = public(call)
    OPERATIONS[name], DECLARATIONS[name] = call, declaration
    for i, method in enumerate(declaration.operators):
        install_operator(method, call, reflected=i == 1)
    return call


def _with_plain_integers(declaration: OpDeclaration, args: Any, kwargs: Any) -> Any:
    """The arguments, with NumPy's integers among the static ones as Python's."""
    try:
        bound = declaration.signature.bind(*args, **kwargs)
    except TypeError:  # the op itself tells what is wrong
        return args, kwargs
    for name, value in bound.arguments.items():
        if name not in declaration.tensors:
            bound.arguments[name] = nested.map_structure(
                lambda x: int(x) if isinstance(x, np.integer) else x, value
            )
    return bound.args, bound.kwargs


def _explained(e: Exception, declaration: OpDeclaration, args: Any, kwargs: Any) -> LaminaError:
    """The error of an op on arrays, with what it received."""
    signature = declaration.signature
    try:
        signature.bind(*args, **kwargs)
    except TypeError as wrong:
        shown = ", ".join(signature.parameters)
        return SignatureError(f"{declaration.path}(): {wrong}. The arguments are ({shown}).")
    leaves = nested.flatten((args, kwargs))
    what = f"{declaration.path} cannot take these arguments"
    texts = [x for x in leaves if isinstance(x, (str, bytes)) or is_text(x)]
    bound = signature.bind(*args, **kwargs).arguments
    given = nested.flatten([v for k, v in bound.items() if k in declaration.tensors])
    texts += [None for k in declaration.tensors
              if bound.get(k, 0) is None
              and signature.parameters[k].default is not None]  # fmt: skip
    if any(x is text for x in given for text in texts):
        return DTypeError(f"{what}: tensors are numbers. Received: {texts[0]!r}.")
    if unknown := _unknown_size(declaration, bound):
        return SymbolicTensorError(unknown, cure=_WITH_UNKNOWN_SIZES)
    e = _of_axis(e, bound)
    if _other_dtypes_would_do(declaration, args, kwargs):
        kind = DTypeError if isinstance(e, TypeError) else ArgumentError
        kinds = (_shown(x) for x in given if x is not None)
        return kind(f"{what}: {str(e).rstrip('.')}.", received=", ".join(kinds))
    arrays = (_shown(x) for x in leaves if spec.is_array(x))
    return ShapeError(f"{what}: {str(e).rstrip('.')}.", received=", ".join(arrays) or None)


_WITH_UNKNOWN_SIZES = (
    "Where the op takes it, -1 stands for one unknown size. Otherwise, call the op in a layer's "
    "`call`, where `ops.shape(x)` has symbols for unknown sizes."
)


def _unknown_size(declaration: OpDeclaration, bound: Mapping[str, Any]) -> str | None:
    """What to say of a size that is None, as those from ``ops.shape`` of a graph's tensor."""
    for name, parameter in declaration.signature.parameters.items():
        value = bound.get(name, parameter.default)
        missing = value is None and parameter.default is not None
        if (
            name not in declaration.tensors
            and not name.startswith("ax")
            and (missing or (isinstance(value, (list, tuple)) and any(x is None for x in value)))
        ):
            return (
                f"{declaration.path} received {name}={value!r}, where None is a size that is "
                "unknown while a graph is built."
            )
    return None


def _of_axis(e: Exception, bound: Mapping[str, Any]) -> Exception:
    """The error, which names the axis where an index out of range is that of an axis."""
    if type(e) is NameError:  # JAX takes text as the name of a mapped axis
        return TypeError(f"an axis is an integer, not {bound.get('axis')!r}")
    if type(e) is not IndexError or "axis" not in bound:
        return e
    return IndexError(f"axis={bound['axis']!r} is out of range")


def _shown(x: Any) -> str:
    dtype = x.dtype if spec.is_array(x) else np.asarray(x).dtype
    return f"{spec.show_dims(np.shape(x))} {dtype}"


def _other_dtypes_would_do(declaration: OpDeclaration, args: Any, kwargs: Any) -> bool:
    """Whether an op takes tensors of these shapes, of another dtype."""
    bound = declaration.signature.bind(*args, **kwargs)

    def with_dtype(dtype: str) -> Any:
        for name in {*declaration.tensors} & bound.arguments.keys():
            bound.arguments[name] = nested.map_structure(
                lambda x: None if x is None else jnp.zeros(np.shape(x), dtype),
                bound.arguments[name],
            )
        return declaration.fn(*bound.args, **bound.kwargs)

    for dtype in ("float32", "int32"):
        try:
            jax.eval_shape(lambda dtype=dtype: with_dtype(dtype))
        except Exception:  # noqa: BLE001, S112 - the op says by any error that it does not
            continue
        return True
    return False


def _run_on_text(declaration: OpDeclaration, args: Any, kwargs: Any) -> Any:
    """The result of an op of :data:`_OF_TEXT` on the host."""
    if any(isinstance(x, HostText) for x in nested.flatten((args, kwargs))):
        args, kwargs = nested.map_structure(
            lambda x: x.symbol if isinstance(x, HostText) else x, (args, kwargs)
        )
        return HostText(_record_op(declaration, args, kwargs))
    bound = declaration.signature.bind(*args, **kwargs)  # NumPy's parameters have other names
    try:
        return np.asarray(_OF_TEXT[declaration.name](*bound.args))
    except (TypeError, ValueError, IndexError) as e:
        raise ShapeError(f"{declaration.path} cannot take this text: {e}.") from e


class _Placeholder:
    """A placeholder for a tensor among the arguments."""


_PLACEHOLDER = _Placeholder()


def _evaluate(declaration: OpDeclaration, args: Any, kwargs: Any, specs: list[TensorSpec]) -> Any:
    """The specs of the op's results."""
    template = nested.map_structure(
        lambda x: _PLACEHOLDER if is_symbolic(x) else value_of(x), (args, kwargs)
    )
    if any(s.dtype == "string" for s in specs):
        if declaration.name not in _OF_TEXT or any(s.dtype != "string" for s in specs):
            raise DTypeError(
                f"{declaration.path} computes with numbers; it cannot take text.",
                received=", ".join(f"a tensor of dtype {s.dtype}" for s in specs),
                cure="Convert text to numbers first, with TextVectorization, StringLookup or "
                "Hashing.",
            )
        numbers = [TensorSpec(s.dims_raw, "int32") for s in specs]
        return nested.map_structure(
            lambda s: TensorSpec(s.dims_raw, "string"),
            _evaluate(declaration, args, kwargs, numbers),
        )

    def call(*arrays: Any) -> Any:
        it = iter(arrays)
        args, kwargs = nested.map_structure(
            lambda x: next(it) if x is _PLACEHOLDER else x, template
        )
        if current() is not None:
            return as_tensors(declaration.fn(*args, **kwargs))
        # For ops that draw random numbers.
        with entered(Scope(key=prng.abstract_key(), abstract=True)):
            return as_tensors(declaration.fn(*args, **kwargs))

    key = None if declaration.functions else spec.freeze(declaration.name, template)
    return spec.evaluate_cached(key, call, specs)


def _record_op(declaration: OpDeclaration, args: Any, kwargs: Any) -> Any:
    where = declaration.path
    inputs = [x for x in nested.flatten((args, kwargs)) if is_symbolic(x)]
    for x in nested.flatten((args, kwargs)):
        if isinstance(x, Operation) and not declaration.functions:
            raise not_called(x, where)
    try:
        if declaration.functions:
            args, kwargs = _with_bodies(declaration, args, kwargs, inputs)
            inputs = [x for x in nested.flatten((args, kwargs)) if is_symbolic(x)]
        outputs = _evaluate(declaration, args, kwargs, [x.spec for x in inputs])
    except LaminaError as e:
        raise e.with_details(location=user_location()) from None
    except Exception as e:
        bound = declaration.signature.bind(*args, **kwargs).arguments
        e = _of_axis(e, bound)
        shown = ", ".join(f"{x.name} {spec.show_dims(x.spec.dims_raw)}" for x in inputs)
        if unknown := _unknown_size(declaration, bound):
            raise SymbolicTensorError(
                unknown, received=shown, cure=_WITH_UNKNOWN_SIZES, location=user_location()
            ) from None
        if needs_values(e):
            raise SymbolicTensorError(
                f"{where} needs the values of a tensor, or an unknown dimension, for the shape of "
                "its result; in a graph, only shapes are known.",
                received=shown,
                cure="Use an op whose result has a fixed shape: `ops.where(condition, a, b)`, ...; "
                "or call this one on arrays, outside of the graph.",
                location=user_location(),
            ) from None
        raise ShapeError(
            f"{where} cannot take these tensors: {type(e).__name__}: {e}",
            received=shown,
            location=user_location(),
        ) from e
    masks = None
    if declaration.elementwise and isinstance(outputs, TensorSpec):
        present = [x.mask for x in inputs if x.mask is not None]
        fits = present and outputs.dims_raw[: len(present[0].dims_raw)] == present[0].dims_raw
        masks = [present[0] if fits else None]
    return record(Op(declaration.name), args, kwargs, outputs, masks)


def _with_bodies(declaration: OpDeclaration, args: Any, kwargs: Any, inputs: list[Any]) -> Any:
    """The arguments with their functions traced to data, by abstract evaluation of the op."""
    where = declaration.path

    def is_function(x: Any) -> bool:
        return callable(x) and not is_symbolic(x) and not spec.is_array(x)

    args, kwargs = nested.map_structure(
        lambda x: Traced(x, where) if is_function(x) else x, (args, kwargs)
    )
    _evaluate(declaration, args, kwargs, [x.spec for x in inputs])
    return nested.map_structure(lambda x: x.found if isinstance(x, Traced) else x, (args, kwargs))


def described(function: Any, name: str, doc: str, example: str, module: str) -> Any:
    r"""A generated function with a name, a docstring that ends with an example, and a module.

    Args:
        function: The function, which is changed.
        name: Its name.
        doc: The docstring without the example.
        example: ``"arguments -> list"``, the result as a list, or ``"code -> what it prints"``
            for code that calls the function by its name; empty for no example.
        module: The module that contains the function.

    >>> described(lambda x: x, "same", "Return ``x``.", "same(3) -> 3", __name__).__doc__
    'Return ``x``.\n\n>>> same(3)\n3\n'
    """
    code, arrow, result = example.partition(" -> ")
    code = code if f"{name}(" in code else f"{name}({code}).tolist()"
    shown = f"\n\n>>> {code}\n{result}\n" if arrow else ""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{inspect.cleandoc(doc)}{shown}"
    function.__module__ = module
    return function


def as_op(
    fn: Callable[..., Any], name: str, doc: str, example: str, module: str, **known: Any
) -> Any:
    """Declare a generated function as an op, with the given name, docstring, example and module."""
    return cast(Any, op)(described(fn, name, doc, example, module), **known)
