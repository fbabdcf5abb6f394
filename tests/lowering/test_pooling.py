"""Pooling in Lamina's form against XLA's own windows: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from lamina.ops.lowering.pooling import average_pool, max_pool

CASES = [
    # sizes, window, strides, padding: windows that do not overlap, and windows that do
    ((2, 6, 6, 3), (3, 3), (3, 3), "valid"),
    ((2, 7, 8, 3), (3, 2), (3, 2), "valid"),
    ((2, 7, 8, 3), (3, 2), (3, 2), "same"),
    ((3, 9, 4), (2,), (2,), "valid"),
    ((1, 4, 5, 6, 2), (2, 2, 3), (2, 2, 3), "same"),
    ((2, 12, 12, 2), (9, 9), (9, 9), "valid"),  # too many entries for tiles
    ((2, 7, 8, 3), (3, 2), (1, 1), "same"),
    ((2, 8, 8, 3), (3, 3), (2, 2), "valid"),
    ((2, 4, 4, 3), (2, 2), (3, 3), "same"),
]


def drawn(shape, seed=0):
    """Numbers with many that are equal, as after a ReLU."""
    return jnp.asarray(np.random.default_rng(seed).integers(-2, 3, shape).clip(0), "float32")


def by_windows(x, window, strides, padding):
    sizes, steps = (1, *window, 1), (1, *strides, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, steps, padding.upper())


def mean_by_windows(x, window, strides, padding):
    sizes, steps = (1, *window, 1), (1, *strides, 1)
    add = lambda a: lax.reduce_window(a, 0.0, lax.add, sizes, steps, padding.upper())
    return add(x) / add(jnp.ones_like(x))


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("kind", ["max", "average"])
def test_values_and_gradients_are_xlas(kind, case):
    shape, *options = case
    ours, theirs = {"max": (max_pool, by_windows), "average": (average_pool, mean_by_windows)}[kind]

    @jax.jit
    def both(x, seed):
        results = []
        for form in (ours, theirs):
            y, pull = jax.vjp(lambda x, form=form: form(x, *options), x)
            results.append((y, pull(jax.random.normal(seed, y.shape))[0]))
        return results

    (y, gradient), (y_xla, gradient_xla) = both(drawn(shape), jax.random.key(0))
    np.testing.assert_allclose(y, y_xla, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, gradient_xla, rtol=1e-5, atol=1e-5)


def test_tiles_have_the_derivatives_of_their_values():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    pooled = jax.jit(lambda x: jnp.sum(jnp.sin(max_pool(x, (3, 3), (3, 3), "valid")) ** 2))
    check_grads(pooled, (x,), order=2, rtol=0.05)


@pytest.mark.parametrize("strides", [1, 3])
def test_nan_comes_out(strides):
    x = drawn((1, 6, 6, 1)).at[0, 4, 4, 0].set(jnp.nan)
    y = max_pool(x, (3, 3), (strides,) * 2, "valid")
    expected = by_windows(x, (3, 3), (strides,) * 2, "valid")
    np.testing.assert_array_equal(jnp.isnan(y), jnp.isnan(expected))


def test_tiles_are_compiled_without_padding_in_the_gradient():
    """The gradient is one pass over the tiles: no entry's share is padded to the input's size."""
    x = drawn((2, 6, 6, 3))
    gradient = jax.grad(lambda x: max_pool(x, (3, 3), (3, 3), "valid").sum())
    assert " pad(" not in jax.jit(gradient).lower(x).as_text("hlo")
