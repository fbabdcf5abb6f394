import jax
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError
from tests.cases.layers_reshaping import CASES
from tests.differential.oracle import compare


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


WRONG = [
    (lambda: layers.Permute((2, 1), name="culprit"), (2, 3), "3 axes"),
    (lambda: layers.RepeatVector(2, name="culprit"), (2, 3, 4), "2 axes"),
    (lambda: layers.Reshape((5, 2), name="culprit"), (2, 3, 4), r"as many elements as \(5, 2\)"),
    (lambda: layers.Reshape((5, -1), name="culprit"), (2, 3, 4), "or a multiple"),
    (lambda: layers.Reshape((0, -1), name="culprit"), (2, 3, 4), "or a multiple"),
]


@pytest.mark.parametrize(("layer", "shape", "expected"), WRONG)
@pytest.mark.parametrize("symbolic", [True, False])
def test_wrong_shapes(layer, shape, expected, symbolic):
    x = lamina.Input(shape[1:]) if symbolic else np.ones(shape, "float32")
    received = str(shape).replace("2", "batch", 1) if symbolic else str(shape)
    with pytest.raises(ShapeError, match=rf"culprit[\s\S]*{expected}") as e:
        layer()(x)
    assert received in str(e.value)


def test_the_function_of_a_lambda_layer_learns_whether_it_trains():
    function = lambda x, training=False: x + 1 if training else x
    x = np.zeros((2, 3), "float32")
    for library in (lamina, keras):
        layer = library.layers.Lambda(function)
        assert [float(layer(x, training=t)[0, 0]) for t in (True, False)] == [1, 0]
    inputs = lamina.Input((3,))
    model = lamina.Model(inputs, layers.Lambda(function)(inputs))
    assert [float(model(x, training=t)[0, 0]) for t in (True, False)] == [1, 0]
    with pytest.raises(lamina.errors.SerializationError, match="lambda"):
        model.to_json()
    fixed = layers.Lambda(function, arguments={"training": True})
    assert float(fixed(x, training=False)[0, 0]) == 1


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Permute((1,)), (None, 3, 4)),
        (layers.RepeatVector(2), (None, 3, 4)),
        (layers.AdaptiveMaxPooling2D(2), (None, 0, 3, 2)),
    ],
)
def test_shapes_that_do_not_fit_name_the_layer(layer, shape):
    with pytest.raises(ShapeError, match=rf"{type(layer).__name__}\) cannot take this input"):
        layer.compute_output_shape(shape)


def test_wrong_arguments():
    for target in (12, "ab", None, (-1, -1), (None, -1), (-2, 3), (1.5, 2)):
        with pytest.raises(ArgumentError, match="target_shape"):
            layers.Reshape(target)
    for dims in ((0, 1), (1, 1), (1, 3), 1):
        with pytest.raises(ArgumentError, match="dims"):
            layers.Permute(dims)
    for n in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError, match="n"):
            layers.RepeatVector(n)
    with pytest.raises(ArgumentError, match="data_format"):
        layers.Flatten("rows_first")


def test_named_sizes_become_formulas():
    assert layers.Reshape((-1, 2))(lamina.Input(("time", 4))).dims == ("batch", "2*time", 2)
    assert layers.Flatten()(lamina.Input(("h", "w", 3))).dims == ("batch", "3*h*w")
    assert layers.Permute((2, 1))(lamina.Input(("time", 4))).dims == ("batch", 4, "time")
    assert layers.RepeatVector(5)(lamina.Input(("n",))).dims == ("batch", 5, "n")


@pytest.mark.parametrize(("target", "made"), [((2, 6), (2, 6)), ((-1, 6), (None, 6))])
def test_an_open_size_may_fit(target, made):
    """Whether 3 * time is a multiple of 6 shows when time has a value."""
    layer = layers.Reshape(target)
    x = lamina.Input((None, 3))
    y = layer(x)
    assert y.shape == (None, *made)
    model = lamina.Model(x, y)
    assert model(np.ones((5, 4, 3), "float32")).shape == (5, 2, 6)
    with pytest.raises(ShapeError, match="cannot reshape"):
        model(np.ones((5, 3, 3), "float32"))
    with pytest.raises(ShapeError, match="cannot reshape"):
        jax.jit(layer)(np.ones((5, 3, 3), "float32"))


def test_an_open_size_written_as_none_is_minus_one():
    assert layers.Reshape((None, 4)).target_shape == (-1, 4)


def test_both_layouts_flatten_to_one_row():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    last = layers.Flatten("channels_last")(x)
    first = layers.Flatten("channels_first")(np.moveaxis(x, -1, 1))
    np.testing.assert_array_equal(last, first)
