"""The report of a dry run: an analysis of a training step without taking it."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import prng, spec
from lamina.core.scope import Scope, current, entered
from lamina.execution.program import Program
from lamina.execution.steps import forward
from lamina.layers.arguments import call_signature
from lamina.runtime import cost
from lamina.serialization.registry import registration_of
from lamina.tree import nested


@dataclasses.dataclass
class LayerReport:
    """One layer in a dry run.

    Attributes:
        path: Names of the enclosing layers and of the layer.
        kind: Class of the layer.
        outputs: Shape and dtype of each output, for the given batch.
        calls: Number of calls.
        masked: Whether a mask is propagated to the output.
        parameters: Number of elements of the weights.
        operations: Arithmetic operations of the forward pass.
        activation_bytes: Size of the outputs, which training stores for the gradients.
    """

    path: str
    kind: str
    outputs: list[tuple[tuple[int, ...], str]]
    calls: int = 1
    masked: bool = False
    parameters: int = 0
    operations: int = 0
    activation_bytes: int = 0


@dataclasses.dataclass
class Report:
    """The result of :meth:`lamina.Model.check`, which ``print`` shows as tables.

    Attributes:
        layers: The layers in the order of their calls.
        bindings: For each output: name, shape, shape of the target, loss, metrics.
        logs: Names of the logs that training would report.
        unreached: Addresses of trainable weights that receive no gradient from any loss.
        lost_masks: Layers that receive a mask but do not propagate it.
        trains: Whether any weight is trainable.
        weight_bytes, optimizer_bytes, activation_bytes: Memory in bytes.
        operations: Arithmetic operations of the forward pass for the batch.
        batch_size: Number of samples in the batch.
    """

    layers: list[LayerReport]
    bindings: list[tuple[str, ...]]
    logs: list[str]
    unreached: list[str]
    lost_masks: list[str]
    trains: bool
    weight_bytes: int
    optimizer_bytes: int
    operations: int
    batch_size: int

    @property
    def activation_bytes(self) -> int:
        """Size of all layers' outputs for the batch."""
        return sum(x.activation_bytes for x in self.layers)

    def __str__(self) -> str:
        file = io.StringIO()
        from rich.console import Console
        from rich.table import Table

        console = Console(file=file, width=110)
        table = Table("Layer", "Output", "Mask", title=f"A batch of {self.batch_size}")
        for column in ("Param #", "FLOPs", "Activations"):
            table.add_column(column, justify="right")
        for x in self.layers:
            shapes = "\n".join(f"{shape} {dtype}" for shape, dtype in x.outputs)
            table.add_row(
                f"{x.path} ({x.kind})" + (f" x{x.calls}" if x.calls > 1 else ""), shapes,
                "yes" if x.masked else "", f"{x.parameters:,}", f"{x.operations:,}",
                cost.readable(x.activation_bytes),
            )  # fmt: skip
        console.print(table)
        if self.bindings:
            bound = Table("Output", "Shape", "Target", "Loss", "Metrics")
            for row in self.bindings:
                bound.add_row(*row)
            console.print(bound)
        sizes = (self.weight_bytes, self.optimizer_bytes, self.activation_bytes)
        lines = [
            f"FLOPs: {self.operations:,} forward, about 3 times as many in training",
            "Memory: weights {}, optimizer {}, activations {}".format(*map(cost.readable, sizes)),
        ]
        if self.logs:
            lines.append(f"Reported: {', '.join(self.logs)}")
        if not self.trains:
            lines.append(
                "No weight is trainable: every layer has `trainable=False`, or none has weights"
            )
        if self.unreached:
            lines.append(f"Weights without a gradient from any loss: {', '.join(self.unreached)}")
        if self.lost_masks:
            lines.append(f"Layers that do not propagate their mask: {', '.join(self.lost_masks)}")
        for line in lines:
            console.print(line, markup=False)
        return file.getvalue().rstrip()


def report(model: Any, program: Program, batch: Any) -> Report:
    """Analyze a step on ``batch``.

    Args:
        model: The model, which is built.
        program: The steps of the model; without an objective only the forward pass is analyzed.
        batch: ``(x, y, sample_weight)``.
    """
    structs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), batch)
    found: dict[tuple[str, ...], tuple[Any, list[Any]]] = {}
    calls: dict[tuple[str, ...], int] = {}
    outputs: list[Any] = []

    def hook(layer: Any, _: Any, result: Any) -> Any:
        scope = current()
        path = scope.path if scope is not None else ()
        leaves = [x for x in nested.flatten(result) if spec.is_array(x)]
        found.setdefault(path, (layer, [(tuple(x.shape), str(x.dtype)) for x in leaves]))
        calls[path] = calls.get(path, 0) + 1
        if layer is model:
            outputs[:] = leaves
        return result

    def run(b: Any) -> Any:
        key = prng.base_key(0)
        with entered(Scope(training=True, pure=True, abstract=True, key=key, hook=hook)):
            return model(b[0], training=True)

    counts = cost.operations(run, structs)
    root = next(path for path, (layer, _) in found.items() if layer is model)
    shown = {root} | {p for p, (layer, _) in found.items() if layer.layer_graph is not None}
    masked, lost = _masks(model)
    rows = []
    for path, (layer, leaves) in found.items():
        if path == root or path[:-1] not in shown or path in shown:
            continue
        name = "/".join(path)
        rows.append(LayerReport(
            "/".join(path[len(root):]), type(layer).__name__, leaves, calls[path],
            layer in masked, sum(v.size for v in layer.weights),
            sum(n for p, n in counts.items() if p == name or p.startswith(name + "/")),
            calls[path] * sum(int(np.prod(s)) * jnp.dtype(d).itemsize for s, d in leaves),
        ))  # fmt: skip
    compiled = program.objective is not None
    return Report(
        layers=rows,
        bindings=model.training_objective.bindings(outputs, batch[1]) if compiled else [],
        logs=program.log_names() if compiled else [],
        unreached=_unreached(program, structs) if compiled else [],
        lost_masks=lost,
        trains=bool(program.variables.trainable),
        weight_bytes=sum(v.size * jnp.dtype(v.dtype).itemsize for v in model.weights),
        optimizer_bytes=sum(v.size * jnp.dtype(v.dtype).itemsize
                            for v in program.variables.optimizer.values()),
        operations=sum(counts.values()),
        batch_size=nested.flatten(batch[0])[0].shape[0],
    )  # fmt: skip


def _masks(model: Any) -> tuple[set[Any], list[str]]:
    """The layers whose output has a mask, and the names of those that do not propagate theirs."""
    masked, lost = set(), []
    for node in model.layer_graph.nodes if model.layer_graph else ():
        operation = node.operation
        uses = operation.supports_masking or (
            call_signature(type(operation)).takes_mask
            and registration_of(type(operation)) is not None
        )
        if any(x.mask is not None for x in node.output_leaves):
            masked.add(operation)
        elif any(x.mask is not None for x in node.inputs) and not uses:
            lost.append(operation.name)
    return masked, lost


def _unreached(program: Program, structs: Any) -> list[str]:
    """The addresses of trainable weights whose gradient is zero for all values."""

    def loss(trainable: Any, batch: Any) -> Any:
        values = {program.variables.trainable[a]: x for a, x in trainable.items()}
        key = prng.base_key(0)
        with entered(Scope(values=values, training=True, pure=True, abstract=True, key=key)):
            return forward(program.model, batch, True)

    weights = {
        a: jax.ShapeDtypeStruct(v.shape, v.dtype) for a, v in program.variables.trainable.items()
    }
    jaxpr = jax.make_jaxpr(jax.grad(loss))(weights, structs).jaxpr
    made_by = {v: equation for equation in jaxpr.eqns for v in equation.outvars}

    def is_zero(x: Any) -> bool:
        while not hasattr(x, "val"):  # not a literal
            equation = made_by.get(x)
            if equation is None or equation.primitive.name != "broadcast_in_dim":
                return False
            x = equation.invars[0]
        return bool(np.all(x.val == 0))

    return [a for a, v in zip(sorted(weights), jaxpr.outvars, strict=True) if is_zero(v)]
