"""Sequence to sequence: trained with the true words, then cut into an encoder and a decoder."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(23)
source_size, target_size, units = 7, 9, 6
encoder_inputs = keras.Input((None, source_size), name="source")
encoder = layers.LSTM(units, return_state=True, name="encoder")
_, state_h, state_c = encoder(encoder_inputs)
encoder_states = [state_h, state_c]
decoder_inputs = keras.Input((None, target_size), name="target")
decoder_lstm = layers.LSTM(units, return_sequences=True, return_state=True, name="decoder")
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
decoder_dense = layers.Dense(target_size, activation="softmax", name="words")
model = keras.Model([encoder_inputs, decoder_inputs], decoder_dense(decoder_outputs))
model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])

source = np.eye(source_size)[rng.integers(0, source_size, (20, 5))]
words = rng.integers(0, target_size, (20, 7))
target, shifted = np.eye(target_size)[words[:, :-1]], np.eye(target_size)[words[:, 1:]]
history = model.fit([source, target], shifted, batch_size=10, epochs=3, shuffle=False, verbose=0)
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.history.items())})

encoder_model = keras.Model(model.input[0], encoder_states)
state_inputs = [keras.Input((units,), name="h"), keras.Input((units,), name="c")]
outputs, h, c = decoder_lstm(decoder_inputs, initial_state=state_inputs)
decoder_model = keras.Model([decoder_inputs, *state_inputs], [decoder_dense(outputs), h, c])


def translate(sequence):
    states = encoder_model.predict(sequence, verbose=0)
    word, said = np.eye(target_size)[None, None, 0], []
    for _ in range(5):
        probabilities, *states = decoder_model.predict([word, *states], verbose=0)
        chosen = int(np.argmax(probabilities[0, -1]))
        said.append(chosen)
        word = np.eye(target_size)[None, None, chosen]
    return said


print(translate(source[:1]), translate(source[3:4]))
print(len(model.weights), len(decoder_model.weights), len(encoder_model.weights))
