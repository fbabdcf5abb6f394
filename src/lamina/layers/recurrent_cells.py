"""One step of a recurrence as a layer: the cells that :mod:`lamina.layers.recurrent` loops over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lamina import activations, constraints, initializers, regularizers
from lamina.core.scope import random_key
from lamina.errors import ArgumentError, StructureError
from lamina.initializers.base import read_seed
from lamina.layers.arguments import autocast, layout
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.regularization import number
from lamina.ops.lowering.dropout import keep_factors
from lamina.ops.lowering.recurrence import Constants, GRUStep, LSTMStep, SimpleStep, Step
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested

_rate = number("[0, 1]", lambda v: 0 <= v <= 1)
_PLAIN = {activations.sigmoid: jax.nn.sigmoid, activations.tanh: jnp.tanh}


def _plain(function: Any) -> Any:
    """JAX's own function, by which a step knows the usual ones."""
    return _PLAIN.get(function, function)


@builtin()
class _CellArguments(Layer):
    """What every recurrent cell with weights takes by name, and so every layer that makes one."""

    kernel_initializer: Any = field("glorot_uniform", convert=initializers.get, kw_only=True)
    recurrent_initializer: Any = field("orthogonal", convert=initializers.get, kw_only=True)
    bias_initializer: Any = field("zeros", convert=initializers.get, kw_only=True)
    kernel_regularizer: Any = field(None, convert=regularizers.get, kw_only=True)
    recurrent_regularizer: Any = field(None, convert=regularizers.get, kw_only=True)
    bias_regularizer: Any = field(None, convert=regularizers.get, kw_only=True)
    kernel_constraint: Any = field(None, convert=constraints.get, kw_only=True)
    recurrent_constraint: Any = field(None, convert=constraints.get, kw_only=True)
    bias_constraint: Any = field(None, convert=constraints.get, kw_only=True)
    dropout: float = field(0.0, convert=_rate, kw_only=True)
    recurrent_dropout: float = field(0.0, convert=_rate, kw_only=True)
    seed: int | None = field(None, convert=read_seed, kw_only=True)


@builtin()
class _Cell(_CellArguments):
    """What the built-in cells share: weights, the input part, states, and one step.

    A subclass gives the sizes of its weights and its :meth:`step`. A layer that loops over time
    calls :meth:`project` on the whole sequence and then runs the step over the result;
    :meth:`call` does both for a single step.
    """

    gates: ClassVar[int] = 1
    units: int = field(convert=positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=2 + self.rank, layout=self.layout)

    @property
    def rank(self) -> int:
        """Number of spatial axes of one step's input."""
        return 0

    @property
    def layout(self) -> str:
        """What the axes of one step's input mean."""
        return layout(self.rank) if self.rank else "(batch, features)"

    @property
    def state_size(self) -> Any:
        """Number of features of each state."""
        return self.units

    @property
    def output_size(self) -> int:
        """Number of features of the output."""
        return self.units

    def _make_weights(
        self, input_shape: Any, window: tuple[int, ...], bias_shape: tuple[int, ...] | None
    ) -> None:
        """Make ``kernel``, ``recurrent_kernel`` and, where it has a shape, ``bias``."""
        features, outputs = known_size(self, input_shape, -1), self.gates * self.units
        self.input_spec = InputSpec(ndim=2 + self.rank, axes={-1: features}, layout=self.layout)
        self.kernel = self.add_weight(
            (*window, features, outputs), self.kernel_initializer, name="kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.recurrent_kernel = self.add_weight(
            (*window, self.units, outputs), self.recurrent_initializer, name="recurrent_kernel",
            regularizer=self.recurrent_regularizer, constraint=self.recurrent_constraint,
        )  # fmt: skip
        self.bias = None
        if bias_shape is not None:
            self.bias = self.add_weight(
                bias_shape, self._bias_initializer(), name="bias",
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip

    def _bias_initializer(self) -> Any:
        return self.bias_initializer

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros ``(batch_size, features)`` for each state."""
        sizes = nested.flatten(self.state_size)
        return [jnp.zeros((batch_size, n), self.compute_dtype) for n in sizes]

    def project(self, inputs: Any, training: bool) -> Any:
        """The input part of the step, ``inputs @ kernel + bias``, with any axes before the batch.

        While training, one dropout mask serves all of them.
        """
        one_step = inputs.shape[inputs.ndim - self.rank - 2 :]
        factors = self._factors(self.dropout, one_step, training, "dropout")
        x = self._input_product(inputs if factors is None else inputs * factors, self.kernel.value)
        return x if self.bias is None else x + self._input_bias(self.bias.value)

    def _input_product(self, x: Any, kernel: Any) -> Any:
        return jnp.matmul(x, kernel)

    def _input_bias(self, bias: Any) -> Any:
        return bias

    def step(self) -> Step:
        """The step, as a function ``(constants, input part, states) -> (output, states)``."""
        raise NotImplementedError

    def constants(self, states: list[Any], training: bool) -> Constants:
        """What the steps read: weights, and while training the same dropout factors for all.

        Args:
            states: the initial states; only their shapes matter.
            training: whether to drop entries of the state.
        """
        shape = states[0].shape
        factors = self._factors(self.recurrent_dropout, shape, training, "recurrent_dropout")
        return Constants(self.recurrent_kernel.value, self._state_bias(), factors)

    def _state_bias(self) -> Any:
        return None

    def _factors(self, rate: float, shape: Any, training: bool, name: str) -> Any:
        if not (training and rate):
            return None
        return keep_factors(random_key(self.seed, name), rate, shape, self.compute_dtype)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step: the output, and the new states in the nesting of the given ones."""
        old = nested.flatten(states)
        if len(old) != count_states(self):
            raise StructureError(
                f"Layer {self.name!r} ({type(self).__name__}) has {count_states(self)} state(s) of "
                f"{self.state_size} features.\n  received: {len(old)} state(s)"
            )
        x, constants = self.project(inputs, training), self.constants(old, training)
        output, new = self.step()(constants, x, old)
        return output, nested.unflatten(states, new)


@builtin("layers")
class SimpleRNNCell(_Cell):
    """One step of the plainest recurrence: ``h' = activation(x @ kernel + h @ recurrent + bias)``.

    Args:
        units: size of the state, which is also the output.
        activation: function applied to the sum.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(features, units)``.
        recurrent_initializer: for the recurrent kernel, of shape ``(units, units)``.
        bias_initializer: for the bias, of shape ``(units,)``.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training.
        recurrent_dropout: part of the state's entries to drop while training.
        seed: makes the drops differ from those of the global seed.

    Shapes: ``(batch, features)`` and a list of one state ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new state.

    Raises:
        ShapeError: an input of another rank, or with another number of features.

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1

    >>> output, [state] = SimpleRNNCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> output.shape
    (2, 4)
    """

    activation: Any = field("tanh", convert=activations.get)
    use_bias: bool = True

    def build(self, input_shape: Any) -> None:
        """Make ``kernel``, ``recurrent_kernel`` and ``bias``."""
        self._make_weights(input_shape, (), (self.units,) if self.use_bias else None)

    def step(self) -> Step:
        """``activation(x + h @ recurrent_kernel)``."""
        return SimpleStep(self.activation)


@builtin("layers")
class GRUCell(_Cell):
    """One step of a gated recurrent unit.

    With ``z = gate(x @ W_z + h @ U_z + b_z)`` and ``r`` likewise, the candidate is
    ``c = activation(x @ W_c + b_c + r * (h @ U_c + b'_c))`` (``reset_after``) or
    ``activation(x @ W_c + (r * h) @ U_c + b_c)``, and the new state ``z * h + (1 - z) * c``.

    Args:
        units: size of the state, which is also the output.
        activation: of the candidate.
        recurrent_activation: of the gates.
        use_bias: whether biases are added.
        kernel_initializer: for the kernel, of shape ``(features, 3 * units)``, in the order
            z, r, c.
        recurrent_initializer: for the recurrent kernel, of shape ``(units, 3 * units)``.
        bias_initializer: for the bias, of shape ``(2, 3 * units)`` (input's and state's) with
            ``reset_after``, else ``(3 * units,)``.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training.
        recurrent_dropout: part of the state's entries to drop while training.
        reset_after: whether the reset gate acts after the product with the state (one product a
            step, and what cuDNN computes) or before it (the paper's first version).
        seed: makes the drops differ from those of the global seed.

    Shapes: ``(batch, features)`` and a list of one state ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new state.

    Raises:
        ShapeError: an input of another rank, or with another number of features.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078

    >>> output, [state] = GRUCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> output.shape
    (2, 4)
    """

    gates: ClassVar[int] = 3
    activation: Any = field("tanh", convert=activations.get)
    recurrent_activation: Any = field("sigmoid", convert=activations.get)
    use_bias: bool = True
    reset_after: bool = field(True, kw_only=True)

    def build(self, input_shape: Any) -> None:
        """Make ``kernel``, ``recurrent_kernel`` and ``bias``."""
        bias_shape = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
        self._make_weights(input_shape, (), bias_shape if self.use_bias else None)

    def _input_bias(self, bias: Any) -> Any:
        return bias[0] if self.reset_after else bias

    def _state_bias(self) -> Any:
        return self.bias.value[1] if self.bias is not None and self.reset_after else None

    def step(self) -> Step:
        """See :class:`lamina.ops.lowering.recurrence.GRUStep`."""
        return GRUStep(self.activation, self.recurrent_activation, self.reset_after)


@builtin()
class _OpenForgetGate(initializers.Initializer):
    """The given initial biases, but ones for the forget gate: at first nothing is forgotten."""

    def __init__(self, initializer: Any) -> None:
        self.initializer = initializer

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        draw = getattr(self.initializer, "draw", None)
        drawn = draw(rng, shape, dtype) if draw else self.initializer(shape, dtype=dtype)
        value = np.array(drawn)
        units = shape[0] // 4
        value[units : 2 * units] = 1
        return value


@builtin("layers")
class LSTMCell(_Cell):
    """One step of a long short-term memory.

    From ``i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias)`` the new cell state is
    ``c' = gate(f) * c + gate(i) * activation(g)`` and the output ``h' = gate(o) * activation(c')``.

    Args:
        units: size of the two states ``h`` and ``c``; ``h`` is also the output.
        activation: of the candidate and of the new cell state.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, of shape ``(features, 4 * units)``, in the order
            input, forget, candidate, output.
        recurrent_initializer: for the recurrent kernel, of shape ``(units, 4 * units)``.
        bias_initializer: for the bias, of shape ``(4 * units,)``.
        unit_forget_bias: whether the forget gate's bias starts with ones (Jozefowicz et al. 2015,
            https://proceedings.mlr.press/v37/jozefowicz15.html).
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each step of the optimizer.
        recurrent_constraint: likewise, of the recurrent kernel.
        bias_constraint: likewise, of the bias.
        dropout: part of the input's entries to drop while training.
        recurrent_dropout: part of the state's entries to drop while training.
        seed: makes the drops differ from those of the global seed.

    Shapes: ``(batch, features)`` and a list of two states ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new states.

    Raises:
        ShapeError: an input of another rank, or with another number of features.

    Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735

    >>> zeros = jnp.zeros((2, 4))
    >>> output, [h, c] = LSTMCell(4)(jnp.ones((2, 3)), [zeros, zeros])
    >>> output.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates: ClassVar[int] = 4
    activation: Any = field("tanh", convert=activations.get)
    recurrent_activation: Any = field("sigmoid", convert=activations.get)
    use_bias: bool = True
    unit_forget_bias: bool = field(True, kw_only=True)

    @property
    def state_size(self) -> list[int]:
        """Number of features of each state."""
        return [self.units, self.units]

    def build(self, input_shape: Any) -> None:
        """Make ``kernel``, ``recurrent_kernel`` and ``bias``."""
        self._make_weights(input_shape, (), (4 * self.units,) if self.use_bias else None)

    def _bias_initializer(self) -> Any:
        given = self.bias_initializer
        return _OpenForgetGate(given) if self.unit_forget_bias else given

    def step(self) -> LSTMStep:
        """See :class:`lamina.ops.lowering.recurrence.LSTMStep`."""
        return LSTMStep(_plain(self.activation), _plain(self.recurrent_activation))


def read_cells(value: Any) -> list[Layer]:
    """Read a list of cells."""
    if not isinstance(value, Sequence) or not value:
        raise ArgumentError(f"expected a list of cells. Received: {value!r}.")
    return [read_cell(cell) for cell in value]


def read_cell(value: Any) -> Layer:
    """Read one cell: a layer with a ``state_size`` whose call takes a step and states.

    Raises:
        ArgumentError: anything else; the message names what is missing.
    """
    if isinstance(value, Layer) and hasattr(value, "state_size"):
        return value
    lacks = "no `state_size`" if isinstance(value, Layer) else f"of type {type(value).__name__}"
    raise ArgumentError(
        "expected a cell: a layer with an attribute `state_size` (features of each state) and a "
        "`call(self, inputs, states)` that returns the output and the list of new states. "
        f"Received: {value!r}, {lacks}."
    )


@builtin("layers")
class StackedRNNCells(Layer):
    """Several cells as one: each takes the output of the one before it.

    Args:
        cells: the cells, first to last.

    Shapes: ``(batch, features)`` and a list of each cell's states, to the last cell's output and
    the list of each cell's new states.

    >>> stack = StackedRNNCells([LSTMCell(4), GRUCell(2)])
    >>> stack.state_size, stack.output_size
    ([[4, 4], 2], 2)
    >>> output, states = stack(jnp.ones((5, 3)), stack.get_initial_state(5))
    >>> output.shape
    (5, 2)
    """

    cells: list[Any] = field(convert=read_cells)

    @property
    def state_size(self) -> list[Any]:
        """The state sizes of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """The output size of the last cell."""
        return output_size(self.cells[-1])

    def build(self, input_shape: Any) -> None:
        """Build each cell for the output of the one before it."""
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
                cell.built = True
            size = output_size(cell)
            input_shape = (input_shape[0], *(size if isinstance(size, Sequence) else (size,)))

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The initial states of each cell."""
        return [initial_state(cell, batch_size) for cell in self.cells]

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step through all cells."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, after = cell(inputs, state)
            # An inner cell of another policy leaves the dtype of the states as it is.
            dtypes = [x.dtype for x in nested.flatten(state)]
            cast = [x.astype(d) for x, d in zip(nested.flatten(after), dtypes, strict=True)]
            new.append(nested.unflatten(after, cast))
        return autocast(inputs, self.compute_dtype), new


def count_states(cell: Any) -> int:
    """The number of a cell's states, those of stacked cells together."""
    if isinstance(cell, StackedRNNCells):
        return sum(map(count_states, cell.cells))
    return len(cell.state_size) if isinstance(cell.state_size, (list, tuple)) else 1


def output_size(cell: Any) -> Any:
    """The features of a cell's output: as it says, or those of its first state."""
    size = getattr(cell, "output_size", None)
    return nested.flatten(cell.state_size)[0] if size is None else size


def initial_state(cell: Any, batch_size: Any) -> list[Any]:
    """A cell's states before the first step, as a list: its own choice, or zeros."""
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]
    size = cell.state_size
    sizes = size if isinstance(size, (list, tuple)) else [size]
    shapes = [n if isinstance(n, (list, tuple)) else (n,) for n in sizes]
    return [jnp.zeros((batch_size, *shape), cell.compute_dtype) for shape in shapes]


__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"]
