"""What files hold can be customized: own variables, build and compile configs."""

import os
import tempfile

import keras
import numpy as np

rng = np.random.default_rng(8)


@keras.saving.register_keras_serializable(package="Custom")
class Own(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, x):
        return x @ self.kernel

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def get_build_config(self):
        return {"input_shape": (None, 4), "extra": 9}

    def build_from_config(self, config):
        self.extra = config["extra"]
        self.build(tuple(config["input_shape"]))

    def save_own_variables(self, store):
        store["half"] = np.asarray(self.kernel) / 2

    def load_own_variables(self, store):
        self.kernel.assign(np.asarray(store["half"]) * 2)


@keras.saving.register_keras_serializable(package="Custom")
class Compiled(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.own = Own(3)

    def call(self, x):
        return self.own(x)

    def compile(self, optimizer, loss, scale):
        super().compile(optimizer=optimizer, loss=loss)
        self.scale = scale

    def get_compile_config(self):
        return {"lr": 0.25, "scale": self.scale}

    def compile_from_config(self, config):
        self.compile(keras.optimizers.SGD(config["lr"]), "mse", config["scale"])


model = Compiled()
x, y = rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 3)).astype("float32")
model(x)
model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
model.compile(keras.optimizers.SGD(0.25), "mse", scale=3.0)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
print(np.allclose(model(x), loaded(x)), loaded.scale)
print(float(loaded.optimizer.learning_rate))
print(float(loaded.train_on_batch(x, y)))
record = keras.saving.serialize_keras_object(model.own)
own = keras.saving.deserialize_keras_object(record)
print(own.extra, own.built, tuple(own.kernel.shape))
