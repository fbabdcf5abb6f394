"""Different optimizers for different weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.optimizers.base import Arrays, BaseOptimizer
from lamina.optimizers.optimizer import Optimizer
from lamina.patterns import PatternMap
from lamina.serialization import registry
from lamina.serialization.registry import builtin
from lamina.serialization.text import reads_config


def _checked(optimizer: Any, where: str) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"{where} expects an optimizer that changes weights itself, such as `SGD()`. "
            f"Received: {optimizer!r}."
        )
    return optimizer


@builtin("optimizers")
class OptimizerMap(PatternMap[Optimizer]):
    """Which optimizer a weight has, by its path.

    A key is the whole path of a weight, such as ``"encoder/dense/kernel"``, or a regular
    expression that matches it from beginning to end.

    Args:
        default_optimizer: The optimizer of weights that no key matches.
        optimizer_map: Optimizers by key.

    Raises:
        ArgumentError: Something that is not an optimizer, a key that is there already, or, in a
            look-up, a path that several keys match.

    >>> from lamina.optimizers import SGD, Adam
    >>> chosen = OptimizerMap(SGD(), {"encoder/.*": Adam()})
    >>> chosen["encoder/dense/kernel"].name, chosen["decoder/dense/kernel"].name
    ('adam', 'sgd')
    """

    def __init__(self, default_optimizer: Any, optimizer_map: Any = None) -> None:
        self._default = _checked(default_optimizer, "OptimizerMap(): `default_optimizer`")
        if optimizer_map is not None and not isinstance(optimizer_map, Mapping):
            raise ArgumentError(
                f"OptimizerMap(): `optimizer_map` expects a dict. Received: {optimizer_map!r}."
            )
        super().__init__()
        self.update(optimizer_map or {})

    @property
    def default_optimizer(self) -> Optimizer:
        """The optimizer of weights that no key matches."""
        return self._default

    def _default_value(self) -> Optimizer:
        return self._default

    def _converted(self, value: Any) -> Optimizer:
        return _checked(value, "OptimizerMap")

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer of a weight."""
        return self[variable.path]

    def __repr__(self) -> str:
        return f"OptimizerMap({self._default!r}, {self._entries!r})"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {"default_optimizer": self._default, "optimizer_map": dict(self._entries)}

    @classmethod
    @reads_config
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> OptimizerMap:
        """A new object from the data that :meth:`get_config` returned.

        Args:
            config: The data.
            custom_objects: Your own classes of optimizers and schedules, by name.
        """
        return cls(**{k: registry.deserialize(v, custom_objects) for k, v in config.items()})


@builtin("optimizers")
class MultiOptimizer(BaseOptimizer):
    """Several optimizers, each for some of the weights.

    It has no learning rate of its own: those of :attr:`optimizers` can be read and set. Clipping,
    weight decay, moving averages and gradient accumulation are theirs too.

    Args:
        optimizer_map: An :class:`OptimizerMap`, or a function from a weight to its optimizer, which
            returns the same object for all weights that are to share one.
        loss_scale_factor: The loss is multiplied by it, and the gradients divided; it takes the
            place of that of each optimizer.
        name: Name of the optimizer.

    Raises:
        ArgumentError: When built, a weight without a valid optimizer.

    >>> from lamina.optimizers import SGD
    >>> fast = SGD(0.5)
    >>> a, b = Variable(np.ones(2), name="a"), Variable(np.ones(2), name="b")
    >>> MultiOptimizer(OptimizerMap(SGD(0.25), {"b": fast})).apply([np.ones(2)] * 2, [a, b])
    >>> a.numpy().tolist(), b.numpy().tolist()
    ([0.75, 0.75], [0.5, 0.5])
    """

    optimizer_map: Callable[[Variable], Any]
    loss_scale_factor: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.optimizer_map):
            raise ArgumentError(
                "MultiOptimizer() expects an OptimizerMap, or a function from a weight to its "
                f"optimizer. Received: {self.optimizer_map!r}."
            )
        # Keras's files have a place for it.
        self._rate = Variable(np.float32(0), trainable=False, name="learning_rate", owner=self)
        self._used: list[Optimizer] = []
        self._weights_of: dict[int, dict[str, Variable]] = {}
        if isinstance(self.optimizer_map, OptimizerMap):
            for optimizer in (*self.optimizer_map.values(), self.optimizer_map.default_optimizer):
                self._use(optimizer)

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers in use."""
        return self._used

    def _use(self, optimizer: Any) -> int:
        """The position of ``optimizer`` in :attr:`optimizers`, to which it is added."""
        _checked(optimizer, "MultiOptimizer")
        for i, known in enumerate(self.optimizers):
            if known is optimizer:
                return i
        optimizer.loss_scale_factor = self.loss_scale_factor
        self.optimizers.append(optimizer)
        return len(self.optimizers) - 1

    @property
    def learning_rate(self) -> Any:
        """There is none: each of :attr:`optimizers` has its own."""
        raise ArgumentError(
            "A MultiOptimizer has no learning rate of its own. Read and set that of each of its "
            f"`optimizers`: {[optimizer.name for optimizer in self.optimizers]}."
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        _ = self.learning_rate

    def make_state(self) -> None:
        self._weights_of = {}
        for address, variable in self._parameters.items():
            of = self._weights_of.setdefault(self._use(self.optimizer_map(variable)), {})
            of[address] = variable
        for i, optimizer in enumerate(self.optimizers):
            if i in self._weights_of:
                optimizer.build(self._weights_of[i])
            for key, variable in optimizer.state_variables.items():
                self._slots[f"{i}/{key}"] = variable

    def state_of(self, variables: Mapping[str, Variable]) -> dict[str, Variable]:
        read = {
            f"{i}/{key}" for i, optimizer in enumerate(self.optimizers)
            for key in optimizer.state_of(variables)
        }  # fmt: skip
        return {
            key: v for key, v in self.state_variables.items()
            if key not in self._slots or key in read
        }  # fmt: skip

    def update(
        self, gradients: Mapping[str, Any], parameters: Arrays, state: Arrays
    ) -> tuple[Arrays, Arrays]:
        values, new = dict(parameters), dict(state)
        for i, optimizer in enumerate(self.optimizers):
            weights = self._weights_of.get(i, {})
            given = {a: g for a, g in gradients.items() if a in weights and g is not None}
            if not given:
                continue
            own = {a: p for a, p in parameters.items() if a in weights}
            start = f"{i}/"
            inner = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            own, inner = optimizer.take_step(given, own, inner)
            values |= own
            new |= {f"{start}{key}": v for key, v in inner.items()}
        return values, {**new, "iteration": state["iteration"] + 1}

    def scale_loss(self, loss: Any) -> Any:
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    @property
    def moving_averages(self) -> dict[Variable, Variable]:
        return {w: a for one in self.optimizers for w, a in one.moving_averages.items()}

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        wanted = list(var_list)
        for i, weights in self._weights_of.items():
            mine = set(weights.values())
            self.optimizers[i].finalize_variable_values([v for v in wanted if v in mine])

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        raise ArgumentError(
            "A MultiOptimizer has no weight decay of its own. Call `exclude_from_weight_decay` of "
            "the optimizers that it is made of."
        )
