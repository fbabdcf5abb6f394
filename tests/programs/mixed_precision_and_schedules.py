"""float16 and bfloat16 policies, optimizers with clipping, averaging and accumulation."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(35)
x, y = rng.normal(size=(32, 6)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")


def make(dtype=None):
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="tanh", dtype=dtype)(inputs)
    model = keras.Model(inputs, layers.Dense(1, dtype="float32")(hidden))
    drawn = np.random.default_rng(36)
    model.set_weights([drawn.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


mixed = make("mixed_bfloat16")
print(
    mixed.layers[1].compute_dtype, mixed.layers[1].variable_dtype, mixed.layers[1].dtype_policy.name
)
mixed.compile("sgd", "mse")
print(round(float(mixed.evaluate(x, y, verbose=0)), 2))
keras.mixed_precision.set_global_policy("mixed_float16")
half = make()
keras.mixed_precision.set_global_policy("float32")
half.compile("adam", "mse")
print(half.layers[1].compute_dtype, round(half.fit(x, y, verbose=0).history["loss"][0], 2))

for optimizer in (
    keras.optimizers.SGD(0.1, clipvalue=0.05),
    keras.optimizers.Adam(0.01, global_clipnorm=0.1, amsgrad=True),
    keras.optimizers.AdamW(0.01, use_ema=True, ema_momentum=0.9),
    keras.optimizers.Lion(0.01),
    keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    keras.optimizers.Ftrl(0.1),
    keras.optimizers.RMSprop(
        keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.01, 0.005, 0.001])
    ),
):
    model = make()
    model.compile(optimizer, keras.losses.LogCosh())
    losses = model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
    print(
        type(optimizer).__name__,
        [round(v, 4) for v in losses],
        float(np.sum(model.get_weights()[0])),
    )
