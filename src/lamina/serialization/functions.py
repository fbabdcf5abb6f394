"""Functions as JSON data: the ops that they consist of, with ``{"slot": i}`` for tensor ``i``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from lamina.core.declaration import DECLARATIONS
from lamina.core.graph import Slot, is_symbolic
from lamina.core.spec import is_array
from lamina.core.subgraph import Body, Subgraph, SubgraphStep, trace
from lamina.core.symbolic import OPERATIONS
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import GraphError, SerializationError, SymbolicTensorError, unknown_name
from lamina.serialization import registry
from lamina.tree import nested


def plain(name: str, value: Any) -> Any:
    """An argument of an op in its form in files: functions as data, dtypes by name."""
    if name == "dtype" and value is not None:
        return standardize_dtype(value)
    if isinstance(value, Body):
        return {"captures": list(value.captures), "function": _function_config(value.graph)}
    if isinstance(value, (list, tuple)) and any(isinstance(v, Body) for v in value):
        return [plain("", v) for v in value]
    return value


def restored(x: Any) -> Any:
    """The argument that :func:`plain` wrote; lists without tensors become tuples."""
    if isinstance(x, Mapping):
        if x.keys() == {"slot"} and isinstance(x["slot"], int):
            return Slot(x["slot"])
        if x.keys() == {"captures", "function"}:
            return Body(tuple(map(restored, x["captures"])), _function(x["function"]))
        return {k: restored(v) for k, v in x.items()}
    if isinstance(x, list):
        values = [restored(v) for v in x]
        return values if any(map(_is_tensor, nested.flatten(values))) else tuple(values)
    return x


def _is_tensor(x: Any) -> bool:
    return is_symbolic(x) or is_array(x) or isinstance(x, Slot)


def _function_config(graph: Subgraph) -> dict[str, Any]:
    steps = []
    for step in graph.steps:
        bound = DECLARATIONS[step.op_name].signature.bind(*step.args, **step.kwargs)
        arguments = {k: plain(k, v) for k, v in bound.arguments.items()}
        bound.arguments.update(arguments)
        steps.append({
            "op": step.op_name, "args": _slots_written(list(bound.args)),
            "kwargs": _slots_written(bound.kwargs), "outputs": list(step.outputs),
        })  # fmt: skip
    return {"steps": steps, "result": _slots_written(graph.result)}


def _slots_written(x: Any) -> Any:
    if isinstance(x, Slot):
        return {"slot": x.index}
    if isinstance(x, Mapping):
        return {k: _slots_written(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_slots_written(v) for v in x]
    return registry.serialize(x)


def _function(config: Mapping[str, Any]) -> Subgraph:
    steps = []
    for step in config["steps"]:
        if step["op"] not in OPERATIONS:
            raise SerializationError(str(unknown_name("op", step["op"], OPERATIONS)))
        args, kwargs = (restored(registry.deserialize(step[k])) for k in ("args", "kwargs"))
        steps.append(SubgraphStep(step["op"], tuple(args), dict(kwargs), tuple(step["outputs"])))
    return Subgraph(tuple(steps), restored(config["result"]))


@registry.builtin(file_module="lamina.ops")
class FunctionOfOps:
    """A function that consists of ops, as data: it can be saved without its code.

    Args:
        config: The steps and the result, as in files.

    >>> from lamina import Input, ops
    >>> f = FunctionOfOps.traced(lambda x: ops.square(x) + 1.0, (Input((2,)),))
    >>> f(ops.ones((1, 2))).tolist()
    [[2.0, 2.0]]
    """

    def __init__(self, **config: Any) -> None:
        self._config = config
        self._graph = _function(config)

    @classmethod
    def traced(cls, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Self | None:
        """The ops of a function of the user; None if it does more than call ops.

        Args:
            function: Function of tensors.
            inputs: Symbolic tensors, in the structure of its arguments.
        """
        configs = []
        for _ in range(2):
            try:
                body, _ = trace(function, inputs, "a Lambda layer")
            except (GraphError, SymbolicTensorError):
                return None
            configs.append(_function_config(body.graph))
            if body.captures:
                return None
        # Constants that differ are random draws, which would be the same in each call from now on.
        return cls(**configs[0]) if configs[0] == configs[1] else None

    def __call__(self, *args: Any) -> Any:
        """Evaluate the function."""
        return self._graph.run(nested.flatten(args))

    def get_config(self) -> dict[str, Any]:
        """The steps and the result."""
        return self._config
