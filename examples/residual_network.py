"""Why residual connections: the same 17 convolutions, with and without shortcut connections.

A graph need not be a linear stack. Here each block's input is added to its output; without that
addition the same layers do not learn in the same number of epochs.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

import lamina as keras
from lamina import layers

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
images = (digits.images[order][..., None] / 16).astype("float32")
labels = keras.utils.to_categorical(digits.target[order], 10)


def deep_network(blocks, *, shortcuts):
    """Two convolutions per block, and a classifier on their global average."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    for _ in range(blocks):
        y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(16, 3, padding="same", activation="relu")(y)
        x = layers.add([x, y]) if shortcuts else y
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(32, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    kind = "residual" if shortcuts else "plain"
    return keras.Model(image, layers.Dense(10, name="digit")(x), name=kind)


deep_network(2, shortcuts=True).summary(line_length=90)
print("\nThe summary shows two blocks; now train eight:\n")
for shortcuts in (False, True):
    keras.utils.set_random_seed(0)
    model = deep_network(8, shortcuts=shortcuts)
    model.compile(
        optimizer=keras.optimizers.Adam(2e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )
    start = time.perf_counter()
    history = model.fit(
        images[:1400], labels[:1400], batch_size=32, epochs=6, verbose=0,
        validation_data=(images[1400:], labels[1400:]),
    ).history  # fmt: skip
    seconds = time.perf_counter() - start
    course = " ".join(f"{v:4.0%}" for v in history["val_acc"])
    print(f"{model.name:>9}: {model.count_params():,} parameters, {seconds:.0f} s; "
          f"accuracy on new digits after each epoch: {course}")  # fmt: skip
