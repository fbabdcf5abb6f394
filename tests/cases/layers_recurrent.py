"""Recurrent layers, their cells, and layers around layers."""

import jax.numpy as jnp

from lamina import Layer
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.convolution_recurrent import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lamina.layers.core import Dense
from lamina.layers.recurrent import GRU, LSTM, RNN, SimpleRNN
from lamina.layers.recurrent_cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from lamina.layers.wrappers import TimeDistributed
from lamina.serialization.registry import register_serializable
from tests.cases import Case

SEQUENCE = [((2, 5, 3), "float32")]
STEP = ((2, 3), "float32")
STATE = ((2, 4), "float32")


@register_serializable(package="tests")
class LeakyCell(Layer):
    """What a user writes: a cell that knows nothing of Lamina's own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        kept = 0.5 * states[0] + jnp.tanh(jnp.matmul(inputs, self.kernel))
        return 2 * kept, [kept]


def with_states(layer, inputs, *states, **kwargs):
    return layer(inputs, list(states), **kwargs)


def stacked_states(layer, inputs, h, c, other, **kwargs):
    return layer(inputs, [[h, c], [other]], **kwargs)


CASES = [
    *(
        Case(f"{cls.__name__.lower()}_{name}", cls, {"units": 4, **kwargs}, SEQUENCE,
             unknown_axes=(1,))
        for cls in (SimpleRNN, GRU, LSTM)
        for name, kwargs in [
            ("plain", {}),
            ("sequences", {"return_sequences": True, "return_state": True, "use_bias": False,
                           "go_backwards": True, "activation": "relu"}),
        ]
    ),
    Case("gru_reset_before", GRU,
         {"units": 4, "reset_after": False, "recurrent_activation": "hard_sigmoid"}, SEQUENCE,
         unknown_axes=(1,)),
    Case("lstm_unrolled", LSTM,
         {"units": 4, "unroll": True, "dropout": 0.5, "recurrent_dropout": 0.5}, SEQUENCE,
         unknown_axes=(1,)),
    Case("lstm_penalized", LSTM,
         {"units": 2, "kernel_regularizer": "l2", "unit_forget_bias": False,
          "recurrent_constraint": "unit_norm", "activity_regularizer": "l2"}, SEQUENCE),
    Case("rnn_cell", RNN, {"cell": LSTMCell(4), "return_state": True}, SEQUENCE,
         unknown_axes=(1,)),
    Case("rnn_stacked", RNN,
         {"cell": [LSTMCell(4), GRUCell(2)], "return_sequences": True, "go_backwards": True},
         SEQUENCE, unknown_axes=(1,)),
    Case("rnn_users_cell", RNN, {"cell": LeakyCell(4), "return_sequences": True}, SEQUENCE,
         unknown_axes=(1,)),
    Case("rnn_stacked_users_cell", RNN,
         {"cell": [SimpleRNNCell(3), LeakyCell(4)], "return_state": True}, SEQUENCE,
         unknown_axes=(1,)),
    Case("bidirectional", Bidirectional, {"layer": LSTM(4)}, SEQUENCE, unknown_axes=(1,)),
    Case("bidirectional_apart", Bidirectional,
         {"layer": GRU(3, return_sequences=True, return_state=True), "merge_mode": None}, SEQUENCE,
         unknown_axes=(1,)),
    Case("bidirectional_product", Bidirectional,
         {"layer": SimpleRNN(3, return_sequences=True), "merge_mode": "mul"}, SEQUENCE,
         unknown_axes=(1,)),
    Case("bidirectional_of_two", Bidirectional,
         {"layer": LSTM(4), "backward_layer": GRU(3, go_backwards=True)}, SEQUENCE),
    Case("time_distributed", TimeDistributed, {"layer": Dense(4, activation="tanh")}, SEQUENCE,
         unknown_axes=(1,)),
    Case("time_distributed_sequences", TimeDistributed, {"layer": LSTM(4)},
         [((2, 3, 5, 2), "float32")], unknown_axes=(1, 2)),
    Case("conv_lstm1d", ConvLSTM1D,
         {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "go_backwards": True,
          "use_bias": False}, [((2, 3, 7, 3), "float32")], unknown_axes=(1, 2)),
    Case("conv_lstm2d", ConvLSTM2D,
         {"filters": 2, "kernel_size": 2, "padding": "same", "strides": 2,
          "return_sequences": True}, [((2, 3, 5, 4, 3), "float32")], unknown_axes=(1, 2, 3)),
    Case("conv_lstm3d", ConvLSTM3D, {"filters": 2, "kernel_size": 2},
         [((2, 2, 4, 3, 3, 2), "float32")], unknown_axes=(1, 2, 3, 4)),
    Case("conv_lstm_channels_first", ConvLSTM2D,
         {"filters": 2, "kernel_size": (3, 2), "data_format": "channels_first",
          "return_state": True, "return_sequences": True}, [((2, 3, 2, 5, 4), "float32")],
         unknown_axes=(1, 3, 4)),
    Case("simple_rnn_cell", SimpleRNNCell, {"units": 4}, [STEP, STATE], call=with_states),
    Case("gru_cell", GRUCell, {"units": 4}, [STEP, STATE], call=with_states),
    Case("gru_cell_reset_before", GRUCell,
         {"units": 4, "reset_after": False, "recurrent_activation": "softmax"}, [STEP, STATE],
         call=with_states),
    Case("lstm_cell", LSTMCell, {"units": 4}, [STEP, STATE, STATE], call=with_states),
    Case("stacked_cells", StackedRNNCells, {"cells": [LSTMCell(4), SimpleRNNCell(2)]},
         [STEP, STATE, STATE, ((2, 2), "float32")], call=stacked_states),
]  # fmt: skip
