"""Convolutions in Lamina's form against XLA's own: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina.ops.lowering.conv import conv, conv_transpose, depthwise_conv

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}

CONV = [
    # x, kernel, strides, padding, dilation, groups
    ((2, 8, 9, 5), (3, 3, 5, 4), (1, 1), "valid", (1, 1), 1),
    ((2, 8, 9, 5), (3, 2, 5, 4), (2, 1), "same", (1, 1), 1),
    ((2, 9, 9, 1), (3, 3, 1, 4), (1, 1), "valid", (1, 1), 1),  # few channels: a matrix product
    ((2, 9, 9, 3), (3, 3, 3, 4), (2, 2), "same", (1, 1), 1),
    ((2, 9, 9, 3), (3, 3, 3, 4), (1, 1), "same", (2, 2), 1),
    ((2, 2, 2, 6), (3, 3, 6, 4), (1, 1), "same", (3, 3), 1),  # more zeros than input
    ((2, 7, 7, 6), (3, 3, 3, 4), (1, 1), "same", (1, 1), 2),  # groups
    ((2, 12, 5), (5, 5, 3), (1,), "valid", (1,), 1),
    ((2, 5, 6, 7, 2), (3, 2, 3, 2, 4), (2, 1, 1), "same", (1, 1, 1), 1),  # planes
    ((3, 7, 8, 5), (1, 1, 5, 4), (2, 3), "same", (1, 1), 1),  # one entry: a matrix product
    ((3, 6, 5, 4, 5), (1, 1, 1, 5, 4), (1, 1, 1), "valid", (1, 1, 1), 1),
    ((1, 2, 2, 1024), (1, 1, 1024, 512), (1, 1), "valid", (1, 1), 1),
]
DEPTHWISE = [
    ((2, 8, 9, 6), (3, 3, 6, 1), (1, 1), "same", (1, 1)),
    ((2, 8, 9, 6), (3, 2, 6, 2), (2, 2), "valid", (1, 1)),
    ((2, 9, 9, 6), (3, 3, 6, 3), (1, 1), "same", (2, 2)),
    ((2, 11, 4), (5, 4, 2), (1,), "valid", (1,)),
    ((48, 7, 6, 3), (3, 3, 3, 1), (1, 1), "same", (1, 1)),  # blocks of many samples
    ((2, 3000, 1, 4), (3, 1, 4, 1), (1, 1), "same", (1, 1)),  # and of many rows
    ((2, 301, 5, 4), (5, 2, 4, 1), (3, 1), "same", (1, 1)),
    ((2, 3, 6, 5, 4), (2, 3, 2, 4, 1), (1, 1, 1), "valid", (1, 1, 1)),
    ((4, 13, 14, 5), (5, 5, 5, 1), (2, 2), "same", (1, 1)),
    ((6, 14, 9, 5), (4, 5, 5, 2), (3, 2), "valid", (1, 1)),
    ((2, 15, 17, 3), (5, 5, 3, 1), (1, 1), "same", (2, 3)),
    ((2, 9, 60, 3), (1, 12, 3, 1), (2, 5), "valid", (1, 1)),
]
TRANSPOSED = [
    # x, kernel, strides, padding, dilation, output padding
    ((2, 6, 5, 4), (3, 3, 6, 4), (1, 1), "valid", (1, 1), None),
    ((2, 6, 5, 4), (3, 3, 6, 4), (1, 1), "same", (1, 1), None),
    ((2, 6, 5, 4), (2, 2, 6, 4), (2, 2), "valid", (1, 1), None),
    ((2, 6, 5, 4), (3, 3, 6, 4), (2, 3), "same", (1, 1), None),
    ((2, 6, 5, 4), (4, 3, 6, 4), (2, 2), "valid", (1, 1), (1, 0)),
    ((2, 6, 5, 4), (3, 3, 6, 4), (1, 1), "valid", (2, 2), None),
    ((2, 7, 4), (3, 5, 4), (2,), "same", (1,), None),
]


def same_numbers(ours, theirs, x_shape, kernel_shape):
    """Values and both gradients agree to 1e-5 of the largest entry."""
    generator = np.random.default_rng(0)
    x, kernel = (generator.normal(size=s).astype("float32") for s in (x_shape, kernel_shape))
    shape = jax.eval_shape(theirs, x, kernel).shape
    weights = generator.normal(size=shape).astype("float32")

    @jax.jit
    def both(x, kernel, weights):
        results = []
        for form in (ours, theirs):
            y, pull = jax.vjp(form, x, kernel)
            results.append((y, *pull(weights)))
        return results

    for found, expected in zip(*both(x, kernel, weights), strict=True):
        assert found.shape == expected.shape
        atol = 1e-5 * np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("case", CONV, ids=repr)
def test_convolution_is_xlas(case):
    x, kernel, strides, padding, dilation, groups = case
    plain = lambda x, k: lax.conv_general_dilated(
        x, k, strides, padding.upper(), rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=LAYOUTS[len(strides)],
    )  # fmt: skip
    same_numbers(lambda x, k: conv(x, k, strides, padding, dilation, groups), plain, x, kernel)


@pytest.mark.parametrize("case", DEPTHWISE, ids=repr)
def test_convolution_by_channel_is_xlas(case):
    x, kernel, strides, padding, dilation = case
    channels = x[-1]
    plain = lambda x, k: lax.conv_general_dilated(
        x, k.reshape(*kernel[:-2], 1, -1), strides, padding.upper(), rhs_dilation=dilation,
        feature_group_count=channels, dimension_numbers=LAYOUTS[len(strides)],
    )  # fmt: skip
    same_numbers(lambda x, k: depthwise_conv(x, k, strides, padding, dilation), plain, x, kernel)


@pytest.mark.parametrize("case", TRANSPOSED, ids=repr)
def test_transposed_convolution_is_the_gradient_of_xlas(case):
    x, kernel, strides, padding, dilation, output_padding = case
    ours = lambda x, k: conv_transpose(x, k, strides, padding, dilation, output_padding)
    shape = jax.eval_shape(ours, jnp.zeros(x), jnp.zeros(kernel)).shape
    edges = padding.upper()
    if output_padding is not None:
        edges = [(0, 0)] * len(strides)

    def plain(x, k):
        forward = lambda y: lax.conv_general_dilated(
            y, k, strides, edges, rhs_dilation=dilation, dimension_numbers=LAYOUTS[len(strides)]
        )
        _, pull = jax.vjp(forward, jnp.zeros(shape))
        return pull(x)[0]

    same_numbers(ours, plain, x, kernel)


def test_sums_of_the_depthwise_gradient_have_no_axis_of_size_one():
    """XLA:CPU takes six times as long with one."""
    x, kernel = jnp.ones((2, 6, 6, 4)), jnp.ones((3, 3, 4, 1))
    loss = lambda k: depthwise_conv(x, k, (1, 1), "valid", (1, 1)).sum()
    text = jax.jit(jax.grad(loss)).lower(kernel).as_text()
    sums = [line for line in text.splitlines() if "stablehlo.reduce(" in line]
    assert sums
    assert not any("x4x1xf32>" in line for line in sums)


def test_kernels_gradients_of_low_precision_are_summed_in_float32():
    x, kernel = jnp.ones((64, 32, 32, 2), "bfloat16"), jnp.ones((3, 3, 2, 1), "bfloat16")
    loss = lambda k: depthwise_conv(x, k, (1, 1), "valid", (1, 1)).sum(dtype="float32")
    np.testing.assert_allclose(jax.grad(loss)(kernel).astype("float32"), 64 * 30 * 30, rtol=0.01)


@pytest.mark.parametrize("window", [(3, 2), (5, 4)])
def test_convolution_by_channel_has_every_derivative(window):
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype("float32") for s in ((2, 9, 7, 3), (*window, 3, 2)))
    plain = lambda x, k: lax.conv_general_dilated(
        x, k.reshape(*window, 1, -1), (2, 1), "SAME", feature_group_count=3,
        dimension_numbers=LAYOUTS[2],
    )  # fmt: skip
    ours = lambda x, k: depthwise_conv(x, k, (2, 1), "same", (1, 1))

    def norm_of_gradient(fn, x, k):
        return sum(jnp.sum(g * g) for g in jax.grad(lambda *a: jnp.sum(fn(*a) ** 3), (0, 1))(x, k))

    for derivative in (
        lambda fn: jax.jvp(fn, (x, kernel), (x + 1, kernel - 1)),
        lambda fn: jax.grad(norm_of_gradient, (1, 2))(fn, x, kernel),
        lambda fn: jax.vmap(jax.grad(lambda k, x: jnp.sum(fn(x, k) ** 2)), (None, 0))(
            kernel, x[:, None]
        ),
    ):
        pair = (jax.tree.leaves(jax.jit(lambda f=f: derivative(f))()) for f in (ours, plain))  # noqa: B023
        for found, expected in zip(*pair, strict=True):
            atol = 1e-5 * np.max(np.abs(expected))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)
