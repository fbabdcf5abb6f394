"""Models can be called like layers: small models become parts of larger ones.

First a classifier is composed of two models. Then the predictions of three such classifiers, each
trained on a third of the digits, are averaged: the ensemble is a model too, without further
training.
"""

import numpy as np
from sklearn.datasets import load_digits

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(3)

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.data))
pixels = (digits.data[order] / 16).astype("float32")
labels = digits.target[order]
x_test, y_test = pixels[900:], labels[900:]

# A feature extractor and a classifier, chained by two calls.
drawing = keras.Input((64,), name="drawing")
reader = keras.Model(drawing, layers.Dense(24, activation="relu")(drawing), name="reader")
findings = keras.Input((24,), name="findings")
decider = keras.Model(findings, layers.Dense(10)(findings), name="decider")

pixel_input = keras.Input((64,), name="pixels")
chained = keras.Model(pixel_input, decider(reader(pixel_input)), name="chained")
chained.summary(line_length=70, expand_nested=True)

# `clone_model` creates a model with the same graph and new weights.
members = []
for i in range(3):
    member = keras.models.clone_model(chained)
    member.name = f"member_{i + 1}"
    member.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    member.fit(pixels[i:900:3], labels[i:900:3], epochs=30, verbose=0)
    members.append(member)

votes = [layers.Softmax(name=f"vote_{i + 1}")(m(pixel_input)) for i, m in enumerate(members)]
ensemble = keras.Model(pixel_input, layers.average(votes), name="ensemble")
ensemble.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])

print("\nAccuracy on 897 digits that none of them has seen:")
for model in [*members, ensemble]:
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"  {model.name:<10} {accuracy:6.1%}   {'#' * round(100 * (accuracy - 0.5))}")
print(f"The ensemble has no weights beyond its members': {ensemble.count_params():,} parameters,")
print(f"three times the {chained.count_params():,} of one.")
