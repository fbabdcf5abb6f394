"""Callbacks, the list that calls their hooks, and the history of the logs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from lamina.errors import ArgumentError
from lamina.runtime import messages
from lamina.serialization.registry import builtin, defined_by_user
from lamina.tree import nested

Logs = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


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

    >>> class Stop(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.model.stop_training = logs["loss"] < 0.1
    """

    every_batch: ClassVar[bool] = True
    _state: ClassVar[tuple[str, ...]] = ()  # attributes that a resumed run restores

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
            ArgumentError: The names are not those of this callback's state.
        """
        if set(state) != set(self._state):
            raise ArgumentError(
                f"{type(self).__name__} has the state {sorted(self._state)}. "
                f"Received: {sorted(state)}."
            )
        for name in self._state:
            setattr(self, name, state[name])

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
        history: A list for each log, with one value for each epoch in which it was logged.
        params: The arguments of ``fit``: ``epochs``, ``steps``, ``verbose``.

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
    """Whether ``callback`` overrides a hook, in its class or by an attribute of the object."""
    aliases = (hook, hook.replace("_train_", "_")) if "_train_batch_" in hook else (hook,)
    for name in aliases:
        method = getattr(callback, name, None)
        function = method.__func__ if inspect.ismethod(method) else method
        if function is not None and function is not vars(Callback)[name]:
            return True
    return False


def _may_log(callback: Callback) -> bool:
    """Whether ``callback`` is a user's callback that may add to the logs of an epoch."""
    return defined_by_user(type(callback), "on_epoch_end")


def _event(hook: str) -> Callable[..., None]:
    def call(self: CallbackList, logs: Logs = None) -> None:
        self._call(hook, logs)

    call.__name__ = hook
    call.__doc__ = vars(Callback)[hook].__doc__
    return call


def _numbered(hook: str) -> Callable[..., None]:
    def call(self: CallbackList, index: int, logs: Logs = None) -> None:
        self._call(hook, logs, index)

    call.__name__ = hook
    call.__doc__ = vars(Callback)[hook].__doc__
    return call


@runtime_checkable
class _CallbackLike(Protocol):
    """The interface of callbacks from other libraries."""

    def set_model(self, model: Any) -> None: ...


class CallbackList:
    """Calls the hooks of several callbacks in order; there is always a :class:`History`.

    Its methods are the hooks. Logs may be given as a function that returns them, which is called
    once for each event that some callback has a hook for.

    Args:
        callbacks: One callback, or nested lists of callbacks.
        model: The model in use.
        params: The arguments of the loop: ``epochs``, ``steps``, ``verbose``. With ``metrics``, the
            names of an epoch's logs, monitored names are checked before the first epoch.

    Raises:
        ArgumentError: Something that is not a callback; all of them are listed.
    """

    def __init__(
        self, callbacks: Any = None, model: Any = None, params: Mapping[str, Any] | None = None
    ) -> None:
        given = callbacks.callbacks if isinstance(callbacks, CallbackList) else callbacks
        given = [] if given is None else nested.flatten(given)
        wrong = [c for c in given if isinstance(c, type) or not isinstance(c, _CallbackLike)]
        if wrong:
            raise ArgumentError(
                f"`callbacks` contains {', '.join(map(repr, wrong))}. Expected: instances of "
                "classes derived from `lamina.callbacks.Callback`, such as `EarlyStopping()`, not "
                "`EarlyStopping`."
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
        """Whether some callback has a batch hook that must be called for every batch.

        Otherwise several steps may run at once, and batch hooks are called for the last of them.

        Args:
            mode: ``"train"``, ``"test"`` or ``"predict"``.
        """
        hooks = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        return any(
            (not isinstance(c, Callback) or c.every_batch) and any(_listens(c, h) for h in hooks)
            for c in self.callbacks
        )

    def _call(self, hook: str, logs: Logs, *position: int) -> None:
        listeners = self._listeners.get(hook)
        if listeners is None:  # found when first needed: a prediction has few events
            listeners = [getattr(c, hook) for c in self.callbacks if _listens(c, hook)]
            self._listeners[hook] = listeners
        if listeners:
            logs = logs() if callable(logs) else logs
            logs = {} if logs is None else logs
            for listener in listeners:
                listener(*position, logs)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Check the monitored names if those of the logs are known, then call the hooks."""
        names = self.params.get("metrics")
        own = [c for c in self.callbacks if isinstance(c, Callback)]
        if names is not None and len(own) == len(self.callbacks) and not any(map(_may_log, own)):
            for callback in own:
                callback.expect_logs(names)
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
