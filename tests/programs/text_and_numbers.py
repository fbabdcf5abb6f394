"""Tickets with text, a category and numbers, as dicts: two answers of one model."""

import os
import sys
import tempfile

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
TOPICS = ("invoice refund price", "crash error broken", "password login access")


def tickets(count, rng):
    topic = rng.integers(0, 3, count)
    noise = np.array([f"w{i}" for i in range(20)])
    texts = [
        " ".join(rng.permutation([*rng.choice(noise, 5), *rng.choice(TOPICS[t].split(), 2)]))
        for t in np.where(rng.random(count) < 0.9, topic, rng.integers(0, 3, count))
    ]
    plan = rng.choice(["free", "plus", "team"], count)
    age, opened = rng.normal(12, 5, count), rng.integers(0, 9, count)
    urgent = (age > 12) + (plan == "team") + (topic == 1) + rng.normal(0, 0.3, count) > 1.5
    columns = {"text": np.array(texts, object), "plan": plan.astype(object)}
    columns["numbers"] = np.stack([age, opened], 1).astype("float32")
    return columns, {"topic": topic, "urgent": urgent.astype("float32")[:, None]}


def part(data, rows):
    return {k: v[rows] for k, v in data.items()}


def preprocessing(columns):
    """Layers that have seen the training data, and a model of them: raw columns to numbers."""
    words = layers.TextVectorization(max_tokens=40, output_mode="tf_idf", name="words")
    words.adapt(columns["text"])
    plans = layers.StringLookup(output_mode="one_hot", num_oov_indices=0, name="plans")
    plans.adapt(columns["plan"])
    scale = layers.Normalization(name="scale")
    scale.adapt(columns["numbers"])
    inputs = {
        "text": keras.Input((), dtype="string", name="text"),
        "plan": keras.Input((1,), dtype="string", name="plan"),
        "numbers": keras.Input((2,), name="numbers"),
    }
    encoded = [words(inputs["text"]), plans(inputs["plan"]), scale(inputs["numbers"])]
    return inputs, layers.Concatenate(name="encoded")(encoded), (words, plans, scale)


def network(inputs, encoded):
    features = keras.Input((encoded.shape[-1],))
    h = layers.Dense(12, activation="relu", name="shared")(features)
    outputs = {
        "topic": layers.Dense(3, activation="softmax", name="topic")(h),
        "urgent": layers.Dense(1, activation="sigmoid", name="urgent")(h),
    }
    head = keras.Model(features, outputs, name="head")
    whole = keras.Model(inputs, head(encoded))
    head.compile(
        keras.optimizers.Adam(0.02),
        loss={"topic": "sparse_categorical_crossentropy", "urgent": "binary_crossentropy"},
        loss_weights={"topic": 1.0, "urgent": 0.5},
        metrics={"topic": ["accuracy"], "urgent": ["accuracy"]},
    )
    return head, whole


def as_columns(data):
    columns = {**data, "plan": data["plan"][:, None]}
    return {k: keras.ops.convert_to_tensor(v) for k, v in columns.items()}


rng = np.random.default_rng(18)
columns, answers = tickets(96, rng)
inputs, encoded, (words, plans, scale) = preprocessing(columns)
print([str(token) for layer in (words, plans) for token in layer.get_vocabulary()])
print(np.asarray(scale.mean).round(3), np.asarray(scale.variance).round(3))
encoder = keras.Model(inputs, encoded)
features = encoder.predict(as_columns(columns), verbose=0)
print(features.shape, features.sum(0).round(2))
head, whole = network(inputs, encoded)
head.set_weights([rng.normal(0, 0.3, w.shape) for w in head.get_weights()])
history = head.fit(features, answers, batch_size=32, epochs=3, shuffle=False, verbose=0).history
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})
new = {
    "text": np.array(["My login, my PASSWORD!", "strange"], object),
    "plan": np.array(["team", "free"], object),
    "numbers": np.array([[20.0, 3.0], [2.0, 0.0]], "float32"),
}
found = whole.predict(as_columns(new), verbose=0)
print({k: found[k].astype("float64").round(3).tolist() for k in sorted(found)})
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "tickets.keras")
    whole.save(path)
    again = keras.models.load_model(path).predict(as_columns(new), verbose=0)
    print(all(np.allclose(again[k], found[k], atol=1e-6) for k in found))

for seed in SEEDS:
    keras.utils.set_random_seed(seed)
    columns, answers = tickets(900, np.random.default_rng(19))
    train = part(columns, slice(600))
    inputs, encoded, _ = preprocessing(train)
    head, whole = network(inputs, encoded)
    features = keras.Model(inputs, encoded).predict(as_columns(columns), verbose=0)
    head.fit(features[:600], part(answers, slice(600)), epochs=10, verbose=0)
    found = whole.predict(as_columns(part(columns, slice(600, None))), verbose=0)
    right = found["topic"].argmax(-1) == answers["topic"][600:]
    hurry = (found["urgent"] > 0.5) == answers["urgent"][600:]
    print("accuracy", float((right.mean() + hurry.mean()) / 2))
