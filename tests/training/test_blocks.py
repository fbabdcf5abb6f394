"""Data in memory reaches the steps in blocks of many batches, from the host or from the device."""

import jax
import numpy as np
import pytest

import lamina as keras
from lamina import layers
from lamina.runtime import xla
from lamina.training.data.passes import Pass
from lamina.training.data.samples import ArrayData

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(1000, 6)).astype("float32"), RNG.integers(0, 3, 1000)


def classifier():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def trained(count=1000, batch_size=32):
    model = classifier()
    history = model.fit(X[:count], Y[:count], batch_size=batch_size, epochs=3, verbose=0,
                        validation_data=(X[:333], Y[:333])).history  # fmt: skip
    return history, model.get_weights()


def assert_same(ours, theirs):
    assert ours[0] == theirs[0]
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "count", [32, *(pytest.param(n, marks=pytest.mark.long) for n in (20, 1000))]
)
def test_the_size_of_blocks_changes_nothing(count, monkeypatch):
    expected = trained(count)
    monkeypatch.setattr("lamina.training.data.samples._BLOCK_BYTES", 5000)  # five batches
    assert_same(trained(count), expected)


@pytest.mark.parametrize("fits", [True, pytest.param(False, marks=pytest.mark.long)])
def test_blocks_of_data_that_stays_on_the_device_are_the_same(fits, monkeypatch):
    expected = trained()
    monkeypatch.setattr(xla, "has_own_memory", lambda: True)
    monkeypatch.setattr("lamina.training.data.samples._RESIDENT_BYTES", 1e9 if fits else 10)
    assert_same(trained(), expected)
    data = ArrayData((X, Y, None), Pass(batch_size=32))
    data.block(slice(0, 5), 5)
    assert bool(data._on_device) == fits


def test_another_number_of_samples_compiles_nothing(compilations):
    model = classifier()
    arguments = {"batch_size": 25, "verbose": 0}
    with compilations() as compiled:
        model.fit(X, Y, **arguments)
        model.evaluate(X, Y, **arguments)
        model.predict(X, **arguments)
    assert compiled != []
    with compilations() as compiled:
        model.fit(X[:600], Y[:600], **arguments)
        model.evaluate(X[:600], Y[:600], **arguments)
        model.predict(X[:600], **arguments)
    assert compiled == []


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "bfloat16"])
def test_xla_reads_the_memory_of_blocks_in_place(dtype):
    array = xla.empty((1000, 3), jax.numpy.dtype(dtype))
    assert (array.shape, str(array.dtype)) == ((1000, 3), dtype)
    array[:] = 1
    there = jax.device_put(array, jax.devices("cpu")[0])
    assert there.unsafe_buffer_pointer() == array.ctypes.data


def test_the_users_arrays_are_never_written():
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    classifier().fit(x, y, batch_size=50, epochs=2, verbose=0)
    np.testing.assert_array_equal(x, X)


def test_a_block_takes_rows_in_any_order_of_any_nesting():
    data = ArrayData(({"a": X, "b": [Y]}, None, None), Pass(batch_size=10))
    rows = RNG.permutation(1000)[:37]
    x, y, sample_weight = data.block(rows, 40)
    assert y is None
    assert sample_weight is None
    assert x["a"].shape == (40, 6)
    np.testing.assert_array_equal(x["a"][:37], X[rows])
    np.testing.assert_array_equal(x["b"][0][:37], Y[rows])
