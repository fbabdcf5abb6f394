"""What would compute without an error and mean something else, told before the first step.

Numbers that cannot be what they stand for (a class that the output does not have, a row that a
table does not have) are errors. A choice that is legal but rarely meant is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import layers, metrics
from lamina.core.boundary import warn
from lamina.core.operation import Op
from lamina.errors import DataError, TrainingWarning
from lamina.losses import Loss
from lamina.serialization import registry

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")


# ---- losses against what makes the outputs -------------------------------------------------------


def check_outputs(
    names: Sequence[str], outputs: Sequence[Any], losses: Sequence[Loss | None],
    chosen: Sequence[Sequence[Any]],
) -> None:  # fmt: skip
    """Warn of outputs whose last function does not go with their loss and metrics.

    Args:
        names: The outputs' names.
        outputs: Their symbolic tensors.
        losses: A loss or None for each.
        chosen: For each, the metrics as ``compile`` was given them.
    """
    for name, output, loss, items in zip(names, outputs, losses, chosen, strict=True):
        for doubt in _doubts(output, loss, items):
            warn(f"Output {name!r} {doubt}", TrainingWarning)


def _doubts(output: Any, loss: Loss | None, items: Sequence[Any]) -> Iterator[str]:
    last = last_function(output)
    units = output.shape[-1] if output.ndim > 1 else None
    if last == "softmax" and units == 1:
        yield (
            "is the softmax of a single unit, which is always 1. Use activation='sigmoid' for two "
            "classes, or one unit for each class."
        )
        return
    if loss is None or loss.reads is None or last is None:
        return
    if loss.reads == "logits" and last in _PROBABILITIES:
        yield (
            f"ends with {last}, and its loss {loss.name} applies such a function once more, for "
            "from_logits=True. Set from_logits=False, or take the activation off the last layer."
        )
    elif loss.reads == "probabilities" and last not in _PROBABILITIES:
        made = "has no activation" if last == "linear" else f"ends with {last}"
        fitting = "sigmoid" if loss.name.startswith("binary") else "softmax"  # pyright: ignore[reportOptionalMemberAccess]
        yield (
            f"{made}, so it may be any number, and its loss {loss.name} takes it for a probability."
            f" Set from_logits=True in the loss, or give the last layer activation={fitting!r}."
        )
    elif loss.reads == "logits" and units == 1 and any(map(_halves_probabilities, items)):
        yield (
            "is a logit, whose middle is 0, and its accuracy compares it with 0.5, the middle of a "
            "probability. Use `lamina.metrics.BinaryAccuracy(threshold=0.0)`."
        )


def _halves_probabilities(item: Any) -> bool:
    if isinstance(item, metrics.BinaryAccuracy):
        return item.threshold == 0.5
    return item in ("accuracy", "acc", "binary_accuracy")


def last_function(tensor: Any) -> str | None:
    """The built-in activation that a tensor comes from; None where that is not known.

    >>> x = layers.Input((4,))
    >>> last_function(layers.Dense(3)(x)), last_function(layers.Softmax()(x)), last_function(x + 1)
    ('linear', 'softmax', None)
    """
    operation = tensor.node.operation
    inner = operation.inner_graph()
    if inner is not None:  # of a nested model
        return last_function(inner.outputs[tensor.index])
    if isinstance(operation, layers.Softmax):
        return "softmax"
    if isinstance(operation, Op):
        name = operation.op_name
    elif hasattr(operation, "activation") and not hasattr(operation, "recurrent_activation"):
        name = getattr(operation.activation, "__name__", "")  # pyright: ignore[reportAttributeAccessIssue]
        if registry.find_builtin("activations", name) is not operation.activation:  # pyright: ignore[reportAttributeAccessIssue]
            return None
    else:
        return None
    return name if registry.find_builtin("activations", name) is not None else None


# ---- the numbers of the data ---------------------------------------------------------------------


def check_targets(
    names: Sequence[str], targets: Sequence[Any], shapes: Sequence[tuple[Any, ...]],
    losses: Sequence[Loss | None],
) -> None:  # fmt: skip
    """Look at the targets' values.

    Args:
        names: The outputs' names.
        targets: An array or None for each.
        shapes: The outputs' shapes, None for open sizes.
        losses: A loss or None for each.

    Raises:
        DataError: Class numbers that the output does not have, or that are not whole.
    """
    for name, target, shape, loss in zip(names, targets, shapes, losses, strict=True):
        if target is None or loss is None:
            continue
        if loss.class_axis is not None and -len(shape) <= loss.class_axis < len(shape):
            _check_classes(f"Output {name!r}: {loss.name}", target, shape[loss.class_axis], loss)
        elif loss.reads is not None:
            low, high = _extremes(target)
            if low < 0 or high > 1:
                warn(
                    f"Output {name!r}: {loss.name} reads targets as probabilities, from 0 to 1. "
                    f"Received {_span(low, high, None)}. {_scaled(low, high)}",
                    TrainingWarning,
                )


def _scaled(low: float, high: float) -> str:
    if low == -1 and high == 1:
        return "Pass `(y + 1) / 2`, or use the loss 'hinge', whose targets are -1 and 1."
    if low >= 0 and high == 255:
        return "Divide the images by 255."
    return "Scale them, or use a loss of regression such as 'mean_squared_error'."


def _check_classes(where: str, target: Any, classes: int | None, loss: Loss) -> None:
    if classes is None or target.size == 0:
        return
    ignored = loss.ignored_class
    if ignored is not None:
        target = np.asarray(target)
        target = target[target != ignored]
        if target.size == 0:
            return
    fraction = _fraction(target)
    low, high = _extremes(target)
    if fraction is None and low >= 0 and high < classes:
        return
    if fraction is not None:
        cure = "Pass whole numbers, or use a loss of regression such as 'mean_squared_error'."
    elif low == 1 and high == classes:
        cure = "If the classes are counted from 1, pass `y - 1`."
    elif low == -1 and high < classes:
        cure = "If -1 means that the class is not known, set `ignore_class=-1` in the loss."
    else:
        cure = f"Give the last layer {high + 1:g} units, or number the classes from 0."
    raise DataError(
        f"{where}: the targets are not classes of this output.",
        expected=f"whole numbers from 0 to {classes - 1}, as it has {classes} units",
        received=_span(low, high, fraction),
        cure=cure,
    )


def check_ids(graph: Any, x: Any) -> None:
    """Look at the numbers that go straight into an ``Embedding``.

    Args:
        graph: The model's graph, or None.
        x: Arrays in any nesting that the graph can read.

    Raises:
        DataError: A number without a row in the table, or one that is not whole.
    """
    if graph is None:
        return
    readers = [list(_tables(graph, i)) for i in range(len(graph.inputs))]
    if not any(readers):
        return
    for name, tables, ids in zip(graph.input_names, readers, graph.arrange(x), strict=True):
        if not tables or ids is None or ids.size == 0:
            continue
        table = min(tables, key=lambda t: t.input_dim)
        fraction, (low, high) = _fraction(ids), _extremes(ids)
        if fraction is None and low >= 0 and high < table.input_dim:
            continue
        cure = "Numbers that are no indices go into a `Dense` layer instead."
        if fraction is None:
            cure = f"Give it `input_dim={high + 1:g}`, or map rare numbers to one of its own."
        raise DataError(
            f"Input {name!r} holds numbers that are not in the table of layer "
            f"{table.name!r} (Embedding).",
            expected=(
                f"whole numbers from 0 to {table.input_dim - 1}, because of input_dim="
                f"{table.input_dim}"
            ),
            received=_span(low, high, fraction),
            cure=cure,
        )


def _tables(graph: Any, i: int) -> Iterator[layers.Embedding]:
    """The embeddings that read input ``i`` directly, also in nested models of one input."""
    for node in graph.nodes:
        if any(x is graph.inputs[i] for x in node.inputs):
            inner = node.operation.inner_graph()
            if isinstance(node.operation, layers.Embedding):
                yield node.operation
            elif inner is not None and len(inner.inputs) == 1:
                yield from _tables(inner, 0)


def _fraction(array: Any) -> float | None:
    """Some entry that is not whole; None when there is none."""
    if array.dtype.kind in "biu":
        return None
    module = jnp if isinstance(array, jax.Array) else np
    broken = module.ravel(array != module.floor(array))
    at = int(module.argmax(broken))
    return float(module.ravel(array)[at]) if bool(broken[at]) else None


def _span(low: float, high: float, fraction: float | None) -> str:
    if fraction is not None:
        return f"{fraction:g}"
    return f"{low:g}" if low == high else f"numbers from {low:g} to {high:g}"


def _extremes(array: Any) -> tuple[float, float]:
    return float(array.min()), float(array.max())
