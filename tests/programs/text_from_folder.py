"""Reviews as text files in folders: a vocabulary, a classifier, one model that takes strings."""

import json
import os
import sys
import tempfile

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
REAL = os.path.join(sys.argv[2], "imdb") if len(sys.argv) > 2 else None
OPINIONS = {"neg": "dull sad Poor, cold grey", "pos": "great fun Lovely! warm bright"}


def made_up(folder, files, rng):
    """Most opinions in a review, but not all, are those of its class."""
    for name, other in (("neg", "pos"), ("pos", "neg")):
        os.makedirs(os.path.join(folder, name))
        for i in range(files):
            opinions = OPINIONS[name if rng.random() < 0.9 else other].split()
            words = [f"word{w}" for w in rng.integers(0, 30, rng.integers(6, 14))]
            words += rng.choice(opinions, 2).tolist()
            with open(os.path.join(folder, name, f"{i}.txt"), "w") as file:
                file.write(" ".join(rng.permutation(words)) + ".\n")


def published(folder, files):
    """Reviews of films, as many of each class."""
    with open(os.path.join(REAL, "imdb_word_index.json")) as file:
        words = {rank: word for word, rank in json.load(file).items()}
    data = np.load(os.path.join(REAL, "imdb_flat.npz"))
    ids, offsets, labels = (data[k] for k in ("x_train_ids", "x_train_offsets", "y_train"))
    for label, name in enumerate(("neg", "pos")):
        os.makedirs(os.path.join(folder, name))
        for i in np.flatnonzero(labels == label)[:files]:
            text = " ".join(words[r] for r in ids[offsets[i] : offsets[i + 1]])
            with open(os.path.join(folder, name, f"{i}.txt"), "w", encoding="utf-8") as file:
                file.write(text)


def network(words, width, optimizer):
    text = keras.Input((None,), dtype="int64", name="words")
    h = layers.Embedding(words, width, name="embedding")(text)
    h = layers.Conv1D(12, 3, padding="same", activation="relu", name="convolution")(h)
    h = layers.GlobalMaxPooling1D()(h)
    model = keras.Model(text, layers.Dense(1, activation="sigmoid", name="opinion")(h))
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def learn(folder, batch_size, epochs, words=40, length=12, width=8, weights=None):
    options = {"batch_size": batch_size, "validation_split": 0.25, "seed": 5}
    train, test = keras.utils.text_dataset_from_directory(folder, subset="both", **options)
    print(train.class_names, len(train), len(test))
    vectorize = layers.TextVectorization(max_tokens=words, output_sequence_length=length)
    vectorize.adapt(train.map(lambda text, label: text))
    vocabulary = [str(word) for word in vectorize.get_vocabulary()]
    print(len(vocabulary), vocabulary[:40])
    model = network(words, width, keras.optimizers.Adam(0.01))
    if weights is not None:
        # Not Adam: with TensorFlow, Keras gives its moments the rows of an embedding one by one.
        model = network(words, width, keras.optimizers.SGD(0.3))
        model.set_weights([weights.normal(0, 0.3, w.shape) for w in model.get_weights()])
    history = model.fit(
        train.map(lambda text, label: (vectorize(text), label)).cache().prefetch(2),
        validation_data=test.map(lambda text, label: (vectorize(text), label)),
        epochs=epochs,
        verbose=0,
    ).history
    return vectorize, model, history


with tempfile.TemporaryDirectory() as folder:
    few, many = os.path.join(folder, "few"), os.path.join(folder, "many")
    made_up(few, 40, np.random.default_rng(1))
    # In one batch, whose order does not matter.
    vectorize, model, history = learn(few, 80, 3, weights=np.random.default_rng(2))
    print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})

    whole = keras.Sequential([keras.Input((1,), dtype="string"), vectorize, model])
    whole.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    opinions = keras.ops.convert_to_tensor([["great fun"], ["A sad, cold word7"], ["never seen"]])
    print(whole.predict(opinions, verbose=0).round(3))
    short = keras.Sequential([vectorize, model])  # without an Input
    print(np.asarray(short(opinions)).round(3))
    raw = keras.utils.text_dataset_from_directory(few, shuffle=False, verbose=False)
    print([round(float(v), 4) for v in whole.evaluate(raw, verbose=0)])
    path = os.path.join(folder, "whole.keras")
    whole.save(path)
    loaded = keras.models.load_model(path)
    print(loaded.layers[0].get_vocabulary() == vectorize.get_vocabulary())
    print(loaded.predict(opinions, verbose=0).round(3))

    if REAL is not None:
        published(many, 2000)
    elif SEEDS:
        made_up(many, 400, np.random.default_rng(3))
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        sizes = {} if REAL is None else {"words": 5000, "length": 200, "width": 16}
        print("accuracy", learn(many, 32, 4, **sizes)[2]["val_accuracy"][-1])
