"""Layers and models as classes: weights made in build, losses added in call, the training flag."""

import keras
import numpy as np
from keras import ops

rng = np.random.default_rng(2)


class Linear(keras.layers.Layer):
    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Running(keras.layers.Layer):
    def __init__(self, size):
        super().__init__()
        self.total = self.add_weight(shape=(size,), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.total.assign_add(ops.sum(inputs, axis=0))
        return self.total


class Penalty(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * ops.mean(ops.square(inputs)))
        return inputs


class Noise(keras.layers.Layer):
    def call(self, inputs, training=False):
        return inputs + 1.0 if training else inputs


class Network(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Linear(6), Linear(6)]
        self.penalty = Penalty(1e-2)
        self.noise = Noise()
        self.head = keras.layers.Dense(1)

    def call(self, inputs, training=False):
        x = inputs
        for block in self.blocks:
            x = keras.activations.relu(block(x))
        x = self.noise(self.penalty(x), training=training)
        return self.head(x)


running = Running(2)
running(np.ones((2, 2)))
print(np.asarray(running(np.ones((2, 2)))), len(running.weights), len(running.trainable_weights))

layer = Linear.from_config(Linear(3, name="mine").get_config())
print(layer.name, layer.units)

network = Network()
x = rng.normal(size=(32, 4)).astype("float32")
y = np.sum(x, axis=1, keepdims=True)
network(x)
network.set_weights([rng.normal(0, 0.3, w.shape) for w in network.get_weights()])
print(len(network.weights), [float(v) for v in network.losses])
print(float(np.mean(network(x))), float(np.mean(network(x, training=True))))
network.compile(keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
print(
    [
        round(v, 5)
        for v in network.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
    ]
)
