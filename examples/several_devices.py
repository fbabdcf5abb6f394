"""One model on all devices of one or several processes; how each weight is split."""

import numpy as np

import lamina as keras
from lamina import distribution, layers


def build():
    inputs = keras.Input((64,))
    x = layers.Dense(256, activation="relu", name="wide")(inputs)
    x = layers.Dense(64, name="narrow")(x)
    return keras.Model(inputs, layers.Dense(1, name="out")(x))


def main():
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("adam", "mse", distribution="fsdp+tensor")
    x = np.random.default_rng(0).normal(size=(1000, 64)).astype("float32")
    history = model.fit(x, x[:, :1] * x[:, 1:2], batch_size=64, epochs=3, verbose=2)
    model.summary(show_sharding=True)
    print(f"{distribution.get_device_count()} devices, loss {history.history['loss'][-1]:.4f}")
    return history.history["loss"][-1]


if __name__ == "__main__":
    import os

    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:  # started by `python -m lamina launch`
        distribution.initialize()
    main()
