"""Training on mixed images with mixed labels: CutMix and MixUp, ahead of the model."""

import os
import sys

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
REAL = os.path.join(sys.argv[2], "cifar10") if len(sys.argv) > 2 else None


def shapes(count, rng, size=16):
    """Bright squares, crosses and frames on noise."""
    labels = rng.integers(0, 3, count)
    images = rng.normal(90, 50, (count, size, size, 3))
    for image, label in zip(images, labels, strict=True):
        row, column, width = *rng.integers(0, size - 8, 2), rng.integers(5, 9)
        part = image[row : row + width, column : column + width]
        kept = np.ones((width, width), bool)
        if label == 1:
            kept[:] = False
            kept[width // 2] = kept[:, width // 2] = True
        elif label == 2:
            kept[1:-1, 1:-1] = False
        part[kept] += 110
    return images.clip(0, 255).astype("float32"), np.eye(3, dtype="float32")[labels]


def photographs(name):
    rows = np.fromfile(os.path.join(REAL, name), "uint8").reshape(-1, 3073)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype("float32")
    return images, np.eye(10, dtype="float32")[rows[:, 0]]


def network(size, classes, filters):
    model = keras.Sequential([keras.Input((size, size, 3)), layers.Rescaling(1 / 127.5, -1)])
    for n in filters:
        model.add(layers.Conv2D(n, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(classes, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.003), "categorical_crossentropy", metrics=["accuracy"])
    return model


def mixed(images, labels, layer, batch_size, rng):
    """One epoch of batches."""
    order = rng.permutation(len(images))
    for i in range(0, len(images), batch_size):
        rows = order[i : i + batch_size]
        yield layer({"images": images[rows], "labels": labels[rows]}, training=True)


rng = np.random.default_rng(14)
images, labels = shapes(32, rng)
# Images whose pixels are their class: what is mixed of them is what is mixed of the labels.
flat = np.ones((16, 16, 16, 3), "float32") * np.arange(16)[:, None, None, None] % 3
flat_labels = np.eye(3, dtype="float32")[np.arange(16) % 3]
for cls, kinds in ((layers.CutMix, 3), (layers.MixUp, 100)):
    layer = cls(seed=1)
    data = layer({"images": flat, "labels": flat_labels}, training=True)
    x, y = np.asarray(data["images"]), np.asarray(data["labels"])
    print(x.shape, x.dtype, y.shape, y.dtype, y.sum(-1).round(4).tolist())
    if cls is layers.MixUp:  # Keras mixes labels by the size of a window before it is rounded
        print(np.allclose(x.mean((1, 2, 3)), y @ np.arange(3.0), atol=1e-4))
    print(bool(len(np.unique(x.round(3))) <= kinds), bool(np.any(y != flat_labels)))
    same = layer({"images": flat, "labels": flat_labels}, training=False)
    print(np.array_equal(np.asarray(same["images"]), flat))

model = network(16, 3, (8, 12))
model.set_weights([rng.normal(0, 0.15, w.shape) for w in model.get_weights()])
print([round(float(v), 4) for v in model.evaluate(images, labels, verbose=0)])
for cls in (layers.CutMix, layers.MixUp):
    for data in mixed(images, labels, cls(seed=2), 16, rng):
        loss = model.train_on_batch(np.asarray(data["images"]), np.asarray(data["labels"]))[0]
print(bool(0 < float(loss) < 5), int(model.optimizer.iterations))

for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    if REAL is None:
        x, y = shapes(1200, np.random.default_rng(15))
        test_x, test_y = x[900:], y[900:]
        x, y = x[:900], y[:900]
        model, epochs = network(16, 3, (8, 16)), 8
    else:
        x, y = photographs("data_batch_1_first4000.bin")
        test_x, test_y = photographs("test_batch_first1000.bin")
        model, epochs = network(32, 10, (12, 24, 24)), 5
    order = np.random.default_rng(seed)
    for epoch in range(epochs):
        layer = (layers.CutMix, layers.MixUp)[epoch % 2](seed=10 * seed + epoch)
        for data in mixed(x, y, layer, 32, order):
            model.train_on_batch(np.asarray(data["images"]), np.asarray(data["labels"]))
    print("accuracy", model.evaluate(test_x, test_y, verbose=0)[1])
