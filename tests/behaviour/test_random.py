"""Draws in a user's layers: by seed, generator or neither; compiled, saved, set anew, refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, ops, random
from lamina.core import prng
from lamina.errors import ArgumentError, LaminaError, ShapeError, StateError

X = np.ones((8, 4), "float32")
GENERATOR = random.SeedGenerator(1)


class Noise(layers.Layer):
    """Adds random numbers, whose seed is an integer, a generator or None."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def call(self, x):
        return x + random.normal(ops.shape(x), seed=self.seed)


def model_of(seed):
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(4), Noise(seed)])
    model.compile(lamina.optimizers.SGD(0.0), "mse")
    return model


def losses_of_steps(seed, **kwargs):
    """The loss of each step; the batches are equal, so that only draws can differ."""
    model = model_of(seed)
    if kwargs.get("run_eagerly"):
        model.compile(lamina.optimizers.SGD(0.0), "mse", run_eagerly=True)
    return [model.train_on_batch(X, X) for _ in range(4)]


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(("seed", "count"), [(3, 1), (None, 4), ("generator", 4)])
def test_steps_draw_anew_unless_the_seed_is_an_integer(seed, count, run_eagerly):
    seed = random.SeedGenerator(3) if seed == "generator" else seed
    losses = losses_of_steps(seed, run_eagerly=run_eagerly)
    assert len({float(np.squeeze(x)) for x in losses}) == count


@pytest.mark.parametrize("make", [lambda: None, random.SeedGenerator], ids=["none", "generator"])
def test_the_global_seed_makes_draws_reproducible(make):
    def run():
        lamina.utils.set_random_seed(5)
        eager = random.uniform((3,), seed=make())
        model = model_of(make())
        model.fit(X, X, batch_size=2, epochs=2, verbose=0)
        return eager, model.predict(X, verbose=0), model(X)

    first = run()
    random.normal((2,))  # what ran before does not matter
    for a, b in zip(first, run(), strict=True):
        np.testing.assert_array_equal(a, b)
    lamina.utils.set_random_seed(6)
    assert not np.array_equal(random.uniform((3,), seed=make()), first[0])


def test_a_generator_belongs_to_the_layer_that_holds_it():
    layer = Noise(random.SeedGenerator(3), name="noise")
    layer.others = [random.SeedGenerator(4)]
    layer.build((None, 4))
    assert [v.numpy().tolist() for v in layer.variables] == [[3, 0], [4, 0]]
    assert layer.non_trainable_variables == layer.variables
    assert layer.weights == []
    assert layer.count_params() == 0
    model = lamina.Sequential([lamina.Input((4,)), layer])
    assert list(model.named_variables()) == ["noise/seed_generator_state",
                                             "noise/seed_generator_state_1"]  # fmt: skip


@pytest.mark.parametrize("shared", [False, True])
def test_every_verb_advances_a_generator(shared):
    generator = random.SeedGenerator(3)
    noise = [Noise(generator) for _ in range(2 if shared else 1)]
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(4), *noise])
    model.compile("sgd", "mse")
    draws = 2 if shared else 1

    def count():
        return int(generator.state.numpy()[1]) // draws

    model.fit(X, X, batch_size=2, epochs=2, verbose=0)
    assert count() == 8
    model.evaluate(X, X, batch_size=4, verbose=0)
    assert count() == 10
    a, b = model.predict(X, verbose=0), model.predict(X, verbose=0)
    assert count() == 12
    assert not np.array_equal(a, b)
    model(X)
    model.train_on_batch(X, X)
    assert count() == 14


def test_a_generator_that_no_layer_holds_is_advanced_too():
    generator = random.SeedGenerator(3)

    class Held(layers.Layer):
        def call(self, x):
            return x + random.normal(ops.shape(x), seed=generator)

    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(4), Held()])
    model.compile("sgd", "mse")
    model.fit(X, X, batch_size=2, epochs=2, verbose=0)
    assert generator.state.numpy().tolist() == [3, 8]


def test_draws_in_the_pure_form():
    layer = Noise(random.SeedGenerator(3))
    layer.build((None, 4))

    @jax.jit
    def run(state):
        return layer.stateless_call([], [state], X)

    y, [new] = run(layer.variables[0].value)
    np.testing.assert_allclose(y - X, random.normal((8, 4), seed=3), rtol=1e-6)
    assert new.tolist() == [3, 1]
    assert layer.seed.state.numpy().tolist() == [3, 0]
    z, _ = run(new)
    assert not np.array_equal(y, z)


@pytest.mark.parametrize("seed", [None, 3, "generator"])
def test_symbolic_shapes_in_a_layer(seed):
    seed = random.SeedGenerator(3) if seed == "generator" else seed

    class All(layers.Layer):
        def call(self, x):
            shape = ops.shape(x)
            y = random.normal(shape, seed=seed) + random.uniform(shape, seed=seed)
            y += random.gamma(shape, 2.0, seed=seed) * random.beta(shape, 2.0, 1.0, seed=seed)
            y += random.binomial(shape, 3, 0.5, seed=seed) + random.truncated_normal(shape)
            y += random.shuffle(x, axis=1, seed=seed) + random.dropout(x, 0.5, seed=seed)
            y += ops.cast(random.randint(shape, 0, 4, seed=seed), "float32")
            picked = random.categorical(x[:, 0], 5, seed=seed)
            return y, picked

    x = lamina.Input((None, 3))
    y, picked = All()(x)
    assert y.shape == (None, None, 3)
    assert y.dims[1] == x.dims[1]
    assert picked.shape == (None, 5)
    model = lamina.Model(x, [y, picked])
    assert [a.shape for a in model.predict(np.ones((2, 5, 3)), verbose=0)] == [(2, 5, 3), (2, 5)]


def test_functions_of_symbolic_tensors_are_nodes(tmp_path):
    x = lamina.Input((4,))
    generator = random.SeedGenerator(3)
    y = random.dropout(x, 0.5, seed=generator) + random.dropout(x, 0.5, seed=generator)
    model = lamina.Model(x, random.shuffle(y + random.dropout(x, 0.5), axis=1, seed=1))
    assert not np.array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))
    assert generator.state.numpy().tolist() == [3, 4]
    assert len(model.variables) == 1
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    assert loaded.variables[0].numpy().tolist() == [3, 4]
    loaded.predict(X, verbose=0)
    assert loaded.variables[0].numpy().tolist() == [3, 6]  # both nodes draw from one again


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".safetensors"])
def test_files_keep_the_state(tmp_path, ending):
    def fresh(seed):
        noise = Noise(random.SeedGenerator(seed))
        model = lamina.Sequential([lamina.Input((4,)), layers.Dense(4), noise])
        model.compile("sgd", "mse")
        return model

    model = fresh(3)
    model.fit(X, X, batch_size=2, verbose=0)
    path = tmp_path / f"model{ending}"
    if ending == ".keras":
        model.save(path)
        again = lamina.saving.load_model(path, custom_objects={"Noise": Noise})
    else:
        model.save_weights(path)
        again = fresh(4)
        again.load_weights(path)
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))


def test_steps_saved_in_the_middle_draw_what_they_would_have_drawn(tmp_path):
    def fresh():
        lamina.utils.set_random_seed(1)
        model = lamina.Sequential([
            lamina.Input((4,)), Noise(), layers.Dense(4), Noise(random.SeedGenerator())
        ])  # fmt: skip
        model.compile("sgd", "mse")
        return model

    whole = fresh()
    whole.fit(X, X, batch_size=2, epochs=4, verbose=0)
    half = fresh()
    half.fit(X, X, batch_size=2, epochs=2, verbose=0)
    half.save(tmp_path / "half.keras")
    half = lamina.saving.load_model(tmp_path / "half.keras", custom_objects={"Noise": Noise})
    half.fit(X, X, batch_size=2, epochs=4, initial_epoch=2, verbose=0)
    for a, b in zip(whole.variables, half.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_sampling_layer_of_a_variational_autoencoder():
    class Sampling(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = random.SeedGenerator(1337)

        def call(self, inputs):
            mean, log_var = inputs
            epsilon = random.normal(shape=ops.shape(mean), seed=self.seed_generator)
            return mean + ops.exp(0.5 * log_var) * epsilon

    x = lamina.Input((4,))
    encoded = Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])
    model = lamina.Model(x, layers.Dense(4)(encoded))
    model.compile(lamina.optimizers.SGD(0.0), "mse")
    assert len({float(model.train_on_batch(X, X)) for _ in range(5)}) == 5


WRONG = {
    "a seed of text": (lambda: random.normal((2,), seed="1"), ArgumentError, "SeedGenerator"),
    "a negative seed": (lambda: random.normal((2,), seed=-1), ArgumentError, "2\\^32"),
    "a generator of a fraction": (lambda: random.SeedGenerator(0.5), ArgumentError, "0.5"),
    "an integer dtype": (lambda: random.normal((2,), dtype="int32"), ArgumentError, "int32"),
    "a floating dtype": (lambda: random.randint((2,), 0, 2, "float32"), ArgumentError, "float32"),
    "a rate": (lambda: random.dropout(X, 2.0), ArgumentError, "0 to 1"),
    "a noise shape": (lambda: random.dropout(X, 0.5, (3, 4)), ShapeError, "noise_shape"),
    "logits of one axis": (lambda: random.categorical(X[0], 2), ShapeError, "classes"),
    "an axis": (lambda: random.shuffle(X, axis=2), ArgumentError, "rank 2"),
    "an unknown size": (lambda: random.normal((None, 3)), ShapeError, "`call`"),
    "a jit, without a seed": (
        jax.jit(lambda: random.normal((2,))), StateError, "stateless_call"
    ),
    "a jit, with a generator": (
        jax.jit(lambda: random.normal((2,), seed=GENERATOR)),
        StateError, "stateless_call",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "said"), WRONG.values(), ids=list(WRONG))
def test_wrong_uses_are_told(wrong, error, said):
    with pytest.raises(error, match=said) as told:
        wrong()
    assert isinstance(told.value, LaminaError)


def test_an_integer_seed_is_a_constant_in_a_jit_of_ones_own():
    drawn = jax.jit(lambda: random.normal((2,), seed=1))()
    np.testing.assert_allclose(drawn, random.normal((2,), seed=1), rtol=1e-6)
    assert jnp.issubdtype(drawn.dtype, jnp.floating)


@pytest.mark.parametrize(
    "option", [("jax_default_prng_impl", "rbg"), ("jax_random_seed_offset", 7)]
)
def test_keys_are_those_of_jax(option):
    name, value = option
    former = getattr(jax.config, name)
    for setting in (former, value):
        jax.config.update(name, setting)
        try:
            for seed in (0, 3, 2**31 - 1):
                expected = jax.random.key(seed)
                assert prng.key(seed).dtype == expected.dtype
                data = map(jax.random.key_data, (prng.key(seed), expected))
                np.testing.assert_array_equal(*data)
        finally:
            jax.config.update(name, former)
