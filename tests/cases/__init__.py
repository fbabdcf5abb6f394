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

    def __str__(self) -> str:
        return self.name
