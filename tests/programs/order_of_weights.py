"""The order of layers and weights where outputs are a dictionary that is not sorted."""

import keras
import numpy as np
from keras import layers

inputs = keras.Input((4,))
hidden = layers.Dense(6, name="hidden")(inputs)
outputs = {
    "size": layers.Dense(1, name="size")(hidden),
    "kind": layers.Dense(3, name="kind")(hidden),
}
model = keras.Model(inputs, outputs)
print([layer.name for layer in model.layers[1:]])
print([weight.path for weight in model.weights])
model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
print({name: np.asarray(y).tolist() for name, y in sorted(model(np.ones((1, 4))).items())})
