"""Hand-written JAX, optimized for XLA on CPU.

One program per step with donated state; many steps per dispatch for models without convolutions
(XLA:CPU runs convolutions slowly inside loops); convolutions on XLA's older code path, with few
channels as matrix products, depthwise ones as sums of shifted products; max pooling by reshaping.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.families.layers_jax import (
    Weights,
    attend,
    batch_norm,
    conv,
    conv_transpose,
    conv_transpose_by_two,
    dense,
    depthwise,
    gru_layer,
    layer_norm,
    lstm,
    max_pool,
    relu,
)
from benchmarks.workloads import Arrays, Workload

jit = functools.partial(
    jax.jit,
    compiler_options={
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
        "xla_backend_optimization_level": 1,
    },
)


# ---- models --------------------------------------------------------------------------------------


def mlp(w, x):
    return dense(w, relu(dense(w, relu(dense(w, x, 64)), 64)), 10)


def autoencoder(w, x):
    x = relu(conv(w, relu(conv(w, x, 16)), 32))
    x = relu(conv(w, relu(conv(w, max_pool(x, 3), 32)), 16))
    x = x.max((1, 2)).reshape(-1, 4, 4, 1)
    x = relu(conv_transpose(w, relu(conv_transpose(w, x, 16)), 32))
    n, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, height, 3, width, 3, channels))
    x = x.reshape(n, 3 * height, 3 * width, channels)
    return relu(conv_transpose(w, relu(conv_transpose(w, x, 16)), 1))


def tickets(w, title, body, tags):
    words_title, words_body = w.take(10_000, 64), w.take(10_000, 64)
    read = lstm(w, words_title[title], 128), lstm(w, words_body[body], 32)
    x = jnp.concatenate([*read, tags], -1)
    return dense(w, x, 1), dense(w, x, 4)


def resnet(w, x):
    x = relu(conv(w, relu(conv(w, x, 32)), 64))
    block = max_pool(x, 3)
    for _ in range(2):
        x = relu(conv(w, block, 64, same=True))
        block = relu(conv(w, x, 64, same=True)) + block
    x = relu(conv(w, block, 64)).mean((1, 2))
    return dense(w, w.drop(relu(dense(w, x, 256)), 0.5), 10)


def transformer(w, x):
    x = w.take(10_000, 64)[x] + w.take(128, 64)
    for _ in range(2):
        x = x + w.drop(attend(w, layer_norm(w, x), 4, 16), 0.1)
        y = dense(w, relu(dense(w, layer_norm(w, x), 128)), 64)
        x = x + w.drop(y, 0.1)
    return dense(w, x.mean(1), 4)


def gru(w, x):
    states, _ = gru_layer(w, w.take(10_000, 64)[x], 64)
    return dense(w, gru_layer(w, states, 64)[1], 2)


def conv1d(w, x):
    x = relu(conv(w, relu(conv(w, x, 64, 5)), 64, 5))
    return dense(w, relu(conv(w, max_pool(x, 2), 128)).mean(1), 6)


def mobilenet(w, x):
    x = relu(batch_norm(w, conv(w, x, 32, same=True, bias=False), 0.9))
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = relu(batch_norm(w, depthwise(w, x, stride), 0.9))
        x = relu(batch_norm(w, conv(w, x, filters, 1, bias=False), 0.9))
    return dense(w, x.mean((1, 2)), 10)


def unet(w, x):
    def twice(x, filters):
        return relu(conv(w, relu(conv(w, x, filters, same=True)), filters, same=True))

    skips = []
    for filters in (16, 32):
        x = twice(x, filters)
        skips.append(x)
        x = max_pool(x, 2)
    x = twice(x, 64)
    for filters in (32, 16):
        x = twice(jnp.concatenate([skips.pop(), conv_transpose_by_two(w, x, filters)], -1), filters)
    return conv(w, x, 3, 1)


def vgg19(w, x):
    for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            x = relu(conv(w, x, filters, same=True))
        x = max_pool(x, 2)
    x = relu(dense(w, relu(dense(w, x.reshape(x.shape[0], -1), 4096)), 4096))
    return jax.nn.softmax(dense(w, x, 1000))


def deep(w, x):
    for _ in range(200):
        x = dense(w, x, 8)
    return x


def blocks(w, x):
    for _ in range(50):
        x = x + relu(batch_norm(w, conv(w, x, 64, same=True), 0.99))
    return x


# ---- losses and optimizers -----------------------------------------------------------------------


def _cross_entropy(outputs, targets):
    logs, y = jax.nn.log_softmax(outputs[0]), targets[0]
    if y.ndim == logs.ndim and y.shape == logs.shape:
        return -(logs * y).sum(-1).mean()
    return -jnp.take_along_axis(logs, y[..., None], -1).mean()


def _tickets_loss(outputs, targets):
    x, y = outputs[0], targets[0]
    priority = (jnp.maximum(x, 0) - x * y + jnp.log1p(jnp.exp(-jnp.abs(x)))).mean()
    return priority + 0.2 * _cross_entropy(outputs[1:], targets[1:])


def _squared_error(outputs, targets):
    return jnp.square(outputs[0] - targets[0]).mean()


def _rmsprop(weight, gradient, slots, step):
    mean = 0.9 * slots[0] + 0.1 * gradient * gradient
    return weight - 1e-3 * gradient * lax.rsqrt(mean + 1e-7), [mean]


def _adam(weight, gradient, slots, step):
    t = step.astype(jnp.float32) + 1
    rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    mean = slots[0] + 0.1 * (gradient - slots[0])
    square = slots[1] + 0.001 * (gradient * gradient - slots[1])
    return weight - rate * mean / (jnp.sqrt(square) + 1e-7), [mean, square]


def _sgd(weight, gradient, slots, step):
    return weight - 0.01 * gradient, []


def _momentum(weight, gradient, slots, step):
    velocity = 0.9 * slots[0] - 0.01 * gradient
    return weight + velocity, [velocity]


# the model, its loss, its optimizer with the number of its slots, whether accuracy is reported
MODELS: dict[str, tuple[Any, Any, Any, int, bool]] = {
    "mlp": (mlp, _cross_entropy, _rmsprop, 1, True),
    "autoencoder": (autoencoder, _squared_error, _adam, 2, False),
    "tickets": (tickets, _tickets_loss, _rmsprop, 1, False),
    "resnet": (resnet, _cross_entropy, _rmsprop, 1, True),
    "transformer": (transformer, _cross_entropy, _adam, 2, True),
    "gru": (gru, _cross_entropy, _adam, 2, True),
    "conv1d": (conv1d, _cross_entropy, _adam, 2, True),
    "mobilenet": (mobilenet, _cross_entropy, _momentum, 1, True),
    "unet": (unet, _cross_entropy, _adam, 2, False),
    "vgg19": (vgg19, None, None, 0, False),
    "deep": (deep, _squared_error, _sgd, 0, False),
    "blocks": (blocks, None, None, 0, False),
}  # fmt: skip
_WITH_CONVOLUTION = {"autoencoder", "resnet", "conv1d", "mobilenet", "unet", "vgg19"}


class Session:
    """See :class:`benchmarks.families.Session`."""

    def build(self, name: str, workload: Workload, data: tuple[Arrays, Arrays]) -> None:
        self.model, loss, optimizer, slots, accuracy = MODELS[name]
        self.batch, self.single = workload.batch, name in _WITH_CONVOLUTION
        self.rng = np.random.default_rng(0)
        blank = Weights(None)
        jax.eval_shape(lambda *x: self.model(blank, *x), *(a[:1] for a in data[0]))
        self.weights = [
            jnp.asarray(self._initial(shape, place in blank.ones))
            for place, shape in enumerate(blank.shapes)
        ]
        self.compiled = jit(lambda weights, x: _tuple(self.model(Weights(weights), *x)))
        if loss is None:
            return
        trains = [place not in blank.moving for place in range(len(self.weights))]
        self.slots = [
            [jnp.zeros_like(a) for _ in range(slots if train else 0)]
            for a, train in zip(self.weights, trains, strict=True)
        ]
        self.step = jnp.zeros((), jnp.int32)
        self.hold(data)
        train_one = functools.partial(
            _train_one, self.model, loss, optimizer, trains, accuracy, self.batch
        )
        self.train_at = jit(train_one, donate_argnums=(0,))
        self.train_many = jit(
            lambda state, data, order, count: lax.fori_loop(
                0, count, lambda i, s: train_one(s, data, order, i), state
            ),
            donate_argnums=(0,),
        )

    def _initial(self, shape: tuple[int, ...], ones: bool) -> np.ndarray:
        if len(shape) == 1:
            return np.full(shape, float(ones), "float32")
        limit = math.sqrt(6 / (math.prod(shape[:-1]) + shape[-1]))
        return self.rng.uniform(-limit, limit, shape).astype("float32")

    def hold(self, data: tuple[Arrays, Arrays]) -> None:
        self.data = jax.device_put(data)

    def train(self, epochs: int) -> None:
        size = len(self.data[0][0])
        steps = size // self.batch
        for _ in range(epochs):
            order = jnp.asarray(self.rng.permutation(size).astype("int32"))
            state = (self.weights, self.slots, self.step, jnp.zeros(()), jnp.zeros(()))
            if self.single:
                for i in range(steps):
                    state = self.train_at(state, self.data, order, np.int32(i))
            else:
                state = self.train_many(state, self.data, order, np.int32(steps))
            self.weights, self.slots, self.step, total, right = state
            _ = float(total) / steps, float(right) / size

    def predict(self, x: Arrays) -> Arrays:
        parts = [
            self.compiled(self.weights, [a[i : i + 32] for a in x]) for i in range(0, len(x[0]), 32)
        ]
        return [np.concatenate(same) for same in zip(*parts, strict=True)]

    def call(self, x: Arrays) -> Any:
        return [np.asarray(a) for a in self.compiled(self.weights, x)]

    def get_weights(self) -> Arrays:
        return [np.asarray(a) for a in self.weights]

    def set_weights(self, weights: Arrays) -> None:
        if [a.shape for a in weights] != [a.shape for a in self.weights]:
            raise ValueError("the shapes of the weights differ")
        self.weights = [jnp.asarray(a) for a in weights]

    def save(self, folder: Path) -> None:
        np.savez(folder / "weights.npz", *self.get_weights())

    def load(self, folder: Path) -> None:
        with np.load(folder / "weights.npz") as file:
            self.weights = [jnp.asarray(file[name]) for name in file.files]


def _tuple(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _train_one(
    model: Any, loss: Any, optimizer: Any, trains: list[bool], accuracy: bool, batch: int,
    state: Any, data: Any, order: Any, i: Any,
) -> Any:  # fmt: skip
    """One step on batch ``i``; returns the new state."""
    weights, slots, step, total, right = state
    index = lax.dynamic_slice(order, (i * batch,), (batch,))
    x, y = jax.tree.map(lambda a: jnp.take(a, index, axis=0), data)

    def compute(trainable: list[Any]) -> Any:
        left = iter(trainable)
        arrays = [next(left) if t else a for a, t in zip(weights, trains, strict=True)]
        w = Weights(arrays, jax.random.fold_in(jax.random.key(0), step))
        outputs = _tuple(model(w, *x))
        return loss(outputs, y), (outputs, w.moving)

    trainable = [a for a, t in zip(weights, trains, strict=True) if t]
    (value, (outputs, moving)), gradients = jax.value_and_grad(compute, has_aux=True)(trainable)
    new_weights, new_slots, left = [], [], iter(gradients)
    for place, (weight, own) in enumerate(zip(weights, slots, strict=True)):
        if trains[place]:
            weight, own = optimizer(weight, next(left), own, step)
        else:
            weight = moving[place]
        new_weights.append(weight)
        new_slots.append(own)
    if accuracy:
        labels = y[0] if y[0].ndim == 1 else y[0].argmax(-1)
        right = right + (outputs[0].argmax(-1) == labels).sum()
    return new_weights, new_slots, step + 1, total + value, right
