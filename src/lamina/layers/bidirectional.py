"""A recurrent layer that runs in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lamina.core.variable import Variable
from lamina.errors import ArgumentError
from lamina.layers.base import Layer
from lamina.layers.recurrent import RNN, Recurrent
from lamina.layers.recurrent_cells import count_states
from lamina.serialization.fields import field, one_of, optional
from lamina.serialization.registry import builtin
from lamina.tree import nested

_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": jnp.add,
    "mul": jnp.multiply,
    "ave": lambda a, b: (a + b) / 2,
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
}
_ALIKE = ("return_sequences", "return_state", "stateful")


def _compared(layer: RNN) -> dict[str, bool]:
    """The arguments in which the layers of the two directions are compared."""
    return {
        "go_backwards": layer.go_backwards,
        "return_sequences": layer.return_sequences,
        "return_state": layer.return_state,
        "stateful": layer.stateful,
    }


def _read_recurrent(value: Any) -> Layer:
    if not isinstance(value, RNN):
        raise ArgumentError(
            f"expected a recurrent layer, such as `LSTM(32)`. Received: {value!r} "
            f"(of type {type(value).__name__})."
        )
    return value


@builtin("layers")
class Bidirectional(Recurrent):
    """Process a sequence in both directions, with separate weights, and merge the two results.

    Args:
        layer: The recurrent layer for the forward direction. A copy of it is used, whose name is
            ``forward_...``.
        merge_mode: ``"concat"`` (along the last axis), ``"sum"``, ``"mul"``, ``"ave"``, or None to
            return both results.
        weights: Initial weights, those of the forward layer first.
        backward_layer: The layer for the backward direction; a copy of ``layer`` by default.

    Call arguments: see :class:`RNN`; ``initial_state`` lists the states of the forward layer, then
    those of the backward layer. The outputs of both directions are in the order of the input;
    masked steps of returned sequences are set to zero before they are merged.

    Shapes: ``(batch, time, features)`` to ``(batch, 2 * units)``, or ``(batch, time, 2 * units)``
    with ``return_sequences``; ``units`` instead of ``2 * units`` unless concatenated.

    Raises:
        ArgumentError: Layers that are not recurrent or differ in what they return.
        ShapeError: A different rank or number of features, or a mask or a state of the wrong shape.

    Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093

    >>> from lamina.layers.recurrent import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(jnp.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    layer: Any = field(convert=_read_recurrent)
    merge_mode: Any = field(default="concat", convert=one_of(*_MERGE, None))
    weights: Any = field(default=None, in_config=False)  # pyright: ignore[reportIncompatibleMethodOverride]
    backward_layer: Any = field(default=None, convert=optional(_read_recurrent))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = True
        # Files store the weights under `forward_layer`, of which `layer` is an alias.
        given, other = self.layer, self.backward_layer
        del self.layer, self.backward_layer
        name = given.name.removeprefix("forward_")
        self.forward_layer = self.layer = _copy(given, name=f"forward_{name}")
        self.backward_layer = other or _copy(given, name=f"backward_{name}", go_backwards=True)
        self._check_directions()
        if self.return_sequences:
            # Masked steps must be the same in both directions when they are merged: zeros.
            self.forward_layer.zero_output_for_mask = True
            self.backward_layer.zero_output_for_mask = True

    def _check_directions(self) -> None:
        forward, backward = _compared(self.forward_layer), _compared(self.backward_layer)
        wrong = [n for n in _ALIKE if forward[n] != backward[n]]
        if forward["go_backwards"] == backward["go_backwards"] or wrong:
            shown = [(n, forward[n], backward[n]) for n in ("go_backwards", *wrong)]
            raise ArgumentError(
                "Bidirectional() expects two layers with opposite directions (`go_backwards`) "
                f"and equal {list(_ALIKE)}. Received, as (argument, forward layer, "
                f"backward layer): {shown}."
            )

    @property
    def return_sequences(self) -> bool:
        """Whether the outputs of all time steps are returned."""
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        """Whether the states after the last time step are returned."""
        return self.forward_layer.return_state

    @property
    def stateful(self) -> bool:
        """Whether the states are kept between calls."""
        return self.forward_layer.stateful

    @property
    def states(self) -> list[Variable] | None:
        """The variables that keep the states of both directions between calls; None without."""
        return [*(self.forward_layer.states or ()), *(self.backward_layer.states or ())] or None

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zero."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """Alias of :meth:`reset_state`."""
        self.reset_state()

    def build(self, input_shape: Any) -> None:
        """Build both directions."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(input_shape)
        if self._given_weights is not None:
            self.set_weights(self._given_weights)
            self._given_weights = None

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Run both directions and merge their outputs."""
        states = nested.flatten(initial_state)
        ahead = count_states(self.forward_layer.cell)
        halves = (None, None) if initial_state is None else (states[:ahead], states[ahead:])
        forward, after = self._separate(
            self.forward_layer(sequences, initial_state=halves[0], mask=mask, training=training)
        )
        backward, before = self._separate(
            self.backward_layer(sequences, initial_state=halves[1], mask=mask, training=training)
        )
        if self.return_sequences:
            backward = jnp.flip(backward, 1)
        merge = _MERGE.get(self.merge_mode)
        outputs: Any = (forward, backward) if merge is None else (merge(forward, backward),)
        outputs = nested.map_structure(self._in_own_dtype, (*outputs, *after, *before))
        return outputs if len(outputs) > 1 else outputs[0]

    def _separate(self, result: Any) -> tuple[Any, Any]:
        """A layer's output, and its states if it returns them."""
        return (result[0], result[1:]) if self.return_state else (result, ())

    def compute_mask(self, inputs: Any, mask: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The mask of the returned sequences; states have none."""
        if not self.return_sequences or mask is None:
            return None
        outputs = 1 if self.merge_mode else 2
        states = 0
        if self.return_state:
            states = sum(count_states(x.cell) for x in (self.forward_layer, self.backward_layer))
        return [mask] * outputs + [None] * states


def _copy(x: Any, **changes: Any) -> Any:
    """A layer of the same configuration with its own weights; anything else unchanged."""
    if not isinstance(x, Layer):
        return x
    return type(x).from_config({**nested.map_structure(_copy, x.get_config()), **changes})


__all__ = ["Bidirectional"]
