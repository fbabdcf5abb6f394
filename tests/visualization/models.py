"""The models of the functional guide, and one with everything: what pictures are tested on."""

from lamina import layers
from lamina.models import Model, Sequential


def mlp():
    inputs = layers.Input((784,), name="digits")
    x = layers.Dense(64, activation="relu", name="a")(inputs)
    x = layers.Dense(64, activation="relu", name="b")(x)
    return Model(inputs, layers.Dense(10, name="c")(x), name="mnist_model")


def _encode(x):
    x = layers.Conv2D(16, 3, activation="relu", name="e1")(x)
    x = layers.Conv2D(32, 3, activation="relu", name="e2")(x)
    x = layers.MaxPooling2D(3, name="e3")(x)
    x = layers.Conv2D(32, 3, activation="relu", name="e4")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="e5")(x)
    return layers.GlobalMaxPooling2D(name="e6")(x)


def _decode(x):
    x = layers.Reshape((4, 4, 1), name="d1")(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu", name="d2")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu", name="d3")(x)
    x = layers.UpSampling2D(3, name="d4")(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu", name="d5")(x)
    return layers.Conv2DTranspose(1, 3, activation="relu", name="d6")(x)


def encoder():
    image = layers.Input((28, 28, 1), name="img")
    return Model(image, _encode(image), name="encoder")


def autoencoder():
    image = layers.Input((28, 28, 1), name="img")
    return Model(image, _decode(_encode(image)), name="autoencoder")


def nested_autoencoder():
    code = layers.Input((16,), name="code")
    decoder = Model(code, _decode(code), name="decoder")
    image = layers.Input((28, 28, 1), name="original")
    return Model(image, decoder(encoder()(image)), name="autoencoder")


def ensemble():
    def member(name):
        inputs = layers.Input((128,), name="features")
        return Model(inputs, layers.Dense(1, name="head")(inputs), name=name)

    inputs = layers.Input((128,), name="shared_features")
    votes = [member(f"model{i}")(inputs) for i in (1, 2, 3)]
    return Model(inputs, layers.Average(name="vote")(votes), name="ensemble")


def tickets():
    title = layers.Input((None,), name="title")
    body = layers.Input((None,), name="body")
    tags = layers.Input((12,), name="tags")
    title_features = layers.Embedding(10_000, 64, name="title_words")(title)
    body_features = layers.Embedding(10_000, 64, name="body_words")(body)
    title_features = layers.LSTM(128, name="title_state")(title_features)
    body_features = layers.LSTM(32, name="body_state")(body_features)
    x = layers.Concatenate(name="all")([title_features, body_features, tags])
    priority = layers.Dense(1, name="priority")(x)
    department = layers.Dense(4, name="department")(x)
    return Model([title, body, tags], [priority, department], name="tickets")


def toy_resnet():
    image = layers.Input((32, 32, 3), name="img")
    x = layers.Conv2D(32, 3, activation="relu", name="c1")(image)
    x = layers.Conv2D(64, 3, activation="relu", name="c2")(x)
    block_1 = layers.MaxPooling2D(3, name="block1")(x)
    x = layers.Conv2D(64, 3, activation="relu", padding="same", name="c3")(block_1)
    x = layers.Conv2D(64, 3, activation="relu", padding="same", name="c4")(x)
    block_2 = layers.Add(name="block2")([x, block_1])
    x = layers.Conv2D(64, 3, activation="relu", padding="same", name="c5")(block_2)
    x = layers.Conv2D(64, 3, activation="relu", padding="same", name="c6")(x)
    block_3 = layers.Add(name="block3")([x, block_2])
    x = layers.Conv2D(64, 3, activation="relu", name="c7")(block_3)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return Model(image, layers.Dense(10, name="logits")(x), name="toy_resnet")


class Halves(layers.Layer):
    """A layer with two outputs."""

    def call(self, inputs):
        middle = inputs.shape[-1] // 2
        return inputs[..., :middle], inputs[..., middle:]


def everything():
    """Shared and nested (twice) and two-output layers, ops, masks, named sizes, two of each end."""
    both = layers.Input((8,), name="both")
    low, high = Halves(name="halves")(both)
    splitter = Model(both, {"low": low, "high": high}, name="splitter")

    stack = [layers.Input((4,)), layers.Dense(6, name="s1"), layers.Dense(4, name="s2")]
    quarter = layers.Input((4,), name="quarter")
    doubled = Sequential(stack, name="stack")(quarter) * 2
    wrap = Model(quarter, doubled, name="wrap")

    numbers = layers.Input((8,), name="numbers")
    words = layers.Input(("time",), dtype="int32", name="words")
    x = layers.Embedding(50, 8, mask_zero=True, name="embed")(words)
    x = layers.Dense(8, name="mix")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    shared = layers.Dense(8, activation="relu", name="shared")
    first = shared(numbers)
    second, third = shared(x), shared(first)
    plus = first + 1
    a, b = splitter(plus), splitter(second)
    main = layers.Add(name="sum")([a["low"], b["high"], wrap(b["low"])])
    part = third[:, 0:3]
    side = layers.Dense(2, name="aux")(part)
    for op, name in ((doubled, "doubled"), (plus, "plus"), (part, "part")):
        op.node.operation.name = name
    return Model({"numbers": numbers, "words": words}, {"main": main, "side": side}, name="all")


def two_doors():
    """A nested model with two inputs and two outputs, which lie at uneven distances."""
    a, b = layers.Input((2,), name="a"), layers.Input((3,), name="b")
    wide = layers.Dense(4, name="a_dense_layer_with_a_long_name")(a)
    inner = Model([a, b], [layers.Concatenate(name="join")([wide, b]), wide], name="inner")
    x, y = layers.Input((2,), name="x"), layers.Input((3,), name="y")
    outputs = inner([x, y])
    return Model([x, y], layers.Concatenate(name="all")(outputs), name="two_doors")


GUIDE = [mlp, encoder, autoencoder, nested_autoencoder, ensemble, tickets, toy_resnet]
