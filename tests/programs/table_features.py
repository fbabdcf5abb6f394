"""A table of numbers and categories, encoded by a FeatureSpace: ahead of the model, and in it."""

import os
import sys
import tempfile

import keras
import numpy as np
from keras import layers
from keras.utils import FeatureSpace

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()


def table(rows, rng):
    age, pressure = rng.uniform(20, 80, rows), rng.normal(130, 20, rows)
    kind, sex = rng.choice(["a", "b", "c"], rows), rng.integers(0, 2, rows)
    risk = (age - 50) / 15 + (pressure - 130) / 20 + np.where(kind == "b", 2.0, -0.6)
    risk += np.where((sex == 1) & (kind == "c"), 2.0, 0.0)
    target = (risk + rng.normal(0, 0.7, rows) > 0).astype("float32")
    numbers = {"age": age.astype("float32"), "pressure": pressure.astype("float32")}
    return {**numbers, "kind": kind, "sex": sex}, target[:, None]


def space_of(columns):
    space = FeatureSpace(
        features={
            "age": FeatureSpace.float_discretized(num_bins=6),
            "pressure": FeatureSpace.float_normalized(),
            "kind": FeatureSpace.string_categorical(num_oov_indices=0),
            "sex": "integer_categorical",
        },
        crosses=[FeatureSpace.cross(("sex", "kind"), crossing_dim=16)],
        output_mode="concat",
    )
    space.adapt(columns)
    return space


def network(space):
    encoded = space.get_encoded_features()
    h = layers.Dense(12, activation="relu")(encoded)
    outputs = layers.Dense(1, activation="sigmoid")(h)
    training = keras.Model(encoded, outputs)
    training.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return training, keras.Model(space.get_inputs(), outputs)


rng = np.random.default_rng(6)
columns, target = table(120, rng)
space = space_of(columns)
for name in ("kind", "sex"):
    print([str(token) for token in space.preprocessors[name].get_vocabulary()])
print(np.asarray(space.preprocessors["age"].bin_boundaries).round(2))
encoded = np.asarray(space(columns))
print(encoded.shape, encoded.sum(0).round(3))
training, inference = network(space)
training.set_weights([rng.normal(0, 0.4, w.shape) for w in training.get_weights()])
history = training.fit(encoded, target, batch_size=40, epochs=3, shuffle=False, verbose=0).history
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})

sample = {"age": 63.5, "pressure": 150.0, "kind": "b", "sex": 1}
batch = {k: keras.ops.convert_to_tensor([v]) for k, v in sample.items()}
print(inference.predict(batch, verbose=0).round(4))
with tempfile.TemporaryDirectory() as folder:
    space.save(os.path.join(folder, "space.keras"))
    again = keras.models.load_model(os.path.join(folder, "space.keras"))
    print(np.allclose(np.asarray(again(columns)), encoded))
    inference.save(os.path.join(folder, "model.keras"))
    loaded = keras.models.load_model(os.path.join(folder, "model.keras"))
    print(loaded.predict(batch, verbose=0).round(4))

for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    columns, target = table(900, np.random.default_rng(7))
    space = space_of({k: v[:600] for k, v in columns.items()})
    training, _ = network(space)
    encoded = np.asarray(space(columns))
    training.fit(encoded[:600], target[:600], epochs=15, verbose=0)
    print("accuracy", training.evaluate(encoded[600:], target[600:], verbose=0)[1])
