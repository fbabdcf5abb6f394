"""A variational autoencoder with a training step of its own."""

import jax
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(20)


class Sampling(layers.Layer):
    """Draws a code; the noise is kept away where a program wants numbers that repeat."""

    def __init__(self, seed=3, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.scale = 1.0

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + self.scale * ops.exp(0.5 * log_variance) * noise


class VAE(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total = keras.metrics.Mean(name="total_loss")
        self.kl = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total, self.kl]

    def call(self, x):
        return self.decoder(self.encoder(x)[2])

    def losses_of(self, trainable, non_trainable, x):
        (mean, log_variance, _), reconstruction, non_trainable = self.run(
            trainable, non_trainable, x
        )
        error = ops.mean(ops.sum(keras.losses.binary_crossentropy(x, reconstruction), axis=(1, 2)))
        kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
        kl = ops.mean(ops.sum(kl, axis=1))
        return error + kl, (kl, non_trainable)

    def run(self, trainable, non_trainable, x):
        ours = len(self.encoder.trainable_variables)
        fixed = len(self.encoder.non_trainable_variables)
        codes, new = self.encoder.stateless_call(
            trainable[:ours], non_trainable[:fixed], x, training=True
        )
        image, other = self.decoder.stateless_call(
            trainable[ours:], non_trainable[fixed:], codes[2], training=True
        )
        return codes, image, [*new, *other]

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x = data[0] if isinstance(data, tuple) else data
        gradient = jax.value_and_grad(self.losses_of, has_aux=True)
        (total, (kl, non_trainable)), grads = gradient(trainable, non_trainable, x)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        n = len(self.total.variables)
        first = self.total.stateless_update_state(metrics[:n], total)
        second = self.kl.stateless_update_state(metrics[n:], kl)
        logs = {
            "total_loss": self.total.stateless_result(first),
            "kl_loss": self.kl.stateless_result(second),
        }
        return logs, (trainable, non_trainable, optimizer, [*first, *second])


def make(scale):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Dense(6, activation="relu")(layers.Flatten()(x))
    mean, log_variance = layers.Dense(2, name="mean")(x), layers.Dense(2, name="log_variance")(x)
    sampling = Sampling()
    sampling.scale = scale
    encoder = keras.Model(inputs, [mean, log_variance, sampling([mean, log_variance])])
    codes = keras.Input((2,))
    x = layers.Reshape((4, 4, 2))(layers.Dense(32, activation="relu")(codes))
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", strides=2, padding="same")(x)
    vae = VAE(encoder, keras.Model(codes, x))
    drawn = np.random.default_rng(21)
    for part in (encoder, vae.decoder):
        for weight in part.trainable_variables:
            weight.assign(drawn.normal(0, 0.2, weight.shape))
    vae.compile(optimizer=keras.optimizers.Adam(0.01))
    return vae


images = rng.uniform(size=(32, 8, 8, 1)).astype("float32")
vae = make(scale=0.0)
vae(images[:1])
history = vae.fit(images, epochs=3, batch_size=16, shuffle=False, verbose=0).history
print({name: [round(float(v), 3) for v in values] for name, values in sorted(history.items())})
print(np.asarray(vae.decoder(np.zeros((1, 2))))[0, 0, :3, 0])

noisy = make(scale=1.0)
noisy(images[:1])
totals = noisy.fit(images, epochs=10, batch_size=16, shuffle=False, verbose=0).history["total_loss"]
print(totals[-1] < totals[0])
