"""Checks before the first step for mistakes that would otherwise not raise an error.

Invalid numbers (a class index that the output does not have, or an index beyond an embedding table)
are errors. Choices that are valid but probably unintended cause a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import layers, metrics
from lamina.core.boundary import warn
from lamina.core.operation import Op
from lamina.errors import DataError, TrainingWarning
from lamina.execution.batches import Prepared
from lamina.losses import Loss
from lamina.serialization import registry

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")


# ---- losses against the activations of outputs ---------------------------------------------------


def check_outputs(
    names: Sequence[str], outputs: Sequence[Any], losses: Sequence[Loss | None],
    chosen: Sequence[Sequence[Any]],
) -> None:  # fmt: skip
    """Warn of outputs whose last activation does not match their loss and metrics.

    Args:
        names: Names of the outputs.
        outputs: Symbolic tensors of the outputs.
        losses: For each output a loss, or None.
        chosen: For each output the metrics, as passed to ``compile``.
    """
    for name, output, loss, items in zip(names, outputs, losses, chosen, strict=True):
        for doubt in _warnings(output, loss, items):
            warn(f"Output {name!r} {doubt}", TrainingWarning)


def _warnings(output: Any, loss: Loss | None, items: Sequence[Any]) -> Iterator[str]:
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
            f"ends with {last}, and its loss {loss.name} applies such a function again, because of "
            "from_logits=True. Set from_logits=False, or remove the activation of the last layer."
        )
    elif loss.reads == "probabilities" and last not in _PROBABILITIES:
        made = "has no activation" if last == "linear" else f"ends with {last}"
        fitting = "sigmoid" if loss.name.startswith("binary") else "softmax"  # pyright: ignore[reportOptionalMemberAccess]
        yield (
            f"{made}, so it may be any number, but its loss {loss.name} expects a probability."
            f" Set from_logits=True in the loss, or give the last layer activation={fitting!r}."
        )
    elif loss.reads == "logits" and units == 1 and any(map(_has_default_threshold, items)):
        yield (
            "is a logit, for which the threshold is 0, but its accuracy compares it with 0.5, the "
            "threshold for a probability. Use `lamina.metrics.BinaryAccuracy(threshold=0.0)`."
        )


def _has_default_threshold(item: Any) -> bool:
    if isinstance(item, metrics.BinaryAccuracy):
        return item.threshold == 0.5
    return item in ("accuracy", "acc", "binary_accuracy")


def last_function(tensor: Any) -> str | None:
    """The built-in activation that computes a tensor; None if it is not known.

    >>> x = layers.Input((4,))
    >>> last_function(layers.Dense(3)(x)), last_function(layers.Softmax()(x)), last_function(x + 1)
    ('linear', 'softmax', None)
    """
    operation = tensor.node.operation
    inner = operation.layer_graph
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


# ---- values of the data --------------------------------------------------------------------------


def check_targets(
    names: Sequence[str], targets: Sequence[Any], shapes: Sequence[tuple[Any, ...]],
    losses: Sequence[Loss | None],
) -> None:  # fmt: skip
    """Check the values of the targets.

    Args:
        names: Names of the outputs.
        targets: For each output an array, or None.
        shapes: Shapes of the outputs, with None for unknown dimensions.
        losses: For each output a loss, or None.

    Raises:
        DataError: A class index is out of range or not an integer.
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
                    f"Output {name!r}: {loss.name} expects probabilities from 0 to 1 as targets. "
                    f"Received {_span(low, high, None)}. {_scaled(low, high)}",
                    TrainingWarning,
                )


def _scaled(low: float, high: float) -> str:
    if low == -1 and high == 1:
        return "Pass `(y + 1) / 2`, or use the loss 'hinge', whose targets are -1 and 1."
    if low >= 0 and high == 255:
        return "Divide the images by 255."
    return "Scale them, or use a regression loss such as 'mean_squared_error'."


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
        cure = "Pass integers, or use a regression loss such as 'mean_squared_error'."
    elif low == 1 and high == classes:
        cure = "If the classes are counted from 1, pass `y - 1`."
    elif low == -1 and high < classes:
        cure = "If -1 means an unknown class, set `ignore_class=-1` in the loss."
    else:
        cure = f"Give the last layer {high + 1:g} units, or number the classes from 0."
    raise DataError(
        f"{where}: the targets are not class indices of this output.",
        expected=f"integers from 0 to {classes - 1}, as it has {classes} units",
        received=_span(low, high, fraction),
        cure=cure,
    )


def check_ids(graph: Any, x: Any) -> None:
    """Check the values of inputs that are directly passed to an ``Embedding``.

    Args:
        graph: Graph of the model, or None.
        x: Arrays in any structure that matches the inputs.

    Raises:
        DataError: An index is out of range or not an integer.
    """
    if graph is None or isinstance(x, Prepared):
        return
    readers = [list(_readers(graph, i, _is_embedding)) for i in range(len(graph.inputs))]
    if not any(readers):
        return
    for name, tables, ids in zip(graph.input_names, readers, graph.arrange(x), strict=True):
        if not tables or ids is None or ids.size == 0:
            continue
        table = min(tables, key=lambda t: t.input_dim)
        fraction, (low, high) = _fraction(ids), _extremes(ids)
        if fraction is None and low >= 0 and high < table.input_dim:
            continue
        cure = "For numbers that are not indices, use a `Dense` layer instead."
        if fraction is None:
            cure = f"Set `input_dim={int(high) + 1}`, or map rare indices to a common one."
        raise DataError(
            f"Input {name!r} contains indices that are out of range for layer "
            f"{table.name!r} (Embedding).",
            expected=(
                f"integers from 0 to {table.input_dim - 1}, because of input_dim={table.input_dim}"
            ),
            received=_span(low, high, fraction),
            cure=cure,
        )


def check_images(graph: Any, x: Any) -> None:
    """Warn of images outside the range of values that the layer after the input expects.

    Args:
        graph: Graph of the model, or None.
        x: Arrays in any structure that matches the inputs.
    """
    if graph is None or isinstance(x, Prepared):
        return
    readers = [list(_readers(graph, i, _has_value_range)) for i in range(len(graph.inputs))]
    if not any(readers):
        return
    for name, found, images in zip(graph.input_names, readers, graph.arrange(x), strict=True):
        layer = next(iter(found), None)
        if layer is None or images is None or images.size == 0:
            continue
        (low, high), (least, most) = vars(layer)["value_range"], _extremes(images[:256])
        if least < low or most > high:
            what = "which it clips"
        elif images.dtype.kind not in "iu" and 0 < most <= 1 and high - low > 100:
            what = "in which all of these images are black"
        else:
            continue
        warn(
            f"Input {name!r} contains {_span(least, most, None)}, but layer {layer.name!r} "
            f"({type(layer).__name__}) has value_range={low, high}, {what}. Pass the range of your "
            "images as `value_range`.",
            TrainingWarning,
        )


def _is_embedding(operation: Any) -> bool:
    return isinstance(operation, layers.Embedding)


def _has_value_range(operation: Any) -> bool:
    return isinstance(operation, layers.Layer) and "value_range" in type(operation)._fields


def _readers(graph: Any, i: int, wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Wanted layers directly after input ``i``, also in nested models with one input."""
    for user in graph.users[i]:
        if wanted(user):
            yield user
        elif user.layer_graph is not None and len(user.layer_graph.inputs) == 1:
            yield from _readers(user.layer_graph, 0, wanted)


def _fraction(array: Any) -> float | None:
    """An entry that is not an integer; None if there is none."""
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
