"""The guide's models: shapes and parameter counts row by row, and training on real digits."""

import os
from pathlib import Path

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.datasets import mnist

DATA = os.environ.get("LAMINA_TEST_DATA")


def rows(model):
    return [(x.output.shape, x.count_params()) for x in model.layers]


def mlp():
    inputs = keras.Input(shape=(784,))
    x = layers.Dense(64, activation="relu")(inputs)
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs=inputs, outputs=layers.Dense(10)(x), name="mnist_model")


def encoder_and_autoencoder():
    encoder_input = keras.Input(shape=(28, 28, 1), name="img")
    x = layers.Conv2D(16, 3, activation="relu")(encoder_input)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    encoder_output = layers.GlobalMaxPooling2D()(x)
    encoder = keras.Model(encoder_input, encoder_output, name="encoder")
    x = layers.Reshape((4, 4, 1))(encoder_output)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu")(x)
    x = layers.UpSampling2D(3)(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    decoder_output = layers.Conv2DTranspose(1, 3, activation="relu")(x)
    return encoder, keras.Model(encoder_input, decoder_output, name="autoencoder")


def toy_resnet():
    inputs = keras.Input(shape=(32, 32, 3), name="img")
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    block_1 = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(block_1)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    block_2 = layers.add([x, block_1])
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(block_2)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    block_3 = layers.add([x, block_2])
    x = layers.Conv2D(64, 3, activation="relu")(block_3)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(10)(x), name="toy_resnet")


def test_mlp_table():
    assert rows(mlp()) == [
        ((None, 784), 0), ((None, 64), 50_240), ((None, 64), 4_160), ((None, 10), 650),
    ]  # fmt: skip
    assert mlp().count_params() == 55_050


def test_encoder_and_autoencoder_tables():
    encoder, autoencoder = encoder_and_autoencoder()
    assert rows(encoder) == [
        ((None, 28, 28, 1), 0), ((None, 26, 26, 16), 160), ((None, 24, 24, 32), 4_640),
        ((None, 8, 8, 32), 0), ((None, 6, 6, 32), 9_248), ((None, 4, 4, 16), 4_624),
        ((None, 16), 0),
    ]  # fmt: skip
    assert rows(autoencoder)[7:] == [
        ((None, 4, 4, 1), 0), ((None, 6, 6, 16), 160), ((None, 8, 8, 32), 4_640),
        ((None, 24, 24, 32), 0), ((None, 26, 26, 16), 4_624), ((None, 28, 28, 1), 145),
    ]  # fmt: skip
    assert encoder.count_params() == 18_672
    assert autoencoder.count_params() == 28_241
    assert encoder.layers[1] is autoencoder.layers[1]


def test_toy_resnet_table():
    model = toy_resnet()
    assert model.count_params() == 223_242
    assert [n for _, n in rows(model) if n] == [
        896, 18_496, 36_928, 36_928, 36_928, 36_928, 36_928, 16_640, 2_570,
    ]  # fmt: skip
    assert model.output_shape == (None, 10)


def test_automatic_names_are_deterministic():
    names = []
    for _ in range(2):
        keras.utils.clear_session()
        names.append([x.name for x in toy_resnet().layers])
    assert names[0] == names[1]
    assert names[0][:4] == ["img", "conv2d", "conv2d_1", "max_pooling2d"]
    assert "add_1" in names[0]


@pytest.mark.skipif(not DATA, reason="LAMINA_TEST_DATA names no folder with the MNIST files")
def test_the_classifier_learns_mnist():
    (x_train, y_train), (x_test, y_test) = mnist.load_data(str(Path(DATA or "") / "mnist"))
    x_train = x_train.reshape(60000, 784).astype("float32") / 255
    x_test = x_test.reshape(10000, 784).astype("float32") / 255
    keras.utils.set_random_seed(1)
    model = mlp()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.RMSprop(),
        metrics=["accuracy"],
    )
    history = model.fit(x_train, y_train, batch_size=64, epochs=2, validation_split=0.2, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    assert accuracy > 0.95
    assert loss < 0.17


def test_the_autoencoder_learns():
    _, model = encoder_and_autoencoder()
    x = np.random.default_rng(0).random((32, 28, 28, 1)).astype("float32")
    model.compile(optimizer="adam", loss="mse")
    history = model.fit(x, x, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
