"""SciKeras's two estimators, as scikit-learn uses them."""

import copy
import pickle

import keras
import numpy as np
from scikeras.wrappers import BaseWrapper, KerasClassifier, KerasRegressor
from sklearn import base, ensemble, model_selection, pipeline, preprocessing

rng = np.random.default_rng(0)
x = rng.normal(size=(40, 4)).astype("float32")
y = rng.integers(0, 3, 40)
z = x.sum(1)


def classes(meta, hidden=5):
    model = keras.Sequential([keras.Input((meta["n_features_in_"],))])
    model.add(keras.layers.Dense(hidden, activation="relu"))
    two = meta["target_type_"] == "binary"
    model.add(keras.layers.Dense(1 if two else meta["n_classes_"], "sigmoid" if two else "softmax"))
    model.compile("adam", "binary_crossentropy" if two else "sparse_categorical_crossentropy")
    return model


def numbers(meta, compile_kwargs, hidden=5):
    model = keras.Sequential([keras.Input((meta["n_features_in_"],))])
    model.add(keras.layers.Dense(hidden, activation="relu"))
    model.add(keras.layers.Dense(meta["n_outputs_"]))
    model.compile(**compile_kwargs)
    return model


def classifier(**kwargs):
    return KerasClassifier(classes, epochs=2, verbose=0, **kwargs)


def regressor(**kwargs):
    return KerasRegressor(numbers, epochs=2, verbose=0, loss="mse", optimizer="adam", **kwargs)


def use_classifier():
    fitted = classifier().fit(x, y)
    assert fitted.predict(x).shape == (40,)
    assert fitted.predict_proba(x).shape == (40, 3)
    assert 0 <= fitted.score(x, y) <= 1
    assert len(fitted.history_["loss"]) == 2


def use_binary_classifier():
    fitted = classifier().fit(x, y > 0)
    assert fitted.predict_proba(x).shape == (40, 2)


def use_classes_that_are_text():
    assert classifier().fit(x, np.array(["a", "b", "c"])[y]).predict(x).dtype.kind in "UO"


def use_class_weight():
    classifier(class_weight="balanced").fit(x, y, sample_weight=np.ones(40))


def use_regressor():
    fitted = regressor().fit(x, z)
    assert fitted.predict(x).shape == (40,)
    assert fitted.score(x, z) <= 1


def use_several_outputs():
    assert regressor().fit(x, np.stack([z, -z], 1)).predict(x).shape == (40, 2)


def use_routed_parameters():
    fitted = KerasRegressor(
        numbers,
        hidden=3,
        verbose=0,
        loss=keras.losses.Huber,
        loss__delta=0.5,
        optimizer=keras.optimizers.SGD,
        optimizer__learning_rate=0.05,
        metrics=[keras.metrics.MeanAbsoluteError],
        callbacks=keras.callbacks.EarlyStopping,
        callbacks__monitor="loss",
        fit__epochs=2,
        batch_size=10,
    ).fit(x, z)
    assert abs(float(fitted.model_.optimizer.learning_rate) - 0.05) < 1e-6


def use_partial_fit_and_warm_start():
    fitted = classifier(warm_start=True)
    fitted.partial_fit(x, y)
    assert fitted.current_epoch == 1
    fitted.fit(x, y)
    fitted.partial_fit(x, y)
    assert fitted.current_epoch > 1


def use_clone():
    assert base.clone(classifier(hidden=7)).get_params()["hidden"] == 7


def use_grid_search():
    search = model_selection.GridSearchCV(classifier(hidden=2), {"hidden": [2, 4]}, cv=2)
    assert search.fit(x, y).best_params_["hidden"] in (2, 4)


def use_cross_validation():
    assert model_selection.cross_val_score(regressor(), x, z, cv=2).shape == (2,)


def use_pipeline():
    pipeline.make_pipeline(preprocessing.StandardScaler(), classifier()).fit(x, y).predict(x)


def use_ensembles():
    ensemble.BaggingRegressor(regressor(), n_estimators=2).fit(x, z).predict(x)


def use_pickle():
    fitted = classifier().fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict_proba(x), fitted.predict_proba(x), rtol=1e-5)
    np.testing.assert_allclose(
        copy.deepcopy(fitted).predict_proba(x), fitted.predict_proba(x), rtol=1e-5
    )


def use_model_that_is_an_instance():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    KerasRegressor(model, loss="mse", verbose=0).fit(x, z)


def use_random_state():
    a, b = (classifier(random_state=3).fit(x, y).predict_proba(x) for _ in range(2))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def use_subclass():
    class Mine(BaseWrapper):
        def _keras_build_fn(self):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            return model

    assert Mine(verbose=0).fit(x, z).predict(x).size == 40
