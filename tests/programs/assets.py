"""A layer that keeps a vocabulary in a file of its own inside of the model's file."""

import os
import tempfile

import keras
import numpy as np


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


model = keras.Sequential([keras.Input((2,)), Lookup(["a", "b", "c"]), keras.layers.Dense(1)])
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
print(loaded.layers[0].vocab)
x = np.ones((3, 2), "float32")
print(np.allclose(model(x), loaded(x)))
