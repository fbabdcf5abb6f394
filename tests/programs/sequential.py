"""Sequential: added to, popped, built late, frozen in part, cut for its features."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(1)
model = keras.Sequential(name="chain")
model.add(layers.Dense(5, activation="relu"))
model.add(layers.Dense(4))
model.add(layers.Dense(2))
print(len(model.layers), model.built)
model.pop()
print(len(model.layers), model.weights == [])
y = model(np.ones((1, 3), "float32"))
print(len(model.weights), y.shape)

images = keras.Sequential(
    [
        keras.Input((12, 12, 1)),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="head"),
    ]
)
images.set_weights([rng.normal(0, 0.3, w.shape) for w in images.get_weights()])
print([tuple(layer.output.shape) for layer in images.layers])

extractor = keras.Model(images.inputs, [layer.output for layer in images.layers])
x = rng.normal(size=(24, 12, 12, 1)).astype("float32")
print([float(np.mean(f)) for f in extractor(x)])

for layer in images.layers[:-1]:
    layer.trainable = False
images.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
before = [w.copy() for w in images.get_weights()]
labels = rng.integers(0, 3, 24)
print([float(images.train_on_batch(x, labels)) for _ in range(4)])
print([bool(np.all(a == b)) for a, b in zip(before, images.get_weights(), strict=True)])
print(len(images.trainable_weights), len(images.non_trainable_weights))
