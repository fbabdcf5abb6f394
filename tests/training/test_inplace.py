"""A training loop takes the samples of large arrays from where they lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.execution.batches import Static, batch_of
from lamina.runtime import xla
from lamina.training.data.inplace import InPlace, samples_in_place
from lamina.training.data.passes import Pass
from lamina.training.data.samples import ArrayData

RNG = np.random.default_rng(0)
COUNT = 500
IMAGES = RNG.normal(size=(COUNT, 5, 8)).astype("float32")
COLUMNS = RNG.normal(size=(COUNT, 2)).astype("float32")
CLASSES = RNG.integers(0, 3, COUNT).astype("int32")


def shifted(array, entries):
    """The same array, that many entries after an address at which XLA reads in place."""
    memory = xla.empty((array.size + entries,), array.dtype)
    memory[entries:] = array.ravel()
    return memory[entries:].reshape(array.shape)


def model():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    images, columns = keras.Input((5, 8), name="images"), keras.Input((2,), name="columns")
    x = layers.concatenate([layers.Flatten()(images), columns])
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(x))
    made = keras.Model([images, columns], layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=["accuracy"])
    return made


def trained(images=IMAGES, count=COUNT, made=None):
    made = made or model()
    x = {"images": images[:count], "columns": COLUMNS[:count]}
    history = made.fit(x, CLASSES[:count], batch_size=16, epochs=3, verbose=0).history
    return history, made.get_weights()


def assert_same(ours, theirs):
    assert ours[0] == theirs[0]
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("dtype", "entries"),
    [("float32", 0), ("int32", 15), ("bfloat16", 1), ("uint8", 15), ("bool", 1)],
)
def test_every_sample_is_found(dtype, entries):
    values = RNG.integers(0, 200, (COUNT, 4, 16)).astype(jnp.dtype(dtype))
    large, tiny = shifted(values, entries), values[:, 0, 0].copy()
    samples = samples_in_place({"a": [large], "b": tiny, "c": None}, 10_000)
    order = RNG.permutation(COUNT).astype("int32")
    for i in range(5):
        rows = order[i * 100 : (i + 1) * 100]
        batch = jax.jit(batch_of)(InPlace(order, samples), i, Static(100))
        np.testing.assert_array_equal(batch["a"][0], large[rows])
        np.testing.assert_array_equal(batch["b"], tiny[rows])
        assert batch["c"] is None


@pytest.mark.parametrize("entries", [0, 1, 4, 15, 16])
def test_large_arrays_are_not_copied_wherever_they_begin(entries):
    array = shifted(IMAGES, entries)
    found = samples_in_place(array, 0)
    assert np.shares_memory(found.entries, array)
    there = jax.device_put(found.entries, jax.devices("cpu")[0])
    assert there.unsafe_buffer_pointer() == found.entries.ctypes.data
    aligned = samples_in_place(shifted(IMAGES, 0), 0)
    assert found.entries.shape == aligned.entries.shape  # nothing is compiled anew


@pytest.mark.parametrize(
    "array",
    [IMAGES[::2], np.asfortranarray(IMAGES), np.zeros((10_000, 3), "float32")],
    ids=["every other sample", "Fortran's order", "tiny samples, but many"],
)
def test_other_arrays_go_into_blocks(array):
    assert samples_in_place({"a": IMAGES, "b": array}, 10_000) is None


@pytest.mark.parametrize("entries", [pytest.param(0, marks=pytest.mark.long), 3])
def test_training_is_the_same_as_on_blocks(entries, monkeypatch):
    expected = trained()  # all in one block
    monkeypatch.setattr("lamina.training.data.samples._BLOCK_BYTES", 40_000)
    images = shifted(IMAGES, entries)
    images.flags.writeable = False
    assert ArrayData((images, None, None), Pass(batch_size=16)).in_place is not None
    assert_same(trained(images), expected)


def test_data_of_other_lengths_goes_into_blocks_of_one_shape(monkeypatch, compilations):
    counts = (500, 400, 496, 500)
    made = model()
    expected = [trained(count=count, made=made) for count in counts]  # all in one block
    monkeypatch.setattr("lamina.training.data.samples._BLOCK_BYTES", 40_000)
    made = model()
    found = [trained(count=count, made=made) for count in counts[:2]]
    with compilations() as compiled:
        found += [trained(count=count, made=made) for count in counts[2:]]
    assert compiled == []
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


def test_small_data_and_files_are_not_read_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.training.data.samples._BLOCK_BYTES", 40_000)
    assert ArrayData((IMAGES[:50], None, None), Pass(batch_size=16)).in_place is None
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert ArrayData((mapped, None, None), Pass(batch_size=16)).in_place is None
