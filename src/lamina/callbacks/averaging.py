"""Evaluating with averaged weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from lamina.callbacks.base import Callback
from lamina.core.variable import Variable, copied
from lamina.errors import ArgumentError
from lamina.serialization.registry import builtin


@runtime_checkable
class _Averaging(Protocol):
    """An optimizer that can keep moving averages of weights."""

    @property
    def moving_averages(self) -> dict[Variable, Variable]: ...


@builtin("callbacks")
class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving averages of the weights, and trains without them.

    During an evaluation (the validation in ``fit`` too) or a prediction the averages, which an
    optimizer with ``use_ema=True`` keeps, take the place of the weights. A model that was trained
    to its end has the averages as its weights, whether or not this callback is used.
    Polyak and Juditsky 1992, https://doi.org/10.1137/0330046.

    Args:
        swap_on_epoch: Whether the averages also take the weights' place from the end of each epoch
            to the beginning of the next, so that callbacks after this one, such as
            :class:`ModelCheckpoint`, see them.

    Raises:
        ArgumentError: In use, an optimizer that keeps no averages.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile(lamina.optimizers.SGD(0.1, use_ema=True), "mse")
    >>> data = [[1.0]], [[2.0]]
    >>> history = model.fit(*data, validation_data=data, verbose=0, callbacks=[SwapEMAWeights()])
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._trained: dict[Variable, Any] = {}  # what the averages have taken the place of

    def _averages(self) -> dict[Variable, Variable]:
        optimizer = self.model.optimizer
        averages = optimizer.moving_averages if isinstance(optimizer, _Averaging) else {}
        if not averages:
            raise ArgumentError(
                "SwapEMAWeights needs an optimizer that keeps moving averages of the weights. "
                f"Received: {optimizer!r}. Pass `use_ema=True` to it, and train before evaluating."
            )
        return averages

    def _use_averages(self) -> None:
        if not self._trained:
            for weight, average in self._averages().items():
                self._trained[weight] = weight.value
                weight.assign(copied(average.value))

    def _use_weights(self) -> None:
        for weight, value in self._trained.items():
            weight.assign(value)
        self._trained = {}

    def get_state(self) -> dict[str, Any]:
        return {"trained": list(self._trained.values())} if self._trained else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._trained = dict(zip(self._averages(), state["trained"], strict=True))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._trained = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._use_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.swap_on_epoch:
            self._use_averages()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._trained = {}  # the averages are the weights now

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._use_averages()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._use_weights()

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._use_averages()

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        self._use_weights()
