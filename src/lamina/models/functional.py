"""The graph of a functional model: named inputs and outputs, and the plan between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import tree
from lamina.core import naming
from lamina.core.boundary import warn
from lamina.core.graph import Node, Plan, depths, is_symbolic, make_plan
from lamina.core.operation import Operation, nodes_of, not_called
from lamina.core.scope import get_mask, set_mask
from lamina.core.spec import is_anonymous, is_array, show_dim, show_dims
from lamina.core.symbolic import HostText
from lamina.core.variable import Variable
from lamina.dtype_policies.dtypes import narrowed
from lamina.errors import DTypeError, GraphError, ShapeError, StructureError, TrainingWarning
from lamina.layers import InputLayer, Layer
from lamina.models.host import call, host_part
from lamina.random import SeedGenerator
from lamina.tree import nested
from lamina.tree.matching import NamedLeaves, leaf_names


class Graph:
    """The inputs and outputs in the user's structure, and the plan and layers between them.

    Args:
        inputs: Symbolic tensors in any nesting of dicts, lists and tuples.
        outputs: Likewise.

    Raises:
        GraphError: An entry is not a symbolic tensor, an output does not depend on the inputs, or
            two layers have the same name.

    Attributes:
        inputs, outputs: Flat lists of symbolic tensors, in declaration order.
        input_names, output_names: The names of the tensors: keys of dicts, or names of layers.
        plan: The program. operations: Layers and ops, those farthest from the outputs first.
        users: For each input, the layers and ops that take it.
        seed_generators: The seed generators of random ops in the graph, without duplicates.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.input_structure = _checked(inputs, "inputs")
        self.output_structure = _checked(outputs, "outputs")
        self.inputs: list[Any] = nested.flatten(self.input_structure)
        self.outputs: list[Any] = nested.flatten(self.output_structure)
        if not self.inputs or not self.outputs:
            raise GraphError("A model needs at least one input and one output.")
        for x in self.inputs:
            if not isinstance(x.node.operation, Operation):
                raise GraphError(
                    f"The input {x.name!r} is a `KerasTensor` created directly, which only "
                    "describes a shape. Create the inputs with `lamina.Input(shape)`."
                )
        self.plan: Plan = make_plan(self.inputs, self.outputs)
        self.input_names = _names(self.input_structure)
        self.output_names = _names(self.output_structure)
        self._leaves = NamedLeaves(
            self.input_structure, self.input_names, [x.name for x in self.inputs]
        )
        self.nodes: list[Node] = [step.node for step in self.plan.steps]
        self.operations: list[Operation] = _by_depth(self)
        arguments = nested.flatten([(node.args, node.kwargs) for node in self.nodes])
        self.seed_generators = tuple(
            dict.fromkeys(x for x in arguments if isinstance(x, SeedGenerator))
        )
        seen: dict[str, Operation] = {}
        for operation in self.operations:
            other = seen.setdefault(operation.name, operation)
            if other is not operation:
                raise GraphError(
                    f"Two layers of this model are called {operation.name!r}: {other!r} (called at "
                    f"{nodes_of(other)[0].location}) and {operation!r} (called at "
                    f"{nodes_of(operation)[0].location}). Give one another `name`, or set "
                    "`layer.name` before creating the model."
                )
        self._told_extra = False
        self.host = host_part(self.plan, self.bind)
        self.users = [[n.operation for n in self.nodes if x in n.inputs] for x in self.inputs]
        # What only layers of the host take keeps its dtype, such as int64.
        self._raw = {
            x for x, found in zip(self.inputs, self.users, strict=True)
            if x.dtype == "string" or (found and all(f.runs_on_host for f in found))
        }  # fmt: skip

    @property
    def layers(self) -> list[Layer]:
        """The layers among the operations."""
        return [x for x in self.operations if isinstance(x, Layer)]

    def list_as(self, names: Iterable[str]) -> None:
        """Reorder the operations by ``names``, the order in which a file stores their weights."""
        place = {name: i for i, name in enumerate(names)}
        self.operations.sort(key=lambda op: place.get(op.name, len(place)))

    @property
    def is_chain(self) -> bool:
        """Whether the only input of each step is the output of the previous one."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            return False
        before = self.inputs[0]
        for node in self.nodes:
            if node.inputs != [before] or len(node.output_leaves) != 1:
                return False
            before = node.output_leaves[0]
        return before is self.outputs[0]

    # ---- running -------------------------------------------------------------------------------

    def run(self, inputs: Any, masks: Any = None) -> Any:
        """Compute the outputs for arrays in the structure of the inputs, or a compatible one."""
        plan = self.plan
        if self.host is not None:
            plan, values = self.host.rest, list(self.host.prepare(inputs))
        else:
            values = self.bind(inputs)
        if masks is not None and self.host is None:
            for x, mask in zip(values, nested.flatten(masks), strict=False):
                if mask is not None and get_mask(x) is None:
                    set_mask(x, mask)
        outputs = plan.run(values, call)
        return nested.unflatten(self.output_structure, outputs)

    def inlined(self, inputs: Any) -> Any:
        """The graph called on symbolic tensors, node by node.

        So the part on the host becomes one of the graph around it.
        """
        values = self.arrange(inputs)
        outputs = self.plan.run(values, call)
        return nested.unflatten(self.output_structure, outputs)

    def bind(self, data: Any) -> list[Any]:
        """One array for each input, in declaration order, from data in any compatible structure.

        Raises:
            StructureError: A name is missing, or the number of arrays differs.
            ShapeError: An array does not match its input, or a named dimension has two sizes.
        """
        values = self.arrange(data)
        sizes: dict[str, tuple[Any, str]] = {}
        return [
            _conform(v, x, name, sizes, x in self._raw)
            for v, x, name in zip(values, self.inputs, self.input_names, strict=True)
        ]

    def sizes(self, data: Any) -> dict[str, int]:
        """The size of each named dimension in ``data``."""
        found: dict[str, tuple[Any, str]] = {}
        for v, x, name in zip(self.arrange(data), self.inputs, self.input_names, strict=True):
            _check_sizes(v, x, name, found, tuple(np.shape(v)))
        return {name: size for name, (size, _) in found.items()}

    def arrange(self, data: Any) -> list[Any]:
        """The leaves of ``data`` in the order of the inputs, matched by name, not by sorting.

        Raises:
            StructureError: A name is missing, or the number of arrays differs.
        """
        names = self.input_names
        if not nested.is_nested(data) and len(names) == 1:
            return [data]
        wants = f"The model's inputs are {names}."
        by_name = isinstance(self.input_structure, Mapping) and len(names) > 1
        if by_name and not isinstance(data, Mapping):
            raise StructureError(
                f"The inputs of the model are declared by name. {wants} Received a "
                f"{type(data).__name__}, which has no names; pass a dict."
            )
        if isinstance(data, list) and len(data) == 2 and len(names) == 1:
            raise StructureError(
                f"Expected one input array. {wants} Received a list of 2. A batch of inputs and "
                "targets is a tuple `(x, y)`, not a list."
            )
        found, missing, unknown = self._leaves.match(data, "The input data", arrays=True)
        if missing:
            raise StructureError(
                f"The input data has no entry for {missing}. {wants} Received the keys "
                f"{list(data)}."
            )
        if unknown:
            self._warn_of_extra(unknown)
        return found

    def _warn_of_extra(self, extra: list[Any]) -> None:
        if not self._told_extra:
            self._told_extra = True
            warn(
                f"The data has entries that are not inputs of the model and are ignored: {extra}. "
                f"The inputs are {self.input_names}.",
                TrainingWarning,
            )


def _conform(
    value: Any, x: Any, name: str, sizes: dict[str, tuple[Any, str]], raw: bool = False
) -> Any:
    """Check an array against its input, and convert it to the input's dtype and rank.

    With ``raw``, it stays a NumPy array of its own dtype.
    """
    if value is None and x.node.operation.__dict__.get("optional"):
        return None
    if is_symbolic(value) or isinstance(value, HostText):
        return value
    mask = get_mask(value)
    value = value.value if isinstance(value, Variable) else value
    if not is_array(value):
        value = np.asarray(value)
    if raw:
        value = np.asarray(value)
    numeric = value.dtype.kind in "biufc" or value.dtype.name.startswith(("bf", "float8", "int4"))
    text = x.dtype == "string"
    if numeric == text and isinstance(value, np.ndarray):
        raise DTypeError(
            f"Input {name!r} expects {'text' if text else f'numbers ({x.dtype})'}. Received an "
            f"array of dtype {value.dtype}."
        )
    dims, shape = x.spec.dims_raw, tuple(value.shape)
    if value.ndim == len(dims) - 1 and dims[-1] == 1:
        value = value[..., None]
    elif value.ndim == len(dims) + 1 and value.shape[-1] == 1 and len(dims) > 1:
        value = value[..., 0]
    _check_sizes(value, x, name, sizes, shape)
    if raw:
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        value = narrowed(value)
    value = jnp.asarray(value, jax.dtypes.canonicalize_dtype(x.dtype))  # int32 for int64
    if mask is not None:
        set_mask(value, mask)
    return value


def _check_sizes(
    value: Any, x: Any, name: str, sizes: dict[str, tuple[Any, str]], given: tuple[Any, ...]
) -> None:
    """Compare ``value``, which was passed with the shape ``given``, with the input ``x``."""
    dims, shape = x.spec.dims_raw, tuple(value.shape)
    # Even with a fixed batch size, the trailing batch may be smaller: axis 0 is not compared.
    wrong = len(shape) != len(dims) or any(
        isinstance(d, int) and not is_anonymous(s) and d != s
        for d, s in zip(dims[1:], shape[1:], strict=False)
    )
    if wrong:
        hint = ""
        rest = dims[1:]
        if not isinstance(x.node.operation, InputLayer):
            hint = f"{name!r} is the output of a layer here, not an `Input`. Was `inputs` reused?"
        elif _fit(given, rest):
            hint = "Is the batch axis missing? One sample is a batch of one: `x[None]`."
            if len(given) == 2:
                hint += (
                    "\nOr does the shape of `Input` include the batch size? It must not: "
                    f"`Input(shape={given[1:]})`."
                )
        elif len(given) == len(dims) - 1 and _fit(given, dims[:-1]):
            hint = "Is the last axis missing? `x[..., None]` adds it."
        elif len(shape) == len(dims) and sorted(map(str, shape[1:])) == sorted(map(str, dims[1:])):
            hint = "Are the axes in another order (channels first or last)?"
        raise ShapeError(
            f"The data for input {name!r} does not match its shape.",
            expected=show_dims(dims),
            received=given,
            cure=hint,
        )
    for d, s in zip(dims, shape, strict=True):
        if not isinstance(d, int) and not is_anonymous(d) and not is_anonymous(s):
            symbol = show_dim(d)
            size, where = sizes.setdefault(symbol, (s, name))
            low, high = getattr(x.node.operation, "bounds", {}).get(symbol, (s, s))
            if isinstance(s, int) and not low <= s <= high:
                raise ShapeError(
                    f"The dimension {symbol!r} of input {name!r} must be from {low} to {high}. "
                    f"Received data of shape {given}, in which it is {s}."
                )
            if size != s and symbol != "batch":
                raise ShapeError(
                    f"The dimension {symbol!r} has two sizes: {show_dim(size)} in input {where!r}, "
                    f"{show_dim(s)} in input {name!r}. Dimensions of one name must be equal."
                )


def _fit(shape: tuple[Any, ...], dims: tuple[Any, ...]) -> bool:
    return len(shape) == len(dims) and all(
        not isinstance(d, int) or d == s for d, s in zip(dims, shape, strict=True)
    )


def _checked(structure: Any, what: str) -> Any:
    if (
        not nested.is_nested(structure)
        and not is_symbolic(structure)
        and isinstance(structure, Iterable)
    ):
        structure = list(structure)  # views such as dict.values()
    for path, x in nested.flatten_with_path(structure):
        if is_symbolic(x):
            continue
        where = f"`{what}`" + "".join(f"[{p!r}]" for p in path) + " of the model"
        if isinstance(x, Operation):
            raise not_called(x, where)
        raise GraphError(
            f"{where} is not a symbolic tensor. Expected what `Input` or a layer call returned. "
            f"Received: {x!r} (of type {type(x).__name__})."
        )
    return structure


def _names(structure: Any) -> list[str]:
    """A unique name for each leaf, with the name of its layer for a position in a list."""
    return naming.numbered(leaf_names(structure, lambda x: x.name))


def _by_depth(graph: Graph) -> list[Operation]:
    """The operations by decreasing distance from the outputs, as in Keras.

    Operations at the same distance are in the order of a depth-first traversal from the outputs.
    """
    depth = depths(graph.nodes)
    fed = set(graph.inputs)
    inside = set(graph.nodes)
    met: dict[Operation, int] = {}
    deepest: dict[Operation, int] = {}
    for node in _walk(_by_keras_rules(graph.output_structure), fed):
        if node not in inside and not isinstance(node.operation, InputLayer):
            continue  # the operation of an input that is an intermediate tensor of another graph
        here = depth.get(node)
        if here is None:  # an input: one farther than the farthest operation that uses it
            reads = (n for n in graph.nodes if any(p in fed and p.node is node for p in n.inputs))
            here = 1 + max((depth[n] for n in reads), default=-1)
        met.setdefault(node.operation, len(met))
        deepest[node.operation] = max(deepest.get(node.operation, 0), here)
    for x in graph.inputs:  # those that no output depends on
        if isinstance(x.node.operation, InputLayer) and x.node.operation not in met:
            met[x.node.operation], deepest[x.node.operation] = -1, 0
    return sorted(met, key=lambda op: (-deepest[op], met[op]))


def _walk(outputs: list[Any], inputs: set[Any]) -> Iterator[Node]:
    """Each node between the outputs and the inputs, before the nodes that it depends on."""
    met: set[Node] = set()
    stack = list(reversed(outputs))
    while stack:
        x = stack.pop()
        if x.node in met:
            continue
        met.add(x.node)
        yield x.node
        if x not in inputs:
            stack.extend(reversed(_by_keras_rules((x.node.args, x.node.kwargs))))


def _by_keras_rules(structure: Any) -> list[Any]:
    """The symbolic tensors of a nesting in the order in which Keras flattens it: keys sorted."""
    leaves = [y for x in tree.flatten(structure) for y in nested.flatten(x)]
    return [x for x in leaves if is_symbolic(x)]
