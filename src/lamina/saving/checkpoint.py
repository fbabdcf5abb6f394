"""The state of a training in one file: weights, optimizer, metrics, and how far it has come.

The file is in HDF5, with the weights and the optimizer's state under the names that a ``.keras``
archive has for them. It is written whole or not at all, so that its parts always belong together.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import CorruptFileError, NotBuiltError
from lamina.runtime.budget import loading
from lamina.runtime.files import replacing
from lamina.saving import hdf5, optimizer
from lamina.saving.weights import fill, locate, locate_in
from lamina.serialization import text

_POSITION, _METRICS = "training/position", "metrics"
_NUMBERS = ("epoch", "batch", "step", "seed")


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        epoch: Number of the epoch to go on with, from 0.
        batch: Number of its batches that were trained on.
        step: Number of all training steps so far.
        seed: Seed of the random draws.
        metrics: Values of the metrics' variables after these batches, in their order.
    """

    epoch: int
    batch: int
    step: int
    seed: int
    metrics: tuple[np.ndarray, ...] = ()


def save_training(model: Any, path: Path, epoch: int, batch: int) -> None:
    """Write the state of ``model`` into a file.

    Args:
        model: A model in training.
        path: The file, whose folder exists.
        epoch: Number of the epoch to go on with, from 0.
        batch: Number of its batches that were trained on.
    """
    position = {"epoch": epoch, "batch": batch, "step": model.steps_taken, "seed": model.run_seed}
    arrays: dict[str, Any] = locate(model).arrays()
    if model.optimizer is not None and model.optimizer.built:
        arrays |= optimizer.variables_of(model.optimizer)
        position["optimizer_addresses"] = optimizer.addresses_of(model)
    if batch:
        arrays |= {f"{_METRICS}/{i}": v for i, v in enumerate(model.metrics_variables)}
    arrays[_POSITION] = np.frombuffer(json.dumps(position).encode(), np.uint8)
    with replacing(path) as part:
        hdf5.write(str(part), arrays)


def load_training(model: Any, path: Path) -> Position:
    """Restore what :func:`save_training` wrote, but for the metrics and the random draws.

    Args:
        model: A built model of the same architecture, compiled in the same way.
        path: The file.

    Returns:
        How far the training had come.

    Raises:
        CorruptFileError: The file is damaged, or of another model.
        NotBuiltError: The model has no weights yet.
    """
    if not model.built:
        raise NotBuiltError(
            f"{model.name!r} has no weights yet, into which {path} could be restored. Call it on "
            "data, or `build` it, before training."
        )
    with loading(str(path), size=path.stat().st_size), hdf5.File(path, str(path)) as stored:
        if stored.shape(_POSITION) is None:
            raise CorruptFileError(f"{path} is not a file that a training was saved in.")
        content = stored.read(_POSITION).astype(np.uint8).tobytes()
        position = text.parse(content, f"{path}: {_POSITION}", CorruptFileError, finite=True)
        try:
            numbers = {name: position[name] for name in _NUMBERS}
        except (TypeError, KeyError) as e:
            raise CorruptFileError(f"{path} does not say how far the training was: {e!r}") from e
        if not all(type(n) is int and 0 <= n < 2**63 for n in numbers.values()):
            raise CorruptFileError(f"{path} names an impossible position: {numbers}.")
        fill(
            stored, locate_in(stored, model), error=CorruptFileError, whole=False,
            way_out="Is the model the same as the one that was saved? Remove the file to start "
            "anew.",
        )  # fmt: skip
        if model.optimizer is not None:
            optimizer.read(stored, model, position.get("optimizer_addresses"))
        metrics = []
        while stored.shape(name := f"{_METRICS}/{len(metrics)}") is not None:
            metrics.append(stored.read(name))
    return Position(**numbers, metrics=tuple(metrics))
