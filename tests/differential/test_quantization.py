"""Quantized layers and adapters: Keras's numbers, and files that go both ways."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers, quantizers

CONFIGS = {
    "int8": lambda q: ("int8", None),
    "int8_weights": lambda q: (None, q.Int8QuantizationConfig(activation_quantizer=None)),
    "int4": lambda q: ("int4", None),
    "int4_blocks": lambda q: (None, q.Int4QuantizationConfig(block_size=3)),
    "int4_rows": lambda q: (None, q.Int4QuantizationConfig(block_size=None)),
    "int4_inputs": lambda q: (None, q.Int4QuantizationConfig(
        activation_quantizer=q.AbsMaxQuantizer(), block_size=-1)),
    "float8": lambda q: ("float8", None),
}  # fmt: skip
MODES = list(CONFIGS)


def made():
    """A model of all layers that can be quantized, with weights that are not the initial ones."""
    x, ids = lamina.Input((4, 6), name="x"), lamina.Input((5,), dtype="int32", name="ids")
    tied, untied = (
        layers.ReversibleEmbedding(9, 7, tie_weights=tie, name=name)
        for tie, name in ((True, "tied"), (False, "untied"))
    )
    outputs = {
        "dense": layers.Dense(5, activation="tanh", name="dense")(x),
        "heads": layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de", name="heads")(x),
        "joined": layers.EinsumDense("abc,bcd->ad", 5, name="joined")(x),
        "turned": layers.EinsumDense("abc,dc->abd", (None, 5), name="turned")(x),
        "table": layers.Embedding(9, 7, name="table")(ids),
        "tied_scores": tied(tied(ids), reverse=True),
        "untied_scores": untied(untied(ids), reverse=True),
    }
    model = lamina.Model({"x": x, "ids": ids}, outputs)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


DATA = {
    "x": np.random.default_rng(2).normal(size=(2, 4, 6)).astype("float32"),
    "ids": np.random.default_rng(3).integers(0, 9, (2, 5)).astype("int32"),
}


def assert_equal(ours, theirs, tolerance=2e-5):
    assert ours.keys() == theirs.keys()
    for name in ours:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    made().save(path)
    return path


def quantize(model, mode, library):
    name, config = CONFIGS[mode](library)
    # Keras warns of all other layers, and embeddings have no float8 form.
    model.quantize(name, config=config, filters="dense|heads|joined|turned"
                   + ("" if name == "float8" else "|table|tied"))  # fmt: skip
    return model


@pytest.mark.parametrize("mode", MODES)
def test_quantized_layers_agree_and_go_both_ways(mode, file, tmp_path):
    ours = quantize(lamina.models.load_model(file), mode, quantizers)
    theirs = quantize(keras.models.load_model(file), mode, keras.quantizers)
    expected = theirs.predict(DATA, verbose=0)
    here = ours.predict(DATA, verbose=0)
    assert_equal(here, expected)
    exact = made().predict(DATA, verbose=0)
    assert any(np.abs(np.asarray(here[n]) - np.asarray(exact[n])).max() > 1e-4 for n in here)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    loaded = lamina.models.load_model(tmp_path / "theirs.keras")
    assert_equal(loaded.predict(DATA, verbose=0), here)
    assert loaded.get_layer("dense").dtype_policy == ours.get_layer("dense").dtype_policy
    assert_equal(lamina.models.load_model(tmp_path / "ours.keras").predict(DATA, verbose=0), here)
    there = keras.models.load_model(tmp_path / "ours.keras")
    assert_equal(there.predict(DATA, verbose=0), expected)
