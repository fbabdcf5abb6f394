"""A small causal transformer, its attention written with keras.ops."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(28)


class CausalAttention(layers.Layer):
    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shape):
        width = shape[-1]
        self.qkv = layers.Dense(3 * width, use_bias=False, name="qkv")
        self.qkv.build(shape)
        self.out = layers.Dense(width, name="out")
        self.out.build(shape)
        self.built = True

    def call(self, x):
        batch, length, width = ops.shape(x)
        parts = ops.reshape(self.qkv(x), (batch, length, 3, self.heads, width // self.heads))
        q, k, v = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), 3)
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) / ops.sqrt(float(width // self.heads))
        future = ops.triu(ops.ones((length, length), "bool"), 1)
        weights = ops.softmax(ops.where(future, -1e9, scores), axis=-1)
        mixed = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return self.out(ops.reshape(mixed, (batch, length, width)))


class PositionalEmbedding(layers.Layer):
    def __init__(self, length, vocabulary, width, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(vocabulary, width)
        self.positions = layers.Embedding(length, width)

    def call(self, x):
        return self.words(x) + self.positions(ops.arange(0, ops.shape(x)[-1]))


def block(x, width):
    x = x + CausalAttention(2)(layers.LayerNormalization(epsilon=1e-6)(x))
    y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
    return x + layers.Dense(width)(y)


words = keras.Input((6,), dtype="int32")
x = PositionalEmbedding(6, 11, 8)(words)
for _ in range(2):
    x = block(x, 8)
model = keras.Model(words, layers.Dense(11)(layers.LayerNormalization()(x)))
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
schedule = keras.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.01, warmup_steps=3)
model.compile(
    keras.optimizers.AdamW(schedule, weight_decay=0.01),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
text = rng.integers(0, 11, (32, 7))
history = model.fit(text[:, :-1], text[:, 1:], epochs=3, batch_size=8, shuffle=False, verbose=0)
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.history.items())})
a, b = np.asarray(model(text[:1, :-1])), text[:1, :-1].copy()
b[0, -1] = (b[0, -1] + 1) % 11
print(np.allclose(a[:, :-1], np.asarray(model(b))[:, :-1], atol=1e-5))

# The ready layer computes the same kind of thing.
attention = layers.MultiHeadAttention(2, 4)
x = rng.normal(size=(2, 5, 8)).astype("float32")
attention(x, x)
attention.set_weights([rng.normal(0, 0.3, w.shape) for w in attention.get_weights()])
out, scores = attention(x, x, return_attention_scores=True, use_causal_mask=True)
print(out.shape, scores.shape, float(ops.sum(out)), np.asarray(scores)[0, 0, 1])
