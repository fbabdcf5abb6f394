"""The functional API: names, shared layers, models as layers, inner features."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)


def draw_weights(model):
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])


title = keras.Input(shape=(6,), dtype="int32", name="title")
body = keras.Input(shape=(9,), dtype="int32", name="body")
tags = keras.Input(shape=(4,), name="tags")
embedding = layers.Embedding(30, 8, name="words")
title_features = layers.GlobalAveragePooling1D()(embedding(title))
body_features = layers.GlobalMaxPooling1D()(embedding(body))
x = layers.concatenate([title_features, body_features, tags])
hidden = layers.Dense(16, activation="relu", name="hidden")(x)
priority = layers.Dense(1, name="priority")(hidden)
desk = layers.Dense(3, name="desk")(layers.add([hidden, layers.Dense(16)(hidden)]))
model = keras.Model([title, body, tags], {"desk": desk, "priority": priority}, name="tickets")
draw_weights(model)

model.compile(
    optimizer=keras.optimizers.RMSprop(1e-2),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "desk": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "desk": 0.2},
    metrics={"desk": ["accuracy"]},
)
data = {
    "title": rng.integers(0, 30, (48, 6)),
    "body": rng.integers(0, 30, (48, 9)),
    "tags": rng.normal(size=(48, 4)).astype("float32"),
}
targets = {"priority": rng.integers(0, 2, (48, 1)), "desk": rng.integers(0, 3, (48,))}
history = model.fit(data, targets, epochs=3, batch_size=16, shuffle=False, verbose=0)
for name, values in sorted(history.history.items()):
    print(name, [round(float(v), 4) for v in values])
print(sorted(model.predict(data, verbose=0)), model.count_params())

features = keras.Model(model.inputs, model.get_layer("hidden").output)
print(features.predict(data, verbose=0)[:2, :4])

encoder_input = keras.Input((12,), name="image")
encoder = keras.Model(encoder_input, layers.Dense(3, "tanh")(encoder_input), name="encoder")
decoder_input = keras.Input((3,), name="code")
decoder = keras.Model(decoder_input, layers.Dense(12)(decoder_input), name="decoder")
both_input = keras.Input((12,))
both = keras.Model(both_input, decoder(encoder(both_input)), name="autoencoder")
draw_weights(both)
print([layer.name for layer in both.layers][1:], both.output_shape)
ensemble_input = keras.Input((12,))
mean = layers.average([both(ensemble_input), decoder(encoder(ensemble_input)) * 2.0])
ensemble = keras.Model(ensemble_input, mean)
print(ensemble.predict(np.ones((2, 12)), verbose=0)[0, :4], len(ensemble.weights))
