"""The callback's hooks, the list that calls them, and the history of the logs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from lamina.errors import ArgumentError
from lamina.serialization.registry import builtin, defined_by_user
from lamina.tree import nested

Logs = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


@builtin("callbacks")
class Callback:
    """Code of your own at the events of ``fit``, ``evaluate`` and ``predict``.

    Override the hooks that you need. ``logs`` are dicts of floats by name, such as
    ``{"loss": 0.34, "val_loss": 0.41}``; what a callback adds to the logs of an epoch, later
    callbacks and the history see. ``self.model`` is the model, with its live weights; set
    ``self.model.stop_training = True`` to end the training after the current step or epoch.

    A callback that overrides a hook of batches makes the loop go step by step and read the logs of
    each: small models train several times slower so. Set ``every_batch = False`` in the class
    where some of the batches are enough.

    Attributes:
        params: What the loop was asked for: ``epochs``, ``steps``, ``verbose``.
        every_batch: Whether the hooks of batches must be called for each single one.

    >>> class Stop(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.model.stop_training = logs["loss"] < 0.1
    """

    every_batch: ClassVar[bool] = True
    _state: ClassVar[tuple[str, ...]] = ()  # attributes that a resumed run continues with

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model that runs."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive what the loop was asked for."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self._model = model

    def get_state(self) -> dict[str, Any]:
        """What a resumed run needs to go on as if it had not been interrupted.

        Returns:
            Numbers, strings, lists, dicts and NumPy arrays by name; empty where nothing is kept.
        """
        return {name: getattr(self, name) for name in self._state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`get_state` returned; called after :meth:`on_train_begin`.

        Raises:
            ArgumentError: The names differ from those that this callback keeps.
        """
        if set(state) != set(self._state):
            raise ArgumentError(
                f"{type(self).__name__} keeps the state {sorted(self._state)}. "
                f"Received: {sorted(state)}."
            )
        for name in self._state:
            setattr(self, name, state[name])

    def on_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Another name for :meth:`on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Another name for :meth:`on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Before an epoch; ``epoch`` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """After an epoch and its validation, whose names begin with ``val_``."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a training step; ``batch`` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a training step; the logs are averages over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a batch of ``evaluate`` or of the validation in ``fit``."""

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch of ``evaluate`` or of the validation in ``fit``."""

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before a batch of ``predict``."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch of ``predict``; ``logs["outputs"]`` holds its outputs."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """After the last epoch, with its logs."""

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before ``evaluate`` or a validation."""

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """After ``evaluate`` or a validation, with its logs."""

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before ``predict``."""

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """After ``predict``."""

    def _expect_logs(self, names: Collection[str]) -> None:
        """Object before the first epoch to the names that the epochs' logs will have."""

    def _say(self, text: str) -> None:
        """Write a line for the user."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


@builtin("callbacks")
class History(Callback):
    """What ``fit`` returns: the logs of every epoch.

    Attributes:
        epoch: Numbers of the epochs, from 0.
        history: One list a name, with one entry for each epoch in which the name was logged.
        params: What ``fit`` was asked for.

    >>> past = History()
    >>> past.on_epoch_end(0, {"loss": 0.5})
    >>> past.on_epoch_end(1, {"loss": 0.25})
    >>> past.history
    {'loss': [0.5, 0.25]}
    """

    _state = ("epoch", "history")

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


def _listens(callback: Any, hook: str) -> bool:
    """Whether ``callback`` does anything at that event; lambdas set on the object count."""
    aliases = (hook, hook.replace("_train_", "_")) if "_train_batch_" in hook else (hook,)
    for name in aliases:
        method = getattr(callback, name, None)
        if method is not None and getattr(method, "__func__", method) is not getattr(
            Callback, name
        ):
            return True
    return False


def _may_log(callback: Callback) -> bool:
    """Whether ``callback`` may add to the logs of an epoch what we do not know of."""
    return defined_by_user(type(callback), "on_epoch_end")


def _event(hook: str) -> Callable[..., None]:
    def call(self: CallbackList, logs: Logs = None) -> None:
        self._call(hook, logs)

    call.__name__ = hook
    call.__doc__ = getattr(Callback, hook).__doc__
    return call


def _numbered(hook: str) -> Callable[..., None]:
    def call(self: CallbackList, index: int, logs: Logs = None) -> None:
        self._call(hook, logs, index)

    call.__name__ = hook
    call.__doc__ = getattr(Callback, hook).__doc__
    return call


class CallbackList:
    """Calls the hooks of many callbacks, in their order; a :class:`History` is always the last.

    Its methods are the hooks. Logs may be given as a function that returns them: it is called once
    an event, and only when some callback listens to that event.

    Args:
        callbacks: One callback, or any nesting of lists of them.
        model: The model that runs.
        params: What the loop was asked for: ``epochs``, ``steps``, ``verbose``. With ``metrics``,
            the names that the logs of an epoch will have, monitored names are checked before the
            first epoch.

    Raises:
        ArgumentError: Something that is not a callback; all such entries are listed.
    """

    def __init__(
        self, callbacks: Any = None, model: Any = None, params: Mapping[str, Any] | None = None
    ) -> None:
        given = getattr(callbacks, "callbacks", callbacks)
        given = [] if given is None else nested.flatten(given)
        wrong = [c for c in given if isinstance(c, type) or not hasattr(c, "set_model")]
        if wrong:
            raise ArgumentError(
                f"`callbacks` holds {', '.join(map(repr, wrong))}. Expected callbacks: objects of "
                "classes derived from `lamina.callbacks.Callback`. A class must be called first: "
                "`EarlyStopping()`, not `EarlyStopping`."
            )
        past = [c for c in given if isinstance(c, History)]
        self.history = past[0] if past else History()
        self.callbacks = [*given] if past else [*given, self.history]
        self.model, self.params = model, dict(params or {})
        for callback in self.callbacks:
            callback.set_params(self.params)
            callback.set_model(model)
        self._listeners: dict[str, list[Any]] = {}

    def wants_batches(self, mode: str) -> bool:
        """Whether some callback must hear of each single batch.

        Otherwise many steps may run at once; hooks of batches may then be called for the last of
        them only, which costs nothing where nobody listens.

        Args:
            mode: ``"train"``, ``"test"`` or ``"predict"``.
        """
        hooks = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        return any(
            getattr(c, "every_batch", True) and any(_listens(c, hook) for hook in hooks)
            for c in self.callbacks
        )

    def _call(self, hook: str, logs: Logs, *position: int) -> None:
        listeners = self._listeners.get(hook)
        if listeners is None:  # looked for when first needed: a prediction has few events
            listeners = [getattr(c, hook) for c in self.callbacks if _listens(c, hook)]
            self._listeners[hook] = listeners
        if listeners:
            logs = logs() if callable(logs) else logs
            logs = {} if logs is None else logs
            for listener in listeners:
                listener(*position, logs)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Check the monitored names where the logs' names are known, then call the hooks."""
        names = self.params.get("metrics")
        own = [c for c in self.callbacks if isinstance(c, Callback)]
        if names is not None and len(own) == len(self.callbacks) and not any(map(_may_log, own)):
            for callback in own:
                callback._expect_logs(names)
        self._call("on_train_begin", logs)

    on_train_end = _event("on_train_end")
    on_test_begin, on_test_end = _event("on_test_begin"), _event("on_test_end")
    on_predict_begin, on_predict_end = _event("on_predict_begin"), _event("on_predict_end")
    on_epoch_begin, on_epoch_end = _numbered("on_epoch_begin"), _numbered("on_epoch_end")
    on_train_batch_begin = on_batch_begin = _numbered("on_train_batch_begin")
    on_train_batch_end = on_batch_end = _numbered("on_train_batch_end")
    on_test_batch_begin = _numbered("on_test_batch_begin")
    on_test_batch_end = _numbered("on_test_batch_end")
    on_predict_batch_begin = _numbered("on_predict_batch_begin")
    on_predict_batch_end = _numbered("on_predict_batch_end")
