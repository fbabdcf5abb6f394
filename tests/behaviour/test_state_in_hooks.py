"""Touching a model in the middle of anything: what is read is live, what is set is used."""

import functools

import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops
from lamina.errors import TrainingWarning

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


@functools.cache
def compiled_model():
    return make()


def shared():
    """One compiled model for many tests, as good as new."""
    model = compiled_model()
    model.set_weights([np.full((4, 1), 0.5), np.zeros(1)])
    model.optimizer.build(model.trainable_variables)
    model.optimizer.set_weights([np.zeros(v.shape) for v in model.optimizer.variables])
    model.optimizer.learning_rate = 0.1
    model.resume_at(seed=0, step=0)
    return model


def make(**compiled):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1, name="out")(inputs))
    model.compile(**({"optimizer": keras.optimizers.Adam(0.1), "loss": "mse", "metrics": ["mae"]}
                     | compiled))  # fmt: skip
    return model


class At(keras.callbacks.Callback):
    """Calls ``action(model)`` at one hook, the first time."""

    def __init__(self, hook, action):
        super().__init__()
        self.done = False

        def act(*_, **__):
            if not self.done:
                self.done = True
                action(self.model)

        setattr(self, hook, act)


FIT_HOOKS = [
    "on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end",
    "on_epoch_end", "on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end",
    "on_train_end",
]  # fmt: skip


def test_metrics_are_readable_afterwards():
    model = shared()
    history = model.fit(X, Y, epochs=2, verbose=0).history
    result = {k: float(v) for k, v in model.get_metrics_result().items()}
    assert result == pytest.approx({k: v[-1] for k, v in history.items()}, rel=1e-6)
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert {k: float(v) for k, v in model.get_metrics_result().items()} == pytest.approx(found)
    assert float(model.metrics[1].result()["mae"]) == pytest.approx(found["mae"])
    assert float(model.metrics[0].variables[1]) == len(X)


def test_metrics_are_readable_at_the_end_of_an_epoch():
    seen = []

    class Reading(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((logs["mae"], float(self.model.metrics[1].result()["mae"])))

    shared().fit(X, Y, epochs=3, verbose=0, callbacks=[Reading()])
    for logged, read in seen:
        assert read == pytest.approx(logged, rel=1e-6)


@pytest.mark.parametrize("hook", FIT_HOOKS)
def test_weights_set_in_a_hook_of_fit_are_used(hook):
    def zero(model):
        model.get_layer("out").set_weights([np.zeros((4, 1)), np.full(1, 5.0)])
        model.optimizer.learning_rate = 0.0

    model = shared()
    model.fit(X, Y, validation_data=(X, Y), batch_size=6, epochs=2, verbose=0,
              callbacks=[At(hook, zero)])  # fmt: skip
    np.testing.assert_array_equal(model.get_layer("out").kernel, np.zeros((4, 1)))
    np.testing.assert_array_equal(model.get_layer("out").bias, [5.0])
    assert float(model.optimizer.learning_rate) == 0.0


@pytest.mark.parametrize("hook", ["on_test_begin", "on_test_batch_begin"])
def test_weights_set_in_a_hook_of_evaluate_are_used(hook):
    model = shared()
    zero = At(hook, lambda m: m.set_weights([np.zeros((4, 1)), np.zeros(1)]))
    loss = model.evaluate(X, Y, verbose=0, callbacks=[zero])[0]
    assert loss == pytest.approx(float(np.mean(Y**2)), rel=1e-5)
    assert not np.any(model.get_weights()[0])


@pytest.mark.parametrize("hook", ["on_predict_begin", "on_predict_batch_begin"])
def test_weights_set_in_a_hook_of_predict_are_used(hook):
    model = shared()
    zero = At(hook, lambda m: m.set_weights([np.zeros((4, 1)), np.full(1, 2.0)]))
    np.testing.assert_array_equal(
        model.predict(X, verbose=0, callbacks=[zero]), np.full((12, 1), 2.0)
    )


def test_metrics_set_in_a_hook_are_used():
    def many(model):
        model.metrics[0].variables[0].assign(1000.0)

    model = shared()
    loss = model.evaluate(X, Y, verbose=0, callbacks=[At("on_test_begin", many)])[0]
    assert loss > 1000 / len(X)


def test_optimizer_values_set_in_a_hook_are_used():
    model = shared()
    late = At("on_epoch_begin", lambda m: m.optimizer.iterations.assign(100))
    model.fit(X, Y, batch_size=6, verbose=0, callbacks=[late])
    assert int(model.optimizer.iterations) == 102


@pytest.mark.parametrize("hook", FIT_HOOKS)
def test_calls_in_a_hook_leave_training_as_it_is(hook, tmp_path):
    kept = []

    def act(model):
        kept.append([w.value for w in model.weights])
        model.evaluate(X, Y, verbose=0)
        model.predict(X, verbose=0)
        model.set_weights(model.get_weights())
        if hook == "on_epoch_end":
            model.save(tmp_path / "m.keras")

    options = {"validation_data": (X, Y), "batch_size": 6, "epochs": 2, "verbose": 0}
    shared().fit(X, Y, shuffle=False, **options)
    plain = compiled_model().get_weights()
    shared().fit(X, Y, shuffle=False, callbacks=[At(hook, act)], **options)
    for a, b in zip(compiled_model().get_weights(), plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(w).all() for w in kept[0])  # arrays that were read stay the reader's


class Counting(layers.Layer):
    def __init__(self, outside, **kwargs):
        super().__init__(**kwargs)
        self.find = lambda: outside
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs, training=False):
        self.count.assign(self.count + 1)
        self.find().assign(self.find() + 2)
        return inputs * self.scale


@pytest.mark.parametrize("eagerly", [False, True])
def test_what_a_call_assigns_is_kept(eagerly):
    outside = keras.Variable(np.float32(0), trainable=False, name="outside")
    inputs = keras.Input((4,))
    counting = Counting(outside)
    model = keras.Model(inputs, counting(inputs))
    model.compile("sgd", "mse", run_eagerly=eagerly)
    outside.assign(0.0)
    counting.count.assign(0.0)
    model.fit(X, X, batch_size=6, epochs=2, verbose=0)
    assert float(counting.count) == 4
    assert float(outside) == 8
    model.evaluate(X, X, batch_size=6, verbose=0)
    assert float(counting.count) == 6
    assert float(outside) == 12
    model.predict(X, batch_size=6, verbose=0)
    assert float(counting.count) == 8


def test_a_weight_that_a_call_assigns_is_kept():
    class Clipping(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(4,), initializer="ones")

        def call(self, inputs):
            self.scale.assign(ops.minimum(self.scale, 0.25))
            return inputs * self.scale

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Clipping()(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(X, X, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], np.full(4, 0.25, "float32"))


def test_a_variable_that_a_loss_reads_and_a_callback_changes():
    factor = keras.Variable(np.float32(1), trainable=False, name="factor")

    def loss(y_true, y_pred):
        return factor * ops.mean((y_true - y_pred) ** 2, axis=-1)

    class Raise(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            factor.assign(10.0**epoch)

    model = make(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    losses = model.fit(X, Y, epochs=3, verbose=0, callbacks=[Raise()]).history["loss"]
    np.testing.assert_allclose(losses, losses[0] * np.array([1, 10, 100]), rtol=1e-5)


class AtEpoch(keras.callbacks.Callback):
    """Calls ``action(model)`` at one hook of epoch 1."""

    def __init__(self, hook, action):
        super().__init__()
        setattr(self, hook, lambda epoch, logs=None: epoch == 1 and action(self.model))


def two_layers(frozen):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(1)])
    model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
    model.get_layer("a").trainable = not frozen
    model.compile(keras.optimizers.SGD(0.01, momentum=0.5), "mse", metrics=["mae"])
    return model


def set_optimizer(model):
    model.optimizer = keras.optimizers.Adam(0.05)


def set_optimizer_of_the_same_kind(model):
    model.optimizer = keras.optimizers.SGD(0.1, momentum=0.5)


def unfreeze(model):
    model.get_layer("a").trainable = True


def freeze(model):
    model.get_layer("a").trainable = False


def compile_again(model):
    model.compile(keras.optimizers.Adam(0.05), "mae", metrics=["mae"])


CHANGES = [set_optimizer, set_optimizer_of_the_same_kind, unfreeze, freeze, compile_again]


@pytest.mark.parametrize(
    ("hook", "steps"), [("on_epoch_begin", None), ("on_epoch_end", 2)], ids=["array", "generator"]
)
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changes_of_what_is_trained_take_effect_in_the_next_epoch(change, hook, steps):
    def fit(model, epochs, **arguments):
        data = (X, Y)
        if steps is not None:
            data = (((X[i : i + 6], Y[i : i + 6]) for _ in range(epochs) for i in (0, 6)),)
        arguments |= {"steps_per_epoch": steps, "batch_size": 6, "shuffle": False, "verbose": 0}
        history = model.fit(*data, epochs=epochs, validation_data=(X, Y), **arguments)
        return history.history

    phases = (1, 3) if hook == "on_epoch_begin" else (2, 2)
    apart, model = two_layers(change is unfreeze), two_layers(change is unfreeze)
    first = fit(apart, phases[0])
    change(apart)
    second = fit(apart, phases[1])
    found = fit(model, 4, callbacks=[AtEpoch(hook, change)])
    assert found.keys() == first.keys()
    for key, values in found.items():
        assert values == pytest.approx([*first[key], *second[key]], rel=1e-5), key
    for a, b in zip(model.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert int(model.optimizer.iterations) == int(apart.optimizer.iterations)


def test_an_optimizer_that_is_set_between_calls_is_used():
    for verb in ("fit", "train_on_batch"):
        model = make(optimizer=keras.optimizers.SGD(0.1))
        run = functools.partial(getattr(model, verb), X, Y)
        run()
        model.optimizer = keras.optimizers.SGD(0.0)
        before = model.get_weights()
        run()
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        assert int(model.optimizer.iterations) == 1


def test_a_run_with_checkpoints_warns_of_changes_that_it_would_not_repeat(tmp_path):
    model, at = two_layers(True), AtEpoch("on_epoch_begin", unfreeze)
    with pytest.warns(TrainingWarning, match="does not repeat the change"):
        model.fit(X, Y, epochs=2, verbose=0, resume=tmp_path / "run", callbacks=[at])
