"""Every layer's value as an output: VGG19, whose weights are drawn only when they are needed."""

import jax
import numpy as np
import pytest

import lamina as keras

BLOCKS = [(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)]


def shapes():
    """Of the outputs of VGG19's 26 layers."""
    size, found = 224, [(None, 224, 224, 3)]
    for convolutions, filters in BLOCKS:
        found += [(None, size, size, filters)] * convolutions
        size //= 2
        found.append((None, size, size, filters))
    return [*found, (None, 7 * 7 * 512), (None, 4096), (None, 4096), (None, 1000)]


def test_every_layer_of_vgg19_is_an_output_and_nothing_is_drawn():
    before = sum(x.nbytes for x in jax.live_arrays())
    model = keras.applications.VGG19(weights=None)
    assert model.count_params() == 143_667_240
    assert len(model.layers) == 26
    features = keras.Model(inputs=model.input, outputs=[layer.output for layer in model.layers])
    assert [x.shape for x in features.outputs] == shapes()
    assert features.layers == model.layers
    assert sum(x.nbytes for x in jax.live_arrays()) - before < 1e6  # of 575 MB


def test_features_are_the_values_inside():
    model = keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))
    features = keras.Model(inputs=model.input, outputs=[layer.output for layer in model.layers])
    image = np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
    found = features(image)
    assert len(found) == len(model.layers) == 22
    value = image
    for layer, feature in zip(model.layers, found, strict=True):
        value = value if layer is model.layers[0] else layer(value)
        np.testing.assert_allclose(feature, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[-1], model(image), rtol=1e-4, atol=1e-5)


def test_a_layer_outside_of_any_graph_has_no_output():
    with pytest.raises(keras.errors.LaminaError, match="dense"):
        _ = keras.layers.Dense(3, name="dense").output
