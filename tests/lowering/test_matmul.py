"""Products with one matrix against ``jnp.matmul``: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize(("units", "by_sample"), [(8, True), (4096, False)])
def test_only_small_kernels_are_made_sample_by_sample(units, by_sample):
    x, kernel = jnp.ones((4, 16, 8)), jnp.ones((8, units))
    pull = lambda x, kernel: jax.grad(lambda k: matmul(x, k).sum())(kernel)
    text = jax.jit(pull).lower(x, kernel).as_text()
    assert (f"tensor<4x8x{units}xf32>" in text or f"tensor<4x{units}x8xf32>" in text) == by_sample
