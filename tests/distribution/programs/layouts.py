"""Layouts in other uses: chosen devices, a subclassed model, a table, own tensors, files."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import tempfile

import keras
import numpy as np

sharding = keras.distribution
rng = np.random.default_rng(3)


def part(x):
    return getattr(x, "value", x).addressable_shards[0].data.shape


# Two of the devices, and layers that are built by the first batch.
two = sharding.DataParallel(devices=sharding.list_devices()[:2], auto_shard_dataset=False)
print(two.device_mesh.shape, two.device_mesh.axis_names, two.batch_dim_name)
sharding.set_distribution(two)
late = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
late.compile("sgd", "mse")
late.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, verbose=0)
print(len(late.layers[0].kernel.value.sharding.device_set))

# A subclassed model, created when the distribution is set; its table is split by rows.
mesh = sharding.DeviceMesh((2, 4), ["batch", "model"], sharding.list_devices())
layouts = sharding.LayoutMap(mesh)
layouts[".*table/embeddings"] = ("model", None)
layouts[".*wide.*kernel"] = (None, "model")
layouts[".*wide.*bias"] = ("model",)
layouts[".*narrow.*kernel"] = sharding.TensorLayout(("model", None), mesh)
print({key: layout.axes for key, layout in layouts.items()}, layouts["no/such"])
parallel = sharding.ModelParallel(layout_map=layouts, batch_dim_name="batch")
print(parallel.get_data_layout((8, 3)).axes)
sharding.set_distribution(parallel)


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = keras.layers.Embedding(16, 8, name="table")
        self.wide = keras.layers.Dense(32, activation="relu", name="wide")
        self.narrow = keras.layers.Dense(4, name="narrow")

    def call(self, ids):
        return self.narrow(self.wide(keras.ops.mean(self.table(ids), axis=1)))


ids, classes = rng.integers(0, 16, (32, 5)), rng.integers(0, 4, 32)
model = Classifier()
model(ids[:8])
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
model.compile(
    keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
print(model.fit(ids, classes, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"])
print([part(w) for w in model.weights])
with tempfile.TemporaryDirectory() as folder:
    model.save_weights(f"{folder}/of.weights.h5")
    other = Classifier()
    other(ids[:8])
    other.load_weights(f"{folder}/of.weights.h5")
print([part(w) for w in other.weights])
print(np.abs(other.predict(ids, verbose=0) - model.predict(ids, verbose=0)).max() < 1e-5)

# A layer that says how its own tensor is split, and a model that is saved and loaded.
layout = sharding.TensorLayout(("batch", "model"), mesh)


@keras.saving.register_keras_serializable()
class Product(keras.layers.Layer):
    def build(self, input_shape):
        self.wide = self.add_weight(shape=(input_shape[-1], 8), name="wide_kernel")

    def call(self, x):
        return sharding.distribute_tensor(keras.ops.matmul(x, self.wide), layout)


print(part(Product()(np.ones((8, 6), "float32"))))
inputs = keras.Input((6,))
model = keras.Model(inputs, keras.layers.Dense(2)(Product()(inputs)))
model.compile("adam", "mse")
x = rng.normal(size=(16, 6)).astype("float32")
model.fit(x, x[:, :2], batch_size=8, verbose=0)
expected = model.predict(x, verbose=0)
with tempfile.TemporaryDirectory() as folder:
    model.save(f"{folder}/model.keras")
    loaded = keras.models.load_model(f"{folder}/model.keras")
    sharding.set_distribution(None)
    alone = keras.models.load_model(f"{folder}/model.keras")
slots = [v for v in loaded.optimizer.variables if tuple(v.shape) == (6, 8)]
print([part(v) for v in (*loaded.weights, *slots)])
print([part(v) for v in alone.weights], len(alone.weights[0].value.sharding.device_set))
for same in (loaded, alone):
    print(np.abs(same.predict(x, verbose=0) - expected).max() < 1e-5)
