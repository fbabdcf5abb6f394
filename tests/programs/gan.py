"""Two networks that train against each other by train_on_batch, one frozen in turn."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(22)


def draw_weights(model):
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])


discriminator = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Flatten(),
        layers.Dense(1, activation="sigmoid"),
    ],
    name="discriminator",
)
draw_weights(discriminator)
discriminator.compile(
    keras.optimizers.Adam(0.01, beta_1=0.5), "binary_crossentropy", metrics=["accuracy"]
)
generator = keras.Sequential(
    [
        keras.Input((3,)),
        layers.Dense(32),
        layers.BatchNormalization(momentum=0.8),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Reshape((4, 4, 2)),
        layers.UpSampling2D(),
        layers.Conv2D(1, 3, padding="same", activation="tanh"),
    ],
    name="generator",
)
draw_weights(generator)
discriminator.trainable = False
z = keras.Input((3,))
combined = keras.Model(z, discriminator(generator(z)))
combined.compile(keras.optimizers.Adam(0.01, beta_1=0.5), "binary_crossentropy")
print(len(combined.trainable_weights), len(combined.weights))

ones, zeros = np.ones((8, 1)), np.zeros((8, 1))
for step in range(4):
    real = rng.uniform(-1, 1, (8, 8, 8, 1))
    fake = generator.predict(rng.normal(size=(8, 3)), verbose=0)
    discriminator.trainable = True
    on_real = discriminator.train_on_batch(real, ones)
    on_fake = discriminator.train_on_batch(fake, zeros)
    discriminator.trainable = False
    before = discriminator.get_weights()
    g_loss = combined.train_on_batch(rng.normal(size=(8, 3)), ones)
    same = all(
        np.array_equal(a, b) for a, b in zip(before, discriminator.get_weights(), strict=True)
    )
    print(step, [float(v) for v in (*on_real, *on_fake)], float(np.ravel(g_loss)[0]), same)
