"""A shared layer: two sentences use the same embedding, which is trained on both.

The model classifies whether two sentences have the same topic. Its targets are for pairs of
sentences, not for single words, but it learns which words are related.
"""

import numpy as np

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(0)

TOPICS = [
    "rain cloud storm wind snow fog thunder frost".split(),
    "flour oven bread butter sugar dough yeast cake".split(),
    "violin choir drum melody organ tune flute chord".split(),
    "tractor barn wheat harvest plough seed meadow hay".split(),
]
COMMON = "and the on a with under of while before some".split()
WORDS = ["", *COMMON, *(word for topic in TOPICS for word in topic)]
NUMBER = {word: i for i, word in enumerate(WORDS)}


def write_pairs(count, seed):
    """Pairs of sentences of any length up to 9 words, and whether they share their topic."""
    rng = np.random.default_rng(seed)
    pairs = np.zeros((2, count, 9), "int32")
    same = rng.random(count) < 0.5
    for i in range(count):
        first = rng.integers(4)
        second = first if same[i] else (first + rng.integers(1, 4)) % 4
        for side, topic in enumerate((first, second)):
            words = [*rng.choice(TOPICS[topic], 3), *rng.choice(COMMON, rng.integers(1, 7))]
            pairs[side, i, : len(words)] = [NUMBER[w] for w in rng.permutation(words)]
    return list(pairs), same[:, None].astype("float32")


embedding = layers.Embedding(len(WORDS), 8, mask_zero=True, name="words")
left = keras.Input((None,), dtype="int32", name="left")
right = keras.Input((None,), dtype="int32", name="right")
mean = layers.GlobalAveragePooling1D(name="mean")  # also shared; it ignores padding
both = [embedding(left), embedding(right)]
likeness = layers.Dot(axes=-1, normalize=True, name="likeness")([mean(vectors) for vectors in both])
same = layers.Dense(1, activation="sigmoid", name="same")(likeness)
model = keras.Model([left, right], same, name="two_sentences")
model.summary(line_length=80)
print(f"Two calls, two nodes, one embedding of {embedding.count_params()} numbers:",
      [vectors.shape for vectors in both], "\n")  # fmt: skip

model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
model.fit(*write_pairs(2000, seed=1), epochs=8, batch_size=50, verbose=0)
_, accuracy = model.evaluate(*write_pairs(500, seed=2), verbose=0)
print(f"Of 500 new pairs {accuracy:.1%} are classified correctly. The nearest words to ...")

table = np.asarray(embedding.get_weights()[0])
table = table / np.linalg.norm(table, axis=1, keepdims=True)
for word in ("rain", "butter", "flute", "hay"):
    nearest = np.argsort(-table @ table[NUMBER[word]])
    neighbours = [WORDS[i] for i in nearest if WORDS[i] not in ("", word)][:5]
    print(f"  {word:>7}: {', '.join(neighbours)}")
