"""The estimators in scikit-learn's own checks, in its tools, and beside Keras's."""

import inspect
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lamina
from lamina.errors import ArgumentError, NotCompiledError, ShapeError
from lamina.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

NAMES = ("SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer")
QUIET = {"epochs": 1, "verbose": 0}
REGRESSION = {"activation": None, "loss": "mse"}
FLOWERS = make_classification(60, 5, random_state=0)
PRICES = make_regression(60, 5, random_state=0)


def network(X, y, activation="softmax", loss="categorical_crossentropy", rate=0.01):
    lamina.utils.set_random_seed(0)
    model = lamina.Sequential(
        [lamina.Input((X.shape[1],)), lamina.layers.Dense(y.shape[1], activation=activation)]
    )
    model.compile(lamina.optimizers.SGD(rate), loss)
    return model


# What scikit-learn asks of an estimator, and these are not.
EXPECTED_FAILURES = {
    "SKLearnClassifier": {
        "check_classifiers_train": "decision_function has a column for each class, also for two",
        "check_classifiers_classes": "decision_function has a column for each class, also for two",
        "check_classifiers_one_label_sample_weights": "samples of weight 0 still have a class",
    },
    "SKLearnRegressor": {
        "check_regressor_multioutput": "predictions are float32, as the model's outputs",
    },
    "SKLearnTransformer": {},
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [
        SKLearnClassifier(network, fit_kwargs=QUIET),
        SKLearnRegressor(network, model_kwargs=REGRESSION, fit_kwargs=QUIET),
        SKLearnTransformer(network, model_kwargs=REGRESSION, fit_kwargs=QUIET),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES[type(estimator).__name__],
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", NAMES)
def test_interface_is_that_of_keras(name):
    ours, theirs = getattr(lamina.wrappers, name), getattr(keras.wrappers, name)

    def parameters(function):
        return [
            (p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()
        ]

    assert parameters(ours) == parameters(theirs)
    for method in ("fit", "predict", "decision_function", "transform", "score", "fit_transform"):
        assert hasattr(ours, method) == hasattr(theirs, method)
        if hasattr(ours, method):
            assert parameters(getattr(ours, method)) == parameters(getattr(theirs, method))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_keras(name):
    """Models with the same weights, which training at a rate of 0 leaves alone."""
    (X, y), activation = (FLOWERS, "softmax") if name == NAMES[0] else (PRICES, None)
    labels = np.array(["no", "yes"])[y] if name == NAMES[0] else y
    kernel = np.random.default_rng(0).normal(size=(5, 2 if name == NAMES[0] else 1))
    received = []
    for library in (lamina, keras):

        def fixed(X, y, library=library):
            model = library.Sequential(
                [library.Input((5,)), library.layers.Dense(y.shape[1], activation=activation)]
            )
            model.set_weights([kernel, np.zeros(y.shape[1])])
            model.compile(library.optimizers.SGD(0.0), "mse")
            return model

        estimator = getattr(library.wrappers, name)(fixed, fit_kwargs=QUIET).fit(X, labels)
        results = [estimator.predict(X)]
        if name == NAMES[0]:
            results += [estimator.classes_, estimator.decision_function(X)]
        if name == NAMES[2]:
            results[0] = estimator.transform(X)
        else:
            results.append(np.array(estimator.score(X, labels)))
        received.append(results)
    for ours, theirs in zip(*received, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, theirs)


# ------------------------------------------------------------------------------- in scikit-learn


def test_learns_in_a_pipeline_and_a_search():
    X, y = make_classification(200, 5, class_sep=2.0, random_state=1)
    estimator = SKLearnClassifier(network, fit_kwargs={"epochs": 5, "verbose": 0})
    search = GridSearchCV(
        make_pipeline(StandardScaler(), estimator),
        {"sklearnclassifier__model_kwargs": [{"rate": 1e-9}, {"rate": 0.5}]},
        cv=2,
    ).fit(X, y)
    assert search.best_params_ == {"sklearnclassifier__model_kwargs": {"rate": 0.5}}
    assert search.score(X, y) > 0.9


def test_transformer_in_a_pipeline():
    X, y = PRICES
    encoder = SKLearnTransformer(network, model_kwargs=REGRESSION, fit_kwargs=QUIET)
    assert encoder.fit_transform(X, X).shape == X.shape
    pipeline = make_pipeline(encoder, SKLearnRegressor(network, model_kwargs=REGRESSION))
    assert pipeline.fit(X, y, sklearnregressor__verbose=0).predict(X).shape == y.shape


def model_for(width, compiled=True):
    inputs = lamina.Input((5,))
    model = lamina.Model(inputs, lamina.layers.Dense(width)(inputs))
    if compiled:
        model.compile(lamina.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    return model


def test_a_model_is_copied_for_each_fit():
    X, y = PRICES
    model = model_for(1)
    before = model.get_weights()
    estimator = SKLearnRegressor(model, fit_kwargs={"epochs": 2, "verbose": 0})
    first = estimator.fit(X, y).model_
    second = estimator.fit(X, y, epochs=3).model_
    assert len({id(m) for m in (model, first, second)}) == 3
    assert len({id(m.optimizer) for m in (model, first, second)}) == 3
    assert first.optimizer.momentum == 0.9
    assert (estimator.epoch_, estimator.fit_kwargs) == (3, {"epochs": 2, "verbose": 0})
    assert {"loss", "mae"} <= estimator.history_.history.keys()
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert clone(estimator).model is model
    assert not hasattr(clone(estimator), "model_")


def test_warm_start_goes_on():
    X, y = PRICES
    estimator = SKLearnRegressor(model_for(1), warm_start=True, fit_kwargs=QUIET)
    model = estimator.fit(X, y).model_
    losses = [estimator.history_.history["loss"][0]]
    for _ in range(3):
        assert estimator.fit(X, y).model_ is model
        losses.append(estimator.history_.history["loss"][0])
    assert losses[-1] < losses[0] / 2


def test_sample_weights_arrive():
    X, y = np.ones((40, 1)), np.repeat([0.0, 1.0], 20)
    estimator = SKLearnRegressor(network, model_kwargs=REGRESSION | {"rate": 0.3})
    weights = np.repeat([1.0, 0.0], 20)
    received = [
        estimator.fit(X, y, epochs=20, verbose=0, sample_weight=w).predict(X[:1])[0]
        for w in (weights, 1 - weights)
    ]
    np.testing.assert_allclose(received, [0, 1], atol=0.02)


@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 2)])
def test_targets_of_several_columns(shape):
    X, y = PRICES[0], np.random.default_rng(0).normal(size=shape)
    estimator = SKLearnRegressor(network, model_kwargs=REGRESSION, fit_kwargs=QUIET).fit(X, y)
    assert estimator.predict(X).shape == (shape if shape[-1] == 2 else (60,))


@pytest.mark.parametrize("make", [lambda: model_for(1), lambda: network])
def test_pickled_with_its_model(make):
    X, y = PRICES
    options = None if isinstance(make(), lamina.Model) else REGRESSION
    estimator = SKLearnRegressor(
        make(), warm_start=True, model_kwargs=options, fit_kwargs=QUIET
    ).fit(X, y)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    assert again.history_.history == estimator.history_.history
    assert again.epoch_ == 1
    again.fit(X, y)
    estimator.fit(X, y)  # the optimizer's state came along
    np.testing.assert_allclose(again.predict(X), estimator.predict(X), rtol=1e-6)


# ---------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (SKLearnRegressor(3), ArgumentError, "a function that returns one. Received: 3"),
        (SKLearnRegressor(lambda X, y: 3), ArgumentError, "It returned: 3"),
        (SKLearnRegressor(lambda X, y: model_for(1, False)), NotCompiledError, "Call `compile"),
        (SKLearnClassifier(network), ValueError, "continuous"),
    ],
)
def test_fit_refuses(estimator, error, message):
    with pytest.raises(error, match=message):
        estimator.fit(*PRICES)


def test_other_mistakes():
    X, y = FLOWERS
    with pytest.raises(NotCompiledError, match="Call `compile"):
        SKLearnRegressor(model_for(1, compiled=False)).fit(X, y)
    with pytest.raises(NotFittedError):
        SKLearnRegressor(network).predict(X)
    with pytest.raises(ValueError, match="expecting 5 features"):
        SKLearnClassifier(network, fit_kwargs=QUIET).fit(X, y).predict(X[:, :2])
    with pytest.raises(ArgumentError, match=r"only one class is present: \[0\]"):
        SKLearnClassifier(network).fit(X, y * 0)
    with pytest.raises(ValueError, match="requires y"):
        SKLearnTransformer(network).fit(X, None)
    flat = model_for(1)
    estimator = SKLearnClassifier(network, fit_kwargs=QUIET).fit(X, y)
    estimator.model_ = flat
    with pytest.raises(ShapeError, match=r"each of its 2 classes.*\(60, 1\)"):
        estimator.predict(X)


def test_scikit_learn_is_loaded_on_first_use():
    code = """if True:
        import sys, lamina
        print(dir(lamina.wrappers), "sklearn" in sys.modules)
        sys.modules["sklearn"] = None  # as if it were not installed
        try:
            lamina.wrappers.SKLearnRegressor
        except ImportError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, message = run.stdout.strip().splitlines()
    assert names == f"{list(NAMES)} False"
    assert "pip install 'lamina[demo]'" in message
