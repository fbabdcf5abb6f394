"""Masks: made by Embedding and Masking, passed on, used, changed and computed."""

import keras
import numpy as np
from keras import layers, ops

raw = np.array([[711, 632, 71, 0, 0, 0], [73, 8, 3215, 55, 927, 0], [83, 91, 1, 645, 1253, 927]])
embedding = layers.Embedding(5000, 4, mask_zero=True)
masked = embedding(raw)
mask = embedding.compute_mask(raw)
print(np.asarray(mask).astype(int))

rng = np.random.default_rng(11)
inputs = keras.Input((None,), dtype="int32")
x = layers.Embedding(5000, 4, mask_zero=True)(inputs)
model = keras.Model(inputs, layers.LSTM(3)(x))
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
print(np.allclose(model(raw[:1]), model(raw[:1, :3])), np.asarray(model(raw))[0])

masking = layers.Masking(mask_value=-1.0)
series = np.ones((1, 4, 2), "float32")
series[0, 2:] = -1.0
chain = keras.Sequential([keras.Input((None, 2)), masking, layers.GRU(3)])
chain(series)
chain.set_weights([rng.normal(0, 0.3, w.shape) for w in chain.get_weights()])
print(np.allclose(chain(series), chain(series[:, :2])))


class Split(layers.Layer):
    """Halves the time axis, and its mask."""

    def call(self, inputs):
        return ops.split(inputs, 2, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else ops.split(mask, 2, axis=1)


class MaskedSoftmax(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        kept = ops.expand_dims(ops.cast(mask, "float32"), -1)
        scores = ops.exp(inputs) * kept
        return inputs * scores / ops.sum(scores, axis=1, keepdims=True)


inputs = keras.Input((6,), dtype="int32")
x = layers.Embedding(5000, 4, mask_zero=True)(inputs)
first, second = Split()(x)
y = MaskedSoftmax()(first)
z = layers.GlobalAveragePooling1D()(second)
model = keras.Model(inputs, [layers.GlobalAveragePooling1D()(y), z])
model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
print([np.asarray(o)[1:] for o in model(raw)])

inputs = keras.Input((6,), dtype="int32")
x = layers.Embedding(5000, 4, mask_zero=True)(inputs)
tagger = keras.Model(
    inputs, layers.TimeDistributed(layers.Dense(3))(layers.LSTM(4, return_sequences=True)(x))
)
tagger.set_weights([rng.normal(0, 0.5, w.shape) for w in tagger.get_weights()])
tagger.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
tags = rng.integers(0, 3, (3, 6))
print(float(tagger.evaluate(raw, tags, verbose=0)))
tags[0, 3:] = 0
print(float(tagger.evaluate(raw, tags, verbose=0)))
