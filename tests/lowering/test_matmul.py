"""Products with one matrix against ``jnp.matmul``: values and gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops
from lamina.ops.lowering.matmul import matmul


@pytest.mark.parametrize(
    ("x", "kernel"),
    [
        ((4, 9, 6), (6, 5)),
        ((4, 3, 5, 6), (6, 5)),
        ((1, 50, 2), (2, 3)),
        ((4, 6), (6, 5)),
        ((4, 2, 30), (30, 20)),  # a kernel larger than what each sample has
        ((0, 9, 6), (6, 5)),
    ],
)
def test_values_and_gradients_are_those_of_one_product(x, kernel):
    generator = np.random.default_rng(0)
    x, kernel, weights = (
        generator.normal(size=shape).astype("float32")
        for shape in (x, kernel, (*x[:-1], kernel[-1]))
    )

    @jax.jit
    def both(x, kernel, weights):
        results = []
        for form in (matmul, jnp.matmul):
            y, pull = jax.vjp(form, x, kernel)
            results.append((y, *pull(weights), jax.jvp(form, (x, kernel), (x, kernel))[1]))
        return results

    for found, expected in zip(*both(x, kernel, weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


class _Product(layers.Layer):
    def __init__(self, op):
        super().__init__()
        self.op = op

    def build(self, shape):
        self.w = self.add_weight((shape[-1], 8))

    def call(self, x):
        return self.op(x, self.w)


def _tied():
    layer = layers.ReversibleEmbedding(8, 3)
    layer.call = functools.partial(layer.call, reverse=True)
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(8),
        lambda: layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 4)),
        lambda: layers.EinsumDense("...c,cd->...d", output_shape=(8,)),
        lambda: layers.EinsumDense("abc,bcd->ad", output_shape=8),
        lambda: layers.Conv1D(8, 1),
        lambda: layers.Conv1D(8, 3),
        lambda: _Product(ops.matmul),
        lambda: _Product(ops.dot),
        _tied,
    ],
)
def test_gradients_of_kernels_sum_over_one_axis(make):
    """XLA:CPU copies and transposes the inputs of products that sum over several axes."""
    x, layer = jnp.ones((4, 9, 3)), make()
    layer.build(x.shape)
    weights, others = ([v.value for v in group] for group in (
        layer.trainable_variables, layer.non_trainable_variables))  # fmt: skip
    loss = lambda w: jnp.sum(layer.stateless_call(w, others, x)[0])
    text = jax.jit(jax.grad(loss)).lower(weights).as_text()
    summed = re.findall(r"contracting_dims = \[([\d, ]*)\] x", text)
    assert summed
    assert not any("," in axes for axes in summed), text


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8", "bfloat16"])
@pytest.mark.parametrize("form", [ops.matmul, matmul])
def test_kernels_of_other_dtypes_than_the_inputs_have_gradients(form, dtype):
    x, kernel = jnp.asarray(np.arange(24).reshape(2, 3, 4) % 3, dtype), jnp.ones((4, 5))
    found, expected = (
        jax.grad(lambda k, f=f: jnp.sum(f(x, k) ** 2))(kernel) for f in (form, jnp.matmul)
    )
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layers_train_on_integers():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    x = np.arange(24).reshape(2, 3, 4) % 3
    model = Net()
    model.compile("sgd", "mse")
    before = model.predict(x, verbose=0)
    model.fit(x, np.ones((2, 3, 1)), verbose=0)
    assert not np.allclose(model.predict(x, verbose=0), before)


def test_sums_over_several_axes_are_those_of_tensordot():
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype("float32") for s in ((2, 3, 4, 5), (4, 5, 6, 7)))
    np.testing.assert_allclose(matmul(x, kernel, 2), jnp.tensordot(x, kernel, 2), rtol=1e-5)
    ones = np.ones((1, 300, 4), "int8")
    assert matmul(ones, np.full((4, 3), 100, "int8"), dtype="int32").tolist()[0][0] == [400] * 3
