import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core import prng
from lamina.core.scope import Scope, entered
from lamina.errors import ArgumentError, ShapeError
from tests.cases.layers_regularization import CASES
from tests.differential.oracle import compare, draw

STOCHASTIC = [c for c in CASES if c.cls is not layers.ActivityRegularization]
ONES = jnp.ones((2000, 100))


def train(layer, x, step=0, run=0):
    """A call as a compiled training step makes it: the key is that of the step."""
    with entered(Scope(key=prng.derive(prng.base_key(run), step), pure=True)):
        return np.asarray(layer(x, training=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras_without_training(case):
    compare(case)


@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
def test_without_training_nothing_changes(case):
    x = draw(case)[0]
    np.testing.assert_array_equal(case.cls(**case.kwargs)(x), x)
    np.testing.assert_array_equal(case.cls(**case.kwargs)(x, training=False), x)


@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
def test_a_strength_of_zero_changes_nothing(case):
    x = draw(case)[0]
    zero = {"stddev" if case.cls is layers.GaussianNoise else "rate": 0.0}
    np.testing.assert_array_equal(case.cls(**{**case.kwargs, **zero})(x, training=True), x)


@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
def test_draws_depend_on_key_path_and_step_alone(case):
    if case.name == "dropout_everything":
        pytest.skip("draws nothing")
    shape = tuple(3 * n for n in case.inputs[0][0])
    x = jnp.ones(shape)
    kwargs = dict(case.kwargs)
    if "noise_shape" in kwargs:
        kwargs["noise_shape"] = (None, *kwargs["noise_shape"][1:-1], None)
    first, again = (case.cls(**kwargs, name="same") for _ in range(2))
    elsewhere = case.cls(**kwargs, name="elsewhere")
    np.testing.assert_array_equal(train(first, x), train(again, x))
    assert (train(first, x) != train(first, x, step=1)).any()
    assert (train(first, x) != train(first, x, run=1)).any()
    # With a seed of its own, a layer's draws are those of every layer of that seed.
    assert (train(first, x) != train(elsewhere, x)).any() == ("seed" not in kwargs)
    other_seed = case.cls(**{**kwargs, "seed": 77}, name="same")
    assert (train(first, x) != train(other_seed, x)).any()


def test_two_draws_of_one_call_differ():
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, inputs, training=False):
            first, second = (self.dropout(inputs, training=training) for _ in range(2))
            return first != second

    assert train(Twice(), jnp.ones((10, 10))).any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate):
    y = train(layers.Dropout(rate), ONES)
    assert abs((y == 0).mean() - rate) < 0.005
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)
    assert abs(y.mean() - 1) < 0.02
    dropped = y == 0
    assert abs(dropped.mean(0) - rate).max() < 0.06
    assert abs(np.corrcoef(dropped[:-1, 0], dropped[1:, 0])[0, 1]) < 0.1


def test_a_rate_of_one_drops_everything():
    np.testing.assert_array_equal(train(layers.Dropout(1.0), ONES), 0)


def test_a_noise_shape_shares_draws():
    y = train(layers.Dropout(0.5, noise_shape=(None, 1)), ONES)
    assert (y == y[:, :1]).all()
    assert 0.4 < (y[:, 0] == 0).mean() < 0.6


@pytest.mark.parametrize("noise_shape", [(1,), (2000, 3), (1, 1, 1)])
def test_a_noise_shape_that_does_not_fit(noise_shape):
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(2000, 100\)"):
        layers.Dropout(0.5, noise_shape=noise_shape, name="culprit")(ONES, training=True)


@pytest.mark.parametrize(
    ("layer", "shape", "space"),
    [
        (layers.SpatialDropout1D(0.5), (8, 4, 50), (1,)),
        (layers.SpatialDropout2D(0.5), (8, 3, 4, 50), (1, 2)),
        (layers.SpatialDropout2D(0.5, data_format="channels_first"), (8, 50, 3, 4), (2, 3)),
        (layers.SpatialDropout3D(0.5), (8, 2, 3, 4, 50), (1, 2, 3)),
        (layers.SpatialDropout3D(0.5, data_format="channels_first"), (8, 50, 2, 3, 4), (2, 3, 4)),
    ],
)
def test_spatial_dropout_drops_whole_channels(layer, shape, space):
    y = train(layer, jnp.ones(shape))
    channels = y.max(space)
    assert (y.min(space) == channels).all()
    assert 0.35 < (channels == 0).mean() < 0.65
    assert (channels[0] != channels[1]).any()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_gaussian_dropout_has_dropouts_mean_and_deviation(rate):
    y = train(layers.GaussianDropout(rate), ONES)
    assert abs(y.mean() - 1) < 0.01
    assert abs(y.std() - np.sqrt(rate / (1 - rate))) < 0.01


def test_gaussian_noise_has_its_deviation():
    y = train(layers.GaussianNoise(2.0), ONES)
    assert abs(y.mean() - 1) < 0.02
    assert abs(y.std() - 2) < 0.02


def test_alpha_dropout_keeps_mean_and_deviation():
    x = jax.random.normal(jax.random.key(0), (2000, 100))
    y = train(layers.AlphaDropout(0.3), x)
    assert abs(y.mean()) < 0.01
    assert abs(y.std() - 1) < 0.01
    values = np.unique(train(layers.AlphaDropout(0.3), ONES))
    oracle = np.unique(keras.layers.AlphaDropout(0.3)(ONES, training=True))
    np.testing.assert_allclose(values, oracle, rtol=1e-6)


@pytest.mark.parametrize("cls", [layers.Dropout, layers.AlphaDropout, layers.GaussianDropout,
                                 layers.SpatialDropout1D, layers.SpatialDropout2D])  # fmt: skip
def test_a_rate_is_a_probability(cls):
    for rate in (-0.1, 1.1, "half", None, float("nan")):
        with pytest.raises(ArgumentError, match=f"{cls.__name__}.*rate"):
            cls(rate)
    with pytest.raises(ArgumentError, match="seed"):
        cls(0.5, seed="now")


def test_other_arguments():
    for rate_one in (layers.AlphaDropout, layers.GaussianDropout):
        with pytest.raises(ArgumentError, match=r"\[0, 1\)"):
            rate_one(1.0)
    with pytest.raises(ArgumentError, match="stddev"):
        layers.GaussianNoise(-1)
    for noise_shape in ("s", (0, 3), (-1, 3), 4):
        with pytest.raises(ArgumentError, match="noise_shape"):
            layers.Dropout(0.5, noise_shape=noise_shape)
    with pytest.raises(ArgumentError, match="l1"):
        layers.ActivityRegularization(-1)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize(
    ("cls", "wanted"),
    [(layers.SpatialDropout1D, 3), (layers.SpatialDropout2D, 4), (layers.SpatialDropout3D, 5)],
)
def test_spatial_dropout_wants_its_rank(cls, wanted, symbolic):
    x = lamina.Input((3,)) if symbolic else np.ones((2, 3), "float32")
    received = r"\(batch, 3\)" if symbolic else r"\(2, 3\)"
    with pytest.raises(ShapeError, match=rf"culprit[\s\S]*{wanted} axes[\s\S]*{received}"):
        cls(0.5, name="culprit")(x)


@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
def test_training_in_sixteen_bits(case):
    layer = case.cls(**case.kwargs, dtype="mixed_bfloat16")
    assert train(layer, draw(case)[0]).dtype == jnp.bfloat16


def test_integers_become_floats_in_both_modes():
    x = np.arange(6).reshape(2, 3)
    for training in (False, True):
        assert layers.Dropout(0.5)(x, training=training).dtype == jnp.float32


@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
def test_gradients_see_the_same_draw(case):
    layer = case.cls(**case.kwargs)
    x = draw(case)[0]
    key = prng.base_key(0)

    def run(x):
        return layer.apply_pure({}, x, training=True, key=key)[0]

    y, pull = jax.vjp(jax.jit(run), x)
    gradient = pull(jnp.ones_like(y))[0]
    shift = run(x + 1) - run(x)
    np.testing.assert_allclose(gradient, shift, rtol=1e-3, atol=1e-4)


def test_activity_is_penalized_for_each_sample():
    x = np.array([[1.0, -2.0], [3.0, 4.0]], "float32")
    ours, theirs = (m.layers.ActivityRegularization(0.1, 0.2) for m in (lamina, keras))
    ours(x)
    theirs(x)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-6)
    np.testing.assert_allclose(ours.losses[0], (0.1 * 10 + 0.2 * 30) / 2, rtol=1e-6)


def test_masks_pass():
    embedding = layers.Embedding(5, 3, mask_zero=True)
    ids = lamina.Input(("time",), dtype="int32")
    for case in STOCHASTIC:
        if len(case.inputs[0][0]) == 3:
            assert case.cls(**case.kwargs)(embedding(ids)).mask is not None
