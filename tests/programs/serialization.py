"""Files and configs: whole models, weights, custom objects, copies."""

import json
import os
import tempfile

import keras
import numpy as np
from keras import ops

rng = np.random.default_rng(7)


@keras.saving.register_keras_serializable(package="Demo")
class Scale(keras.layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="Demo", name="bent")
def bend(x):
    return ops.tanh(x) ** 2


class Plain(keras.layers.Layer):
    def __init__(self, sublayer, **kwargs):
        super().__init__(**kwargs)
        self.sublayer = sublayer

    def call(self, x):
        return self.sublayer(x)

    def get_config(self):
        return {
            **super().get_config(),
            "sublayer": keras.saving.serialize_keras_object(self.sublayer),
        }

    @classmethod
    def from_config(cls, config):
        sublayer = keras.saving.deserialize_keras_object(config.pop("sublayer"))
        return cls(sublayer, **config)


inputs = keras.Input((4,))
x = keras.layers.Dense(5, activation=bend, name="first")(inputs)
x = Scale(0.5)(x)
x = Plain(keras.layers.Dense(3, name="inner"))(x)
model = keras.Model(inputs, x, name="saved")
model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
model.compile("adam", "mse")
data, targets = rng.normal(size=(16, 4)), rng.normal(size=(16, 3))
model.fit(data, targets, epochs=2, shuffle=False, verbose=0)

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.keras")
    model.save(path)
    loaded = keras.saving.load_model(path, custom_objects={"Plain": Plain})
    print(np.allclose(model.predict(data, verbose=0), loaded.predict(data, verbose=0)))
    with keras.saving.custom_object_scope({"Plain": Plain}):
        again = keras.models.load_model(path)
    print(float(again.train_on_batch(data, targets)), int(again.optimizer.iterations))
    weights = os.path.join(folder, "model.weights.h5")
    model.save_weights(weights)
    other = keras.models.clone_model(model)
    other.load_weights(weights)
    print(np.allclose(model.predict(data, verbose=0), other.predict(data, verbose=0)))
    print(float(np.sum(model.predict(data, verbose=0))))

with keras.saving.custom_object_scope({"Plain": Plain}):
    copy = keras.Model.from_config(model.get_config())
    from_text = keras.models.model_from_json(model.to_json())
print(copy.count_params(), from_text.count_params(), json.loads(model.to_json())["class_name"])
config = keras.layers.serialize(keras.layers.Dense(3, activation="relu", name="d"))
print(config["class_name"], config["config"]["units"], config["config"]["activation"])
print(keras.layers.deserialize(config).units)
record = keras.saving.serialize_keras_object(Scale(2.0, name="s"))
print(record["registered_name"], keras.saving.deserialize_keras_object(record).factor)
print(
    keras.saving.get_registered_name(bend),
    keras.saving.get_registered_object("Demo>Scale").__name__,
)
print(
    keras.optimizers.deserialize(
        keras.optimizers.serialize(keras.optimizers.SGD(0.3))
    ).get_config()["learning_rate"]
)
