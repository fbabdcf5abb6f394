"""The models and the training loop of each family of frameworks, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.workloads import Arrays, Workload

Calls = dict[str, Callable[[], Any]]
"""Calls whose cost is listed, by their names in ``benchmarks.workloads.CALLS``; a family leaves out
what it has not. Each returns when the work is done and the results are NumPy's or Python's."""


def held(
    step: Callable[[], Any],
    moved: Callable[[], Arrays],
    kept: Callable[[], Arrays] | None = None,
) -> Callable[[], Any]:
    """Run a step once, and hold that it does what it is timed for.

    Args:
        step: A training step.
        moved: Gives weights that it has to change.
        kept: Gives weights that it must not change.

    Returns:
        The step.

    Raises:
        ValueError: It does something else.
    """
    step()  # what happens at the first step only (builds, say) is over
    before, before_kept = moved(), kept() if kept else []
    step()
    if any(np.array_equal(a, b) for a, b in zip(before, moved(), strict=True)):
        raise ValueError("a step that should train some weights leaves them as they are")
    after_kept = kept() if kept else []
    if not all(np.array_equal(a, b) for a, b in zip(before_kept, after_kept, strict=True)):
        raise ValueError("a step changes weights that are frozen")
    return step


class Session(Protocol):
    """One peer with one model, in a process of its own. All methods return when the work is done.

    Weights are exchanged in the order and the layouts of Keras's ``model.get_weights()``, so that
    the outputs of all peers can be compared.
    """

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        """Make the model and whatever training it takes; keep the data as the peer wants it."""
        ...

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        """Keep other data to train on."""
        ...

    def train(self, epochs: int) -> None:
        """Train on all data that is held, shuffled anew in each epoch."""
        ...

    def predict(self, x: Arrays) -> Arrays:
        """The outputs for many samples, in batches of 32."""
        ...

    def call(self, x: Arrays) -> Any:
        """The outputs for one batch, as a call of the model by hand gives them."""
        ...

    def get_weights(self) -> Arrays:
        """The weights, of those peers that keep them in Keras's layouts."""
        ...

    def set_weights(self, weights: Arrays) -> None:
        """Take over the weights of another peer."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model to a file in the folder."""
        ...

    def load(self, folder: Path) -> None:
        """Make the model from what :meth:`save` wrote."""
        ...
