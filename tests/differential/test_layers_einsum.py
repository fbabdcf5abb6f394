"""EinsumDense and ReversibleEmbedding: what Keras refuses and what it makes of shapes."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError

ROWS = [
    ("ab,bc->ac", 3, "c", (2, 4)),
    ("abc,cd->abd", (None, 3), None, (2, 5, 4)),
    ("abc,cde->abde", (None, 3, 2), "de", (2, 5, 4)),
    ("abc,cde->abde", (None, 3, 2), "e", (2, 5, 4)),
    ("abc,cde->abde", (None, 3, 2), "d", (2, 5, 4)),
    ("abcd,cde->abe", (5, 3), "be", (2, 5, 4, 6)),
    ("abc,bcd->ad", 3, "d", (2, 5, 4)),
    ("abc,bd->adc", (3, None), "d", (2, 5, 4)),
    ("...x,xy->...y", 3, "y", (2, 5, 6, 4)),
    ("...ab,abc->...c", 3, "c", (2, 5, 4)),
    ("ab...,bc->ac...", 3, "c", (2, 4, 5, 6)),
    ("ab...,bcd->acd...", (3, 2), "d", (2, 4, 5)),
]


@pytest.mark.parametrize(("equation", "output_shape", "bias_axes", "shape"), ROWS)
def test_shapes_and_numbers(equation, output_shape, bias_axes, shape):
    made = []
    for module in (layers, keras.layers):
        layer = module.EinsumDense(equation, output_shape, "tanh", bias_axes)
        layer.build(shape)
        made.append(layer)
    ours, theirs = made
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    rng = np.random.default_rng(0)
    values = [rng.normal(size=w.shape).astype("float32") for w in ours.weights]
    ours.set_weights(values)
    theirs.set_weights(values)
    x = rng.normal(size=shape).astype("float32")
    np.testing.assert_allclose(ours(x), np.asarray(theirs(x)), rtol=1e-5, atol=1e-5)
    symbolic = lamina.Input(shape[1:])
    assert layers.EinsumDense(equation, output_shape, None, bias_axes)(symbolic).shape == (
        None, *theirs(x).shape[1:],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("equation", "output_shape", "bias_axes"),
    [
        ("ab->ac", 3, None), ("ab,bc", 3, None), ("...ab,bc->ac", 3, None),
        ("...ab...,bc->...ac...", 3, None), ("ab,bc->ad", 3, None), ("abb,bc->ac", 3, None),
        ("ab,bcd->ac", 3, None), ("ab,bc->ac", (3, 4), None), ("ab,bc->ac", 3, "b"),
        ("ab,bc->ac", "3", None),
    ],
)  # fmt: skip
def test_wrong_equations_are_refused(equation, output_shape, bias_axes):
    with pytest.raises(ArgumentError, match="EinsumDense"):
        layers.EinsumDense(equation, output_shape, bias_axes=bias_axes)


def test_wrong_inputs_are_refused():
    with pytest.raises(ShapeError, match="2"):
        layers.EinsumDense("ab,bc->ac", 3)(np.ones((2, 3, 4), "float32"))
    with pytest.raises(ShapeError, match="axis 'b', from `output_shape`"):
        layers.EinsumDense("abc,cd->abd", (4, 3))(np.ones((2, 5, 4), "float32"))
    with pytest.raises(ArgumentError, match=r"sizes of \['c'\]"):
        layers.EinsumDense("ab,bc->ac", None)(np.ones((2, 4), "float32"))
    with pytest.raises(ShapeError):
        layers.EinsumDense("abc,bd->adc", (3, None))(lamina.Input((None, 4)))


def test_a_reversible_embedding_passes_masks_on():
    ids = np.array([[1, 0, 2]])
    layer = layers.ReversibleEmbedding(5, 3, mask_zero=True)
    inputs = lamina.Input((None,), dtype="int32")
    x = layer(inputs)
    scores = layer(x, reverse=True)
    assert x.mask is not None
    assert scores.mask is not None
    model = lamina.Model(inputs, scores)
    theirs = keras.layers.ReversibleEmbedding(5, 3, mask_zero=True)
    theirs.build((None,))
    theirs.set_weights(layer.get_weights())
    expected = theirs(np.asarray(theirs(ids)), reverse=True)
    np.testing.assert_allclose(model.predict(ids, verbose=0), np.asarray(expected), rtol=1e-5)


def test_the_dtype_of_scores():
    layer = layers.ReversibleEmbedding(5, 3, reverse_dtype="float32", dtype="bfloat16")
    x = layer(np.array([1, 2]))
    assert (str(x.dtype), str(layer(x, reverse=True).dtype)) == ("bfloat16", "float32")


def test_configs_become_layers():
    config = keras.layers.serialize(keras.layers.Dense(3, activation="relu"))
    dense = layers.deserialize(config)
    assert layers.serialize(dense) == layers.serialize(layers.deserialize(layer_record(dense)))
    assert (dense.units, dense.activation.__name__) == (3, "relu")


def layer_record(layer):
    return {"class_name": "Dense", "config": layer.get_config()}


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
def test_integers_outside_the_table(mode):
    results = []
    for library in (keras, lamina):
        layer = library.layers.Embedding(3, 4, embeddings_initializer="ones")
        layer.build()
        if mode is not None:
            layer.quantize(mode)
        results.append(np.asarray(layer(np.array([[7, -1, -5, 2]], "int32"))))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)
    assert np.isnan(results[1]).any(-1).tolist() == [[True, False, True, False]]
