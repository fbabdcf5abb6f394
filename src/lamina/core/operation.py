"""Symbolic in: record a node. Arrays in: run. The one place where both meet."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import naming, spec
from lamina.core.boundary import public
from lamina.core.graph import Node, is_symbolic
from lamina.core.scope import get_mask, set_mask
from lamina.core.spec import TensorSpec
from lamina.core.symbolic import OPERATIONS, SymbolicTensor
from lamina.core.variable import Variable
from lamina.errors import GraphError, LaminaError, ShapeError
from lamina.tree import nested

_OWN = __name__.partition(".")[0] + "."


class Operation:
    """What a node of the graph calls: a layer, or a function of :mod:`lamina.ops`."""

    name: str
    _inbound_nodes: list[Node]

    def _only(self, what: str) -> Node:
        nodes = self._inbound_nodes
        if len(nodes) != 1:
            times = "never" if not nodes else f"{len(nodes)} times"
            raise GraphError(
                f"`{self.name}.{what}` is defined for a layer called once on symbolic tensors; "
                f"{self.name!r} was called {times}. Use what the call returned, or "
                "`lamina.core.operation.nodes_of(layer)[i].outputs`."
            )
        return nodes[0]

    @property
    def output(self) -> Any:
        """The symbolic tensor (or nesting of them) that the layer's only call returned."""
        return self._only("output").outputs

    @property
    def input(self) -> Any:
        """The symbolic tensor (or nesting of them) that the layer's only call was given."""
        node = self._only("input")
        if not node.inputs:
            return node.outputs
        first = [a for a in (*node.args, *node.kwargs.values()) if any_symbolic(a)]
        return first[0] if len(first) == 1 else first


def nodes_of(operation: Operation) -> list[Node]:
    """The calls of an operation on symbolic tensors, in their order."""
    return operation._inbound_nodes


def any_symbolic(*structures: Any) -> bool:
    """True when a symbolic tensor is among the leaves."""
    return any(is_symbolic(x) for x in nested.flatten(structures))


def user_location() -> str:
    """``file:line`` of the innermost frame outside of Lamina."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "<unknown>"


def record(operation: Operation, args: Any, kwargs: Any, outputs: Any, masks: Any = None) -> Any:
    """Add a node to the graph and return its symbolic outputs.

    Args:
        operation: what was called.
        args: its positional arguments.
        kwargs: its keyword arguments.
        outputs: specs, in the nesting that the call returns.
        masks: a spec or None for each output leaf, or None for no masks.
    """
    node = Node(operation, args, kwargs, user_location())
    leaves = nested.flatten(outputs)
    mask_list = [None] * len(leaves) if masks is None else masks
    count = sum(leaf is not None for leaf in leaves)
    made = []
    for leaf, mask in zip(leaves, mask_list, strict=True):
        if leaf is None:
            made.append(None)
            continue
        index = sum(m is not None for m in made)
        name = operation.name if count == 1 else f"{operation.name}/{index}"
        made.append(SymbolicTensor(leaf, node, index, name, mask))
    node.outputs = nested.unflatten(outputs, made)
    return node.outputs


class Op(Operation):
    """A recorded call of a function of :mod:`lamina.ops`.

    Args:
        op_name: the function's public name.
        fn: the function on arrays.
        name: the node's name; automatic when None.
    """

    weights: tuple[Variable, ...] = ()
    built = True

    def __init__(self, op_name: str, fn: Callable[..., Any], name: str | None = None) -> None:
        self.op_name, self.fn = op_name, fn
        self.name = name or naming.auto_name(op_name)
        self._inbound_nodes = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(self.name):
            return OPERATIONS[self.op_name](*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Op {self.op_name} name={self.name}>"


_HOLE = object()


class _Template:
    """Arguments with holes for tensors; hashes by content, so that evaluations can be cached."""

    __slots__ = ("_hash", "_leaves", "structure")

    def __init__(self, args: Any, kwargs: Any) -> None:
        fill = nested.map_structure(
            lambda x: _HOLE if is_symbolic(x) else _unwrap(x), (args, kwargs)
        )
        self.structure = fill
        # With the types: 1, 1.0 and True are equal but compute differently.
        self._leaves = tuple((path, type(x), x) for path, x in nested.flatten_with_path(fill))
        self._hash: int | None = None

    def call(self, fn: Callable[..., Any], *arrays: Any) -> Any:
        it = iter(arrays)
        args, kwargs = nested.map_structure(lambda x: next(it) if x is _HOLE else x, self.structure)
        return fn(*args, **kwargs)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self._leaves)
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Template) and self._leaves == other._leaves


def _evaluate(fn: Callable[..., Any], template: _Template, specs: tuple[TensorSpec, ...]) -> Any:
    return spec.evaluate(functools.partial(template.call, fn), list(specs))


_cached_evaluate = functools.lru_cache(maxsize=4096)(_evaluate)


def _unwrap(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def op(
    fn: Callable[..., Any], name: str | None = None, *, elementwise: bool = False
) -> Callable[..., Any]:
    """Make a function of arrays a public op: it runs on arrays and records on symbolic tensors.

    Args:
        fn: a function of arrays; its tensors may be nested in lists, tuples or dicts.
        name: the public name, the function's own by default.
        elementwise: masks of the arguments travel on to the result.

    >>> double = op(lambda x: x * 2, "double_for_example")
    >>> float(double(jnp.ones(())))
    2.0
    """
    op_name = name or fn.__name__

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves = nested.flatten((args, kwargs))
        if any(is_symbolic(x) for x in leaves):
            return _record_op(op_name, fn, args, kwargs, elementwise)
        if any(isinstance(x, Variable) for x in leaves):
            args, kwargs = nested.map_structure(_unwrap, (args, kwargs))
        result = fn(*args, **kwargs)
        if elementwise:
            mask = merge_masks([get_mask(x) for x in leaves])
            if mask is not None and result.shape[: mask.ndim] == mask.shape:
                set_mask(result, mask)
        return result

    call.__name__ = call.__qualname__ = op_name
    OPERATIONS[op_name] = call = public(call)
    return call


def merge_masks(masks: list[Any]) -> Any:
    """A position counts where every mask lets it; None when there is no mask."""
    present = [m for m in masks if m is not None]
    return functools.reduce(jnp.logical_and, present) if present else None


def _record_op(
    op_name: str, fn: Callable[..., Any], args: Any, kwargs: Any, elementwise: bool
) -> Any:
    leaves = nested.flatten((args, kwargs))
    inputs = [x for x in leaves if is_symbolic(x)]
    specs = tuple(x.spec for x in inputs)
    for x in leaves:
        if isinstance(x, Operation):
            raise not_called(x, f"lamina.ops.{op_name}")
    template = _Template(args, kwargs)
    try:
        hash(template)
        evaluate = _cached_evaluate
    except TypeError:  # arrays or slices among the arguments
        evaluate = _evaluate
    try:
        outputs = evaluate(fn, template, specs)
    except LaminaError as e:
        raise type(e)(f"{e}\n  called at: {user_location()}") from None
    except Exception as e:
        shown = ", ".join(f"{x.name} {spec.show_dims(x.spec.dims_raw)}" for x in inputs)
        raise ShapeError(
            f"lamina.ops.{op_name} cannot take these tensors: {type(e).__name__}: {e}\n"
            f"  received: {shown}\n  called at: {user_location()}"
        ) from e
    operation = Op(op_name, fn)
    masks = None
    if elementwise and isinstance(outputs, TensorSpec):
        present = [x.mask for x in inputs if x.mask is not None]
        fits = present and outputs.dims_raw[: len(present[0].dims_raw)] == present[0].dims_raw
        masks = [present[0] if fits else None]
    return record(operation, args, kwargs, outputs, masks)


def not_called(layer: Operation, where: str) -> GraphError:
    """The error for a layer given where its output was meant."""
    return GraphError(
        f"{where} received the layer {layer.name!r} itself, not a tensor. Expected the result of "
        f"calling it. Did you forget to call it? Write `{layer.name}(x)` instead of `{layer.name}`."
        f"\n  called at: {user_location()}"
    )
