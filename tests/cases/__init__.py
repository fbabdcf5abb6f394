"""The tables that all tests draw from: one row for each public class, at least."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration of one layer.

    Attributes:
        name: for test ids.
        cls: the class.
        kwargs: its constructor's arguments.
        inputs: (shape with batch, dtype) of each input; several make a list.
        call_kwargs: further arguments of the call.
        unknown_axes: axes of the first input that may be left open while building.
        keras: makes the Keras layer, where its constructor differs.
        rtol, atol: tolerance against Keras.
        call: ``(layer, *inputs, **kwargs)``: how the layer is called, where not with one tensor or
            one list of tensors.
    """

    name: str
    cls: type
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: Sequence[tuple[tuple[int, ...], str]] = ()
    call_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    unknown_axes: tuple[int, ...] = ()
    keras: Callable[[], Any] | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    call: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return self.name

    def apply(self, layer: Callable[..., Any], inputs: Sequence[Any], **kwargs: Any) -> Any:
        """Call ``layer`` (or its pure form) on the row's inputs."""
        kwargs = {**self.call_kwargs, **kwargs}
        if self.call is not None:
            return self.call(layer, *inputs, **kwargs)
        return layer(inputs[0] if len(inputs) == 1 else list(inputs), **kwargs)
