"""Functional models in subclassed layers and vice versa: both styles can be combined.

The task: a time series has ten steps of five features. Does the first feature increase over time?
The recurrent layer is written by hand, as a Python loop over the steps.
"""

import numpy as np

import lamina as keras
from lamina import layers, ops

keras.utils.set_random_seed(0)
STEPS, READINGS, UNITS, BATCH = 10, 5, 32, 16

rng = np.random.default_rng(0)
signal = rng.normal(size=(1600, STEPS, READINGS)).cumsum(axis=1).astype("float32")
rose = (signal[:, -1, :1] > signal[:, 0, :1]).astype("float32")

# A functional model ...
states = keras.Input((None, UNITS), name="states")
pooled = layers.GlobalAveragePooling1D()(states)
judge = keras.Model(states, layers.Dense(1)(pooled), name="judge")


class Recurrence(layers.Layer):
    """A simple recurrent network, whose states are classified by ``classifier``."""

    def __init__(self, units, classifier, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.from_input = layers.Dense(units, activation="tanh")
        self.from_state = layers.Dense(units, activation="tanh")
        self.classifier = classifier

    def call(self, inputs):
        state = ops.zeros((inputs.shape[0], self.units))
        states = []
        for step in range(inputs.shape[1]):
            state = self.from_input(inputs[:, step, :]) + self.from_state(state)
            states.append(state)
        return self.classifier(ops.stack(states, axis=1))


# ... in a subclassed layer, which is called on arrays like a function,
by_hand = Recurrence(UNITS, judge)
print("Called on an array:", by_hand(signal[:1]).shape, "from", signal[:1].shape)

# ... and this layer in a functional model. The loop needs the batch size, so it is fixed.
inputs = keras.Input(batch_shape=(BATCH, STEPS, READINGS), name="readings")
smooth = layers.Conv1D(UNITS, 3, name="smooth")(inputs)
model = keras.Model(inputs, Recurrence(UNITS, judge, name="recurrence")(smooth), name="sensor")
model.summary(line_length=80)

loss = keras.losses.BinaryCrossentropy(from_logits=True)
metrics = [keras.metrics.BinaryAccuracy(threshold=0.0)]
model.compile(keras.optimizers.Adam(3e-3), loss, metrics=metrics)
history = model.fit(signal[:1280], rose[:1280], batch_size=BATCH, epochs=6, verbose=0).history
_, accuracy = model.evaluate(signal[1280:], rose[1280:], batch_size=BATCH, verbose=0)
print(f"Loss {history['loss'][0]:.3f} after the first epoch, {history['loss'][-1]:.3f} after the "
      f"last; {accuracy:.1%} of 320 new series are classified correctly.")  # fmt: skip
print("The judge was trained with it: it is the same object, with the same weights:",
      model.get_layer("recurrence").classifier is judge)  # fmt: skip
