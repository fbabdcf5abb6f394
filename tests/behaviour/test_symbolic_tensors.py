"""Symbolic tensors made by hand, as users' layers return them from `compute_output_spec`."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, GraphError


def test_what_layers_return_is_one():
    x = lamina.Input((3,))
    assert isinstance(x, lamina.KerasTensor)
    assert isinstance(layers.Dense(2)(x), lamina.KerasTensor)
    assert not isinstance(np.ones(2), lamina.KerasTensor)


@pytest.mark.parametrize("args", [((None, 3),), ([2, 3], "int32"), ((), "bool")])
def test_shapes_and_dtypes_are_those_of_keras(args):
    ours, theirs = lamina.KerasTensor(*args, name="a"), keras.KerasTensor(*args, name="a")
    for attribute in ("shape", "dtype", "ndim", "name", "sparse", "ragged"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    if len(ours.shape) == 2:
        assert ours.reshape((-1, 1)).shape == theirs.reshape((-1, 1)).shape


def test_names_are_automatic():
    assert [lamina.KerasTensor((1,)).name for _ in range(2)] == ["keras_tensor", "keras_tensor_1"]
    assert lamina.KerasTensor((None, "time", 1)).squeeze(-1).dims == ("batch", "time")


def test_a_layer_may_say_its_spec():
    class First(layers.Layer):
        def call(self, x):
            return x[:, :2]

        def compute_output_spec(self, x):
            return lamina.KerasTensor((x.shape[0], 2), x.dtype)

    x = lamina.Input((5,))
    y = First()(x)
    assert y.shape == (None, 2)
    assert y.node.inputs == [x]
    assert lamina.Model(x, y).predict(np.ones((3, 5)), verbose=0).shape == (3, 2)


def test_a_model_has_inputs():
    x = lamina.KerasTensor((None, 3))
    with pytest.raises(GraphError, match=r"lamina\.Input"):
        lamina.Model(x, layers.Dense(2)(x))
    with pytest.raises(ArgumentError, match="dense"):
        lamina.KerasTensor((None, 3), sparse=True)
