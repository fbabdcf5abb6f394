"""What goes wrong in other libraries, by their public threads, and has to come out right here."""

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import ShapeError, StructureError, TrainingWarning

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def linear(units=1, name="score"):
    """Outputs are ``X @ kernel`` with a known kernel."""
    inputs = keras.Input((3,), name="features")
    model = keras.Model(inputs, layers.Dense(units, use_bias=False, name=name)(inputs))
    kernel = np.arange(3 * units, dtype="float32").reshape(3, units)
    model.set_weights([kernel])
    return model, X @ kernel


# keras-team/keras#14627: a target vector against a column of outputs made an (n, n) matrix of
# differences, and its mean was reported as the loss.
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh", "binary_crossentropy"])
def test_a_vector_of_targets_means_a_column(loss):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    model.compile(loss=loss, metrics=["mae"])
    y = (X[:, 0] > 0).astype("float32")
    flat, column = model.evaluate(X, y, verbose=0), model.evaluate(X, y[:, None], verbose=0)
    assert flat == column
    p = model.predict(X, verbose=0)[:, 0]
    assert flat[1] == pytest.approx(np.abs(y - p).mean(), rel=1e-5)


@pytest.mark.parametrize("shape", [(8, 3), (1,), (8, 8), (8, 1, 2)])
def test_targets_are_never_broadcast(shape):
    model, _ = linear(units=2)
    model.compile(loss="mse")
    with pytest.raises((ShapeError, ValueError), match=r"targets|number of samples"):
        model.evaluate(X, np.ones(shape), verbose=0)


# keras-team/keras#20596: losses of a dict were applied in the alphabetical order of its keys.
def test_losses_go_to_the_outputs_of_their_names():
    inputs = keras.Input((3,))
    outputs = {"zebra": inputs[:, :1] * 1.0, "apple": inputs[:, :1] * 2.0}
    model = keras.Model(inputs, outputs)
    model.compile(loss={"apple": "mae", "zebra": "mse"}, loss_weights={"zebra": 10, "apple": 1})
    targets = {"apple": np.zeros(8), "zebra": np.zeros(8)}
    logs = model.evaluate(X, targets, verbose=0, return_dict=True)
    mse, mae = (X[:, 0] ** 2).mean(), np.abs(2 * X[:, 0]).mean()
    assert logs["zebra_loss"] == pytest.approx(mse, rel=1e-5)
    assert logs["apple_loss"] == pytest.approx(mae, rel=1e-5)
    assert logs["loss"] == pytest.approx(10 * mse + mae, rel=1e-5)
    in_order = model.evaluate(X, dict(reversed(targets.items())), verbose=0, return_dict=True)
    assert in_order == logs


# keras-team/keras#20613: a model made with a list and fed with a dict took its inputs in the
# alphabetical order of their names.
def test_a_dict_feeds_a_list_of_inputs_by_name():
    b, a = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    model = keras.Model([b, a], b - 10.0 * a)
    ones, twos = np.ones((1, 1)), np.full((1, 1), 2.0)
    for data in ({"a": ones, "b": twos}, {"b": twos, "a": ones}, [twos, ones]):
        assert model.predict(data, verbose=0).item() == -8.0
        assert model(data).item() == -8.0
    model.compile(loss="mae")
    assert model.evaluate({"a": ones, "b": twos}, np.zeros(1), verbose=0) == 8.0


def test_a_list_does_not_feed_named_inputs():
    b, a = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    model = keras.Model({"b": b, "a": a}, b - 10.0 * a)
    with pytest.raises(StructureError, match="by name"):
        model.predict([np.ones((1, 1)), np.ones((1, 1))], verbose=0)


# keras-team/keras#23258: an entry that the model does not know was used as its input.
def test_an_unknown_entry_is_never_the_input():
    model, want = linear()
    noise = np.full((8, 3), 100.0)
    with pytest.warns(TrainingWarning, match="weather"):
        got = model.predict({"features": X, "weather": noise}, verbose=0)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    with pytest.raises(StructureError, match=r"no entry for \['features'\].*\['weather'\]"):
        model.predict({"weather": noise}, verbose=0)


# keras-team/keras#21675: `loss` took the keys of a dict of outputs, and `metrics` refused them.
def test_an_output_has_one_name_for_everything():
    inputs = keras.Input((3,))
    first, second = (layers.Dense(1, name=f"layer_{i}")(inputs) for i in range(2))
    model = keras.Model(inputs, {"price": first, "rating": second})
    assert model.output_names == ["price", "rating"]
    model.compile(
        optimizer="sgd",
        loss={"price": "mse", "rating": "mae"},
        loss_weights={"price": 1.0, "rating": 0.5},
        metrics={"price": ["mae"], "rating": ["mse"]},
        weighted_metrics={"price": ["mse"]},
    )
    y = {"rating": np.ones(8), "price": np.ones(8)}
    weights = {"price": np.ones(8), "rating": np.ones(8)}
    history = model.fit(X, y, sample_weight=weights, verbose=0).history
    assert set(history) == {"loss", "price_loss", "rating_loss", "price_mae", "rating_mse",
                            "price_mse"}  # fmt: skip
    assert set(model.predict(X, verbose=0)) == {"price", "rating"}


# keras-team/keras#18416: arithmetic and merges dropped the mask, without a word.
IDS = np.array([[3, 5, 0, 0], [1, 0, 0, 0]])
THROUGH = {
    "nothing": lambda x: x,
    "times": lambda x: x * 1,
    "plus": lambda x: x + 0.0,
    "minus": lambda x: 0.0 - (-x),
    "itself": lambda x: (x + x) / 2.0,
    "op": lambda x: keras.ops.relu(x) - keras.ops.relu(-x),
    "add": lambda x: layers.Add()([x, x * 0.0]),
    "dropout": layers.Dropout(0.5),
}


@pytest.mark.parametrize("through", THROUGH)
def test_masks_pass_through_arithmetic(through):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(6, 2, mask_zero=True)(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(THROUGH[through](x)))
    table = model.layers[1].get_weights()[0]
    want = [table[[3, 5]].mean(0), table[[1]].mean(0)]
    for run in (lambda d: model.predict(d, verbose=0), model):
        np.testing.assert_allclose(run(IDS), want, rtol=1e-5, atol=1e-6)


# keras-team/keras#19311: a layer of two masked inputs received None in place of their masks.
class Overlap(layers.Layer):
    """How many steps count in both inputs."""

    def call(self, inputs, mask=None):
        first, second = mask
        return keras.ops.sum(keras.ops.cast(first & second, "float32"), axis=1, keepdims=True)

    def compute_mask(self, inputs, previous_mask):
        return None  # the steps are gone


class OverlapByName(Overlap):
    def call(self, inputs, mask=None):
        return super().call(inputs, [mask["left"], mask["right"]])


@pytest.mark.parametrize(
    ("layer", "nest"),
    [(Overlap, lambda a, b: [a, b]), (OverlapByName, lambda a, b: {"right": b, "left": a})],
)
def test_masks_arrive_in_the_structure_of_the_inputs(layer, nest):
    left, right = (keras.Input((4,), dtype="int32") for _ in range(2))
    embed = layers.Embedding(6, 2, mask_zero=True)
    overlap = layer()
    outputs = overlap(nest(embed(left), embed(right)))
    data = [IDS, np.array([[0, 2, 2, 2], [2, 2, 2, 0]])]
    model = keras.Model([left, right], outputs)
    for run in (lambda d: model.predict(d, verbose=0), model):
        assert np.asarray(run(data)).tolist() == [[1.0], [1.0]]
    assert overlap(nest(*map(embed, data))).tolist() == [[1.0], [1.0]]  # without a graph


# keras-team/keras#21519: a size of -1 was replaced by what it was while the model was built.
def test_an_open_size_of_a_reshape_stays_open():
    inputs = keras.Input((None, 4))
    x = layers.Reshape((-1, 2, 2))(inputs)
    model = keras.Model(inputs, x)
    assert model.output_shape == (None, None, 2, 2)
    for time in (3, 7):
        assert model.predict(np.ones((2, time, 4)), verbose=0).shape == (2, time, 2, 2)
    record = next(r for r in model.get_config()["layers"] if r["class_name"] == "Reshape")
    assert tuple(record["config"]["target_shape"]) == (-1, 2, 2)
    again = keras.Model.from_config(model.get_config())
    assert again.predict(np.ones((2, 5, 4)), verbose=0).shape == (2, 5, 2, 2)


# keras-team/keras#19689: two copies of one model did not go into one graph, because of their names.
def backbone():
    inputs = keras.Input((3,), name="image")
    x = layers.Dense(4, name="conv1")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="conv2")(x), name="backbone")


def test_two_copies_of_a_model_in_one_graph(tmp_path):
    left, right = backbone(), backbone()
    right.name = "backbone_right"
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.concatenate([left(inputs), right(inputs)]))
    assert len(model.named_variables()) == 8
    model.compile(optimizer="sgd", loss="mse")
    model.fit(X, np.ones((8, 4)), verbose=0)
    model.save(tmp_path / "twins.keras")
    again = keras.saving.load_model(tmp_path / "twins.keras")
    np.testing.assert_array_equal(
        again.predict(X, verbose=0), model.predict(X, verbose=0)
    )  # fmt: skip


def test_a_model_with_taken_names_says_how_to_rename():
    inputs = keras.Input((3,))
    with pytest.raises(keras.errors.GraphError, match=r"'backbone'.*`layer.name`"):
        keras.Model(inputs, layers.add([backbone()(inputs), backbone()(inputs)]))


# keras-team/keras#22413: changing `trainable` after `compile` had no effect, without a word.
def test_freezing_after_compile_takes_effect_at_the_next_fit():
    inputs = keras.Input((3,))
    hidden = layers.Dense(4, name="hidden")
    model = keras.Model(inputs, layers.Dense(1, name="head")(hidden(inputs)))
    model.compile(optimizer="sgd", loss="mse")
    y = np.ones(8)
    for trains in (True, False, True):
        hidden.trainable = trains
        before = [v.numpy() for v in model.weights]
        model.fit(X, y, verbose=0)
        moved = {v.path for v, b in zip(model.weights, before, strict=True)
                 if not np.array_equal(v.numpy(), b)}  # fmt: skip
        own = {"hidden/kernel", "hidden/bias"}
        assert moved == {"head/kernel", "head/bias"} | (own if trains else set())
