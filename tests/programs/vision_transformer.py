"""A vision transformer: patches of images as a sequence, with learned positions."""

import sys

import keras
import numpy as np
from keras import layers, ops

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
SIZE, PATCH, WIDTH = 16, 4, 16


def stripes(count, rng):
    """Stripes that are horizontal, vertical or diagonal; it takes several patches to tell."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = rng.integers(0, 3, count)
    along = np.stack([rows, columns, rows + columns])[labels]
    waves = np.sin(along * rng.uniform(0.6, 1.2, (count, 1, 1)) + rng.uniform(0, 6, (count, 1, 1)))
    images = waves[..., None] * 40 + 128 + rng.normal(0, 60, (count, SIZE, SIZE, 3))
    return images.clip(0, 255).astype("float32"), labels


class Patches(layers.Layer):
    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images):
        batch, height, width, channels = ops.shape(images)
        patches = ops.image.extract_patches(images, size=self.patch_size)
        count = (height // self.patch_size) * (width // self.patch_size)
        return ops.reshape(patches, (batch, count, self.patch_size**2 * channels))

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_patches = num_patches
        self.projection = layers.Dense(units=projection_dim)
        self.position_embedding = layers.Embedding(input_dim=num_patches, output_dim=projection_dim)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(start=0, stop=self.num_patches, step=1), axis=0)
        return self.projection(patch) + self.position_embedding(positions)


def network():
    inputs = keras.Input((SIZE, SIZE, 3))
    scale = layers.Normalization(mean=128.0, variance=5000.0, axis=None)
    x = PatchEncoder((SIZE // PATCH) ** 2, WIDTH)(Patches(PATCH)(scale(inputs)))
    for _ in range(2):
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.MultiHeadAttention(num_heads=2, key_dim=WIDTH // 2)(h, h)
        x = layers.Add()([h, x])
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.Dense(2 * WIDTH, activation="gelu")(h)
        x = layers.Add()([layers.Dense(WIDTH)(h), x])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    model.compile(
        keras.optimizers.AdamW(learning_rate=0.003, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseTopKCategoricalAccuracy(2, name="top-2"),
        ],
    )
    return model


rng = np.random.default_rng(12)
images, labels = stripes(48, rng)
patches = np.asarray(Patches(PATCH)(images[:1]))
print(patches.shape, np.array_equal(patches[0, 1].reshape(4, 4, 3), images[0, :4, 4:8]))
model = network()
print(model.count_params(), len(model.weights))
model.set_weights([rng.normal(0, 0.15, w.shape) + (w == 1) for w in model.get_weights()])
history = model.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0).history
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})

for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    images, labels = stripes(1000, np.random.default_rng(13))
    model = network()
    model.fit(images[:600], labels[:600], batch_size=32, epochs=10, verbose=0)
    print("accuracy", model.evaluate(images[600:], labels[600:], verbose=0)[1])
