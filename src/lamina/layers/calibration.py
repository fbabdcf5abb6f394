"""Quantization of the layers of a model with what is known of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.scope import Scope, entered
from lamina.errors import ArgumentError
from lamina.layers.base import Layer
from lamina.layers.matrices import MatrixLayer, calibrate
from lamina.layers.state import flatten_layers
from lamina.quantizers.configs import CalibratedConfig
from lamina.tree import nested


def quantize_blocks(
    config: CalibratedConfig,
    structure: Any,
    is_chosen: Callable[[Layer], bool],
    type_check: bool,
    name: str,
) -> int:
    """Run a model on sequences of integers, and quantize its layers one block after another.

    The inputs of a block are the outputs of the block before it with its quantized weights.

    Args:
        config: The config, with the data.
        structure: Dict of ``"pre_block_layers"``, which are run one after another first, and
            ``"sequential_blocks"``, whose layers are quantized.
        is_chosen: Whether to quantize a layer.
        type_check: Whether to leave out users' subclasses of layers.
        name: Name of the model, for messages.

    Returns:
        The number of quantized layers.

    Raises:
        ArgumentError: Another structure, or data other than sequences of integers; no layer
            is changed then.
    """
    before, blocks = _read_structure(structure, config.mode, name)
    inputs: list[Any] = [jnp.asarray(x) for x in config.calibration_samples()]
    for layer in before:
        inputs, _ = _run(layer, inputs)
    count = 0
    for i, block in enumerate(blocks):
        chosen = [
            x for x in flatten_layers(block)
            if isinstance(x, MatrixLayer) and x.can_be_quantized(config.mode, type_check)
            and is_chosen(x)
        ]  # fmt: skip
        if chosen:
            _, kept = _run(block, inputs, config, chosen)
            for x in chosen:
                calibrate(x, config, type_check, kept.get(x))
        count += len(chosen)
        if i + 1 < len(blocks):
            inputs, _ = _run(block, inputs)
    return count


def _read_structure(structure: Any, mode: str, name: str) -> tuple[list[Layer], list[Layer]]:
    parts: list[list[Layer]] = []
    for key in ("pre_block_layers", "sequential_blocks"):
        found: Any = structure.get(key, []) if isinstance(structure, Mapping) else None
        wrong = not isinstance(found, Sequence) or not all(isinstance(x, Layer) for x in found)
        if wrong or (key == "sequential_blocks" and not found):
            raise ArgumentError(
                f"Mode {mode!r} quantizes the layers of {name!r} block by block, so it needs to "
                "know its blocks.",
                expected="a dict {'pre_block_layers': [...], 'sequential_blocks': [...]} of layers",
                received=repr(structure),
                cure="Pass it as `quantization_layer_structure` of the config, or define "
                "`get_quantization_layer_structure(self, mode)` in the class of the model.",
            )
        parts.append(list(found))
    return parts[0], parts[1]


def _run(
    layer: Layer,
    inputs: Sequence[Any],
    config: CalibratedConfig | None = None,
    watched: Sequence[MatrixLayer] = (),
) -> tuple[list[Any], dict[MatrixLayer, Any]]:
    """The outputs of a layer for several inputs, and what the config keeps of inner inputs."""
    variables = layer.variables

    def call(values: Sequence[Any], x: Any) -> tuple[Any, dict[int, Any]]:
        kept: dict[int, Any] = {}

        def hook(inner: Any, received: Mapping[str, Any], result: Any) -> Any:
            if config is not None and inner in watched:
                i, rows = watched.index(inner), inner.input_rows(next(iter(received.values())))
                more = config.observe(rows.astype("float32"))
                kept[i] = config.join(kept[i], more) if i in kept else more
            return result

        bound = dict(zip(variables, values, strict=True))
        with entered(Scope(bound, pure=True, hook=hook)):
            return nested.flatten(layer(x))[0], kept

    if all(x.supports_jit for x in flatten_layers(layer)):
        call = jax.jit(call)
    values, outputs = [v.value for v in variables], []
    total: dict[MatrixLayer, Any] = {}
    for sample in inputs:
        try:
            y, kept = call(values, sample)
        except jax.errors.UnexpectedTracerError as e:
            raise ArgumentError(
                f"Layers inside {layer.name!r} run in a loop, such as the steps of a recurrent "
                "layer, where their inputs cannot be seen.",
                cure="Leave them out: `quantize(..., filters=...)`.",
                layer=layer.name,
            ) from e
        outputs.append(y)
        for i, more in kept.items():
            x = watched[i]
            total[x] = config.join(total[x], more) if config and x in total else more
    return outputs, total


__all__ = ["quantize_blocks"]
