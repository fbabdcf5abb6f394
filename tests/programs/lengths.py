"""A Sequential that data built takes sequences of other lengths."""

import keras
import numpy as np
from keras import layers

model = keras.Sequential([layers.Dense(4), layers.LSTM(3)])
model(np.ones((1, 4, 2), "float32"))
model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
print(np.asarray(model(np.ones((2, 4, 2), "float32"))))
print(np.asarray(model(np.ones((2, 7, 2), "float32"))))
