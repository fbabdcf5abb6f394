"""Small models, each with data, that train in 20 steps."""

import jax
import numpy as np

import lamina as keras
from lamina import layers, ops


def _data(shape, classes=4, n=60, ids=None):
    rng = np.random.default_rng(0)
    x = rng.integers(0, ids, (n, *shape)) if ids else rng.normal(size=(n, *shape))
    return x.astype("int32" if ids else "float32"), rng.integers(0, classes, n)


def mlp():
    x = keras.Input((16,))
    y = layers.Dense(64, activation="relu")(x)
    y = layers.Dense(64, activation="gelu")(y)
    return keras.Model(x, layers.Dense(4)(y)), _data((16,))


def dropout():
    x = keras.Input((16,))
    y = layers.Dense(64, activation="relu", kernel_regularizer="l2")(x)
    y = layers.Dropout(0.3)(layers.GaussianNoise(0.1)(y))
    return keras.Model(x, layers.Dense(4)(y)), _data((16,))


def residual():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    z = layers.Conv2D(16, 3, padding="same", use_bias=False)(y)
    y = layers.add([y, layers.BatchNormalization()(z)])
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(4)(y)), _data((8, 8, 3))


def lstm():
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(40, 32, mask_zero=True)(x)
    y = layers.LSTM(16)(y)
    return keras.Model(x, layers.Dense(4)(y)), _data((6,), ids=40)


def transformer():
    x = keras.Input((8,), dtype="int32")
    y = layers.Embedding(40, 32)(x)
    z = layers.LayerNormalization()(y)
    y = y + layers.MultiHeadAttention(4, 8)(z, z)
    z = layers.LayerNormalization()(y)
    z = layers.Dense(64, activation="gelu")(z)
    y = y + layers.Dropout(0.1)(layers.Dense(32)(z))
    y = layers.GlobalAveragePooling1D()(y)
    return keras.Model(x, layers.Dense(4)(y)), _data((8,), ids=40)


class _Block(layers.Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.wide, self.narrow = layers.Dense(2 * width, activation="relu"), layers.Dense(width)

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        super().build(input_shape)

    def call(self, x):
        return x + self.scale * self.narrow(self.wide(x))


def custom_layer():
    model = keras.Sequential([keras.Input((32,)), _Block(32), _Block(32), layers.Dense(4)])
    return model, _data((32,))


class _OwnStep(keras.Model):
    def train_step(self, state, data):
        trainable, fixed, optimizer, metrics = state
        x, y = data

        def loss_of(trainable, fixed):
            logits, fixed = self.stateless_call(trainable, fixed, x, training=True)
            return self.compute_loss(x, y, logits), (logits, fixed)

        (loss, (_, fixed)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, fixed)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return {"loss": loss}, (trainable, fixed, optimizer, metrics)


def custom_step():
    x = keras.Input((16,))
    y = layers.Dense(64, activation="tanh")(x)
    return _OwnStep(x, layers.Dense(4)(y)), _data((16,))


class _Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(40, 32)
        self.head = layers.EinsumDense("bti,ij->btj", (None, 64))
        self.out = layers.Dense(4)

    def call(self, x):
        return self.out(ops.mean(ops.relu(self.head(self.table(x))), axis=1))


def subclass():
    return _Subclass(), _data((8,), ids=40)


MODELS = {
    f.__name__: f
    for f in (mlp, dropout, residual, lstm, transformer, custom_layer, custom_step, subclass)
}
