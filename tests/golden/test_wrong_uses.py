"""What people do wrong, and what they are told: before any training step."""

import warnings

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops
from lamina.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    GraphError,
    NotBuiltError,
    NotCompiledError,
    SerializationError,
    ShapeError,
    StructureError,
    SymbolicTensorError,
    TrainingWarning,
    UnknownNameError,
)


def compiled(outputs=1, loss="mse", **kwargs):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(outputs, name="score")(inputs))
    model.compile(optimizer="sgd", loss=loss, **kwargs)
    return model


X = np.ones((8, 3), "float32")


def test_adding_branches_of_different_sizes():
    a, b = keras.Input((3, 4), name="left"), keras.Input((3, 5), name="right")
    with pytest.raises(ShapeError) as e:
        layers.add([a, b])
    for part in ("(batch, 3, 4)", "(batch, 3, 5)", "left", "called at", "test_wrong_uses.py"):
        assert part in str(e.value)


def test_wrong_channels_name_the_way_and_the_line():
    conv = layers.Conv2D(4, 3, name="conv")
    conv(keras.Input((8, 8, 3)))
    x = layers.ZeroPadding2D(name="pad")(keras.Input((8, 8, 1), name="photo"))
    with pytest.raises(ShapeError) as e:
        conv(x)
    for part in ("conv", "photo (batch, 8, 8, 1) -> pad (batch, 10, 10, 1) -> conv", "expected:",
                 "received:", "test_wrong_uses.py"):  # fmt: skip
        assert part in str(e.value)


def test_a_layer_instead_of_its_result():
    with pytest.raises(GraphError, match="forget to call it"):
        layers.add([keras.Input((3,)), layers.Dense(3)])


def test_an_input_that_does_not_reach_the_output():
    a, b = keras.Input((3,), name="used"), keras.Input((3,), name="forgotten")
    y = layers.Dense(1)(layers.add([a, b]))
    with pytest.raises(GraphError, match="forgotten"):
        keras.Model(a, y)


def test_targets_of_one_column_may_lack_it():
    model = compiled()
    flat = model.evaluate(X, np.arange(8.0), verbose=0)
    column = model.evaluate(X, np.arange(8.0)[:, None], verbose=0)
    assert flat == pytest.approx(column)


def test_targets_of_another_width_are_refused():
    model = compiled(3)
    with pytest.raises(ShapeError) as e:
        model.fit(X, np.ones((8, 2)), verbose=0)
    for part in ("score", "2)", "3)"):
        assert part in str(e.value)
    assert int(model.optimizer.iterations) == 0 if model.optimizer.built else True


def test_unknown_names_list_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'mean_squared_error'"):
        compiled(loss="mean_square_error")
    with pytest.raises(UnknownNameError, match="accuracy"):
        compiled(metrics=["accurracy"]).fit(X, np.ones(8), verbose=0)
    with pytest.raises(UnknownNameError, match=r"scor.*Did you mean 'score'"):
        compiled(loss={"scor": "mse"})
    with pytest.raises(UnknownNameError, match="optimizer"):
        keras.Sequential([layers.Dense(1)]).compile(optimizer="adm", loss="mse")
    with pytest.raises(UnknownNameError, match="score"):
        compiled().fit(X, {"scores": np.ones(8)}, verbose=0)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'score'"):
        compiled().get_layer("scores")
    with pytest.raises(UnknownNameError, match="relu"):
        layers.Dense(1, activation="rely")


def test_empty_data():
    with pytest.raises(DataError, match="no samples"):
        compiled().fit(np.ones((0, 3)), np.ones((0, 1)), verbose=0)
    with pytest.raises(DataError, match="no data"):
        compiled().fit(verbose=0)
    with pytest.raises(DataError, match="no batch"):
        compiled().fit(iter([]), verbose=0)


def test_lengths_that_differ():
    with pytest.raises(DataError, match=r"x of shape \(8, 3\), y of shape \(7,\)"):
        compiled().fit(X, np.ones(7), verbose=0)


def test_rows_of_different_length():
    with pytest.raises(DTypeError, match=r"rows of different length"):
        compiled().fit(np.array([[1, 2], [3]], dtype=object), np.ones(2), verbose=0)


def test_data_of_another_shape_than_the_input():
    with pytest.raises(ShapeError, match=r"expected: \(batch, 3\)(.|\n)*received: \(8, 4\)"):
        compiled().fit(np.ones((8, 4)), np.ones(8), verbose=0)
    with pytest.raises(ShapeError, match="batch axis missing"):
        compiled().predict(np.ones(3), verbose=0)


def test_missing_and_extra_keys():
    a, b = keras.Input((2,), name="title"), keras.Input((2,), name="body")
    model = keras.Model([a, b], layers.Dense(1)(layers.concatenate([a, b])))
    with pytest.raises(StructureError, match=r"no entry for \['body'\]"):
        model.predict({"title": np.ones((1, 2))}, verbose=0)
    with pytest.warns(TrainingWarning, match="author"):
        model.predict(dict.fromkeys(("title", "body", "author"), np.ones((1, 2))), verbose=0)
    with pytest.raises(StructureError, match="has 1 entry"):
        model.predict([np.ones((1, 2))], verbose=0)


def test_a_loss_that_is_no_number_is_told_once_with_its_step():
    model = compiled()
    x = X.copy()
    x[5] = np.nan
    with pytest.warns(TrainingWarning, match=r"since training step 2") as caught:
        model.fit(x, np.ones(8), batch_size=2, epochs=3, shuffle=False, verbose=0)
    assert sum("since training step" in str(w.message) for w in caught) == 1


def test_fit_before_compile():
    with pytest.raises(NotCompiledError, match="compile"):
        keras.Sequential([layers.Dense(1)]).fit(X, np.ones(8))


def test_data_in_another_order_of_names_means_the_same():
    a, b = keras.Input((2,), name="zebra"), keras.Input((2,), name="apple")
    model = keras.Model({"zebra": a, "apple": b}, {"z": a * 1.0, "a": b * 2.0})
    ones, twos = np.ones((1, 2), "float32"), np.full((1, 2), 2.0, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = model.predict({"apple": twos, "zebra": ones}, verbose=0)
    assert list(out) == ["z", "a"]
    assert out["z"].tolist() == [[1.0, 1.0]]
    assert out["a"].tolist() == [[4.0, 4.0]]


class Multiplied(layers.Layer):
    def call(self, x):
        return ops.matmul(x, np.ones((4, 2), "float32"))


class Shifted(keras.Model):
    def call(self, x):
        return ops.add(x, ops.ones((2,)))


def a_metric_of_other_shapes(y_true, y_pred):
    return ops.add(y_true, ops.zeros((7, 1)))


def a_metric_fitted():
    compiled(metrics=[a_metric_of_other_shapes]).fit(X, np.ones((8, 1)), verbose=0)


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        (lambda: Multiplied(name="m")(X), ["ops.matmul", "(8, 3) float32, (4, 2) float32"]),
        (lambda: Shifted().predict(X, verbose=0), ["ops.add", "(batch, 3) float32, (2,)"]),
        (lambda: Shifted()(X), ["ops.add", "(8, 3) float32, (2,) float32"]),
        (a_metric_fitted, ["Metric 'a_metric_of_other_shapes'", "(8, 1) float32, (7, 1)"]),
        (lambda: ops.mean(X, axis=5), ["ops.mean", "axis=5 is out of range", "(8, 3) float32"]),
        (lambda: ops.mean(keras.Input((3,)), axis=5), ["ops.mean", "axis=5 is out of range"]),
        (lambda: keras.random.normal((2, -1)), ["normal()", "at least 0. Received: (2, -1)"]),
    ],
)
def test_an_op_tells_what_it_received_wherever_it_is_called(run, parts):
    with pytest.raises(ShapeError) as e:
        run()
    for part in parts:
        assert part in str(e.value)


def test_text_is_no_input_of_a_layer_of_numbers():
    with pytest.raises(DTypeError, match="takes numbers"):
        layers.Dense(2)("text")


def test_segments_of_unknown_values_need_their_number():
    @jax.jit
    def summed(ids):
        return ops.segment_sum(X, ids)

    with pytest.raises(ArgumentError, match="segment_sum needs `num_segments`"):
        summed(np.zeros(8, "int32"))


class LossOfItsOwn(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return float(ops.mean(y_pred))


def fitted_alone(cls):
    model = cls([layers.Dense(1)])
    model.compile("sgd")
    model.fit(X, np.ones((8, 1)), verbose=0)


@pytest.mark.parametrize(
    "run",
    [
        lambda: compiled(loss=lambda y, p: p.numpy().mean()).fit(X, np.ones((8, 1)), verbose=0),
        lambda: compiled(metrics=[lambda y, p: float(ops.mean(p))]).fit(X, X[:, :1], verbose=0),
        lambda: fitted_alone(LossOfItsOwn),
    ],
)
def test_code_that_needs_values_is_told_without_terms_of_jax(run):
    with pytest.raises(SymbolicTensorError, match="needs the values of a tensor") as e:
        run()
    assert "lamina.ops.where" in str(e.value)
    assert "racer" not in str(e.value)
    assert e.value.__suppress_context__
    assert e.traceback[-1].path.name == "test_wrong_uses.py"


@pytest.mark.parametrize("weights", ["balanced", np.array([0.5, 2.0])])
def test_class_weights_are_a_dict(weights):
    with pytest.raises(ArgumentError, match=r"is a dict.*dict\(enumerate\(weights\)\)"):
        compiled().fit(X, np.ones(8), class_weight=weights, verbose=0)


def test_the_state_of_a_metric_has_all_its_arrays():
    with pytest.raises(StructureError, match=r"metric 'mean'.*mean/total.*Received 1"):
        keras.metrics.Mean(name="mean").stateless_update_state([0.0], X)


def test_a_validation_frequency_of_zero():
    with pytest.raises(
        ArgumentError, match=r"`validation_freq` is a positive integer. Received: 0"
    ):
        compiled().fit(X, X[:, :1], validation_data=(X, X[:, :1]), validation_freq=0)


@pytest.mark.parametrize("epochs", ["1", [1.5]])
def test_validation_after_epochs_that_do_not_exist(epochs):
    with pytest.raises(ArgumentError, match=r"epochs after which to validate.*such as \[1, 5\]"):
        compiled().fit(X, X[:, :1], validation_data=(X, X[:, :1]), validation_freq=epochs)


def test_none_among_metrics():
    with pytest.raises(ArgumentError, match="contains None"):
        compiled(metrics=["mae", None])


def test_the_decay_of_keras_2_names_the_schedule():
    with pytest.raises(ArgumentError, match="InverseTimeDecay"):
        keras.optimizers.SGD(0.1, decay=1e-3)


def test_gradients_for_an_optimizer_without_variables():
    with pytest.raises(StructureError, match="has no variables yet"):
        keras.optimizers.SGD().apply([X])


class Counter(keras.metrics.Metric):
    def __init__(self):
        self.count = self.add_weight(shape=(), name="count")


class Double(keras.losses.Loss):
    def __init__(self):
        self.factor = 2.0

    def call(self, y_true, y_pred):
        return self.factor * y_pred


class Scaled(layers.Layer):
    def __init__(self):
        self.scale = self.add_weight(shape=(1,))


class Halved(keras.optimizers.Optimizer):
    def __init__(self):
        self.factor = 0.5


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (Counter, "Counter"), (Scaled, "Scaled"), (lambda: Double()(X, X), "Double"),
        (lambda: Halved().build([]), "Halved"),
    ],
)  # fmt: skip
def test_a_constructor_that_does_not_call_that_of_its_base(use, name):
    with pytest.raises(NotBuiltError, match=rf"{name}.__init__ did not call `super"):
        use()


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: keras.models.model_from_json('{"a": 1}'), SerializationError,
         "damaged: 'class_name' is missing"),
        (lambda: keras.models.model_from_json("[1]"), SerializationError,
         "no model, but an object of type list"),
        (lambda: keras.models.model_from_json(3), ArgumentError, r"3 \(of type int\)"),
        (lambda: compiled().summary(print_fn=3), ArgumentError, "a function of the text"),
        (lambda: layers.Dense(2).add_weight((2,), name=3), ArgumentError, "name of a variable.* 3"),
        (lambda: layers.Dense(2).add_weight((-2,)), ShapeError, r"Received: shape=\(-2,\)"),
        (lambda: keras.utils.to_categorical([0], 0), ArgumentError, "`num_classes` is a positive"),
    ],
)  # fmt: skip
def test_what_is_given_is_told(use, error, message):
    with pytest.raises(error, match=message):
        use()
