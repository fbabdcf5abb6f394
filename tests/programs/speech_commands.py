"""Words as WAV files in folders: mel spectrograms inside the model that tells them apart."""

import os
import sys
import tempfile
import wave

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
RATE, SAMPLES = 4000, 1600
# The "words": a tone that rises, falls or stays.
SLOPES = {"down": -1.0, "go": 0.0, "up": 1.0}


def write(folder, files, noise, rng):
    for name, slope in SLOPES.items():
        os.makedirs(os.path.join(folder, name))
        for i in range(files):
            t = np.arange(SAMPLES - rng.integers(0, 300)) / RATE
            phase = rng.uniform(400, 900) * t + slope * 600 * t**2
            sound = 0.3 * np.sin(2 * np.pi * phase) + rng.normal(0, noise, len(t))
            with wave.open(os.path.join(folder, name, f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes((32767 * sound.clip(-1, 1)).astype("<i2").tobytes())


def spectrogram():
    return layers.MelSpectrogram(
        fft_length=256, sequence_stride=100, num_mel_bins=20, sampling_rate=RATE,
        min_freq=100, max_freq=2000,
    )  # fmt: skip


def network():
    inputs = keras.Input((SAMPLES,))
    h = layers.Rescaling(1 / 80)(spectrogram()(inputs))
    h = layers.Reshape((*h.shape[1:], 1))(h)
    h = layers.Conv2D(8, 3, strides=2, activation="relu")(h)
    h = layers.Conv2D(12, 3, strides=2, activation="relu")(h)
    h = layers.Flatten()(h)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(h))
    model.compile(
        keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def sounds(folder, batch_size):
    options = {"validation_split": 0.25, "subset": "both", "seed": 3}
    train, test = keras.utils.audio_dataset_from_directory(
        folder, batch_size=batch_size, output_sequence_length=SAMPLES, **options
    )
    print(train.class_names, len(train), len(test))
    return [part.map(lambda audio, label: (audio[..., 0], label)) for part in (train, test)]


with tempfile.TemporaryDirectory() as folder:
    few = os.path.join(folder, "few")
    rng = np.random.default_rng(10)
    write(few, 16, 0.05, rng)
    for audio, label in keras.utils.audio_dataset_from_directory(
        few, batch_size=3, shuffle=False, verbose=False
    ).take(1):
        print(tuple(audio.shape), np.asarray(label), np.asarray(audio)[:, 5:8, 0].round(5))
        mel = np.asarray(spectrogram()(np.asarray(audio)[..., 0]))
        print(mel.shape, mel.mean((1, 2)).round(2))
    train, test = sounds(few, 36)  # one batch, whose order does not matter
    model = network()
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    history = model.fit(train, validation_data=test, epochs=3, verbose=0).history
    print({k: [round(float(v), 3) for v in vs] for k, vs in sorted(history.items())})
    path = os.path.join(folder, "model.keras")
    model.save(path)
    first = np.asarray(next(iter(test))[0])[:2]
    loaded = keras.models.load_model(path)
    print(np.allclose(loaded.predict(first, verbose=0), model.predict(first, verbose=0), atol=1e-5))

    if SEEDS:
        write(os.path.join(folder, "many"), 120, 0.15, np.random.default_rng(11))
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        train, test = sounds(os.path.join(folder, "many"), 16)
        model = network()
        model.fit(train, epochs=15, verbose=0)
        print("accuracy", model.evaluate(test, verbose=0)[1])
