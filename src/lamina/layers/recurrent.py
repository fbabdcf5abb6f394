"""Recurrent layers: RNN over any cell, SimpleRNN, GRU, LSTM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lamina import activations
from lamina.core.graph import is_symbolic
from lamina.core.naming import snake_case
from lamina.core.scope import Record, Scope, current, entered, random_key
from lamina.core.spec import agree, is_array, show_dims
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, ShapeError, StateError, StructureError
from lamina.layers.arguments import autocast, layout
from lamina.layers.base import InputSpec, Layer, scope_of
from lamina.layers.core import known_size
from lamina.layers.recurrent_cells import (
    CONSTRAINTS,
    GATED,
    INITIALIZERS,
    RATES,
    REGULARIZERS,
    BuiltinCell,
    CellArguments,
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
    count_states,
    initial_state,
    read_cell,
)
from lamina.ops.lowering.recurrence import recur
from lamina.serialization.docstrings import entries
from lamina.serialization.fields import field, fields_of, one_of, positive_int
from lamina.serialization.registry import builtin
from lamina.tree import nested


def _is_tensor(x: Any) -> bool:
    return is_symbolic(x) or is_array(x) or isinstance(x, Variable)


@builtin()
class Recurrent(Layer):
    """Base class of layers over a sequence with states, which may be kept between calls."""

    def __call__(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; ``[sequences, *states]`` means ``sequences, initial_state=states``."""
        if isinstance(sequences, (list, tuple)) and all(map(_is_tensor, sequences)):
            sequences, *states = sequences
            if states:
                kwargs["initial_state"] = states
        return super().__call__(sequences, *args, **kwargs)

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build from what :meth:`get_build_config` returned, here or in Keras."""
        first, *_ = config.get("shapes_dict", config).values()  # the others are shapes of states
        super().build_from_config({"input_shape": first})

    def _in_own_dtype(self, x: Any) -> Any:
        """The output of an inner layer with another dtype policy, in this layer's compute dtype."""
        return autocast(x, self.compute_dtype)

    def _checked_mask(self, mask: Any, sequences: Any) -> Any:
        if not agree(mask.shape, sequences.shape[:2]):
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot use this mask.",
                layer=self.name,
                expected=f"(batch, time), here {show_dims(sequences.shape[:2])}",
                received=show_dims(mask.shape),
            )
        return mask.astype(bool)


_ARGUMENTS = (
    "return_sequences", "return_state", "go_backwards", "stateful", "unroll",
    "zero_output_for_mask",
)  # fmt: skip


@builtin("layers")
class RNN(Recurrent):
    """A recurrence over time: ``output, states = cell(x[:, t], states)`` for each time step ``t``.

    A cell is a layer with ``state_size`` (an integer, or a list of one for each state) and
    ``call(self, inputs, states)`` that returns the output and the list of new states;
    ``output_size`` and ``get_initial_state(batch_size)`` are optional. For the built-in cells, the
    products with the inputs of all time steps are computed at once.

    A masked time step leaves the states unchanged and repeats the output before it.

    Args:
        cell: A cell, or a list of cells to stack.
        return_sequences: Whether to return the outputs of all time steps, not only the last one.
        return_state: Whether to return the states after the last time step, too.
        go_backwards: Whether to process the sequence from its end; outputs are in that order.
        stateful: Whether each call starts with the final states of the previous one, sample by
            sample; needs a fixed batch size.
        unroll: Whether to unroll the loop: faster for short sequences, but slower to compile.
        zero_output_for_mask: Whether the output of a masked time step is zero.

    Call arguments:
        sequences: ``(batch, time, ...)``; a list ``[sequences, *states]`` also gives the states.
        initial_state: The states to start with, instead of those of the cell (zeros).
        mask: ``(batch, time)``; time steps where it is False are skipped.
        training: Whether dropout is active; it drops the same features in all time steps.

    Shapes: ``(batch, time, features)`` to ``(batch, units)``, or ``(batch, time, units)`` with
    ``return_sequences``; with ``return_state`` to a tuple of that and each state.

    Raises:
        ArgumentError: A ``cell`` that is not a cell.
        ShapeError: A different rank or number of features, or a mask or a state of the wrong shape.
        StateError: A cell that changes variables or adds losses in a time step.

    >>> class Average(Layer):
    ...     state_size = 3
    ...
    ...     def call(self, inputs, states):
    ...         mean = (inputs + states[0]) / 2
    ...         return mean, [mean]
    >>> RNN(Average())(jnp.ones((1, 2, 3))).tolist()
    [[0.75, 0.75, 0.75]]
    """

    _channel_axis = -1

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        try:
            cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else read_cell(cell)
        except ArgumentError as e:
            raise ArgumentError(f"{type(self).__name__}(): `cell`: {e}") from None
        self._hold(cell)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        self._state_variables: Sequence[Variable] = ()

    def _hold(self, cell: Layer) -> None:
        self.cell: Any = cell
        first = self._first_cell()
        builtin = isinstance(first, BuiltinCell)
        self.input_spec = InputSpec(min_ndim=2)
        if builtin:
            self.input_spec = InputSpec(ndim=3 + first.rank, layout=self._layout(first.rank))

    def _layout(self, rank: int) -> str:
        """The meaning of the input's axes."""
        if not rank:
            return "(batch, time, features)"
        return layout(rank, vars(self).get("data_format", "channels_last"), time=True)

    def _first_cell(self) -> Any:
        """The cell that receives the input."""
        cell: Any = self.cell
        while isinstance(cell, StackedRNNCells):
            cell = cell.cells[0]
        return cell

    # ---- states --------------------------------------------------------------------------------

    @property
    def state_size(self) -> Any:
        """Number of features of each state, as given by the cell; a list also for one state."""
        return [self.cell.state_size] if self.single_state else self.cell.state_size

    @property
    def single_state(self) -> bool:
        """Whether the cell has a single state, and gives its size as an integer."""
        return isinstance(self.cell.state_size, int)

    @property
    def states(self) -> list[Variable] | None:
        """The variables that hold the states between the calls of a stateful layer; else None."""
        return list(self._state_variables) or None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if type(self) is RNN:
            config |= {name: vars(self)[name] for name in _ARGUMENTS}
        return config

    def _saved_variables(self) -> list[Variable]:
        states = set(self._state_variables)
        return [v for v in super()._saved_variables() if v not in states]

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zero."""
        for variable in self._state_variables:
            variable.assign(jnp.zeros(variable.shape, variable.dtype))

    def reset_states(self) -> None:
        """Alias of :meth:`reset_state`."""
        self.reset_state()

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The cell's states before the first time step."""
        return initial_state(self.cell, batch_size)

    def _zero_states(self, shape: Any) -> list[Any]:
        """The states before the first time step, for sequences of this shape."""
        return self.get_initial_state(shape[0])

    def _first_states(self, sequences: Any, given: Any) -> list[Any]:
        if given is None and self.stateful:
            given = [v.value for v in self._state_variables]
        zeros = self._zero_states(sequences.shape)
        if given is None:
            return zeros
        leaves, wanted = nested.flatten(given), nested.flatten(zeros)
        if len(leaves) != len(wanted) or not all(
            agree(x.shape, z.shape) for x, z in zip(leaves, wanted, strict=True)
        ):
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) cannot start from these states.",
                layer=self.name,
                expected=f"{len(wanted)} of shape {_listed(wanted)}",
                received=f"{len(leaves)} of shape {_listed(leaves)}",
            )
        cast = [x.astype(z.dtype) for x, z in zip(leaves, wanted, strict=True)]
        return nested.unflatten(zeros, cast)

    # ---- the loop ------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Build the cell, and add the variables that hold the states of a stateful layer."""
        first = self._first_cell()
        if isinstance(first, BuiltinCell):
            axes = {self._channel_axis: known_size(self, input_shape, self._channel_axis)}
            self.input_spec = InputSpec(
                ndim=3 + first.rank, axes=axes, layout=self._layout(first.rank)
            )
        shape = self._channels_last(input_shape)
        if not self.cell.built:
            self.cell.build((shape[0], *shape[2:]))
            self.cell.built = True
        if not self.stateful:
            return
        if input_shape[0] is None:
            raise ShapeError(
                f"Layer {self.name!r} ({type(self).__name__}) is stateful: it has a state "
                "for each sample of the batch.",
                layer=self.name,
                expected="a fixed batch size",
                received=f"shape {show_dims(tuple(input_shape))}",
                cure="Write `Input(shape, batch_size=32)`, with your own batch size.",
            )
        self._state_variables = [
            self.add_weight(state.shape, "zeros", trainable=False, name="rnn_state")
            for state in nested.flatten(self._zero_states(shape))
        ]

    def _channels_last(self, shape: Any) -> Any:
        """The shape of the input with the channels last."""
        return shape

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Loop over the second axis."""
        states = self._first_states(sequences, initial_state)
        last, outputs, states = self.inner_loop(sequences, states, mask, training)
        for variable, state in zip(self._state_variables, nested.flatten(states), strict=False):
            variable.assign(state)
        output = outputs if self.return_sequences else last
        output, *states = nested.map_structure(self._in_own_dtype, [output, *states])
        return (output, *states) if self.return_state else output

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, Any]:
        """The recurrence over time.

        Args:
            sequences: ``(batch, time, ...)``.
            initial_state: The states before the first time step, in the structure of the cell's.
            mask: ``(batch, time)`` or None.
            training: Whether dropout is active.

        Returns:
            The output of the last time step, the outputs ``(batch, time, ...)`` of all time steps
            with ``return_sequences`` (of the last one without), and the final states.
        """
        if mask is not None:
            mask = jnp.swapaxes(self._checked_mask(mask, sequences), 0, 1)
        inputs = jnp.swapaxes(sequences, 0, 1)
        if self.go_backwards:
            inputs, mask = (x if x is None else jnp.flip(x, 0) for x in (inputs, mask))
        last, outputs, states = self._loop(
            self.cell, inputs, initial_state, mask, training, self.return_sequences
        )
        return last, last[:, None] if outputs is None else jnp.swapaxes(outputs, 0, 1), states

    def _loop(
        self, cell: Any, inputs: Any, states: Any, mask: Any, training: bool, all_outputs: bool
    ) -> tuple[Any, Any, Any]:
        """Last output, all outputs (or None) and final states for a time-major sequence."""
        if type(cell).call is StackedRNNCells.call:
            # Layer by layer instead of step by step: the same results with larger products.
            last, outputs, new = None, inputs, []
            with entered(scope_of(cell, training)):
                for inner, state in zip(cell.cells, states, strict=True):
                    wanted = all_outputs or inner is not cell.cells[-1]
                    last, outputs, after = self._loop(inner, outputs, state, mask, training, wanted)
                    new.append(after)
            return last, outputs, new
        if type(cell).call is BuiltinCell.call and cell.activity_regularizer is None:
            with entered(scope_of(cell, training)):
                inputs = cell.project(inputs, training)
                step, constants = cell.step(), cell.constants(states, training)
        else:
            step, constants = _step_of(cell, training), None
            inputs = (inputs, jnp.arange(inputs.shape[0]))
        return recur(
            step, constants, inputs, states, mask=mask, unroll=self.unroll,
            return_sequences=all_outputs, zero_output_for_mask=self.zero_output_for_mask,
        )  # fmt: skip

    def compute_mask(self, inputs: Any, mask: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The mask of a returned sequence; states have none."""
        if not self.return_sequences or mask is None:
            return None
        states = count_states(self.cell) if self.return_state else 0
        return [mask, *[None] * states]


def _listed(arrays: list[Any]) -> str:
    return ", ".join(show_dims(x.shape) for x in arrays)


def _step_of(cell: Layer, training: bool) -> Callable[..., tuple[Any, list[Any]]]:
    """One time step of a user's cell: a layer call with its own random key."""
    scope = current() or Scope()
    # A compiled prediction has no key; cells that only draw in training do not need one.
    key = random_key(name=cell.name) if training or scope.key is not None else None

    def step(constants: None, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        x, t = x
        inner = dataclasses.replace(
            scope, values={**scope.values, **scope.record.updates}, training=training,
            key=None if key is None else jax.random.fold_in(key, t), pure=True, record=Record(),
        )  # fmt: skip
        with entered(inner):
            result = cell(x, states)
        if inner.record.updates or inner.record.losses:
            changed = [v.path for v in inner.record.updates] or "losses"
            raise StateError(
                f"The cell {cell.name!r} ({type(cell).__name__}) changes {changed} in a time step, "
                "where the change would be lost. Use states for what changes between time steps."
            )
        if not isinstance(result, (list, tuple)) or len(result) != 2:
            raise StructureError(
                f"The cell {cell.name!r} ({type(cell).__name__}) returned something unexpected.",
                expected="(output, [state, ...])",
                received=", ".join(f"{x.shape} {x.dtype}" if is_array(x) else repr(x)
                                   for x in nested.flatten(result)),
            )  # fmt: skip
        output, new = result[0], nested.flatten(result[1])
        old = nested.flatten(states)
        if [n.shape for n in new] != [o.shape for o in old]:
            raise ShapeError(
                f"The cell {cell.name!r} ({type(cell).__name__}) returned states with different "
                "shapes than it received.",
                expected=_listed(old),
                received=_listed(new),
            )
        new = [n.astype(o.dtype) for n, o in zip(new, old, strict=True)]
        return output, nested.unflatten(states, new)

    return step


# Names of arguments, in the orders in which Keras's layers take them by position.
PENALTIES = f"{REGULARIZERS} activity_regularizer {CONSTRAINTS}"
LOOP = "return_sequences return_state go_backwards stateful"


@builtin()
class RNNWithCell(CellArguments, RNN):
    """An RNN that creates its cell from its own arguments."""

    _shared_arguments: ClassVar[Mapping[str, str]] = {
        name: text for name, text in entries(RNN.__doc__).items() if name != "cell"
    }

    cell_class: ClassVar[type[BuiltinCell]]
    return_sequences: bool = field(default=False, kw_only=True)
    return_state: bool = field(default=False, kw_only=True)
    go_backwards: bool = field(default=False, kw_only=True)
    stateful: bool = field(default=False, kw_only=True)
    unroll: bool = field(default=False, kw_only=True)
    zero_output_for_mask: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        taken = fields_of(self.cell_class, beyond=Layer)
        arguments = {n: v for n, v in vars(self).items() if n in taken} | self._cell_arguments()
        self._hold(
            self.cell_class(
                **arguments,
                dtype=self.dtype_policy,
                autocast=self.autocast,
                name=snake_case(self.cell_class.__name__).lstrip("_"),
            )
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if "cell" in self.__dict__ and name in fields_of(self.cell_class, beyond=Layer):
            setattr(self.cell, name, value)  # which computes with it

    def _name_inner(self) -> dict[Any, tuple[str, str]]:
        """The cell has the same name in all layers of this class."""
        return {self.cell: (self.cell.name, self.cell.name)}

    def _cell_arguments(self) -> dict[str, Any]:
        return {}


# ---- with built-in cells -------------------------------------------------------------------------


def _over_time(summary: str, rest: str, more: str = "") -> str:
    """The docstring of a layer; the arguments of its cell and of an RNN are added to it."""
    return f"""{summary}

    {more}Shapes: ``(batch, time, features)`` to ``(batch, units)``, or ``(batch, time, units)``
    with ``return_sequences``. For call arguments, states and masks see :class:`RNN`.

    Raises:
        ShapeError: A different rank or number of features, or a mask or a state of the wrong shape.

{rest}
    """


_CUDNN = """Args:
        use_cudnn: ``"auto"``, True or False, all with the same effect: XLA compiles the loop on
            every platform, and cuDNN's recurrent kernels are not used.

    """


@builtin("layers")
class SimpleRNN(
    RNNWithCell,
    positional=f"units activation use_bias {INITIALIZERS} {PENALTIES} {RATES} {LOOP} unroll seed",
):
    __doc__ = _over_time(
        "A simple recurrence: ``h[t] = activation(x[t] @ kernel + h[t-1] @ recurrent + bias)``.",
        """    Elman 1990, https://doi.org/10.1207/s15516709cog1402_1

    >>> SimpleRNN(4)(jnp.ones((2, 5, 3))).shape
    (2, 4)""",
    )
    cell_class: ClassVar[type[BuiltinCell]] = SimpleRNNCell
    units: int = field(convert=positive_int)
    activation: Any = field(default="tanh", convert=activations.get)
    use_bias: bool = True


@builtin("layers")
class GRU(
    RNNWithCell,
    positional=f"{GATED} {INITIALIZERS} {PENALTIES} {RATES} seed {LOOP} unroll reset_after "
    "use_cudnn",
):
    __doc__ = _over_time(
        "A gated recurrent unit over time; for the formula of a time step see :class:`GRUCell`.",
        """    Cho et al. 2014, https://arxiv.org/abs/1406.1078

    >>> outputs, state = GRU(4, return_sequences=True, return_state=True)(jnp.ones((2, 5, 3)))
    >>> outputs.shape, state.shape
    ((2, 5, 4), (2, 4))""",
        _CUDNN,
    )
    cell_class: ClassVar[type[BuiltinCell]] = GRUCell
    units: int = field(convert=positive_int)
    activation: Any = field(default="tanh", convert=activations.get)
    recurrent_activation: Any = field(default="sigmoid", convert=activations.get)
    use_bias: bool = True
    reset_after: bool = field(default=True, kw_only=True)
    use_cudnn: Any = field(default="auto", convert=one_of("auto", True, False), kw_only=True)


@builtin("layers")
class LSTM(
    RNNWithCell,
    positional=f"{GATED} {INITIALIZERS} unit_forget_bias {PENALTIES} {RATES} seed {LOOP} unroll "
    "use_cudnn",
):
    __doc__ = _over_time(
        "A long short-term memory over time; for the formula of a time step see :class:`LSTMCell`.",
        """    Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735

    >>> output, h, c = LSTM(4, return_state=True)(jnp.ones((2, 5, 3)))
    >>> output.shape, c.shape
    ((2, 4), (2, 4))""",
        _CUDNN,
    )
    cell_class: ClassVar[type[BuiltinCell]] = LSTMCell
    units: int = field(convert=positive_int)
    activation: Any = field(default="tanh", convert=activations.get)
    recurrent_activation: Any = field(default="sigmoid", convert=activations.get)
    use_bias: bool = True
    unit_forget_bias: bool = field(default=True, kw_only=True)
    use_cudnn: Any = field(default="auto", convert=one_of("auto", True, False), kw_only=True)


__all__ = ["GRU", "LSTM", "RNN", "SimpleRNN"]
