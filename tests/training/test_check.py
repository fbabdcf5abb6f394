"""Dry runs, the search for where a NaN began, and eager runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.config import set_dtype_policy
from lamina.errors import NonFiniteError, ShapeError, TrainingWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = RNG.normal(size=(64, 1)).astype("float32")


class Function(layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def model_with(layer, optimizer="sgd"):
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="out")(layer(hidden)))
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


# ---- the dry run -------------------------------------------------------------------------------


def test_a_dry_run_reports_and_changes_nothing():
    model = model_with(layers.ReLU(name="relu"))
    before = model.get_weights()
    found = model.fit(X, Y, batch_size=16, dry_run=True, verbose=0)
    assert [x.path for x in found.layers] == ["hidden", "relu", "out"]
    assert [x.outputs for x in found.layers] == [
        [((16, 3), "float32")], [((16, 3), "float32")], [((16, 1), "float32")],
    ]  # fmt: skip
    assert [x.parameters for x in found.layers] == [15, 0, 4]
    # Multiplications, additions of products, and of the bias: (2 * 4 + 1) * 3 a sample, ...
    assert [x.operations for x in found.layers] == [16 * 27, 16 * 3, 16 * 7]
    assert found.operations == 16 * 37
    assert [x.activation_bytes for x in found.layers] == [16 * 12, 16 * 12, 16 * 4]
    assert found.weight_bytes == 19 * 4
    assert sorted(found.logs) == ["loss", "mae"]
    assert found.bindings == [
        ("out", "(16, 1) float32", "(16, 1) float32", "mean_squared_error", "mae")
    ]
    assert int(model.optimizer.iterations) == 0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    text = str(found)
    assert "hidden (Dense)" in text
    assert "FLOPs: 592 forward" in text


def test_a_dry_run_finds_what_fit_would_refuse():
    model = model_with(layers.ReLU())
    with pytest.raises(ShapeError, match="targets and predictions do not match"):
        model.fit(X, RNG.normal(size=(64, 2)), dry_run=True, verbose=0)
    with pytest.raises(ShapeError, match="targets and predictions do not match"):
        model.fit(X, Y, validation_data=(X, RNG.normal(size=(64, 2))), dry_run=True, verbose=0)


def test_weights_that_no_loss_reaches_are_named():
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, name="cut_off")(inputs)
    stopped = Function(jax.lax.stop_gradient)(hidden)
    model = keras.Model(inputs, {"a": layers.Dense(1, name="a")(stopped),
                                 "b": layers.Dense(1, name="b")(inputs)})  # fmt: skip
    model.compile("sgd", {"a": "mse", "b": None})
    found = model.check(X, {"a": Y})
    assert found.unreached == ["b/bias", "b/kernel", "cut_off/bias", "cut_off/kernel"]
    assert [row[3] for row in found.bindings] == ["mean_squared_error", "none"]
    assert "Weights without a gradient from any loss: b/bias" in str(found)


@pytest.mark.filterwarnings("ignore:Layer 'ends'")
def test_masks_are_followed_to_their_end():
    inputs = keras.Input(("time",))
    x = layers.Embedding(9, 4, mask_zero=True, name="starts")(inputs)
    x = Function(lambda x: x * 2, name="ends")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    found = model.check(np.ones((2, 5)))
    assert [x.path for x in found.layers if x.masked] == ["starts"]
    assert found.lost_masks == ["ends"]


def test_a_mask_that_a_layer_uses_is_not_lost():
    inputs = keras.Input(("time",))
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = keras.Model(inputs, layers.LSTM(3)(x))
    assert model.check(np.ones((2, 5))).lost_masks == []


def test_shared_and_nested_layers_are_listed_once_each():
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(4, name="shared")(inner_in), name="inner")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inner(inputs)))
    found = model.check(X, batch_size=8)
    assert [(x.path, x.calls) for x in found.layers] == [("inner/shared", 2)]
    assert found.operations == 2 * 8 * (2 * 4 + 1) * 4
    assert found.logs == []  # not compiled


# ---- where a NaN began ---------------------------------------------------------------------------

BAD = {
    "output": (
        Function(jnp.log, name="culprit"),
        r"output of layer 'culprit' \(Function\): \d+ NaN",
    ),
    "gradient": (
        Function(lambda x: jnp.sqrt(x * 0), name="culprit"),
        r"gradient at the output of layer 'hidden' \(Dense\): .* NaN",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_the_first_layer_that_is_not_finite_is_named_and_the_weights_stay(what):
    layer, message = BAD[what]
    model = model_with(layer)
    before = model.get_weights()
    with pytest.raises(NonFiniteError, match=message):
        model.fit(X, Y, verbose=0, check_nans=True)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_in_the_data_is_found_with_its_samples():
    x = X.copy()
    x[5] = np.nan
    with pytest.raises(NonFiniteError, match=r"`x` of this batch .* samples \[5\]"):
        model_with(layers.ReLU()).fit(x, Y, verbose=0, check_nans=True, shuffle=False)


def test_a_rate_that_is_too_high_stops_before_the_weights_are_lost():
    model = model_with(layers.ReLU(), keras.optimizers.SGD(1e30))
    with pytest.raises(NonFiniteError, match="Training step 1 "):
        model.fit(X, Y, verbose=0, check_nans=True)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_guard_changes_no_number():
    histories, weights = [], []
    for guard in (False, True):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(3)
        model = model_with(layers.Dropout(0.5))
        histories.append(model.fit(X, Y, epochs=2, verbose=0, check_nans=guard).history)
        weights.append(model.get_weights())
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# ---- eager runs ---------------------------------------------------------------------------------


class Stack(keras.Model):
    def __init__(self, middle):
        super().__init__(name="stack")
        self.first, self.middle = layers.Dense(3), middle
        self.drop, self.last = layers.Dropout(0.3), layers.Dense(1)

    def call(self, x):
        return self.last(self.drop(self.middle(self.first(x))))


class Watching(layers.Layer):
    seen = None

    def call(self, x):
        Watching.seen.append(float(x.max().item()))  # a value, which no compiled run has
        return x * 2 if (x > -1e9).all() else x


def fitted(middle, eager):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model = Stack(middle)
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=eager)
    history = model.fit(X, Y, epochs=2, batch_size=16, verbose=0, validation_data=(X, Y)).history
    return model, history


def test_an_eager_run_has_values_everywhere_and_the_same_results():
    Watching.seen = []
    eager, eager_history = fitted(Watching(), eager=True)
    assert len(Watching.seen) >= 2 * (4 + 4)
    assert len(set(Watching.seen)) > 4
    compiled, history = fitted(Function(lambda x: x * 2), eager=False)
    assert history.keys() == eager_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(eager_history[name], values, rtol=1e-5)
    np.testing.assert_allclose(
        eager.predict(X, verbose=0), compiled.predict(X, verbose=0), rtol=1e-4, atol=1e-5
    )
    for a, b in zip(eager.get_weights(), compiled.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# ---- what is told once ---------------------------------------------------------------------------


def test_an_output_without_a_loss_is_told_unless_it_is_meant():
    inputs = keras.Input((4,))
    outputs = {"a": layers.Dense(1)(inputs), "b": layers.Dense(1)(inputs)}
    model = keras.Model(inputs, outputs)
    with pytest.warns(TrainingWarning, match=r"no entry for the outputs \['b'\]"):
        model.compile("sgd", {"a": "mse"})
    model.compile("sgd", {"a": "mse", "b": None})


def test_many_shapes_are_told_once():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(inputs))

    def run():
        for n in range(1, 9):
            model.predict(np.ones((2, n, 4)), verbose=0)

    with pytest.warns(
        TrainingWarning, match=r"predict\(\) of 'functional.*' is compiled again"
    ) as w:
        run()
    assert len(w) == 1


def test_half_precision_scales_the_loss():
    set_dtype_policy("mixed_float16")
    try:
        model = model_with(layers.ReLU())
    finally:
        set_dtype_policy(None)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()
