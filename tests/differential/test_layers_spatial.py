"""Convolutions, pooling and their kin: outputs and gradients as in Keras; errors of our own."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ArgumentError, ShapeError
from tests.cases import layers_convolution, layers_core, layers_pooling, layers_spatial
from tests.differential.oracle import compare

CASES = [
    *(c for c in layers_core.CASES if c.cls is not layers.Lambda), *layers_convolution.CASES,
    *layers_pooling.CASES, *layers_spatial.CASES,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


ROOMS = ("convolution", "pooling", "spatial")


@pytest.mark.parametrize(
    "cls", dict.fromkeys(c.cls for c in CASES if c.cls.__module__.split(".")[-1] in ROOMS)
)
def test_a_wrong_rank(cls):
    case = next(c for c in CASES if c.cls is cls)
    layer = cls(**case.kwargs, name="culprit")
    wrong = case.inputs[0][0][:-1]
    for x in (lamina.Input(wrong[1:]), np.ones(wrong, "float32")):
        with pytest.raises(
            ShapeError, match=rf"culprit[\s\S]*{len(wrong) + 1} axes[\s\S]*received"
        ):
            layer(x)


def test_wrong_channels_and_windows():
    conv = layers.Conv2D(4, 3, name="culprit")
    conv(lamina.Input((8, 8, 3)))
    for x in (lamina.Input((8, 8, 5)), np.ones((2, 8, 8, 5), "float32")):
        with pytest.raises(ShapeError, match=r"culprit[\s\S]*size 3 on axis -1[\s\S]*8, 8, 5"):
            conv(x)
    for layer in (layers.Conv2D(4, 9, name="culprit"), layers.MaxPooling2D(9, name="culprit")):
        with pytest.raises(ShapeError, match=r"culprit|window"):
            layer(lamina.Input((8, 8, 3)))
    with pytest.raises(ShapeError, match="crop everything"):
        layers.Cropping1D(3)(lamina.Input((6, 2)))


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="cannot both be above 1"):
        layers.Conv2D(4, 3, strides=2, dilation_rate=2)
    with pytest.raises(ArgumentError, match="multiple of `groups`"):
        layers.Conv2D(4, 3, groups=3)
    with pytest.raises(ArgumentError, match="multiple of `groups`"):
        layers.Conv2D(4, 3, groups=2)(lamina.Input((8, 8, 3)))
    with pytest.raises(ArgumentError, match="Conv1D"):
        layers.Conv2D(4, 3, padding="causal")
    with pytest.raises(ArgumentError, match="kernel_size"):
        layers.Conv2D(4, (3, 3, 3))
    with pytest.raises(ArgumentError, match="pool_size"):
        layers.MaxPooling2D(0)
    with pytest.raises(ArgumentError, match="padding"):
        layers.ZeroPadding2D(-1)


def test_named_sizes_become_formulas():
    x = lamina.Input(("height", "width", 3))
    assert layers.Conv2D(4, 3)(x).dims == ("batch", "height - 2", "width - 2", 4)
    assert layers.UpSampling2D(2)(x).dims == ("batch", "2*height", "2*width", 3)
    assert layers.ZeroPadding2D(1)(x).dims == ("batch", "height + 2", "width + 2", 3)
    assert layers.Cropping2D(1)(x).dims == ("batch", "height - 2", "width - 2", 3)


def test_masked_steps_do_not_count_in_the_mean():
    ids = np.array([[1, 2, 0, 0]])
    table = layers.Embedding(3, 2, mask_zero=True)
    mean = layers.GlobalAveragePooling1D()(table(ids))
    np.testing.assert_allclose(mean[0], table.embeddings.numpy()[1:].mean(0), rtol=1e-6)


def test_a_convolution_of_ones_own():
    def run(k):
        class Circular(k.layers.Conv2D):
            def convolution_op(self, inputs, kernel):
                around = k.ops.concatenate([inputs[:, -1:], inputs, inputs[:, :1]], axis=1)
                return super().convolution_op(around, kernel * 0.5)

        layer = Circular(2, (3, 1), activation="tanh")
        x = np.linspace(-1, 1, 30, dtype="float32").reshape(2, 5, 1, 3)
        layer.build(x.shape)
        layer.set_weights([np.linspace(0, 1, 18).reshape(3, 1, 3, 2), np.ones(2)])
        return np.asarray(layer(x))

    np.testing.assert_allclose(run(lamina), run(keras), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "built", "shape"),
    [
        (lambda k: k.layers.Dense(3), (2, 4), (None, None)),
        (lambda k: k.layers.Conv2D(3, 2), (2, 5, 5, 4), (None, None, None, None)),
        (lambda k: k.layers.Conv1D(3, 2, data_format="channels_first"), (2, 4, 5), (None, None, 9)),
        (lambda k: k.layers.Bidirectional(k.layers.LSTM(3)), (2, 5, 4), (None, None, None)),
        (lambda k: k.layers.TimeDistributed(k.layers.Dense(3)), (2, 5, 4), (None, None, None)),
    ],
)
def test_a_built_layer_knows_its_channels(make, built, shape):
    answers = []
    for k in (lamina, keras):
        layer = make(k)
        layer.build(built)
        answers.append((tuple(layer.compute_output_shape(shape)), layer(k.Input(shape[1:])).shape))
    assert answers[0] == answers[1]
