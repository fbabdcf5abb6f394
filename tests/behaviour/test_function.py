"""`Function`: the part of a graph between tensors, on arrays and on other tensors."""

import keras
import numpy as np
import pytest

import lamina
from lamina.errors import GraphError, LaminaError, ShapeError, StructureError

X = np.arange(6.0, dtype="float32").reshape(2, 3)


def scripted(library):
    """What a program does with functions, in numbers and shapes."""
    x = library.Input((3,))
    y = library.Input((3,))
    total = x * 2.0 + y
    several = library.Function({"a": x, "b": y}, [total, library.ops.sum(total, axis=-1)])
    inner = library.Function([x, y], library.ops.exp(-total), name="inner")
    found = [np.asarray(v) for v in several({"a": X, "b": X})]
    found += [np.asarray(inner([X, X])), inner.name]
    z = library.Input((3,))
    on = inner([z, z + 1.0])
    found += [np.asarray(library.Model(z, on)(X)), tuple(on.shape)]
    found += [tuple(s) for s in several.compute_output_shape({"a": (4, 3), "b": (None, 3)})]
    found += [len(several.inputs), len(several.outputs)]
    return found


def test_the_same_as_in_keras():
    for a, b in zip(scripted(lamina), scripted(keras), strict=True):
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-6)
        elif not (isinstance(b, tuple) and 4 in b):  # sizes of batches that differ
            assert a == b


def test_layers_are_shared():
    x = lamina.Input((3,))
    dense = lamina.layers.Dense(2)
    function = lamina.Function(x, dense(x))
    z = lamina.Input((3,))
    model = lamina.Model(z, function(z) + 1.0)
    np.testing.assert_allclose(model(X), dense(X) + 1.0, rtol=1e-6)
    assert [v.path for v in model.variables] == ["dense/kernel", "dense/bias"]
    assert dense in function.operations
    assert function.input is x
    assert function.output is function.outputs[0]


def test_wrong_uses_are_told():
    x = lamina.Input((3,))
    function = lamina.Function(x, x * 2.0)
    for wrong, error in (
        (lambda: function(np.ones((2, 4))), ShapeError),
        (lambda: function(lamina.Input((4,))), ShapeError),
        (lambda: function([X, X]), StructureError),
        (lambda: lamina.Function(x, lamina.Input((3,))), GraphError),
        (lambda: lamina.Function(x, X), GraphError),
    ):
        with pytest.raises(error) as told:
            wrong()
        assert isinstance(told.value, LaminaError)
