"""Steps, losses and metrics of a user's own; loops of a user's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import ArgumentError, StateError, StructureError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 8)).astype("float32")
Y = (X @ RNG.normal(size=(8, 1))).astype("float32")


def make(cls=keras.Model, dropout=0.0, metrics=("mae",)):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8,))
    x = layers.Dense(16, activation="relu")(inputs)
    x = layers.Dropout(dropout)(x) if dropout else x
    model = cls(inputs, layers.Dense(1)(x), name="model")
    model.compile("adam", "mse", metrics=list(metrics))
    return model


def fitted(cls, **kwargs):
    model = make(cls, **kwargs)
    return model, model.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y)).history


class ByHand(keras.Model):
    """The standard step, written out with the stateless methods."""

    def loss_and_updates(self, trainable, non_trainable, x, y, sample_weight):
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=True)
        return self.compute_loss(x, y, y_pred, sample_weight), (y_pred, non_trainable)

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        (loss, (y_pred, non_trainable)), gradients = jax.value_and_grad(
            self.loss_and_updates, has_aux=True
        )(trainable, non_trainable, x, y, sample_weight)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        logs, new = {}, []
        for metric in self.metrics:
            own = metrics[len(new) : len(new) + len(metric.variables)]
            seen = (loss,) if metric.name == "loss" else (y, y_pred, sample_weight)
            own = metric.stateless_update_state(own, *seen)
            logs[metric.name] = metric.stateless_result(own)
            new += own
        return logs, (trainable, non_trainable, optimizer, new)


def test_a_step_written_by_hand_trains_like_the_standard_one():
    own, standard = fitted(ByHand)[1], fitted(keras.Model)[1]
    assert own == standard


def test_sample_weights_are_of_the_weighted_metrics_only():
    weights = RNG.uniform(size=len(X)).astype("float32")
    found = []
    for cls in (ByHand, keras.Model):
        model = make(cls)
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mae", "mse"])
        assert [m.name for m in model.metrics] == ["loss", "compile_metrics"]
        found.append(model.fit(X, Y, sample_weight=weights, epochs=2, verbose=0).history)
    own, standard = found
    assert own.keys() == standard.keys() == {"loss", "mae", "weighted_mae", "mse"}
    assert all(own[k] == standard[k] for k in own)
    assert own["mae"] != own["weighted_mae"]


def test_several_outputs_and_a_loop_over_the_metrics():
    found = []
    for cls in (ByHand, keras.Model):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        inputs = keras.Input((8,))
        outputs = {"a": layers.Dense(1)(inputs), "b": layers.Dense(2)(inputs)}
        model = cls(inputs, outputs)
        model.compile(
            "sgd", {"a": "mse", "b": "mae"}, metrics={"a": ["mae"], "b": ["mse", "mae"]},
            weighted_metrics={"a": ["mse"]},
        )  # fmt: skip
        targets = {"a": Y, "b": np.hstack([Y, -Y])}
        weights = dict.fromkeys("ab", np.linspace(0, 1, len(X), dtype="float32"))
        found.append(model.fit(X, targets, sample_weight=weights, verbose=0).history)
    own, standard = found
    assert set(own) == {"loss", "a_mae", "a_mse", "b_mse", "b_mae"}
    assert own == {k: standard[k] for k in own}


def test_early_stopping_knows_the_direction_of_a_metric_in_the_compiled_ones():
    class Score(keras.metrics.MeanSquaredError):
        direction = "max"

    callback = keras.callbacks.EarlyStopping(monitor="val_closeness")
    callback.set_model(make(metrics=[Score(name="closeness")]))
    assert callback.maximize


def test_super_is_the_standard_step_dropout_included():
    class Doubling(keras.Model):
        def train_step(self, state, data):
            logs, state = super().train_step(state, data)
            return logs | {"twice": 2 * logs["loss"]}, state

        def test_step(self, state, data):
            logs, state = super().test_step(state, data)
            return logs | {"more": logs["loss"] + 1}, state

        def predict_step(self, state, data):
            outputs, non_trainable = super().predict_step(state, data)
            return 2 * outputs, non_trainable

    own, history = fitted(Doubling, dropout=0.5)
    standard, expected = fitted(keras.Model, dropout=0.5)
    assert {k: v for k, v in history.items() if k in expected} == expected
    assert history["twice"] == [2 * x for x in expected["loss"]]
    assert history["val_more"] == [x + 1 for x in expected["val_loss"]]
    np.testing.assert_array_equal(own.predict(X, verbose=0), 2 * standard.predict(X, verbose=0))
    assert set(own.train_on_batch(X, Y, return_dict=True)) == {"loss", "mae", "twice"}


def test_accuracy_by_name_is_known_to_a_step_of_ones_own():
    model = make(ByHand, metrics=["accuracy"])
    assert set(model.fit(X, np.sign(Y), verbose=0).history) == {"loss", "accuracy"}


@pytest.mark.parametrize("metrics", [["accuracy"], ["mae", "accuracy"]])
def test_metrics_of_a_model_without_a_graph_are_known_to_a_step_of_ones_own(metrics):
    class Subclassed(ByHand):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x, training=False):
            return self.dense(x)

    model = Subclassed()
    model.compile("adam", "mse", metrics=metrics)
    assert set(model.fit(X, np.sign(Y), verbose=0).history) == {"loss", *metrics}


def test_compute_metrics_adds_to_the_logs_and_held_metrics_are_reset():
    class Largest(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.error = keras.metrics.Mean(name="largest_error")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.error.update_state(jnp.max(jnp.abs(y - y_pred)))
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            return logs | {"half": self.error.result() / 2}

    model, history = fitted(Largest)
    names = {"loss", "mae", "largest_error", "half"}
    assert set(history) == names | {f"val_{n}" for n in names}
    assert history["half"] == [x / 2 for x in history["largest_error"]]
    expected = np.mean([np.abs(y - model.predict(x, verbose=0)).max()
                        for x, y in zip(np.split(X, 3), np.split(Y, 3), strict=True)])  # fmt: skip
    assert history["val_largest_error"][-1] == pytest.approx(expected, rel=1e-5)


def test_a_compute_loss_of_ones_own_is_minimised_and_may_add_to_the_standard_one():
    class Shrinking(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            return loss + 100.0 * jnp.mean(y_pred**2)

    model, _ = fitted(Shrinking)
    model.fit(X, Y, epochs=100, verbose=0)
    assert np.abs(model.predict(X, verbose=0)).max() < 0.1 * np.abs(Y).max()


def test_only_the_metrics_of_an_own_property_are_reported():
    class Own(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.mine = keras.metrics.Mean(name="mine")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            self.mine.update_state(3.0)
            return jnp.mean((y_pred - y) ** 2)

        @property
        def metrics(self):
            return [self.mine]

    model, history = fitted(Own)
    assert history == {"mine": [3.0, 3.0], "val_mine": [3.0, 3.0]}
    assert model.evaluate(X, Y, verbose=0) == 3.0


def test_what_layers_add_and_regularizers_is_in_the_loss_once():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(jnp.mean(x**2))
            return x

    inputs = keras.Input((8,))
    dense = layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5))
    model = keras.Model(inputs, dense(Penalty()(inputs)))
    model.compile("sgd", "mse")
    mse = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    expected = mse + np.mean(X**2) + 0.5 * np.sum(np.asarray(dense.kernel) ** 2)
    assert model.evaluate(X, Y, batch_size=96, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_metric_held_by_a_layer_is_logged():
    class Watched(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seen = keras.metrics.Mean(name="mean_input")

        def call(self, x):
            self.seen.update_state(jnp.mean(x))
            return x

    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(Watched()(inputs)))
    model.compile("sgd", "mse")
    for _ in range(2):  # each epoch begins anew
        history = model.fit(X, Y, verbose=0).history
        assert history["mean_input"][0] == pytest.approx(X.mean(), abs=1e-6)


def test_a_model_of_models_trains_without_a_call():
    """A GAN in one step: two models, two optimizers of which one is the model's own."""

    class Gan(keras.Model):
        def __init__(self, generator, discriminator):
            super().__init__()
            self.generator, self.discriminator = generator, discriminator
            self.g_loss = keras.metrics.Mean(name="g_loss")
            self.d_loss = keras.metrics.Mean(name="d_loss")

        @property
        def metrics(self):
            return [self.g_loss, self.d_loss]

        def train_step(self, state, data):
            trainable, non_trainable, optimizer, metrics = state
            n = len(self.generator.trainable_variables)
            noise = jnp.sin(jnp.arange(data.shape[0] * 4.0)).reshape((-1, 4))
            bce = keras.losses.BinaryCrossentropy(from_logits=True)

            def losses(trainable, frozen):
                fake, _ = self.generator.stateless_call(trainable[:n], [], noise)
                cases = ((trainable, data), (trainable, fake), (frozen, fake))
                real, made, fooled = (
                    self.discriminator.stateless_call(w[n:], [], x)[0] for w, x in cases
                )
                d = bce(jnp.ones_like(real), real) + bce(jnp.zeros_like(made), made)
                g = bce(jnp.ones_like(fooled), fooled)
                return d, g

            d_grads = jax.grad(lambda t: losses(t, t)[0])(trainable)
            frozen = [jax.lax.stop_gradient(x) for x in trainable]
            g_grads = jax.grad(lambda t: losses(t, frozen)[1])(trainable)
            grads = [*g_grads[:n], *d_grads[n:]]
            d, g = losses(trainable, frozen)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
            metrics = [*self.g_loss.stateless_update_state(metrics[:2], g),
                       *self.d_loss.stateless_update_state(metrics[2:], d)]  # fmt: skip
            logs = {"g_loss": self.g_loss.stateless_result(metrics[:2]),
                    "d_loss": self.d_loss.stateless_result(metrics[2:])}  # fmt: skip
            return logs, (trainable, non_trainable, optimizer, metrics)

    generator = keras.Sequential([keras.Input((4,)), layers.Dense(8)])
    discriminator = keras.Sequential([keras.Input((8,)), layers.Dense(8, "relu"), layers.Dense(1)])
    gan = Gan(generator, discriminator)
    gan.compile(keras.optimizers.Adam(0.01))
    before = [w.copy() for w in gan.get_weights()]
    history = gan.fit(X, epochs=3, verbose=0).history
    assert set(history) == {"g_loss", "d_loss"}
    assert np.isfinite(history["g_loss"]).all()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, gan.get_weights(), strict=True))


def test_a_loop_of_ones_own_around_two_models():
    """A GAN's loop outside of fit, with two optimizers, dropout and one compiled function."""
    generator = keras.Sequential([keras.Input((4,)), layers.Dense(8)])
    critic = keras.Sequential([keras.Input((8,)), layers.Dropout(0.3), layers.Dense(1)])
    models = (generator, critic)
    optimizers = (keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01))
    for model, optimizer in zip(models, optimizers, strict=True):
        optimizer.build(model.trainable_variables)

    @jax.jit
    def step(state, real, key):
        (g, c), (g_opt, c_opt) = state
        keys = jax.random.split(key, 3)
        noise = jax.random.normal(keys[0], (real.shape[0], 4))

        def score(g, c, seed):
            fake, _ = generator.stateless_call(g, [], noise, training=True)
            return critic.stateless_call(c, [], fake, training=True, seed=seed)[0]

        def critic_loss(c):
            real_score, _ = critic.stateless_call(c, [], real, training=True, seed=keys[1])
            return jnp.mean((real_score - 1) ** 2) + jnp.mean(score(g, c, keys[2]) ** 2)

        c_loss, c_grad = jax.value_and_grad(critic_loss)(c)
        c, c_opt = optimizers[1].stateless_apply(c_opt, c_grad, c)
        g_loss, g_grad = jax.value_and_grad(lambda g: jnp.mean((score(g, c, keys[2]) - 1) ** 2))(g)
        g, g_opt = optimizers[0].stateless_apply(g_opt, g_grad, g)
        return ((g, c), (g_opt, c_opt)), (g_loss, c_loss)

    state = (
        tuple([v.value for v in m.trainable_variables] for m in models),
        tuple([v.value for v in o.variables] for o in optimizers),
    )
    losses = []
    for i in range(100):
        state, now = step(state, X[:32] + 3.0, jax.random.key(i))
        losses.append(np.asarray(now))
    assert losses[-1][1] < losses[0][1] / 4
    for model, values in zip(models, state[0], strict=True):
        model.set_weights(values)
    assert float(np.mean(critic.predict(X + 3.0, verbose=0))) > 0.3


def test_random_numbers_in_a_jit_of_ones_own_need_a_seed():
    model = make(dropout=0.5)
    weights = [v.value for v in model.trainable_variables]

    def run(x, seed=None):
        return model.stateless_call(weights, [], x, training=True, seed=seed)[0]

    with pytest.raises(StateError, match=r"draws random numbers .* seed=key"):
        jax.jit(run)(X)
    one, two = (jax.jit(run)(X, jax.random.key(i)) for i in (0, 1))
    assert float(jnp.abs(one - two).max()) > 0
    np.testing.assert_array_equal(run(X, 3), run(X, 3))


def test_a_step_in_another_form_is_refused_with_the_right_one():
    class OtherArguments(keras.Model):
        def train_step(self, data):
            return {}

    class NoState(keras.Model):
        def train_step(self, state, data):
            return {"loss": 0.0}

    with pytest.raises(ArgumentError, match=r"OtherArguments\.train_step .*\(self, state, data\)"):
        make(OtherArguments).fit(X, Y, verbose=0)
    with pytest.raises(StructureError, match=r"NoState\.train_step must return `logs, state`"):
        make(NoState).fit(X, Y, verbose=0)


def test_a_step_may_pass_all_arguments_on():
    class Passing(keras.Model):
        def train_step(self, *args):
            return super().train_step(*args)

    assert fitted(Passing)[1] == fitted(keras.Model)[1]


def test_a_list_of_inputs_is_not_a_pair_of_inputs_and_targets():
    assert keras.utils.pack_x_y_sample_weight([1, 2]) == ([1, 2],)


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_the_state_of_recurrent_layers_moves_on(verb):
    inputs = keras.Input(batch_shape=(4, 3, 2))
    layer = layers.LSTM(5, stateful=True)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse")
    x = RNG.normal(size=(8, 3, 2)).astype("float32")
    y = np.zeros((8, 5), "float32")

    def run():
        if verb == "predict":
            return model.predict(x, batch_size=4, verbose=0)
        return model.evaluate(x, y, batch_size=4, verbose=0)

    first, second = run(), run()
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 0
    layer.reset_state()
    np.testing.assert_array_equal(run(), first)
    layer.reset_state()
    parts = [layer(x[i : i + 4]) for i in (0, 4)]  # called by itself, it goes on likewise
    if verb == "predict":
        np.testing.assert_allclose(np.concatenate(parts), first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict", "train_on_batch"])
def test_a_call_may_take_one_number_of_samples(verb):
    """As with noise of a fixed shape: the model is built for the batch that it gets."""

    class Noisy(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.seed = layers.Dense(1), keras.random.SeedGenerator(0)

        def call(self, x):
            return self.dense(x) + keras.random.normal((16, 1), seed=self.seed)

    model = Noisy()
    model.compile("sgd", "mse")
    if verb == "predict":
        assert model.predict(X, batch_size=16, verbose=0).shape == (96, 1)
    elif verb == "train_on_batch":
        assert np.isfinite(model.train_on_batch(X[:16], Y[:16]))
    else:
        getattr(model, verb)(X, Y, batch_size=16, verbose=0)
    assert model.dense.kernel.shape == (8, 1)
    again = Noisy()
    again.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"add.*\(batch, 1\)"):
        again.predict(X, batch_size=12, verbose=0)
