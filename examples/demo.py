"""Train a classifier on real digits, plot it, save it and load it again.

Run it with ``make demo``. It needs no network: the 1,797 hand-written digits (8 x 8 pixels) come
with scikit-learn.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(0)

digits = load_digits()
x = (digits.data / 16.0).astype("float32")
y = digits.target
order = np.random.default_rng(0).permutation(len(x))
x, y = x[order], y[order]
x_train, y_train, x_test, y_test = x[:1437], y[:1437], x[1437:], y[1437:]

inputs = keras.Input(shape=(64,), name="pixels")
h = layers.Dense(64, activation="relu")(inputs)
h = layers.Dense(64, activation="relu")(h)
outputs = layers.Dense(10, name="digit")(h)
model = keras.Model(inputs, outputs, name="digits_model")
model.summary()

model.compile(
    optimizer=keras.optimizers.RMSprop(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=32, epochs=20, validation_split=0.2)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Test loss: {loss:.4f}")
print(f"Test accuracy: {accuracy:.4f}")

out = Path(tempfile.gettempdir()) / "lamina-demo"
out.mkdir(exist_ok=True)
keras.utils.plot_model(model, out / "digits.png", show_shapes=True, show_layer_names=True)
print(f"The graph of the model is drawn in {out / 'digits.png'}")

model.save(out / "digits.keras")
again = keras.saving.load_model(out / "digits.keras")
same = np.array_equal(model.predict(x_test, verbose=0), again.predict(x_test, verbose=0))
print(f"Saved to {out / 'digits.keras'} and loaded: the predictions are", end=" ")
print("the same, bit for bit." if same else "DIFFERENT.")
if not same or accuracy < 0.95:
    raise SystemExit(1)
