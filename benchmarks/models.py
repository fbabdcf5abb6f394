"""The measured models, written once against the public API that Lamina and Keras share."""

import numpy as np


def mlp(k):
    inputs = k.Input((784,))
    x = k.layers.Dense(64, activation="relu")(inputs)
    x = k.layers.Dense(64, activation="relu")(x)
    model = k.Model(inputs, k.layers.Dense(10)(x))
    model.compile(
        k.optimizers.RMSprop(), k.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    return model, rng.random((48000, 784), "float32"), rng.integers(0, 10, 48000), 64


def toy_resnet(k):
    layers = k.layers
    inputs = k.Input((32, 32, 3))
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    one = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(one)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    two = layers.add([x, one])
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(two)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    three = layers.add([x, two])
    x = layers.Conv2D(64, 3, activation="relu")(three)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(layers.Dense(256, activation="relu")(x))
    model = k.Model(inputs, layers.Dense(10)(x))
    model.compile(
        k.optimizers.RMSprop(1e-3), k.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    labels = np.eye(10, dtype="float32")[rng.integers(0, 10, 1280)]
    return model, rng.random((1280, 32, 32, 3), "float32"), labels, 64


def deep_dense(k):
    """200 Dense layers: what a step costs in Python."""
    x = inputs = k.Input((8,))
    for _ in range(200):
        x = k.layers.Dense(8)(x)
    model = k.Model(inputs, x)
    model.compile(k.optimizers.SGD(0.01), "mse")
    rng = np.random.default_rng(0)
    return model, rng.random((6400, 8), "float32"), rng.random((6400, 8), "float32"), 64


def residual_blocks(k, blocks=50):
    """200 layers: 50 times convolution, normalization, activation, sum."""
    x = inputs = k.Input((32, 32, 64))
    for _ in range(blocks):
        y = k.layers.Conv2D(64, 3, padding="same")(x)
        y = k.layers.Activation("relu")(k.layers.BatchNormalization()(y))
        x = k.layers.add([x, y])
    return k.Model(inputs, x)
