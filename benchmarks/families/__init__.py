"""The models and the training loop of each family of frameworks, with the same interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.workloads import Arrays, Workload

Calls = dict[str, Callable[[], Any]]
"""Calls to time, by their names in ``benchmarks.workloads.CALLS``, where a family omits what
it does not support. Each call returns when the results are NumPy arrays or Python numbers."""


def held(
    step: Callable[[], Any],
    moved: Callable[[], Arrays],
    kept: Callable[[], Arrays] | None = None,
) -> Callable[[], Any]:
    """Run a step once and verify that it updates the right weights.

    Args:
        step: A training step.
        moved: Function that returns weights that the step must change.
        kept: Function that returns weights that the step must not change.

    Returns:
        The step.

    Raises:
        ValueError: The step does not.
    """
    step()  # after this, one-time work of the first step is done
    before, before_kept = moved(), kept() if kept else []
    step()
    if any(np.array_equal(a, b) for a, b in zip(before, moved(), strict=True)):
        raise ValueError("a step does not change weights that it should train")
    after_kept = kept() if kept else []
    if not all(np.array_equal(a, b) for a, b in zip(before_kept, after_kept, strict=True)):
        raise ValueError("a step changes weights that are frozen")
    return step


class Session(Protocol):
    """One peer with one model, in its own process. All methods return when the work is complete.

    Weights are exchanged in the order and the layouts of Keras's ``model.get_weights()``, so that
    the outputs of all peers can be compared.
    """

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        """Create the model and its optimizer; store the data in the format of the peer."""
        ...

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        """Store other training data."""
        ...

    def train(self, epochs: int) -> None:
        """Train on the stored data, reshuffled in each epoch."""
        ...

    def predict(self, x: Arrays) -> Arrays:
        """The outputs for many samples, in batches of 32."""
        ...

    def call(self, x: Arrays) -> Any:
        """The outputs of a direct call of the model for one batch."""
        ...

    def get_weights(self) -> Arrays:
        """The weights, for peers that use Keras's layouts."""
        ...

    def set_weights(self, weights: Arrays) -> None:
        """Set the weights to those of another peer."""
        ...

    def save(self, folder: Path) -> None:
        """Save the model to a file in the folder."""
        ...

    def load(self, folder: Path) -> None:
        """Load the model that :meth:`save` saved."""
        ...
