"""What users override is called, in every signature that Keras's guides use."""

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops

X = np.arange(24, dtype="float32").reshape(6, 4) / 24
Y = np.arange(6, dtype="float32").reshape(6, 1) / 6


def trained(model, x=X, y=Y, **compiled):
    model.compile(**({"optimizer": "sgd", "loss": "mse"} | compiled))
    return model.fit(x, y, batch_size=3, epochs=2, verbose=0).history


def line(cls=keras.Model):
    inputs = keras.Input((4,))
    return cls(inputs, layers.Dense(1, name="out")(inputs))


class FirstSteps(layers.Layer):
    """Keeps the first two time steps, whatever came in."""

    def call(self, inputs):
        return inputs * 1.0

    def compute_mask(self, inputs, mask=None):
        early = ops.arange(inputs.shape[1])[None, :] < 2
        return ops.logical_and(early, inputs[:, :, 0] == inputs[:, :, 0])


def test_a_mask_of_a_users_own_needs_no_flag():
    x = np.ones((2, 5, 3), "float32")
    inputs = keras.Input((5, 3))
    masked = FirstSteps()(inputs)
    assert masked.mask is not None
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(masked * 1.0 + 0.0))
    assert FirstSteps().supports_masking
    counted = keras.Model(inputs, layers.LSTM(2, name="lstm")(masked))
    cut = counted.get_layer("lstm")(x[:, :2])
    np.testing.assert_allclose(counted.predict(x, verbose=0), cut, rtol=1e-5)
    assert model.predict(x, verbose=0).shape == (2, 3)


class MaskingModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)

    def compute_mask(self, inputs, mask=None):
        return ops.any(inputs != 0, axis=-1)


def test_a_mask_of_a_nested_model_of_a_users_own():
    x = np.ones((2, 4, 3), "float32")
    x[:, 2:] = 0
    inputs = keras.Input((4, 3))
    hidden = MaskingModel()(inputs)
    assert hidden.mask is not None
    model = keras.Model(inputs, layers.LSTM(2, name="lstm")(hidden))
    shorter = model.predict(np.concatenate([x, 0 * x], 1)[:, :4], verbose=0)
    inner = model.layers[1]
    np.testing.assert_allclose(
        shorter, model.get_layer("lstm")(inner(x[:, :2])), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("form", ["all", "no training", "keywords", "two"])
def test_compute_loss_in_every_signature(form):
    calls = []

    class Own(keras.Model):
        if form == "all":

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                calls.append(training)
                return ops.mean((y - y_pred) ** 2)

        elif form == "no training":

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                calls.append(None)
                return ops.mean((y - y_pred) ** 2)

        elif form == "keywords":

            def compute_loss(self, x, y, y_pred, sample_weight, **kwargs):
                calls.append(kwargs["training"])
                return super().compute_loss(x, y, y_pred, sample_weight, **kwargs)

        else:

            def compute_loss(self, x, y, y_pred, sample_weight, training=True):
                loss = super().compute_loss(x, y, y_pred, sample_weight)
                return loss + 0.0 * ops.sum(y_pred)

    expected = line()
    model = line(Own)
    model.set_weights(expected.get_weights())
    history = trained(model)
    np.testing.assert_allclose(history["loss"], trained(expected)["loss"], rtol=1e-5)
    assert calls or form == "two"


def test_a_test_step_may_return_a_number():
    class Own(keras.Model):
        def test_step(self, state, data):
            trainable, non_trainable, metrics = state
            x, y = data
            y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x)
            return self.compute_loss(x, y, y_pred), (trainable, non_trainable, metrics)

    model = line(Own)
    model.compile("sgd", "mse")
    expected = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    assert model.evaluate(X, Y, batch_size=6, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_users_loss_of_one_number_takes_masks_and_weights():
    def loss(y_true, y_pred):
        return ops.mean((y_true - y_pred) ** 2)

    inputs = keras.Input((4, 3))
    hidden = layers.Masking()(inputs)
    model = keras.Model(inputs, layers.Dense(1)(hidden))
    x = np.ones((6, 4, 3), "float32")
    x[:, 2:] = 0
    y = np.ones((6, 4, 1), "float32")
    history = trained(model, x, y, loss=loss)
    assert np.isfinite(history["loss"]).all()
    model.fit(x, y, sample_weight=np.ones(6), verbose=0)
    assert np.isfinite(model.evaluate(x, y, sample_weight=2 * np.ones(6), verbose=0))


def test_a_build_that_calls_its_parents():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def build(self, input_shape):
            self.dense.build(input_shape)
            super().build(input_shape)

        def call(self, inputs):
            return self.dense(inputs)

    model = Own()
    model.build((None, 4))
    assert model.built
    assert len(model.weights) == 2
    assert len(trained(Own())["loss"]) == 2


def test_metrics_and_steps_of_ones_own():
    class Own(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = keras.metrics.Mean(name="seen")

        @property
        def metrics(self):
            return [self.seen]

        def train_step(self, state, data):
            trainable, non_trainable, optimizer, metrics = state
            x, y = data

            def loss(trainable):
                y_pred, new = self.stateless_call(trainable, non_trainable, x, training=True)
                return self.compute_loss(x, y, y_pred), new

            (value, new), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            metrics = self.seen.stateless_update_state(metrics, value)
            logs = {"seen": self.seen.stateless_result(metrics)}
            return logs, (trainable, new, optimizer, metrics)

    inputs = keras.Input((4,))
    model = Own(inputs, layers.Dense(1)(inputs))
    history = trained(model)
    assert list(history) == ["seen"]
    assert history["seen"][1] < history["seen"][0]


@pytest.mark.parametrize("kind", ["call", "draw"])
def test_initializers_of_ones_own(kind):
    class Own(keras.initializers.Initializer):
        if kind == "call":

            def __call__(self, shape, dtype=None, **kwargs):
                return np.full(shape, 3.0, "float32")

        else:

            def draw(self, rng, shape, dtype):
                return np.full(shape, 3.0, "float32")

    dense = layers.Dense(2, kernel_initializer=Own())
    dense.build((None, 3))
    np.testing.assert_array_equal(dense.kernel, np.full((3, 2), 3.0))


def test_an_array_as_initializer():
    values = np.arange(6, dtype="float32").reshape(3, 2)

    class Own(layers.Layer):
        def build(self, input_shape):
            self.table = self.add_weight(shape=(3, 2), initializer=values)

        def call(self, inputs):
            return inputs @ self.table

    np.testing.assert_array_equal(Own()(np.eye(3, dtype="float32")), values)


def test_regularizers_constraints_and_losses_of_ones_own():
    class Twice(keras.regularizers.Regularizer):
        def __call__(self, x):
            return 2.0 * ops.sum(x)

    class Still(keras.constraints.Constraint):
        def __call__(self, w):
            return 0.0 * w + 0.5

    class Off(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.abs(y_true - y_pred) + 7.0

    inputs = keras.Input((4,))
    dense = layers.Dense(1, kernel_regularizer=Twice(), kernel_constraint=Still(), name="d")
    model = keras.Model(inputs, dense(inputs))
    history = trained(model, loss=Off())
    assert min(history["loss"]) > 7
    np.testing.assert_array_equal(model.get_layer("d").kernel, np.full((4, 1), 0.5, "float32"))


def test_an_update_step_of_ones_own():
    class Plain(keras.optimizers.Optimizer):
        def build(self, variables):
            super().build(variables)
            self.counts = [self.add_variable_from_reference(v, name="count") for v in variables]

        def update_step(self, gradient, variable, learning_rate):
            count = self.counts[self._get_variable_index(variable)]
            self.assign_add(count, ops.ones_like(count))
            self.assign_sub(variable, gradient * learning_rate)

    model, expected = line(), line()
    model.set_weights(expected.get_weights())
    own = Plain(learning_rate=0.01)
    np.testing.assert_allclose(
        trained(model, optimizer=own)["loss"],
        trained(expected, optimizer=keras.optimizers.SGD(0.01))["loss"], rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_array_equal(own.counts[0], np.full((4, 1), 4.0))


def test_metrics_of_ones_own_are_reset_and_read():
    log = []

    class Largest(keras.metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight(name="value", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value.assign(ops.maximum(self.value, ops.max(ops.abs(y_true))))

        def result(self):
            return self.value

        def reset_state(self):
            log.append("reset")
            self.value.assign(0.0)

    model = line()
    history = trained(model, metrics=[Largest()])
    assert history["largest"] == [pytest.approx(5 / 6)] * 2
    assert log


def test_hooks_of_batches_by_their_old_names():
    seen = []

    class Old(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append((batch, "loss" in logs))

    model = line()
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=3, verbose=0, callbacks=[Old()])
    assert seen == [(0, True), (1, True)]


def test_compute_output_shape_and_spec_of_ones_own():
    class Shape(layers.Layer):
        def call(self, inputs):
            return ops.concatenate([inputs, inputs], -1)

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 2 * input_shape[-1])

    class Spec(layers.Layer):
        def call(self, inputs):
            return ops.cast(inputs, "int32")

        def compute_output_spec(self, inputs):
            return ops.cast(inputs, "int32")

    x = keras.Input((3,))
    assert Shape()(x).shape == (None, 6)
    assert Spec()(x).dtype == "int32"


def test_own_variables_in_files(tmp_path):
    @keras.saving.register_keras_serializable("behaviour")
    class Own(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs):
            return inputs * self.scale

        def save_own_variables(self, store):
            store["scale"] = np.asarray(self.scale) * 10

        def load_own_variables(self, store):
            self.scale.assign(np.asarray(store["scale"]) / 10)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Own(name="own")(inputs))
    model.get_layer("own").scale.assign(4.0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert float(again.get_layer("own").scale) == 4.0


class ByApply(keras.optimizers.SGD):
    def apply(self, grads, trainable_variables=None):
        super().apply([0.5 * g for g in grads], trainable_variables)


class ByStatelessApply(keras.optimizers.SGD):
    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        halves = [0.5 * g for g in grads]
        return super().stateless_apply(optimizer_variables, halves, trainable_variables)


class ByLoss(keras.optimizers.SGD):
    def scale_loss(self, loss):
        return 0.5 * loss


class ByRate(keras.optimizers.SGD):
    @property
    def learning_rate(self):
        return 0.1

    @learning_rate.setter
    def learning_rate(self, value):
        pass


def from_ones(optimizer):
    model = line()
    model.set_weights([np.ones((4, 1)), np.zeros(1)])
    return trained(model, optimizer=optimizer)["loss"]


@pytest.mark.parametrize("cls", [ByApply, ByStatelessApply, ByLoss, ByRate])
@pytest.mark.parametrize("scaled", [False, True])
def test_methods_of_optimizers_are_called_in_fit(cls, scaled):
    expected = from_ones(keras.optimizers.SGD(0.1))
    wrapped = keras.optimizers.LossScaleOptimizer(cls(0.2)) if scaled else cls(0.2)
    np.testing.assert_allclose(from_ones(wrapped), expected, rtol=1e-5)


def test_variables_that_an_optimizer_creates_itself_are_state():
    class Counting(keras.optimizers.SGD):
        def __init__(self):
            super().__init__(0.1)
            self.steps = keras.Variable(np.float32(0), trainable=False, name="steps")

        def update_step(self, gradient, variable, learning_rate):
            self.steps.assign(self.steps + 1.0)
            super().update_step(gradient, variable, learning_rate / self.steps)

    own = Counting()
    losses = from_ones(own)
    assert float(own.steps) == 8  # two weights, four steps
    assert own.steps in own.variables
    assert losses[1] > from_ones(keras.optimizers.SGD(0.1))[1]


def test_a_subclass_of_an_initializer_calls_it():
    class Tripled(keras.initializers.RandomNormal):
        def __call__(self, shape, dtype=None):
            return 3.0 * super().__call__(shape, dtype)

    for seed in (5, None):
        kernels = []
        for cls in (keras.initializers.RandomNormal, Tripled):
            keras.utils.set_random_seed(1)
            dense = layers.Dense(2, kernel_initializer=cls(seed=seed))
            dense.build((None, 3))
            kernels.append(dense.get_weights()[0])
        np.testing.assert_allclose(kernels[1], 3 * kernels[0], rtol=1e-6)


def test_metrics_of_a_model_are_reset_and_read_by_its_methods():
    resets = []

    class Own(keras.Model):
        def reset_metrics(self):
            resets.append(1)
            super().reset_metrics()

        def get_metrics_result(self):
            return {**super().get_metrics_result(), "extra": 3.0}

    model = line(Own)
    assert trained(model)["extra"] == [3.0, 3.0]
    calls = [
        lambda: model.evaluate(X, Y, verbose=0, return_dict=True),
        lambda: model.train_on_batch(X, Y, return_dict=True),
        lambda: model.test_on_batch(X, Y, return_dict=True),
    ]
    for call in calls:
        resets.clear()
        assert call()["extra"] == 3
        assert resets


def test_a_function_of_ones_own_for_a_step_is_refused():
    class Own(keras.Model):
        def make_train_function(self, force=False):
            self.train_function = lambda iterator: {}

    with pytest.raises(keras.errors.ArgumentError, match="Override `train_step"):
        trained(line(Own))


def test_hooks_of_a_callback_list_of_ones_own():
    seen = []

    class Own(keras.callbacks.CallbackList):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)
            super().on_epoch_begin(epoch, logs)

        def on_train_batch_end(self, batch, logs=None):
            seen.append(f"batch {batch}")

    model = line()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=3, epochs=2, verbose=0, callbacks=Own())
    assert seen == [0, "batch 0", "batch 1", 1, "batch 0", "batch 1"]
    assert len(history.history["loss"]) == 2


def test_quantize_of_a_subclass():
    modes = []

    class Own(layers.Dense):
        def quantize(self, mode=None, *args, **kwargs):
            modes.append(mode)

    keras.Sequential([keras.Input((4,)), Own(2)]).quantize("int8")
    assert modes == ["int8"]


def test_results_of_several_outputs_are_in_keras_order():
    inputs = keras.Input((4,))
    first, second = layers.Dense(1, name="z")(inputs), layers.Dense(1, name="a")(inputs)
    for outputs, names in (
        ([first, second], ["loss", "z_loss", "a_loss", "a_mae", "a_mse", "z_mae"]),
        ({"z": first, "a": second}, ["loss", "a_loss", "z_loss", "a_mae", "a_mse", "z_mae"]),
    ):
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse", metrics={"z": ["mae"], "a": ["mse", "mae"]})
        y = {"z": Y, "a": Y}
        logs = model.evaluate(X, y, verbose=0, return_dict=True)
        assert model.evaluate(X, y, verbose=0) == [logs[name] for name in names]
