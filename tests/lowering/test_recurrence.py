"""Steps as they are looped over on this platform, against the formulas they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import lamina as keras
from lamina.ops.lowering.recurrence import product, squash

RNG = np.random.default_rng(0)


def test_squashed_parts_are_sigmoids_and_tangents():
    x = jnp.asarray(RNG.normal(0, 20, (3, 4, 50)), "float32")
    i, g = squash(jnp.concatenate([x, x], -1), (True, False))
    np.testing.assert_allclose(i, 1 / (1 + np.exp(-np.asarray(x, "float64"))), atol=1.5e-7)
    np.testing.assert_allclose(g, np.tanh(np.asarray(x, "float64")), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_product_has_the_derivatives_of_a_matrix_product(dtype):
    x, kernel = (jnp.asarray(RNG.normal(size=s), dtype) for s in ((5, 3), (3, 7)))
    transposed = jax.lax.optimization_barrier(kernel.T)

    def loss(product):
        return lambda x, kernel: jnp.sin(product(x, kernel)).astype("float32").sum()

    ours, plain = loss(lambda x, k: product(x, k, transposed)), loss(jnp.matmul)
    assert ours(x, kernel) == plain(x, kernel)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    for a, b in zip(jax.grad(ours, (0, 1))(x, kernel), jax.grad(plain, (0, 1))(x, kernel),
                    strict=True):  # fmt: skip
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype("float32"), b.astype("float32"), atol=tolerance)


@pytest.mark.parametrize(("cls", "activation"), [
    (keras.layers.SimpleRNN, "tanh"), (keras.layers.GRU, "tanh"), (keras.layers.LSTM, "tanh"),
    (keras.layers.LSTM, "softplus"),  # has no short form
])  # fmt: skip
def test_a_layer_can_be_differentiated_both_ways_and_twice(cls, activation):
    layer = cls(3, activation=activation, return_sequences=True)
    x = jnp.asarray(RNG.normal(size=(2, 4, 5)), "float32")
    layer(x)
    weights = [w.value for w in layer.weights]
    check_grads(
        jax.jit(lambda weights, x: layer.stateless_call(weights, [], x)[0]), (weights, x), order=2,
        modes=("fwd", "rev"), atol=0.05, rtol=0.05, eps=3e-3,
    )  # fmt: skip


def test_the_usual_step_equals_the_one_written_out():
    lstm = keras.layers.LSTM(6)
    x = jnp.asarray(RNG.normal(size=(3, 7, 4)), "float32")
    lstm(x)
    kernel, recurrent, bias = (w.value for w in lstm.weights)

    def by_hand(weights):
        kernel, recurrent, bias = weights
        h = c = jnp.zeros((3, 6))
        for t in range(7):
            i, f, g, o = jnp.split(x[:, t] @ kernel + h @ recurrent + bias, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return h.sum()

    def ours(weights):
        return lstm.stateless_call(weights, [], x)[0].sum()

    weights = [kernel, recurrent, bias]
    for a, b in zip(*(jax.tree.leaves(jax.value_and_grad(f)(weights)) for f in (by_hand, ours)),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
