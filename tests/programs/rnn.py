"""Recurrent layers: states passed on, bidirectional, stateful, a cell of one's own."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(10)


def draw_weights(model):
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])


words = keras.Input((7,), dtype="int32")
x = layers.Embedding(20, 6)(words)
sequence, h, c = layers.LSTM(5, return_sequences=True, return_state=True, name="encoder")(x)
y = layers.LSTM(5, name="decoder")(x, initial_state=[h, c])
z = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="concat")(sequence)
z = layers.SimpleRNN(3, go_backwards=True)(z)
model = keras.Model(words, layers.Dense(2)(layers.concatenate([y, z])))
draw_weights(model)
data, targets = rng.integers(0, 20, (12, 7)), rng.normal(size=(12, 2))
print(np.asarray(model(data[:2])))
model.compile("rmsprop", "mse")
print(model.fit(data, targets, epochs=2, batch_size=6, shuffle=False, verbose=0).history["loss"])

stateful = keras.Sequential([keras.Input(batch_shape=(2, 4, 3)), layers.LSTM(4, stateful=True)])
draw_weights(stateful)
part = rng.normal(size=(2, 4, 3)).astype("float32")
first, second = np.asarray(stateful(part)), np.asarray(stateful(part))
stateful.layers[-1].reset_states()
print(np.allclose(first, second), np.allclose(first, stateful(part)), float(np.sum(second)))


class Nested(keras.layers.Layer):
    """A cell with two states of different shapes."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, (2, units)]
        self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units)), ops.zeros((batch_size, 2, self.units))]

    def call(self, inputs, states):
        flat, deep = states
        new = ops.tanh(ops.matmul(inputs, self.kernel) + 0.5 * flat)
        deep = 0.9 * deep + ops.expand_dims(new, 1)
        return new + ops.sum(deep, 1), [new, deep]


class Minimal(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, inputs, states):
        new = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent)
        return new, [new]


inputs = keras.Input((None, 3))
own = keras.Model(
    inputs, layers.RNN([Minimal(4), layers.LSTMCell(3)], return_sequences=True)(inputs)
)
draw_weights(own)
print(np.asarray(own(part))[0, -1], own.output_shape)
inputs = keras.Input((None, 3))
nested = keras.Model(inputs, layers.RNN(Nested(2))(inputs))
draw_weights(nested)
print(np.asarray(nested(part)))
