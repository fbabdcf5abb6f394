"""Ten steps of training, step by step, against Keras: every optimizer and a spread of losses."""

import pickle

import keras
import numpy as np
import pytest

import lamina
from lamina.errors import ArgumentError, LaminaError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6)).astype("float32")
ONE_HOT = np.eye(4, dtype="float32")[RNG.integers(0, 4, 80)]
CLASSES = ONE_HOT.argmax(1)
REAL = RNG.random((80, 4), "float32") + 0.1
BINARY = RNG.integers(0, 2, (80, 4)).astype("float32")


class Steps:
    """The loss after each step, as a callback of either library."""

    def __new__(cls, k):
        class Recorder(k.callbacks.Callback):
            losses: list

            def on_train_begin(self, logs=None):
                self.losses = []

            def on_train_batch_end(self, batch, logs=None):
                self.losses.append(float(logs["loss"]))

        return Recorder()


def model_of(k, activation):
    inputs = k.Input((6,))
    x = k.layers.Dense(8, activation="tanh")(inputs)
    x = k.layers.LayerNormalization()(x)
    return k.Model(inputs, k.layers.Dense(4, activation=activation)(x))


def curve(k, model, optimizer, loss, y, weights, **fit):
    model.set_weights(weights)
    model.compile(optimizer(k), loss(k))
    steps = Steps(k)
    model.fit(X, y, batch_size=8, shuffle=False, verbose=0, callbacks=[steps], **fit)
    return steps.losses, model.get_weights()


def compare(optimizer, loss, y, activation, rtol=1e-5, **fit):
    ours, theirs = model_of(lamina, activation), model_of(keras, activation)
    weights = ours.get_weights()
    a, wa = curve(lamina, ours, optimizer, loss, y, weights, **fit)
    b, wb = curve(keras, theirs, optimizer, loss, y, weights, **fit)
    assert len(a) == len(b) == 10
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)
    for x, z in zip(wa, wb, strict=True):
        np.testing.assert_allclose(x, z, rtol=2e-3, atol=2e-4)


OPTIMIZERS = {
    "sgd": lambda k: k.optimizers.SGD(0.05),
    "momentum": lambda k: k.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda k: k.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01),
    "rmsprop_centered": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda k: k.optimizers.Adam(0.01),
    "amsgrad": lambda k: k.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda k: k.optimizers.AdamW(0.01, weight_decay=0.01),
    "adamax": lambda k: k.optimizers.Adamax(0.01),
    "nadam": lambda k: k.optimizers.Nadam(0.01),
    "adagrad": lambda k: k.optimizers.Adagrad(0.05),
    "adadelta": lambda k: k.optimizers.Adadelta(0.5),
    "ftrl": lambda k: k.optimizers.Ftrl(0.05),
    "lion": lambda k: k.optimizers.Lion(0.003),
    "lamb": lambda k: k.optimizers.Lamb(0.01),
    "adafactor": lambda k: k.optimizers.Adafactor(0.05),
    "clipnorm": lambda k: k.optimizers.Adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda k: k.optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda k: k.optimizers.SGD(0.1, clipvalue=0.01),
    "ema": lambda k: k.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5),
    "schedule": lambda k: k.optimizers.SGD(
        k.optimizers.schedules.ExponentialDecay(0.1, decay_steps=3, decay_rate=0.5)
    ),
    "accumulation": lambda k: k.optimizers.Adam(0.01, gradient_accumulation_steps=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    compare(OPTIMIZERS[name], lambda k: k.losses.MeanSquaredError(), REAL, None, rtol=3e-5)


LOSSES = {
    "mse": (lambda k: k.losses.MeanSquaredError(), REAL, None),
    "mae": (lambda k: k.losses.MeanAbsoluteError(), REAL, None),
    "huber": (lambda k: k.losses.Huber(0.3), REAL, None),
    "log_cosh": (lambda k: k.losses.LogCosh(), REAL, None),
    "binary": (lambda k: k.losses.BinaryCrossentropy(label_smoothing=0.1), BINARY, "sigmoid"),
    "binary_logits": (lambda k: k.losses.BinaryCrossentropy(from_logits=True), BINARY, None),
    "categorical": (lambda k: k.losses.CategoricalCrossentropy(), ONE_HOT, "softmax"),
    "categorical_logits": (
        lambda k: k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        ONE_HOT, None,
    ),
    "sparse": (lambda k: k.losses.SparseCategoricalCrossentropy(), CLASSES, "softmax"),
    "sparse_logits": (
        lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, None,
    ),
    "kl": (lambda k: k.losses.KLDivergence(), ONE_HOT, "softmax"),
    "poisson": (lambda k: k.losses.Poisson(), REAL, "softplus"),
    "hinge": (lambda k: k.losses.Hinge(), BINARY * 2 - 1, None),
    "cosine": (lambda k: k.losses.CosineSimilarity(), REAL, None),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, y, activation = LOSSES[name]
    compare(OPTIMIZERS["adam"], loss, y, activation, rtol=3e-5)


def test_class_weights_and_sample_weights():
    loss = LOSSES["sparse_logits"][0]
    compare(OPTIMIZERS["sgd"], loss, CLASSES, None, class_weight={0: 2.0, 1: 0.5, 2: 1.0, 3: 3.0})
    weights = RNG.random(80).astype("float32")
    compare(OPTIMIZERS["sgd"], loss, CLASSES, None, sample_weight=weights)


def test_histories_have_the_same_keys_and_values():
    found = []
    for k in (lamina, keras):
        model = model_of(k, None)
        found.append(model)
    found[1].set_weights(found[0].get_weights())
    histories = []
    for k, model in zip((lamina, keras), found, strict=True):
        model.compile(
            "sgd", k.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy", k.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
        )  # fmt: skip
        history = model.fit(
            X, CLASSES, epochs=2, batch_size=16, shuffle=False, verbose=0, validation_split=0.25
        )
        histories.append(history.history)
    assert set(histories[0]) == set(histories[1])
    for key, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][key], rtol=2e-5, err_msg=key)
    ours = found[0].evaluate(X, CLASSES, verbose=0)
    theirs = found[1].evaluate(X, CLASSES, verbose=0)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_several_outputs_by_name():
    def make(k):
        a, b = k.Input((6,), name="zeta"), k.Input((6,), name="alpha")
        x = k.layers.concatenate([a, b])
        outputs = {
            "zz": k.layers.Dense(4, name="zz")(x), "aa": k.layers.Dense(1, name="aa")(x),
        }  # fmt: skip
        return k.Model([a, b], outputs)

    ours, theirs = make(lamina), make(keras)
    for name in ("zz", "aa"):
        theirs.get_layer(name).set_weights(ours.get_layer(name).get_weights())
    histories = []
    for k, model in ((lamina, ours), (keras, theirs)):
        model.compile(
            "sgd",
            loss={"aa": "mse", "zz": k.losses.CategoricalCrossentropy(from_logits=True)},
            loss_weights={"zz": 0.2, "aa": 1.0},
            metrics={"zz": ["accuracy"], "aa": ["mae"]},
        )
        history = model.fit(
            {"alpha": X, "zeta": X * 2}, {"aa": REAL[:, :1], "zz": ONE_HOT},
            batch_size=16, shuffle=False, verbose=0,
        )  # fmt: skip
        histories.append(history.history)
    assert set(histories[0]) == set(histories[1])
    for key, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][key], rtol=2e-5, err_msg=key)


def test_the_state_of_layers_is_trained_alike():
    def make(k):
        inputs = k.Input((6,))
        x = k.layers.BatchNormalization(momentum=0.7)(inputs)
        return k.Model(inputs, k.layers.Dense(4)(x))

    ours, theirs = make(lamina), make(keras)
    theirs.set_weights(ours.get_weights())
    for model in (ours, theirs):
        model.compile("sgd", "mse")
        model.fit(X, REAL, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("losses", [["mse", None], {"a": "mse", "b": None}, ["mse", "mae"]])
def test_evaluate_names_the_losses_if_there_are_several(losses):
    def run(k):
        inputs = k.Input((6,))
        outputs = [k.layers.Dense(4, "tanh", name=name)(inputs) for name in "ab"]
        model = k.Model(inputs, outputs)
        model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
        model.compile("sgd", losses, metrics=[[lambda y, p: abs(y - p)], []])
        return model.evaluate(X, [REAL, REAL], verbose=0, return_dict=True)

    ours, theirs = run(lamina), run(keras)
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("cls", ["Dice", "Tversky"])
@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_weights_of_samples_and_a_loss_of_the_whole_batch(cls, reduction):
    weights = np.array([0.5, 1.0, 2.0, 0.0])
    ours, theirs = (
        getattr(k.losses, cls)(reduction=reduction)(BINARY[:4], REAL[:4], weights)
        for k in (lamina, keras)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def two_outputs(k):
    inputs = k.Input((6,))
    model = k.Model(inputs, [k.layers.Dense(4, "tanh", name=name)(inputs) for name in "ab"])
    model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
    return model


def check_histories(run):
    """Compare what ``run`` returns for both libraries: names, their order, and numbers."""
    ours, theirs = run(lamina), run(keras)
    assert list(ours) == list(theirs)
    for key, values in ours.items():
        assert values == pytest.approx(theirs[key], rel=1e-5), key


def test_histories_have_the_order_of_keras():
    def run(k):
        model = two_outputs(k)
        model.compile("sgd", "mse", metrics=[["mae"], []], weighted_metrics=[["mae"], ["mae"]])
        fit = {"validation_split": 0.2, "batch_size": 16, "shuffle": False, "verbose": 0}
        return model.fit(X, [REAL, REAL], epochs=2, **fit).history

    check_histories(run)


def test_one_loss_weight_for_all_outputs():
    def run(k):
        model = two_outputs(k)
        model.compile("sgd", "mse", loss_weights=0.25)
        return model.fit(X, [REAL, REAL], shuffle=False, verbose=0).history

    check_histories(run)


def test_loss_weights_may_be_numbers_of_numpy():
    model = two_outputs(lamina)
    model.compile("sgd", "mse", loss_weights=list(np.float32([0.5, 2.0])))
    losses = model.evaluate(X, [REAL, REAL], verbose=0, return_dict=True)
    total = 0.5 * losses["a_loss"] + 2 * losses["b_loss"]
    assert losses["loss"] == pytest.approx(total, rel=1e-5)


def test_metrics_names_are_in_the_order_of_evaluate():
    model = two_outputs(lamina)
    model.compile("sgd", "mse", metrics=[["mse", "mae"], ["mape"]])
    values = model.evaluate(X, [REAL, REAL], verbose=0)
    named = model.evaluate(X, [REAL, REAL], verbose=0, return_dict=True)
    assert dict(zip(model.metrics_names, values, strict=True)) == named


@pytest.mark.parametrize("k", [keras, lamina])
def test_values_of_the_user_s_metrics_are_in_the_order_of_the_model_s(k):
    class WithTrackers(k.Model):
        def __init__(self):
            super().__init__()
            self.total, self.part = k.metrics.Mean(name="total"), k.metrics.Mean(name="part")

        @property
        def metrics(self):
            return [self.total, self.part]

        def call(self, inputs):
            return inputs

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            self.total.update_state(3.0)
            self.part.update_state(2.0)
            return k.ops.mean(y_pred)

    model = WithTrackers()
    model.compile("sgd")
    assert model.evaluate(X, verbose=0) == model.test_on_batch(X) == [3.0, 2.0]
    assert model.metrics_names[-2:] == ["total", "part"]


def test_validation_data_take_the_place_of_a_validation_split():
    def run(k):
        model = two_outputs(k)
        model.compile("sgd", "mse")
        held = X[:4], [REAL[:4], REAL[:4]]
        fit = {"validation_split": 0.5, "validation_data": held, "shuffle": False, "verbose": 0}
        return model.fit(X, [REAL, REAL], **fit).history

    check_histories(run)


def test_models_without_an_optimizer_are_evaluated():
    def run(k):
        model = two_outputs(k)
        model.compile(optimizer=None, loss="mse")
        return model, model.evaluate(X, [REAL, REAL], verbose=0)

    (model, ours), (_, theirs) = run(lamina), run(keras)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    with pytest.raises(ArgumentError, match="no optimizer"):
        model.fit(X, [REAL, REAL])


def test_one_metric_of_several_outputs_and_losses_as_metrics():
    def run(k):
        model, one = two_outputs(k), k.metrics.MeanAbsoluteError()
        model.compile("sgd", "mse", metrics=[[one], [one, k.losses.Huber(0.5)]])
        return model.fit(X, [REAL, REAL], shuffle=False, verbose=0).history

    check_histories(run)


def test_regularizers_alone_are_minimized():
    def run(k):
        model = k.Sequential([k.Input((6,)), k.layers.Dense(4, kernel_regularizer="l2")])
        model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
        model.compile("sgd")
        return model.fit(X, REAL, epochs=2, verbose=0).history["loss"]

    assert run(lamina) == pytest.approx(run(keras), rel=1e-5)


def three_outputs(k, nesting):
    inputs = k.Input((6,))
    model = k.Model(inputs, nesting(*(k.layers.Dense(1, name=name)(inputs) for name in "abc")))
    model.set_weights([np.full(w.shape, 0.1 * i) for i, w in enumerate(model.weights)])
    return model


NESTINGS = {
    "lists in a dict": lambda a, b, c: {"p": [b, a], "c": c},
    "tuples in a dict": lambda a, b, c: {"p": (b, a), "c": c},
    "dicts in a dict": lambda a, b, c: {"p": {"b": b, "a": a}, "c": c},
    "lists in a list": lambda a, b, c: [[b, a], c],
    "dicts in a list": lambda a, b, c: [{"b": b, "a": a}, c],
    "a list in a list in a dict": lambda a, b, c: {"p": [[b], a], "c": c},
}
PARTS = [REAL[:, i : i + 1] for i in range(3)]


@pytest.mark.parametrize("nesting", NESTINGS)
def test_outputs_in_any_nesting(nesting):
    nest = NESTINGS[nesting]

    def run(k):
        model = three_outputs(k, nest)
        model.compile("sgd", nest("mse", "mae", "mse"), loss_weights=nest(1.0, 2.0, 3.0))
        weights = nest(*(np.linspace(0, i, 80) for i in range(3)))
        history = model.fit(X, nest(*PARTS), sample_weight=weights, shuffle=False, verbose=0)
        return history.history | model.evaluate(X, nest(*PARTS), verbose=0, return_dict=True)

    check_histories(run)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_metrics_of_outputs_in_any_nesting(nesting):
    nest = NESTINGS[nesting]

    def run(k):
        model = three_outputs(k, nest)
        model.compile("sgd", "mse", metrics=nest("mae", "mape", "msle"))
        logs = model.evaluate(X, nest(*PARTS), verbose=0, return_dict=True)
        return {n.rpartition("_")[2]: v for n, v in logs.items() if not n.endswith("loss")}

    ours, theirs = run(lamina), run(keras)
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert set(ours) == {"mae", "mape", "msle"}


def test_names_of_outputs_in_lists_are_those_of_their_layers():
    model = three_outputs(lamina, NESTINGS["lists in a dict"])
    assert model.output_names == ["p/b", "p/a", "c"]
    model.compile("sgd", {"a": "mae", "p/b": "mse", "c": "mse"}, metrics=["mae", [], "mae"])
    y = dict(zip("abc", PARTS, strict=True))
    logs = model.evaluate(X, y, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "p/a_loss", "p/b_loss", "c_loss", "p/b_mae", "c_mae"}
    named = model.evaluate(X, [y["b"], y["a"], y["c"]], verbose=0, return_dict=True)
    assert named == logs


def test_dicts_among_inputs_and_targets_correspond_by_key():
    def run(k):
        a, b, c = (k.Input((1,), name=name) for name in "abc")
        model = k.Model([{"b": b, "a": a}, c], [{"d": b - a, "e": a + 2 * b}, c])
        model.compile(loss="mse")
        x, y = {"a": PARTS[0], "b": PARTS[1]}, {"e": PARTS[0], "d": PARTS[1]}
        return model.evaluate([x, PARTS[2]], [y, PARTS[2]], verbose=0, return_dict=True)

    check_histories(run)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"p": ["mse"], "c": "mse"}, r"has 1 entry for 'p'. Expected 2, one for each of \['p/b'"),
        ({"p": ["mse", "mse"], "q": "mse"}, "Unknown output in `loss`: 'q'"),
        ({"p": ["mse", ["mse", "mae"]], "c": "mse"}, "list of 2 entries for the output 'p/a'"),
    ],
)
def test_losses_that_do_not_fit_the_nesting(given, says):
    model = three_outputs(lamina, NESTINGS["lists in a dict"])
    with pytest.raises(LaminaError, match=says):
        model.compile("sgd", given)
