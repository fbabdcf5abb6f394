"""Checks of the builds and calls of layers, and the error messages that describe them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lamina.core import spec
from lamina.core.boundary import USE_OPS, needs_values, raised_by_user
from lamina.core.graph import is_symbolic
from lamina.core.operation import Operation, not_called, user_location
from lamina.core.scope import Scope, current, entered
from lamina.core.spec import TensorSpec, show_dims
from lamina.core.symbolic import HostText, is_text
from lamina.core.variable import Variable
from lamina.errors import (
    DTypeError,
    GraphError,
    LaminaError,
    ShapeError,
    StructureError,
    SymbolicTensorError,
)
from lamina.layers.arguments import InputSpec, call_signature, dims_of, map_shapes, path_to
from lamina.layers.state import LayerState, flatten_layers
from lamina.serialization.registry import registration_of
from lamina.tree import nested


def tracked_build(build: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's ``build``, so that the layer is marked as built afterwards.

    A layer that has weights is built once. Further calls for the same shapes, except the number of
    examples, have no effect: a layer may build one that it received as an argument.

    Raises:
        ShapeError: Such a layer is built again, for other shapes.
    """

    @functools.wraps(build)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        scope = current()
        if scope is not None and scope.building is self:  # `super().build(...)` in a `build`
            build(self, *args, **kwargs)
            return
        names = call_signature(type(self)).build_names
        shapes = {**dict(zip(names, args, strict=False)), **kwargs}
        if self.built and self._build_shapes is not None and self._own_variables():
            _check_built_for(self, shapes)
            return
        with entered(dataclasses.replace(self._scope(), building=self)):
            build(self, *args, **kwargs)
        if self._build_shapes is None:
            object.__setattr__(self, "_build_shapes", shapes)
        self.built = True

    return wrapper


def _check_built_for(layer: LayerState, shapes: Mapping[str, Any]) -> None:
    before, now = (
        [(None, *s[1:]) for v in x.values() for s in _single_shapes(v)]
        for x in (layer._build_shapes or {}, shapes)
    )
    if len(before) != len(now) or not all(map(spec.agree, now, before)):
        raise ShapeError(
            f"Layer {layer.name!r} ({type(layer).__name__}) already has weights for other shapes.",
            layer=layer.name,
            expected=_shown(layer._build_shapes or {}),
            received=_shown(shapes),
            cure="Create another layer for the other shapes.",
        )


def _shown(shapes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _kind_of_text(x: Any) -> str:
    of_objects = isinstance(x, np.ndarray) and x.dtype.kind == "O"
    if of_objects and x.size and not isinstance(x.flat[0], (str, bytes)):
        return f"an array of objects ({type(x.flat[0]).__name__})"
    return "text"


def check_inputs(layer: LayerState, arguments: Mapping[str, Any]) -> None:
    """Compare the first argument of a call with what the layer accepts.

    Raises:
        StructureError: An input is not a tensor, or the number of tensors is wrong.
        ShapeError: A tensor does not match `input_spec`.
    """
    first = call_signature(type(layer)).first
    inputs = arguments.get(first or "")
    for x in nested.flatten(inputs):
        text = is_text(x) or isinstance(x, (str, bytes))
        if text and registration_of(type(layer)) and len(flatten_layers(layer)) == 1:
            raise DTypeError(
                f"Layer {layer.name!r} ({type(layer).__name__}) takes numbers.",
                layer=layer.name,
                received=f"{_kind_of_text(x)} of shape {np.shape(x)}",
                cure="Turn text into numbers first: with TextVectorization, StringLookup or "
                "Hashing, or `x.astype('float32')` if it consists of numbers.",
            )
        if isinstance(x, Operation):
            raise not_called(x, f"Layer {layer.name!r}")
        if x is None or is_symbolic(x) or spec.is_array(x) or isinstance(x, Variable):
            continue
        if isinstance(x, (str, bytes, HostText)):
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
                "which is not optional.",
                expected="a tensor or an array",
                cure="Is a `return` missing in what computes it? In the `input_spec` of your own "
                "layer, `InputSpec(optional=True)` allows None.",
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


def add_notes(e: Exception, layer: LayerState, outer: Scope | None, is_graph: bool) -> None:
    """Add to an error in a call on arrays where it occurred."""
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
    if needs_values(e):
        return SymbolicTensorError(
            f"{who} needs the values of a tensor, or an unknown dimension, while only "
            f"shapes are known: {type(e).__name__}: {str(e).splitlines()[0]}",
            cure=f"In `call`, {USE_OPS}; or give the `Input` a fixed shape.",
            **details,
        )
    if isinstance(e, (TypeError, ValueError, IndexError, AssertionError)) and not raised_by_user(e):
        return ShapeError(f"{who} cannot take this input: {type(e).__name__}: {e}", **details)
    e.add_note(str(LaminaError(f"In {who}:", **details)))  # the user's own error, unchanged
    return e


def observed(layer: LayerState, arguments: Mapping[str, Any], outputs: Any, hook: Any) -> Any:
    """The outputs of a call, in the sharding that the layer has for them, and after a hook."""
    sharding = layer.output_sharding
    if sharding is not None:
        outputs = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), outputs)
    return outputs if hook is None else hook(layer, arguments, outputs)


def evaluated(
    layer: Any, arguments: Mapping[str, Any], key: Any, run: Callable[..., Any],
    specs: list[TensorSpec], masks: list[TensorSpec],
) -> Any:  # fmt: skip
    """The specs of what a call returns; unknown channels are those that the layer was built for.

    Args:
        layer: The layer.
        arguments: Those of the call, with symbolic tensors.
        key: See :func:`lamina.core.spec.evaluate_cached`.
        run: The call, a function of arrays for the symbolic tensors and their masks.
        specs: The specs of the symbolic tensors.
        masks: The specs of their masks.
    """
    try:
        return spec.evaluate_cached(key, run, [*specs, *masks])
    except Exception:
        known = _with_channels(layer, arguments, specs)
        if known == specs:
            raise
        with contextlib.suppress(Exception):
            return spec.evaluate_cached(key, run, [*known, *masks])
        raise


def _with_channels(
    layer: Any, arguments: Mapping[str, Any], specs: list[TensorSpec]
) -> list[TensorSpec]:
    """The specs, with the channels of the shapes that ``build`` received where they are unknown."""
    axis = 1 if vars(layer).get("data_format") == "channels_first" else -1
    first = call_signature(type(layer)).first or ""
    channels: dict[Any, Any] = {}
    config = layer.get_build_config() or {}
    for name, shape in config.get("shapes_dict", config).items():
        if not name.endswith("_shape"):
            continue
        argument = name.removesuffix("_shape")
        tensors = nested.flatten(arguments.get(argument if argument in arguments else first))
        shapes = [s for s in _single_shapes(shape) if len(s) > abs(axis)]
        if len(shapes) == len(tensors):
            channels |= {x: s[axis] for x, s in zip(tensors, shapes, strict=True) if is_symbolic(x)}
    symbolic = [x for x in nested.flatten(tuple(arguments.values())) if is_symbolic(x)]
    return [_with_size(s, axis, channels.get(x)) for x, s in zip(symbolic, specs, strict=True)]


def _single_shapes(shapes: Any) -> list[Any]:
    found: list[Any] = []
    map_shapes(found.append, shapes)
    return found


def _with_size(x: TensorSpec, axis: int, size: Any) -> TensorSpec:
    dims = list(x.dims_raw)
    if not isinstance(size, int) or len(dims) <= abs(axis) or not spec.is_anonymous(dims[axis]):
        return x
    dims[axis] = size
    return TensorSpec(dims, x.dtype)


__all__ = ["add_notes", "check_inputs", "evaluated", "explained", "observed"]
