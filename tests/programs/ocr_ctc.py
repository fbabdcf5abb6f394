"""Reading text in images: convolutions, recurrence, and the CTC loss in an endpoint layer."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(26)
symbols, longest = 5, 3


class CTCLayer(layers.Layer):
    def call(self, y_true, y_pred):
        batch = ops.shape(y_true)[0]
        frames = ops.shape(y_pred)[1] * ops.ones((batch,), dtype="int32")
        lengths = ops.shape(y_true)[1] * ops.ones((batch,), dtype="int32")
        y_true = ops.cast(y_true, "int32")
        loss = ops.ctc_loss(y_true, y_pred, lengths, frames, mask_index=0)
        self.add_loss(ops.mean(loss))
        return y_pred


image = keras.Input((16, 8, 1), name="image")
labels = keras.Input((longest,), name="label")
x = layers.Conv2D(4, 3, activation="relu", padding="same", name="conv")(image)
x = layers.MaxPooling2D((2, 2))(x)
x = layers.Reshape(target_shape=(8, 16))(x)
x = layers.Dense(8, activation="relu")(x)
x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
x = layers.Dense(symbols + 1, name="scores")(x)
model = keras.Model([image, labels], CTCLayer(name="ctc_loss")(labels, x))
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
model.compile(keras.optimizers.Adam(0.02))
images = rng.uniform(size=(12, 16, 8, 1)).astype("float32")
texts = rng.integers(1, symbols + 1, (12, longest))
losses = model.fit(
    {"image": images, "label": texts}, epochs=4, batch_size=6, shuffle=False, verbose=0
).history["loss"]
print([round(v, 4) for v in losses])

reader = keras.Model(model.inputs[0], model.get_layer("scores").output)
scores = reader.predict(images[:4], verbose=0)
decoded, likelihood = ops.ctc_decode(scores, np.full(4, 8), strategy="greedy", mask_index=0)
print(np.asarray(decoded[0])[:, :longest], np.asarray(likelihood)[:, 0])

loss = keras.losses.CTC()(texts[:4], scores)
print(float(loss))
