"""Ops of a graph in Keras's file format: a class, its constructor's arguments, and its calls.

An op is a function in Lamina and a class in Keras. The arguments of the class's constructor are
saved in the ``config`` of the op's record; tensors, and numbers in place of tensors, are saved in
its call. The op's declaration says which is which. Functions as arguments (the bodies of loops and
conditions) have no representation in Keras's files; they are saved as the ops that they consist of.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lamina import activations, ops
from lamina.core.declaration import DECLARATIONS, OpDeclaration
from lamina.core.graph import is_symbolic
from lamina.core.operation import Op
from lamina.core.symbolic import OPERATIONS
from lamina.errors import SerializationError, unknown_name
from lamina.serialization import registry
from lamina.serialization.functions import plain, restored
from lamina.tree import nested

_PACKAGE = "keras.src.ops"
# Ops that Keras writes as classes, and Lamina composes of others.
_COMPOSED: dict[str, Callable[..., Any]] = {
    "keras.src.activations.activations.ReLU": activations.relu,
    "keras.src.activations.activations.Mish": activations.mish,
    f"{_PACKAGE}.core.ConvertToTensor": ops.convert_to_tensor,
}
# Classes and parameters as earlier releases of Keras 3 named them, and the releases.
_CLASSES = {
    "CtcLoss": "CTCLoss",  # 3.0 to 3.2
    "ExtractPatches3D": "ExtractPatches3d",  # 3.12, 3.13
}
_PARAMETERS = {
    "Resize": {"image": "images"},  # 3.0 to 3.3, as the following three
    "AffineTransform": {"image": "images"},
    "ExtractPatches": {"image": "images"},
    "MapCoordinates": {"image": "inputs"},
    "RGBToGrayscale": {"image": "images"},  # 3.3
    "Stack": {"xs": "x"},  # 3.0 to 3.10
    "Threshold": {"threshold_value": "threshold", "value": "default_value"},  # 3.8 to 3.10
}


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
    """An op from a file: its declaration, the arguments in its record, and renamed parameters."""

    declared: OpDeclaration
    static: dict[str, Any]
    renamed: Mapping[str, str]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the op with the arguments of the record and of the call."""
        declared = self.declared
        kwargs = {self.renamed.get(k, k): v for k, v in kwargs.items() if v is not None}
        given = {**self.static, **kwargs}
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
        # Releases before 3.4 passed some static arguments in the call.
        for name in (n for n in declared.constructor if n not in bound.arguments):
            if waiting:
                bound.arguments[name] = waiting.pop(0)
        if waiting or given:
            raise SerializationError(
                f"lamina.ops.{declared.name}{declared.signature} does not take {waiting or given}."
            )
        return OPERATIONS[declared.name](*bound.args, **bound.kwargs)


def is_op(record: Mapping[str, Any]) -> bool:
    """Whether a record describes an op that :func:`read` can read."""
    try:
        return read({**record, "config": {}}) is not None
    except SerializationError:
        return False


def read(record: Mapping[str, Any]) -> Callable[..., Any] | None:
    """The op that a record describes, or None if it describes something else.

    Raises:
        SerializationError: An unknown op, or an argument that the op does not have.
    """
    module, name = str(record.get("module", "")), str(record.get("class_name"))
    composed = _COMPOSED.get(f"{module}.{name}")
    if composed is not None:
        parameters = inspect.signature(composed).parameters
        config = registry.deserialize(record["config"])
        return functools.partial(composed, **{k: v for k, v in config.items() if k in parameters})
    if not module.startswith(_PACKAGE):
        return None
    known = {d.class_name: d for d in DECLARATIONS.values()}
    declared = known.get(_CLASSES.get(name, name))
    if declared is None:
        raise SerializationError(str(unknown_name("op", name, known)))
    renamed = _PARAMETERS.get(name, {})
    static = {}
    for key, value in record["config"].items():
        key = renamed.get(key, key)
        if key in declared.signature.parameters:
            static[key] = registry.deserialize(value)
        elif key != "name" and value not in (None, False):
            raise SerializationError(f"lamina.ops.{declared.name} does not take {key}={value!r}.")
    return Described(declared, static, renamed)


def record_of(declared: OpDeclaration) -> dict[str, Any]:
    """The record of an op whose arguments are all in its calls."""
    return {
        "module": f"{_PACKAGE}.{declared.module_name}", "class_name": declared.class_name,
        "config": {}, "registered_name": None,
    }  # fmt: skip


@functools.cache
def _ops_by_class() -> dict[str, OpDeclaration]:
    return {declared.class_name: declared for declared in DECLARATIONS.values()}


def op_of_old(record: Mapping[str, Any]) -> OpDeclaration | None:
    """The op that a record without a module describes: one without the arguments of layers."""
    if not isinstance(record["config"], Mapping) or "trainable" in record["config"]:
        return None
    is_layer = isinstance(registry.find_builtin("layers", str(record["class_name"])), type)
    declared = _ops_by_class().get(str(record["class_name"]))
    return None if is_layer and "dtype" in record["config"] else declared
