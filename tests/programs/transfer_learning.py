"""A trained base, frozen, under a new head; then all of it, slowly."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(12)
inputs = keras.Input((8, 8, 3))
x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
x = layers.BatchNormalization()(x)
x = layers.ReLU()(x)
base = keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="base")
base.set_weights([np.abs(rng.normal(0, 0.5, w.shape)) for w in base.get_weights()])

base.trainable = False
inputs = keras.Input((8, 8, 3))
x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
x = base(x, training=False)
x = layers.Dropout(0.0)(x)
model = keras.Model(inputs, layers.Dense(1, name="head")(x))
model.get_layer("head").set_weights([rng.normal(size=(4, 1)), np.zeros(1)])
model.compile(
    keras.optimizers.Adam(0.05),
    keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
)
images, labels = rng.integers(0, 256, (24, 8, 8, 3)), rng.integers(0, 2, 24)
base_before = base.get_weights()
print(model.fit(images, labels, epochs=2, batch_size=8, shuffle=False, verbose=0).history)
print(all(np.array_equal(a, b) for a, b in zip(base_before, base.get_weights(), strict=True)))
print(len(model.trainable_weights), len(model.non_trainable_weights))

base.trainable = True
base.layers[2].trainable = False  # the normalization keeps its statistics
print(len(model.trainable_weights), len(model.non_trainable_weights))
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
)
print(model.fit(images, labels, epochs=2, batch_size=8, shuffle=False, verbose=0).history)
print(len(base.non_trainable_weights), [float(np.sum(w)) for w in base.get_weights()])
