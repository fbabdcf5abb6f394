"""Models in JAX and Flax as layers: the numbers of the models themselves, in training and files."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, SerializationError, StructureError, UnknownNameError
from tests.cases.layers_functions import (
    Module,
    jax_model,
    jax_weights,
    stateful_model,
    stateful_weights,
)

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")


def stack(layer):
    inputs = lamina.Input((4,))
    model = lamina.Model(inputs, layer(inputs))
    model.compile(lamina.optimizers.SGD(0.1), "mse")
    return model


class Plain(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(3)(nn.relu(nn.Dense(5)(inputs)))


def test_a_flax_module_trains_as_it_does_by_itself():
    module = Plain()
    variables = module.init(jax.random.key(0), X)
    layer = layers.FlaxLayer(module, variables=variables)
    model = stack(layer)
    np.testing.assert_allclose(model.predict(X, verbose=0), module.apply(variables, X), rtol=1e-6)
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)

    def loss(params):
        return jnp.mean((module.apply(params, X) - Y) ** 2)

    optimizer = optax.sgd(0.1)
    state, params = optimizer.init(variables), variables
    for _ in range(3):
        changes, state = optimizer.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, changes)
    np.testing.assert_allclose(model.predict(X, verbose=0), module.apply(params, X), rtol=1e-4)


def test_statistics_of_flax_are_weights_that_follow_the_data():
    layer = layers.FlaxLayer(Module())
    model = stack(layer)
    names = [w.name for w in layer.non_trainable_weights]
    assert names == ["batch_stats_BatchNorm_0_mean", "batch_stats_BatchNorm_0_var"]
    before = [w.numpy() for w in layer.non_trainable_weights]
    model.predict(X, verbose=0)
    for old, new in zip(before, layer.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(X, Y, verbose=0)
    assert not np.allclose(before[0], layer.non_trainable_weights[0])
    assert not np.allclose(layer(X, training=True), layer(X, training=True))  # dropout
    np.testing.assert_array_equal(layer(X), layer(X))


def test_methods_of_a_module():
    class Two(nn.Module):
        def setup(self):
            self.dense = nn.Dense(2)

        def __call__(self, inputs):
            return self.dense(inputs)

        def doubled(self, inputs):
            return 2 * self.dense(inputs)

    module = Two()
    plain = layers.FlaxLayer(module, seed=3)(X)
    doubled = 2 * plain
    for method in ("doubled", module.doubled, lambda module, inputs: module.doubled(inputs)):
        np.testing.assert_allclose(layers.FlaxLayer(module, method, seed=3)(X), doubled, rtol=1e-6)
    with pytest.raises(UnknownNameError, match="doubbled"):
        layers.FlaxLayer(module, "doubbled")
    with pytest.raises(ArgumentError, match=r"flax\.linen\.Module"):
        layers.FlaxLayer(jnp.sin)


def test_integers_reach_a_module_that_needs_them(tmp_path):
    inputs = lamina.Input((3,), dtype="int32")
    model = lamina.Model(inputs, layers.FlaxLayer(Module2(5))(inputs))
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    ids = np.array([[0, 1, 4]])
    np.testing.assert_array_equal(again.predict(ids, verbose=0), model.predict(ids, verbose=0))


@lamina.saving.register_keras_serializable(package="tests")
class Module2(nn.Module):
    count: int

    @nn.compact
    def __call__(self, inputs):
        return nn.Embed(self.count, 2)(inputs)

    def get_config(self):
        return {"count": self.count}


def test_a_function_of_jax_trains():
    layer = layers.JaxLayer(jax_model, params={"w": jnp.ones((4, 3)), "b": [jnp.zeros(3)]})
    model = stack(layer)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ np.ones((4, 3)), rtol=1e-5)
    assert [(w.name, w.shape) for w in layer.weights] == [("b_0", (3,)), ("w", (4, 3))]
    model.fit(X, Y, batch_size=8, verbose=0)
    gradient = 2 * X.T @ (X @ np.ones((4, 3), "float32") - Y) / Y.size
    np.testing.assert_allclose(layer.weights[1], 1 - 0.1 * gradient, rtol=1e-4)
    with pytest.raises(SerializationError, match="init_fn"):
        layer.get_config()


def test_state_is_kept_and_saved(tmp_path):
    layer = layers.JaxLayer(stateful_model, stateful_weights)
    model = lamina.Sequential([lamina.Input((4,)), layer, layers.Dense(3)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    (mean,) = layer.non_trainable_weights
    assert float(mean) != 0
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    assert float(again.layers[0].non_trainable_weights[0]) == float(mean)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_initial_values_depend_on_seed_and_path_alone():
    def weights(seed=None, before=0):
        lamina.utils.set_random_seed(5)
        for _ in range(before):
            layers.Dense(2)(X)
        layer = layers.JaxLayer(jax_model, jax_weights, seed=seed)
        layer(X)
        return np.asarray(layer.weights[-1])

    np.testing.assert_array_equal(weights(), weights(before=2))
    np.testing.assert_array_equal(weights(seed=1), weights(seed=1))
    assert not np.array_equal(weights(seed=1), weights(seed=2))
    lamina.utils.set_random_seed(5)
    a, b = (layers.JaxLayer(jax_model, jax_weights) for _ in "ab")
    a(X), b(X)
    assert not np.array_equal(a.weights[-1], b.weights[-1])


def test_several_inputs():
    def added(params, inputs):
        return params["scale"] * (inputs["a"] + inputs["b"][0])

    layer = layers.JaxLayer(added, lambda rng, inputs: {"scale": jnp.ones(inputs["a"].shape[-1])})
    a, b = lamina.Input((4,)), lamina.Input((4,))
    model = lamina.Model({"a": a, "b": b}, layer({"a": a, "b": [b]}))
    np.testing.assert_array_equal(model.predict({"a": X, "b": X}, verbose=0), 2 * X)


def test_wrong_functions_are_refused():
    for wrong in (
        lambda: layers.JaxLayer(lambda x: x, jax_weights),
        lambda: layers.JaxLayer(lambda params, inputs, mask: inputs, jax_weights),
        lambda: layers.JaxLayer(jax_model),
        lambda: layers.JaxLayer("relu", jax_weights),
    ):
        with pytest.raises(ArgumentError, match="JaxLayer"):
            wrong()
    layer = layers.JaxLayer(lambda params, state, inputs: (inputs, [state]), state=jnp.ones(2))
    with pytest.raises(ArgumentError, match="call_fn"):
        layers.JaxLayer(lambda params: params, params=1)
    with pytest.raises(StructureError, match="another structure"):
        layer(X)


def test_an_array_that_an_initializer_returns_stays_its_own():
    given = jnp.ones((4, 3))
    model = stack(layers.Dense(3, kernel_initializer=lambda shape, dtype: given))
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(given, np.ones((4, 3)))


def test_layers_around_other_modules_have_other_shapes():
    inputs = lamina.Input((3,))
    shapes = [layers.FlaxLayer(nn.Dense(n))(inputs).shape for n in (2, 5)]
    assert shapes == [(None, 2), (None, 5)]
