import itertools

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import ShapeError, TrainingWarning
from tests.cases.layers_preprocessing import CASES
from tests.differential.oracle import compare


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_keras(case):
    compare(case)


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("argument", ["scale", "offset"])
def test_another_number_of_channels(argument, symbolic):
    layer = layers.Rescaling(**{"scale": 1.0, argument: [1.0, 2.0]}, name="culprit")
    x = lamina.Input((4, 3)) if symbolic else np.ones((2, 4, 3), "float32")
    received = r"\(batch, 4, 3\)" if symbolic else r"\(2, 4, 3\)"
    with pytest.raises(ShapeError, match=rf"culprit[\s\S]*\(2,\)[\s\S]*{received}"):
        layer(x)


def test_arrays_survive_a_file():
    layer = layers.Rescaling(np.array([1.0, 2.0]))
    again = lamina.serialization.registry.deserialize(
        lamina.serialization.registry.serialize(layer)
    )
    x = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(again(x), layer(x))


# ---- adapting ------------------------------------------------------------------------------------

TABLE = np.random.default_rng(0).normal(3, [1.0, 10.0, 0.1], (200, 3)).astype("float32")


def sources(x):
    """The same data in every form that `adapt` reads."""

    class Numbered:
        num_batches = 5

        def __getitem__(self, i):
            return x[40 * i : 40 * i + 40], None

    batches = np.split(x, [7, 90, 91])
    return {
        "array": x, "jax": jnp.asarray(x), "lists": x.tolist(), "batches": batches,
        "generator": (b for b in batches), "pairs": ((b, np.zeros(len(b))) for b in batches),
        "numbered": Numbered(),
    }  # fmt: skip


@pytest.mark.parametrize("source", sources(TABLE))
@pytest.mark.parametrize("axis", [-1, None, (0, 1)])
def test_normalization_of_any_source(source, axis):
    if axis == (0, 1) and source not in ("array", "jax", "lists"):
        pytest.skip("one row of features has no batches")
    ours, theirs = layers.Normalization(axis), keras.layers.Normalization(axis)
    ours.adapt(sources(TABLE)[source])
    theirs.adapt(TABLE)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5)
    np.testing.assert_allclose(ours(TABLE), theirs(TABLE), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.transform(TABLE), ours(TABLE), rtol=1e-6, atol=1e-6)


def test_statistics_are_computed_in_double_precision():
    x = (1e4 + np.random.default_rng(0).normal(size=(4000, 1))).astype("float32")
    layer = layers.Normalization()
    layer.adapt(np.split(x, 100))
    np.testing.assert_allclose(layer.variance[0], x.astype("float64").var(0), rtol=1e-6)


def test_constant_features_are_centered():
    x = np.array([[5.0, 1.0], [5.0, 3.0]], "float32")
    layer = layers.Normalization()
    layer.adapt(x)
    np.testing.assert_allclose(layer(x + 1), [[1.0, 0.0], [1.0, 2.0]])


def adapt_without_tensorflow(layer, data):
    """`adapt` of either library: Keras's asks whether the data are TensorFlow's."""
    layer.reset_state()
    for batch in data if isinstance(data, list) else [data]:
        layer.update_state(batch)
    layer.finalize_state()


@pytest.mark.parametrize("batches", [1, 3, 17])
@pytest.mark.parametrize("bins", [2, 5, 20])
def test_boundaries_of_bins(bins, batches):
    ours, theirs = (m.layers.Discretization(num_bins=bins) for m in (lamina, keras))
    data = np.array_split(TABLE, batches) if batches > 1 else TABLE
    ours.adapt(data)
    adapt_without_tensorflow(theirs, data)
    np.testing.assert_allclose(ours.bin_boundaries, theirs.bin_boundaries, rtol=1e-6)
    np.testing.assert_array_equal(ours(TABLE), theirs(TABLE))
    np.testing.assert_array_equal(ours.transform(TABLE), ours(TABLE))
    again = layers.Discretization.from_config(ours.get_config())
    np.testing.assert_array_equal(again(TABLE), ours(TABLE))


def test_bins_of_ends_and_of_what_is_no_number():
    ours, theirs = (m.layers.Discretization([0.0, 1.0, 1.0]) for m in (lamina, keras))
    x = np.array([[-np.inf, 0.0, 0.5, 1.0, np.inf, np.nan]], "float32")
    assert ours(x).tolist() == np.asarray(theirs(x)).tolist() == [[0, 1, 1, 3, 3, 3]]
    assert ours.transform(x).tolist() == ours(x).tolist()


def test_adapting_again_replaces_the_statistics():
    for layer in (layers.Normalization(), layers.Discretization(num_bins=4)):
        layer.adapt(TABLE * 7)
        layer.adapt(TABLE)
        fresh = type(layer)(**({"num_bins": 4} if hasattr(layer, "num_bins") else {}))
        fresh.adapt(TABLE)
        np.testing.assert_array_equal(layer(TABLE), fresh(TABLE))


def test_steps_limit_endless_data():
    layer = layers.Normalization(axis=None)
    layer.adapt(itertools.repeat(np.array([1.0, 3.0])), steps=2)
    assert layer.mean.item() == 2


def test_adapted_models_are_exchanged_with_keras(tmp_path):
    def model(library):
        number, other = library.Input((3,)), library.Input((3,))
        normalize, divide = library.layers.Normalization(), library.layers.Discretization(
            num_bins=4, output_mode="count")  # fmt: skip
        normalize.adapt(TABLE)
        adapt_without_tensorflow(divide, TABLE)
        return library.Model([number, other], [normalize(number), divide(other)])

    ours, theirs = model(lamina), model(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    wanted = theirs.predict([TABLE, TABLE], verbose=0)
    for path, library in (("ours", keras), ("ours", lamina), ("theirs", lamina)):
        again = library.saving.load_model(tmp_path / f"{path}.keras")
        for a, b in zip(again.predict([TABLE, TABLE], verbose=0), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_forgotten_adapt_is_told_once_data_arrives():
    inputs = lamina.Input((3,))
    layer = layers.Normalization(name="scale")
    model = lamina.Sequential([inputs, layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(TrainingWarning, match="'scale' .* was not adapted"):
        model.fit(TABLE, TABLE[:, :1], verbose=0)
    layer.adapt(TABLE)
    model.fit(TABLE, TABLE[:, :1], verbose=0)


def test_spectrograms_of_numpy_data():
    layer = layers.MelSpectrogram(fft_length=64, sequence_stride=16, num_mel_bins=8)
    x = np.random.default_rng(0).normal(size=(2, 300)).astype("float32")
    np.testing.assert_allclose(layer.transform(x), layer(x), rtol=1e-4, atol=1e-3)
    ours, theirs = layer.linear_to_mel_weight_matrix(), (
        keras.layers.MelSpectrogram().linear_to_mel_weight_matrix())  # fmt: skip
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 20, 33])
def test_short_audio_is_reflected_several_times(samples):
    x = np.random.default_rng(0).normal(size=(2, samples)).astype("float32")
    arguments = {"fft_length": 64, "sequence_stride": 8, "num_mel_bins": 4}
    ours, theirs = (library.layers.MelSpectrogram(**arguments)(x) for library in (lamina, keras))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
