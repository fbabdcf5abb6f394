"""The models of the functional guide, with the names that they get by themselves."""

import functools

import numpy as np
from sklearn.datasets import load_digits

import lamina as keras
from lamina import layers


def _convolve(x, *filters):
    for n in filters:
        x = layers.Conv2D(n, 3, activation="relu")(x)
    return x


def _encode(image):
    x = layers.MaxPooling2D(3)(_convolve(image, 16, 32))
    return layers.GlobalMaxPooling2D()(_convolve(x, 32, 16))


def _decode(code):
    x = layers.Reshape((4, 4, 1))(code)
    for n in (16, 32, None, 16, 1):
        if n is None:
            x = layers.UpSampling2D(3)(x)
        else:
            x = layers.Conv2DTranspose(n, 3, activation="relu")(x)
    return x


def mlp():
    x = inputs = keras.Input(shape=(784,))
    for _ in range(2):
        x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs=inputs, outputs=layers.Dense(10)(x), name="mnist_model")


def encoder_and_autoencoder():
    image = keras.Input(shape=(28, 28, 1), name="img")
    code = _encode(image)
    encoder = keras.Model(image, code, name="encoder")
    return encoder, keras.Model(image, _decode(code), name="autoencoder")


def encoder():
    return encoder_and_autoencoder()[0]


def autoencoder():
    return encoder_and_autoencoder()[1]


def nested_autoencoder():
    original = keras.Input(shape=(28, 28, 1), name="original_img")
    encoder = keras.Model(original, _encode(original), name="encoder")
    encoded = keras.Input(shape=(16,), name="encoded_img")
    decoder = keras.Model(encoded, _decode(encoded), name="decoder")
    image = keras.Input(shape=(28, 28, 1), name="img")
    return keras.Model(image, decoder(encoder(image)), name="autoencoder")


def ensemble():
    def member():
        inputs = keras.Input(shape=(128,))
        return keras.Model(inputs, layers.Dense(1)(inputs))

    members = [member() for _ in range(3)]
    inputs = keras.Input(shape=(128,))
    return keras.Model(inputs, layers.average([m(inputs) for m in members]))


def tickets(words=10_000, read=layers.LSTM):
    """``words`` and ``read`` are the guide's, unless a test wants to be quick."""
    title, body = (keras.Input(shape=(None,), name=name) for name in ("title", "body"))
    tags = keras.Input(shape=(12,), name="tags")
    title_words, body_words = (layers.Embedding(words, 64)(x) for x in (title, body))
    features = [read(128)(title_words), read(32)(body_words), tags]
    x = layers.concatenate(features)
    outputs = [layers.Dense(1, name="priority")(x), layers.Dense(4, name="department")(x)]
    return keras.Model(inputs=[title, body, tags], outputs=outputs)


def toy_resnet():
    image = keras.Input(shape=(32, 32, 3), name="img")
    x = layers.MaxPooling2D(3)(_convolve(image, 32, 64))
    for _ in range(2):
        y = x
        for _ in range(2):
            y = layers.Conv2D(64, 3, activation="relu", padding="same")(y)
        x = layers.add([y, x])
    x = layers.GlobalAveragePooling2D()(_convolve(x, 64))
    x = layers.Dropout(0.5)(layers.Dense(256, activation="relu")(x))
    return keras.Model(image, layers.Dense(10)(x), name="toy_resnet")


def shared_embedding():
    embedding = layers.Embedding(1000, 128)
    texts = [keras.Input(shape=(None,), dtype="int32") for _ in range(2)]
    return keras.Model(texts, [embedding(x) for x in texts])


GUIDE = [
    mlp, encoder, autoencoder, nested_autoencoder, ensemble, tickets, toy_resnet, shared_embedding,
]  # fmt: skip


@functools.cache
def digits():
    """Hand-written digits ``(1797, 28, 28)`` between 0 and 1, and their labels."""
    data = load_digits()
    large = np.kron(data.images / 16, np.ones((3, 3)))
    return np.pad(large, ((0, 0), (2, 2), (2, 2))).astype("float32"), data.target


def ticket_data(count, seed=0):
    """Random tickets as in the guide, but the tags say what the targets are."""
    rng = np.random.default_rng(seed)
    x = {
        "title": rng.integers(500, size=(count, 10)),
        "body": rng.integers(500, size=(count, 20)),
        "tags": rng.integers(2, size=(count, 12)).astype("float32"),
    }
    department = np.eye(4, dtype="float32")[(x["tags"][:, :2] @ [2, 1]).astype(int)]
    return x, {"priority": x["tags"][:, 2:3], "department": department}
