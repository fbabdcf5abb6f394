"""How a model lies on devices, in words, for its summary, its plot and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from lamina.core.sharding import bytes_per_device
from lamina.core.variable import Variable
from lamina.layers import Layer
from lamina.runtime import cost

_MOST = 8  # weights of a layer that are named one by one


@runtime_checkable
class _Model(Protocol):
    optimizer: Any

    @property
    def compiled(self) -> bool: ...

    @property
    def distributed_by(self) -> Any: ...

    def program_for(self, purpose: Any) -> Any: ...

    def analyze_step(self, batch: Any = None) -> Any: ...


def mesh_of(model: Layer) -> dict[str, int]:
    """The size of each axis of the mesh over which a model is distributed; empty if it is not."""
    by = model.distributed_by if isinstance(model, _Model) else None
    return {} if by is None else dict(by.mesh.shape)


def axes_of(variable: Variable) -> str:
    """The axis of the mesh that splits each dimension of a variable; empty if none does."""
    spec = () if variable.layout is None else tuple(variable.layout.stored.spec)
    return str((*spec, *[None] * (variable.ndim - len(spec)))) if any(spec) else ""


def layouts_of(operation: Any) -> list[str]:
    """How the weights and the outputs of a layer are split, one line each."""
    if not isinstance(operation, Layer):
        return []
    own = set(operation.weights)
    named = operation.named_variables().items()
    split = [(a, axes) for a, (v, _) in named if v in own and (axes := axes_of(v))]
    if len(split) > _MOST:
        counts = Counter(axes for _, axes in split)
        split = [(f"{count} weights", axes) for axes, count in counts.items()]
    outputs = operation.output_sharding
    given = [] if outputs is None else [("output", str(tuple(outputs.spec)))]
    return [" ".join(line) for line in [*split, *given]]


def device_bytes(variables: Iterable[Variable]) -> int:
    """Memory of variables on each device."""
    return sum(bytes_per_device(v.shape, v.dtype, v.layout) for v in variables)


def notes(model: Layer) -> list[str]:
    """The mesh, and the memory and the communication of each device, as far as they are known.

    The communication is known after a training: the compiler is asked about its step.
    """
    axes = ", ".join(f"{axis} {size}" for axis, size in mesh_of(model).items())
    lines = [f"Devices: {axes}"] if axes else []
    variables = list(model.weights)
    if isinstance(model, _Model):
        program = model.program_for("train") if model.compiled else None
        if program is not None and program.seen is not None and not program.eager:
            return [*lines, *str(model.analyze_step()).splitlines()]
        if model.optimizer is not None and model.optimizer.built:
            variables += model.optimizer.state_variables.values()
    return [*lines, f"Params per device: {cost.readable(device_bytes(variables))}"]


__all__ = ["axes_of", "device_bytes", "layouts_of", "mesh_of", "notes"]
