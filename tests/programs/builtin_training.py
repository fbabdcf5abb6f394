"""fit and evaluate: losses and metrics of one's own, weights of samples and classes, schedules."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(3)
x = rng.normal(size=(80, 10)).astype("float32")
y = rng.integers(0, 4, 80)


def make():
    inputs = keras.Input((10,), name="digits")
    hidden = layers.Dense(12, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(hidden))
    seeded = np.random.default_rng(4)
    model.set_weights([seeded.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def squared(y_true, y_pred):
    return ops.mean(ops.square(ops.one_hot(y_true, 4) - y_pred), axis=-1)


class Flat(keras.losses.Loss):
    def __init__(self, strength=0.1, name="flat"):
        super().__init__(name=name)
        self.strength = strength

    def call(self, y_true, y_pred):
        error = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        return error + self.strength * ops.sum(ops.square(y_pred - 0.25), axis=-1)


class Hits(keras.metrics.Metric):
    def __init__(self, name="hits", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hits = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.cast(ops.argmax(y_pred, axis=1), "int32") == ops.cast(y_true, "int32")
        right = ops.cast(right, "float32")
        if sample_weight is not None:
            right = right * ops.cast(sample_weight, "float32")
        self.hits.assign_add(ops.sum(right))

    def result(self):
        return self.hits.value

    def reset_state(self):
        self.hits.assign(0.0)


def show(history):
    for name, values in sorted(history.history.items()):
        print(" ", name, [round(float(v), 4) for v in values])


for loss in ("sparse_categorical_crossentropy", squared, Flat()):
    model = make()
    model.compile("rmsprop", loss, metrics=[Hits(), "sparse_categorical_accuracy"])
    show(model.fit(x, y, epochs=2, batch_size=20, shuffle=False, validation_split=0.25, verbose=0))

schedule = keras.optimizers.schedules.ExponentialDecay(0.05, decay_steps=4, decay_rate=0.5)
model = make()
model.compile(
    keras.optimizers.SGD(schedule, nesterov=True, momentum=0.5),
    keras.losses.SparseCategoricalCrossentropy(),
    metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
    weighted_metrics=["accuracy"],
)
weights = np.where(y == 2, 3.0, 1.0)
show(model.fit(x, y, sample_weight=weights, epochs=2, batch_size=16, shuffle=False, verbose=0))
show(
    model.fit(
        x,
        y,
        class_weight={0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0},
        epochs=1,
        batch_size=16,
        shuffle=False,
        verbose=0,
        steps_per_epoch=3,
    )
)
print({k: round(float(v), 4) for k, v in model.evaluate(x, y, verbose=0, return_dict=True).items()})
print(int(model.optimizer.iterations), float(model.optimizer.learning_rate))


def batches():
    for start in range(0, 80, 16):
        yield x[start : start + 16], y[start : start + 16]


show(model.fit(batches(), epochs=1, verbose=0))
print(np.asarray(model.predict_on_batch(x[:2])))
