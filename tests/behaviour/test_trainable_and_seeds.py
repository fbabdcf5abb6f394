"""What trains, who owns its slots, and what random draws depend on; what survives an error."""

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


def nested():
    base = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3)])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs)))
    return model, base


def test_a_layer_of_a_frozen_model_can_train_by_itself():
    model, base = nested()
    base.trainable = False
    assert len(model.trainable_weights) == 2
    base.layers[-1].trainable = True
    assert len(model.trainable_weights) == 4
    model.compile("sgd", "mse")
    before = [w.numpy() for w in model.weights]
    model.fit(X, Y, verbose=0)
    changed = [bool((a != w.numpy()).any()) for a, w in zip(before, model.weights, strict=True)]
    assert changed == [False, False, True, True, True, True]


def test_unfreezing_keeps_the_optimizer_and_its_moments():
    model, base = nested()
    base.trainable = False
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(optimizer, "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    last = model.layers[-1].kernel
    key = next(k for k, v in optimizer.state_variables.items()
               if k.startswith("momentum") and v.shape == last.shape)  # fmt: skip
    moment = optimizer.state_variables[key].numpy()
    base.trainable = True
    model.fit(X, Y, epochs=1, verbose=0)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 3
    base.trainable = False
    model.fit(X, Y, epochs=1, verbose=0)
    assert np.any(moment)
    names = {k.partition("/")[2] for k in optimizer.state_variables if "/" in k}
    assert len(names) == 6


def test_a_renamed_layer_trains_on():
    model, _ = nested()
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(X, Y, verbose=0)
    model.layers[-1].name = "head"
    model.fit(X, Y, verbose=0)
    assert "head/kernel" in model.named_variables()
    assert model.layers[-1].kernel.path == "head/kernel"
    assert int(model.optimizer.iterations) == 2


def test_one_optimizer_for_two_models_that_share_weights():
    shared = layers.Dense(3)
    models = []
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(2):
        inputs = keras.Input((4,))
        models.append(keras.Model(inputs, layers.Dense(1)(shared(inputs))))
        models[-1].compile(optimizer, "mse")
    for _ in range(2):
        for model in models:
            model.fit(X, Y, verbose=0)
    assert int(optimizer.iterations) == 4


def test_toggling_finds_the_earlier_programs(compilations):
    model, base = nested()
    model.compile("sgd", "mse")
    for trainable in (True, False):
        base.trainable = trainable
        model.train_on_batch(X, Y)
    layers.Dense(1)
    with compilations() as compiled:
        for trainable in (True, False, True):
            base.trainable = trainable
            model.train_on_batch(X, Y)
    assert compiled == []


def build(kind, seed=5):
    keras.utils.set_random_seed(seed)
    if kind == "stack":
        return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2, name="a")])
    if kind == "nested":
        return nested()[0]

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Dense(3), layers.Dense(2)]

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return inputs

    model = Own()
    model.build((None, 4))
    return model


@pytest.mark.parametrize("kind", ["stack", "nested", "own"])
def test_the_same_code_after_the_same_seed_builds_the_same_weights(kind):
    first, again, other = build(kind), build(kind), build(kind, 6)
    for a, b, c in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert a.ndim == 1 or (a.numpy() != c.numpy()).any()


def noisy():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def test_a_seed_set_after_building_decides_shuffling_and_dropout():
    model = noisy()
    weights, losses = model.get_weights(), []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        model.set_weights(weights)
        losses.append(model.fit(X, Y, batch_size=4, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_layers_of_one_seed_draw_alike():
    inputs = keras.Input((64,))
    a, b = layers.Dropout(0.5, seed=7)(inputs), layers.Dropout(0.5, seed=7)(inputs)
    c = layers.Dropout(0.5)(inputs)
    model = keras.Model(inputs, [a, b, c])
    one, two, three = model(np.ones((2, 64), "float32"), training=True)
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


def test_a_step_without_the_optimizer_draws_anew_each_time():
    class Own(keras.Model):
        def train_step(self, state, data):
            x, _ = data
            y, _ = self.stateless_call(state[0], state[1], x, training=True)
            return {"mean": y.mean()}, state

    inputs = keras.Input((64,))
    model = Own(inputs, layers.Dropout(0.5)(inputs))
    model.compile("sgd", "mse")
    x = np.ones((4, 64), "float32")
    means = [model.train_on_batch(x, x, return_dict=True)["mean"] for _ in range(3)]
    assert len(set(means)) == 3


def test_a_batch_is_reported_by_itself():
    model = noisy()
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    first = model.test_on_batch(X[:3], Y[:3])
    model.test_on_batch(X[3:], Y[3:])
    assert model.test_on_batch(X[:3], Y[:3]) == pytest.approx(first)


@pytest.mark.filterwarnings("ignore")
def test_an_error_within_a_step_leaves_the_last_complete_state():
    class Failing(layers.Layer):
        armed = False

        def call(self, inputs):
            def check(x):
                if Failing.armed:
                    raise RuntimeError("from within")
                return x

            seen = jax.pure_callback(
                check,
                jax.ShapeDtypeStruct(inputs.shape, inputs.dtype),
                jax.lax.stop_gradient(inputs),
            )
            return inputs + 0.0 * seen

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(Failing()(inputs)))
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=4, verbose=0)
    before = model.get_weights()

    class Arm(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            Failing.armed = True

    with pytest.raises(Exception, match="from within"):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[Arm()])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    Failing.armed = False
    model.fit(X, Y, batch_size=4, verbose=0)
    assert int(model.optimizer.iterations) == 6


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end", "on_test_begin"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_a_hook_leaves_the_model_usable(hook, error):
    def stop(*_, **__):
        raise error

    callback = keras.callbacks.Callback()
    setattr(callback, hook, stop)
    model = noisy()
    with pytest.raises(error):
        model.fit(X, Y, validation_data=(X, Y), verbose=0, callbacks=[callback])
    assert int(model.optimizer.iterations) == 1
    assert all(np.isfinite(w).all() for w in model.get_weights())
    model.fit(X, Y, verbose=0)
    assert int(model.optimizer.iterations) == 2


def outputs_of_a_clone():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.5)])
    clone = keras.models.clone_model(model)
    return [*clone.get_weights(), clone(X, training=True), model(X, training=True)]


def outputs_of_a_layer_from_its_config():
    first = layers.Dense(3)
    second = layers.Dense.from_config(first.get_config())
    return [first(X), second(X)]


NOISE = keras.Sequential(
    [keras.Input((4,)), layers.Lambda(lambda x: x + keras.random.normal((4,)))]
)


def predictions_of_an_older_model():
    return [NOISE.predict(X, verbose=0), NOISE(X)]


@pytest.mark.parametrize(
    "draw",
    [outputs_of_a_clone, outputs_of_a_layer_from_its_config, predictions_of_an_older_model],
)
def test_nothing_that_ran_before_the_seed_was_set_matters(draw):
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        runs.append([np.asarray(x) for x in draw()])
        layers.Dense(1)  # moves the numbers of automatic names on
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
