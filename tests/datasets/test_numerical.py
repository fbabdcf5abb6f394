"""One-hot rows and norms, beside Keras and by their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.errors import ArgumentError
from lamina.utils import normalize, to_categorical


@pytest.mark.parametrize(
    ("x", "num_classes"),
    [
        ([0, 2, 1], None),
        ([0, 2, 1], 5),
        ([[1], [2]], None),
        ([[1, 2], [0, 1]], None),
        ([[[1], [0]]], 3),
        (3, 5),
        ([], 3),
        ([0.0, 1.0], None),
        (np.uint8([255, 0]), None),
        (np.array([True, False]), None),
    ],
)
def test_to_categorical(x, num_classes):
    result = to_categorical(x, num_classes)
    labels = np.asarray(x)
    labels = labels[..., 0] if labels.ndim > 1 and labels.shape[-1] == 1 else labels
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float64
    assert result.shape == (*labels.shape, num_classes or int(labels.max()) + 1)
    if labels.size:
        np.testing.assert_array_equal(result.argmax(-1), labels)
        np.testing.assert_array_equal(result.sum(-1), np.ones(labels.shape))


def test_to_categorical_of_a_jax_array_is_numpy():
    assert isinstance(to_categorical(jnp.array([0, 1])), np.ndarray)


@pytest.mark.parametrize(
    ("x", "num_classes", "message"),
    [
        ([-1, 2], 3, "Received: -1"),
        ([0, 3], 3, "from 0 to 2. Received: 3"),
        ([0.5], None, "whole numbers as class indices. Received: .*0.5"),
        ([], None, "Pass `num_classes`"),
    ],
)
def test_to_categorical_refuses(x, num_classes, message):
    with pytest.raises(ArgumentError, match=message):
        to_categorical(x, num_classes)


@pytest.mark.parametrize("order", [1, 2, 3, np.inf])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalize(order, axis):
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    result = normalize(x, axis, order)
    assert result.dtype == x.dtype
    np.testing.assert_allclose(np.linalg.norm(result, order, axis), 1.0)
    np.testing.assert_allclose(result * np.linalg.norm(x, order, axis, keepdims=True), x)


def test_normalize_keeps_zeros_types_and_its_argument():
    x = np.array([[3, 4], [0, 0]])
    np.testing.assert_allclose(normalize(x), [[0.6, 0.8], [0, 0]])
    assert x.tolist() == [[3, 4], [0, 0]]
    assert normalize(np.float32([3, 4])).dtype == np.float32
    assert isinstance(normalize(jnp.ones(3)), jax.Array)
    assert isinstance(normalize([1.0, 2.0]), np.ndarray)
