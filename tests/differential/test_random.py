"""Random tensors: the numbers, parameters and defaults of Keras on JAX."""

import inspect

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], "float32"))
X = np.arange(12.0, dtype="float32").reshape(3, 4)
NAMES = sorted(n for n in vars(keras.random) if n[0] != "_")

DRAWS = {
    "normal": lambda r, s: r.normal((3, 2), seed=s),
    "normal of a mean": lambda r, s: r.normal((3,), mean=1, stddev=2, seed=s),
    "normal in half precision": lambda r, s: r.normal((3,), dtype="float16", seed=s),
    "uniform": lambda r, s: r.uniform((3, 2), seed=s),
    "uniform between": lambda r, s: r.uniform((3,), minval=-1, maxval=2, seed=s),
    "uniform bfloat16": lambda r, s: r.uniform((3,), dtype="bfloat16", seed=s),
    "truncated_normal": lambda r, s: r.truncated_normal((30,), mean=1, stddev=2, seed=s),
    "randint": lambda r, s: r.randint((30,), 2, 9, seed=s),
    "randint of floats": lambda r, s: r.randint((30,), 0.5, 9.7, seed=s),
    "randint uint8": lambda r, s: r.randint((30,), 0, 9, dtype="uint8", seed=s),
    "categorical": lambda r, s: r.categorical(LOGITS, 6, seed=s),
    "categorical int8": lambda r, s: r.categorical(LOGITS, 6, dtype="int8", seed=s),
    "dropout": lambda r, s: r.dropout(X, 0.4, seed=s),
    "dropout of nothing": lambda r, s: r.dropout(X, 0.0, seed=s),
    "dropout of all": lambda r, s: r.dropout(X, 1.0, seed=s),
    "dropout of rows": lambda r, s: r.dropout(X, 0.4, noise_shape=(3, 1), seed=s),
    "dropout of columns": lambda r, s: r.dropout(X, 0.4, noise_shape=(1, None), seed=s),
    "shuffle": lambda r, s: r.shuffle(X, seed=s),
    "shuffle columns": lambda r, s: r.shuffle(X, axis=-1, seed=s),
    "gamma": lambda r, s: r.gamma((3,), np.float32([0.5, 2.0, 9.0]), seed=s),
    "binomial": lambda r, s: r.binomial((30,), 10, 0.3, seed=s),
    "beta": lambda r, s: r.beta((3,), 2.0, np.float32([0.5, 2.0, 9.0]), seed=s),
}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_defaults(name):
    def parameters(library):
        found = inspect.signature(getattr(library.random, name)).parameters.values()
        return [(p.name, p.default) for p in found if p.kind is not p.VAR_KEYWORD]

    assert parameters(lamina) == parameters(keras)


def test_the_namespace_has_these_names():
    assert sorted(lamina.random.__all__) == NAMES


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_numbers_of_an_integer_seed(draw):
    ours, theirs = draw(lamina.random, 7), draw(keras.random, 7)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(np.float64(ours), np.float64(theirs), rtol=1e-6)


def test_numbers_of_a_generator():
    ours, theirs = lamina.random.SeedGenerator(7), keras.random.SeedGenerator(7)
    for draw in ("normal", "dropout", "categorical", "normal"):
        a, b = DRAWS[draw](lamina.random, ours), DRAWS[draw](keras.random, theirs)
        np.testing.assert_allclose(a, b, rtol=1e-6)
        np.testing.assert_array_equal(ours.state.numpy(), theirs.state.numpy())
    np.testing.assert_array_equal(ours.next(), theirs.next())


def test_a_generator_is_what_keras_has():
    ours = lamina.random.SeedGenerator(7, name="mine")
    theirs = keras.random.SeedGenerator(7, name="mine")
    assert ours.get_config() == theirs.get_config()
    assert ours.state.path == theirs.state.path
    assert ours.state.dtype == theirs.state.dtype
    written = lamina.saving.serialize_keras_object(ours)
    assert {**written, "module": None} == {
        **keras.saving.serialize_keras_object(theirs),
        "module": None,
    }
    assert keras.saving.deserialize_keras_object(written).get_config() == ours.get_config()


def test_files_that_keras_reads_and_writes(tmp_path):
    def models(library):
        class Noise(library.layers.Layer):
            def __init__(self):
                super().__init__()
                self.seed_generator = library.random.SeedGenerator(5)

            def call(self, x):
                return x + library.random.normal(library.ops.shape(x), seed=self.seed_generator)

        return library.Sequential([library.Input((4,)), library.layers.Dense(3), Noise()])

    ours, theirs = models(lamina), models(keras)
    x = jnp.ones((2, 4))
    ours(x)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(theirs.layers[0].kernel, ours.layers[0].kernel)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    # Keras's files hold no states of generators: ours goes on where it was.
    assert ours.layers[1].seed_generator.state.numpy().tolist() == [5, 1]
