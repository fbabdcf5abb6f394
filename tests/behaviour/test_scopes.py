"""Contexts at the root: stateless calls, names, devices, rematerialization."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")


# ---- stateless -----------------------------------------------------------------------------------


def scripted(library):
    """What a program sees of variables in and after a scope."""
    v = library.Variable(np.array([1.0, 1.0], "float32"), name="v")
    w = library.Variable(np.array([2.0, 2.0], "float32"), name="w")
    seen = []
    with library.StatelessScope(state_mapping=[(v, np.array([5.0, 6.0], "float32"))]) as scope:
        seen += [v.value, v + 1, w.value, scope.get_current_value(w)]
        v.assign(v.value * 2)
        scope.add_update((w, jnp.array([9.0, 9.0])))
        seen += [v.value, w.value]
        with library.StatelessScope() as inner:
            w.assign(np.zeros(2, "float32"))
        seen += [w.value, inner.get_current_value(w)]
    seen += [v.value, w.value, scope.get_current_value(v), scope.get_current_value(w)]
    return [None if x is None else np.asarray(x).tolist() for x in seen]


def test_variables_in_a_stateless_scope():
    expected, found = scripted(keras), scripted(lamina)
    assert found[:6] == expected[:6]
    assert found[6:] == expected[6:]


def test_any_transformation_works_on_it():
    layer = layers.BatchNormalization()
    layer.build((None, 4))
    before = [v.numpy() for v in layer.variables]

    @jax.jit
    @jax.grad
    def gradient(values):
        with lamina.StatelessScope(zip(layer.variables, values, strict=True)) as scope:
            y = layer(X, training=True)
            assert scope.get_current_value(layer.moving_mean) is not None
        return jnp.sum(y**2)

    found = gradient([v.value for v in layer.variables])
    assert len(found) == 4
    assert np.isfinite(np.concatenate([np.ravel(g) for g in found])).all()
    for a, b in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_losses_are_collected_where_asked():
    layer = layers.Dense(1, activity_regularizer="l2")
    layer.build((None, 4))
    with lamina.StatelessScope(collect_losses=True) as scope:
        layer(X)
        scope.add_loss(jnp.ones(()))
    assert len(scope.losses) == 2
    with lamina.StatelessScope() as scope:
        layer(X)
    assert scope.losses == []


def test_a_wrong_mapping_is_told():
    v = lamina.Variable(np.zeros(2, "float32"))
    with pytest.raises(ShapeError, match="shape"):
        lamina.StatelessScope([(v, np.zeros(3))])
    with pytest.raises(ArgumentError, match="pairs"):
        lamina.StatelessScope([(1, np.zeros(3))])


# ---- names ---------------------------------------------------------------------------------------


def paths(library):
    found = []
    with library.name_scope("a"):
        found.append(library.Variable(np.ones(2, "float32"), name="w"))
        with library.name_scope("b"):
            found.append(library.Variable(np.ones(2, "float32"), name="u"))
        dense = library.layers.Dense(1, name="d")
        dense.build((None, 2))
        found += dense.weights
    found.append(library.Variable(np.ones(2, "float32"), name="v"))
    return [v.path for v in found]


def test_paths_begin_with_the_names_of_scopes():
    assert paths(lamina) == paths(keras) == ["a/w", "a/b/u", "a/d/kernel", "a/d/bias", "v"]


def test_programs_show_the_names():
    def double(x):
        with lamina.name_scope("doubled"):
            return x * 2

    text = jax.jit(double).lower(1.0).as_text(debug_info=True)
    assert "doubled" in text
    with pytest.raises(ArgumentError, match="name scope"):
        lamina.name_scope("a/b")


# ---- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "CPU:0", jax.devices("cpu")[0]])
def test_arrays_are_made_on_the_device(name):
    with lamina.device(name):
        assert {d.platform for d in lamina.ops.ones(2).devices()} == {"cpu"}


@pytest.mark.parametrize("name", ["cpu:99", "quantum:0", "cpu:first", 3])
def test_devices_that_are_not_there(name):
    with pytest.raises(ArgumentError, match="Devices here"):
        lamina.device(name)


# ---- rematerialization ---------------------------------------------------------------------------

MODES = {
    "full": {},
    "activations": {},
    "larger_than": {"output_size_threshold": 40},
    "list_of_layers": {"layer_names": ["first"]},
}


def model_of(mode=None, **kwargs):
    lamina.utils.clear_session(free_memory=False)
    lamina.utils.set_random_seed(0)
    with lamina.RematScope(mode, **kwargs):
        model = lamina.Sequential([
            lamina.Input((4,)),
            layers.Dense(8, activation="gelu", name="first", activity_regularizer="l2"),
            layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2, name="second"),
        ])  # fmt: skip
    model.compile("sgd", "mse")
    return model


def products(model):
    """How many matrix products a training step makes, and how many parts are rematerialized."""
    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(values):
        return jnp.sum(model.stateless_call(values, fixed, X, training=True, seed=0)[0])

    text = str(jax.make_jaxpr(jax.grad(loss))(trainable))
    return text.count("dot_general["), text.count("checkpoint") + text.count("remat")


@pytest.fixture(scope="module")
def plain():
    lamina.utils.clear_session(free_memory=False)
    model = model_of()
    count = products(model)
    history = model.fit(X, X[:, :2], batch_size=8, epochs=2, verbose=0)
    return count, history.history["loss"], [v.numpy() for v in model.variables]


@pytest.mark.parametrize("mode", MODES)
def test_training_is_the_same_and_computes_again(plain, mode):
    model = model_of(mode, **MODES[mode])
    (least, none), losses, values = plain
    count, parts = products(model)
    assert none == 0
    assert parts > 0
    assert (count > least) == (mode != "activations")
    history = model.fit(X, X[:, :2], batch_size=8, epochs=2, verbose=0)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-5)
    for a, b in zip(values, model.variables, strict=True):  # moving statistics among them
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_masks_pass_and_generators_advance():
    class Both(layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = lamina.random.SeedGenerator(3)
            self.supports_masking = True

        def call(self, x):
            noise = lamina.random.normal(lamina.ops.shape(x), seed=self.generator)
            return {"x": x + 0.0 * noise, "text": "kept"}["x"]

    with lamina.RematScope():
        both = Both()
    model = lamina.Sequential([
        lamina.Input((3,), dtype="int32"), layers.Embedding(5, 2, mask_zero=True), both,
        layers.GlobalAveragePooling1D(),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    tokens = np.array([[1, 2, 0], [3, 0, 0]])
    rows = model.layers[0].embeddings.numpy()
    expected = [rows[[1, 2]].mean(0), rows[3]]
    np.testing.assert_allclose(model.predict(tokens, verbose=0), expected, rtol=1e-6)
    model.fit(tokens, np.zeros((2, 2)), epochs=3, verbose=0)
    assert both.generator.state.numpy().tolist() == [3, 4]


def test_a_function_of_ones_own():
    def f(x, scale):
        return {"y": jnp.sin(x["a"]) * scale}

    def loss(fn, x):
        return jnp.sum(fn({"a": x}, scale=2.0)["y"])

    again = lamina.remat(f)
    np.testing.assert_allclose(
        jax.grad(lambda x: loss(again, x))(X), jax.grad(lambda x: loss(f, x))(X), rtol=1e-6
    )
    text = str(jax.make_jaxpr(jax.grad(lambda x: loss(again, x)))(X))
    assert "checkpoint" in text or "remat" in text


def test_scopes_within_scopes():
    with lamina.RematScope("full"):
        with lamina.RematScope(None):
            plain = layers.Dense(2)
        again = layers.Dense(2)
    outside = layers.Dense(2)

    def parts(layer):
        layer.build((None, 4))
        values = [v.value for v in layer.trainable_variables]
        text = str(jax.make_jaxpr(
            jax.grad(lambda v: jnp.sum(layer.stateless_call(v, [], X)[0])))(values))  # fmt: skip
        return text.count("checkpoint") + text.count("remat")

    assert [parts(x) > 0 for x in (plain, again, outside)] == [False, True, False]
    with pytest.raises(ArgumentError, match="mode"):
        lamina.RematScope("some")
