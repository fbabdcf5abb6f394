"""Two models with everything that a picture may have to show, besides those of the guide."""

from lamina import layers
from lamina.models import Model, Sequential
from tests.guide.models import GUIDE


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


ALL = [*GUIDE, everything, two_doors]
