import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError
from tests.cases.layers_activation import CASES
from tests.differential.oracle import compare


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # Keras, on integers
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (2, 1)])
def test_masked_softmax(shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 3)), "float32")
    mask = jnp.asarray(rng.random(shape) > 0.3)
    ours, theirs = layers.Softmax(), keras.layers.Softmax()

    def loss(layer, x):
        return jnp.sum(jnp.sin(layer(x, mask=mask)))

    np.testing.assert_allclose(ours(x, mask=mask), theirs(x, mask=mask), rtol=1e-6)
    np.testing.assert_allclose(
        jax.grad(lambda x: loss(ours, x))(x), jax.grad(lambda x: loss(theirs, x))(x),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_a_softmax_without_anything_left_is_zero():
    x = jnp.ones((2, 3))
    y, pull = jax.vjp(lambda x: layers.Softmax()(x, mask=jnp.zeros((2, 3), bool)), x)
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pull(x)[0], 0)


def test_a_mask_of_time_steps_hides_whole_steps():
    embedding = layers.Embedding(5, 3, mask_zero=True)
    y = layers.Softmax(axis=1)(embedding(np.array([[1, 2, 0]])))
    np.testing.assert_array_equal(y[0, 2], 0)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)


def test_a_mask_that_does_not_fit():
    for shape in ((3,), (2, 2), (2, 3, 1)):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*\(2, 3\)"):
            layers.Softmax(name="culprit")(np.ones((2, 3), "float32"), mask=np.ones(shape, bool))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: layers.ReLU(-1.0), "max_value"),
        (lambda: layers.ReLU(negative_slope=-0.1), "negative_slope"),
        (lambda: layers.ReLU(negative_slope=None), "negative_slope"),
        (lambda: layers.ReLU(threshold=-1), "threshold"),
        (lambda: layers.LeakyReLU(-1), "negative_slope"),
        (lambda: layers.LeakyReLU(None), "negative_slope"),
        (lambda: layers.LeakyReLU(alpha=-1), "expected a number"),
        (lambda: layers.ELU("a"), "alpha"),
        (lambda: layers.PReLU(shared_axes=[0]), "shared_axes"),
        (lambda: layers.PReLU(shared_axes=-1), "shared_axes"),
        (lambda: layers.PReLU(shared_axes="all"), "shared_axes"),
    ],
)
def test_wrong_arguments(make, argument):
    with pytest.raises(ArgumentError, match=argument):
        make()


def test_the_old_name_of_the_slope():
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2
    assert layers.LeakyReLU(alpha=0.2).get_config()["negative_slope"] == 0.2


def test_prelu_needs_known_sizes_or_shared_axes():
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*PReLU\(shared_axes=\[1\]\)"):
        layers.PReLU(name="culprit")(lamina.Input((None, 3)))
    with pytest.raises(ShapeError, match=r"culprit[\s\S]*below 3"):
        layers.PReLU(shared_axes=[3], name="culprit")(lamina.Input((4, 3)))
    y = layers.PReLU(shared_axes=[1, 2])(lamina.Input(("height", "width", 3)))
    assert y.dims == ("batch", "height", "width", 3)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 3)])
def test_prelu_for_another_shape_than_when_built(shape, symbolic):
    layer = layers.PReLU(shared_axes=[1], name="culprit")
    layer.build((None, 5, 3))
    x = lamina.Input(shape[1:]) if symbolic else np.ones(shape, "float32")
    received = str(shape).replace("2", "batch", 1) if symbolic else str(shape)
    with pytest.raises(ShapeError, match="culprit") as e:
        layer(x)
    assert "expected" in str(e.value)
    assert received in str(e.value)
