"""Ops of a graph in Keras's file format: a class, its constructor's arguments, and its calls.

An op is a function in Lamina and a class in Keras. The arguments of the class's constructor are
saved in the ``config`` of the op's record; tensors, and numbers in place of tensors, are saved in
its call. The op's declaration says which is which. Functions as arguments (the bodies of loops and
conditions) have no representation in Keras's files; they are saved as the ops that they consist of.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina.core.declaration import DECLARATIONS, OpDeclaration
from lamina.core.graph import Slot, is_symbolic
from lamina.core.operation import Op
from lamina.core.spec import is_array
from lamina.core.subgraph import Body, Subgraph, SubgraphStep
from lamina.core.symbolic import OPERATIONS
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import SerializationError, unknown_name
from lamina.serialization import registry
from lamina.tree import nested

_PACKAGE = "keras.src.ops"


def _plain(name: str, value: Any) -> Any:
    """An argument in its form in files: functions as data, dtypes by name."""
    if name == "dtype" and value is not None:
        return standardize_dtype(value)
    if isinstance(value, Body):
        return {"captures": list(value.captures), "function": _function_config(value.graph)}
    if isinstance(value, (list, tuple)) and any(isinstance(v, Body) for v in value):
        return [_plain("", v) for v in value]
    return value


def describe(op: Op, args: Any, kwargs: Any) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Split an op's call into the record of the op and the arguments of the call.

    Args:
        op: The op.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
    """
    declared = DECLARATIONS[op.op_name]
    bound = declared.signature.bind(*args, **kwargs).arguments
    config: dict[str, Any] = {"name": op.name}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    is_gapless = True
    for name, parameter in declared.signature.parameters.items():
        value = _plain(name, bound.get(name))
        if name in declared.constructor and not any(map(is_symbolic, nested.flatten(value))):
            if name in bound:
                config[name] = value
        elif name not in bound:
            is_gapless = False
        elif parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords |= value
        elif (
            is_gapless
            and name not in declared.constructor
            and parameter.kind is not parameter.KEYWORD_ONLY
        ):
            positional.append(value)
        else:
            keywords[name] = value
    record = {
        "module": f"{_PACKAGE}.{declared.module_name}",
        "class_name": declared.class_name,
        "config": registry.serialize(config),
        "registered_name": None,
    }
    return record, positional, keywords


class Described(NamedTuple):
    """An op from a file: its declaration, and the arguments in the config of its record."""

    declared: OpDeclaration
    static: dict[str, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the op with the arguments of the record and of the call."""
        declared = self.declared
        given = {**self.static, **{k: v for k, v in kwargs.items() if v is not None}}
        given = {k: _restored(v) for k, v in given.items()}
        waiting = [_restored(v) for v in args]
        bound = inspect.BoundArguments(declared.signature, {})  # pyright: ignore[reportArgumentType]
        for name, parameter in declared.signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                bound.arguments[name], waiting = tuple(waiting), []
            elif parameter.kind is parameter.VAR_KEYWORD:
                bound.arguments[name], given = given, {}
            elif name in given:
                bound.arguments[name] = given.pop(name)
            elif (
                waiting
                and name not in declared.constructor
                and parameter.kind is not parameter.KEYWORD_ONLY
            ):
                bound.arguments[name] = waiting.pop(0)
        if waiting or given:
            raise SerializationError(
                f"lamina.ops.{declared.name}{declared.signature} does not take {waiting or given}."
            )
        return OPERATIONS[declared.name](*bound.args, **bound.kwargs)


def read(record: Mapping[str, Any]) -> Described | None:
    """The op that a record describes, or None if it describes something else.

    Raises:
        SerializationError: An unknown op, or an argument that the op does not have.
    """
    if not str(record.get("module", "")).startswith(_PACKAGE):
        return None
    known = {d.class_name: d for d in DECLARATIONS.values()}
    declared = known.get(str(record.get("class_name")))
    if declared is None:
        raise SerializationError(str(unknown_name("op", record.get("class_name"), known)))
    static = {}
    for key, value in record["config"].items():
        if key in declared.signature.parameters:
            static[key] = registry.deserialize(value)
        elif key != "name" and value not in (None, False):
            raise SerializationError(f"lamina.ops.{declared.name} does not take {key}={value!r}.")
    return Described(declared, static)


# ---- functions as data ---------------------------------------------------------------------------


def _function_config(graph: Subgraph) -> dict[str, Any]:
    """The ops of a function as JSON data; ``{"slot": i}`` stands for a tensor."""
    steps = []
    for step in graph.steps:
        bound = DECLARATIONS[step.op_name].signature.bind(*step.args, **step.kwargs)
        arguments = {k: _plain(k, v) for k, v in bound.arguments.items()}
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
        args, kwargs = (_restored(registry.deserialize(step[k])) for k in ("args", "kwargs"))
        steps.append(SubgraphStep(step["op"], tuple(args), dict(kwargs), tuple(step["outputs"])))
    return Subgraph(tuple(steps), _restored(config["result"]))


def _restored(x: Any) -> Any:
    """Convert lists without tensors back to tuples (axes, shapes and indices)."""
    if isinstance(x, Mapping):
        if x.keys() == {"slot"} and isinstance(x["slot"], int):
            return Slot(x["slot"])
        if x.keys() == {"captures", "function"}:
            return Body(tuple(map(_restored, x["captures"])), _function(x["function"]))
        return {k: _restored(v) for k, v in x.items()}
    if isinstance(x, list):
        values = [_restored(v) for v in x]
        return values if any(map(_is_tensor, nested.flatten(values))) else tuple(values)
    return x


def _is_tensor(x: Any) -> bool:
    return is_symbolic(x) or is_array(x) or isinstance(x, Slot)
