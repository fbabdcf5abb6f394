"""Attributes that users' classes set: names that only Lamina uses are free, as in Keras."""

import numpy as np
import pytest

import lamina
from lamina import layers

X = np.ones((4, 3), "float32")

# Names that a program may plausibly use; Keras uses none of them for a model that is a subclass.
NAMES = [
    "graph", "objective", "inputs", "outputs", "input_shape", "output_shape", "input_names",
    "output_names", "operations", "sizes", "nodes", "check", "_graph", "_objective", "_seed",
    "_policy", "_programs", "_structure", "_training", "_runs", "_built_in", "policy", "state",
    "mode", "shape", "step", "epoch", "config", "scope", "data", "parameters", "_loss_tracker",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["numbers", "layers"])
def test_a_model_may_use_the_names(kind, tmp_path):
    class Net(lamina.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = layers.Dense(1)
            for name in NAMES:
                setattr(self, name, layers.Rescaling(2.0) if kind == "layers" else [1, 2])

        def call(self, x):
            for name in NAMES if kind == "layers" else ():
                x = getattr(self, name)(x) / 2.0
            return self.head(x)

    net = Net()
    net.compile("sgd", "mse", metrics=["mae"])
    net.fit(X, X[:, :1], batch_size=2, verbose=0)
    assert net.evaluate(X, X[:, :1], verbose=0, return_dict=True).keys() == {"loss", "mae"}
    expected = net.predict(X, verbose=0)
    if kind == "numbers":
        assert all(getattr(net, name) == [1, 2] for name in NAMES)
    else:
        assert len(net.layers) == 1 + len(NAMES)
    net.save(tmp_path / "net.keras")
    again = lamina.saving.load_model(tmp_path / "net.keras", {"Net": Net})
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    net.summary(print_fn=lambda *_, **__: None)


def test_a_layer_may_use_the_names():
    class Mine(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            for name in NAMES:
                setattr(self, name, layers.Dense(3))

        def call(self, x):
            return sum(getattr(self, name)(x) for name in NAMES)

    inputs = lamina.Input((3,))
    model = lamina.Model(inputs, Mine(dtype="mixed_bfloat16")(inputs))
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    assert len(model.trainable_variables) == 2 * len(NAMES)
    assert model.layers[1].dtype_policy.name == "mixed_bfloat16"
