"""Operations, which the nodes of the graph call, and the recording of calls."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from lamina.core import naming, spec
from lamina.core.arguments import Captured
from lamina.core.boundary import public
from lamina.core.graph import Node, is_symbolic
from lamina.core.scope import Scope, entered
from lamina.core.symbolic import OPERATIONS, SymbolicTensor
from lamina.errors import GraphError, NotBuiltError, SignatureError
from lamina.tree import nested

_OWN = __name__.partition(".")[0] + "."


class Operation(Captured):
    """What a node of the graph calls: a layer, a function of :mod:`lamina.ops`, or your own class.

    A subclass defines ``call``, a computation without weights. On arrays it runs; on symbolic
    tensors it becomes a node of the graph, whose output shapes are found by abstract evaluation of
    ``call`` unless the class has a ``compute_output_spec``. A model file refers to the class by
    name: register it with :func:`lamina.saving.register_serializable`.

    Args:
        name: Name of the operation; derived from that of the class when None.

    >>> import lamina
    >>> class Scale(lamina.Operation):
    ...     def __init__(self, factor, name=None):
    ...         super().__init__(name=name)
    ...         self.factor = factor
    ...
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale(2)(jnp.ones(2)), Scale(2)(lamina.Input((3,))).shape
    (Array([2., 2.], dtype=float32), (None, 3))
    """

    name: Any  # a string
    weights: Any = ()
    variables: Any = ()
    built: bool = True
    runs_on_host: ClassVar[bool] = False  # whether calls compute outside of compiled steps
    _inbound_nodes: list[Node]

    def __init__(self, name: str | None = None) -> None:
        self.name = naming.check_name(name or naming.auto_name(type(self).__name__), "operation")
        self._inbound_nodes = []

    @public
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any_symbolic(args, kwargs):
            return self.call(*args, **kwargs)
        specs = self.compute_output_spec(*args, **kwargs)
        specs = nested.map_structure(lambda x: x.spec if is_symbolic(x) else x, specs)
        return record(self, args, kwargs, specs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; subclasses override this."""
        raise SignatureError(
            f"Operation {self.name!r} of class {type(self).__name__} has no `call`. "
            "Define `def call(self, x): ...` in the class."
        )

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """The call on symbolic tensors, recorded as a node of the graph."""
        call: Any = self
        return call(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The specs of the outputs of a call on symbolic tensors, without recording a node."""
        given = (args, kwargs)

        def run(*arrays: Any) -> Any:
            values = iter(arrays)
            filled = nested.map_structure(lambda x: next(values) if is_symbolic(x) else x, given)
            with entered(Scope(pure=True, abstract=True)):
                return self.call(*filled[0], **filled[1])

        return spec.evaluate(run, [x.spec for x in nested.flatten(given) if is_symbolic(x)])

    def symbolic_mask(self, node: Node, index: int) -> Any:
        """The mask of an output of a call on symbolic tensors, computed by ops, or None."""
        masks = [m for m in (x.symbolic_mask for x in node.inputs) if m is not None]
        return functools.reduce(OPERATIONS["logical_and"], masks) if masks else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, as :meth:`from_config` reads them."""
        given = self.captured_arguments()
        named = "name" in inspect.signature(type(self).__init__).parameters
        return {**given, "name": self.name} if named else given

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create an operation from the result of :meth:`get_config`."""
        return cls(**config)

    @property
    def layer_graph(self) -> Any:
        """The graph of a functional model; None for all other operations."""
        return None

    def _first_call(self, what: str) -> Node:
        if not self._inbound_nodes:
            raise NotBuiltError(
                f"`{self.name}.{what}` is that of the layer's first call on symbolic tensors, and "
                f"{self.name!r} was never called on any. Call it on an `Input` first."
            )
        return self._inbound_nodes[0]

    @property
    def output(self) -> Any:
        """The symbolic tensor (or nesting of them) that the layer's first call returned."""
        return self._first_call("output").outputs

    @property
    def input(self) -> Any:
        """The symbolic tensor (or nesting of them) that the layer's first call received."""
        node = self._first_call("input")
        if not node.inputs:
            return node.outputs
        first = [a for a in (*node.args, *node.kwargs.values()) if any_symbolic(a)]
        return first[0] if len(first) == 1 else first


def nodes_of(operation: Operation) -> list[Node]:
    """The calls of an operation on symbolic tensors, in chronological order."""
    return operation._inbound_nodes


def any_symbolic(*structures: Any) -> bool:
    """True when a symbolic tensor is among the leaves."""
    return any(is_symbolic(x) for x in nested.flatten(structures))


def user_location() -> str:
    """``file:line`` of the innermost frame outside Lamina."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "<unknown>"


def record(operation: Operation, args: Any, kwargs: Any, outputs: Any, masks: Any = None) -> Any:
    """Add a node to the graph and return its symbolic outputs.

    Args:
        operation: The layer or op that was called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        outputs: Specs in the structure of the result.
        masks: For each output leaf the spec of its mask or None; None if there are no masks.
    """
    calls = operation._inbound_nodes
    node = Node(operation, args, kwargs, user_location(), len(calls))
    calls.append(node)
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
        made.append(SymbolicTensor.of(leaf, node, index, name, mask))
    node.outputs = nested.unflatten(outputs, made)
    return node.outputs


class _StandIn(Operation):
    """The operation of placeholder tensors for shape inference."""

    def __init__(self) -> None:
        self.name, self._inbound_nodes = "input", []


def stand_in(spec: Any) -> Any:
    """A symbolic tensor that belongs to no model, for shape inference."""
    return record(_StandIn(), (), {}, spec)


class Op(Operation):
    """A recorded call of a function of :mod:`lamina.ops`.

    Args:
        op_name: The function's public name.
        name: The node's name; automatic when None.
    """

    def __init__(self, op_name: str, name: str | None = None) -> None:
        self.op_name = op_name
        self.name = name or naming.auto_name(op_name)
        self._inbound_nodes = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(self.name):
            return as_tensors(OPERATIONS[self.op_name](*args, **kwargs))

    def __repr__(self) -> str:
        return f"<Op {self.op_name} name={self.name}>"


def as_tensors(result: Any) -> Any:
    """What an op returned, with a tensor for each Python number: a graph holds tensors only."""
    if isinstance(result, int) and not isinstance(result, bool):
        return jnp.asarray(result, "int32")
    return result


def merge_masks(masks: list[Any]) -> Any:
    """The logical conjunction of the masks; None if there are none."""
    present = [m for m in masks if m is not None]
    return functools.reduce(jnp.logical_and, present) if present else None


def not_called(layer: Operation, where: str) -> GraphError:
    """The error for a layer passed in place of its output."""
    return GraphError(
        f"{where} received the layer {layer.name!r} itself, not a tensor. Expected the result of "
        f"calling it. Did you forget to call it? Write `{layer.name}(x)` instead of `{layer.name}`."
        f"\n  called at: {user_location()}"
    )
