import itertools

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.scope import get_mask
from lamina.errors import ArgumentError, ShapeError, StructureError
from tests.cases.layers_merging import ALL, CASES
from tests.differential.oracle import compare


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


def tensors(*shapes, symbolic):
    if symbolic:
        return [lamina.Input(shape[1:]) for shape in shapes]
    return [np.ones(shape, "float32") for shape in shapes]


UNEQUAL = [
    ((2, 3, 4), (2, 3, 5)),
    ((2, 3, 4), (2, 3)),
    ((2, 3, 4), (2, 5)),
    ((2, 3), (2, 4)),
    ((2, 4), (2, 4), (2, 5)),
]


@pytest.mark.parametrize("shapes", UNEQUAL, ids=str)
@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("symbolic", [True, False])
def test_unequal_sizes_are_refused_by_name(cls, shapes, symbolic):
    if cls is layers.Subtract and len(shapes) != 2:
        pytest.skip("takes two")
    with pytest.raises(ShapeError, match="culprit") as e:
        cls(name="culprit")(tensors(*shapes, symbolic=symbolic))
    for shape in shapes:
        assert (str(shape).replace("2", "batch", 1) if symbolic else str(shape)) in str(e.value)


@pytest.mark.parametrize("cls", ALL)
def test_batches_of_one_are_not_repeated(cls):
    with pytest.raises(ShapeError, match="equal batch sizes"):
        cls()(tensors((1, 3), (2, 3), symbolic=False))
    with pytest.raises(ShapeError, match="equal batch sizes"):
        cls()([lamina.Input(batch_shape=(1, 3)), lamina.Input(batch_shape=(2, 3))])


@pytest.mark.parametrize("cls", [*ALL, layers.Concatenate])
def test_open_sizes(cls):
    def merged(*shapes):
        return cls()([lamina.Input(shape) for shape in shapes])

    assert merged((None, 4), (None, 4)).dims[0] == "batch"
    assert merged(("time", 3), ("time", 3)).dims[:2] == ("batch", "time")
    assert merged((None, None, 3), (None, None, 3)).shape[:3] == (None, None, None)
    assert merged(("height", "width", 3), (None, None, 3)).dims[1:3] == ("height", "width")
    assert merged((None, 4), (5, 4)).shape[1] in (None, 5)
    with pytest.raises(ShapeError, match=r"time[\s\S]*length"):
        merged(("time", 3), ("length", 3))


def test_a_list_of_tensors_is_needed():
    one = np.ones((2, 3), "float32")
    for layer in (layers.Add(), layers.Concatenate(), layers.Dot(1)):
        for x in (one, lamina.Input((3,))):
            with pytest.raises(StructureError, match="takes a list"):
                layer(x)
    np.testing.assert_array_equal(layers.Add()([one]), one)
    np.testing.assert_array_equal(layers.Concatenate()([one]), one)
    for layer in (layers.Subtract(), layers.Dot(1)):
        for count in (1, 3):
            with pytest.raises(StructureError, match="exactly 2"):
                layer([one] * count)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (lambda: layers.Concatenate(1), ((2, 3, 4), (2, 5, 5))),
        (lambda: layers.Concatenate(1), ((2, 3), (2, 3, 4))),
        (layers.Concatenate, ((2, 1, 3), (2, 4, 3))),
        (lambda: layers.Concatenate(5), ((2, 3), (2, 3))),
        (lambda: layers.Dot(1), ((2, 3, 4), (2, 5, 6))),
        (lambda: layers.Dot(2), ((2, 3), (2, 3))),
        (lambda: layers.Dot(0), ((2, 3), (2, 3))),
        (lambda: layers.Dot((1, -2)), ((2, 3), (2, 3))),
    ],
)
def test_shapes_that_do_not_join(layer, shapes, symbolic):
    with pytest.raises(ShapeError, match="cannot combine") as e:
        layer()(tensors(*shapes, symbolic=symbolic))
    for shape in shapes:
        assert (str(shape).replace("2", "batch", 1) if symbolic else str(shape)) in str(e.value)


def test_axes_of_a_dot_product():
    for axes in ("a", (1, 2, 3), (1, 0.5), None):
        with pytest.raises(ArgumentError, match=r"Dot\(\): `axes`"):
            layers.Dot(axes)


def masked(ids, seed, module):
    embedding = module.layers.Embedding(5, 3, mask_zero=True)
    embedding.build((None, None))
    embedding.set_weights([np.random.default_rng(seed).normal(size=(5, 3))])
    return embedding(np.array(ids))


IDS = ([[1, 2, 0, 0], [3, 0, 4, 0]], [[2, 0, 3, 0], [0, 0, 1, 1]])


def inputs(which, module):
    plain = jnp.asarray(np.random.default_rng(9).normal(size=(2, 4, 3)), "float32")
    return [masked(IDS[i], i, module) if i < 2 else plain for i in which]


def mask_of(x):
    return x._keras_mask if hasattr(x, "_keras_mask") else get_mask(x)


@pytest.mark.parametrize("which", [(0, 1), (0, 2), (2, 0), (2, 2), (0, 1, 2), (1, 0, 0)], ids=str)
@pytest.mark.parametrize("cls", [*ALL, layers.Concatenate], ids=lambda c: c.__name__)
def test_masks_as_in_keras(cls, which):
    if cls is layers.Subtract and len(which) != 2:
        pytest.skip("takes two")
    for kwargs in ({"axis": 1}, {"axis": 2}, {"axis": 0}) if cls is layers.Concatenate else ({},):
        ours = cls(**kwargs)(inputs(which, lamina))
        theirs = getattr(keras.layers, cls.__name__)(**kwargs)(inputs(which, keras))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
        a, b = mask_of(ours), mask_of(theirs)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cls", [*ALL, layers.Concatenate], ids=lambda c: c.__name__)
def test_masks_in_a_graph_are_those_of_eager_calls(cls):
    embedding = layers.Embedding(5, 3, mask_zero=True)
    a, b = lamina.Input(("time",), dtype="int32"), lamina.Input(("time",), dtype="int32")
    layer = cls()
    merged = layer([embedding(a), embedding(b)])
    assert merged.mask.dims == ("batch", "time")
    model = lamina.Model([a, b], merged)
    x = [np.array(ids) for ids in IDS]
    np.testing.assert_allclose(model(x), layer([embedding(v) for v in x]), rtol=1e-6)


def test_masks_of_inputs_of_different_rank():
    rows = masked(IDS[0], 0, lamina)
    layer = layers.Add()
    mask = layer.compute_mask([rows, rows[:, 0]], [rows[..., 0] > 0, jnp.array([True, False])])
    np.testing.assert_array_equal(mask, (rows[..., 0] > 0) | np.array([[True], [False]]))


def test_the_functions_are_the_layers():
    a, b = (np.random.default_rng(i).normal(size=(2, 3)).astype("float32") for i in (0, 1))
    for name in ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"):
        ours, theirs = getattr(layers, name), getattr(keras.layers, name)
        np.testing.assert_allclose(ours([a, b]), theirs([a, b]), rtol=1e-6)
        assert ours.__name__ == name
    for args, kwargs in itertools.product(((), (1,)), ({}, {"name": "joined"})):
        theirs = keras.layers.dot([a, b], *args, **kwargs)
        np.testing.assert_allclose(layers.dot([a, b], *args, **kwargs), theirs, rtol=1e-6)
        np.testing.assert_array_equal(
            layers.concatenate([a, b], *args, **kwargs), np.concatenate([a, b], 1)
        )
    np.testing.assert_array_equal(layers.concatenate([a, b], axis=0), np.concatenate([a, b]))
    x = lamina.Input((3,))
    assert layers.add([x, x], name="total").node.operation.name == "total"
