"""A small U-Net that finds discs; images and their masks are turned and flipped together."""

import sys

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
SIZE = 16


def discs(count, rng):
    """Bright discs on dark noise, and where they are."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    center, radius = rng.integers(4, SIZE - 4, (2, count, 1, 1)), rng.integers(2, 5, (count, 1, 1))
    masks = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
    images = 90 * masks[..., None] + rng.normal(80, 40, (count, SIZE, SIZE, 1))
    return images.clip(0, 255).astype("float32"), masks[..., None].astype("uint8")


class Augmented(keras.utils.PyDataset):
    def __init__(self, images, masks, layer, **kwargs):
        super().__init__(**kwargs)
        self.images, self.masks, self.layer = images, masks, layer

    def __len__(self):
        return len(self.images) // 16

    def __getitem__(self, index):
        part = slice(16 * index, 16 * (index + 1))
        data = {"images": self.images[part], "segmentation_masks": self.masks[part]}
        data = self.layer(data, training=True)
        return np.asarray(data["images"]), np.asarray(data["segmentation_masks"])


def block(x, filters, name):
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_convolution")(x)
    return layers.Activation("relu")(
        layers.BatchNormalization(momentum=0.9, name=f"{name}_normalization")(x)
    )


def network():
    inputs = keras.Input((SIZE, SIZE, 1))
    first = block(layers.Rescaling(1 / 255)(inputs), 8, "first")
    inner = block(layers.MaxPooling2D()(first), 12, "inner")
    up = layers.Conv2DTranspose(8, 2, strides=2, name="up")(inner)
    last = block(layers.Concatenate()([first, up]), 8, "last")
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="classes")(last))
    iou = keras.metrics.MeanIoU(2, sparse_y_pred=False, name="iou")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=[iou])
    return model


def augmentation(seed):
    return keras.layers.Pipeline(
        [
            layers.RandomFlip("horizontal_and_vertical", seed=seed),
            layers.RandomRotation(0.2, fill_mode="constant", interpolation="nearest", seed=seed),
        ]
    )


rng = np.random.default_rng(8)
images, masks = discs(48, rng)
marked = Augmented(255.0 * masks, masks, augmentation(1))  # images that show the masks themselves
changed = 0
for i in range(len(marked)):
    turned, turned_masks = marked[i]
    print(turned.shape, turned_masks.shape, bool(np.all((turned > 127) == (turned_masks > 0))))
    changed += np.any(turned_masks != masks[16 * i : 16 * i + 16], (1, 2, 3)).sum()
print(bool(changed > 30))

model = network()
weights = [
    w if "normalization" in v.path else rng.normal(0, 0.3, w.shape)
    for v, w in zip(model.weights, model.get_weights(), strict=True)
]
model.set_weights(weights)
history = model.fit(images, masks, batch_size=16, epochs=2, shuffle=False, verbose=0).history
print({k: [round(float(v), 3) for v in vs] for k, vs in sorted(history.items())})
model.fit(Augmented(images, masks, augmentation(2)), epochs=1, verbose=0)
print(model.predict(images[:2], verbose=0).shape)

for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    images, masks = discs(320, np.random.default_rng(9))
    model = network()
    model.fit(Augmented(images[:160], masks[:160], augmentation(seed)), epochs=12, verbose=0)
    print("accuracy", model.evaluate(images[160:], masks[160:], verbose=0)[1])
