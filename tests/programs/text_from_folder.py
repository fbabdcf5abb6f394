"""Reviews as text files in folders: a vocabulary, a classifier, and one model that takes strings."""

import os
import sys
import tempfile

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
WORDS = {"neg": "dull sad Poor, cold grey", "pos": "great fun Lovely! warm bright"}


def write(folder, files, rng):
    """Most opinions in a review, but not all, are those of its class."""
    for name in WORDS:
        os.makedirs(os.path.join(folder, name))
        for i in range(files):
            opinions = WORDS[name if rng.random() < 0.9 else "neg pos".replace(name, "").strip()]
            words = [f"word{w}" for w in rng.integers(0, 30, rng.integers(6, 14))]
            words += rng.choice(opinions.split(), 2).tolist()
            with open(os.path.join(folder, name, f"{i}.txt"), "w") as file:
                file.write(" ".join(rng.permutation(words)) + ".\n")


def network(words):
    text = keras.Input((None,), dtype="int64", name="words")
    h = layers.Embedding(words, 8, name="embedding")(text)
    h = layers.Conv1D(12, 3, padding="same", activation="relu", name="convolution")(h)
    h = layers.GlobalMaxPooling1D()(h)
    model = keras.Model(text, layers.Dense(1, activation="sigmoid", name="opinion")(h))
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return model


def learn(folder, batch_size, epochs, weights=None):
    options = {"batch_size": batch_size, "validation_split": 0.25, "seed": 5, "verbose": False}
    train, test = keras.utils.text_dataset_from_directory(folder, subset="both", **options)
    print(train.class_names, len(train), len(test))
    vectorize = layers.TextVectorization(max_tokens=40, output_sequence_length=12)
    vectorize.adapt(train.map(lambda text, label: text))
    print(vectorize.get_vocabulary())
    model = network(40)
    if weights is not None:
        model.set_weights([weights.normal(0, 0.3, w.shape) for w in model.get_weights()])
    history = model.fit(
        train.map(lambda text, label: (vectorize(text), label)).cache().prefetch(2),
        validation_data=test.map(lambda text, label: (vectorize(text), label)),
        epochs=epochs,
        verbose=0,
    ).history
    return vectorize, model, history


with tempfile.TemporaryDirectory() as folder:
    write(os.path.join(folder, "few"), 40, np.random.default_rng(1))
    vectorize, model, history = learn(
        os.path.join(folder, "few"), 80, 3, np.random.default_rng(2)
    )  # in one batch, whose order does not matter
    print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})

    whole = keras.Sequential([keras.Input((1,), dtype="string"), vectorize, model])
    whole.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    opinions = keras.ops.convert_to_tensor([["great fun"], ["A sad, cold word7"], ["never seen"]])
    print(whole.predict(opinions, verbose=0).round(3))
    raw = keras.utils.text_dataset_from_directory(
        os.path.join(folder, "few"), shuffle=False, verbose=False
    )
    print([round(float(v), 4) for v in whole.evaluate(raw, verbose=0)])
    path = os.path.join(folder, "whole.keras")
    whole.save(path)
    loaded = keras.models.load_model(path)
    print(loaded.layers[0].get_vocabulary() == vectorize.get_vocabulary())
    print(loaded.predict(opinions, verbose=0).round(3))

    if SEEDS:
        write(os.path.join(folder, "many"), 400, np.random.default_rng(3))
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        print("accuracy", learn(os.path.join(folder, "many"), 32, 6)[2]["val_accuracy"][-1])
