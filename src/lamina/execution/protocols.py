"""What the steps ask of a model, of its objective and of its optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lamina.core.variable import Variable


class Objective(Protocol):
    """Losses and metrics bound to outputs."""

    @property
    def has_loss(self) -> bool:
        """Whether there is any loss."""
        ...

    @property
    def waits_for_shapes(self) -> bool:
        """Whether a metric has yet to see what it compares."""
        ...

    @property
    def trackers(self) -> Mapping[str, Any]:
        """Log name to metric, the total loss first."""
        ...

    def outputs_of(self, y_pred: Any) -> list[Any]:
        """The outputs, flat."""
        ...

    def track(self, total: Any, parts: Mapping[str, Any], batch_size: int) -> None:
        """Take the total loss and its parts into their means."""
        ...

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Let every metric see the batch."""
        ...

    def results(self, metrics: Sequence[Any]) -> dict[str, Any]:
        """What ``metrics`` say now, by log name."""
        ...


class Updater(Protocol):
    """An optimizer as the steps use it."""

    @property
    def state_variables(self) -> Mapping[str, Variable]:
        """Its variables by name."""
        ...

    def build(self, variables: Mapping[str, Variable]) -> None:
        """Make state for variables that have none yet."""
        ...

    def scale_loss(self, loss: Any, state: Mapping[str, Any] | None = None) -> Any:
        """The loss to differentiate."""
        ...

    def update(
        self, gradients: Mapping[str, Any], parameters: Any, state: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """New parameters and new state."""
        ...


class Executable(Protocol):
    """A model as the steps use it."""

    optimizer: Any

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def objective(self) -> Any:
        """Losses and metrics: an :class:`Objective`."""
        ...

    @property
    def steps_taken(self) -> int:
        """How many training steps it has taken."""
        ...

    def follow(self, training: Any) -> None:
        """Count steps as a running training does, until called with None."""
        ...

    def run_key(self, purpose: Any) -> Any:
        """Bare key data for the random draws of a run."""
        ...

    @property
    def metrics(self) -> list[Any]:
        """All metric objects."""
        ...

    def named_variables(self) -> dict[str, tuple[Variable, bool]]:
        """Address to variable and whether it trains now."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The scalar to minimise."""
        ...

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Let the metrics see a batch."""
        ...

    def train_step(self, state: Any, data: Any) -> Any:
        """A training step on lists of arrays."""
        ...

    def test_step(self, state: Any, data: Any) -> Any:
        """A step of an evaluation on lists of arrays."""
        ...

    def predict_step(self, state: Any, data: Any) -> Any:
        """A step of a prediction on lists of arrays."""
        ...
