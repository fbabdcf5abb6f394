"""Values and gradients of every loss, against Keras."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
import lamina.losses
from tests.cases.losses import CASES

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "none", None, "mean_with_sample_weight"]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case, rng):
    y_true, y_pred = case.sample(rng)
    weights = [None] if case.values is None else [None, rng.uniform(0, 2, case.values).astype("f4")]
    reductions = REDUCTIONS
    if case.name != "MeanSquaredError":
        reductions = [r for r in REDUCTIONS if r not in ("mean", None)]  # the same as others
    if case.name == "CTC":
        reductions = ["sum_over_batch_size"]  # Keras compiles it anew at each call
    for sample_weight in weights:
        for reduction in reductions:
            ours = case.make(lamina.losses, reduction=reduction)(y_true, y_pred, sample_weight)
            theirs = case.make(keras.losses, reduction=reduction)(y_true, y_pred, sample_weight)
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=str(reduction))

    def gradient(loss):
        return jax.grad(lambda p: loss(y_true, p, weights[-1]))(jnp.asarray(y_pred))

    ours, theirs = gradient(case.make(lamina.losses)), gradient(case.make(keras.losses))
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


FUNCTIONS = sorted(
    name
    for name in lamina.losses.__all__
    if name.islower() and name not in ("get", "serialize", "deserialize", "as_loss")
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_kerass_arguments(name):
    ours, theirs = getattr(lamina.losses, name), getattr(keras.losses, name)
    class_name = next(c.name for c in CASES if c.name.lower() == name.replace("_", ""))
    case = next(c for c in CASES if c.name == class_name)
    y_true, y_pred = case.sample(np.random.default_rng(3))
    more = {"q": 0.6} if name == "categorical_generalized_cross_entropy" else {}
    np.testing.assert_allclose(
        ours(y_true, y_pred, **more), theirs(y_true, y_pred, **more), rtol=2e-5, atol=1e-6
    )


ALIASES = [
    "mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "bce", "BCE", "kld", "KLD", "huber",
    "log_cosh", "dice", "ctc",
]  # fmt: skip


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias):
    assert lamina.losses.get(alias).__name__ == keras.losses.get(alias).__name__


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_mask_removes_values(reduction, rng):
    y_true, y_pred = rng.normal(size=(2, 3, 4, 2)).astype("f4")
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    for sample_weight in (None, rng.uniform(size=(3, 4)).astype("f4")):
        theirs, ours = jnp.asarray(y_pred), jnp.array(y_pred)
        theirs._keras_mask = jnp.asarray(mask)
        lamina.core.scope.set_mask(ours, mask)
        np.testing.assert_allclose(
            lamina.losses.MeanSquaredError(reduction=reduction)(y_true, ours, sample_weight),
            keras.losses.MeanSquaredError(reduction=reduction)(y_true, theirs, sample_weight),
            rtol=1e-5,
        )


def test_gradients_where_keras_has_none():
    """Vectors of zeros and rows without any probability: finite here."""
    zeros = jnp.zeros((2, 3))
    for fn in (lamina.losses.cosine_similarity, lamina.losses.categorical_focal_crossentropy):
        assert jnp.isfinite(jax.grad(lambda p, fn=fn: fn(np.ones((2, 3)), p).sum())(zeros)).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_keras_reads_our_config(case):
    loss = case.make(lamina.losses)
    if case.name == "CategoricalGeneralizedCrossEntropy":
        pytest.skip("Keras's own table lacks it")
    theirs = keras.losses.deserialize(lamina.losses.serialize(loss))
    assert type(theirs).__name__ == type(loss).__name__
    ours = lamina.losses.deserialize(keras.losses.serialize(theirs))
    assert type(ours) is type(loss)
