"""Ops in a graph, as Keras's files describe them: a class, what its constructor takes, its calls.

An op is a function here and a class there. What the class takes when it is made goes into the
``config`` of the op's record; tensors, and numbers in the place of tensors, into its call.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina.core.operation import Op
from lamina.core.symbolic import OPERATIONS
from lamina.dtype_policies.dtypes import standardize_dtype
from lamina.errors import SerializationError, unknown_name
from lamina.serialization import registry
from lamina.tree import nested

_PACKAGE = "keras.src.ops"
# Ops whose classes are elsewhere than in Keras's file "numpy".
_ROOMS = {
    "nn": """binary_crossentropy categorical_crossentropy celu elu gelu glu hard_shrink hard_sigmoid
        hard_silu hard_tanh leaky_relu log_sigmoid log_softmax moments multi_hot normalize one_hot
        relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign
        sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink
        threshold batch_normalization layer_normalization rms_normalization""",
    "math": "erf erfinv in_top_k logsumexp rsqrt top_k",
    "core": "cast stop_gradient",
}
# Classes that are not called like the function, in capitals.
_CLASSES = {
    "batch_normalization": "BatchNorm", "layer_normalization": "LayerNorm",
    "rms_normalization": "RMSNorm", "searchsorted": "SearchSorted",
}  # fmt: skip
# What Keras's classes take when they are made: by these names, or as "ours=theirs".
_CONSTRUCTORS = {
    "axis keepdims": """all any argmax argmin logsumexp mean median nanmax nanmean nanmin nanstd
        nansum nanvar ptp std sum var""",
    "axis": """append argsort average concatenate count_nonzero expand_dims flip glu log_softmax
        softmax sort sparsemax squeeze stack take take_along_axis""",
    "axis keepdims initial": "max min",
    "axis keepdims dtype": "prod",
    "axis method keepdims": "percentile quantile",
    "axis dtype": "cumprod cumsum",
    "axis epsilon": "batch_normalization rms_normalization",
    "axis epsilon rms_scaling": "layer_normalization",
    "axis order epsilon": "normalize",
    "axes keepdims": "moments",
    "axes": "tensordot transpose",
    "axis1 axis2": "swapaxes",
    "offset axis1 axis2": "diagonal trace",
    "axisa axisb axisc axis": "cross",
    "source destination": "moveaxis",
    "kth axis": "argpartition",
    "k": "diag diagflat in_top_k tril triu",
    "k axes": "rot90",
    "k sorted": "top_k",
    "n axis": "diff",
    "shift axis": "roll",
    "repeats axis": "repeat",
    "reps=repeats": "tile",
    "shape=newshape": "reshape",
    "shape": "broadcast_to unravel_index",
    "indices_or_sections axis": "array_split split",
    "pad_width mode": "pad",
    "indexing": "meshgrid",
    "subscripts": "einsum",
    "mode": "correlate",
    "side": "searchsorted",
    "dtype": "cast full_like ones_like zeros_like",
    "num_classes axis dtype": "multi_hot one_hot",
    "decimals": "round",
    "min=x_min max=x_max": "clip",
    "nan posinf neginf": "nan_to_num",
    "equal_nan": "isclose",
    "bins range": "histogram",
    "weights minlength": "bincount",
    "from_logits": "binary_crossentropy",
    "from_logits axis": "categorical_crossentropy sparse_categorical_crossentropy",
    "alpha": "celu elu",
    "approximate": "gelu",
    "negative_slope": "leaky_relu",
    "threshold": "hard_shrink soft_shrink",
    "threshold default_value": "threshold",
    "b": "squareplus",
}


def _constructors() -> dict[str, dict[str, str]]:
    table = {}
    for names, ops in _CONSTRUCTORS.items():
        pairs = (name.partition("=") for name in names.split())
        arguments = {ours: theirs or ours for ours, _, theirs in pairs}
        table |= dict.fromkeys(ops.split(), arguments)
    return table


_STATIC = _constructors()
_ROOM = {op: room for room, ops in _ROOMS.items() for op in ops.split()}


@functools.cache
def _signature(op_name: str) -> inspect.Signature:
    return inspect.signature(OPERATIONS[op_name])


def class_name(op_name: str) -> str:
    """Keras's name of the op's class.

    >>> class_name("expand_dims")
    'ExpandDims'
    """
    words = "".join(part[:1].upper() + part[1:] for part in op_name.split("_"))
    return _CLASSES.get(op_name, words)


def module_name(op_name: str) -> str:
    """Keras's module of the op's class."""
    return f"{_PACKAGE}.{_ROOM.get(op_name, 'numpy')}"


def constructor_names(op_name: str) -> dict[str, str]:
    """Arguments of the op that go to the constructor of Keras's class, with their names there."""
    return _STATIC.get(op_name, {})


def describe(op: Op, args: Any, kwargs: Any) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """The record of an op without its call, and the arguments that belong to the call.

    Args:
        op: the op.
        args: what it was called with.
        kwargs: likewise.
    """
    signature = _signature(op.op_name)
    bound = signature.bind(*args, **kwargs).arguments
    static = constructor_names(op.op_name)
    config: dict[str, Any] = {"name": op.name}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    is_gapless = True
    for name, parameter in signature.parameters.items():
        if name in static:
            if name in bound:
                value = bound[name]
                is_dtype = name == "dtype" and value is not None
                config[static[name]] = standardize_dtype(value) if is_dtype else value
        elif name not in bound:
            is_gapless = False
        elif parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(bound[name])
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords |= bound[name]
        elif is_gapless and parameter.kind is not parameter.KEYWORD_ONLY:
            positional.append(bound[name])
        else:
            keywords[name] = bound[name]
    record = {
        "module": module_name(op.op_name),
        "class_name": class_name(op.op_name),
        "config": registry.serialize(config),
        "registered_name": None,
    }
    return record, positional, keywords


class Described(NamedTuple):
    """An op read from a file: its name here, and the arguments from its record's config."""

    op_name: str
    static: dict[str, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the op with what the record and the call hold."""
        signature = _signature(self.op_name)
        static = constructor_names(self.op_name)
        waiting = [_tupled(v) for v in args]
        given = {**self.static, **{k: v for k, v in kwargs.items() if v is not None}}
        given = {k: _tupled(v) for k, v in given.items()}
        arguments: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                arguments[name], waiting = tuple(waiting), []
            elif parameter.kind is parameter.VAR_KEYWORD:
                arguments[name], given = given, {}
            elif name in given:
                arguments[name] = given.pop(name)
            elif waiting and name not in static and parameter.kind is not parameter.KEYWORD_ONLY:
                arguments[name] = waiting.pop(0)
        if waiting or given:
            raise SerializationError(
                f"lamina.ops.{self.op_name}{signature} does not take {waiting or given}."
            )
        bound = inspect.BoundArguments(signature, OrderedDict(arguments))
        return OPERATIONS[self.op_name](*bound.args, **bound.kwargs)


def read(record: Mapping[str, Any]) -> Described | None:
    """The op that a record describes, or None when it describes something else.

    Raises:
        SerializationError: an op that Lamina does not have, or an argument that it does not take.
    """
    if not str(record.get("module", "")).startswith(_PACKAGE):
        return None
    names = {class_name(n): n for n in OPERATIONS}
    op_name = names.get(str(record.get("class_name")))
    if op_name is None:
        raise SerializationError(str(unknown_name("op", record.get("class_name"), names)))
    ours = {theirs: name for name, theirs in constructor_names(op_name).items()}
    static = {}
    for key, value in record["config"].items():
        name = ours.get(key, key)
        if name in _signature(op_name).parameters:
            static[name] = registry.deserialize(value)
        elif key != "name" and value not in (None, False):
            raise SerializationError(f"lamina.ops.{op_name} does not take {key}={value!r}.")
    return Described(op_name, static)


def _tupled(x: Any) -> Any:
    """Lists without tensors as tuples: axes, shapes and indices, which JSON turned into lists."""
    if isinstance(x, Mapping):
        return {k: _tupled(v) for k, v in x.items()}
    if isinstance(x, list):
        values = [_tupled(v) for v in x]
        return values if any(hasattr(v, "shape") for v in nested.flatten(values)) else tuple(values)
    return x
