"""Data parallelism: each of eight devices computes a part of each batch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

devices = keras.distribution.list_devices()
print(len(devices), devices[0], keras.distribution.get_device_count())

mesh = keras.distribution.DeviceMesh(shape=(8,), axis_names=["batch"], devices=devices)
data_parallel = keras.distribution.DataParallel(device_mesh=mesh)
keras.distribution.set_distribution(data_parallel)
print(keras.distribution.distribution() is data_parallel, data_parallel.batch_dim_name)

rng = np.random.default_rng(0)
inputs = keras.Input((12,))
x = keras.layers.Dense(16, activation="relu")(inputs)
x = keras.layers.BatchNormalization()(x)
model = keras.Model(inputs, keras.layers.Dense(3)(x))
model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) for w in model.get_weights()])
kernel = model.layers[1].kernel.value
print(len(kernel.sharding.device_set), kernel.addressable_shards[7].data.shape)

model.compile(
    keras.optimizers.Adam(0.01),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
x_train = rng.normal(size=(64, 12)).astype("float32")
y_train = np.argmax(x_train[:, :3], axis=-1)
history = model.fit(
    x_train, y_train, batch_size=16, epochs=3, shuffle=False, verbose=0,
    validation_data=(x_train[:32], y_train[:32]),
)  # fmt: skip
for name in sorted(history.history):
    print(name, history.history[name])
print(model.evaluate(x_train, y_train, batch_size=16, verbose=0))
print(model.predict(x_train[:16], batch_size=16, verbose=0)[:2])

# Devices are found without a mesh too; and a distribution may apply to some models only.
keras.distribution.set_distribution(None)
with keras.distribution.DataParallel(devices=devices[:4]).scope():
    small = keras.Sequential([keras.Input((12,)), keras.layers.Dense(1)])
    small.compile("sgd", "mse")
    small.fit(x_train, y_train, batch_size=16, verbose=0)
print(len(small.layers[0].kernel.value.sharding.device_set), keras.distribution.distribution())
