"""Three tasks on one trunk: losses by list and by name, weights, masks of missing targets."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(31)


def masked_mse(y_true, y_pred):
    """Targets of -1 are missing."""
    known = ops.cast(ops.not_equal(y_true, -1.0), "float32")
    return ops.sum(known * ops.square(y_true - y_pred), -1) / ops.maximum(ops.sum(known, -1), 1.0)


inputs = keras.Input((16, 3), name="series")
x = layers.Conv1D(6, 3, padding="causal", activation="relu")(inputs)
x = layers.SeparableConv1D(8, 3, activation="relu")(x)
trunk = layers.GlobalMaxPooling1D()(x)
kind = layers.Dense(4, activation="softmax", name="kind")(trunk)
size = layers.Dense(2, name="size")(trunk)
flag = layers.Dense(1, activation="sigmoid", name="flag")(layers.concatenate([trunk, kind]))
model = keras.Model(inputs, [kind, size, flag])
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])

x = rng.normal(size=(40, 16, 3)).astype("float32")
kinds, flags = rng.integers(0, 4, 40), rng.integers(0, 2, (40, 1))
sizes = np.where(rng.uniform(size=(40, 2)) < 0.3, -1.0, rng.uniform(size=(40, 2)))
sizes = sizes.astype("float32")


def show(result):
    print({k: np.round(np.asarray(v, "float64"), 4).tolist() for k, v in sorted(result.items())})


model.compile(
    "adam",
    loss=["sparse_categorical_crossentropy", masked_mse, "binary_crossentropy"],
    loss_weights=[1.0, 2.0, 0.5],
    metrics=[["accuracy"], ["mae"], [keras.metrics.AUC(name="auc"), "accuracy"]],
)
show(model.fit(x, [kinds, sizes, flags], epochs=2, batch_size=10, shuffle=False, verbose=0).history)
show(model.evaluate(x, [kinds, sizes, flags], verbose=0, return_dict=True))

model.compile(
    keras.optimizers.Nadam(0.01),
    loss={
        "kind": "sparse_categorical_crossentropy",
        "size": masked_mse,
        "flag": keras.losses.BinaryFocalCrossentropy(),
    },
    metrics={"flag": keras.metrics.Precision(name="precision")},
)
targets = {"kind": kinds, "size": sizes, "flag": flags}
weights = [np.linspace(0, 1, 40), np.ones(40), np.ones(40)]
show(
    model.fit(
        x,
        [targets[n] for n in ("kind", "size", "flag")],
        sample_weight=weights,
        epochs=2,
        batch_size=10,
        shuffle=False,
        verbose=0,
    ).history
)
print([p.shape for p in model.predict(x, verbose=0)])
