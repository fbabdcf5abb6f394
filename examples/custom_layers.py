"""A custom layer: it is trained, saved and loaded like any other.

This one has prototypes, points in the space of its inputs, and returns the distance to each. With
digits as inputs, every prototype can be displayed as an image.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import lamina as keras
from lamina import layers, ops

keras.utils.set_random_seed(0)


class Prototypes(layers.Layer):
    """The similarity of each input to each of ``units`` learned points."""

    def __init__(self, units=10, sharpness=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.sharpness = sharpness

    def build(self, input_shape):
        self.points = self.add_weight(
            shape=(self.units, input_shape[-1]), initializer="random_uniform", name="points"
        )

    def call(self, inputs):
        steps = ops.expand_dims(inputs, 1) - self.points
        return -self.sharpness * ops.sum(ops.square(steps), axis=-1)

    # The arguments to create this layer again. Arguments like these two, which are attributes of
    # the same name, would be found without it.
    def get_config(self):
        return super().get_config() | {"units": self.units, "sharpness": self.sharpness}


digits = load_digits()
pixels, labels = (digits.data / 16).astype("float32"), digits.target

inputs = keras.Input((64,), name="pixels")
outputs = Prototypes(10, sharpness=0.5, name="prototypes")(inputs)
model = keras.Model(inputs, outputs, name="nearest_prototype")
model.summary(line_length=70)
model.compile(
    keras.optimizers.Adam(0.02),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(pixels[:1400], labels[:1400], epochs=15, verbose=0)
_, accuracy = model.evaluate(pixels[1400:], labels[1400:], verbose=0)
print(f"\n{accuracy:.1%} of the other digits lie nearest to the right prototype.")

print("The prototypes of 0, 1, 3 and 8:\n")
points = np.asarray(model.get_weights()[0]).reshape(10, 8, 8)
shown = np.clip((points[[0, 1, 3, 8]] - points.min()) / np.ptp(points), 0, 1)
for row in range(8):
    print("   ".join("".join(" .:+*#@"[int(6.99 * v)] * 2 for v in p[row]) for p in shown))

# As data: the graph with newly initialized weights.
config = model.get_config()
again = keras.Model.from_config(config, custom_objects={"Prototypes": Prototypes})
print("\nFrom its config:", again.get_layer("prototypes").get_config()["sharpness"], "is kept.")

# As a file: with the weights.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.keras"
    model.save(path)
    loaded = keras.saving.load_model(path, custom_objects={"Prototypes": Prototypes})
    same = np.array_equal(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0))
    print("From its file: the predictions are", "the same, bit for bit." if same else "DIFFERENT.")
    try:
        keras.saving.load_model(path)
    except keras.errors.LaminaError as error:
        print("Without custom_objects:", str(error).splitlines()[0])
