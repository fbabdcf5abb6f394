"""Several models of one graph; models called like layers; ensembles."""

import numpy as np

import lamina as keras
from lamina import layers
from lamina.visualization import summarize
from tests.guide.models import digits, encoder_and_autoencoder, ensemble, nested_autoencoder

ENCODER = [
    ("img", (None, 28, 28, 1), 0),
    ("conv2d", (None, 26, 26, 16), 160),
    ("conv2d_1", (None, 24, 24, 32), 4_640),
    ("max_pooling2d", (None, 8, 8, 32), 0),
    ("conv2d_2", (None, 6, 6, 32), 9_248),
    ("conv2d_3", (None, 4, 4, 16), 4_624),
    ("global_max_pooling2d", (None, 16), 0),
]
DECODER = [
    ("reshape", (None, 4, 4, 1), 0),
    ("conv2d_transpose", (None, 6, 6, 16), 160),
    ("conv2d_transpose_1", (None, 8, 8, 32), 4_640),
    ("up_sampling2d", (None, 24, 24, 32), 0),
    ("conv2d_transpose_2", (None, 26, 26, 16), 4_624),
    ("conv2d_transpose_3", (None, 28, 28, 1), 145),
]


def rows(model, **options):
    return [(r.name, r.output_shapes[0], r.params) for r in summarize(model, **options).rows]


def test_the_tables():
    encoder, autoencoder = encoder_and_autoencoder()
    assert rows(encoder) == ENCODER
    assert rows(autoencoder) == ENCODER + DECODER
    assert encoder.count_params() == 18_672
    assert autoencoder.count_params() == 28_241
    assert autoencoder.output_shape == encoder.input_shape == (None, 28, 28, 1)


def test_training_one_model_trains_the_other():
    encoder, autoencoder = encoder_and_autoencoder()
    assert encoder.layers == autoencoder.layers[:7]
    x = digits()[0][:128, ..., None]
    before = encoder.predict(x, verbose=0)
    autoencoder.compile("adam", "mse")
    losses = autoencoder.fit(x, x, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    codes = encoder.predict(x, verbose=0)
    assert not np.allclose(codes, before)
    inner = keras.Model(autoencoder.input, autoencoder.get_layer("global_max_pooling2d").output)
    assert np.array_equal(inner.predict(x, verbose=0), codes)


def test_models_are_called_like_layers():
    model = nested_autoencoder()
    assert rows(model) == [
        ("img", (None, 28, 28, 1), 0),
        ("encoder", (None, 16), 18_672),
        ("decoder", (None, 28, 28, 1), 9_569),
    ]
    assert model.count_params() == 28_241
    opened = rows(model, expand_nested=True)
    assert opened[2:9] == [("original_img", *ENCODER[0][1:]), *ENCODER[1:]]
    assert opened[10:] == [("encoded_img", (None, 16), 0), *DECODER]


def test_a_call_reuses_weights_too():
    model = nested_autoencoder()
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    x = digits()[0][:4, ..., None]
    expected = decoder.predict(encoder.predict(x, verbose=0), verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    twice = keras.Model(image := keras.Input((28, 28, 1)), encoder(decoder(encoder(image))))
    assert twice.count_params() == 28_241


def test_the_nested_model_equals_the_flat_one():
    _, flat = encoder_and_autoencoder()
    nested = nested_autoencoder()
    nested.set_weights(flat.get_weights())
    x = digits()[0][:4, ..., None]
    np.testing.assert_allclose(
        nested.predict(x, verbose=0), flat.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_an_ensemble_averages_its_members(tmp_path):
    model = ensemble()
    assert model.count_params() == 3 * 129
    members = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert len(members) == 3
    x = np.random.default_rng(0).normal(size=(8, 128)).astype("float32")
    expected = np.mean([member.predict(x, verbose=0) for member in members], axis=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert isinstance(loaded.layers[-1], layers.Average)
