"""A metric with a matrix as state, a callback that predicts, and one that writes variables."""

import keras
import numpy as np
from keras import ops

rng = np.random.default_rng(30)


@keras.saving.register_keras_serializable()
class Confusion(keras.metrics.Metric):
    """Mean recall over the classes, from a confusion matrix."""

    def __init__(self, classes, name="recall", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.matrix = self.add_variable(
            shape=(classes, classes), initializer="zeros", name="matrix"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        rows = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.classes)
        columns = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes)
        self.matrix.assign(self.matrix + ops.matmul(ops.transpose(rows), columns))

    def result(self):
        return ops.mean(ops.diagonal(self.matrix) / (ops.sum(self.matrix, axis=1) + 1e-7))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


class Watch(keras.callbacks.Callback):
    """Predicts after each epoch and lowers a rate that the layers read."""

    def __init__(self, x, rate):
        super().__init__()
        self.x, self.rate, self.seen = x, rate, []

    def on_epoch_end(self, epoch, logs=None):
        predicted = self.model.predict(self.x, verbose=0)
        self.seen.append(round(float(np.mean(np.max(predicted, -1))), 5))
        self.rate.assign(self.rate * 0.5)
        self.model.optimizer.learning_rate = 0.02 / (epoch + 1)
        logs["rate"] = float(self.rate)


class Gate(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rate = self.add_weight(shape=(), initializer="ones", trainable=False, name="rate")

    def call(self, x):
        return x * self.rate


inputs = keras.Input((6,))
gate = Gate()
x = gate(keras.layers.Dense(8, activation="relu")(inputs))
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
for weight in model.trainable_weights:
    weight.assign(rng.normal(0, 0.4, weight.shape))
model.compile(
    keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=[Confusion(3)]
)
x, y = rng.normal(size=(48, 6)).astype("float32"), rng.integers(0, 3, 48)
watch = Watch(x[:10], gate.rate)
history = model.fit(x, y, epochs=3, batch_size=12, shuffle=False, verbose=0, callbacks=[watch])
print(watch.seen)
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.history.items())})
print(float(gate.rate), float(model.optimizer.learning_rate))
metric = Confusion(3)
metric.update_state(y, model(x))
print(np.asarray(metric.matrix), float(metric.result()))
metric.reset_state()
print(float(np.sum(metric.matrix)), Confusion.from_config(metric.get_config()).classes)
