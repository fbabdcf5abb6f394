"""MobileNetV2 without its top: frozen under a new head, then its last convolution learns too."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(3)
base = keras.applications.MobileNetV2(
    input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
)
values = []
for weight in base.weights:
    shape = tuple(weight.shape)
    if "variance" in weight.path or "gamma" in weight.path:
        values.append(rng.uniform(0.8, 1.2, shape))
    elif len(shape) == 1:
        values.append(rng.normal(0, 0.1, shape))
    else:
        fan_in = 9 if "depthwise" in weight.path else np.prod(shape[:-1])
        values.append(rng.normal(0, np.sqrt(2 / fan_in), shape))
base.set_weights(values)
print(base.name, len(base.layers), base.count_params(), base.output_shape)

base.trainable = False
inputs = keras.Input((32, 32, 3))
x = keras.applications.mobilenet_v2.preprocess_input(inputs)
x = base(x, training=False)
x = layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))
model.get_layer("head").set_weights([rng.normal(0, 0.03, (1280, 3)), np.zeros(3)])
labels = np.arange(12) % 3
images = rng.integers(0, 256, (12, 32, 32, 3)) * (labels[:, None, None, None] + 1) // 3
model.compile(keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
print(len(model.trainable_weights), len(model.non_trainable_weights))
print(model.fit(images, labels, epochs=2, batch_size=4, shuffle=False, verbose=0).history)

base.trainable = True
for layer in base.layers:
    layer.trainable = layer.name == "Conv_1"  # all normalization keeps its statistics
model.compile(keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
print(len(model.trainable_weights), len(model.non_trainable_weights))
print(model.fit(images, labels, epochs=2, batch_size=4, shuffle=False, verbose=0).history)
print(float(np.sum(np.abs(base.get_layer("Conv_1").get_weights()[0]))))
print(model.predict(images[:2], verbose=0).round(4))
