"""Activations against Keras: the same values and gradients."""

import inspect

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import activations, ops
from tests.cases.activations import ACTIVATIONS

# No corner of any activation is among these points.
X = np.array([[-3.1, -1.7, -0.61, -0.33], [0.07, 0.43, 0.77, 1.3], [2.2, 4.1, 6.3, 9.1],
              [-7.7, 0.9, -0.13, 3.7]], "float32")  # fmt: skip
ROWS = [(name, arguments) for name, rows in ACTIVATIONS.items() for arguments in rows]


def test_every_activation_has_a_row():
    public = {n for n in activations.__all__ if n not in ("get", "serialize", "deserialize")}
    assert public == set(ACTIVATIONS)
    assert public == {
        n for n, f in vars(keras.activations).items() if inspect.isfunction(f)
    } - {"get", "serialize", "deserialize"}  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), [r for r in ROWS if r[0] != "sparsemax"])
def test_values_and_gradients(name, arguments):
    ours = _both(getattr(activations, name), arguments)
    theirs = _both(getattr(keras.activations, name), arguments)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-6)


def _both(f, arguments):
    def value_and_gradient(x):
        y, pull = jax.vjp(lambda x: f(x, **arguments), x)
        return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))[0]

    return jax.jit(value_and_gradient)(X)


@pytest.mark.parametrize("arguments", ACTIVATIONS["sparsemax"])
def test_sparsemax_is_the_nearest_point_of_the_simplex(arguments):
    # Keras 3.15 returns rows that do not sum to 1, such as [0.35, 0.15, 0] for [0.5, 0.3, -2].
    axis = arguments.get("axis", -1)
    x = X / 4
    p = np.asarray(activations.sparsemax(x, **arguments))
    np.testing.assert_allclose(p.sum(axis), 1, rtol=1e-6)
    assert (p >= 0).all()
    assert (p == 0).any()
    gap = np.where(p > 0, x - p, np.nan)  # the same tau wherever p > 0
    np.testing.assert_allclose(np.nanmax(gap, axis), np.nanmin(gap, axis), atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_narrow_dtypes_are_kept(name, dtype):
    f, x = getattr(activations, name), jax.ShapeDtypeStruct(X.shape, dtype)
    assert jax.eval_shape(lambda x: f(x, **ACTIVATIONS[name][-1]), x).dtype == dtype


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_names_and_files(name):
    f = getattr(activations, name)
    assert activations.get(name) is f
    assert activations.deserialize(activations.serialize(f)) is f
    assert activations.serialize(f) == keras.activations.serialize(getattr(keras.activations, name))


def test_none_is_linear_and_a_function_is_itself():
    assert activations.get(None) is activations.linear
    assert activations.get(len) is len


def test_unknown_name_lists_close_ones():
    with pytest.raises(ValueError, match=r"Unknown activation: 'reluu'. Did you mean 'relu'"):
        activations.get("reluu")


VALUES = [
    ("normalize", (X,), {}), ("normalize", (X, 0, 3), {}), ("normalize", (X, (0, 1)), {}),
    ("logsumexp", (X,), {}), ("logsumexp", (X, 1, True), {}),
    ("moments", (X, [0]), {}), ("moments", (X, (0, 1), True), {}),
    ("one_hot", (np.array([[0, 3], [-1, 5]]), 4), {}),
    ("one_hot", (np.array([2, 1]), 3, 0, "int32"), {}),
    ("multi_hot", (np.array([[0, 3], [1, 1]]), 4), {}), ("multi_hot", (np.array([0, 3]), 4), {}),
    ("top_k", (X, 2), {}), ("in_top_k", (np.array([0, 1, 2, 3]), np.round(X), 2), {}),
    ("in_top_k", (np.array([1, 0]), np.array([[0, np.inf, 1], [-np.inf, 0, 1]]), 1), {}),
    ("threshold", (np.array([1, 2, 3]), 2, 0), {}), ("threshold", (np.array([1, 2]), 1, 0.5), {}),
    ("erf", (X,), {}), ("erfinv", (X / 10,), {}), ("rsqrt", (np.abs(X),), {}),
    ("batch_normalization", (X, X[0], X[1] ** 2, -1), {"offset": X[2], "scale": X[3]}),
    ("layer_normalization", (X, X[2], X[3]), {}), ("layer_normalization", (X,), {"axis": 0}),
    ("rms_normalization", (X, X[2]), {}),
    ("binary_crossentropy", ((X > 0) * 1.0, np.abs(X) / 10), {}),
    ("binary_crossentropy", ((X > 0) * 1.0, X, True), {}),
    ("categorical_crossentropy", (np.eye(4), np.abs(X)), {}),
    ("categorical_crossentropy", (np.eye(4), X, True, 0), {}),
    ("sparse_categorical_crossentropy", (np.arange(4), np.abs(X)), {}),
    ("sparse_categorical_crossentropy", (np.arange(4)[:, None], X, True), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), VALUES)
def test_ops(name, args, kwargs):
    ours, theirs = getattr(ops, name)(*args, **kwargs), getattr(keras.ops, name)(*args, **kwargs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
