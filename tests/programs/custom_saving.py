"""What files hold can be customized: own variables, build and compile configs, assets."""

import os
import tempfile

import keras
import numpy as np

rng = np.random.default_rng(8)


@keras.saving.register_keras_serializable(package="Custom")
class Lookup(keras.layers.Layer):
    """Keeps a vocabulary beside its weights, as an asset."""

    def __init__(self, vocab=None, **kwargs):
        super().__init__(**kwargs)
        self.vocab = vocab

    def call(self, x):
        return x * 1.0

    def save_assets(self, inner_path):
        with open(os.path.join(inner_path, "vocabulary.txt"), "w") as file:
            file.write("\n".join(self.vocab))

    def load_assets(self, inner_path):
        with open(os.path.join(inner_path, "vocabulary.txt")) as file:
            self.vocab = file.read().split("\n")


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
        self.lookup = Lookup(["a", "b", "c"])
        self.own = Own(3)

    def call(self, x):
        return self.own(self.lookup(x))

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
model.compile("sgd", "mse", scale=3.0)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
print(np.allclose(model(x), loaded(x)), loaded.own.extra, loaded.scale)
print(float(loaded.optimizer.learning_rate), loaded.lookup.vocab)
print(float(loaded.train_on_batch(x, y)))
