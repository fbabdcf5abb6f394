"""One tower for two inputs, and a loss on the distance between them."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(24)


def contrastive(margin=1.0):
    def loss(y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        return ops.mean(
            (1 - y_true) * ops.square(y_pred)
            + y_true * ops.square(ops.maximum(margin - y_pred, 0.0))
        )

    return loss


inputs = keras.Input((10, 10, 1))
x = layers.BatchNormalization()(inputs)
x = layers.Conv2D(3, 3, activation="tanh")(x)
x = layers.AveragePooling2D(pool_size=(2, 2))(x)
x = layers.Flatten()(x)
tower = keras.Model(inputs, layers.Dense(5, activation="tanh")(x), name="tower")
left, right = keras.Input((10, 10, 1)), keras.Input((10, 10, 1))


def euclidean(vectors):
    a, b = vectors
    return ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=1, keepdims=True), 1e-7))


distance = layers.Lambda(euclidean, output_shape=(1,))([tower(left), tower(right)])
outputs = layers.Dense(1, activation="sigmoid")(layers.BatchNormalization()(distance))
model = keras.Model([left, right], outputs)
model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) for w in model.get_weights()])
model.compile(keras.optimizers.RMSprop(0.01), contrastive(), metrics=["accuracy"])
pairs, labels = rng.normal(size=(2, 24, 10, 10, 1)), rng.integers(0, 2, 24)
history = model.fit([pairs[0], pairs[1]], labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.history.items())})
a, b = tower(pairs[0]), tower(pairs[1])
cosine = keras.metrics.CosineSimilarity()(a, b)
print(float(cosine), len(model.trainable_weights), model.count_params())

# The triplet form: distances as an output, no target.


class Distances(layers.Layer):
    def call(self, anchor, positive, negative):
        return (
            ops.sum(ops.square(anchor - positive), -1),
            ops.sum(ops.square(anchor - negative), -1),
        )


three = [keras.Input((10, 10, 1), name=n) for n in ("anchor", "positive", "negative")]
near, far = Distances()(*(tower(i) for i in three))
triplet = keras.Model(three, [near, far])
near, far = triplet([pairs[0][:4], pairs[1][:4], pairs[0][4:8]])
print(np.asarray(near), np.asarray(far))
