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
from lamina.core.graph import is_symbolic
from lamina.core.operation import Op
from lamina.core.symbolic import OPERATIONS
from lamina.errors import SerializationError, unknown_name
from lamina.serialization import registry
from lamina.serialization.functions import plain, restored
from lamina.tree import nested

_PACKAGE = "keras.src.ops"


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
        value = plain(name, bound.get(name))
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
        given = {k: restored(v) for k, v in given.items()}
        waiting = [restored(v) for v in args]
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
