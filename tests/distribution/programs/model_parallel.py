"""Model parallelism: layouts by the paths of weights, on a mesh of two by four devices."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

mesh = keras.distribution.DeviceMesh(
    shape=(2, 4), axis_names=["data", "model"], devices=keras.distribution.list_devices()
)
layout_map = keras.distribution.LayoutMap(mesh)
layout_map["wide.*kernel"] = (None, "model")
layout_map["wide.*bias"] = ("model",)
layout_map["narrow.*kernel"] = keras.distribution.TensorLayout(("model", None), mesh)
layout_map["wide_1/output"] = ("data", None)
print(layout_map["wide_1/kernel"].axes, layout_map["narrow/bias"], len(layout_map))

model_parallel = keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="data")
keras.distribution.set_distribution(model_parallel)
try:
    layout_map["wide.*kernel"] = ("model", None)
except ValueError:
    print("a key is set once")

rng = np.random.default_rng(1)
inputs = keras.Input((12,))
x = keras.layers.Dense(32, activation="relu", name="wide_0")(inputs)
x = keras.layers.Dense(32, activation="relu", name="wide_1")(x)
x = keras.layers.Dropout(0.0)(x)
model = keras.Model(inputs, keras.layers.Dense(8, name="narrow")(x))
model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
for weight in model.weights:
    print(weight.path, weight.shape, weight.value.addressable_shards[0].data.shape)

model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
x_train = rng.normal(size=(32, 12)).astype("float32")
y_train = (x_train[:, :8] * x_train[:, 4:]).astype("float32")
history = model.fit(x_train, y_train, batch_size=8, epochs=3, shuffle=False, verbose=0)
for name in sorted(history.history):
    print(name, history.history[name])
kernel = model.get_layer("wide_0").kernel.value
print(kernel.addressable_shards[0].data.shape, len(kernel.sharding.device_set))
slots = [v for v in model.optimizer.variables if tuple(v.shape) == (12, 32)]
print([v.value.addressable_shards[0].data.shape for v in slots])
print(model.predict(x_train[:8], verbose=0)[:2])
keras.distribution.set_distribution(None)
