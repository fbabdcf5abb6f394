"""A training loop of one's own on eight devices: a jitted step, and shardings of its arguments."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

rng = np.random.default_rng(2)
inputs = keras.Input((8, 8, 1))
x = keras.layers.Rescaling(1.0 / 255.0)(inputs)
x = keras.layers.Conv2D(6, 3, use_bias=False)(x)
x = keras.layers.BatchNormalization(scale=False, center=True)(x)
x = keras.layers.ReLU()(x)
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(4)(x))
model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) for w in model.get_weights()])
optimizer = keras.optimizers.Adam(0.05)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer.build(model.trainable_variables)

mesh = Mesh(np.array(jax.devices()), ("batch",))
split = NamedSharding(mesh, PartitionSpec("batch"))
copied = NamedSharding(mesh, PartitionSpec())


def compute_loss(trainable, non_trainable, x, y):
    y_pred, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
    return loss_of(y, y_pred), non_trainable


@jax.jit
def train_step(state, x, y):
    trainable, non_trainable, slots = state
    compute = jax.value_and_grad(compute_loss, has_aux=True)
    (loss, non_trainable), gradients = compute(trainable, non_trainable, x, y)
    trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
    return loss, (trainable, non_trainable, slots)


state = jax.device_put(
    (
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        [v.value for v in optimizer.variables],
    ),
    copied,
)
images = rng.integers(0, 256, (64, 8, 8, 1)).astype("float32")
labels = (images.mean((1, 2, 3)) > 127).astype("int32")
for epoch in range(2):
    for start in range(0, 64, 16):
        batch = jax.device_put((images[start : start + 16], labels[start : start + 16]), split)
        loss, state = train_step(state, *batch)
    print(epoch, float(loss), len(loss.sharding.device_set))
trainable, non_trainable, slots = state
for variable, value in zip(model.trainable_variables, trainable, strict=True):
    variable.assign(value)
for variable, value in zip(model.non_trainable_variables, non_trainable, strict=True):
    variable.assign(value)
print(np.asarray(model(images[:2])))

# A tensor of one's own in a layout; inside of a compiled function it is a constraint.
layout = keras.distribution.TensorLayout(
    ("batch", None), keras.distribution.DeviceMesh((8,), ["batch"])
)
moved = keras.distribution.distribute_tensor(np.ones((16, 3), "float32"), layout)
print(moved.addressable_shards[0].data.shape)
print(jax.jit(lambda v: keras.distribution.distribute_tensor(v * 2, layout))(moved).sum())
