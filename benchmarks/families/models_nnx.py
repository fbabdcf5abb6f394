"""The models, losses and optimizers of ``with_nnx``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

relu = nnx.relu


def _up(x: jax.Array, size: int) -> jax.Array:
    return jnp.repeat(jnp.repeat(x, size, 1), size, 2)


class MLP(nnx.Sequential):
    def __init__(self, rngs):
        super().__init__(
            nnx.Linear(784, 64, rngs=rngs), relu,
            nnx.Linear(64, 64, rngs=rngs), relu,
            nnx.Linear(64, 10, rngs=rngs),
        )  # fmt: skip


class Autoencoder(nnx.Module):
    def __init__(self, rngs):
        def conv(kind, channels, filters):
            return kind(channels, filters, (3, 3), padding="VALID", rngs=rngs)

        self.first = nnx.List([conv(nnx.Conv, 1, 16), conv(nnx.Conv, 16, 32)])
        self.second = nnx.List([conv(nnx.Conv, 32, 32), conv(nnx.Conv, 32, 16)])
        transposed = nnx.ConvTranspose
        self.third = nnx.List([conv(transposed, 1, 16), conv(transposed, 16, 32)])
        self.fourth = nnx.List([conv(transposed, 32, 16), conv(transposed, 16, 1)])

    def __call__(self, x):
        for layer in self.first:
            x = relu(layer(x))
        x = nnx.max_pool(x, (3, 3), (3, 3))
        for layer in self.second:
            x = relu(layer(x))
        x = x.max((1, 2)).reshape(-1, 4, 4, 1)
        for layer in self.third:
            x = relu(layer(x))
        x = _up(x, 3)
        for layer in self.fourth:
            x = relu(layer(x))
        return x


class Tickets(nnx.Module):
    def __init__(self, rngs):
        self.title = nnx.Embed(10_000, 64, rngs=rngs)
        self.body = nnx.Embed(10_000, 64, rngs=rngs)
        self.read_title = nnx.RNN(nnx.OptimizedLSTMCell(64, 128, rngs=rngs), return_carry=True)
        self.read_body = nnx.RNN(nnx.OptimizedLSTMCell(64, 32, rngs=rngs), return_carry=True)
        self.priority = nnx.Linear(172, 1, rngs=rngs)
        self.department = nnx.Linear(172, 4, rngs=rngs)

    def __call__(self, title, body, tags):
        (_, title), _ = self.read_title(self.title(title))
        (_, body), _ = self.read_body(self.body(body))
        x = jnp.concatenate([title, body, tags], -1)
        return self.priority(x), self.department(x)


class ResNet(nnx.Module):
    def __init__(self, rngs):
        def conv(channels, filters, padding):
            return nnx.Conv(channels, filters, (3, 3), padding=padding, rngs=rngs)

        self.stem = nnx.List([conv(3, 32, "VALID"), conv(32, 64, "VALID")])
        self.blocks = nnx.List(
            nnx.List([conv(64, 64, "SAME"), conv(64, 64, "SAME")]) for _ in range(2)
        )
        self.last = conv(64, 64, "VALID")
        self.hidden = nnx.Linear(64, 256, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(256, 10, rngs=rngs)

    def __call__(self, x):
        for layer in self.stem:
            x = relu(layer(x))
        x = nnx.max_pool(x, (3, 3), (3, 3))
        for one, two in self.blocks:
            x = relu(two(relu(one(x)))) + x
        x = relu(self.last(x)).mean((1, 2))
        return self.head(self.dropout(relu(self.hidden(x))))


class Encoder(nnx.Module):
    def __init__(self, rngs):
        self.norm_attention = nnx.LayerNorm(64, epsilon=1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 64, decode=False, rngs=rngs)
        self.norm_dense = nnx.LayerNorm(64, epsilon=1e-5, rngs=rngs)
        self.wide = nnx.Linear(64, 128, rngs=rngs)
        self.narrow = nnx.Linear(128, 64, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        return x + self.dropout(self.narrow(relu(self.wide(self.norm_dense(x)))))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.words = nnx.Embed(10_000, 64, rngs=rngs)
        self.positions = nnx.Embed(128, 64, rngs=rngs)
        self.blocks = nnx.List([Encoder(rngs), Encoder(rngs)])
        self.head = nnx.Linear(64, 4, rngs=rngs)

    def __call__(self, x):
        x = self.words(x) + self.positions(jnp.arange(128))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class GRU(nnx.Module):
    def __init__(self, rngs):
        def cell():
            made = nnx.GRUCell(64, 64, rngs=rngs)
            made.dense_h = nnx.Linear(64, 192, rngs=rngs)  # with the same bias as the others
            return made

        self.words = nnx.Embed(10_000, 64, rngs=rngs)
        self.first = nnx.RNN(cell())
        self.second = nnx.RNN(cell(), return_carry=True)
        self.head = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.second(self.first(self.words(x)))[0])


class Conv1D(nnx.Module):
    def __init__(self, rngs):
        def conv(channels, filters, size):
            return nnx.Conv(channels, filters, (size,), padding="VALID", rngs=rngs)

        self.one, self.two, self.three = conv(9, 64, 5), conv(64, 64, 5), conv(64, 128, 3)
        self.head = nnx.Linear(128, 6, rngs=rngs)

    def __call__(self, x):
        x = relu(self.two(relu(self.one(x))))
        x = relu(self.three(nnx.max_pool(x, (2,), (2,))))
        return self.head(x.mean(1))


class MobileNet(nnx.Module):
    def __init__(self, rngs):
        def normalized(channels, filters, size, **options):
            conv = nnx.Conv(channels, filters, (size, size), use_bias=False, rngs=rngs, **options)
            norm = nnx.BatchNorm(filters, momentum=0.9, epsilon=1e-3, rngs=rngs)
            return nnx.Sequential(conv, norm, relu)

        self.layers, channels = nnx.List([normalized(3, 32, 3)]), 32
        for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
            options = {"strides": stride, "feature_group_count": channels}
            self.layers.append(normalized(channels, channels, 3, **options))
            self.layers.append(normalized(channels, filters, 1))
            channels = filters
        self.head = nnx.Linear(channels, 10, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((1, 2)))


class Twice(nnx.Sequential):
    def __init__(self, channels, filters, rngs):
        super().__init__(
            nnx.Conv(channels, filters, (3, 3), rngs=rngs), relu,
            nnx.Conv(filters, filters, (3, 3), rngs=rngs), relu,
        )  # fmt: skip


class UNet(nnx.Module):
    def __init__(self, rngs):
        self.down = nnx.List([Twice(3, 16, rngs), Twice(16, 32, rngs)])
        self.bottom = Twice(32, 64, rngs)
        self.up = nnx.List(
            nnx.List([
                nnx.ConvTranspose(2 * n, n, (2, 2), (2, 2), padding="VALID", rngs=rngs),
                Twice(2 * n, n, rngs),
            ]) for n in (32, 16)
        )  # fmt: skip
        self.head = nnx.Conv(16, 3, (1, 1), rngs=rngs)

    def __call__(self, x):
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = nnx.max_pool(x, (2, 2), (2, 2))
        x = self.bottom(x)
        for up, twice in self.up:
            x = twice(jnp.concatenate([skips.pop(), up(x)], -1))
        return self.head(x)


class VGG19(nnx.Module):
    def __init__(self, rngs):
        self.stages, channels = nnx.List([]), 3
        for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
            stage = nnx.List([])
            for _ in range(count):
                stage.append(nnx.Conv(channels, filters, (3, 3), rngs=rngs))
                channels = filters
            self.stages.append(stage)
        self.one = nnx.Linear(25088, 4096, rngs=rngs)
        self.two = nnx.Linear(4096, 4096, rngs=rngs)
        self.head = nnx.Linear(4096, 1000, rngs=rngs)

    def __call__(self, x):
        for stage in self.stages:
            for layer in stage:
                x = relu(layer(x))
            x = nnx.max_pool(x, (2, 2), (2, 2))
        x = relu(self.two(relu(self.one(x.reshape(x.shape[0], -1)))))
        return nnx.softmax(self.head(x))


class Deep(nnx.Sequential):
    def __init__(self, rngs):
        super().__init__(*(nnx.Linear(8, 8, rngs=rngs) for _ in range(200)))


class Blocks(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List(
            nnx.Sequential(
                nnx.Conv(64, 64, (3, 3), rngs=rngs),
                nnx.BatchNorm(64, epsilon=1e-3, rngs=rngs), relu,
            ) for _ in range(50)
        )  # fmt: skip

    def __call__(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def _cross_entropy(outputs, targets):
    (logits,), (y,) = outputs, targets
    if y.shape == logits.shape:
        return optax.softmax_cross_entropy(logits, y).mean()
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _tickets_loss(outputs, targets):
    (priority, department), (y_priority, y_department) = outputs, targets
    return (
        optax.sigmoid_binary_cross_entropy(priority, y_priority).mean()
        + 0.2 * optax.softmax_cross_entropy(department, y_department).mean()
    )


def _squared_error(outputs, targets):
    return jnp.square(outputs[0] - targets[0]).mean()


def _rmsprop():
    return optax.rmsprop(1e-3, decay=0.9, eps=1e-7)


def _adam():
    return optax.adam(1e-3, eps=1e-7)


# the model, its loss, its optimizer, whether accuracy is reported
MODELS: dict[str, tuple[Any, Any, Any, bool]] = {
    "mlp": (MLP, _cross_entropy, _rmsprop, True),
    "autoencoder": (Autoencoder, _squared_error, _adam, False),
    "tickets": (Tickets, _tickets_loss, _rmsprop, False),
    "resnet": (ResNet, _cross_entropy, _rmsprop, True),
    "transformer": (Transformer, _cross_entropy, _adam, True),
    "gru": (GRU, _cross_entropy, _adam, True),
    "conv1d": (Conv1D, _cross_entropy, _adam, True),
    "mobilenet": (MobileNet, _cross_entropy, lambda: optax.sgd(0.01, momentum=0.9), True),
    "unet": (UNet, _cross_entropy, _adam, False),
    "vgg19": (VGG19, None, None, False),
    "deep": (Deep, _squared_error, lambda: optax.sgd(0.01), False),
    "blocks": (Blocks, None, None, False),
}
