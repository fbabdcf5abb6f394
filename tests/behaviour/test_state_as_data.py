"""What models and layers offer for steps of a user's own: state trees, pure losses, flags."""

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


def net(**compiled):
    inputs = layers.Input((4,))
    x = layers.BatchNormalization(name="norm")(inputs)
    hidden = layers.Dense(3, kernel_regularizer="l2", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(1, name="out")(hidden))
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **compiled})
    return model


class OwnStep(keras.Model):
    """A training step made of the pure forms."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y = data
        gradient = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (_, (loss, _, non_trainable, metrics)), gradients = gradient(
            trainable, non_trainable, metrics, x, y, None, training=True,
            optimizer_variables=optimizer,
        )  # fmt: skip
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return {"loss": loss}, (trainable, non_trainable, optimizer, metrics)


@pytest.mark.parametrize("optimizer", ["sgd", "scaled"])
def test_a_step_made_of_the_pure_forms_is_the_standard_step(optimizer):
    def made():
        inner = keras.optimizers.SGD(0.1)
        if optimizer == "scaled":
            return keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
        return inner

    standard = net(optimizer=made())
    own = OwnStep(standard.inputs, standard.outputs)
    start = standard.get_weights()
    expected = standard.fit(X, Y, epochs=3, verbose=0, shuffle=False).history["loss"]
    after = standard.get_weights()
    own.set_weights(start)
    own.compile(made(), "mse")
    found = own.fit(X, Y, epochs=3, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for a, b in zip(own.get_weights(), after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_pure_loss_leaves_the_model_as_it_is():
    model = net()
    model.fit(X, Y, verbose=0)
    before = model.get_state_tree("numpy_array")
    lists = [[v.value for v in model.trainable_variables],
             [v.value for v in model.non_trainable_variables],
             [v.value for v in model.metrics_variables]]  # fmt: skip
    loss, (trainable, _, _) = model.stateless_compute_loss(*lists, X, Y, model(X))
    assert float(loss) > float(np.mean((model.predict(X, verbose=0) - Y) ** 2))  # and the penalty
    assert len(trainable) == len(lists[0])
    after = model.get_state_tree("numpy_array")
    jax.tree.map(np.testing.assert_array_equal, before, after)
    with pytest.raises(keras.errors.StructureError, match="does not fit"):
        model.stateless_compute_loss(lists[0][1:], *lists[1:], X, Y, model(X))


def test_a_state_tree_goes_back():
    model = net(optimizer="adam")
    model.fit(X, Y, epochs=2, verbose=0)
    tree = model.get_state_tree("numpy_array")
    assert set(tree) == {
        "trainable_variables", "non_trainable_variables", "optimizer_variables",
        "metrics_variables",
    }  # fmt: skip
    assert tree["trainable_variables"]["hidden"]["kernel"].shape == (4, 3)
    expected = model.fit(X, Y, verbose=0, shuffle=False).history["loss"]
    model.set_state_tree(tree)
    assert model.fit(X, Y, verbose=0, shuffle=False).history["loss"] == expected
    with pytest.raises(keras.errors.UnknownNameError, match="hidden/kernel"):
        model.set_state_tree({"trainable_variables": {"hidden": {"kernal": X}}})
    with pytest.raises(keras.errors.ShapeError, match="hidden/kernel"):
        model.set_state_tree({"trainable_variables": {"hidden": {"kernel": X}}})


def test_a_model_that_is_not_compiled_has_no_metrics_and_no_loss():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    assert model.metrics_names == []
    assert model.get_metrics_result() == {}
    model.compile(loss="mae")
    assert model.loss == "mae"


def test_a_layer_that_cannot_be_compiled_runs_on_values():
    seen = []

    class Python(keras.Layer):
        def __init__(self):
            super().__init__()
            self.supports_jit = False

        def call(self, inputs):
            seen.append(type(inputs).__name__)
            return inputs

        def compute_output_shape(self, input_shape):
            return input_shape

    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(Python()(inputs)))
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    seen.clear()
    model.predict(X, verbose=0)
    model.predict(X, verbose=0)
    assert len(seen) == 2


def test_steps_are_compiled_anew_when_forced():
    model = net()
    model.make_train_function()
    program = model.program_for("train")
    model.make_train_function()
    assert model.program_for("train") is program
    model.make_train_function(force=True)
    assert model.program_for("train") is not program


def test_layers_know_their_metrics():
    class Counts(keras.Layer):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean(name="activation")
            self.extra = self.add_variable((2,), "zeros", name="extra")

        def call(self, inputs):
            self.mean.update_state(keras.ops.mean(inputs))
            return inputs

    layer = Counts()
    assert layer.metrics == [layer.mean]
    assert layer.metrics_variables == layer.mean.variables
    assert layer.extra in layer.weights
    assert layer.input_dtype == "float32"
    assert layer.symbolic_call(layers.Input((2,))).shape == (None, 2)
