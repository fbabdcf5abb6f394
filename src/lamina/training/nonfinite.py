"""The origin of a NaN, found by repeating the training step layer by layer."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lamina.core.scope import current, get_mask, set_mask
from lamina.core.spec import is_array
from lamina.execution.program import Program
from lamina.execution.state import TrainState
from lamina.execution.steps import forward, pure_scope
from lamina.tree import nested


def first_nonfinite(program: Program, state: TrainState, batch: Any) -> str:
    """Find the first values of a training step that are not finite.

    Args:
        program: The compiled steps.
        state: The training state before the step.
        batch: The batch of the step.

    Returns:
        A message that names the data, layer, loss or weight.
    """
    for what, part in zip(("x", "y", "sample_weight"), batch, strict=True):
        for path, leaf in nested.flatten_with_path(part):
            if leaf is not None and not _finite(leaf):
                rows = np.flatnonzero(~np.isfinite(np.asarray(leaf)).reshape(leaf.shape[0], -1)
                                      .all(-1))[:5].tolist()  # fmt: skip
                where = what + "".join(f"[{p!r}]" for p in path)
                return f"The data: `{where}` of this batch is not finite in the samples {rows}."
    bad = [a for a, x in state.trainable.items() if not _finite(x)]
    if bad:
        return f"The weights {bad[:5]} were not finite before the step."
    seen: dict[tuple[str, int], tuple[Any, Any]] = {}
    total = _forward(program, state, batch, _recorder(seen))[0]
    before = ""
    for (path, _), (layer, outputs) in seen.items():
        wrong = [x for x in outputs if not _finite(x)]
        if wrong:
            return (
                f"The output of layer {path!r} ({type(layer).__name__}): {_range(wrong)}. The "
                f"layers called before it were finite{before}."
            )
        before = f"; the last, {path!r}, gave {_range(outputs)}"
    if not _finite(total):
        return (
            "The loss: the outputs of all layers are finite, but the loss is not. Does it contain "
            "a logarithm of 0 or a division by 0?"
        )
    gradients = _output_gradients(program, state, batch, seen)
    for (path, n), layer_gradients in reversed(gradients.items()):
        if not all(_finite(g) for g in layer_gradients):
            kind = type(seen[path, n][0]).__name__
            return (
                f"The gradient at the output of layer {path!r} ({kind}): {_range(layer_gradients)}."
                " Outputs and loss are finite; the operations after this layer have no finite "
                "derivative there (a square root or norm at 0, a division by a small number)."
            )
    return (
        "The gradients of the weights, or the optimizer's step: outputs, loss and the gradients at "
        "all outputs are finite. Is the learning rate too high?"
    )


def _forward(program: Program, state: TrainState, batch: Any, hook: Any) -> Any:
    with pure_scope(program.variables, state, True, hook) as scope:
        return forward(program.model, batch, True), scope.record


def _recorder(seen: dict[Any, Any]) -> Any:
    """A hook that records the outputs of all layers, except inside compiled loops."""
    counts: dict[str, int] = {}

    def hook(layer: Any, _: Any, outputs: Any) -> Any:
        scope = current()
        path = "/".join(scope.path[1:] if scope is not None else ())
        leaves = [x for x in nested.flatten(outputs) if is_array(x)]
        if path and not any(isinstance(x, jax.core.Tracer) for x in leaves):
            n = counts[path] = counts.get(path, -1) + 1
            seen[path, n] = layer, leaves
        return outputs

    return hook


def _output_gradients(
    program: Program, state: TrainState, batch: Any, seen: dict[Any, Any]
) -> dict[Any, list[Any]]:
    """The gradient of the loss with respect to each output in ``seen``, via zeros added to it."""
    zeros = {key: [jnp.zeros(x.shape, x.dtype) for x in leaves
                   if jnp.issubdtype(x.dtype, jnp.floating)]
             for key, (_, leaves) in seen.items()}  # fmt: skip

    def loss(added: Any) -> Any:
        counts: dict[str, int] = {}

        def hook(_: Any, received: Any, outputs: Any) -> Any:
            scope = current()
            path = "/".join(scope.path[1:] if scope is not None else ())
            n = counts[path] = counts.get(path, -1) + 1
            mine = iter(added.get((path, n), ()))

            def add(x: Any) -> Any:
                if not is_array(x) or not jnp.issubdtype(x.dtype, jnp.floating):
                    return x
                zero = next(mine, None)
                new = x if zero is None else x + zero
                if new is not x and get_mask(x) is not None:
                    set_mask(new, get_mask(x))
                return new

            return nested.map_structure(add, outputs)

        return _forward(program, state, batch, hook)[0]

    names = {f"{i}": key for i, key in enumerate(zeros)}
    found = jax.grad(lambda z: loss({names[i]: x for i, x in z.items()}))(
        {i: zeros[key] for i, key in names.items()}
    )
    return {key: found[i] for i, key in names.items()}


def _finite(x: Any) -> bool:
    return not jnp.issubdtype(x.dtype, jnp.inexact) or bool(jnp.isfinite(x).all())


def _range(arrays: list[Any]) -> str:
    flat = np.concatenate([np.asarray(x, "float64").ravel() for x in arrays])
    fine = flat[np.isfinite(flat)]
    span = f"from {fine.min():.3g} to {fine.max():.3g}" if fine.size else ""
    if fine.size == flat.size:
        return f"{flat.size} values {span}"
    counts = f"{np.isnan(flat).sum()} NaN and {np.isinf(flat).sum()} infinite of {flat.size} values"
    return counts + (f", the others {span}" if span else "")
