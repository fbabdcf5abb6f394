"""A training loop of one's own, in JAX: the model, the optimizer and a metric without state."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

rng = np.random.default_rng(6)
inputs = keras.Input(shape=(10,), name="digits")
x = keras.layers.Dense(16, activation="relu")(inputs)
x = keras.layers.BatchNormalization()(x)
outputs = keras.layers.Dense(4, name="predictions")(x)
model = keras.Model(inputs=inputs, outputs=outputs)
model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) for w in model.get_weights()])
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(learning_rate=1e-2)
accuracy = keras.metrics.SparseCategoricalAccuracy()


def compute_loss_and_updates(trainable_variables, non_trainable_variables, metric_variables, x, y):
    y_pred, non_trainable_variables = model.stateless_call(
        trainable_variables, non_trainable_variables, x, training=True
    )
    loss = loss_fn(y, y_pred)
    metric_variables = accuracy.stateless_update_state(metric_variables, y, y_pred)
    return loss, (non_trainable_variables, metric_variables)


grad_fn = jax.value_and_grad(compute_loss_and_updates, has_aux=True)


@jax.jit
def train_step(state, data):
    trainable_variables, non_trainable_variables, optimizer_variables, metric_variables = state
    x, y = data
    (loss, (non_trainable_variables, metric_variables)), grads = grad_fn(
        trainable_variables, non_trainable_variables, metric_variables, x, y
    )
    trainable_variables, optimizer_variables = optimizer.stateless_apply(
        optimizer_variables, grads, trainable_variables
    )
    return loss, (
        trainable_variables, non_trainable_variables, optimizer_variables, metric_variables,
    )  # fmt: skip


optimizer.build(model.trainable_variables)
state = (
    [v.value for v in model.trainable_variables],
    [v.value for v in model.non_trainable_variables],
    [v.value for v in optimizer.variables],
    [v.value for v in accuracy.variables],
)
data = rng.normal(size=(64, 10)).astype("float32")
labels = rng.integers(0, 4, 64)
for epoch in range(2):
    for start in range(0, 64, 16):
        batch = data[start : start + 16], labels[start : start + 16]
        loss, state = train_step(state, batch)
    print(epoch, float(loss), float(accuracy.stateless_result(state[3])))

trainable_variables, non_trainable_variables, optimizer_variables, metric_variables = state
for variable, value in zip(model.trainable_variables, trainable_variables, strict=True):
    variable.assign(value)
for variable, value in zip(model.non_trainable_variables, non_trainable_variables, strict=True):
    variable.assign(value)
for variable, value in zip(optimizer.variables, optimizer_variables, strict=True):
    variable.assign(value)
for variable, value in zip(accuracy.variables, metric_variables, strict=True):
    variable.assign(value)
print(float(accuracy.result()), int(optimizer.iterations))
print(np.asarray(model(data[:2])))
