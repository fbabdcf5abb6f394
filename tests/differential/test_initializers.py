"""Initializers: facts of their distributions, and Keras's where nothing is random."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import initializers
from lamina.core import prng
from lamina.core.variable import Variable
from lamina.initializers.random import fans
from tests.cases.initializers import INITIALIZERS

ROWS = [(name, *row) for name, rows in INITIALIZERS.items() for row in rows]
SEEDED = [n for n in INITIALIZERS if n not in ("Zeros", "Ones", "Constant", "Identity", "STFT")]


def make(name, arguments):
    return getattr(initializers, name)(**arguments)


def draw(initializer, shape, *parts):
    return np.asarray(initializer.draw(prng.stream(*parts), shape, "float32"), "float64")


def test_every_initializer_has_a_row():
    public = {n for n in initializers.__all__ if n[0].isupper()}
    aliases = {"Initializer", "IdentityInitializer", "OrthogonalInitializer", "STFTInitializer"}
    assert public - aliases == set(INITIALIZERS)
    assert {n for n in dir(keras.initializers) if not n.startswith("_")} == set(
        initializers.__all__
    )


@pytest.mark.parametrize(("name", "arguments", "shape", "mean", "variance", "bound"), ROWS)
def test_facts(name, arguments, shape, mean, variance, bound):
    values = draw(make(name, arguments), shape, 0, name)
    assert values.shape == shape
    n = values.size
    if mean is not None:  # within six standard errors
        assert abs(values.mean() - mean) <= 6 * (variance / n) ** 0.5 + 1e-6
        kurtosis = 3 * variance**2  # at least that of every distribution here
        assert abs(values.var() - variance) <= 6 * (kurtosis / n) ** 0.5 + 1e-6
    if bound is not None:
        assert np.abs(values).max() <= bound * (1 + 1e-6)
    if name.endswith("Uniform"):
        assert np.abs(values).max() > 0.99 * bound
    if name == "TruncatedNormal":
        assert np.abs(values).max() > 0.98 * bound


def test_cut_normal_is_exact():
    """Kolmogorov and Smirnov: the distance to the true distribution, 1 in 10^6 by chance."""
    from scipy.stats import truncnorm

    n = 100_000
    values = np.sort(draw(initializers.TruncatedNormal(stddev=1.0), (n,), 1))
    distance = np.abs(truncnorm(-2, 2).cdf(values) - (np.arange(n) + 0.5) / n).max()
    assert distance < 2.7 / n**0.5


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 4), (3, 3, 2, 40)])
def test_orthogonality(shape):
    q = draw(initializers.Orthogonal(gain=2.0), shape, 0).reshape(-1, shape[-1])
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize("name", SEEDED)
def test_determinism(name):
    arguments, shape = INITIALIZERS[name][0][:2]
    seeded, other = make(name, {**arguments, "seed": 1}), make(name, {**arguments, "seed": 2})
    first, again = seeded(shape), seeded(shape)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other(shape))
    free = make(name, arguments)
    assert not np.array_equal(free(shape), free(shape))
    prng.set_random_seed(3)
    first = free(shape)
    prng.set_random_seed(3)
    np.testing.assert_array_equal(first, free(shape))


def test_a_variable_s_value_depends_on_seed_and_path_alone():
    def value(seed, path, initializer="glorot_uniform"):
        prng.set_random_seed(seed)
        v = Variable(initializers.get(initializer), (3, 4), name="kernel", draw_path=path)
        return np.asarray(v.value)

    a = value(0, "dense/kernel")
    np.testing.assert_array_equal(a, value(0, "dense/kernel"))
    assert not np.array_equal(a, value(0, "dense_1/kernel"))
    assert not np.array_equal(a, value(1, "dense/kernel"))
    same = [value(s, p, initializers.HeNormal(seed=7)) for s, p in ((0, "a"), (1, "b"))]
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes(dtype):
    assert initializers.HeNormal()((3, 4), dtype).dtype == dtype
    assert Variable(initializers.HeNormal(), (3, 4), dtype, name="w").value.dtype == dtype


def test_users_own_initializers():
    class Sevens(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return jnp.full(shape, 7, dtype)

    class Nothing(initializers.Initializer):
        pass

    def eights(shape, dtype=None):
        return jnp.full(shape, 8, dtype)

    assert float(Variable(Sevens(), (), name="w").value) == 7
    assert float(Variable(initializers.get(eights), (), name="w").value) == 8
    with pytest.raises(NotImplementedError, match="does not implement `draw"):
        Nothing()(())


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("Zeros", {}, (2, 3)), ("Ones", {}, (2, 3)), ("Constant", {"value": 2.0}, (2,)),
        ("Constant", {"value": [1.0, 2.0]}, (3, 2)), ("Zeros", {}, 3),
        ("Identity", {"gain": 3.0}, (2, 4)),
        *[("STFT", a, s) for s in ((4, 1, 3), (5, 1, 9)) for a in (
            {}, {"side": "imag"}, {"window": "hamming"}, {"scaling": "spectrum"},
            {"window": None}, {"periodic": True}, {"window": "tukey", "scaling": None},
        )],
    ],
)  # fmt: skip
def test_without_chance_the_values_are_keras_s(name, arguments, shape):
    ours, theirs = make(name, arguments), getattr(keras.initializers, name)(**arguments)
    np.testing.assert_allclose(ours(shape), theirs(shape), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((7,), ()), ((3, 2, 5, 7), ()), ((3, 5, 7), ((0,), (1, 2)))],
)
def test_fans_are_keras_s(shape, axes):
    # With one seed Keras draws the same numbers and scales them by 1 / sqrt(fan).
    given = dict(zip(("input_axes", "output_axes"), axes, strict=False))
    unit = np.asarray(keras.initializers.RandomNormal(0.0, 1.0, seed=0)(shape)).max()
    for mode, fan in zip(("fan_in", "fan_out"), fans(shape, *axes), strict=True):
        theirs = keras.initializers.VarianceScaling(1.0, mode, "untruncated_normal", 0, **given)
        assert round((unit / np.asarray(theirs(shape)).max()) ** 2) == fan


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_files_go_both_ways(name):
    arguments = {**INITIALIZERS[name][-1][0], **({"seed": 3} if name in SEEDED else {})}
    ours = make(name, arguments)
    record = initializers.serialize(ours)
    assert initializers.deserialize(record) == ours
    assert ours.clone() == ours
    theirs = keras.initializers.deserialize(record)
    assert type(theirs).__name__ == name
    if name != "Identity":  # whose gain Keras 3.15 leaves out of its file
        assert initializers.deserialize(keras.initializers.serialize(theirs)) == ours


def test_every_name_of_keras_is_known():
    for name in dir(keras.initializers):
        theirs = getattr(keras.initializers, name)
        if isinstance(theirs, type) and theirs.__name__ != "Initializer":
            assert type(initializers.get(name)).__name__ == theirs.__name__
    for name, cls in {"zero": "Zeros", "one": "Ones", "normal": "RandomNormal",
                      "uniform": "RandomUniform"}.items():  # fmt: skip
        assert type(initializers.get(name)).__name__ == cls
    assert initializers.get(None) is None
    # Old files name no module, and layers have an Identity too.
    assert initializers.get({"class_name": "Identity", "config": {}}) == initializers.Identity()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: initializers.get("glorot"), "Did you mean"),
        (lambda: initializers.HeNormal(1.5), "`seed`: expected an integer or None"),
        (
            lambda: initializers.VarianceScaling(scale=0),
            r"`scale`: expected a number in \(0, inf\)",
        ),
        (lambda: initializers.VarianceScaling(mode="fan"), "`mode`: expected one of"),
        (lambda: initializers.HeNormal(input_axes=0), "both `input_axes` and `output_axes`"),
        (lambda: initializers.Orthogonal()((3,)), "at least two axes"),
        (lambda: initializers.Identity()((3,)), "two axes"),
        (lambda: initializers.STFT()((3,)), r"n // 2 \+ 1"),
    ],
)
def test_messages(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_draw_compiles_nothing(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("jax.random was used")

    monkeypatch.setattr(jax.random, "normal", refuse)
    monkeypatch.setattr(jax.random, "uniform", refuse)
    for name, rows in INITIALIZERS.items():
        draw(make(name, rows[0][0]), rows[0][1], 0)
