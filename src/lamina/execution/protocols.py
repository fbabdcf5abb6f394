"""The interfaces of models, objectives and optimizers that the steps use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lamina.core.variable import Variable


class Objective(Protocol):
    """Losses and metrics, bound to outputs."""

    @property
    def has_loss(self) -> bool:
        """Whether there is any loss."""
        ...

    @property
    def waits_for_shapes(self) -> bool:
        """Whether a metric needs the shapes of a batch before it can be created."""
        ...

    @property
    def trackers(self) -> Mapping[str, Any]:
        """Metrics by log name, the total loss first."""
        ...

    def public_trackers(self) -> list[Any]:
        """The trackers in ``model.metrics``."""
        ...

    def outputs_of(self, y_pred: Any) -> list[Any]:
        """The outputs, flat."""
        ...

    def track(self, total: Any, parts: Mapping[str, Any], batch_size: int) -> None:
        """Update the means of the total loss and its parts."""
        ...

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Update all metrics with a batch."""
        ...

    def results(self, metrics: Sequence[Any]) -> dict[str, Any]:
        """The current results of ``metrics``, by log name."""
        ...


class Updater(Protocol):
    """An optimizer as the steps use it."""

    @property
    def state_variables(self) -> Mapping[str, Variable]:
        """The variables of the optimizer, by name."""
        ...

    def build(self, variables: Mapping[str, Variable]) -> None:
        """Create state for variables that do not have any yet."""
        ...

    def scale_loss(self, loss: Any) -> Any:
        """The loss to differentiate."""
        ...

    def take_step(
        self, gradients: Mapping[str, Any], parameters: Any, state: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The new parameters and the new state."""
        ...


class Executable(Protocol):
    """A model as the steps use it."""

    optimizer: Any
    stop_training: bool

    @property
    def name(self) -> str:
        """Name of the model, for messages."""
        ...

    @property
    def distributed_by(self) -> Any:
        """What decides where arrays lie; None for a single device."""
        ...

    @property
    def training_objective(self) -> Any:
        """Losses and metrics: an :class:`Objective`."""
        ...

    @property
    def steps_taken(self) -> int:
        """Number of training steps taken so far."""
        ...

    def follow(self, training: Any) -> None:
        """Use the step counter of a running training, until called with None."""
        ...

    def run_key(self, purpose: Any) -> Any:
        """Raw key data for the random draws of a run."""
        ...

    @property
    def metrics(self) -> list[Any]:
        """All metric objects."""
        ...

    def trainable_flags(self) -> tuple[bool, ...]:
        """Whether each variable is trainable."""
        ...

    def weight_penalties(self) -> list[Any]:
        """The values of the regularizers of the weights that are currently trainable."""
        ...

    def named_variables(self) -> dict[str, tuple[Variable, bool]]:
        """Map addresses to variables and whether these are currently trainable."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    @property
    def has_own_loss(self) -> bool:
        """Whether the class overrides `compute_loss`."""
        ...

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The scalar to minimize."""
        ...

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Update the metrics with a batch."""
        ...

    def reset_metrics(self) -> None:
        """Reset the state of all metrics."""
        ...

    def get_metrics_result(self) -> dict[str, Any]:
        """The current results of the metrics, by log name."""
        ...

    def make_train_function(self) -> None:
        """Have the training step compiled by the next run."""
        ...

    def make_test_function(self) -> None:
        """Have the step of evaluation compiled by the next run."""
        ...

    def make_predict_function(self) -> None:
        """Have the step of prediction compiled by the next run."""
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
