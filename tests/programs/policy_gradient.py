"""A policy and a critic, trained on episodes of a small corridor by the gradient of returns."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(25)
inputs = keras.Input((2,))
common = layers.Dense(8, activation="relu")(inputs)
action = layers.Dense(2, activation="softmax")(common)
critic = layers.Dense(1)(common)
model = keras.Model(inputs, [action, critic])
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
optimizer = keras.optimizers.Adam(0.02, clipnorm=1.0)
huber = keras.losses.Huber(reduction="sum")
optimizer.build(model.trainable_variables)


def loss_of(trainable, states, actions, returns):
    (probabilities, values), _ = model.stateless_call(trainable, [], states)
    chosen = jnp.take_along_axis(probabilities, actions[:, None], 1)[:, 0]
    advantage = returns - jax.lax.stop_gradient(values[:, 0])
    actor = -jnp.sum(jnp.log(chosen) * advantage)
    return actor + huber(returns[:, None], values)


@jax.jit
def learn(trainable, optimizer_variables, *episode):
    loss, grads = jax.value_and_grad(loss_of)(trainable, *episode)
    return loss, *optimizer.stateless_apply(optimizer_variables, grads, trainable)


def play(length=8):
    """Walks on six cells; the right end pays."""
    position, states, actions, rewards = 2, [], [], []
    for _ in range(length):
        state = np.array([position / 5, 1.0], "float32")
        probabilities, _ = model(state[None])
        move = int(rng.uniform() > float(probabilities[0, 0]))
        position = int(np.clip(position + (1 if move else -1), 0, 5))
        states.append(state)
        actions.append(move)
        rewards.append(float(position == 5))
    returns, total = [], 0.0
    for reward in reversed(rewards):
        total = reward + 0.9 * total
        returns.insert(0, total)
    return np.stack(states), np.array(actions), np.array(returns, "float32")


for episode in range(4):
    trainable = [v.value for v in model.trainable_variables]
    loss, trainable, moments = learn(trainable, [v.value for v in optimizer.variables], *play())
    for variable, value in zip(model.trainable_variables, trainable, strict=True):
        variable.assign(value)
    for variable, value in zip(optimizer.variables, moments, strict=True):
        variable.assign(value)
    print(episode, float(loss))
print([np.asarray(o) for o in model(np.array([[0.4, 1.0]], "float32"))])

# The same policy learns by fit from the returns as sample weights.
actor = keras.Model(inputs, action)
actor.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
states, actions, returns = play()
print(float(actor.train_on_batch(states, actions, sample_weight=returns)))
