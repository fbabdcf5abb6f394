"""Saved, loaded in another process and trained on: the same bits as without a break."""

import subprocess
import sys

import numpy as np
import pytest

import lamina as keras
from lamina import layers

X = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 70)


def make(optimizer):
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="relu")(inputs)
    x = layers.BatchNormalization()(layers.Dropout(0.4)(x))
    x = layers.GaussianNoise(0.1)(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )  # fmt: skip
    return model


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "rmsprop", "adam", "adamw", "nadam", "adagrad", "adadelta", "adamax", "ftrl", "lion"],
)
def test_k_and_k_steps_are_2k_steps(optimizer, tmp_path):
    model = make(optimizer)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    model.save(tmp_path / "half.keras")
    whole = model.fit(X, Y, batch_size=16, epochs=2, verbose=0)

    keras.utils.set_random_seed(12345)  # another process would have another seed
    again = keras.saving.load_model(tmp_path / "half.keras")
    resumed = again.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert resumed.history == whole.history
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


CODE = """
import sys, numpy as np, lamina as keras
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
np.savez(sys.argv[3], predicted=model.predict(data["x"], verbose=0),
         evaluated=model.evaluate(data["x"], data["y"], verbose=0),
         trained=model.fit(data["x"], data["y"], batch_size=16, verbose=0).history["loss"])
"""


def test_a_new_process_goes_on(tmp_path):
    model = make("adam")
    model.fit(X, Y, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    files = [str(tmp_path / n) for n in ("model.keras", "data.npz", "out.npz")]
    subprocess.run([sys.executable, "-c", CODE, *files], check=True)
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(found["predicted"], model.predict(X, verbose=0))
    np.testing.assert_array_equal(found["evaluated"], model.evaluate(X, Y, verbose=0))
    history = model.fit(X, Y, batch_size=16, verbose=0).history
    np.testing.assert_array_equal(found["trained"], history["loss"])


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    model = make("sgd")
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lamina.saving.hdf5.write", full)
    with pytest.raises(OSError, match="No space"):
        model.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_an_error(tmp_path, share):
    model = make("sgd")
    path = tmp_path / "model.keras"
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(keras.errors.CorruptFileError, match=r"model\.keras"):
        keras.saving.load_model(path)


def test_freezing_and_unfreezing_take_effect_at_the_next_fit():
    model = make("adam")
    first = model.layers[1]
    first.trainable = False
    before = first.get_weights()
    model.fit(X, Y, batch_size=16, verbose=0)
    for a, b in zip(before, first.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first.trainable = True
    model.fit(X, Y, batch_size=16, verbose=0)
    assert not np.array_equal(before[0], first.get_weights()[0])
