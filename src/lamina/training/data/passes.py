"""A pass over data: how many samples in a batch, how many batches, in which order, from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np

from lamina.core import prng
from lamina.errors import ArgumentError, DTypeError
from lamina.runtime import processes

Prepare = Callable[[Any], Any]


@dataclass
class Pass:
    """What ``fit``, ``evaluate`` and ``predict`` ask of their data.

    Attributes:
        batch_size: Samples in a batch, for data that has rows.
        steps: Batches in a pass; None: all.
        training: Whether a pass of ``steps`` goes on where the one before stopped, and begins anew
            when the batches end; otherwise each pass begins at the beginning.
        shuffle: Whether data whose samples or batches have numbers takes a new order for each pass.
        seed: What the orders derive from, together with ``position``.
        position: The number of training steps whose batches have been drawn.
        inputs: Names of the model's inputs, each as a tuple of the names by which it can be given;
            empty for a model that is not a graph.
        outputs: Names of its outputs; empty for a model that is not a graph.
        distributed: Whether batches go to several devices, from the host's memory.
        joined: Whether each process has data of its own, of which batches are joined.
        prepare: Computes, of the inputs of a batch, what the model computes on the host; None for
            a model that has no such part.
    """

    batch_size: int = 32
    steps: int | None = None
    training: bool = False
    shuffle: bool = False
    seed: int = 0
    position: int = 0
    inputs: tuple[tuple[str, ...], ...] = ()
    outputs: tuple[str, ...] = ()
    distributed: bool = False
    joined: bool = False
    prepare: Prepare | None = None

    def order(self, size: int) -> np.ndarray | None:
        """The order of samples or batches in the pass that begins here; None for their own."""
        if not self.shuffle:
            return None
        return prng.stream(self.seed, "shuffle", self.position).permutation(size).astype(np.int32)

    def of(self, model: Any) -> Pass:
        """The same for a model: with its names, and with its seed and step."""
        graph = model.layer_graph
        names = [] if graph is None else zip(graph.input_names, graph.inputs, strict=True)
        self.seed, self.position = model.run_seed, model.steps_taken
        by = model.distributed_by
        if by is not None:
            self.distributed = True
            self.joined = processes.are_several() and not by.auto_shard_dataset
        self.inputs = tuple((name, tensor.name) for name, tensor in names)
        self.outputs = () if graph is None else tuple(graph.output_names)
        self.prepare = prepare_of(model)
        return self


def pass_over(
    batch_size: Any, steps: Any = None, name: str = "steps", training: bool = False,
    shuffle: bool = False,
) -> Pass:  # fmt: skip
    """A pass with the settings that a user gave; ``name`` is the argument of ``steps``.

    Raises:
        ArgumentError: Not whole numbers above 0.
    """
    batch_size = 32 if batch_size is None else whole_number(batch_size, "batch_size")
    steps = None if steps is None else whole_number(steps, name)
    return Pass(batch_size, steps, training=training, shuffle=shuffle)


def prepare_of(model: Any) -> Prepare | None:
    """What computes the part of a model that runs on the host; None if it has none."""
    host, graph = model.host_part, model.layer_graph
    if host is None:
        return None
    text = [] if graph is None else [
        n for n, x in zip(graph.output_names, graph.outputs, strict=True) if x.dtype == "string"
    ]  # fmt: skip
    if text:
        raise DTypeError(
            f"The outputs {text} of model {model.name!r} are text, which no compiled step returns.",
            cure="Call the model on the data: `model(x)`.",
        )
    return host.prepare


def whole_number(value: Any, name: str, least: int = 1) -> int:
    """A count that a user gave.

    Raises:
        ArgumentError: It is no whole number, or smaller than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or int(value) < least:
        kind = "a positive integer" if least else "an integer, 0 or larger"
        raise ArgumentError(f"`{name}` is {kind}. Received: {value!r}.")
    return int(value)
