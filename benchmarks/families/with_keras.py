"""Lamina and Keras 3, which share an API; ``keras`` is one of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.workloads import Arrays, Workload


def mlp(keras):
    layers = keras.layers
    inputs = keras.Input((784,))
    x = layers.Dense(64, activation="relu")(inputs)
    x = layers.Dense(64, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(10)(x))
    return _classifier(keras, model, keras.optimizers.RMSprop())


def autoencoder(keras):
    layers = keras.layers
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, activation="relu")(inputs)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Reshape((4, 4, 1))(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu")(x)
    x = layers.UpSampling2D(3)(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, activation="relu")(x)
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    return model


def tickets(keras):
    layers = keras.layers
    title = keras.Input((None,), dtype="int32", name="title")
    body = keras.Input((None,), dtype="int32", name="body")
    tags = keras.Input((12,), name="tags")
    title_features = layers.LSTM(128)(layers.Embedding(10_000, 64)(title))
    body_features = layers.LSTM(32)(layers.Embedding(10_000, 64)(body))
    x = layers.concatenate([title_features, body_features, tags])
    priority = layers.Dense(1, name="priority")(x)
    department = layers.Dense(4, name="department")(x)
    model = keras.Model([title, body, tags], [priority, department])
    model.compile(
        keras.optimizers.RMSprop(1e-3),
        [
            keras.losses.BinaryCrossentropy(from_logits=True),
            keras.losses.CategoricalCrossentropy(from_logits=True),
        ],
        loss_weights=[1.0, 0.2],
    )
    return model


def resnet(keras):
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    block = layers.MaxPooling2D(3)(x)
    for _ in range(2):
        x = layers.Conv2D(64, 3, activation="relu", padding="same")(block)
        x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
        block = layers.add([x, block])
    x = layers.Conv2D(64, 3, activation="relu")(block)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(10)(x))
    model.compile(
        keras.optimizers.RMSprop(1e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )
    return model


def transformer(keras):
    layers = keras.layers

    class Positions(layers.Layer):
        def build(self, input_shape):
            self.table = self.add_weight((128, 64), "uniform", name="table")

        def call(self, inputs):
            return inputs + self.table

    inputs = keras.Input((128,), dtype="int32")
    x = Positions()(layers.Embedding(10_000, 64)(inputs))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.MultiHeadAttention(4, 16)(y, y)
        x = layers.add([x, layers.Dropout(0.1)(y)])
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(64)(layers.Dense(128, activation="relu")(y))
        x = layers.add([x, layers.Dropout(0.1)(y)])
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(4)(x))
    return _classifier(keras, model, keras.optimizers.Adam())


def gru(keras):
    layers = keras.layers
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10_000, 64)(inputs)
    x = layers.GRU(64, return_sequences=True)(x)
    x = layers.GRU(64)(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    return _classifier(keras, model, keras.optimizers.Adam())


def conv1d(keras):
    layers = keras.layers
    inputs = keras.Input((128, 9))
    x = layers.Conv1D(64, 5, activation="relu")(inputs)
    x = layers.Conv1D(64, 5, activation="relu")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.Conv1D(128, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(6)(x))
    return _classifier(keras, model, keras.optimizers.Adam())


def mobilenet(keras):
    layers = keras.layers

    def normalized(x):
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input((33, 33, 3))
    x = normalized(layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs))
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        depthwise = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
        x = normalized(depthwise(x))
        x = normalized(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10)(x))
    return _classifier(keras, model, keras.optimizers.SGD(0.01, momentum=0.9))


def unet(keras):
    layers = keras.layers

    def twice(x, filters):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        return layers.Conv2D(filters, 3, activation="relu", padding="same")(x)

    inputs = x = keras.Input((64, 64, 3))
    skips = []
    for filters in (16, 32):
        x = twice(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = twice(x, 64)
    for filters in (32, 16):
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = twice(layers.concatenate([skips.pop(), x]), filters)
    model = keras.Model(inputs, layers.Conv2D(3, 1)(x))
    model.compile(
        keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def vgg19(keras):
    return keras.applications.VGG19(weights=None)


def _application(name):
    def build(keras):
        make = getattr(keras.applications, name)
        model = make(weights=None, classes=10, classifier_activation=None)
        return _classifier(keras, model, keras.optimizers.SGD(0.01, momentum=0.9))

    return build


resnet50 = _application("ResNet50")
mobilenetv2 = _application("MobileNetV2")
efficientnetb0 = _application("EfficientNetB0")


def deep(keras):
    x = inputs = keras.Input((8,))
    for _ in range(200):
        x = keras.layers.Dense(8)(x)
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    return model


def blocks(keras):
    layers = keras.layers
    x = inputs = keras.Input((32, 32, 64))
    for _ in range(50):
        y = layers.Conv2D(64, 3, padding="same")(x)
        y = layers.Activation("relu")(layers.BatchNormalization()(y))
        x = layers.add([x, y])
    return keras.Model(inputs, x)


def _classifier(keras, model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


class Session:
    """See :class:`benchmarks.families.Session`."""

    def __init__(self, framework: str) -> None:
        self.keras: Any = importlib.import_module(framework)

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        self.model, self.batch = globals()[name](self.keras), workload.batch
        self.hold(data)

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        self.x, self.y = map(_alone, data)

    def train(self, epochs: int) -> None:
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=epochs, verbose=0)

    def predict(self, x: Arrays) -> Arrays:
        y = self.model.predict(_alone(x), verbose=0)
        return y if isinstance(y, list) else [y]

    def call(self, x: Arrays) -> Any:
        y = self.model(_alone(x))
        return [self.keras.ops.convert_to_numpy(a) for a in (y if isinstance(y, list) else [y])]

    def get_weights(self) -> Arrays:
        return self.model.get_weights()

    def set_weights(self, weights: Arrays) -> None:
        self.model.set_weights(weights)
        for layer in self.model.layers:
            if type(layer).__name__ == "Normalization":  # which the peer may not have
                layer.finalize_state()  # until then, Keras computes with the former statistics

    def save(self, folder: Path) -> None:
        self.model.save(folder / "model.keras")

    def load(self, folder: Path) -> None:
        self.model = self.keras.models.load_model(folder / "model.keras")


def _alone(arrays: Arrays) -> Any:
    """The only element of a list, or the list."""
    return arrays[0] if len(arrays) == 1 else arrays
