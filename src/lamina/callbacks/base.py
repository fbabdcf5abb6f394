"""The base class of callbacks, and the history of the logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from lamina.errors import ArgumentError
from lamina.runtime import messages
from lamina.serialization.registry import builtin

NUMBER = (int, float, np.number)
OPTIONAL_NUMBER = (*NUMBER, type(None))


@builtin("callbacks")
class Callback:
    """Base class of callbacks, which run during ``fit``, ``evaluate`` and ``predict``.

    Override the hooks that you need. ``logs`` are dicts of floats by name, such as
    ``{"loss": 0.34, "val_loss": 0.41}``; what a callback adds to the logs of an epoch is visible to
    later callbacks and to the history. ``self.model`` is the model, with its current weights; set
    ``self.model.stop_training = True`` to stop training after the current step or epoch.

    A callback that overrides a batch hook makes the loop run a single step at a time and read the
    logs of each, which makes the training of small models several times slower. Set
    ``every_batch = False`` in the class if it suffices to call the hook for some of the batches.

    Attributes:
        params: The arguments of the loop: ``epochs``, ``steps``, ``verbose``.
        every_batch: Whether the batch hooks must be called for every batch.
        everywhere: Whether the hooks are called in all processes of a program, and not in the first
            one only.

    >>> class Stop(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.model.stop_training = logs["loss"] < 0.1
    """

    every_batch: ClassVar[bool] = True
    everywhere: ClassVar[bool] = True
    # The attributes that a resumed run restores, and their types; of dicts, the values are lists.
    _state: ClassVar[Mapping[str, tuple[type, ...]]] = {}

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model in use."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Set the arguments of the loop."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Set the model."""
        self._model = model

    def get_state(self) -> dict[str, Any]:
        """The state that a resumed run needs to continue as if it had not been interrupted.

        Returns:
            Numbers, strings, lists, dicts and NumPy arrays by name; empty if there is no state.
        """
        return {name: getattr(self, name) for name in self._state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`get_state` returned; called after :meth:`on_train_begin`.

        Args:
            state: What :meth:`get_state` returned.

        Raises:
            ArgumentError: The names or types are not those of this callback's state.
        """
        if set(state) != set(self._state):
            raise ArgumentError(
                f"{type(self).__name__} has the state {sorted(self._state)}. "
                f"Received: {sorted(state)}."
            )
        for name, kinds in self._state.items():
            value = state[name]
            if not isinstance(value, kinds) or (
                isinstance(value, dict) and not all(isinstance(x, list) for x in value.values())
            ):
                raise ArgumentError(
                    f"{type(self).__name__}: the state {name!r} cannot be restored.",
                    expected=" or ".join(kind.__name__ for kind in kinds),
                    received=repr(value)[:200],
                )
            setattr(self, name, value)

    def on_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Alias of :meth:`on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Alias of :meth:`on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before an epoch; ``epoch`` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after an epoch and its validation, whose logs begin with ``val_``."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a training step; ``batch`` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a training step; the logs are averages over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a batch of ``evaluate`` or of the validation in ``fit``."""

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch of ``evaluate`` or of the validation in ``fit``."""

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called before a batch of ``predict``."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called after a batch of ``predict``; ``logs["outputs"]`` are its outputs."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called before the first epoch."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called after the last epoch, with its logs."""

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called before ``evaluate`` or a validation."""

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called after ``evaluate`` or a validation, with its logs."""

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called before ``predict``."""

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called after ``predict``."""

    def expect_logs(self, names: Collection[str]) -> None:
        """Called with the names of the epochs' logs; warn if a needed log is missing."""

    def _print(self, text: str) -> None:
        """Print a line."""
        stream = messages.stream()
        stream.write(f"{text}\n")
        stream.flush()


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


@builtin("callbacks")
class History(Callback):
    """The logs of every epoch, which ``fit`` returns.

    Attributes:
        epoch: Numbers of the epochs, from 0.
        history: A list for each log, with one value for each epoch in which it was logged. An
            object that is passed to several calls of ``fit`` collects all of their epochs here.
        params: The arguments of ``fit``: ``epochs``, ``steps``, ``verbose``.

    >>> past = History()
    >>> past.on_epoch_end(0, {"loss": 0.5})
    >>> past.on_epoch_end(1, {"loss": 0.25})
    >>> past.history
    {'loss': [0.5, 0.25]}
    """

    _state: ClassVar = {"epoch": (list,), "history": (dict,)}

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
