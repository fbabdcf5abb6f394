"""The distribution of a model over devices."""

from __future__ import annotations

from typing import Any

from lamina import distribution, settings
from lamina.core.sharding import current_distribution, is_alone
from lamina.distribution.strategies import check_distribution, named_distribution
from lamina.errors import NotBuiltError, StateError
from lamina.execution.analysis import StepAnalysis, analyze
from lamina.layers import Layer
from lamina.layers.state import flatten_layers
from lamina.serialization.registry import builtin


class _Attributes:
    """The internal attributes of all models."""

    # A distribution, the name of one that waits for the weights, or None.
    _distribution: Any = None
    optimizer: Any
    program_for: Any  # of the trainer


@builtin()
class Distributed(_Attributes, Layer):
    """Holds the distribution that ``compile`` was given, and lays out the variables by it."""

    @property
    def distributed_by(self) -> distribution.Distribution | None:
        """What decides where the model's arrays lie; None for the default device alone.

        It is what :meth:`compile` was given, or the current distribution at that time; for a model
        that is not compiled, the current one. A name stands for nothing before the weights exist.
        """
        given: Any = self._distribution
        if isinstance(given, str):  # rules need the weights
            if not self.built:
                return None
            given = self._distribution = named_distribution(given, self)
        given = current_distribution() if given is None else given
        return None if given is None or is_alone(given) else given

    def _surroundings(self) -> tuple[Any, ...]:
        """What compiled programs depend on besides the model."""
        return self.distributed_by, *settings.read_by_calls()

    def distribute(self, given: Any) -> None:
        """Set the distribution; existing weights move to where it wants them."""
        check_distribution(given)
        before = self._distribution
        self._distribution = current_distribution() if given is None else given
        if self.built and before is not None and self._distribution is None:
            state = {} if self.optimizer is None else self.optimizer.state_variables
            for variable in (*self.variables, *state.values()):
                variable.lay_out(None)
            for layer in flatten_layers(self):
                layer.__dict__["output_sharding"] = None
        self.lay_out()

    def lay_out(self) -> None:
        """Tell each variable and each layer where its arrays lie; without effect if unbuilt."""
        by = self.distributed_by if self.built else None
        if by is None:
            return
        named = {a: v for a, (v, _) in self.named_variables().items()}
        for address, layout in by.layouts(named).items():
            named[address].lay_out(layout)
        for layer in flatten_layers(self):
            layer.__dict__["output_sharding"] = by.output_layout(layer.path)

    def analyze_step(self, batch: Any = None) -> StepAnalysis:
        """What the compiler says about a training step: communication, memory and operations.

        The step is compiled, but not run: the weights need not exist, nor fit into memory.

        Args:
            batch: The shapes and dtypes of a batch ``(x, y, sample_weight)``, as
                ``jax.ShapeDtypeStruct``, or arrays; that of the last training when None.

        Raises:
            NotBuiltError: There was no training, and no ``batch`` is given.
            StateError: Steps run eagerly.

        >>> import numpy as np
        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> model.analyze_step((np.ones((8, 4), "float32"), np.ones((8, 2), "float32"), None))
        StepAnalysis(collectives={}, state_bytes=56, ...)
        """
        program = self.program_for("train")
        if program.eager:
            raise StateError(
                f"The steps of {self.name!r} run eagerly, so there is no program to analyze.",
                cure="Compile the model without `run_eagerly=True`.",
            )
        batch = program.seen if batch is None else batch
        if batch is None:
            raise NotBuiltError(
                f"The shapes of a batch of {self.name!r} are not known before training.",
                cure="Pass `batch=(x, y, sample_weight)`, None for a missing part.",
            )
        return analyze(program, batch)
