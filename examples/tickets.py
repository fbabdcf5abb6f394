"""Three inputs, two outputs: letters to a housing office are prioritized and routed to a desk.

Each letter has a subject, a body and checked boxes. The letters are synthetic: their topic
determines the desk; a few alarming words and one of the boxes determine the priority.
"""

import numpy as np

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(1)

DESKS = {
    "plumbing": "tap pipe drain leak boiler radiator sink toilet drip valve".split(),
    "electricity": "lamp fuse socket wire doorbell switch meter cable lift light".split(),
    "rent": "rent invoice deposit transfer receipt contract notice price refund account".split(),
}
FILLER = "the in our since we please about again with flat floor door old week would".split()
ALARM = "flooded smoke sparks danger urgent child burning".split()
BOXES = ["someone is at risk", "second letter", "call me back", "ground floor"]

WORDS = ["", *sorted({w for ws in (*DESKS.values(), FILLER, ALARM) for w in ws})]
NUMBER = {word: i for i, word in enumerate(WORDS)}  # 0 is the empty word, for padding


def write_letters(count, seed):
    """Letters as inputs of the model, with their targets."""
    rng = np.random.default_rng(seed)
    subject, body = np.zeros((count, 5), "int32"), np.zeros((count, 16), "int32")
    boxes = (rng.random((count, len(BOXES))) < 0.3).astype("float32")
    priority, desk = np.zeros((count, 1), "float32"), rng.integers(len(DESKS), size=count)
    for i in range(count):
        topic = list(DESKS.values())[desk[i]]
        alarmed = rng.random() < 0.4
        short = list(rng.choice([*topic, *FILLER], rng.integers(2, 6)))
        long = list(rng.choice([*topic, *FILLER], rng.integers(8, 17)))
        if alarmed:
            long[rng.integers(len(long))] = rng.choice(ALARM)
        subject[i, : len(short)] = [NUMBER[w] for w in short]
        body[i, : len(long)] = [NUMBER[w] for w in long]
        priority[i] = alarmed or boxes[i, 0]
    letters = {"subject": subject, "body": body, "boxes": boxes}
    return letters, {"priority": priority, "desk": np.eye(len(DESKS), dtype="float32")[desk]}


# "subject_words" is a named dimension: it differs between letters, and is distinguished from #
# "body_words" in errors, in the summary and in the plot.
subject = keras.Input(("subject_words",), dtype="int32", name="subject")
body = keras.Input(("body_words",), dtype="int32", name="body")
boxes = keras.Input((len(BOXES),), name="boxes")
words = layers.Embedding(len(WORDS), 16, mask_zero=True, name="words")  # shared by subject and body
merged = layers.concatenate(
    [layers.LSTM(16, name="read_subject")(words(subject)),
     layers.LSTM(32, name="read_body")(words(body)), boxes]
)  # fmt: skip
model = keras.Model(
    [subject, body, boxes],
    [layers.Dense(1, name="priority")(merged), layers.Dense(len(DESKS), name="desk")(merged)],
    name="letters",
)
model.summary(line_length=90)

model.compile(
    optimizer=keras.optimizers.RMSprop(1e-2),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "desk": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "desk": 0.5},
    metrics={"priority": [keras.metrics.BinaryAccuracy(threshold=0.0)], "desk": ["accuracy"]},
)
letters, targets = write_letters(1500, seed=1)
history = model.fit(
    letters, targets, epochs=5, batch_size=50, validation_split=0.1, verbose=0
).history
print("\nepoch    loss   priority_loss   desk_loss   val_desk_accuracy")
for i, row in enumerate(
    zip(
        *(history[k] for k in ("loss", "priority_loss", "desk_loss", "val_desk_accuracy")),
        strict=True,
    )
):
    print("{:>5}  {:6.3f}  {:14.3f}  {:10.3f}  {:18.1%}".format(i + 1, *row))

letters, targets = write_letters(400, seed=2)
results = model.evaluate(letters, targets, verbose=0, return_dict=True)
print(f"\nOf 400 new letters, {results['desk_accuracy']:.1%} reach the right desk, and "
      f"{results['priority_binary_accuracy']:.1%} get the right priority.\n")  # fmt: skip

priority, desk = model.predict(letters, verbose=0)
for i in range(4):
    text = " ".join(WORDS[n] for n in letters["body"][i] if n)
    ticked = [box for box, on in zip(BOXES, letters["boxes"][i], strict=True) if on]
    chance = 1 / (1 + np.exp(-priority[i, 0]))
    print(f"  {text}\n    ticked: {', '.join(ticked) or 'nothing'}"
          f"\n    -> {list(DESKS)[desk[i].argmax()]}, priority {chance:.2f}")  # fmt: skip
