"""Every metric after three updates, with and without weights, against Keras."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

import lamina.losses
import lamina.metrics
from tests.cases.metrics import CASES

# Keras converts to int64 here and there, and JAX says that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")


def theirs_of(case):
    kwargs = {**case.kwargs}
    if case.name == "MeanMetricWrapper":
        kwargs["fn"] = getattr(keras.losses, kwargs["fn"])
    if "IoU" in case.name:
        kwargs["dtype"] = "float32"  # whole numbers otherwise, which would round the weights
    return getattr(keras.metrics, case.name)(**kwargs)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_three_updates(case, weighted):
    if case.kwargs.get("ignore_class") is not None and "Crossentropy" in case.name:
        pytest.skip("Keras's metric divides by the ignored entries too, unlike its loss")
    rng = np.random.default_rng(11)
    ours, theirs = case.make(lamina.metrics), theirs_of(case)
    for _ in range(3):
        batch = case.sample(rng)
        weights = rng.uniform(0, 2, case.values).astype("f4") if weighted else None
        flat = weights
        if weighted and "IoU" in case.name:
            whole = weights.reshape(6, -1)  # Keras wants one weight for each entry, flat
            flat = np.broadcast_to(whole, batch[0].shape[:2]).ravel()
        ours.update_state(*batch, sample_weight=weights)
        theirs.update_state(*batch, sample_weight=flat)
        np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5, atol=1e-6)
    assert ours.result().dtype == "float32"
    if weighted:
        return
    ours.reset_state()
    theirs.reset_state()
    ours.update_state(*batch)
    theirs.update_state(*batch)
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5, atol=1e-6)


KNOWN = {  # what Keras calls them, and what stands behind
    name: type(keras.metrics.get(name)).__name__
    for name in ["mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "bce", "BCE", "auc",
                 "accuracy", "precision", "recall", "r2_score", "f1_score", "kl_divergence",
                 "cosine_similarity", "log_cosh_error", "poisson", "hinge", "binary_accuracy",
                 "sparse_categorical_accuracy", "top_k_categorical_accuracy", "mean", "sum",
                 "root_mean_squared_error", "SparseCategoricalCrossentropy", "KLDivergence"]
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_names(name):
    assert type(lamina.metrics.get(name)).__name__ == KNOWN[name]


def test_automatic_names_are_kerass():
    for case in CASES:
        ours, theirs = case.make(lamina.metrics), theirs_of(case)
        assert re.sub(r"_\d+$", "", ours.name) == re.sub(r"_\d+$", "", theirs.name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_keras_reads_our_config(case):
    if case.name == "MeanMetricWrapper":
        pytest.skip("Keras saves it with the function as a record, we by name")
    metric = case.make(lamina.metrics)
    theirs = keras.metrics.deserialize(lamina.metrics.serialize(metric))
    assert type(theirs).__name__ == type(metric).__name__
    if "label_weights" not in case.kwargs:  # a tensor there
        ours = lamina.metrics.deserialize(keras.metrics.serialize(theirs))
        assert type(ours) is type(metric)


FUNCTIONS = {
    "binary_accuracy": "BinaryAccuracy",
    "categorical_accuracy": "CategoricalAccuracy",
    "concordance_correlation": "ConcordanceCorrelation",
    "pearson_correlation": "PearsonCorrelation",
    "sparse_categorical_accuracy": "SparseCategoricalAccuracy",
    "sparse_top_k_categorical_accuracy": "SparseTopKCategoricalAccuracy",
    "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    case = next(c for c in CASES if c.name == FUNCTIONS[name])
    batch = case.sample(np.random.default_rng(2))
    np.testing.assert_allclose(
        getattr(lamina.metrics, name)(*batch, **case.kwargs),
        getattr(keras.metrics, name)(*batch, **case.kwargs),
        rtol=1e-5,
    )


def test_everything_public_in_keras_is_here():
    for ours, theirs in ((lamina.metrics, keras.metrics), (lamina.losses, keras.losses)):
        names = {n for n in dir(theirs) if not n.startswith("_")}
        assert names <= set(ours.__all__)


def test_counts_are_members():
    for k in (lamina, keras):
        precision, recall = k.metrics.Precision(), k.metrics.Recall()
        overlap = k.metrics.MeanIoU(2)
        for metric in (precision, recall, overlap):
            metric.update_state([1, 0, 1, 1], [1, 1, 0, 1])
        assert np.asarray(precision.false_positives).tolist() == [1]
        assert np.asarray(recall.false_negatives).tolist() == [1]
        assert np.asarray(overlap.total_cm).tolist() == [[0, 1], [1, 2]]


def test_a_state_of_variables_is_read():
    metric = lamina.metrics.MeanAbsoluteError()
    state = metric.stateless_update_state(metric.variables, [1.0, 0.0], [0.0, 0.0])
    assert [float(x) for x in state] == [1.0, 2.0]
    assert float(metric.stateless_result(metric.variables)) == 0
    assert float(metric.stateless_result(state)) == 0.5


@pytest.mark.parametrize("arguments", [{}, {"curve": "PR"}, {"multi_label": True}])
def test_areas_under_curves_of_scores_beyond_probabilities(arguments):
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, (20, 2)), rng.normal(scale=3, size=(20, 2)).astype("float32")
    ours, theirs = (k.metrics.AUC(**arguments)(y, scores) for k in (lamina, keras))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_r2_of_nothing_is_nan():
    for k in (lamina, keras):
        metric = k.metrics.R2Score()
        assert np.isnan(metric([[1.0], [2.0]], [[1.0], [2.0]], sample_weight=[0.0, 0.0]))
