"""What people do wrong, and what they are told: before any training step."""

import warnings

import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.errors import (
    DataError,
    DTypeError,
    GraphError,
    NotCompiledError,
    ShapeError,
    StructureError,
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
    with pytest.raises(StructureError, match="Expected 2 input"):
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
