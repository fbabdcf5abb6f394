"""Recurrent cells: the layers that :mod:`lamina.layers.recurrent` applies at each time step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lamina import activations, initializers
from lamina.core.scope import random_key
from lamina.errors import ArgumentError, StructureError
from lamina.initializers.base import read_seed
from lamina.layers.arguments import autocast, layout
from lamina.layers.base import InputSpec, Layer
from lamina.layers.core import known_size
from lamina.layers.regularization import dropout_rate
from lamina.layers.weights import add_weight, constraint, initializer, penalties, regularizer
from lamina.ops.lowering.dropout import keep_factors
from lamina.ops.lowering.matmul import matmul
from lamina.ops.lowering.recurrence import Constants, GRUStep, LSTMStep, SimpleStep, Step
from lamina.random.seed_generator import Seeded
from lamina.serialization.fields import field, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested

_PLAIN = {activations.sigmoid: jax.nn.sigmoid, activations.tanh: jnp.tanh}


def _plain(function: Any) -> Any:
    """The plain JAX function, for which steps have a faster implementation."""
    return _PLAIN.get(function, function)


# Names of arguments, in the orders in which Keras's layers take them by position.
INITIALIZERS = "kernel_initializer recurrent_initializer bias_initializer"
REGULARIZERS = "kernel_regularizer recurrent_regularizer bias_regularizer"
CONSTRAINTS = "kernel_constraint recurrent_constraint bias_constraint"
RATES = "dropout recurrent_dropout"
GATED = "units activation recurrent_activation use_bias"
_PENALTIES = f"{REGULARIZERS} {CONSTRAINTS}"


@builtin()
class CellArguments(Seeded, Layer, kw_only=True):
    """The arguments of the built-in recurrent cells, and of the layers that create one."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        **penalties(kernel="the kernel", recurrent="the recurrent kernel", bias="the bias"),
        "dropout": "Fraction of the input features to drop during training; the same ones in all "
        "time\n        steps of a sequence.",
        "recurrent_dropout": "Fraction of the state's features to drop during training, likewise, "
        "where\n        the state is multiplied by the recurrent kernel.",
        "seed": "Integer that, with the global seed, determines what is dropped.",
    }
    _without_effect = ("implementation",)
    kernel_initializer: Any = initializer("glorot_uniform")
    recurrent_initializer: Any = initializer("orthogonal")
    bias_initializer: Any = initializer("zeros")
    kernel_regularizer: Any = regularizer()
    recurrent_regularizer: Any = regularizer()
    bias_regularizer: Any = regularizer()
    kernel_constraint: Any = constraint()
    recurrent_constraint: Any = constraint()
    bias_constraint: Any = constraint()
    dropout: float = field(default=0.0, convert=dropout_rate, kw_only=True)
    recurrent_dropout: float = field(default=0.0, convert=dropout_rate, kw_only=True)
    seed: int | None = field(default=None, convert=read_seed, kw_only=True)


@builtin()
class BuiltinCell(CellArguments):
    """Base class of the built-in cells: weights, product with the input, states, and a time step.

    A subclass defines the shapes of its weights and its :meth:`step`. A layer that loops over time
    calls :meth:`project` on the whole sequence and then applies the step to the result;
    :meth:`call` does both for a single time step.
    """

    gates: ClassVar[int] = 1
    units: int = field(convert=positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=2 + self.rank, layout=self.layout)

    @property
    def rank(self) -> int:
        """Number of spatial dimensions of the input of a time step."""
        return 0

    @property
    def layout(self) -> str:
        """The meaning of the axes of a time step's input."""
        return layout(self.rank) if self.rank else "(batch, features)"

    @property
    def state_size(self) -> Any:
        """Number of features of each state."""
        return self.units

    @property
    def output_size(self) -> int:
        """Number of features of the output."""
        return self.units

    def _add_weights(
        self, input_shape: Any, window: tuple[int, ...], bias_shape: tuple[int, ...] | None
    ) -> None:
        """Add ``kernel``, ``recurrent_kernel`` and, if it has a shape, ``bias``."""
        features, outputs = known_size(self, input_shape, -1), self.gates * self.units
        self.input_spec = InputSpec(ndim=2 + self.rank, axes={-1: features}, layout=self.layout)
        self.kernel = add_weight(self, "kernel", (*window, features, outputs))
        recurrent_shape = (*window, self.units, outputs)
        self.recurrent_kernel = add_weight(self, "recurrent", recurrent_shape, "recurrent_kernel")
        self.bias = None
        if bias_shape is not None:
            initial = self._bias_initializer()
            self.bias = add_weight(self, "bias", bias_shape, initializer=initial)

    def _bias_initializer(self) -> Any:
        return self.bias_initializer

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros ``(batch_size, features)`` for each state."""
        sizes = nested.flatten(self.state_size)
        return [jnp.zeros((batch_size, n), self.compute_dtype) for n in sizes]

    def project(self, inputs: Any, training: bool) -> Any:
        """``inputs @ kernel + bias``, with any axes before the batch.

        During training, one dropout mask is used for all of them.
        """
        one_step = inputs.shape[inputs.ndim - self.rank - 2 :]
        factors = self._factors(self.dropout, one_step, training, "dropout")
        x = self._input_product(inputs if factors is None else inputs * factors, self.kernel.value)
        return x if self.bias is None else x + self._input_bias(self.bias.value)

    def _input_product(self, x: Any, kernel: Any) -> Any:
        return matmul(x, kernel)

    def _input_bias(self, bias: Any) -> Any:
        return bias

    def step(self) -> Step:
        """The step: a function ``(constants, projected input, states) -> (output, states)``."""
        raise NotImplementedError

    def constants(self, states: list[Any], training: bool) -> Constants:
        """The constants of all time steps: weights, and during training one set of dropout factors.

        Args:
            states: The initial states, of which only the shapes are used.
            training: Whether to drop features of the state.
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
        """One time step: the output, and the new states in the structure of the given ones."""
        old = nested.flatten(states)
        if len(old) != count_states(self):
            raise StructureError(
                f"Layer {self.name!r} ({type(self).__name__}) was called with a wrong "
                "number of states.",
                layer=self.name,
                expected=f"{count_states(self)}, of {self.state_size} features",
                received=len(old),
            )
        x, constants = self.project(inputs, training), self.constants(old, training)
        output, new = self.step()(constants, x, old)
        return output, nested.unflatten(states, new)


@builtin("layers")
class SimpleRNNCell(
    BuiltinCell, positional=f"units activation use_bias {INITIALIZERS} {_PENALTIES} {RATES} seed"
):
    """A time step of a simple recurrence: ``h' = activation(x @ kernel + h @ recurrent + bias)``.

    Args:
        units: Number of features of the state, which is also the output.
        activation: Function applied to the sum; None for none.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel, of shape ``(features, units)``.
        recurrent_initializer: Initializer of the recurrent kernel, of shape ``(units, units)``.
        bias_initializer: Initializer of the bias, of shape ``(units,)``.

    Shapes: ``(batch, features)`` and a list of one state ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new state.

    Raises:
        ShapeError: An input of a different rank, or with a different number of features.

    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1

    >>> output, [state] = SimpleRNNCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> output.shape
    (2, 4)
    """

    activation: Any = field(default="tanh", convert=activations.get)
    use_bias: bool = True

    def build(self, input_shape: Any) -> None:
        """Add ``kernel``, ``recurrent_kernel`` and ``bias``."""
        self._add_weights(input_shape, (), (self.units,) if self.use_bias else None)

    def step(self) -> Step:
        """``activation(x + h @ recurrent_kernel)``, with ``x`` from :meth:`project`."""
        return SimpleStep(self.activation)


@builtin("layers")
class GRUCell(
    BuiltinCell, positional=f"{GATED} {INITIALIZERS} {_PENALTIES} {RATES} reset_after seed"
):
    """A time step of a gated recurrent unit.

    With the update gate ``z = gate(x @ W_z + h @ U_z + b_z)`` and the reset gate ``r``, computed
    likewise, the candidate is
    ``c = activation(x @ W_c + b_c + r * (h @ U_c + b'_c))`` (``reset_after``) or
    ``activation(x @ W_c + (r * h) @ U_c + b_c)``, and the new state ``z * h + (1 - z) * c``.

    Args:
        units: Number of features of the state, which is also the output.
        activation: Activation of the candidate.
        recurrent_activation: Activation of the gates.
        use_bias: Whether to add biases.
        kernel_initializer: Initializer of the kernel, of shape ``(features, 3 * units)``, in the
            order z, r, c.
        recurrent_initializer: Initializer of the recurrent kernel, of shape ``(units, 3 * units)``.
        bias_initializer: Initializer of the bias, of shape ``(2, 3 * units)`` (that of the input
            and that of the state) with ``reset_after``, else ``(3 * units,)``.
        reset_after: Whether to apply the reset gate after the product with the recurrent kernel (a
            single product in each time step; as cuDNN does) or before it (as in the paper).

    Shapes: ``(batch, features)`` and a list of one state ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new state.

    Raises:
        ShapeError: An input of a different rank, or with a different number of features.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078

    >>> output, [state] = GRUCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> output.shape
    (2, 4)
    """

    gates: ClassVar[int] = 3
    activation: Any = field(default="tanh", convert=activations.get)
    recurrent_activation: Any = field(default="sigmoid", convert=activations.get)
    use_bias: bool = True
    reset_after: bool = field(default=True, kw_only=True)

    def build(self, input_shape: Any) -> None:
        """Add ``kernel``, ``recurrent_kernel`` and ``bias``."""
        bias_shape = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
        self._add_weights(input_shape, (), bias_shape if self.use_bias else None)

    def _input_bias(self, bias: Any) -> Any:
        return bias[0] if self.reset_after else bias

    def _state_bias(self) -> Any:
        return self.bias.value[1] if self.bias is not None and self.reset_after else None

    def step(self) -> Step:
        """See :class:`lamina.ops.lowering.recurrence.GRUStep`."""
        return GRUStep(self.activation, self.recurrent_activation, self.reset_after)


@builtin()
class _UnitForgetBias(initializers.Initializer):
    """The given initial biases, with ones for the forget gate, so that it starts open."""

    def __init__(self, initializer: Any) -> None:
        self.initializer = initializer

    def draw_for(self, parts: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> Any:
        if isinstance(self.initializer, initializers.Initializer):
            value = np.array(self.initializer.draw_for(parts, shape, dtype))
        else:
            value = np.array(self.initializer(shape, dtype=dtype))
        units = shape[0] // 4
        value[units : 2 * units] = 1
        return value


@builtin("layers")
class LSTMCell(
    BuiltinCell, positional=f"{GATED} {INITIALIZERS} unit_forget_bias {_PENALTIES} {RATES} seed"
):
    """A time step of a long short-term memory.

    From ``i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias)`` the new cell state is
    ``c' = gate(f) * c + gate(i) * activation(g)`` and the output ``h' = gate(o) * activation(c')``.

    Args:
        units: Number of features of both states, ``h`` and ``c``; ``h`` is also the output.
        activation: Activation of the candidate and of the new cell state.
        recurrent_activation: Activation of the gates.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel, of shape ``(features, 4 * units)``, in the
            order input gate, forget gate, candidate, output gate.
        recurrent_initializer: Initializer of the recurrent kernel, of shape ``(units, 4 * units)``.
        bias_initializer: Initializer of the bias, of shape ``(4 * units,)``.
        unit_forget_bias: Whether to initialize the bias of the forget gate with ones (Jozefowicz et
            al. 2015, https://proceedings.mlr.press/v37/jozefowicz15.html).

    Shapes: ``(batch, features)`` and a list of two states ``(batch, units)``, to the output
    ``(batch, units)`` and the list of the new states.

    Raises:
        ShapeError: An input of a different rank, or with a different number of features.

    Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735

    >>> zeros = jnp.zeros((2, 4))
    >>> output, [h, c] = LSTMCell(4)(jnp.ones((2, 3)), [zeros, zeros])
    >>> output.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates: ClassVar[int] = 4
    activation: Any = field(default="tanh", convert=activations.get)
    recurrent_activation: Any = field(default="sigmoid", convert=activations.get)
    use_bias: bool = True
    unit_forget_bias: bool = field(default=True, kw_only=True)

    @property
    def state_size(self) -> list[int]:
        """Number of features of each state."""
        return [self.units, self.units]

    def build(self, input_shape: Any) -> None:
        """Add ``kernel``, ``recurrent_kernel`` and ``bias``."""
        self._add_weights(input_shape, (), (4 * self.units,) if self.use_bias else None)

    def _bias_initializer(self) -> Any:
        given = self.bias_initializer
        return _UnitForgetBias(given) if self.unit_forget_bias else given

    def step(self) -> LSTMStep:
        """See :class:`lamina.ops.lowering.recurrence.LSTMStep`."""
        return LSTMStep(_plain(self.activation), _plain(self.recurrent_activation))


@runtime_checkable
class _HasStates(Protocol):
    state_size: Any


@runtime_checkable
class _HasOutputSize(_HasStates, Protocol):
    output_size: Any


@runtime_checkable
class _HasInitialState(Protocol):
    def get_initial_state(self, batch_size: Any) -> Any: ...


def read_cells(value: Any) -> list[Layer]:
    """Read a list of cells."""
    if not isinstance(value, Sequence) or not value:
        raise ArgumentError(f"expected a list of cells. Received: {value!r}.")
    return [read_cell(cell) for cell in value]


def read_cell(value: Any) -> Layer:
    """Read a cell: a layer with a ``state_size`` whose call takes an input and states.

    Raises:
        ArgumentError: Anything else; the message names what is missing.
    """
    if isinstance(value, Layer) and isinstance(value, _HasStates):
        return value
    lacks = "no `state_size`" if isinstance(value, Layer) else f"of type {type(value).__name__}"
    raise ArgumentError(
        "expected a cell: a layer with an attribute `state_size` (features of each state) and a "
        "`call(self, inputs, states)` that returns the output and the list of new states. "
        f"Received: {value!r}, {lacks}."
    )


@builtin("layers")
class StackedRNNCells(Layer):
    """Several cells as one: the input of each is the output of the one before it.

    Args:
        cells: The cells, from first to last.

    Shapes: ``(batch, features)`` and a list of the states of each cell, to the output of the last
    cell and the list of the new states of each cell.

    >>> stack = StackedRNNCells([LSTMCell(4), GRUCell(2)])
    >>> stack.state_size, stack.output_size
    ([[4, 4], 2], 2)
    >>> output, states = stack(jnp.ones((5, 3)), stack.get_initial_state(5))
    >>> output.shape
    (5, 2)
    """

    cells: Any = field(convert=read_cells)

    @property
    def state_size(self) -> list[Any]:
        """The state size of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """The output size of the last cell."""
        return output_size(self.cells[-1])

    def build(self, input_shape: Any) -> None:
        """Build each cell for the output shape of the one before it."""
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
        """One time step of all cells."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, after = cell(inputs, state)
            # A cell with another dtype policy must not change the dtype of the states.
            dtypes = [x.dtype for x in nested.flatten(state)]
            cast = [x.astype(d) for x, d in zip(nested.flatten(after), dtypes, strict=True)]
            new.append(nested.unflatten(after, cast))
        return autocast(inputs, self.compute_dtype), new


def count_states(cell: Any) -> int:
    """The number of states of a cell, or of all stacked cells together."""
    if isinstance(cell, StackedRNNCells):
        return sum(map(count_states, cell.cells))
    return len(cell.state_size) if isinstance(cell.state_size, (list, tuple)) else 1


def output_size(cell: Any) -> Any:
    """The number of features of a cell's output: ``output_size``, or that of its first state."""
    size = cell.output_size if isinstance(cell, _HasOutputSize) else None
    return nested.flatten(cell.state_size)[0] if size is None else size


def initial_state(cell: Any, batch_size: Any) -> list[Any]:
    """A cell's states before the first time step, as a list: its own, or zeros."""
    if isinstance(cell, _HasInitialState):
        states = cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]
    size = cell.state_size
    sizes = size if isinstance(size, (list, tuple)) else [size]
    shapes = [n if isinstance(n, (list, tuple)) else (n,) for n in sizes]
    return [jnp.zeros((batch_size, *shape), cell.compute_dtype) for shape in shapes]


__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"]
