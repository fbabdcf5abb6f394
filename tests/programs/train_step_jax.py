"""A training step of one's own, in JAX."""

import jax
import keras
import numpy as np

rng = np.random.default_rng(5)


class CustomModel(keras.Model):
    def compute_loss_and_updates(
        self, trainable_variables, non_trainable_variables, x, y, training=False
    ):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=training
        )
        loss = self.compute_loss(x, y, y_pred)
        return loss, (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y = data
        gradients = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable)), grads = gradients(
            trainable, non_trainable, x, y, training=True
        )
        trainable, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable
        )
        new_metrics, logs = [], {}
        for metric in self.metrics:
            this = metrics_variables[len(new_metrics) : len(new_metrics) + len(metric.variables)]
            if metric.name == "loss":
                this = metric.stateless_update_state(this, loss)
            else:
                this = metric.stateless_update_state(this, y, y_pred)
            logs[metric.name] = metric.stateless_result(this)
            new_metrics += this
        return logs, (trainable, non_trainable, optimizer_variables, new_metrics)

    def test_step(self, state, data):
        x, y = data
        trainable, non_trainable, metrics_variables = state
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=False)
        loss = self.compute_loss(x, y, y_pred)
        new_metrics, logs = [], {}
        for metric in self.metrics:
            this = metrics_variables[len(new_metrics) : len(new_metrics) + len(metric.variables)]
            seen = (loss,) if metric.name == "loss" else (y, y_pred)
            this = metric.stateless_update_state(this, *seen)
            logs[metric.name] = metric.stateless_result(this)
            new_metrics += this
        return logs, (trainable, non_trainable, new_metrics)


inputs = keras.Input(shape=(8,))
x = keras.layers.Dense(6, activation="tanh")(inputs)
x = keras.layers.BatchNormalization()(x)
model = CustomModel(inputs, keras.layers.Dense(1)(x))
model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) for w in model.get_weights()])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse", metrics=["mae"])
data, targets = rng.normal(size=(60, 8)).astype("float32"), rng.normal(size=(60, 1))
history = model.fit(data, targets, epochs=3, batch_size=20, shuffle=False, verbose=0)
print({name: [round(float(v), 4) for v in vs] for name, vs in sorted(history.history.items())})
print([round(float(v), 4) for v in model.evaluate(data, targets, verbose=0)])
