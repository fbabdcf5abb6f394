"""Solves u'' = -pi^2 sin(pi x), u = 0 at both ends: jax.grad through the model."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

rng = np.random.default_rng(29)
model = keras.Sequential(
    [
        keras.Input((1,)),
        keras.layers.Dense(10, activation="tanh"),
        keras.layers.Dense(10, activation="tanh"),
        keras.layers.Dense(1),
    ]
)
model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(model.trainable_variables)


def u(trainable, x):
    return model.stateless_call(trainable, [], jnp.reshape(x, (1, 1)))[0][0, 0]


curvature = jax.vmap(jax.grad(jax.grad(u, 1), 1), (None, 0))


def loss_of(trainable, x):
    equation = curvature(trainable, x) + jnp.pi**2 * jnp.sin(jnp.pi * x)
    ends = jax.vmap(u, (None, 0))(trainable, jnp.array([0.0, 1.0]))
    return jnp.mean(equation**2) + 10 * jnp.sum(ends**2)


@jax.jit
def train(trainable, moments, x):
    def step(carried, _):
        trainable, moments = carried
        loss, grads = jax.value_and_grad(loss_of)(trainable, x)
        return optimizer.stateless_apply(moments, grads, trainable), loss

    return jax.lax.scan(step, (trainable, moments), None, 30)


x = np.linspace(0, 1, 20, dtype="float32")
carried = [v.value for v in model.trainable_variables], [v.value for v in optimizer.variables]
(trainable, _), losses = train(*carried, x)
print([float(v) for v in losses[::10]])
for variable, value in zip(model.trainable_variables, trainable, strict=True):
    variable.assign(value)
print(np.asarray(model(x[:, None]))[::5, 0])


class Physics(keras.Model):
    """The same inside fit: the derivative of a layer in the loss."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        data = super().compute_loss(x, y, y_pred, sample_weight, training)
        slope = jax.vmap(jax.grad(lambda p: self(p[None])[0, 0]))(x)
        return data + 0.1 * jnp.mean((slope - 1.0) ** 2)


inputs = keras.Input((1,))
fitted = Physics(inputs, keras.layers.Dense(1)(keras.layers.Dense(6, activation="tanh")(inputs)))
fitted.set_weights([rng.normal(0, 0.5, w.shape) for w in fitted.get_weights()])
fitted.compile("adam", "mse")
print(fitted.fit(x[:, None], x[:, None], epochs=3, shuffle=False, verbose=0).history["loss"])
