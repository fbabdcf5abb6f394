"""Epochs of fewer steps than the data has: Keras takes the rest, once, in the next epoch."""

import keras
import numpy as np

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.set_weights([np.full((2, 1), 0.1), np.zeros(1)])
model.compile("sgd", "mse")
x, y = np.ones((10, 2)), np.ones(10)
model.fit(x, y, batch_size=2, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
print(int(model.optimizer.iterations))
