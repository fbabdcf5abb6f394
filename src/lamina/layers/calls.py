"""Checks of the inputs of layer calls, and the error messages that describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lamina.core import spec
from lamina.core.boundary import raised_by_user
from lamina.core.graph import is_symbolic
from lamina.core.operation import Operation, not_called, user_location
from lamina.core.scope import Scope
from lamina.core.spec import show_dims
from lamina.core.variable import Variable
from lamina.errors import GraphError, LaminaError, ShapeError, StructureError, SymbolicTensorError
from lamina.layers.arguments import InputSpec, call_signature, dims_of, path_to
from lamina.layers.state import LayerState
from lamina.tree import nested

# Errors of JAX where code needs the values of an abstract tensor.
_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError, jax.errors.InconclusiveDimensionOperation,
)  # fmt: skip


def check_inputs(layer: LayerState, arguments: Mapping[str, Any]) -> None:
    """Compare the first argument of a call with what the layer accepts.

    Raises:
        StructureError: An input is not a tensor, or the number of tensors is wrong.
        ShapeError: A tensor does not match `input_spec`.
    """
    first = call_signature(type(layer)).first
    inputs = arguments.get(first or "")
    for x in nested.flatten(inputs):
        if isinstance(x, Operation):
            raise not_called(x, f"Layer {layer.name!r}")
        if x is None or is_symbolic(x) or spec.is_array(x) or isinstance(x, Variable):
            continue
        if isinstance(x, (str, bytes)):
            continue  # layers that accept text check it themselves
        if isinstance(x, type):
            raise GraphError(
                f"Layer {layer.name!r} received the class {x.__name__} itself, not a tensor. "
                f"Create a layer and call it: `{x.__name__}(...)(x)`.",
                layer=layer.name,
            )
        if not np.isscalar(x):
            raise StructureError(
                f"Layer {layer.name!r} expects tensors or arrays. Received {x!r} "
                f"(of type {type(x).__name__}).",
                layer=layer.name,
            )
    if layer.input_spec is None:
        return
    specs: list[InputSpec] = nested.flatten(layer.input_spec)
    if isinstance(inputs, Mapping) and all(want.name in inputs for want in specs):
        leaves = [inputs[want.name] for want in specs]
    else:
        leaves = nested.flatten(inputs)
    if len(specs) != len(leaves):
        count = "one tensor" if len(specs) == 1 else f"{len(specs)} tensors"
        raise StructureError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes {count}. Received {len(leaves)}.",
            layer=layer.name,
        )
    for i, (want, x) in enumerate(zip(specs, leaves, strict=True)):
        if x is None:
            if want.optional:
                continue
            raise StructureError(
                f"Layer {layer.name!r} ({type(layer).__name__}) received None for input {i}, "
                "which is not optional. `InputSpec(optional=True)` makes it so.",
                layer=layer.name,
            )
        wrong = want.mismatch(x)
        if wrong is not None:
            raise ShapeError(
                f"Layer {layer.name!r} ({type(layer).__name__}) cannot take this input.",
                layer=layer.name,
                expected=wrong,
                received=f"{show_dims(dims_of(x))} {x.dtype}",
                cure=want.cure(x),
            )


_WRITE_OPS = (
    "In `call`, use ops instead of Python's `if`, `for`, `int()`, `float()` and NumPy: "
    "`lamina.ops.where(condition, a, b)`, ...; or give the `Input` a fixed shape."
)


def add_notes(e: Exception, layer: LayerState, outer: Scope | None, is_graph: bool) -> None:
    """Add to an error in a call on arrays where it occurred, and what to write instead."""
    if isinstance(e, _NEEDS_VALUES) and _WRITE_OPS not in vars(e).get("__notes__", ()):
        e.add_note(_WRITE_OPS)
    called = is_graph and not (outer and outer.path)
    if (
        not (isinstance(e, LaminaError) and e.layer == layer.name)
        and not called  # the user's own model, whose call the traceback shows
        and (outer is None or not outer.abstract)
    ):
        e.add_note(f"In layer {layer.name!r} ({type(layer).__name__}).")


def explained(e: Exception, layer: LayerState, arguments: Mapping[str, Any]) -> Exception:
    """The error with details: the layer, what it received, the path from the inputs, the line."""
    tensors = [x for x in nested.flatten(tuple(arguments.values())) if is_symbolic(x)]
    who = f"Layer {layer.name!r} ({type(layer).__name__})"
    details: dict[str, Any] = {
        "received": ", ".join(f"{show_dims(x.spec.dims_raw)} {x.dtype}" for x in tensors),
        "path": [f"{path_to(x)} -> {layer.name}" for x in list(dict.fromkeys(tensors))[:4]],
        "location": user_location(),
        "layer": layer.name,
    }
    if isinstance(e, LaminaError):
        return e.with_details(**details)
    if isinstance(e, _NEEDS_VALUES):
        return SymbolicTensorError(
            f"{who} needs the values of a tensor, or an unknown dimension, while only "
            f"shapes are known: {type(e).__name__}: {str(e).splitlines()[0]}",
            cure=_WRITE_OPS,
            **details,
        )
    if isinstance(e, (TypeError, ValueError, AssertionError)) and not raised_by_user(e):
        return ShapeError(f"{who} cannot take this input: {type(e).__name__}: {e}", **details)
    e.add_note(str(LaminaError(f"In {who}:", **details)))  # the user's own error, unchanged
    return e


__all__ = ["add_notes", "check_inputs", "explained"]


def observed(layer: LayerState, arguments: Mapping[str, Any], outputs: Any, hook: Any) -> Any:
    """The outputs of a call, in the sharding that the layer has for them, and after a hook."""
    sharding = layer.output_sharding
    if sharding is not None:
        outputs = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), outputs)
    return outputs if hook is None else hook(layer, arguments, outputs)
