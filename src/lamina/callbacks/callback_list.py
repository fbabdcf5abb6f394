"""The list of callbacks that a loop calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from lamina.callbacks.base import Callback, History
from lamina.callbacks.progress import ProgbarLogger
from lamina.errors import ArgumentError
from lamina.runtime import stalls
from lamina.runtime.processes import is_first
from lamina.serialization.registry import defined_by_user
from lamina.tree import nested

Logs = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


def _listens(callback: Any, hook: str) -> bool:
    """Whether ``callback`` overrides a hook, in its class or by a function set on the object."""
    aliases = (hook, hook.replace("_train_", "_")) if "_train_batch_" in hook else (hook,)
    for name in aliases:
        method = getattr(callback, name, None)
        function = method.__func__ if inspect.ismethod(method) else method
        if function is not None and function is not vars(Callback)[name]:
            return True
    return False


def _may_log(callback: Callback) -> bool:
    """Whether ``callback`` is a user's that may add to the logs of an epoch."""
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
    """What a callback of another library offers."""

    def set_model(self, model: Any) -> None: ...

    def set_params(self, params: dict[str, Any]) -> None: ...


def flatten_callbacks(given: Any) -> list[Any]:
    """The callbacks in any nesting of lists, checked."""
    given = given.callbacks if isinstance(given, CallbackList) else given
    found = [] if given is None else nested.flatten(given)
    wrong = [c for c in found if isinstance(c, type) or not isinstance(c, _CallbackLike)]
    if wrong:
        raise ArgumentError(
            f"`callbacks` contains {', '.join(map(repr, wrong))}. Expected: instances of "
            "classes derived from `lamina.callbacks.Callback`, such as `EarlyStopping()`, not "
            "`EarlyStopping`."
        )
    return list(found)


class CallbackList:
    """Calls the hooks of several callbacks in order.

    Its methods are the hooks. Logs may be given as a function that returns them, which is called
    once for each event that some callback has a hook for.

    Args:
        callbacks: One callback, or nested lists of callbacks.
        add_history: Whether to add a :class:`History`, if none is given.
        add_progbar: Whether to add a :class:`ProgbarLogger`, if none is given.
        model: The model in use.
        params: The arguments of the loop: ``epochs``, ``steps``, ``verbose``. With ``metrics``, the
            names of an epoch's logs, monitored names are checked before the first epoch.

    Raises:
        ArgumentError: Something that is not a callback; all of them are listed.

    Attributes:
        callbacks: All of them, in order.
        history: The :class:`History` among them, or None.

    >>> hooks = CallbackList(add_history=True, epochs=1, steps=1, verbose=0)
    >>> hooks.on_epoch_end(0, {"loss": 0.5})
    >>> hooks.history.history
    {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = flatten_callbacks(callbacks)
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        past = [c for c in self.callbacks if isinstance(c, History)]
        if add_history and not past:
            past = [History()]
            self.callbacks += past
        self.history = past[0] if past else None
        self._listeners: dict[str, list[Any]] = {}
        self.set_params(params)
        self.set_model(model)

    def append(self, callback: Any) -> None:
        """Add a callback, and tell it the model and the arguments of the loop."""
        (callback,) = flatten_callbacks(callback)
        self.callbacks.append(callback)
        if self.history is None and isinstance(callback, History):
            self.history = callback
        self._listeners = {}
        callback.set_params(self.params)
        callback.set_model(self.model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Tell all callbacks the arguments of the loop."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Tell all callbacks the model."""
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    @property
    def shows_progress(self) -> bool:
        """Whether there is a :class:`ProgbarLogger`, so that the loop shows nothing itself."""
        return any(isinstance(c, ProgbarLogger) for c in self.callbacks)

    def wants_batches(self, mode: str) -> bool:
        """Whether some callback has a batch hook that must be called for every batch.

        Otherwise several steps may run at once, and batch hooks are called for the last of them.

        Args:
            mode: ``"train"``, ``"test"`` or ``"predict"``.
        """
        hooks = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        mine = type(self).__mro__[: type(self).__mro__.index(CallbackList)]
        return any(hook in vars(c) for c in mine for hook in hooks) or any(
            (not isinstance(c, Callback) or c.every_batch) and any(_listens(c, h) for h in hooks)
            for c in self.callbacks
        )

    def _call(self, hook: str, logs: Logs, *position: int) -> None:
        listeners = self._listeners.get(hook)
        if listeners is None:  # found when first needed: a prediction has few events
            listeners = [
                getattr(c, hook) for c in self.callbacks
                if _listens(c, hook) and (is_first() or not isinstance(c, Callback) or c.everywhere)
            ]  # fmt: skip
            self._listeners[hook] = listeners
        if listeners:
            logs = logs() if callable(logs) else logs
            logs = {} if logs is None else logs
            with stalls.watched(f"the hook `{hook}` of a callback"):
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


def callback_list(
    given: Any, add_history: bool = False, model: Any = None, **params: Any
) -> CallbackList:  # fmt: skip
    """A :class:`CallbackList` of the given callbacks; ``given`` itself if it is one."""
    if not isinstance(given, CallbackList):
        return CallbackList(given, add_history, model=model, **params)
    given.set_params(params)
    given.set_model(model)
    if add_history and given.history is None:
        given.append(History())
    return given
