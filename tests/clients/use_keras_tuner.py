"""The public classes of KerasTuner, each on a small search."""

import functools
import tempfile
from unittest import mock

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner.src.applications import efficientnet
from sklearn import ensemble, metrics

rng = np.random.default_rng(0)
x = rng.normal(size=(40, 4)).astype("float32")
y = (x.sum(1) > 0).astype("int32")


def build(hp):
    model = keras.Sequential([keras.Input((4,))])
    for i in range(hp.Int("layers", 1, 2)):
        with hp.conditional_scope("layers", list(range(i + 1, 3))):
            model.add(
                keras.layers.Dense(
                    hp.Choice(f"units_{i}", [2, 4]), hp.Choice(f"act_{i}", ["relu", "tanh"])
                )
            )
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(hp.Float("rate", 0.1, 0.3, step=0.1)))
    model.add(keras.layers.Dense(1, activation="sigmoid"))
    model.compile(
        keras.optimizers.Adam(hp.Float("lr", 1e-3, 1e-1, sampling="log")),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    return model


def search(kind, hypermodel=build, objective="val_accuracy", **kwargs):
    with tempfile.TemporaryDirectory() as folder:
        tuner = kind(
            hypermodel, objective=objective, directory=folder, project_name="p", seed=1, **kwargs
        )
        tuner.search(x, y, validation_split=0.25, verbose=0, epochs=1)
        best = tuner.oracle.get_best_trials(1)[0]
        assert tuner.get_best_hyperparameters()[0].values == best.hyperparameters.values
        model = tuner.get_best_models()[0]
        assert model.predict(x, verbose=0).shape == (40, 1)
        tuner.results_summary(1)
        tuner.search_space_summary()
        again = kind(
            hypermodel, objective=objective, directory=folder, project_name="p", seed=1, **kwargs
        )
        again_best = again.oracle.get_best_trials(1)[0]
        assert again_best.score == best.score  # of several with this score, it may be another
        return tuner


def use_random_search():
    search(kt.RandomSearch, max_trials=2)


def use_executions_per_trial():
    search(kt.RandomSearch, max_trials=2, executions_per_trial=2)


def use_bayesian_optimization():
    search(kt.BayesianOptimization, max_trials=4, num_initial_points=2)


def use_hyperband():
    search(kt.Hyperband, max_epochs=4, factor=2, hyperband_iterations=1)


def use_grid_search():
    search(kt.GridSearch, max_trials=2)


def use_objective():
    search(kt.RandomSearch, max_trials=1, objective=kt.Objective("val_loss", "min"))


def use_several_objectives():
    search(
        kt.RandomSearch,
        max_trials=1,
        objective=[kt.Objective("val_loss", "min"), kt.Objective("val_accuracy", "max")],
    )


def use_hypermodel():
    class Mine(kt.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, batch_size=hp.Choice("batch", [8, 16]), **kwargs)

    search(kt.RandomSearch, Mine(), max_trials=1)


def use_hyperparameters():
    hp = kt.HyperParameters()
    hp.Fixed("fixed", 3)
    build(hp)
    copied = kt.HyperParameters.from_config(hp.get_config())
    assert copied.values == hp.values
    assert build(copied).count_params() > 0


def use_tuner_of_ones_own():
    class Mine(kt.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            model = build(trial.hyperparameters)
            model.fit(x, y, verbose=0)
            return float(model.evaluate(x, y, verbose=0)[0])

    with tempfile.TemporaryDirectory() as folder:
        tuner = Mine(
            max_trials=2,
            directory=folder,
            hypermodel=build,
            objective=kt.Objective("loss", "min"),
            overwrite=True,
        )
        tuner.search()
        assert tuner.oracle.get_best_trials()[0].score is not None


def use_callbacks_of_the_search():
    with tempfile.TemporaryDirectory() as folder:
        tuner = kt.RandomSearch(build, objective="val_loss", max_trials=1, directory=folder)
        tuner.search(
            x,
            y,
            validation_data=(x, y),
            verbose=0,
            epochs=2,
            callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=1)],
        )
        assert len(tuner.oracle.trials) == 1


def use_sklearn_tuner():
    def forest(hp):
        return ensemble.RandomForestClassifier(n_estimators=hp.Int("trees", 2, 4))

    with tempfile.TemporaryDirectory() as folder:
        tuner = kt.tuners.SklearnTuner(
            kt.oracles.RandomSearchOracle(objective=kt.Objective("score", "max"), max_trials=2),
            forest,
            scoring=metrics.make_scorer(metrics.accuracy_score),
            directory=folder,
        )
        tuner.search(x, y)
        assert tuner.get_best_models()[0].predict(x).shape == (40,)


class Scored(kt.Tuner):
    """Its trials are scored by their hyperparameters alone."""

    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        return {"score": hp.Float("x", 0.0, 1.0, step=0.25) + hp.Int("n", 0, 3)}


def _add_oracle(name, **limits):
    def use():
        oracle = getattr(kt.oracles, name)(objective=kt.Objective("score", "max"), seed=2, **limits)
        with tempfile.TemporaryDirectory() as folder:
            tuner = Scored(oracle=oracle, hypermodel=build, directory=folder, project_name="p")
            tuner.search()
        scores = [trial.score for trial in oracle.get_best_trials(3)]
        return sorted(scores, reverse=True)

    globals()[f"use_{name}"] = use


_add_oracle("BayesianOptimizationOracle", max_trials=4, num_initial_points=2)
_add_oracle("GridSearchOracle", max_trials=4)
_add_oracle("HyperbandOracle", max_epochs=4, factor=2)
_add_oracle("RandomSearchOracle", max_trials=4)


def use_kinds_of_hyperparameters():
    hp = kt.HyperParameters()
    hp.Fixed("a", 3), hp.Boolean("b"), hp.Choice("c", [1, 2]), hp.Int("d", 1, 9, step=2)
    hp.Float("e", 0.1, 10.0, sampling="log")
    with hp.name_scope("f"):
        hp.Float("g", 0.0, 1.0)
    for one in hp.space:
        again = type(one).from_config(one.get_config())
        assert again.random_sample(1) == one.random_sample(1)
        assert again.value_to_prob(one.default) == one.value_to_prob(one.default)
    return [one.random_sample(1) for one in hp.space]


def _application(kind, **kwargs):
    hypermodel = kind(input_shape=(32, 32, 3), classes=3, **kwargs)
    assert hypermodel.build(kt.HyperParameters()).output_shape == (None, 3)


def use_hyper_resnet():
    _application(kt.applications.HyperResNet)


def use_hyper_xception():
    _application(kt.applications.HyperXception)


def use_hyper_efficientnet():
    """Without the weights that it downloads."""
    models = {"B0": functools.partial(keras.applications.EfficientNetB0, weights=None)}
    with mock.patch.dict(efficientnet.EFFICIENTNET_MODELS, models):
        _application(kt.applications.HyperEfficientNet)


def use_hyper_image_augment():
    kt.applications.HyperImageAugment(input_shape=(32, 32, 3)).build(kt.HyperParameters())
